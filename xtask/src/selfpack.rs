//! Packages of the product's own programs: .deb and .rpm of `fleetctl` and `fleet-server`, and the
//! server's container image. Our own packager makes them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use xshell::cmd;

use crate::{dist::target::Cpu, release::Files, workspace::Workspace};

/// What is to be packed, and where to.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Programs for Linux; those that nobody installs by themselves are not packed.
    pub(crate) programs: &'a [(Cpu, &'a Path)],
    /// What `fleetctl` writes about itself: manual pages, completions.
    pub(crate) reference: &'a Files,
    /// Where to write the packages; it exists.
    pub(crate) out: &'a Path,
    /// By [SemVer](https://semver.org).
    pub(crate) version: &'a str,
    /// What the packages are dated, in seconds since 1970.
    pub(crate) date: i64,
}

/// Packs what is there; gives the paths of what was written.
pub(crate) fn packages(
    workspace: &Workspace,
    request: &Request<'_>,
) -> anyhow::Result<Vec<PathBuf>> {
    let sh = &workspace.sh;
    let Request { programs, reference, out, version, date } = request;
    let documents = tempfile::tempdir().context("could not make a temporary folder")?;
    let documents = documents.path();
    write(reference, documents)?;
    let programs = programs.iter().map(|(cpu, path)| format!("{}={}", arch(*cpu), path.display()));
    let date = date.to_string();
    let product = ["run", "--quiet", "--locked", "-p", "fleetd-packager", "--example", "product"];
    let order = cmd!(sh, "cargo {product...} -- {documents} {out} {version} {date} {programs...}");
    let listing = order.quiet().read().context("could not pack our own programs")?;
    Ok(listing.lines().map(PathBuf::from).collect())
}

/// As packages name a processor.
const fn arch(cpu: Cpu) -> &'static str {
    match cpu {
        Cpu::X86_64 => "amd64",
        Cpu::Aarch64 => "arm64",
    }
}

fn write(files: &Files, folder: &Path) -> anyhow::Result<()> {
    for (name, text) in files {
        let path = folder.join(name);
        let parent = path.parent().context("a document lies nowhere")?;
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("could not write `{}`", path.display()))?;
    }
    Ok(())
}
