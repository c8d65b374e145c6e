//! Where the tools that build for other systems lie: below the user's cache folder, so that every
//! checkout shares them and `cargo clean` spares them. `cargo xtask setup --cross` fills it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use etcetera::BaseStrategy as _;

use crate::python;

/// The C compiler for every foreign system but Windows on x86_64, and what makes cargo use it.
pub(crate) const ZIG: &str = "0.17.1";
pub(crate) const ZIGBUILD: &str = "0.24.0";

/// Both, as pip knows them.
pub(crate) fn zig_requirements() -> [String; 2] {
    [format!("ziglang=={ZIG}"), format!("cargo-zigbuild=={ZIGBUILD}")]
}

/// The folder of the tools.
#[derive(Debug, Clone)]
pub(crate) struct Cross {
    dir: PathBuf,
}

impl Cross {
    /// Below `$XDG_CACHE_HOME`, else `~/.cache`.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let base = etcetera::choose_base_strategy().context("could not find the home folder")?;
        Ok(Self { dir: base.cache_dir().join("fleetd").join("cross") })
    }

    /// The folder itself, made if need be.
    pub(crate) fn dir(&self) -> anyhow::Result<&Path> {
        fs::create_dir_all(&self.dir)
            .with_context(|| format!("could not make `{}`", self.dir.display()))?;
        Ok(&self.dir)
    }

    /// The Python environment with zig and cargo-zigbuild.
    pub(crate) fn zig(&self) -> PathBuf {
        self.dir.join(format!("zig-{ZIG}-{ZIGBUILD}"))
    }

    /// Tells whether they are installed.
    pub(crate) fn has_zig(&self) -> bool {
        python::has(&self.zig(), &zig_requirements().each_ref().map(String::as_str))
    }

    /// What both keep between builds.
    pub(crate) fn caches(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("ZIG_GLOBAL_CACHE_DIR", self.dir.join("zig-cache")),
            ("CARGO_ZIGBUILD_CACHE_DIR", self.dir.join("zigbuild-cache")),
        ]
    }

    /// The headers and stubs that zig brings.
    pub(crate) fn zig_library(&self) -> anyhow::Result<PathBuf> {
        let lib = self.zig().join("lib");
        let problem = || format!("could not find zig in `{}`", lib.display());
        let pythons = fs::read_dir(&lib).with_context(problem)?;
        let of = |python: fs::DirEntry| python.path().join("site-packages/ziglang/lib");
        pythons.flatten().map(of).find(|path| path.exists()).with_context(problem)
    }

    /// Debian's compiler.
    pub(crate) fn debian(&self) -> PathBuf {
        self.dir.join("debian")
    }

    /// Why rustup could not add `triple`, as it said itself.
    pub(crate) fn refusal(&self, triple: &str) -> PathBuf {
        self.dir.join(format!("rustup-{triple}.txt"))
    }
}
