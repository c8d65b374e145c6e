//! What is packed: three programs of the Rust toolchain, about 60 MB, in the roles of ours.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use xshell::cmd;

use crate::{cleanup, workspace::Workspace};

/// Program of the toolchain, component that it stands for, and where that is installed.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("cargo", "orbit", "opt/orbit/bin/orbit/packaged"),
    ("rustdoc", "osqueryd", "opt/orbit/bin/osqueryd/packaged"),
    ("rustfmt", "fleet-desktop", "opt/orbit/bin/desktop/packaged"),
];

/// Files to pack, laid out as each tool wants them.
#[derive(Debug)]
pub(super) struct Payload {
    /// Everything of the benchmark, below the target directory.
    pub(super) dir: PathBuf,
    /// The programs side by side, for `fleetctl package --components`.
    pub(super) components: PathBuf,
    /// The programs where they are installed.
    pub(super) tree: PathBuf,
    /// Bytes in all.
    pub(super) size: u64,
}

impl Payload {
    pub(super) fn prepare(workspace: &Workspace) -> anyhow::Result<Self> {
        let sh = &workspace.sh;
        let sysroot = PathBuf::from(cmd!(sh, "rustc --print sysroot").quiet().read()?);
        let dir = workspace.scratch("bench")?;
        let (components, tree) = (dir.join("components"), dir.join("tree"));
        cleanup::remove(&components);
        cleanup::remove(&tree);
        let mut size = 0;
        for (program, component, folder) in PROGRAMS {
            let source = sysroot.join("bin").join(program);
            size += copy(&source, &components.join(component))?;
            copy(&source, &tree.join(folder).join(component))?;
        }
        Ok(Self { dir, components, tree, size })
    }

    /// Paths of the programs in the tree, relative to its root.
    pub(super) fn installed() -> impl Iterator<Item = String> {
        PROGRAMS.iter().map(|(_, component, folder)| format!("{folder}/{component}"))
    }

    /// The programs side by side.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> {
        PROGRAMS.iter().map(|(_, component, _)| self.components.join(component))
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<u64> {
    let problem = || format!("could not copy `{}` to `{}`", from.display(), to.display());
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(problem)?;
    }
    fs::copy(from, to).with_context(problem)
}
