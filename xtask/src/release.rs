//! `cargo xtask release`: what `cargo xtask dist` has built becomes a release that anyone can
//! verify with public tools, and rebuild.
//!
//! - [`built`] reads the folders of `dist`, [`archive`] packs them.
//! - [`graph`] finds what is linked into a program, [`sbom`] writes it down.
//! - [`selfpack`] makes Linux packages and a container image of what has just been built.
//! - [`manifests`] tells Homebrew, winget and Scoop about it.
//! - [`provenance`] says what it was made from, [`checksums`] and [`signature`] seal it.
//!
//! **Invariant:** the same commit and programs give the same bytes, but for the signature.

pub(crate) mod check;

mod archive;
mod built;
mod checksums;
mod contents;
mod graph;
mod manifests;
mod provenance;
mod sbom;
mod signature;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Subcommand;

pub(crate) use self::contents::{Files, reference};
use self::{built::Target, contents::Generated, manifests::Origin, signature::Signer};
use crate::{
    dist::target::{Cpu, Reach, System},
    selfpack::{self, Request},
    terminal,
    version::{self, Version},
    workspace::Workspace,
};

/// Makes a release of what `cargo xtask dist` has built.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    release: ReleaseArgs,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Make a key pair in the format of minisign
    Keygen(signature::KeygenArgs),
    /// Make a release of this machine's programs, and let the tools of its users judge it
    Check,
}

#[derive(Debug, Default, clap::Args)]
struct ReleaseArgs {
    /// Folder with what `cargo xtask dist` has built [default: `dist` in the target folder]
    #[arg(long, value_name = "DIR")]
    dist: Option<PathBuf>,
    /// Folder for the release [default: `releases/<version>` in the target folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Secret key that signs, as `minisign` or `cargo xtask release keygen` makes it
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// File with the key's password; else FLEETD_RELEASE_KEY_PASSWORD, else it is asked for
    #[arg(long, value_name = "FILE", requires = "key")]
    password_file: Option<PathBuf>,
    /// Where the source is published, such as https://github.com/example/fleetd
    #[arg(long, value_name = "URL")]
    repository: Option<String>,
    /// Where the files will be downloaded from [default: the repository's release on GitHub]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Who builds, as a URI
    #[arg(long, value_name = "URI", default_value = "urn:fleetd:builder:local")]
    builder: String,
    /// How hard zstd tries, from 1 to 19: a release is made once and downloaded often
    #[arg(long, value_name = "LEVEL", default_value_t = 19, value_parser = clap::value_parser!(i32).range(1..=19))]
    compression: i32,
    /// Accept a checkout that no tag names or that was changed, and a release without signature
    #[arg(long)]
    snapshot: bool,
}

/// What a release is made of.
struct Release<'a> {
    workspace: &'a Workspace,
    version: &'a Version,
    /// The folder that is filled.
    dir: &'a Path,
    /// How hard zstd tries.
    compression: i32,
}

/// Makes a release or a key, or judges how releases are made.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    match &args.task {
        Some(Task::Keygen(keygen)) => signature::keygen(workspace, keygen),
        Some(Task::Check) => check::run(workspace).map(|_| ()),
        None => make(workspace, &args.release).map(|_| ()),
    }
}

/// Makes the release and tells where it is. The folder appears whole or not at all.
fn make(workspace: &Workspace, args: &ReleaseArgs) -> anyhow::Result<PathBuf> {
    let version = version::of_checkout(workspace)?;
    demand_release(&version, args)?;
    let dist = args.dist.clone().unwrap_or_else(|| workspace.target.join("dist"));
    let targets = built::read(&dist, &version)?;
    let signer = args
        .key
        .as_deref()
        .map(|key| Signer::unlock(workspace, key, args.password_file.as_deref()));
    let signer = signer.transpose()?;
    let place = place(workspace, args, &version)?;
    let parent = place.parent().context("the folder for the release has no parent")?;
    fs::create_dir_all(parent).with_context(|| format!("could not make `{}`", parent.display()))?;
    let dir = tempfile::Builder::new().prefix(".release-").tempdir_in(parent)?;
    let compression = args.compression;
    let release = Release { workspace, version: &version, dir: dir.path(), compression };
    release.fill(args, &targets)?;
    release.seal(signer.as_ref())?;
    appear(dir, &place)?;
    terminal::note(&format!("the release {} is in `{}`", version.text, place.display()));
    Ok(place)
}

/// A release is what a tag names, signed; all that is wrong is said at once.
fn demand_release(version: &Version, args: &ReleaseArgs) -> anyhow::Result<()> {
    if args.snapshot {
        return Ok(());
    }
    let mut problems = Vec::new();
    if version.dirty {
        problems.push("files differ from the commit or are not in it".to_owned());
    }
    if version.tag.is_none() {
        problems.push(format!("no tag makes a release of {}", version.text));
    }
    if args.key.is_none() {
        problems.push("there is no --key to sign with".to_owned());
    }
    if !problems.is_empty() {
        bail!("this is no release: {}; --snapshot makes one all the same", problems.join("; "));
    }
    Ok(())
}

/// Where the release goes: nowhere that holds something else.
fn place(workspace: &Workspace, args: &ReleaseArgs, version: &Version) -> anyhow::Result<PathBuf> {
    let default = || workspace.target.join("releases").join(&version.text);
    let place = args.out.clone().unwrap_or_else(default);
    let place = std::path::absolute(&place).context("could not find the current folder")?;
    let holds_something = fs::read_dir(&place).is_ok_and(|mut entries| entries.next().is_some());
    if place.exists() && holds_something && !place.join(checksums::NAME).is_file() {
        bail!("`{}` exists and holds no release", place.display());
    }
    Ok(place)
}

/// Renames the finished folder to where it belongs, in place of an earlier release there.
fn appear(dir: tempfile::TempDir, place: &Path) -> anyhow::Result<()> {
    let problem = || format!("could not replace `{}`", place.display());
    readable_by_all(dir.path())?;
    if place.exists() {
        fs::remove_dir_all(place).with_context(problem)?;
    }
    fs::rename(dir.keep(), place).with_context(problem)
}

/// A temporary folder is its owner's alone; a release is for everyone.
fn readable_by_all(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("could not open `{}` to readers", dir.display()))
}

/// Programs of `target` that may become packages of Linux.
fn to_be_packed(target: &Target) -> Vec<(Cpu, &Path)> {
    match target.reach {
        Reach::One(it) if it.system == System::Linux => {
            target.programs.iter().map(|program| (it.cpu, program.path.as_path())).collect()
        }
        Reach::One(_) | Reach::Universal => Vec::new(),
    }
}

impl Release<'_> {
    /// Writes everything but checksums and signature.
    fn fill(&self, args: &ReleaseArgs, targets: &[Target]) -> anyhow::Result<()> {
        let generated = Generated::by(self.workspace, targets)?;
        for target in targets {
            terminal::note(&format!("packing {}", target.name()));
            archive::write(self, target, &generated)?;
            sbom::write(self, target)?;
        }
        let Version { text: version, date, .. } = self.version;
        let programs: Vec<_> = targets.iter().flat_map(to_be_packed).collect();
        let reference = &generated.reference;
        let request =
            Request { programs: &programs, reference, out: self.dir, version, date: *date };
        selfpack::packages(self.workspace, &request)?;
        match Origin::new(args.base_url.as_deref(), args.repository.as_deref(), self.version) {
            Some(origin) => manifests::write(self, targets, &origin)?,
            None => terminal::note(
                "nothing for Homebrew, winget and Scoop: --repository or --base-url is missing",
            ),
        }
        let origin =
            provenance::Origin { builder: &args.builder, repository: args.repository.as_deref() };
        provenance::write(self, targets, &origin)
    }

    /// Writes the checksums, and the signature over them.
    fn seal(&self, signer: Option<&Signer>) -> anyhow::Result<()> {
        let sums = checksums::write(self.dir)?;
        match signer {
            Some(signer) => signer.sign(&sums, self.version),
            None => {
                terminal::note("the release is not signed: there is no --key");
                Ok(())
            }
        }
    }

    /// `fleetd-<version>-<rest>`, the name of most files in a release.
    fn name(&self, rest: &str) -> String {
        format!("fleetd-{}-{rest}", self.version.text)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
        let path = self.dir.join(name);
        fs::write(&path, bytes).with_context(|| format!("could not write `{}`", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(dirty: bool, tag: Option<&str>, args: &ReleaseArgs) -> String {
        let version = Version {
            text: "1.2.3".into(),
            commit: "c0ffee".into(),
            tag: tag.map(str::to_owned),
            dirty,
            date: 0,
        };
        demand_release(&version, args).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn a_clean_tagged_checkout_with_a_key_is_released() {
        let args = ReleaseArgs { key: Some("key".into()), ..ReleaseArgs::default() };
        assert_eq!(refusal(false, Some("v1.2.3"), &args), "");
    }

    #[test]
    fn all_that_keeps_a_checkout_from_release_is_said_at_once() {
        let said = refusal(true, None, &ReleaseArgs::default());
        for problem in ["files differ from the commit", "no tag", "no --key", "--snapshot"] {
            assert!(said.contains(problem), "{said}");
        }
        let args = ReleaseArgs { snapshot: true, ..ReleaseArgs::default() };
        assert_eq!(refusal(true, None, &args), "");
    }
}
