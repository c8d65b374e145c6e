//! What `cargo xtask dist` leaves behind: a folder a target, with programs, their symbols, and
//! `build.json`, which says how they were built.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::version::Version;

/// The product's programs, as far as a target has them.
const PROGRAMS: &[&str] = &["fleetctl", "fleet-server", "orbit", "fleet-desktop"];

/// Single macOS targets are not released when their programs are joined in [`UNIVERSAL`].
const UNIVERSAL: &str = "universal-apple-darwin";

/// How the programs of a folder were built. What `dist` says besides is not needed here.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Build {
    pub(super) version: String,
    pub(super) commit: String,
    pub(super) dirty: bool,
    pub(super) target: String,
    /// What `rustc --version --verbose` prints.
    pub(super) toolchain: String,
    #[serde(default)]
    pub(super) linker: Option<String>,
    #[serde(default)]
    pub(super) profile: Option<String>,
    #[serde(default)]
    pub(super) rustflags: Vec<String>,
    #[serde(default)]
    pub(super) command: Vec<String>,
}

/// The programs of one target.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// As Rust calls it, or `universal-apple-darwin`.
    pub(super) triple: String,
    pub(super) build: Build,
    pub(super) programs: Vec<Program>,
    /// Files and folders with symbols.
    pub(super) symbols: Vec<PathBuf>,
}

#[derive(Debug, Clone)]
pub(super) struct Program {
    /// Without `.exe`.
    pub(super) name: String,
    pub(super) path: PathBuf,
}

impl Target {
    pub(super) fn is_windows(&self) -> bool {
        self.triple.contains("-windows-")
    }

    /// The Rust targets whose programs are in here.
    pub(super) fn rust_targets(&self) -> Vec<&str> {
        match self.triple.as_str() {
            UNIVERSAL => vec!["aarch64-apple-darwin", "x86_64-apple-darwin"],
            triple => vec![triple],
        }
    }

    /// The path of the program `name`, if this target has it.
    pub(super) fn program(&self, name: &str) -> Option<&Path> {
        let program = self.programs.iter().find(|program| program.name == name)?;
        Some(&program.path)
    }

    /// The archive's name within a release.
    pub(super) fn archive(&self, version: &str) -> String {
        let extension = if self.is_windows() { "zip" } else { "tar.zst" };
        format!("fleetd-{version}-{}.{extension}", self.triple)
    }
}

/// Reads the folders in `dist`, sorted; all must be of `version`.
pub(super) fn read(dist: &Path, version: &Version) -> anyhow::Result<Vec<Target>> {
    let problem = || format!("could not read `{}`; `cargo xtask dist` makes it", dist.display());
    let mut targets = Vec::new();
    for entry in fs::read_dir(dist).with_context(problem)? {
        let dir = entry.with_context(problem)?.path();
        if dir.join("build.json").is_file() {
            targets.push(target(&dir)?);
        }
    }
    targets.sort_by(|a, b| a.triple.cmp(&b.triple));
    if targets.iter().any(|target| target.triple == UNIVERSAL) {
        targets.retain(|it| it.triple == UNIVERSAL || !it.triple.ends_with("-apple-darwin"));
    }
    if targets.is_empty() {
        bail!("`{}` has no target; `cargo xtask dist` builds them", dist.display());
    }
    demand_same_version(&targets, version)?;
    Ok(targets)
}

fn target(dir: &Path) -> anyhow::Result<Target> {
    let path = dir.join("build.json");
    let problem = || format!("could not read `{}`", path.display());
    let json = fs::read(&path).with_context(problem)?;
    let build: Build = serde_json::from_slice(&json).with_context(problem)?;
    let triple = dir.file_name().and_then(|name| name.to_str()).with_context(problem)?.to_owned();
    let extension = if triple.contains("-windows-") { ".exe" } else { "" };
    let program = |name: &&str| {
        let path = dir.join(format!("{name}{extension}"));
        path.is_file().then(|| Program { name: (*name).to_owned(), path })
    };
    let programs: Vec<_> = PROGRAMS.iter().filter_map(program).collect();
    if programs.is_empty() {
        bail!("`{}` has no program", dir.display());
    }
    Ok(Target { symbols: symbols(dir)?, triple, build, programs })
}

/// `.debug`, `.dwp`, `.pdb` and `.dSYM` beside the programs.
fn symbols(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let problem = || format!("could not read `{}`", dir.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(problem)? {
        let path = entry.with_context(problem)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("debug" | "dwp" | "pdb" | "dSYM")) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn demand_same_version(targets: &[Target], version: &Version) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    for Target { triple, build, .. } in targets {
        let Build { version: built, commit, dirty, .. } = build;
        if *built != version.text || *commit != version.commit || *dirty != version.dirty {
            problems.push(format!("{triple} is {built} of {commit}"));
        }
    }
    if !problems.is_empty() {
        let (wanted, commit) = (&version.text, &version.commit);
        let found = problems.join(", ");
        bail!("this is {wanted} of {commit}, but {found}; build again with `cargo xtask dist`");
    }
    Ok(())
}
