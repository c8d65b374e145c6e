//! Which compiler builds for a target, and why none that would be preferred.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use xshell::cmd;

use super::target::{Linker, Target};
use crate::{cross::Cross, workspace::Workspace};

/// Where a compiler comes from, the preferred one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Origin {
    /// The compiler that rustup installed, with the target's standard library from rustup
    Rustup,
    /// Debian's rustc-web, with a standard library compiled from rust-web-src
    Debian,
}

/// A compiler that can build for one target.
#[derive(Debug, Clone)]
pub(crate) struct Toolchain {
    pub(crate) origin: Origin,
    /// The compiler.
    pub(crate) rustc: PathBuf,
    /// What it says about itself.
    pub(crate) version: String,
    /// What was preferred and is not there, with the reason.
    pub(crate) passed_over: Vec<String>,
}

impl Toolchain {
    /// The first line of what the compiler says about itself: name, version, date.
    pub(crate) fn name(&self) -> &str {
        self.version.lines().next().unwrap_or_default()
    }

    /// The commit that the compiler was built from.
    pub(crate) fn commit(&self) -> &str {
        let line = self.version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
        line.unwrap_or("unknown")
    }

    pub(crate) fn origin(&self) -> &'static str {
        match self.origin {
            Origin::Rustup => "rustup's",
            Origin::Debian => "Debian's",
        }
    }
}

/// Finds the compiler for `target`, from `wanted` only if that is given.
pub(crate) fn find(
    workspace: &Workspace,
    cross: &Cross,
    target: &Target,
    wanted: Option<Origin>,
) -> anyhow::Result<Toolchain> {
    let refusal = fs::read_to_string(cross.refusal(target.triple)).ok();
    choose(target, wanted, refusal.as_deref(), |origin| {
        let rustc = compiler(workspace, cross, origin)?;
        if !has_library(workspace, &rustc, target)? {
            return Ok(None);
        }
        let version = described(workspace, &rustc)?;
        Ok(Some((rustc, version)))
    })
}

/// Takes the first compiler that `look` gives, with what it says about itself. `refusal` is what
/// `rustup target add` has said, if it was tried and failed.
fn choose(
    target: &Target,
    wanted: Option<Origin>,
    refusal: Option<&str>,
    look: impl Fn(Origin) -> anyhow::Result<Option<(PathBuf, String)>>,
) -> anyhow::Result<Toolchain> {
    let mut passed_over = Vec::new();
    let origins = [Origin::Rustup, Origin::Debian];
    for origin in origins.into_iter().filter(|origin| wanted.is_none_or(|it| it == *origin)) {
        if let Some((rustc, version)) = look(origin)? {
            return Ok(Toolchain { origin, rustc, version, passed_over });
        }
        passed_over.push(reason(origin, refusal));
    }
    bail!(
        "nothing here builds for {}: {}; `cargo xtask setup --cross --target {}` installs what does",
        target.triple,
        passed_over.join("; "),
        target.triple
    )
}

/// Fails with everything that is missing besides the compiler.
pub(crate) fn check_tools(
    workspace: &Workspace,
    cross: &Cross,
    targets: &[&Target],
) -> anyhow::Result<()> {
    let sh = &workspace.sh;
    let mut missing = Vec::new();
    let with = |wanted: fn(&Target) -> bool| targets.iter().any(|target| wanted(target));
    if with(|target| target.linker != Linker::Mingw) && !cross.has_zig() {
        missing.push("zig and cargo-zigbuild");
    }
    let mingw = || cmd!(sh, "x86_64-w64-mingw32-gcc --version").quiet().ignore_stdout().run();
    if with(|target| target.linker == Linker::Mingw) && mingw().is_err() {
        missing.push("mingw");
    }
    if !missing.is_empty() {
        bail!("not there: {}; `cargo xtask setup --cross` installs them", missing.join(", "));
    }
    Ok(())
}

/// The folder of linkers and object tools in the toolchain that runs xtask.
pub(crate) fn tools(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let sh = &workspace.sh;
    let sysroot = PathBuf::from(cmd!(sh, "rustc --print sysroot").quiet().read()?);
    let host = host(workspace)?;
    Ok(sysroot.join("lib").join("rustlib").join(host).join("bin"))
}

/// The triple of this machine.
pub(crate) fn host(workspace: &Workspace) -> anyhow::Result<String> {
    let version = described(workspace, Path::new("rustc"))?;
    let line = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.context("rustc does not say what it runs on")?.to_owned())
}

/// The program `rustc` itself, not the one that chooses among toolchains.
pub(crate) fn compiler(
    workspace: &Workspace,
    cross: &Cross,
    origin: Origin,
) -> anyhow::Result<PathBuf> {
    let sh = &workspace.sh;
    Ok(match origin {
        Origin::Rustup => {
            let sysroot = cmd!(sh, "rustc --print sysroot").quiet().read()?;
            Path::new(&sysroot).join("bin").join("rustc")
        }
        Origin::Debian => cross.debian().join("bin").join("rustc"),
    })
}

fn described(workspace: &Workspace, rustc: &Path) -> anyhow::Result<String> {
    let sh = &workspace.sh;
    Ok(cmd!(sh, "{rustc} --version --verbose").quiet().read()?)
}

/// Tells whether `rustc` is there and has a standard library for `target`.
pub(crate) fn has_library(
    workspace: &Workspace,
    rustc: &Path,
    target: &Target,
) -> anyhow::Result<bool> {
    if !rustc.exists() {
        return Ok(false);
    }
    let (sh, triple) = (&workspace.sh, target.triple);
    let dir = cmd!(sh, "{rustc} --print target-libdir --target {triple}").quiet().read()?;
    Ok(has_std(Path::new(&dir)))
}

/// Tells whether `dir` is there and has the standard library that programs are linked with.
fn has_std(dir: &Path) -> bool {
    let Ok(listing) = fs::read_dir(dir) else { return false };
    let is_std = |name: &str| name.starts_with("libstd-") && name.ends_with(".rlib");
    listing.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_std))
}

fn reason(origin: Origin, refusal: Option<&str>) -> String {
    match origin {
        Origin::Rustup => {
            let told = refusal.map(str::trim).filter(|text| !text.is_empty());
            let told = told.map(|text| format!("`rustup target add` said: {text}"));
            let told = told.unwrap_or_else(|| "`rustup target add` was not tried".to_owned());
            format!("rustup has installed no standard library for it ({told})")
        }
        Origin::Debian => "Debian's compiler is not set up for it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIPLE: &str = "aarch64-unknown-linux-musl";
    const REFUSED: &str = "could not download file\n";

    /// What is chosen where only the compilers of `there` have the standard library.
    fn chosen(there: &[Origin], wanted: Option<Origin>, refusal: Option<&str>) -> String {
        let target = Target::named(TRIPLE).unwrap();
        let found = choose(target, wanted, refusal, |origin| {
            let known = (PathBuf::from("rustc"), "rustc 1.0.0\nhost: here".to_owned());
            Ok(there.contains(&origin).then_some(known))
        });
        match found {
            Ok(it) => {
                format!("{} {}; passed over: {:?}", it.origin(), it.name(), it.passed_over)
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn rustups_compiler_is_preferred() {
        let said = chosen(&[Origin::Debian, Origin::Rustup], None, None);
        assert_eq!(said, "rustup's rustc 1.0.0; passed over: []");
    }

    #[test]
    fn debians_is_taken_where_rustup_has_no_library_and_the_reason_is_told() {
        let said = chosen(&[Origin::Debian], None, Some(REFUSED));
        assert_eq!(
            said,
            "Debian's rustc 1.0.0; passed over: [\"rustup has installed no standard library for it \
             (`rustup target add` said: could not download file)\"]"
        );
        for untried in [None, Some(""), Some("\n")] {
            let said = chosen(&[Origin::Debian], None, untried);
            assert!(said.contains("(`rustup target add` was not tried)"), "{said}");
        }
    }

    #[test]
    fn every_reason_is_told_where_there_is_none_and_what_installs_one() {
        assert_eq!(
            chosen(&[], None, Some(REFUSED)),
            "nothing here builds for aarch64-unknown-linux-musl: rustup has installed no standard \
             library for it (`rustup target add` said: could not download file); Debian's compiler \
             is not set up for it; `cargo xtask setup --cross --target aarch64-unknown-linux-musl` \
             installs what does"
        );
    }

    #[test]
    fn what_is_wanted_is_taken_or_nothing() {
        let both = [Origin::Rustup, Origin::Debian];
        let said = chosen(&both, Some(Origin::Debian), Some(REFUSED));
        assert_eq!(said, "Debian's rustc 1.0.0; passed over: []");
        let said = chosen(&[Origin::Debian], Some(Origin::Rustup), None);
        assert!(said.starts_with("nothing here builds for"), "{said}");
        assert!(!said.contains("Debian"), "{said}");
    }

    #[test]
    fn a_compiler_that_fails_is_no_compiler_that_is_not_there() {
        let target = Target::named(TRIPLE).unwrap();
        let error = choose(target, None, None, |_| bail!("it crashed")).unwrap_err();
        assert_eq!(error.to_string(), "it crashed");
    }

    #[test]
    fn a_library_is_what_programs_are_linked_with() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!has_std(&dir.path().join("nowhere")));
        for other in ["libstd-0a1b.so", "libcore-0a1b.rlib", "libstd-0a1b.rmeta"] {
            fs::write(dir.path().join(other), "").unwrap();
        }
        assert!(!has_std(dir.path()));
        fs::write(dir.path().join("libstd-0a1b.rlib"), "").unwrap();
        assert!(has_std(dir.path()));
    }
}
