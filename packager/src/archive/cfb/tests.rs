//! Compound files, read by 7z.

use std::{collections::BTreeMap, fs, io::Cursor, process::Command};

use proptest::prelude::*;

use super::CfbWriter;

fn compound(streams: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut cfb = CfbWriter::new(Cursor::new(Vec::new())).unwrap();
    for (name, content) in streams {
        cfb.stream(name, content).unwrap();
    }
    cfb.finish([7; 16]).unwrap().into_inner()
}

#[expect(clippy::disallowed_methods, reason = "tests ask other people's readers")]
fn read_back(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("compound.doc");
    fs::write(&path, bytes).unwrap();
    let to = folder.path().join("out");
    let output = Command::new("7z").arg("x").arg(format!("-o{}", to.display())).arg(&path).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let Ok(entries) = fs::read_dir(to) else { return BTreeMap::new() };
    let entries = entries.map(Result::unwrap);
    let read = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    entries.map(read).collect()
}

fn content(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|n| (n / 3) as u8 ^ seed).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn another_reader_finds_every_stream(
        streams in prop::collection::btree_map(
            "[a-z]{1,28}",
            (prop_oneof![Just(0), Just(64), Just(4095), Just(4096), Just(4097), 0..200_000_usize], any::<u8>()),
            1..30,
        ),
    ) {
        let streams: BTreeMap<_, _> =
            streams.into_iter().map(|(name, (length, seed))| (name, content(length, seed))).collect();
        prop_assert!(read_back(&compound(&streams)) == streams);
    }
}

#[test]
fn a_file_with_more_sectors_than_the_header_can_list_is_read() {
    let streams = BTreeMap::from([
        ("big".to_owned(), content(9_000_000, 1)),
        ("small".to_owned(), content(100, 2)),
    ]);
    assert!(read_back(&compound(&streams)) == streams);
}

#[test]
fn the_tree_of_names_is_red_and_black() {
    for count in 0..40_usize {
        let streams: BTreeMap<_, _> = (0..count).map(|n| (format!("s{n}"), Vec::new())).collect();
        let bytes = compound(&streams);
        let sector = u32::from_le_bytes(bytes[48..52].try_into().unwrap()) as usize;
        let directory = &bytes[(sector + 1) * 512..];
        let top = u32::from_le_bytes(directory[76..80].try_into().unwrap());
        let mut names = Vec::new();
        black_height(directory, top, true, &mut names);
        assert_eq!(names.len(), count);
        assert!(names.is_sorted_by_key(|name| (name.len(), name.clone())), "{names:?}");
    }
}

/// Blacks on every way down from an entry; they are as many, and no red follows a red.
fn black_height(
    directory: &[u8],
    number: u32,
    may_be_red: bool,
    names: &mut Vec<Vec<u8>>,
) -> usize {
    if number == u32::MAX {
        return 0;
    }
    let entry = &directory[number as usize * 128..][..128];
    let link = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().unwrap());
    let black = entry[67] == 1;
    assert!(black || may_be_red);
    let left = black_height(directory, link(68), black, names);
    names.push(entry[..usize::from(entry[64]) - 2].to_vec());
    let right = black_height(directory, link(72), black, names);
    assert_eq!(left, right);
    left + usize::from(black)
}
