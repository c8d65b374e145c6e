//! Trees of any shape, packed by us and unpacked by others.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path};

use packager::{
    FileTree, Format, Package,
    format::{deb::Deb, pkg::Pkg, rpm::Rpm},
    tree::{Entry, InstallPath, Node, Role},
};
use proptest::prelude::*;

use crate::{
    fixture::{bytes, draft, run},
    pkg,
};

const ROOT: &str = "/opt/tree";

/// What is at a path: of a file its content and mode, of a symlink its target.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Dir,
    File(Vec<u8>, u32),
    Symlink(String),
}

fn path() -> impl Strategy<Value = String> {
    let name = "[a-z0-9_+~@-]{1,40}(\\.[a-z0-9_-]{1,6}){0,2}";
    prop::collection::vec(name, 1..6).prop_map(|parts| format!("{ROOT}/{}", parts.join("/")))
}

fn entry() -> impl Strategy<Value = Entry> {
    let role = prop::sample::select(vec![Role::Program, Role::Config, Role::Secret, Role::Data]);
    let content = (0..70_000_usize, any::<u8>()).prop_map(|(length, seed)| {
        (0..length).map(|n| (n * n / 7) as u8 ^ seed).collect::<Vec<_>>()
    });
    prop_oneof![
        6 => (content, role).prop_map(|(content, role)| Entry::bytes(content, role)),
        1 => path().prop_map(|target| Entry::symlink(InstallPath::new(target).unwrap())),
        1 => Just(Entry::dir()),
    ]
}

/// Nothing lies below what is no folder.
fn trees() -> impl Strategy<Value = FileTree> {
    prop::collection::btree_map(path(), entry(), 1..24).prop_map(|entries| {
        let mut tree = FileTree::new();
        tree.insert(InstallPath::new(ROOT).unwrap(), Entry::dir()).unwrap();
        for (path, entry) in &entries {
            let below = format!("{path}/");
            if entry.node == Node::Dir || !entries.keys().any(|other| other.starts_with(&below)) {
                tree.insert(InstallPath::new(path.clone()).unwrap(), entry.clone()).unwrap();
            }
        }
        tree
    })
}

fn packed(tree: &FileTree) -> BTreeMap<String, Found> {
    let found = |entry: &Entry| match &entry.node {
        Node::Dir => Found::Dir,
        Node::Symlink { target } => Found::Symlink(target.to_string()),
        Node::File { source: packager::tree::Source::Bytes(bytes), .. } => {
            Found::File(bytes.to_vec(), entry.mode.bits().into())
        }
        Node::File { .. } => panic!("every file is in memory"),
    };
    tree.iter().map(|(path, entry)| (path.to_string(), found(entry))).collect()
}

/// Everything below `folder`, but for folders that `tree` does not list.
fn unpacked(folder: &Path, tree: &FileTree) -> BTreeMap<String, Found> {
    let mut found = BTreeMap::new();
    read_back(&folder.join("opt"), "/opt", &mut found);
    let listed = |path: &str| tree.get(&InstallPath::new(path).unwrap()).is_some();
    found.retain(|path, found| *found != Found::Dir || listed(path));
    found
}

fn read_back(folder: &Path, below: &str, into: &mut BTreeMap<String, Found>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        let name = format!("{below}/{}", entry.file_name().to_str().unwrap());
        if kind.is_dir() {
            read_back(&path, &name, into);
            into.insert(name, Found::Dir);
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).unwrap().into_os_string().into_string().unwrap();
            into.insert(name, Found::Symlink(target));
        } else {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            into.insert(name, Found::File(fs::read(&path).unwrap(), mode));
        }
    }
}

/// Packs `tree` into a copy of `package`; gives what `unpack` makes of the file, in a folder.
fn there_and_back(
    (package, tree): (Package, &FileTree),
    format: &dyn Format,
    unpack: fn(file: &str, folder: &str),
) -> BTreeMap<String, Found> {
    let folder = tempfile::tempdir().unwrap();
    let [file, to] = ["package", "out"].map(|name| folder.path().join(name));
    fs::create_dir(&to).unwrap();
    fs::write(&file, bytes(&Package { tree: tree.clone(), ..package }, format)).unwrap();
    unpack(file.to_str().unwrap(), to.to_str().unwrap());
    unpacked(&to, tree)
}

fn payload_of_pkg(file: &str, folder: &str) {
    let parts = tempfile::tempdir().unwrap();
    run("bsdtar", &["-xf", file, "-C", parts.path().to_str().unwrap()]);
    let payload = parts.path().join("fleetd.pkg/Payload");
    run("bsdtar", &["-xpf", payload.to_str().unwrap(), "-C", folder]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn any_tree_is_unpacked_by_others_as_it_was(tree in trees()) {
        let linux = crate::fixture::package(draft(), "1.2.3");
        let deb = there_and_back((linux.clone(), &tree), &Deb::default(), |file, folder| {
            run("dpkg-deb", &["--extract", file, folder]);
        });
        prop_assert_eq!(&deb, &packed(&tree), "deb");
        let rpm = there_and_back((linux, &tree), &Rpm::default(), |file, folder| {
            run("bsdtar", &["-xpf", file, "-C", folder]);
        });
        prop_assert_eq!(&rpm, &packed(&tree), "rpm");
        let macos = pkg::package(draft(), "1.2.3");
        let pkg = there_and_back((macos, &tree), &Pkg::default(), payload_of_pkg);
        prop_assert_eq!(&pkg, &packed(&tree), "pkg");
    }
}
