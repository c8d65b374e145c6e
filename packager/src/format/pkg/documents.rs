//! What the installer reads before it lays files: two documents and the scripts.

use std::io::{self, Write as _};

use super::{COMPONENT, Identifier};
use crate::{
    archive::cpio::odc::OdcWriter,
    compression::gzipped,
    package::Package,
    payload::Arch,
    template::{PkgDistribution, PkgInfo, PkgPostinstall, PkgPreinstall, rendered},
};

/// The oldest macOS that the programs are built for.
const MINIMUM_SYSTEM: &str = "11.0";
const SCRIPT: u16 = 0o100_755;
const FOLDER: u16 = 0o40_755;

/// Makes them.
pub(super) struct Documents<'a> {
    pub(super) package: &'a Package,
    pub(super) identifier: &'a Identifier,
    /// How many files and folders are laid.
    pub(super) files: usize,
}

impl Documents<'_> {
    pub(super) fn package_info(&self) -> String {
        rendered(&PkgInfo {
            component: &self.identifier.component(),
            version: &self.package.metadata.version,
            files: self.files,
            kbytes: self.kbytes(),
            scripts: !self.package.lifecycle.is_none(),
        })
    }

    pub(super) fn distribution(&self) -> String {
        let metadata = &self.package.metadata;
        rendered(&PkgDistribution {
            title: metadata.name,
            summary: metadata.summary,
            product: &self.identifier.to_string(),
            component: &self.identifier.component(),
            folder: COMPONENT,
            version: &metadata.version,
            archs: architectures(metadata.platform.arch),
            minimum: MINIMUM_SYSTEM,
            kbytes: self.kbytes(),
        })
    }

    /// A squeezed cpio archive.
    pub(super) fn scripts(&self) -> io::Result<Vec<u8>> {
        let lifecycle = &self.package.lifecycle;
        let scripts = [
            ("./postinstall", PkgPostinstall::text(lifecycle)),
            ("./preinstall", PkgPreinstall::text(lifecycle)),
        ];
        let mut cpio = OdcWriter::new(Vec::new(), self.package.built_at.unix());
        cpio.begin(".", FOLDER, 0)?;
        for (path, text) in scripts {
            cpio.begin(path, SCRIPT, text.len() as u64)?;
            cpio.out().write_all(text.as_bytes())?;
        }
        Ok(gzipped(&cpio.finish()?))
    }

    /// What the files take on disk.
    fn kbytes(&self) -> u64 {
        self.package.tree.iter().map(|(_, entry)| entry.size().div_ceil(1024)).sum()
    }
}

/// As Apple names them.
pub(super) const fn architectures(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "x86_64",
        Arch::Arm64 => "arm64",
        Arch::Universal => "arm64,x86_64",
    }
}
