//! rpm's header: an index of tags over a store of their values, read with every number checked. Source: the
//! rpm reference manual, "RPM v4 package format".

use std::collections::BTreeMap;

use crate::read::{
    ReadSeek,
    decode::{TEXT, exactly},
    error::ReadError,
};

const MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
const INTRO: u64 = 16;
const ENTRY: usize = 16;
/// The most tags. Source: rpm's `HEADER_TAGS_MAX`.
const MAX_TAGS: u64 = 0xffff;

/// Values by tag.
pub(super) struct Header {
    part: &'static str,
    entries: BTreeMap<u32, Entry>,
    store: Vec<u8>,
    /// As it is in the file, which digests are over.
    pub(super) bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Entry {
    kind: u32,
    at: usize,
    count: usize,
}

impl Header {
    pub(super) fn read(file: &mut dyn ReadSeek, part: &'static str) -> Result<Self, ReadError> {
        let mut bytes = exactly(file, part, INTRO, INTRO)?;
        if !bytes.starts_with(&MAGIC) {
            return Err(ReadError::damaged(part, "it does not begin as one"));
        }
        let (tags, length) = (u64::from(number(&bytes, 8)), u64::from(number(&bytes, 12)));
        if tags > MAX_TAGS {
            return Err(ReadError::TooBig { part, limit: MAX_TAGS, unit: "tags" });
        }
        let index = exactly(file, part, tags * ENTRY as u64, TEXT)?;
        let store = exactly(file, part, length, TEXT)?;
        bytes.extend_from_slice(&index);
        bytes.extend_from_slice(&store);
        let entries = index.chunks_exact(ENTRY).map(|entry| {
            let [tag, kind, at, count] = [0, 4, 8, 12].map(|place| number(entry, place));
            (tag, Entry { kind, at: at as usize, count: count as usize })
        });
        let entries = entries.collect();
        Ok(Self { part, entries, store, bytes })
    }

    pub(super) fn has(&self, tag: u32) -> bool {
        self.entries.contains_key(&tag)
    }

    /// The value's bytes from where they begin on; nothing if there is no such tag of one of `kinds`.
    fn value(&self, tag: u32, kinds: &[u32]) -> Option<(Entry, &[u8])> {
        let entry = self.entries.get(&tag).filter(|entry| kinds.contains(&entry.kind))?;
        Some((*entry, self.store.get(entry.at..)?))
    }

    /// All of the strings under `tag`, none if there is no such.
    pub(super) fn strings(&self, tag: u32) -> Result<Vec<String>, ReadError> {
        const STRINGS: [u32; 3] = [6, 8, 9];
        let Some((entry, bytes)) = self.value(tag, &STRINGS) else { return Ok(Vec::new()) };
        // Each string takes a byte at least.
        if entry.count > bytes.len() {
            return Err(self.overrun(tag));
        }
        let texts = bytes.split_inclusive(|&byte| byte == 0).take(entry.count);
        let texts: Vec<_> = texts
            .filter_map(|text| text.strip_suffix(&[0]))
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect();
        if texts.len() == entry.count { Ok(texts) } else { Err(self.overrun(tag)) }
    }

    /// The first string under `tag`; empty if there is none.
    pub(super) fn string(&self, tag: u32) -> Result<String, ReadError> {
        Ok(self.strings(tag)?.into_iter().next().unwrap_or_default())
    }

    /// All of the numbers under `tag`, of 8 to 64 bits.
    pub(super) fn numbers(&self, tag: u32) -> Result<Vec<u64>, ReadError> {
        const NUMBERS: [u32; 5] = [1, 2, 3, 4, 5];
        let Some((entry, bytes)) = self.value(tag, &NUMBERS) else { return Ok(Vec::new()) };
        let width = match entry.kind {
            3 => 2,
            4 => 4,
            5 => 8,
            _ => 1,
        };
        let length = entry.count.checked_mul(width);
        let bytes =
            length.and_then(|length| bytes.get(..length)).ok_or_else(|| self.overrun(tag))?;
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        Ok(bytes.chunks_exact(width).map(number).collect())
    }

    pub(super) fn binary(&self, tag: u32) -> Result<&[u8], ReadError> {
        let Some((entry, bytes)) = self.value(tag, &[7]) else { return Ok(&[]) };
        bytes.get(..entry.count).ok_or_else(|| self.overrun(tag))
    }

    fn overrun(&self, tag: u32) -> ReadError {
        ReadError::damaged(self.part, format!("the value of tag {tag} ends beyond it"))
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |sum, &byte| sum << 8 | u32::from(byte))
}
