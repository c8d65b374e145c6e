//! Apple's bill of materials: what an installer puts where. Source: `bom.h` of bomutils and what its
//! `mkbom` writes, which this writes byte for byte; macOS and the crate apple-bom read it.
//!
//! A store of numbered blocks, some of which have names. The block `Paths` leads to leaves of a tree
//! that is sorted by the number of the folder above, then by name.

mod cksum;

pub(crate) use cksum::Cksum;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
};

/// What is at a path.
#[derive(Debug, Clone)]
pub(crate) struct Item<'a> {
    /// With the bits that tell its kind.
    pub(crate) mode: u16,
    /// In seconds since 1970.
    pub(crate) mtime: u32,
    pub(crate) kind: Kind<'a>,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind<'a> {
    Dir,
    File { size: u32, checksum: u32 },
    Symlink { target: &'a str },
}

/// Renders a bill of `items`: paths that begin with `./`, the folders above them, and `.` itself. All
/// belong to root and its group. It fails if a folder is missing or there are too many items.
pub(crate) fn render(items: &BTreeMap<&str, Item<'_>>) -> io::Result<Vec<u8>> {
    let count = number(items.len())?;
    let mut store = Store::default();
    // The entry after the three numbers tells of hardware that is needed: none.
    let info = [&1u32.to_be_bytes()[..], &(count + 1).to_be_bytes(), &1u32.to_be_bytes(), &[0; 16]];
    let info = store.block(info.concat())?;
    store.name("BomInfo", info);
    let paths = paths(&mut store, items)?;
    let paths = store.tree(paths, TREE_BLOCK, count)?;
    store.name("Paths", paths);
    let hard_links = store.empty_tree(TREE_BLOCK)?;
    store.name("HLIndex", hard_links);
    let versions = store.empty_tree(SMALL_TREE_BLOCK)?;
    let versions = [&1u32.to_be_bytes()[..], &versions.to_be_bytes(), &[0; 5]].concat();
    let versions = store.block(versions)?;
    store.name("VIndex", versions);
    let sizes = store.empty_tree(TREE_BLOCK)?;
    store.name("Size64", sizes);
    store.render()
}

const TREE_BLOCK: u32 = 4096;
const SMALL_TREE_BLOCK: u32 = 128;
/// Items of a leaf.
const LEAF: usize = 256;

/// Writes the leaves, and a branch above them if there are several. Gives the topmost block.
fn paths(store: &mut Store, items: &BTreeMap<&str, Item<'_>>) -> io::Result<u32> {
    let ordered = ordered(items)?;
    let mut leaves = Vec::new();
    for chunk in ordered.chunks(LEAF) {
        let pairs = chunk.iter().map(|path| path.write(store)).collect::<io::Result<Vec<_>>>()?;
        let last = pairs.last().map_or(0, |(_, file)| *file);
        let back = leaves.last().map_or(0, |(leaf, _)| *leaf);
        let leaf = store.leaf(1, back, &pairs)?;
        store.link_forward(back, leaf);
        leaves.push((leaf, last));
    }
    match leaves.as_slice() {
        [(only, _)] => Ok(*only),
        several => store.leaf(0, 0, several),
    }
}

/// An item in its place in the tree.
struct Place<'a> {
    id: u32,
    /// Number of the folder that it is in; 0 for the root.
    parent: u32,
    name: &'a str,
    item: &'a Item<'a>,
}

/// Numbers the items, folders before what is in them, level by level.
fn ordered<'a>(items: &'a BTreeMap<&str, Item<'a>>) -> io::Result<Vec<Place<'a>>> {
    let mut inside: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for path in items.keys() {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        inside.entry(folder).or_default().push((name, path));
    }
    let mut ordered = Vec::with_capacity(items.len());
    let mut folders = VecDeque::from([("", 0)]);
    while let Some((folder, parent)) = folders.pop_front() {
        for (name, path) in inside.remove(folder).unwrap_or_default() {
            let id = number(ordered.len() + 1)?;
            ordered.push(Place { id, parent, name, item: &items[path] });
            folders.push_back((path, id));
        }
    }
    if inside.is_empty() { Ok(ordered) } else { Err(io::Error::other("a folder is missing")) }
}

/// Who owns everything: root and its group, which macOS calls `wheel`.
const ROOT: u32 = 0;
/// What Apple's tools say of files that are no programs, and bomutils of all.
const ANY_ARCHITECTURE: u16 = 3;

impl Place<'_> {
    /// Writes the three blocks of an item; gives the two that a leaf names.
    fn write(&self, store: &mut Store) -> io::Result<(u32, u32)> {
        let about = store.block(self.about()?)?;
        let numbered = [self.id.to_be_bytes(), about.to_be_bytes()].concat();
        let numbered = store.block(numbered)?;
        let name = [&self.parent.to_be_bytes()[..], self.name.as_bytes(), &[0]].concat();
        Ok((numbered, store.block(name)?))
    }

    fn about(&self) -> io::Result<Vec<u8>> {
        let Item { mode, mtime, kind } = self.item;
        let (kind, size, checksum, target) = match kind {
            Kind::File { size, checksum } => (1, *size, *checksum, None),
            Kind::Dir => (2, 0, 0, None),
            Kind::Symlink { target } => {
                (3, number(target.len())?, Cksum::of(target.as_bytes()), Some(target))
            }
        };
        let mut about = vec![kind, 1];
        about.extend(ANY_ARCHITECTURE.to_be_bytes());
        about.extend(mode.to_be_bytes());
        for number in [ROOT, ROOT, *mtime, size] {
            about.extend(number.to_be_bytes());
        }
        about.push(1);
        about.extend(checksum.to_be_bytes());
        let target = target.map(|target| [target.as_bytes(), &[0]].concat()).unwrap_or_default();
        about.extend(number(target.len())?.to_be_bytes());
        about.extend(target);
        Ok(about)
    }
}

/// Length of the header, most of which is empty.
const HEADER: u32 = 512;
/// The first block has no content.
const NULL_BLOCKS: u32 = 1;
/// Where in a leaf the number of the leaf after it is.
const FORWARD_AT: usize = 4;

/// Blocks, numbered from 1 on, and the names of some.
#[derive(Default)]
struct Store {
    blocks: Vec<Vec<u8>>,
    names: Vec<(&'static str, u32)>,
}

impl Store {
    fn block(&mut self, content: Vec<u8>) -> io::Result<u32> {
        self.blocks.push(content);
        number(self.blocks.len())
    }

    fn name(&mut self, name: &'static str, block: u32) {
        self.names.push((name, block));
    }

    /// A node with pairs of block numbers: a leaf if `leaf` is 1, a branch if it is 0.
    fn leaf(&mut self, leaf: u16, back: u32, pairs: &[(u32, u32)]) -> io::Result<u32> {
        let count = u16::try_from(pairs.len()).map_err(|_| too_many())?;
        let head = [leaf.to_be_bytes(), count.to_be_bytes()].concat();
        let mut node = [head, [0; 4].into(), back.to_be_bytes().into()].concat();
        for (one, other) in pairs {
            node.extend(one.to_be_bytes());
            node.extend(other.to_be_bytes());
        }
        self.block(node)
    }

    /// Tells leaf `from`, if there is one, that `to` comes after it.
    fn link_forward(&mut self, from: u32, to: u32) {
        let index = from.checked_sub(NULL_BLOCKS).and_then(|index| usize::try_from(index).ok());
        if let Some(leaf) = index.and_then(|index| self.blocks.get_mut(index)) {
            leaf[FORWARD_AT..FORWARD_AT + 4].copy_from_slice(&to.to_be_bytes());
        }
    }

    fn tree(&mut self, top: u32, block: u32, count: u32) -> io::Result<u32> {
        let mut tree = b"tree".to_vec();
        for number in [1, top, block, count] {
            tree.extend(number.to_be_bytes());
        }
        tree.push(0);
        self.block(tree)
    }

    fn empty_tree(&mut self, block: u32) -> io::Result<u32> {
        let leaf = self.leaf(1, 0, &[])?;
        self.tree(leaf, block, 0)
    }

    /// Header, names, blocks, and where each block is.
    fn render(&self) -> io::Result<Vec<u8>> {
        let names = self.render_names()?;
        let mut at = HEADER + number(names.len())?;
        let index_at = at + number(self.blocks.iter().map(Vec::len).sum())?;
        let mut index = (number(self.blocks.len())? + NULL_BLOCKS).to_be_bytes().to_vec();
        index.extend([0; 8]);
        for block in &self.blocks {
            let length = number(block.len())?;
            index.extend(at.to_be_bytes());
            index.extend(length.to_be_bytes());
            at += length;
        }
        // A list of free blocks: none, and two that are nowhere.
        index.extend([0; 4 + 2 * 8]);
        let mut out = b"BOMStore".to_vec();
        let count = number(self.blocks.len())?;
        for number in [1, count, index_at, number(index.len())?, HEADER, number(names.len())?] {
            out.extend(number.to_be_bytes());
        }
        out.resize(HEADER as usize, 0);
        out.extend(names);
        out.extend(self.blocks.iter().flatten());
        out.extend(index);
        Ok(out)
    }

    fn render_names(&self) -> io::Result<Vec<u8>> {
        let mut out = number(self.names.len())?.to_be_bytes().to_vec();
        for (name, block) in &self.names {
            out.extend(block.to_be_bytes());
            out.push(u8::try_from(name.len()).map_err(io::Error::other)?);
            out.extend(name.as_bytes());
        }
        Ok(out)
    }
}

fn number(count: usize) -> io::Result<u32> {
    u32::try_from(count).map_err(|_| too_many())
}

fn too_many() -> io::Error {
    io::Error::other("there is too much in a bill of materials")
}

#[cfg(test)]
mod tests;
