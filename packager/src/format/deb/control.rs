//! `control.tar.gz`: what the package says of itself, and its scripts.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use semver::Version;

use crate::{
    archive::tar::{Item, TarWriter},
    compression::gzipped,
    package::Package,
    payload::{Arch, Library},
    template::{DebPostinst, DebPostrm, DebPrerm, rendered},
    tree::{Entry, FileTree, InstallPath, Owner, Role},
};

/// Makes the archive.
pub(super) struct Control<'a> {
    pub(super) package: &'a Package,
    pub(super) tree: &'a FileTree,
}

const SCRIPT: u16 = 0o755;
const DATA: u16 = 0o644;

impl Control<'_> {
    pub(super) fn archive(&self) -> io::Result<Vec<u8>> {
        let mut members = vec![("/control", DATA, self.control())];
        let conffiles = self.conffiles();
        if !conffiles.is_empty() {
            members.push(("/conffiles", DATA, conffiles));
        }
        members.extend(self.scripts().map(|(path, text)| (path, SCRIPT, text)));
        let mut tar = TarWriter::new(Vec::new(), self.package.built_at.unix());
        tar.dir(&item("/", SCRIPT))?;
        for (path, mode, text) in members {
            tar.file(&item(path, mode), text.len() as u64)?;
            tar.out().write_all(text.as_bytes())?;
            tar.pad(text.len() as u64)?;
        }
        Ok(gzipped(&tar.finish()?))
    }

    /// Nothing for a package whose files are all there is to it.
    fn scripts(&self) -> impl Iterator<Item = (&'static str, String)> {
        let lifecycle = &self.package.lifecycle;
        let scripts = [
            ("/postinst", rendered(&DebPostinst { lifecycle, owned: self.owned() })),
            ("/postrm", DebPostrm::text(lifecycle)),
            ("/prerm", DebPrerm::text(lifecycle)),
        ];
        scripts.into_iter().filter(|_| !lifecycle.is_none())
    }

    /// Paths whose group is not there yet when dpkg lays them.
    fn owned(&self) -> Vec<&InstallPath> {
        let of_account = |entry: &Entry| entry.owner != Owner::ROOT;
        self.tree.iter().filter(|(_, entry)| of_account(entry)).map(|(path, _)| path).collect()
    }

    fn control(&self) -> String {
        let metadata = &self.package.metadata;
        let mut control = Paragraph::default();
        control.field("Package", metadata.name);
        control.field("Version", &version(&metadata.version));
        control.field("Architecture", architecture(metadata.platform.arch));
        control.field("Maintainer", metadata.publisher.maintainer());
        control.field("Installed-Size", &self.installed_size().to_string());
        let depends = self.depends();
        control.list("Depends", &depends.iter().map(String::as_str).collect::<Vec<_>>());
        control.list("Recommends", metadata.recommends);
        control.list("Conflicts", metadata.conflicts);
        control.field("Section", "admin");
        control.field("Priority", "optional");
        if let Some(homepage) = metadata.publisher.homepage() {
            control.field("Homepage", homepage.as_str());
        }
        control.description(metadata.summary, metadata.description);
        control.0
    }

    fn depends(&self) -> Vec<String> {
        let accounts = self.package.lifecycle.account.map(|_| SYSUSERS.to_owned());
        having(&self.package.metadata.libraries).chain(accounts).collect()
    }

    /// In KiB, each entry rounded up, a folder or symlink counted as one. Source: dpkg-gencontrol.
    fn installed_size(&self) -> u64 {
        self.tree.iter().map(|(_, entry)| entry.size().div_ceil(1024).max(1)).sum()
    }

    fn conffiles(&self) -> String {
        self.tree.with_role(Role::Config).fold(String::new(), |mut text, path| {
            let _ = writeln!(text, "{path}");
            text
        })
    }
}

/// The packages that have `libraries`. What neither glibc nor gcc brings has no name that holds for
/// every Debian, and is not asked for.
fn having(libraries: &[Library]) -> impl Iterator<Item = String> {
    const GLIBC: &str = "GLIBC_";
    let versions = libraries.iter().filter_map(|library| library.version.as_deref());
    let newest = versions.filter_map(|version| version.strip_prefix(GLIBC)).max_by_key(|version| {
        version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>()
    });
    let has = |name: &str| libraries.iter().any(|library| library.name == name);
    let gcc = has("libgcc_s.so.1").then(|| "libgcc-s1".to_owned());
    let glibc = match newest {
        Some(version) => Some(format!("libc6 (>= {version})")),
        None => has("libc.so.6").then(|| "libc6".to_owned()),
    };
    glibc.into_iter().chain(gcc)
}

/// Whatever makes accounts from sysusers.d(5).
const SYSUSERS: &str = "systemd | systemd-standalone-sysusers | systemd-sysusers";

fn item(path: &str, mode: u16) -> Item<'_> {
    Item { path, mode, user: Owner::ROOT.user, group: Owner::ROOT.group, number: 0 }
}

/// A paragraph of deb822(5).
#[derive(Default)]
struct Paragraph(String);

impl Paragraph {
    /// `value` is one line and not empty.
    fn field(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "{name}: {value}");
    }

    /// Left out if there is nothing to list.
    fn list(&mut self, name: &str, values: &[&str]) {
        if !values.is_empty() {
            self.field(name, &values.join(", "));
        }
    }

    fn description(&mut self, summary: &str, text: &str) {
        self.field("Description", summary);
        for line in text.lines() {
            let _ = writeln!(self.0, " {}", if line.is_empty() { "." } else { line });
        }
    }
}

/// Debian's order has a tilde before the end, as a pre-release comes before its release.
pub(super) fn version(version: &Version) -> String {
    let mut text = format!("{}.{}.{}", version.major, version.minor, version.patch);
    if !version.pre.is_empty() {
        let _ = write!(text, "~{}", version.pre.replace('-', "."));
    }
    if !version.build.is_empty() {
        let _ = write!(text, "+{}", version.build.replace('-', "."));
    }
    text
}

pub(super) const fn architecture(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "amd64",
        Arch::Arm64 => "arm64",
        Arch::Universal => "all",
    }
}
