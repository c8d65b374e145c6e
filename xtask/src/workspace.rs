//! Where things are: the checkout, cargo's target directory, and the programs built there.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use xshell::{Shell, cmd};

/// A variable that is set for tasks which are started once the programs are up to date.
pub(crate) const BUILT: &str = "FLEETD_PROGRAMS_BUILT";

/// The checkout that xtask was compiled from.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// A shell whose directory is the checkout's root.
    pub(crate) sh: Shell,
    /// The checkout's root.
    pub(crate) root: PathBuf,
    /// Cargo's target directory; honours `CARGO_TARGET_DIR`.
    pub(crate) target: PathBuf,
    /// Whether the programs are known to be up to date.
    built: Cell<bool>,
}

/// The product's programs.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) fleetctl: PathBuf,
    pub(crate) server: PathBuf,
    pub(crate) orbit: PathBuf,
    pub(crate) desktop: PathBuf,
}

impl Workspace {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let sh = Shell::new().context("could not start in the current directory")?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask lies in no workspace")?
            .to_owned();
        sh.change_dir(&root);
        let target =
            sh.var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        let built = Cell::new(sh.var_os(BUILT).is_some());
        Ok(Self { sh, root, target, built })
    }

    /// A directory of ours below the target directory, made if need be.
    pub(crate) fn scratch(&self, name: &str) -> anyhow::Result<PathBuf> {
        let dir = self.target.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("could not make `{}`", dir.display()))?;
        Ok(dir)
    }

    /// Builds all programs of the product, once; tells where they are.
    pub(crate) fn programs(&self) -> anyhow::Result<Programs> {
        if !self.built.replace(true) {
            let sh = &self.sh;
            let packages = ["-p", "fleetd-fleetctl", "-p", "fleetd-server", "-p", "fleetd-agent"];
            cmd!(sh, "cargo build --locked {packages...} --bins").quiet().run()?;
        }
        let dir = self.target.join("debug");
        Ok(Programs {
            fleetctl: dir.join("fleetctl"),
            server: dir.join("fleet-server"),
            orbit: dir.join("orbit"),
            desktop: dir.join("fleet-desktop"),
        })
    }

    /// Builds the example `name` of `package`, unless the tests have; tells where it is.
    pub(crate) fn example(&self, package: &str, name: &str) -> anyhow::Result<PathBuf> {
        if !self.built.get() {
            let sh = &self.sh;
            cmd!(sh, "cargo build --locked -p {package} --example {name}").quiet().run()?;
        }
        Ok(self.target.join("debug").join("examples").join(name))
    }

    /// Takes note that `cargo test --workspace` has just built the programs. Tests bring features of
    /// dependencies with them, so that building the programs alone would compile half of the
    /// dependencies again.
    pub(crate) fn tests_have_built(&self) {
        self.built.set(true);
    }

    /// Paths of the files under version control or about to be, relative to the root, sorted.
    pub(crate) fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let sh = &self.sh;
        let listing =
            cmd!(sh, "git ls-files -z --cached --others --exclude-standard").quiet().read()?;
        let mut files: Vec<_> = listing
            .split('\0')
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .filter(|path| self.root.join(path).is_file())
            .collect();
        files.sort();
        Ok(files)
    }
}
