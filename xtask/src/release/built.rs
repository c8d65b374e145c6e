//! What `cargo xtask dist` leaves behind: a folder a target, with programs, their symbols, and
//! `build.json`, which says how they were built.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::{
    dist::{
        manifest,
        program::Program as Known,
        target::{Reach, System},
    },
    version::Version,
};

/// How the programs of a folder were built. What `dist` says besides is not needed here.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Build {
    pub(super) version: String,
    pub(super) commit: String,
    pub(super) dirty: bool,
    pub(super) target: String,
    /// Names of the programs that are in the folder.
    bins: Vec<String>,
    /// What `rustc --version --verbose` prints.
    pub(super) toolchain: String,
    pub(super) linker: String,
    pub(super) profile: String,
    pub(super) rustflags: Vec<String>,
    pub(super) command: Vec<String>,
}

/// The programs of one folder.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) reach: Reach,
    pub(super) build: Build,
    pub(super) programs: Vec<Program>,
}

#[derive(Debug, Clone)]
pub(super) struct Program {
    /// What its users call it.
    pub(super) name: &'static str,
    pub(super) path: PathBuf,
    /// The file with its symbols.
    pub(super) symbols: PathBuf,
}

impl Target {
    /// As Rust calls it, or as `cargo xtask dist` calls both Macs.
    pub(super) fn name(&self) -> &'static str {
        self.reach.name()
    }

    pub(super) fn is_windows(&self) -> bool {
        self.reach.system() == System::Windows
    }

    /// The path of the program `name`, if this target has it.
    pub(super) fn program(&self, name: &str) -> Option<&Path> {
        let program = self.programs.iter().find(|program| program.name == name)?;
        Some(&program.path)
    }

    /// The archive's name within a release.
    pub(super) fn archive(&self, version: &str) -> String {
        let extension = if self.is_windows() { "zip" } else { "tar.zst" };
        format!("fleetd-{version}-{}.{extension}", self.name())
    }
}

/// Reads the folders in `dist`, sorted; all must be of `version`. Single macOS targets are not
/// released when their programs are joined.
pub(super) fn read(dist: &Path, version: &Version) -> anyhow::Result<Vec<Target>> {
    let problem = || format!("could not read `{}`; `cargo xtask dist` makes it", dist.display());
    let mut targets = Vec::new();
    for entry in fs::read_dir(dist).with_context(problem)? {
        let dir = entry.with_context(problem)?.path();
        if dir.join(manifest::NAME).is_file() {
            targets.push(target(&dir)?);
        }
    }
    targets.sort_by_key(Target::name);
    if targets.iter().any(|target| target.reach == Reach::Universal) {
        targets.retain(|it| it.reach == Reach::Universal || it.reach.system() != System::Macos);
    }
    if targets.is_empty() {
        bail!("`{}` has no target; `cargo xtask dist` builds them", dist.display());
    }
    demand_same_version(&targets, version)?;
    Ok(targets)
}

fn target(dir: &Path) -> anyhow::Result<Target> {
    let path = dir.join(manifest::NAME);
    let problem = || format!("could not read `{}`", path.display());
    let json = fs::read(&path).with_context(problem)?;
    let build: Build = serde_json::from_slice(&json).with_context(problem)?;
    let name = dir.file_name().and_then(|name| name.to_str()).with_context(problem)?;
    let reach =
        Reach::named(name).with_context(|| format!("nothing is built for a target `{name}`"))?;
    let programs = build.bins.iter().map(|name| program(dir, reach, name));
    let programs: Vec<_> = programs.collect::<anyhow::Result<_>>()?;
    if programs.is_empty() {
        bail!("`{}` has no program", dir.display());
    }
    Ok(Target { reach, build, programs })
}

/// The program `name` that `dir` is said to have.
fn program(dir: &Path, reach: Reach, name: &str) -> anyhow::Result<Program> {
    let known = Known::named(name).with_context(|| format!("there is no program `{name}`"))?;
    let path = dir.join(reach.system().file_name(name));
    let symbols = dir.join(known.symbols());
    for file in [&path, &symbols] {
        if !file.is_file() {
            bail!("`{}` is not there; build again with `cargo xtask dist`", file.display());
        }
    }
    Ok(Program { name: known.name, path, symbols })
}

fn demand_same_version(targets: &[Target], version: &Version) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    for Target { reach, build, .. } in targets {
        let Build { version: built, commit, dirty, .. } = build;
        if *built != version.text || *commit != version.commit || *dirty != version.dirty {
            problems.push(format!("{} is {built} of {commit}", reach.name()));
        }
    }
    if !problems.is_empty() {
        let (wanted, commit) = (&version.text, &version.commit);
        let found = problems.join(", ");
        bail!("this is {wanted} of {commit}, but {found}; build again with `cargo xtask dist`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn version(commit: &str) -> Version {
        Version { text: "1.2.3".into(), commit: commit.into(), tag: None, dirty: false, date: 0 }
    }

    /// A folder of folders, each with `orbit` and `fleetctl`, of which `bins` are said to be there.
    fn dist(folders: &[&str], bins: &[&str]) -> tempfile::TempDir {
        let dist = tempfile::tempdir().unwrap();
        for folder in folders {
            let dir = dist.path().join(folder);
            fs::create_dir(&dir).unwrap();
            for name in ["orbit", "orbit.debug", "fleetctl", "fleetctl.debug"] {
                fs::write(dir.join(name), "").unwrap();
            }
            let build = json!({
                "version": "1.2.3", "commit": "c0ffee", "dirty": false, "target": folder,
                "bins": bins, "toolchain": "rustc 1.0.0", "linker": "", "profile": "",
                "rustflags": [], "command": [],
            });
            fs::write(dir.join(manifest::NAME), build.to_string()).unwrap();
        }
        dist
    }

    #[test]
    fn a_program_that_the_last_build_did_not_make_is_not_released() {
        let dist = dist(&["x86_64-unknown-linux-musl"], &["orbit"]);
        let targets = read(dist.path(), &version("c0ffee")).unwrap();
        let names: Vec<_> = targets[0].programs.iter().map(|program| program.name).collect();
        assert_eq!(names, ["orbit"]);
    }

    #[test]
    fn a_program_that_is_said_to_be_there_must_be() {
        let dist = dist(&["x86_64-unknown-linux-musl"], &["orbit", "fleet-server"]);
        let error = read(dist.path(), &version("c0ffee")).unwrap_err().to_string();
        assert!(error.contains("fleet-server` is not there"), "{error}");
    }

    #[test]
    fn programs_of_another_commit_are_refused() {
        let dist = dist(&["x86_64-unknown-linux-musl"], &["orbit"]);
        let error = read(dist.path(), &version("decaf")).unwrap_err().to_string();
        assert!(error.contains("x86_64-unknown-linux-musl is 1.2.3 of c0ffee"), "{error}");
    }

    #[test]
    fn macs_are_released_joined() {
        let folders = ["aarch64-apple-darwin", "universal-apple-darwin", "x86_64-apple-darwin"];
        let joined = dist(&folders, &["orbit"]);
        let targets = read(joined.path(), &version("c0ffee")).unwrap();
        assert_eq!(targets.iter().map(Target::name).collect::<Vec<_>>(), [folders[1]]);
        let single = dist(&folders[..1], &["orbit"]);
        assert_eq!(read(single.path(), &version("c0ffee")).unwrap().len(), 1);
    }
}
