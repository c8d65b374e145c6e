//! Installers read back: ours, others', and such as never should have been.

mod damaged;
mod foreign;

use std::{collections::BTreeMap, io::Cursor};

use packager::{
    FileTree, Format, Package,
    format::{deb::Deb, msi::Msi, pkg::Pkg, rpm::Rpm},
    payload::Arch,
    read::{self, Contents, FoundKind, Kind, Outcome, ReadError, layout},
    tree::{Node, Source},
};

use crate::{
    fixture::{bytes, draft, run},
    msi, pkg,
};

pub(crate) fn open(bytes: &[u8]) -> Result<Contents, ReadError> {
    read::open(&mut Cursor::new(bytes))
}

/// What is wrong with a package.
pub(crate) fn failures(contents: &Contents) -> Vec<String> {
    let checks = contents.checks.iter().cloned().chain(layout::check(contents));
    checks
        .filter_map(|check| match check.outcome {
            Outcome::Failed(reason) => Some(format!("{}: {reason}", check.what)),
            Outcome::Passed | Outcome::Unchecked(_) | Outcome::Absent(_) => None,
        })
        .collect()
}

/// A package in every format, and what was packed.
pub(crate) fn ours() -> Vec<(Kind, Vec<u8>, FileTree)> {
    let linux = crate::fixture::package(draft(), "1.2.3");
    let (windows, _programs) = msi::package(draft(), "1.2.3", Arch::Amd64);
    let macos = pkg::package(draft(), "1.2.3");
    let made = |kind, package: &Package, format: &dyn Format| {
        (kind, bytes(package, format), format.tree(package))
    };
    vec![
        made(Kind::Deb, &linux, &Deb::default()),
        made(Kind::Rpm, &linux, &Rpm::default()),
        made(Kind::Msi, &windows, &Msi::default()),
        made(Kind::Pkg, &macos, &Pkg::default()),
    ]
}

/// Path to kind, mode, size and target.
type Listing = BTreeMap<String, (FoundKind, Option<u32>, u64, Option<String>)>;

fn packed(tree: &FileTree, kind: Kind) -> Listing {
    let told = |entry: &packager::tree::Entry| {
        let (kind, target) = match &entry.node {
            Node::Dir => (FoundKind::Dir, None),
            Node::File { .. } => (FoundKind::File, None),
            Node::Symlink { target } => (FoundKind::Symlink, Some(target.to_string())),
        };
        (kind, target, u32::from(entry.mode.bits()), entry.size())
    };
    let entries = tree.iter().map(|(path, entry)| {
        let (node, target, mode, size) = told(entry);
        (path.to_string(), (node, (kind != Kind::Msi).then_some(mode), size, target))
    });
    entries.collect()
}

/// What was found of `tree`, without the system's own folders that some formats list.
fn found(contents: &Contents, tree: &FileTree) -> Listing {
    let ours = |path: &str| tree.iter().any(|(its, _)| its.as_str() == path);
    let files =
        contents.files.iter().filter(|(path, found)| found.kind != FoundKind::Dir || ours(path));
    files
        .map(|(path, found)| {
            (path.clone(), (found.kind, found.mode, found.size, found.target.clone()))
        })
        .collect()
}

#[test]
fn ours_are_found_to_hold_what_was_packed() {
    for (kind, bytes, tree) in ours() {
        let contents = open(&bytes).unwrap();
        assert_eq!(contents.kind, kind);
        assert_eq!(found(&contents, &tree), packed(&tree, kind), "{kind}");
        assert_eq!(failures(&contents), [""; 0], "{kind}");
        assert_eq!(contents.says("name"), "fleetd", "{kind}");
        assert_eq!(contents.says("version"), "1.2.3", "{kind}");
        assert!(contents.signatures.is_empty());
        for owner in contents.files.values().map(|found| found.owner.as_str()) {
            assert!(matches!(owner, "" | "root:root" | "0:0"), "{kind}: {owner}");
        }
    }
}

#[test]
fn digests_are_those_of_the_files() {
    for (kind, bytes, tree) in ours() {
        let contents = open(&bytes).unwrap();
        for (path, entry) in tree.iter() {
            let Node::File { source: Source::Bytes(bytes), .. } = &entry.node else { continue };
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("file");
            std::fs::write(&file, bytes).unwrap();
            let sum = run("sha256sum", &[file.to_str().unwrap()]);
            let found = contents.files[path.as_str()].sha256.as_deref();
            assert_eq!(found, sum.split(' ').next(), "{kind}: {path}");
        }
    }
}

#[test]
fn settings_and_secret_are_found_and_the_secret_is_hidden() {
    const SECRET: &str = "s3cret with $pecial \"chars\"";
    for (kind, bytes, _) in ours() {
        let settings = open(&bytes).unwrap().settings;
        assert_eq!(settings.fleet_url(), Some("https://fleet.example.com:8443/"), "{kind}");
        assert_eq!(settings.secret.as_deref(), Some(SECRET), "{kind}");
        assert_eq!(settings.secret_in.len(), 1, "{kind}");
        assert!(settings.is_secret(&settings.secret_in[0]));
        assert_eq!(settings.hide_in(&format!("a {SECRET} b")), "a [hidden] b");
    }
}

#[test]
fn scripts_are_found_under_their_formats_names() {
    let names = |kind| {
        let (_, bytes, _) = ours().into_iter().find(|(its, ..)| *its == kind).unwrap();
        open(&bytes).unwrap().scripts.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(names(Kind::Deb), ["postinst", "postrm", "prerm"]);
    assert_eq!(names(Kind::Rpm), ["post", "postun", "preun"]);
    assert_eq!(names(Kind::Pkg), ["fleetd.pkg/postinstall", "fleetd.pkg/preinstall"]);
    assert_eq!(
        names(Kind::Msi),
        [
            "action OrbitConfigure",
            "action OrbitPurge",
            "action OrbitReinstall",
            "action OrbitStop",
            "service orbit"
        ]
    );
}

#[test]
fn a_difference_is_told_and_the_same_has_none() {
    use read::diff::{Part, between};
    for (kind, bytes, _) in ours() {
        let contents = open(&bytes).unwrap();
        assert_eq!(between(&contents, &contents), []);
        let mut other = contents.clone();
        let path = contents.settings.secret_in[0].clone();
        let file = other.files.get_mut(&path).unwrap();
        file.sha256 = Some("0".repeat(64));
        other.settings.secret = Some("other".to_owned());
        other.scripts.clear();
        let differences = between(&contents, &other);
        let parts: Vec<_> = differences.iter().map(|it| it.part).collect();
        let mut expected = vec![Part::File];
        expected.extend(contents.scripts.iter().map(|_| Part::Script));
        expected.push(Part::Setting);
        assert_eq!(parts, expected, "{kind}");
        assert_eq!(differences[0].field, Some("sha256"));
        assert_eq!(differences[0].before.as_deref(), Some("[hidden]"));
    }
}

#[test]
fn ten_thousand_files_are_packed_and_found_again() {
    use packager::tree::{Entry, InstallPath, Role};
    let (windows, _programs) = msi::package(draft(), "1.2.3", Arch::Amd64);
    let formats: [(Package, &dyn Format, &str); 4] = [
        (crate::fixture::package(draft(), "1.2.3"), &Deb::default(), "/opt/many"),
        (crate::fixture::package(draft(), "1.2.3"), &Rpm::default(), "/opt/many"),
        (windows, &Msi::default(), "/ProgramFiles64Folder/Orbit/many"),
        (pkg::package(draft(), "1.2.3"), &Pkg::default(), "/opt/many"),
    ];
    for (mut package, format, folder) in formats {
        package.tree.insert(InstallPath::new(folder).unwrap(), Entry::dir()).unwrap();
        for number in 0..10_000 {
            let path = InstallPath::new(format!("{folder}/file-{number}")).unwrap();
            package.tree.insert(path, Entry::bytes(number.to_string(), Role::Data)).unwrap();
        }
        let contents = open(&bytes(&package, format)).unwrap();
        let tree = format.tree(&package);
        assert_eq!(found(&contents, &tree), packed(&tree, contents.kind), "{}", format.name());
        assert_eq!(failures(&contents), [""; 0], "{}", format.name());
    }
}

#[test]
fn names_that_differ_in_case_alone_are_for_linux() {
    use packager::tree::{Entry, InstallPath, Role};
    let (windows, _programs) = msi::package(draft(), "1.2.3", Arch::Amd64);
    let (linux, macos) =
        (crate::fixture::package(draft(), "1.2.3"), pkg::package(draft(), "1.2.3"));
    let write = |mut package: Package, format: &dyn Format, folder: &str| {
        for name in ["Notes", "notes"] {
            let path = InstallPath::new(format!("{folder}/{name}")).unwrap();
            package.tree.insert(path, Entry::bytes("x", Role::Data)).unwrap();
        }
        packager::build(&package, format, &mut Cursor::new(Vec::new()), &|_| ())
    };
    write(linux.clone(), &Deb::default(), "/opt/orbit").unwrap();
    write(linux, &Rpm::default(), "/opt/orbit").unwrap();
    let said = "differ in case alone";
    let windows = write(windows, &Msi::default(), "/ProgramFiles64Folder/Orbit").unwrap_err();
    assert!(windows.to_string().contains(said), "{windows}");
    let macos = write(macos, &Pkg::default(), "/opt/orbit").unwrap_err();
    assert!(macos.to_string().contains(said), "{macos}");
}

#[test]
fn no_script_has_a_carriage_return() {
    for (kind, bytes, _) in ours() {
        for (name, text) in open(&bytes).unwrap().scripts {
            assert!(!text.contains('\r'), "{kind}: {name}");
        }
    }
}

#[test]
fn what_is_no_package_is_called_so() {
    for bytes in [&b""[..], b"!<arch>", b"PK\x03\x04", &[0; 4096]] {
        assert!(matches!(open(bytes), Err(ReadError::Unknown)));
    }
}
