//! The directory of a compound file: a red-black tree of names.

use std::io;

use super::by_name;

/// Where a stream is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Its first sector.
    pub(super) start: u32,
    /// In bytes.
    pub(super) size: u32,
}

/// What an entry is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Stream = 2,
    Root = 5,
}

#[derive(Debug)]
struct Entry {
    name: Vec<u16>,
    kind: Kind,
    place: Place,
}

/// Entries in any order. Their root is added in the end.
#[derive(Debug, Default)]
pub(super) struct Directory {
    entries: Vec<Entry>,
}

const NONE: u32 = u32::MAX;
/// Units of a name, the zero at its end not counted.
const MAX_NAME: usize = 31;
/// Entries of a sector.
const PER_SECTOR: usize = 4;

/// An entry's neighbours in the tree.
#[derive(Debug, Clone, Copy)]
struct Links {
    left: u32,
    right: u32,
    black: bool,
}

impl Links {
    const LONE: Self = Self { left: NONE, right: NONE, black: true };
}

impl Directory {
    pub(super) fn add(&mut self, name: &str, kind: Kind, place: Place) -> io::Result<()> {
        let name: Vec<_> = name.encode_utf16().collect();
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(io::Error::other("a stream's name has 1 to 31 characters"));
        }
        self.entries.push(Entry { name, kind, place });
        Ok(())
    }

    /// The directory with a root whose class is `class` and whose content, that of short streams,
    /// is at `mini`. Fills whole sectors.
    pub(super) fn bytes(mut self, class: [u8; 16], mini: Place) -> io::Result<Vec<u8>> {
        self.entries.sort_by(|a, b| by_name(&a.name, &b.name));
        let mut links = vec![Links::LONE; self.entries.len()];
        let depth = self.entries.len().checked_ilog2().unwrap_or_default();
        let top = link(&mut links, 0, depth, 1);
        let root =
            Entry { name: "Root Entry".encode_utf16().collect(), kind: Kind::Root, place: mini };
        let mut bytes = entry(&root, Links::LONE, top, class);
        for (entry_, links) in self.entries.iter().zip(links) {
            bytes.extend(entry(entry_, links, NONE, [0; 16]));
        }
        while !bytes.len().is_multiple_of(PER_SECTOR * 128) {
            bytes.extend(unused());
        }
        Ok(bytes)
    }
}

/// Links the entries of `links`, the first of which has the number `first`, to a tree of even
/// depth; gives its top. The last level, which may have gaps, is red and everything above black.
fn link(links: &mut [Links], level: u32, depth: u32, first: u32) -> u32 {
    if links.is_empty() {
        return NONE;
    }
    let middle = links.len() / 2;
    let (left, rest) = links.split_at_mut(middle);
    let (own, right) = rest.split_first_mut().expect("the slice is not empty");
    let number = first + middle as u32;
    *own = Links {
        left: link(left, level + 1, depth, first),
        right: link(right, level + 1, depth, number + 1),
        black: level < depth || depth == 0,
    };
    number
}

fn entry(entry: &Entry, links: Links, child: u32, class: [u8; 16]) -> Vec<u8> {
    let mut bytes: Vec<_> = entry.name.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let length = bytes.len() as u16 + 2;
    bytes.resize(64, 0);
    bytes.extend(length.to_le_bytes());
    bytes.extend([entry.kind as u8, u8::from(links.black)]);
    for number in [links.left, links.right, child] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(class);
    bytes.extend([0; 20]); // No state, no times.
    bytes.extend(entry.place.start.to_le_bytes());
    bytes.extend(u64::from(entry.place.size).to_le_bytes());
    bytes
}

fn unused() -> Vec<u8> {
    let mut bytes = vec![0; 128];
    bytes[68..80].fill(0xff);
    bytes
}
