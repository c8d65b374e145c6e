//! Debian's newest compiler, unpacked and not installed, with standard libraries compiled from its
//! own sources. For machines that rustup can fetch nothing for: Debian has the compiler (rustc-web)
//! and the sources (rust-web-src) of one version, but standard libraries for few systems.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use xshell::cmd;

use crate::{
    cleanup::TemporaryDir,
    cross::Cross,
    dist::{
        target::{Linker, Target},
        toolchain,
    },
    setup, terminal,
    workspace::Workspace,
};

/// Packages whose names do not change with the version.
const PACKAGES: &[&str] = &["rustc-web", "libstd-rust-web-dev", "rust-web-src"];

/// Gets the compiler, unless it is there, and the standard library of `target`, unless that is.
pub(super) fn install(workspace: &Workspace, cross: &Cross, target: &Target) -> anyhow::Result<()> {
    let dir = cross.debian();
    if !dir.join(".unpacked").exists() {
        compiler(workspace, cross, &dir)?;
    }
    let rustc = dir.join("bin").join("rustc");
    if !toolchain::has_library(workspace, &rustc, target)? {
        library(workspace, &dir, target)?;
    }
    Ok(())
}

/// Downloads the packages and unpacks them into `dir`, which is there when all of it is.
fn compiler(workspace: &Workspace, cross: &Cross, dir: &Path) -> anyhow::Result<()> {
    let sh = &workspace.sh;
    let runtime = dependency(workspace, "libstd-rust-web-dev", "libstd-rust-web-")?;
    let llvm = dependency(workspace, &runtime, "libllvm")?;
    setup::install(workspace, &[&llvm])?;
    terminal::note(&format!("downloading rustc-web, {runtime} and rust-web-src from Debian"));
    let downloads = TemporaryDir::new()?;
    {
        let _there = sh.push_dir(downloads.path());
        let packages = PACKAGES.iter().copied().chain([runtime.as_str()]);
        cmd!(sh, "apt-get download --quiet {packages...}").quiet().ignore_stdout().run()?;
    }
    let fresh = cross.dir()?.join("debian.fresh");
    crate::cleanup::remove(&fresh);
    for package in fs::read_dir(downloads.path()).context("could not list packages")?.flatten() {
        let package = package.path();
        cmd!(sh, "dpkg-deb --extract {package} {fresh}").quiet().run()?;
    }
    arrange(workspace, &fresh)?;
    crate::cleanup::remove(dir);
    fs::rename(&fresh, dir).with_context(|| format!("could not make `{}`", dir.display()))?;
    fs::write(dir.join(".unpacked"), "").context("could not note that it is unpacked")
}

/// The package that `package` depends on and whose name begins with `prefix`.
fn dependency(workspace: &Workspace, package: &str, prefix: &str) -> anyhow::Result<String> {
    let sh = &workspace.sh;
    let listing = cmd!(sh, "apt-cache depends {package}").quiet().read().with_context(|| {
        format!("Debian 12 has `{package}` among its security updates; `apt-get update` first")
    })?;
    let mut names = listing.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let newest = names.rfind(|name| name.starts_with(prefix));
    Ok(newest.with_context(|| format!("`{package}` depends on no {prefix}"))?.to_owned())
}

/// Makes a toolchain of what lies as Debian installs it.
fn arrange(workspace: &Workspace, root: &Path) -> anyhow::Result<()> {
    let sh = &workspace.sh;
    let line = "mv usr/lib/x86_64-linux-gnu/* usr/lib/ && rmdir usr/lib/x86_64-linux-gnu \
                && rm -rf etc usr/share && mv usr/* . && rmdir usr && mv bin/rustc bin/rustc.elf";
    let _there = sh.push_dir(root);
    cmd!(sh, "sh -c {line}").quiet().run()?;
    // Its libraries are not where Debian would have them.
    let text =
        "#!/bin/sh\nhere=${0%/*}\nLD_LIBRARY_PATH=$here/../lib exec \"$here/rustc.elf\" \"$@\"\n";
    let rustc = root.join("bin").join("rustc");
    fs::write(&rustc, text).context("could not write a wrapper for rustc")?;
    fs::set_permissions(&rustc, fs::Permissions::from_mode(0o755))
        .context("could not make the wrapper executable")?;
    let manifest = sources(root)?.join("std").join("Cargo.toml");
    let text = fs::read_to_string(&manifest).context("could not read std's manifest")?;
    // A shared library would need a linker and a C library for the target.
    let text = text.replace(r#"crate-type = ["dylib", "rlib"]"#, r#"crate-type = ["rlib"]"#);
    fs::write(&manifest, text).context("could not change std's manifest")
}

/// The sources of the standard library.
fn sources(root: &Path) -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir(root.join("src")).context("there are no sources")?;
    let found = versions.flatten().map(|entry| entry.path().join("library"));
    found.into_iter().find(|path| path.exists()).context("there are no sources of the library")
}

/// Compiles the standard library of `target`; its own dependencies come from the registry of Rust packages.
fn library(workspace: &Workspace, root: &Path, target: &Target) -> anyhow::Result<()> {
    let (sh, triple) = (&workspace.sh, target.triple);
    terminal::note(&format!("compiling the standard library for {triple}"));
    let rustc = root.join("bin").join("rustc");
    let sources = sources(root)?;
    let manifest = sources.join("sysroot").join("Cargo.toml");
    let scratch = TemporaryDir::new()?;
    let built = scratch.path();
    let remap = format!("--remap-path-prefix={}=/rustc/library", sources.display());
    let flags = ["-Zforce-unstable-if-unmarked", "-Cembed-bitcode=yes", &remap].join("\x1f");
    cmd!(sh, "cargo build --quiet --locked --release --manifest-path {manifest} --target {triple} --features panic-unwind,backtrace")
        .env("RUSTC", &rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("__CARGO_DEFAULT_LIB_METADATA", "fleetd")
        .env("CARGO_TARGET_DIR", built)
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .quiet()
        .run()?;
    let objects = built.join(triple).join("release").join("deps");
    let place = root.join("lib").join("rustlib").join(triple).join("lib");
    fs::create_dir_all(&place).context("could not make the library's folder")?;
    if target.linker == Linker::Mingw {
        start_up_code(workspace, (&rustc, &sources), triple, &place)?;
    }
    put(&objects, &place)
}

/// Objects that rustc links first and last into a program of mingw.
fn start_up_code(
    workspace: &Workspace,
    (rustc, sources): (&Path, &Path),
    triple: &str,
    place: &Path,
) -> anyhow::Result<()> {
    let sh = &workspace.sh;
    for name in ["rsbegin", "rsend"] {
        let (source, object) =
            (sources.join("rtstartup").join(format!("{name}.rs")), place.join(format!("{name}.o")));
        cmd!(
            sh,
            "{rustc} --target {triple} --edition 2021 --emit obj -Cpanic=abort -o {object} {source}"
        )
        .env("RUSTC_BOOTSTRAP", "1")
        .quiet()
        .run()?;
    }
    Ok(())
}

/// Copies libraries; `libstd`, by which others tell that they are all there, comes last.
fn put(from: &Path, to: &Path) -> anyhow::Result<()> {
    let listing = fs::read_dir(from).context("could not list what was compiled")?;
    let mut files: Vec<_> = listing
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rlib"))
        .collect();
    files.sort_by_key(|path| path.to_string_lossy().contains("libstd-"));
    if files.is_empty() {
        bail!("nothing was compiled");
    }
    for file in files {
        let name = file.file_name().context("a file has a name")?;
        fs::copy(&file, to.join(name)).context("could not copy a library")?;
    }
    Ok(())
}
