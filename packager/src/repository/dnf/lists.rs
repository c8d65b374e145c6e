//! The lists that repomd.xml names: what packages are, what files they have, and what has changed in them.

use super::xml::Xml;
use crate::repository::{Listed, rpm::Rpm};

/// The lists being written.
pub(super) struct Lists {
    primary: Xml,
    files: Xml,
    other: Xml,
}

const COMMON: &str = "http://linux.duke.edu/metadata/common";

mod tag {
    pub(super) const SUMMARY: u32 = 1004;
    pub(super) const DESCRIPTION: u32 = 1005;
    pub(super) const BUILD_TIME: u32 = 1006;
    pub(super) const BUILD_HOST: u32 = 1007;
    pub(super) const SIZE: u32 = 1009;
    pub(super) const VENDOR: u32 = 1011;
    pub(super) const LICENSE: u32 = 1014;
    pub(super) const PACKAGER: u32 = 1015;
    pub(super) const GROUP: u32 = 1016;
    pub(super) const URL: u32 = 1020;
    pub(super) const MODES: u32 = 1030;
    pub(super) const FLAGS: u32 = 1037;
    pub(super) const SOURCE_RPM: u32 = 1044;
    pub(super) const CHANGE_TIMES: u32 = 1080;
    pub(super) const CHANGE_NAMES: u32 = 1081;
    pub(super) const CHANGES: u32 = 1082;
    pub(super) const FOLDER_NUMBERS: u32 = 1116;
    pub(super) const NAMES: u32 = 1117;
    pub(super) const FOLDERS: u32 = 1118;
    /// Names, flags and versions of what a package has to do with.
    pub(super) const RELATIONS: [(&str, [u32; 3]); 8] = [
        ("rpm:provides", [1047, 1112, 1113]),
        ("rpm:requires", [1049, 1048, 1050]),
        ("rpm:conflicts", [1054, 1053, 1055]),
        ("rpm:obsoletes", [1090, 1114, 1115]),
        ("rpm:recommends", [5046, 5048, 5047]),
        ("rpm:suggests", [5049, 5051, 5050]),
        ("rpm:supplements", [5052, 5054, 5053]),
        ("rpm:enhances", [5055, 5057, 5056]),
    ];
}

impl Lists {
    /// Of so many packages.
    pub(super) fn of(packages: usize) -> Self {
        let count = packages.to_string();
        let open = |name: &str, namespaces: &[(&str, &str)]| {
            Xml::document(name, &[namespaces, &[("packages", count.as_str())]].concat())
        };
        Self {
            primary: open(
                "metadata",
                &[("xmlns", COMMON), ("xmlns:rpm", "http://linux.duke.edu/metadata/rpm")],
            ),
            files: open("filelists", &[("xmlns", "http://linux.duke.edu/metadata/filelists")]),
            other: open("otherdata", &[("xmlns", "http://linux.duke.edu/metadata/other")]),
        }
    }

    pub(super) fn add(&mut self, rpm: &Rpm, package: &Listed) {
        let files = files(rpm);
        self.add_primary(rpm, package, &files);
        open_package(&mut self.files, rpm, package);
        for (kind, path) in &files {
            put_file(&mut self.files, kind, path);
        }
        self.files.close("package");
        open_package(&mut self.other, rpm, package);
        let times = rpm.told.numbers(tag::CHANGE_TIMES);
        let (names, texts) = (rpm.told.strings(tag::CHANGE_NAMES), rpm.told.strings(tag::CHANGES));
        for ((time, name), text) in times.iter().zip(names).zip(texts).rev() {
            let attributes = [("author", name.as_str()), ("date", &time.to_string())];
            self.other.text("changelog", &attributes, &text);
        }
        self.other.close("package");
    }

    /// Their kinds and texts.
    pub(super) fn finish(self) -> [(&'static str, Vec<u8>); 3] {
        [
            ("primary", self.primary.finish("metadata")),
            ("filelists", self.files.finish("filelists")),
            ("other", self.other.finish("otherdata")),
        ]
    }

    fn add_primary(&mut self, rpm: &Rpm, package: &Listed, files: &[(&str, String)]) {
        let (xml, told) = (&mut self.primary, &rpm.told);
        xml.open("package", &[("type", "rpm")]);
        xml.text("name", &[], &rpm.name);
        xml.text("arch", &[], &rpm.architecture);
        put_version(xml, rpm);
        xml.text("checksum", &[("type", "sha256"), ("pkgid", "YES")], &package.sha256);
        for (element, tag) in [
            ("summary", tag::SUMMARY),
            ("description", tag::DESCRIPTION),
            ("packager", tag::PACKAGER),
            ("url", tag::URL),
        ] {
            xml.text(element, &[], &told.string(tag));
        }
        let number = |tag| told.numbers(tag).first().unwrap_or(&0).to_string();
        let built = number(tag::BUILD_TIME);
        // When the file came here is not told: it would differ between two who do the same.
        xml.empty("time", &[("file", &built), ("build", &built)]);
        let archive = told.archive.to_string();
        let (size, installed) = (package.size.to_string(), number(tag::SIZE));
        xml.empty("size", &[("package", &size), ("installed", &installed), ("archive", &archive)]);
        xml.empty("location", &[("href", &package.file)]);
        self.add_format(rpm, files);
        self.primary.close("package");
    }

    fn add_format(&mut self, rpm: &Rpm, files: &[(&str, String)]) {
        let (xml, told) = (&mut self.primary, &rpm.told);
        xml.open("format", &[]);
        for (element, tag) in [
            ("rpm:license", tag::LICENSE),
            ("rpm:vendor", tag::VENDOR),
            ("rpm:group", tag::GROUP),
            ("rpm:buildhost", tag::BUILD_HOST),
            ("rpm:sourcerpm", tag::SOURCE_RPM),
        ] {
            xml.text(element, &[], &told.string(tag));
        }
        let (start, end) = (told.header.0.to_string(), told.header.1.to_string());
        xml.empty("rpm:header-range", &[("start", &start), ("end", &end)]);
        for (element, tags) in tag::RELATIONS {
            put_relations(xml, rpm, element, tags);
        }
        for (kind, path) in files.iter().filter(|(_, path)| is_looked_up(path)) {
            put_file(xml, kind, path);
        }
        xml.close("format");
    }
}

fn open_package(xml: &mut Xml, rpm: &Rpm, package: &Listed) {
    let (id, name) = (package.sha256.as_str(), rpm.name.as_str());
    xml.open("package", &[("pkgid", id), ("name", name), ("arch", &rpm.architecture)]);
    put_version(xml, rpm);
}

fn put_version(xml: &mut Xml, rpm: &Rpm) {
    let version = &rpm.version;
    let attributes =
        [("epoch", &version.epoch), ("ver", &version.version), ("rel", &version.release)];
    xml.empty("version", &attributes.map(|(name, value)| (name, value.as_str())));
}

fn put_file(xml: &mut Xml, kind: &str, path: &str) {
    let kind = [("type", kind)];
    xml.text("file", if kind[0].1.is_empty() { &[] } else { &kind }, path);
}

/// Files that packages require by their paths. Source: createrepo_c's `cr_is_primary`.
fn is_looked_up(path: &str) -> bool {
    path.starts_with("/etc/") || path == "/usr/lib/sendmail" || path.contains("bin/")
}

/// Paths, each with what it is if it is not an ordinary file.
fn files(rpm: &Rpm) -> Vec<(&'static str, String)> {
    const GHOST: u64 = 1 << 6;
    const KIND: u64 = 0o170_000;
    const FOLDER: u64 = 0o040_000;
    let told = &rpm.told;
    let (folders, numbers) = (told.strings(tag::FOLDERS), told.numbers(tag::FOLDER_NUMBERS));
    let (modes, flags) = (told.numbers(tag::MODES), told.numbers(tag::FLAGS));
    let names = told.strings(tag::NAMES).into_iter().enumerate();
    let files = names.map(|(place, name)| {
        let number = |numbers: &[u64]| numbers.get(place).copied().unwrap_or(0);
        let folder = usize::try_from(number(&numbers)).ok().and_then(|it| folders.get(it));
        let kind = match () {
            () if number(&modes) & KIND == FOLDER => "dir",
            () if number(&flags) & GHOST != 0 => "ghost",
            () => "",
        };
        (kind, format!("{}{name}", folder.map_or("", String::as_str)))
    });
    files.collect()
}

fn put_relations(xml: &mut Xml, rpm: &Rpm, element: &str, [names, flags, versions]: [u32; 3]) {
    const PRE: u64 = (1 << 6) | (1 << 9) | (1 << 10);
    const RPMLIB: u64 = 1 << 24;
    let told = &rpm.told;
    let (flags, versions) = (told.numbers(flags), told.strings(versions));
    let mut relations = Vec::new();
    for (place, name) in told.strings(names).into_iter().enumerate() {
        let flags = flags.get(place).copied().unwrap_or(0);
        let version = versions.get(place).cloned().unwrap_or_default();
        let relation = (name, flags & 0b1110, version, flags & PRE != 0);
        // rpm knows what it can do itself.
        if flags & RPMLIB == 0 && !relations.contains(&relation) {
            relations.push(relation);
        }
    }
    if relations.is_empty() {
        return;
    }
    xml.open(element, &[]);
    for (name, sense, version, pre) in &relations {
        let version = (!version.is_empty()).then(|| rpm_version::Evr::parse(version));
        let mut attributes = vec![("name", name.as_str())];
        if let (Some(sense), Some(version)) = (comparison(*sense), &version) {
            let (epoch, upstream, release) = version.values();
            let epoch = if epoch.is_empty() { "0" } else { epoch };
            attributes.extend([("flags", sense), ("epoch", epoch), ("ver", upstream)]);
            if !release.is_empty() {
                attributes.push(("rel", release));
            }
        }
        if *pre && element == "rpm:requires" {
            attributes.push(("pre", "1"));
        }
        xml.empty("rpm:entry", &attributes);
    }
    xml.close(element);
}

fn comparison(sense: u64) -> Option<&'static str> {
    Some(match sense {
        2 => "LT",
        4 => "GT",
        8 => "EQ",
        10 => "LE",
        12 => "GE",
        _ => return None,
    })
}
