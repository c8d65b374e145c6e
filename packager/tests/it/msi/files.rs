//! What is installed, unpacked again.

use std::{collections::BTreeMap, fs, path::Path};

use packager::{
    FileTree, Package,
    format::msi::Msi,
    payload::Arch,
    tree::{Entry, InstallPath, Role},
};
use proptest::prelude::*;

use super::{Table, msi, package};
use crate::fixture::{bytes, draft, run};

#[test]
fn files_are_in_the_cabinet_in_the_order_of_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = msi(folder.path(), draft());
    let files = Table::read(&path, "File");
    let mut rows: Vec<_> =
        files.rows.iter().map(|row| (row[7].parse::<usize>().unwrap(), row[0].clone())).collect();
    rows.sort();
    assert!(rows.iter().map(|(number, _)| *number).eq(1..=rows.len()));
    let last = Table::read(&path, "Media").rows[0][1].parse::<usize>().unwrap();
    assert_eq!(last, rows.len());
    let streams = folder.path().join("streams");
    run("7z", &["x", "-tCompound", &format!("-o{}", streams.display()), path.to_str().unwrap()]);
    let cabinet = streams.join("fleetd.cab");
    run("cabextract", &["-t", cabinet.to_str().unwrap()]);
    let listing = run("cabextract", &["-l", cabinet.to_str().unwrap()]);
    let listed: Vec<_> = listing
        .lines()
        .filter_map(|line| line.split(" | ").nth(2))
        .filter(|it| it.starts_with("f."))
        .collect();
    assert!(listed.iter().eq(rows.iter().map(|(_, key)| key)), "{listing}");
}

#[test]
fn the_version_of_each_program_stands_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = msi(folder.path(), draft());
    let extracted = folder.path().join("x");
    run("msiextract", &["-C", extracted.to_str().unwrap(), path.to_str().unwrap()]);
    for component in ["orbit", "osqueryd", "desktop"] {
        let version = extracted.join(format!("Orbit/bin/{component}/packaged/VERSION"));
        assert_eq!(fs::read_to_string(version).unwrap(), "1.2.3-rc.1\n", "{component}");
    }
}

#[test]
fn a_file_without_a_version_is_known_by_its_hash() {
    let folder = tempfile::tempdir().unwrap();
    let path = msi(folder.path(), draft());
    let (files, hashes) = (Table::read(&path, "File"), Table::read(&path, "MsiFileHash"));
    let extracted = folder.path().join("x");
    run("msiextract", &["-C", extracted.to_str().unwrap(), path.to_str().unwrap()]);
    let env = files.rows.iter().find(|row| row[2].ends_with("packaged.env")).unwrap();
    let row = hashes.rows.iter().find(|row| row[0] == env[0]).unwrap();
    let hash: String = row[2..]
        .iter()
        .flat_map(|part| part.parse::<i32>().unwrap().to_le_bytes())
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let sum = run("md5sum", &[extracted.join("Orbit/packaged.env").to_str().unwrap()]);
    assert_eq!(sum.split(' ').next(), Some(hash.as_str()));
}

const ROOT: &str = "/ProgramFiles64Folder/Orbit";

/// A tree below the root: names of any kind that paths can have, no file where a folder is.
fn trees() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    let name = "[a-z0-9_+~@-]{1,14}(\\.[a-z0-9_-]{1,6}){0,2}";
    let path =
        prop::collection::vec(name, 1..4).prop_map(|parts| format!("{ROOT}/{}", parts.join("/")));
    let content = (0..100_000_usize, any::<u8>())
        .prop_map(|(length, seed)| (0..length).map(|n| (n * n / 7) as u8 ^ seed).collect());
    prop::collection::btree_map(path, content, 1..20).prop_map(
        |files: BTreeMap<String, Vec<u8>>| {
            let is_folder =
                |path: &str| files.keys().any(|other| other.starts_with(&format!("{path}/")));
            files
                .iter()
                .filter(|(path, _)| !is_folder(path))
                .map(|(path, it)| (path.clone(), it.clone()))
                .collect()
        },
    )
}

fn read_back(folder: &Path, into: &mut BTreeMap<String, Vec<u8>>, below: &str) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{below}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            read_back(&entry.path(), into, &path);
        } else {
            into.insert(path, fs::read(entry.path()).unwrap());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_tree_is_unpacked_by_msitools_as_it_was(files in trees()) {
        let mut tree = FileTree::new();
        tree.insert(InstallPath::new(ROOT).unwrap(), Entry::dir()).unwrap();
        for (path, content) in &files {
            let file = Entry::bytes(content.clone(), Role::Data);
            tree.insert(InstallPath::new(path.clone()).unwrap(), file).unwrap();
        }
        let package = Package { tree, ..package(draft(), "1.2.3", Arch::Amd64).0 };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.msi");
        fs::write(&path, bytes(&package, &Msi::default())).unwrap();
        let to = folder.path().join("out");
        run("msiextract", &["-C", to.to_str().unwrap(), path.to_str().unwrap()]);
        let mut read = BTreeMap::new();
        read_back(&to, &mut read, "/ProgramFiles64Folder");
        prop_assert!(read == files, "{:?} {:?}", read.keys(), files.keys());
    }
}
