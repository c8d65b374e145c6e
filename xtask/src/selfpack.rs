//! Packages of the programs that `cargo xtask dist` has built: .deb and .rpm of `fleetctl` and
//! `fleet-server`, and the server's container image. Our own packager makes them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use xshell::cmd;

use crate::{release, workspace::Workspace};

/// What is to be packed, and where to.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// A folder with one for each target in it; the Linux ones are packed.
    pub(crate) dist: &'a Path,
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
    let documents = tempfile::tempdir().context("could not make a temporary folder")?;
    write_documents(workspace, documents.path())?;
    let Request { dist, out, version, date } = request;
    let (documents, date) = (documents.path(), date.to_string());
    let product = ["run", "--quiet", "--locked", "-p", "fleetd-packager", "--example", "product"];
    let order = cmd!(sh, "cargo {product...} -- {dist} {documents} {out} {version} {date}");
    let listing = order.quiet().read().context("could not pack our own programs")?;
    Ok(listing.lines().map(PathBuf::from).collect())
}

/// Lets the `fleetctl` of this checkout write its manual and completions below `folder`.
fn write_documents(workspace: &Workspace, folder: &Path) -> anyhow::Result<()> {
    let fleetctl = workspace.programs()?.fleetctl;
    for (name, text) in release::reference(workspace, &fleetctl)? {
        let path = folder.join(name);
        let parent = path.parent().context("a document lies nowhere")?;
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("could not write `{}`", path.display()))?;
    }
    Ok(())
}
