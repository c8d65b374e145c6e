//! Read back, and compared with what another writer makes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;

const DIR: u16 = 0o40_755;
const FILE: u16 = 0o100_644;
const SYMLINK: u16 = 0o120_777;
const DATE: u32 = 1_790_000_000;

fn dir() -> Item<'static> {
    Item { mode: DIR, mtime: DATE, kind: Kind::Dir }
}

fn file(size: u32, checksum: u32) -> Item<'static> {
    Item { mode: FILE, mtime: DATE, kind: Kind::File { size, checksum } }
}

fn digest(items: &BTreeMap<&str, Item<'_>>) -> String {
    hex::encode(Sha256::digest(render(items).unwrap()))
}

/// Recorded from `mkbom -i` of bomutils 0.2 (c247002), which was given the same items.
#[test]
fn bytes_are_those_of_bomutils() {
    let link = Item { mode: SYMLINK, mtime: DATE, kind: Kind::Symlink { target: "../a-b/file" } };
    let few = BTreeMap::from([
        (".", dir()),
        ("./a b", dir()),
        ("./a b/file", file(1234, 4_038_471_504)),
        ("./a b-c", dir()),
        ("./z", dir()),
        ("./z/link", link),
    ]);
    assert_eq!(digest(&few), FEW);
    let names: Vec<_> = (0..700).map(|index| format!("./d/{index}")).collect();
    let files = names.iter().zip(0..).map(|(name, index)| (name.as_str(), file(index, index + 7)));
    let many = files.chain([(".", dir()), ("./d", dir())]).collect();
    assert_eq!(digest(&many), MANY);
}

const FEW: &str = "557ca6ba1bd0fb739bc6f4ab864d07582db95b00a0aff1cb151a3682304fa420";
const MANY: &str = "1e251f40fcef75b4211f7c8585030e3aaab68021d1079d95b3ac1af9b4162192";

#[test]
fn what_is_in_no_folder_is_refused() {
    assert!(render(&BTreeMap::from([(".", dir()), ("./a/b", file(1, 2))])).is_err());
}

/// A reader of what the writer makes, by `bom.h` alone.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn u32(&self, at: usize) -> usize {
        u32::from_be_bytes(self.0[at..at + 4].try_into().unwrap()) as usize
    }

    fn block(&self, number: usize) -> &[u8] {
        let entry = self.u32(16) + 4 + 8 * number;
        &self.0[self.u32(entry)..][..self.u32(entry + 4)]
    }

    fn named(&self, wanted: &[u8]) -> &[u8] {
        let mut at = self.u32(24) + 4;
        loop {
            let length = usize::from(self.0[at + 4]);
            if &self.0[at + 5..at + 5 + length] == wanted {
                return self.block(self.u32(at));
            }
            at += 5 + length;
        }
    }

    /// Path, mode, size, checksum and target of each item.
    fn items(&self) -> Vec<(String, u16, u32, u32, String)> {
        let at = |block: &[u8], at: usize| Reader(block).u32(at);
        let mut leaf = self.block(at(self.named(b"Paths"), 8));
        while leaf[..2] == [0, 0] {
            leaf = self.block(at(leaf, 12));
        }
        let (mut paths, mut items) = (BTreeMap::from([(0, String::new())]), Vec::new());
        loop {
            for index in 0..usize::from(leaf[3]) | usize::from(leaf[2]) << 8 {
                let numbered = self.block(at(leaf, 12 + 8 * index));
                let name = self.block(at(leaf, 16 + 8 * index));
                let about = self.block(at(numbered, 4));
                let folder = &paths[&at(name, 0)];
                let path = String::from_utf8(name[4..name.len() - 1].to_vec()).unwrap();
                let path = if folder.is_empty() { path } else { format!("{folder}/{path}") };
                paths.insert(at(numbered, 0), path.clone());
                let mode = u16::from_be_bytes([about[4], about[5]]);
                let number = |place| u32::try_from(at(about, place)).unwrap();
                let target = about.get(31..about.len().saturating_sub(1)).unwrap_or_default();
                let target = String::from_utf8(target.to_vec()).unwrap();
                items.push((path, mode, number(18), number(23), target));
            }
            match at(leaf, 4) {
                0 => return items,
                next => leaf = self.block(next),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn items_are_read_back(
        files in proptest::collection::btree_map(
            "(/[a-z.]{1,3}){1,3}/[A-Z][a-z ]{0,9}",
            (any::<u32>(), any::<u32>(), proptest::option::of("[a-z/.]{1,9}")),
            0..400,
        ),
    ) {
        let paths: Vec<_> = files.keys().map(|path| format!(".{path}")).collect();
        let mut items = BTreeMap::from([(".", dir())]);
        for (path, (size, checksum, target)) in paths.iter().zip(files.values()) {
            items.extend(path.match_indices('/').map(|(end, _)| (&path[..end], dir())));
            let target = target.as_deref();
            let link = |target| Item { mode: SYMLINK, mtime: 0, kind: Kind::Symlink { target } };
            items.insert(path, target.map_or_else(|| file(*size, *checksum), link));
        }
        let read = render(&items).unwrap();
        let mut read = Reader(&read).items();
        read.sort();
        let known = items.iter().map(|(path, item)| {
            let (size, checksum, target) = match item.kind {
                Kind::Dir => (0, 0, ""),
                Kind::File { size, checksum } => (size, checksum, ""),
                Kind::Symlink { target } => {
                    (u32::try_from(target.len()).unwrap(), Cksum::of(target.as_bytes()), target)
                }
            };
            ((*path).to_owned(), item.mode, size, checksum, target.to_owned())
        });
        prop_assert_eq!(read, known.collect::<Vec<_>>());
    }
}
