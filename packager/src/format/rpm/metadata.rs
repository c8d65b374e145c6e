//! The header proper: what the package says of itself, its files and its scripts.

use std::collections::BTreeMap;

use semver::Version;

use super::{Digests, header::Header, size};
use crate::{
    compression::{Algorithm, Compression},
    error::BuildError,
    package::{Metadata, Package},
    payload::Library,
    template::{RPM_POSTUN, RpmPost, RpmPre, RpmPreun, rendered},
    tree::{Entry, FileTree, Node, Role},
};

const REGION: u32 = 63;
/// Packages of one version are told apart by it; ours are built once.
const RELEASE: &str = "1";
const SHA256_ALGORITHM: u32 = 8;
const SHELL: &str = "/bin/sh";
/// Makes accounts from sysusers.d(5); which package has it differs.
const SYSUSERS: &str = "/usr/bin/systemd-sysusers";

/// Makes the header.
pub(super) struct PackageHeader<'a> {
    pub(super) package: &'a Package,
    pub(super) tree: &'a FileTree,
    pub(super) arch: &'static str,
    pub(super) compression: Compression,
}

impl PackageHeader<'_> {
    pub(super) fn render(&self, digests: &Digests) -> Result<Vec<u8>, BuildError> {
        let mut header = Header::default();
        self.put_names(&mut header);
        self.put_origin(&mut header);
        self.put_relations(&mut header);
        self.put_scripts(&mut header);
        self.put_changelog(&mut header);
        self.put_paths(&mut header);
        self.put_files(&mut header, digests)?;
        self.put_archive(&mut header, digests);
        Ok(header.render(REGION))
    }

    fn put_names(&self, header: &mut Header) {
        let metadata = &self.package.metadata;
        header.strings(100, ["C"]);
        header.string(1000, metadata.name);
        header.string(1001, &version(&metadata.version));
        header.string(1002, RELEASE);
        header.translated(1004, metadata.summary);
        header.translated(1005, metadata.description);
        let daemon = self.package.lifecycle.service.is_some();
        let group = if daemon { "System Environment/Daemons" } else { "Applications/System" };
        header.translated(1016, group);
        header.string(5062, "utf-8");
    }

    fn put_origin(&self, header: &mut Header) {
        let metadata = &self.package.metadata;
        header.int32(1006, &[self.package.built_at.unix()]);
        // Not the builder's name: the same package gives the same bytes.
        header.string(1007, "localhost");
        header.string(1011, metadata.publisher.vendor());
        header.string(1014, metadata.license);
        header.string(1015, metadata.publisher.maintainer());
        if let Some(homepage) = metadata.publisher.homepage() {
            header.string(1020, homepage.as_str());
        }
        header.string(1021, "linux");
        header.string(1022, self.arch);
        header.string(1044, &format!("{}.src.rpm", full_name(metadata)));
        header.string(1064, "4.14.0");
    }

    fn put_relations(&self, header: &mut Header) {
        let metadata = &self.package.metadata;
        let own = format!("{}-{RELEASE}", version(&metadata.version));
        let with_arch = format!("{}({})", metadata.name, self.arch.replace('_', "-"));
        let provides = [
            Relation { name: metadata.name, flags: EQUAL, version: &own },
            Relation { name: &with_arch, flags: EQUAL, version: &own },
        ];
        let libraries: Vec<_> = metadata.libraries.iter().map(library).collect();
        put_relations(header, [1047, 1112, 1113], &provides);
        put_relations(header, [1049, 1048, 1050], &self.requires(&libraries));
        put_relations(header, [1054, 1053, 1055], &Relation::all(metadata.conflicts));
        put_relations(header, [5046, 5048, 5047], &Relation::all(metadata.recommends));
    }

    /// What must be there, sorted by name.
    fn requires<'a>(&self, libraries: &'a [String]) -> Vec<Relation<'a>> {
        let lifecycle = &self.package.lifecycle;
        let mut all = vec![
            Relation::rpmlib("rpmlib(CompressedFileNames)", "3.0.4-1"),
            Relation::rpmlib("rpmlib(FileDigests)", "4.6.0-1"),
            Relation::rpmlib("rpmlib(PayloadFilesHavePrefix)", "4.0-1"),
        ];
        if !lifecycle.is_none() {
            let phases = [0, FOR_POST, FOR_PREUN, FOR_POSTUN].map(|phase| INTERPRETER | phase);
            all.extend(phases.map(|flags| Relation { name: SHELL, flags, version: "" }));
        }
        if lifecycle.account.is_some() {
            all.push(Relation { name: SHELL, flags: INTERPRETER | FOR_PRE, version: "" });
            all.push(Relation { name: SYSUSERS, flags: FOR_PRE, version: "" });
        }
        if !lifecycle.pointers.is_empty() {
            all.push(Relation { name: "coreutils", flags: FOR_POST | FOR_PREUN, version: "" });
        }
        all.extend(libraries.iter().map(|library| Relation::any(library)));
        match self.compression.algorithm() {
            Algorithm::None | Algorithm::Gzip => {}
            Algorithm::Xz => all.push(Relation::rpmlib("rpmlib(PayloadIsXz)", "5.2-1")),
            Algorithm::Zstd => all.push(Relation::rpmlib("rpmlib(PayloadIsZstd)", "5.4.18-1")),
        }
        all.sort_by_key(|relation| relation.name);
        all
    }

    fn put_scripts(&self, header: &mut Header) {
        let lifecycle = &self.package.lifecycle;
        if lifecycle.is_none() {
            return;
        }
        if let Some(account) = &lifecycle.account {
            header.string(1023, &rendered(&RpmPre { account }));
            header.string(1085, SHELL);
        }
        let scripts = [
            (1024, 1086, RpmPost::text(lifecycle)),
            (1025, 1087, RpmPreun::text(lifecycle)),
            (1026, 1088, RPM_POSTUN.to_owned()),
        ];
        for (script, interpreter, text) in scripts {
            header.string(script, &text);
            header.string(interpreter, SHELL);
        }
    }

    fn put_changelog(&self, header: &mut Header) {
        let metadata = &self.package.metadata;
        let own = version(&metadata.version);
        // rpm has always dated entries at noon.
        let day = self.package.built_at.unix() / DAY * DAY;
        header.int32(1080, &[day.saturating_add(DAY / 2)]);
        let who = metadata.publisher.maintainer();
        header.strings(1081, [format!("{who} - {own}-{RELEASE}").as_str()]);
        header.strings(1082, [format!("- Release {own}.").as_str()]);
    }

    /// Each path as a folder, by its number, and a name in it.
    fn put_paths(&self, header: &mut Header) {
        let paths = self.tree.iter().map(|(path, _)| {
            let path = path.as_str();
            path.split_at(path.rfind('/').map_or(0, |slash| slash + 1))
        });
        let (folders, names): (Vec<_>, Vec<_>) = paths.unzip();
        let mut numbers: BTreeMap<&str, u32> = folders.iter().map(|folder| (*folder, 0)).collect();
        for (number, place) in (0..).zip(numbers.values_mut()) {
            *place = number;
        }
        let indexes: Vec<_> = folders.iter().map(|folder| numbers[folder]).collect();
        header.int32(1116, &indexes);
        header.strings(1117, names);
        header.strings(1118, numbers.keys().copied());
    }

    fn put_files(&self, header: &mut Header, digests: &Digests) -> Result<(), BuildError> {
        let entries: Vec<_> = self.tree.iter().map(|(_, entry)| entry).collect();
        let all = |value: u32| vec![value; entries.len()];
        let sizes = entries.iter().map(|entry| size("a file", entry.stat_size()));
        let sizes: Vec<_> = sizes.collect::<Result<_, _>>()?;
        let total = size("the files", sizes.iter().copied().map(u64::from).sum())?;
        let modes: Vec<_> = entries.iter().map(|entry| entry.stat_mode()).collect();
        let flags: Vec<_> = entries.iter().map(|entry| flags(entry)).collect();
        let inodes: Vec<_> = (1..).take(entries.len()).collect();
        header.int32(1009, &[total]);
        header.int32(1028, &sizes);
        header.int16(1030, &modes);
        header.int16(1033, &vec![0; entries.len()]);
        header.int32(1034, &all(self.package.built_at.unix()));
        header.strings(1035, file_digests(&entries, digests));
        header.strings(1036, entries.iter().map(|entry| entry.target()));
        header.int32(1037, &flags);
        header.strings(1039, entries.iter().map(|entry| entry.owner.user));
        header.strings(1040, entries.iter().map(|entry| entry.owner.group));
        header.int32(1045, &all(VERIFY_ALL));
        header.int32(1095, &all(1));
        header.int32(1096, &inodes);
        header.strings(1097, entries.iter().map(|_| ""));
        header.int32(5011, &[SHA256_ALGORITHM]);
        Ok(())
    }

    fn put_archive(&self, header: &mut Header, digests: &Digests) {
        header.string(1124, "cpio");
        // Readers take an archive without a compressor for one in gzip, and find it plain.
        if self.compression.algorithm() != Algorithm::None {
            header.string(1125, self.compression.algorithm().name());
            header.string(1126, &self.compression.level().to_string());
        }
        header.strings(5092, [digests.archive.as_str()]);
        header.int32(5093, &[SHA256_ALGORITHM]);
    }
}

const DAY: u32 = 24 * 60 * 60;
const VERIFY_ALL: u32 = u32::MAX;

/// What a package provides, requires, or conflicts with.
struct Relation<'a> {
    name: &'a str,
    flags: u32,
    version: &'a str,
}

const LESS: u32 = 1 << 1;
const EQUAL: u32 = 1 << 3;
const INTERPRETER: u32 = 1 << 8;
const FOR_PRE: u32 = 1 << 9;
const FOR_POST: u32 = 1 << 10;
const FOR_PREUN: u32 = 1 << 11;
const FOR_POSTUN: u32 = 1 << 12;
const RPMLIB: u32 = 1 << 24;

impl<'a> Relation<'a> {
    fn any(name: &'a str) -> Self {
        Self { name, flags: 0, version: "" }
    }

    fn all(names: &'a [&'a str]) -> Vec<Self> {
        names.iter().map(|name| Self::any(name)).collect()
    }

    /// Something that rpm itself must know.
    fn rpmlib(name: &'a str, since: &'a str) -> Self {
        Self { name, flags: RPMLIB | LESS | EQUAL, version: since }
    }
}

/// As rpm's own generator names what it finds in a program of 64 bits.
fn library(Library { name, version }: &Library) -> String {
    format!("{name}({})(64bit)", version.as_deref().unwrap_or_default())
}

fn put_relations(header: &mut Header, [name, flags, version]: [u32; 3], all: &[Relation<'_>]) {
    if all.is_empty() {
        return;
    }
    header.strings(name, all.iter().map(|relation| relation.name));
    header.int32(flags, &all.iter().map(|relation| relation.flags).collect::<Vec<_>>());
    header.strings(version, all.iter().map(|relation| relation.version));
}

/// `name-version-release`.
pub(super) fn full_name(metadata: &Metadata) -> String {
    format!("{}-{}-{RELEASE}", metadata.name, version(&metadata.version))
}

/// rpm's order has a tilde before the end, as a pre-release comes before its release; a hyphen
/// would start the release.
fn version(version: &Version) -> String {
    let mut text = format!("{}.{}.{}", version.major, version.minor, version.patch);
    for (mark, part) in [('~', version.pre.as_str()), ('+', version.build.as_str())] {
        if !part.is_empty() {
            text.push(mark);
            text.push_str(&part.replace('-', "."));
        }
    }
    text
}

fn flags(entry: &Entry) -> u32 {
    const CONFIG: u32 = 1;
    const DOC: u32 = 1 << 1;
    const MISSING_OK: u32 = 1 << 3;
    const NO_REPLACE: u32 = 1 << 4;
    const LICENSE: u32 = 1 << 7;
    match &entry.node {
        Node::Dir | Node::Symlink { .. } => 0,
        Node::File { role, .. } => match role {
            Role::Config => CONFIG | NO_REPLACE,
            Role::Doc => DOC,
            Role::License => LICENSE,
            // The agent deletes secrets that a keystore has taken over.
            Role::Secret => MISSING_OK,
            Role::Program | Role::Data => 0,
        },
    }
}

fn file_digests<'a>(entries: &[&Entry], digests: &'a Digests) -> Vec<&'a str> {
    let mut digests = digests.files.iter();
    let of = |entry: &&Entry| match entry.node {
        Node::File { .. } => digests.next().map_or("", String::as_str),
        Node::Dir | Node::Symlink { .. } => "",
    };
    entries.iter().map(of).collect()
}
