//! Apple's bill of materials. Source: `bom.h` of bomutils.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use crate::read::{
    decode::{TEXT, all},
    error::ReadError,
    files::{Found, FoundKind, MAX_FILES},
};

const PART: &str = "bill of materials";
/// How deep folders, and the tree of the bill itself, are at most.
const MAX_DEPTH: usize = 128;

/// What a component is to lay, by path.
pub(super) struct Bill(BTreeMap<String, Item>);

/// What is at a path.
struct Item {
    mode: u32,
    owner: String,
    size: u64,
    checksum: u32,
}

impl Bill {
    pub(super) fn read(from: &mut dyn Read) -> Result<Self, ReadError> {
        let bytes = all(from, PART, TEXT)?;
        let store = Store::read(&bytes)?;
        let mut named = BTreeMap::new();
        let mut items = Vec::new();
        for (numbered, name) in store.paths()? {
            let numbered = store.block(numbered)?;
            let (id, about) = (long(numbered, 0)?, store.block(long(numbered, 4)?)?);
            let name = store.block(name)?;
            let text = name.get(4..).unwrap_or_default();
            let text = text.strip_suffix(&[0]).unwrap_or(text);
            named.insert(id, (long(name, 0)?, String::from_utf8_lossy(text).into_owned()));
            items.push((id, item(about)?));
        }
        let mut bill = BTreeMap::new();
        let mut length = 0;
        for (id, item) in items {
            let path = path(&named, id)?;
            length += path.len() as u64;
            if length > TEXT {
                return Err(ReadError::TooBig { part: PART, limit: TEXT, unit: "bytes of paths" });
            }
            bill.insert(path, item);
        }
        Ok(Self(bill))
    }

    pub(super) fn comparing(&self) -> Comparing<'_> {
        Comparing { left: &self.0, seen: BTreeSet::new(), wrong: Vec::new() }
    }
}

/// A bill, and what has been found of it.
pub(super) struct Comparing<'a> {
    left: &'a BTreeMap<String, Item>,
    seen: BTreeSet<&'a str>,
    wrong: Vec<String>,
}

impl Comparing<'_> {
    pub(super) fn compare(&mut self, path: &str, found: &Found, checksum: Option<u32>) {
        let Some((path, item)) = self.left.get_key_value(path) else {
            self.wrong.push(format!("`{path}` is not in it"));
            return;
        };
        self.seen.insert(path);
        let Item { mode, owner, size, checksum: recorded } = item;
        if FoundKind::of_mode(*mode) != found.kind || found.mode != Some(mode & 0o7777) {
            self.wrong.push(format!("`{path}` has another mode"));
        }
        if *owner != found.owner {
            self.wrong.push(format!("`{path}` belongs to {}, {owner} were recorded", found.owner));
        }
        if let Some(checksum) = checksum
            && (checksum != *recorded || *size != found.size)
        {
            self.wrong.push(format!("`{path}` has another size or checksum"));
        }
    }

    /// Everything that is wrong.
    pub(super) fn finish(mut self) -> Vec<String> {
        for path in self.left.keys().filter(|path| !self.seen.contains(path.as_str())) {
            self.wrong.push(format!("`{path}` is in it and not there"));
        }
        self.wrong
    }
}

fn path(named: &BTreeMap<u32, (u32, String)>, id: u32) -> Result<String, ReadError> {
    let mut names = Vec::new();
    let mut next = id;
    while let Some((parent, name)) = named.get(&next) {
        if names.len() == MAX_DEPTH {
            return Err(ReadError::TooBig { part: PART, limit: MAX_DEPTH as u64, unit: "levels" });
        }
        names.push(name.as_str());
        next = *parent;
    }
    names.reverse();
    Ok(crate::read::files::absolute(&names.join("/")))
}

fn item(about: &[u8]) -> Result<Item, ReadError> {
    let mode = about.get(4..6).ok_or_else(cut)?;
    Ok(Item {
        mode: u32::from(mode[0]) << 8 | u32::from(mode[1]),
        owner: format!("{}:{}", long(about, 6)?, long(about, 10)?),
        size: long(about, 18)?.into(),
        checksum: long(about, 23)?,
    })
}

/// Numbered blocks, some of which have names.
struct Store<'a> {
    bytes: &'a [u8],
    index: &'a [u8],
    names: &'a [u8],
}

impl<'a> Store<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ReadError> {
        if !bytes.starts_with(b"BOMStore") {
            return Err(ReadError::damaged(PART, "it does not begin as one"));
        }
        let part = |at: usize| {
            let (start, length) = (long(bytes, at)? as usize, long(bytes, at + 4)? as usize);
            bytes.get(start..start.saturating_add(length)).ok_or_else(cut)
        };
        Ok(Self { bytes, index: part(16)?, names: part(24)? })
    }

    fn block(&self, number: u32) -> Result<&'a [u8], ReadError> {
        let at =
            (number as usize).checked_mul(8).and_then(|at| at.checked_add(4)).ok_or_else(cut)?;
        let (start, length) = (long(self.index, at)? as usize, long(self.index, at + 4)? as usize);
        self.bytes.get(start..start.saturating_add(length)).ok_or_else(cut)
    }

    fn named(&self, name: &str) -> Result<&'a [u8], ReadError> {
        let mut rest = self.names.get(4..).ok_or_else(cut)?;
        while let [_, _, _, _, length, after @ ..] = rest {
            let number = long(rest, 0)?;
            let (its, after) = after.split_at_checked(usize::from(*length)).ok_or_else(cut)?;
            if its == name.as_bytes() {
                return self.block(number);
            }
            rest = after;
        }
        Err(ReadError::damaged(PART, format!("it has no `{name}`")))
    }

    /// Pairs of blocks, one for each path: the leaves from the first on.
    fn paths(&self) -> Result<Vec<(u32, u32)>, ReadError> {
        let mut node = self.block(long(self.named("Paths")?, 8)?)?;
        for _ in 0..MAX_DEPTH {
            if node.get(..2) != Some(&[0, 0]) {
                break;
            }
            node = self.block(long(node, 12)?)?;
        }
        let mut pairs = Vec::new();
        // Every leaf has a block of its own, so that there are no more of them.
        for _ in 0..self.index.len() / 8 {
            let count = usize::from(node.get(2).copied().ok_or_else(cut)?) << 8
                | usize::from(node.get(3).copied().ok_or_else(cut)?);
            for pair in 0..count {
                pairs.push((long(node, 12 + 8 * pair)?, long(node, 16 + 8 * pair)?));
            }
            if pairs.len() > MAX_FILES {
                let limit = MAX_FILES as u64;
                return Err(ReadError::TooBig { part: PART, limit, unit: "files" });
            }
            match long(node, 4)? {
                0 => break,
                next => node = self.block(next)?,
            }
        }
        Ok(pairs)
    }
}

fn long(bytes: &[u8], at: usize) -> Result<u32, ReadError> {
    let bytes = at.checked_add(4).and_then(|end| bytes.get(at..end)).ok_or_else(cut)?;
    Ok(bytes.iter().fold(0, |sum, &byte| sum << 8 | u32::from(byte)))
}

fn cut() -> ReadError {
    ReadError::Truncated { part: PART }
}
