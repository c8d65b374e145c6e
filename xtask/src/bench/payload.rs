//! What is packed: three programs of the Rust toolchain, about 60 MB, in the roles of ours; with a header in
//! front where packages look for one.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use xshell::cmd;

use super::contender::Format;
use crate::{cleanup, workspace::Workspace};

/// Program of the toolchain, component that it stands for, and where that is installed.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("cargo", "orbit", "opt/orbit/bin/orbit/packaged"),
    ("rustdoc", "osqueryd", "opt/orbit/bin/osqueryd/packaged"),
    ("rustfmt", "fleet-desktop", "opt/orbit/bin/desktop/packaged"),
];

/// Processors as Windows numbers them, and 64-bit ARM as ELF does, where that number is.
const AMD64: u16 = 0x8664;
const ARM64: u16 = 0xaa64;
const ELF_ARM64: [u8; 2] = [0xb7, 0];
const ELF_PROCESSOR: usize = 18;

/// Files to pack, laid out as each tool wants them.
#[derive(Debug)]
pub(super) struct Payload {
    /// Everything of the benchmark, below the target directory.
    pub(super) dir: PathBuf,
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
        let payload = Self { tree: dir.join("tree"), dir, size: 0 };
        cleanup::remove(&payload.tree);
        for format in Format::ALL {
            cleanup::remove(&payload.components(format));
        }
        let mut size = 0;
        for (program, component, folder) in PROGRAMS {
            let source = sysroot.join("bin").join(program);
            let bytes = fs::read(&source)
                .with_context(|| format!("could not read `{}`", source.display()))?;
            size += bytes.len() as u64;
            let linux = payload.components(Format::Deb).join(component);
            let windows = payload.components(Format::Msi).join(format!("{component}.exe"));
            let macos = payload.components(Format::Pkg).join("orbit");
            append(&linux, &[&bytes])?;
            append(&payload.tree.join(folder).join(component), &[&bytes])?;
            append(&windows, &[&windows_header(AMD64), &bytes])?;
            append(&macos, &[b"#!/bin/sh\n", &bytes])?;
        }
        Ok(Self { size, ..payload })
    }

    /// The programs side by side, for `fleetctl package --components`. macOS has all of them as one.
    pub(super) fn components(&self, format: Format) -> PathBuf {
        self.dir.join("components").join(match format {
            Format::Deb | Format::Rpm => "linux",
            Format::Msi => "windows",
            Format::Pkg => "macos",
        })
    }

    /// A folder with the programs for every platform, each in its own folder.
    pub(super) fn matrix(&self) -> anyhow::Result<PathBuf> {
        let folder = self.dir.join("components").join("matrix");
        cleanup::remove(&folder);
        for ((_, program, _), component) in PROGRAMS.iter().zip(["orbit", "osqueryd", "desktop"]) {
            let source = self.components(Format::Deb).join(program);
            let bytes = fs::read(&source)
                .with_context(|| format!("could not read `{}`", source.display()))?;
            let lay = |platform: &str, name: &str, parts: &[&[u8]]| {
                append(&folder.join(component).join(platform).join(name), parts)
            };
            let (start, rest) = bytes.split_at(ELF_PROCESSOR);
            lay("linux", program, &[&bytes])?;
            lay("linux-arm64", program, &[start, &ELF_ARM64, &rest[ELF_ARM64.len()..]])?;
            let windows = format!("{program}.exe");
            lay("windows", &windows, &[&windows_header(AMD64), &bytes])?;
            lay("windows-arm64", &windows, &[&windows_header(ARM64), &bytes])?;
            let macos = if component == "osqueryd" { "macos-app" } else { "macos" };
            lay(macos, program, &[b"#!/bin/sh\n", &bytes])?;
        }
        Ok(folder)
    }

    /// Paths of the programs in the tree, relative to its root.
    pub(super) fn installed() -> impl Iterator<Item = String> {
        PROGRAMS.iter().map(|(_, component, folder)| format!("{folder}/{component}"))
    }

    /// The programs that packages of `format` hold.
    pub(super) fn files(&self, format: Format) -> impl Iterator<Item = PathBuf> {
        let folder = self.components(format);
        let names: Vec<_> = match format {
            Format::Deb | Format::Rpm => PROGRAMS.iter().map(|it| it.1.to_owned()).collect(),
            Format::Msi => PROGRAMS.iter().map(|it| format!("{}.exe", it.1)).collect(),
            Format::Pkg => vec!["orbit".to_owned()],
        };
        names.into_iter().map(move |name| folder.join(name))
    }
}

/// Writes `parts` to the end of a file that everybody may run.
fn append(path: &Path, parts: &[&[u8]]) -> anyhow::Result<()> {
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        let mut file = fs::OpenOptions::new().create(true).append(true).mode(0o755).open(path)?;
        parts.iter().try_for_each(|part| file.write_all(part))
    };
    write().with_context(|| format!("could not write `{}`", path.display()))
}

/// The start of a program for Windows on `processor`, as far as it tells what it is a program for.
fn windows_header(processor: u16) -> [u8; 512] {
    let mut header = [0; 512];
    header[..2].copy_from_slice(b"MZ");
    header[0x3c] = 0x40;
    header[0x40..0x44].copy_from_slice(b"PE\0\0");
    header[0x44..0x46].copy_from_slice(&processor.to_le_bytes());
    header[0x54] = 240;
    header[0x58..0x5a].copy_from_slice(&[0x0b, 0x02]);
    header
}
