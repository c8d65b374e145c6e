//! How cargo is called for a target, so that neither directories nor clocks show in what it makes.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use xshell::{Cmd, cmd};

use super::{
    macos,
    program::Panic,
    target::{Linker, MACOS_MINIMUM, System, Target},
    toolchain::{self, Origin, Toolchain},
};
use crate::{
    cross::{Cross, ZIG, ZIGBUILD},
    version::Version,
    workspace::Workspace,
};

/// What a build is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be shipped: small and fast.
    Shipping,
    /// To be measured: as it is shipped, and in no release.
    Measuring,
    /// To see it run: built in little time. Cargo shares with the tests what it builds for itself.
    Proof,
}

impl Purpose {
    /// The folder of finished programs, below cargo's target directory.
    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Self::Shipping => "dist",
            Self::Measuring => "measured",
            Self::Proof => "proof",
        }
    }

    /// The profile of `Cargo.toml` for a program that treats panics so.
    pub(crate) const fn profile(self, panic: Panic) -> &'static str {
        match (self, panic) {
            (Self::Proof, _) => "dev",
            (Self::Shipping | Self::Measuring, Panic::Aborts) => "release-abort",
            (Self::Shipping | Self::Measuring, Panic::Unwinds) => "release",
        }
    }
}

/// Where cargo puts what it builds with `profile`, below the target's folder.
pub(crate) fn folder_of(profile: &str) -> &str {
    if profile == "dev" { "debug" } else { profile }
}

/// Where sources are, where cargo builds them, and as which version.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// The root of the sources.
    pub(crate) sources: &'a Path,
    /// Cargo's target directory.
    pub(crate) target: &'a Path,
    pub(crate) version: &'a Version,
}

/// Everything that cargo is told for one target.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Settings {
    /// What is run, without paths.
    pub(crate) command: Vec<String>,
    /// Flags for rustc, without paths.
    pub(crate) rustflags: Vec<String>,
    #[serde(skip)]
    remapped: Vec<(PathBuf, String)>,
    #[serde(skip)]
    environment: Vec<(String, PathBuf)>,
}

/// What a path of the machine is called in programs.
const SOURCES: &str = "/fleetd";
const BUILT: &str = "/fleetd/target";
const CARGO: &str = "/cargo";

impl Settings {
    pub(crate) fn new(
        workspace: &Workspace,
        place: &Place<'_>,
        target: &Target,
        toolchain: &Toolchain,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            command: command(target).iter().map(|word| (*word).to_owned()).collect(),
            rustflags: flags(target).iter().map(|flag| (*flag).to_owned()).collect(),
            remapped: remapped(workspace, place, toolchain)?,
            environment: environment(workspace, target, toolchain)?,
        })
    }

    /// The call that builds with `profile`; what to build is to be added.
    pub(crate) fn cargo<'a>(
        &self,
        workspace: &'a Workspace,
        place: &Place<'_>,
        target: &Target,
        profile: &str,
    ) -> anyhow::Result<Cmd<'a>> {
        let sh = &workspace.sh;
        let first = match target.linker {
            Linker::Mingw => PathBuf::from("cargo"),
            Linker::Zig | Linker::ZigAndLld => {
                Cross::new()?.zig().join("bin").join("cargo-zigbuild")
            }
        };
        let triple = target.triple;
        let verb = &self.command[1..];
        let manifest = place.sources.join("Cargo.toml");
        let mut cargo = cmd!(sh, "{first} {verb...} --target {triple} --profile {profile}")
            .arg("--manifest-path")
            .arg(manifest)
            .args(["--locked", "--quiet"]);
        for (name, value) in &self.environment {
            cargo = cargo.env(name, value);
        }
        Ok(cargo
            .env("CARGO_TARGET_DIR", place.target)
            .env("CARGO_ENCODED_RUSTFLAGS", self.encoded())
            .env(format!("CFLAGS_{}", triple.replace('-', "_")), self.c_flags()?)
            .env("CC_SHELL_ESCAPED_FLAGS", "1")
            .env("FLEETD_VERSION", &place.version.text)
            .env("SOURCE_DATE_EPOCH", place.version.date.to_string())
            .env_remove("RUSTFLAGS")
            .quiet())
    }

    /// Flags for rustc in the one form that allows spaces in paths.
    fn encoded(&self) -> String {
        let remap =
            |(from, to): &(PathBuf, String)| format!("--remap-path-prefix={}={to}", from.display());
        let all: Vec<_> =
            self.rustflags.iter().cloned().chain(self.remapped.iter().map(remap)).collect();
        all.join("\x1f")
    }

    /// Flags for C compilers, quoted as a shell has it, for those that have spaces in paths.
    fn c_flags(&self) -> anyhow::Result<String> {
        let map =
            |(from, to): &(PathBuf, String)| format!("-ffile-prefix-map={}={to}", from.display());
        let flags: Vec<_> = self.remapped.iter().map(map).collect();
        shlex::try_join(flags.iter().map(String::as_str))
            .context("could not tell a C compiler of this machine's folders")
    }
}

fn command(target: &Target) -> &'static [&'static str] {
    match target.linker {
        Linker::Mingw => &["cargo", "build"],
        Linker::Zig | Linker::ZigAndLld => &["cargo", "zigbuild"],
    }
}

fn flags(target: &Target) -> &'static [&'static str] {
    match (target.system, target.linker) {
        // Zig brings the C library's own start-up code. It passes over rustc's `-static-pie`, and
        // would lay the program at a fixed address.
        (System::Linux, _) => &["-Clink-self-contained=no", "-Clink-arg=-pie"],
        (System::Windows, Linker::Mingw) => &["-Clink-arg=-Wl,--no-insert-timestamp"],
        (System::Windows, _) => &[],
        // `-S`: no map of object files, whose paths and times would be part of the program's UUID.
        (System::Macos, _) => &[
            "-Clinker-flavor=ld64.lld",
            "-Clink-arg=-adhoc_codesign",
            "-Clink-arg=-S",
            "-Clink-arg=--error-limit=0",
        ],
    }
}

/// Directories of this machine, and what they are called instead. What comes later wins.
fn remapped(
    workspace: &Workspace,
    place: &Place<'_>,
    toolchain: &Toolchain,
) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let sh = &workspace.sh;
    let cargo = match sh.var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => etcetera::home_dir().context("could not find the home folder")?.join(".cargo"),
    };
    let rustc = &toolchain.rustc;
    let sysroot = PathBuf::from(cmd!(sh, "{rustc} --print sysroot").quiet().read()?);
    let std = sysroot.join("lib").join("rustlib").join("src").join("rust");
    Ok(vec![
        (cargo, CARGO.to_owned()),
        (std, format!("/rustc/{}", toolchain.commit())),
        (place.sources.to_owned(), SOURCES.to_owned()),
        (place.target.to_owned(), BUILT.to_owned()),
    ])
}

fn environment(
    workspace: &Workspace,
    target: &Target,
    toolchain: &Toolchain,
) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let cross = Cross::new()?;
    let mut all: Vec<(String, PathBuf)> = Vec::new();
    let mut set = |name: &str, value: PathBuf| all.push((name.to_owned(), value));
    if toolchain.origin == Origin::Debian {
        set("RUSTC", toolchain.rustc.clone());
    }
    set("CARGO_ZIGBUILD_PYTHON_PATH", cross.zig().join("bin").join("python3"));
    for (name, dir) in cross.caches() {
        set(name, dir);
    }
    let linker = format!("CARGO_TARGET_{}_LINKER", target.triple.replace('-', "_").to_uppercase());
    match target.linker {
        Linker::Zig => {}
        Linker::Mingw => set(&linker, "x86_64-w64-mingw32-gcc".into()),
        Linker::ZigAndLld => {
            set(&linker, toolchain::tools(workspace)?.join("rust-lld"));
            set("SDKROOT", macos::stubs(workspace, &cross)?);
            let (major, minor) = MACOS_MINIMUM;
            set("MACOSX_DEPLOYMENT_TARGET", format!("{major}.{minor}").into());
        }
    }
    Ok(all)
}

/// Who links for `target`, with version.
pub(crate) fn linker(workspace: &Workspace, target: &Target) -> anyhow::Result<String> {
    let sh = &workspace.sh;
    Ok(match target.linker {
        Linker::Zig => format!("zig {ZIG}, cargo-zigbuild {ZIGBUILD}"),
        Linker::Mingw => {
            let version = cmd!(sh, "x86_64-w64-mingw32-gcc -dumpfullversion").quiet().read()?;
            format!("mingw gcc {version}")
        }
        Linker::ZigAndLld => {
            let lld = toolchain::tools(workspace)?.join("rust-lld");
            let version = cmd!(sh, "{lld} -flavor darwin --version").quiet().read()?;
            let version = version.split_whitespace().nth(1).unwrap_or("lld").to_owned();
            format!("rust-lld {version}; C by zig {ZIG}, cargo-zigbuild {ZIGBUILD}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_a_space_in_its_name_is_one_flag() {
        let settings = Settings {
            command: Vec::new(),
            rustflags: Vec::new(),
            remapped: vec![("/a b/it's".into(), "/c".into()), ("/d".into(), "/e".into())],
            environment: Vec::new(),
        };
        let flags = shlex::split(&settings.c_flags().unwrap()).unwrap();
        assert_eq!(flags, ["-ffile-prefix-map=/a b/it's=/c", "-ffile-prefix-map=/d=/e"]);
        let remap = "--remap-path-prefix";
        assert_eq!(settings.encoded(), format!("{remap}=/a b/it's=/c\x1f{remap}=/d=/e"));
    }
}
