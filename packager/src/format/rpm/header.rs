//! rpm's header: an index of tags over a store of their values.

use std::collections::BTreeMap;

/// Tags of the signature header.
pub(super) struct SignatureTag;

impl SignatureTag {
    pub(super) const REGION: u32 = 62;
    pub(super) const LONG_PAYLOAD_SIZE: u32 = 271;
    /// Over the header, by DSA or a curve.
    pub(super) const DSA: u32 = 267;
    /// Over the header, by RSA.
    pub(super) const RSA: u32 = 268;
    pub(super) const SHA256: u32 = 273;
    pub(super) const SIZE: u32 = 1000;
    /// Over header and archive, by RSA: what rpm before 4.14 made.
    pub(super) const OLD_RSA: u32 = 1002;
    /// The same by DSA or a curve.
    pub(super) const OLD_DSA: u32 = 1005;
    pub(super) const PAYLOAD_SIZE: u32 = 1007;
    pub(super) const RESERVED_SPACE: u32 = 1008;
}

const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
/// Of an entry of the index.
const ENTRY: usize = 16;
/// What comes before the index, in bytes.
pub(super) const INTRO: usize = 16;
/// Source: rpm's `HEADER_TAGS_MAX`.
const MAX_ENTRIES: u32 = 0xffff;
/// Of a package with more files than any has.
const MAX_STORE: u32 = 64 << 20;

/// Values by tag, which is also their order on disk.
#[derive(Debug, Default)]
pub(super) struct Header {
    values: BTreeMap<u32, Value>,
}

#[derive(Debug)]
struct Value {
    kind: Kind,
    count: usize,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Char = 1,
    Int8 = 2,
    Int16 = 3,
    Int32 = 4,
    Int64 = 5,
    String = 6,
    Binary = 7,
    Strings = 8,
    /// A string that could be translated; all of ours are in the C locale alone.
    Translated = 9,
}

impl Kind {
    const fn alignment(self) -> usize {
        match self {
            Self::Int16 => 2,
            Self::Int32 => 4,
            Self::Int64 => 8,
            Self::Char
            | Self::Int8
            | Self::String
            | Self::Binary
            | Self::Strings
            | Self::Translated => 1,
        }
    }

    const fn is_text(self) -> bool {
        matches!(self, Self::String | Self::Strings | Self::Translated)
    }

    const fn is_number(self) -> bool {
        !self.is_text() && !matches!(self, Self::Binary)
    }

    fn numbered(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Char,
            2 => Self::Int8,
            3 => Self::Int16,
            4 => Self::Int32,
            5 => Self::Int64,
            6 => Self::String,
            7 => Self::Binary,
            8 => Self::Strings,
            9 => Self::Translated,
            _ => return None,
        })
    }

    /// The bytes of `count` values at the start of `store`.
    fn value(self, store: &[u8], count: usize) -> Option<&[u8]> {
        let length = match self {
            Self::Strings | Self::Translated | Self::String => {
                let mut ends = store.iter().enumerate().filter(|(_, byte)| **byte == 0);
                match count.checked_sub(1) {
                    Some(before) => ends.nth(before)?.0 + 1,
                    None => 0,
                }
            }
            Self::Char | Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64 | Self::Binary => {
                count.checked_mul(self.alignment())?
            }
        };
        store.get(..length)
    }
}

impl Header {
    pub(super) fn string(&mut self, tag: u32, text: &str) {
        self.put(tag, Kind::String, 1, c_string(text));
    }

    pub(super) fn translated(&mut self, tag: u32, text: &str) {
        self.put(tag, Kind::Translated, 1, c_string(text));
    }

    pub(super) fn strings<'a>(&mut self, tag: u32, texts: impl IntoIterator<Item = &'a str>) {
        let mut count = 0;
        let bytes = texts.into_iter().inspect(|_| count += 1).flat_map(c_string).collect();
        self.put(tag, Kind::Strings, count, bytes);
    }

    pub(super) fn int16(&mut self, tag: u32, numbers: &[u16]) {
        let bytes = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        self.put(tag, Kind::Int16, numbers.len(), bytes);
    }

    pub(super) fn int32(&mut self, tag: u32, numbers: &[u32]) {
        let bytes = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        self.put(tag, Kind::Int32, numbers.len(), bytes);
    }

    pub(super) fn binary(&mut self, tag: u32, bytes: &[u8]) {
        self.put(tag, Kind::Binary, bytes.len(), bytes.to_vec());
    }

    /// Deletes the value of `tag`, if there is one.
    pub(super) fn remove(&mut self, tag: u32) {
        self.values.remove(&tag);
    }

    /// The bytes of the value of `tag`, if it is binary.
    pub(super) fn get_binary(&self, tag: u32) -> Option<&[u8]> {
        self.values.get(&tag).filter(|it| it.kind == Kind::Binary).map(|it| &it.bytes[..])
    }

    /// The numbers of `tag`; none if it has none.
    pub(super) fn numbers(&self, tag: u32) -> Vec<u64> {
        let Some(value) = self.values.get(&tag).filter(|value| value.kind.is_number()) else {
            return Vec::new();
        };
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        value.bytes.chunks_exact(value.kind.alignment()).map(number).collect()
    }

    /// The texts of `tag`; none if it has none. What is not UTF-8 is replaced.
    pub(super) fn texts(&self, tag: u32) -> Vec<String> {
        let Some(value) = self.values.get(&tag).filter(|value| value.kind.is_text()) else {
            return Vec::new();
        };
        let texts = value.bytes.split_inclusive(|byte| *byte == 0);
        let texts = texts.map(|text| text.strip_suffix(&[0]).unwrap_or(text));
        texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    /// How long the whole header is that begins with `intro`; what is wrong with it if none does.
    pub(super) fn length(intro: &[u8; INTRO]) -> Result<usize, &'static str> {
        if intro[..4] != MAGIC[..4] {
            return Err("a header does not begin as one");
        }
        let (entries, store) = (read_number(intro, 8), read_number(intro, 12));
        if entries > MAX_ENTRIES || store > MAX_STORE {
            return Err("a header is longer than any is");
        }
        Ok(INTRO + entries as usize * ENTRY + store as usize)
    }

    /// Reads a whole header of the length that [`Self::length`] told, without its region.
    pub(super) fn parse(bytes: &[u8], region: u32) -> Result<Self, &'static str> {
        let (intro, rest) = bytes.split_first_chunk::<INTRO>().ok_or("a header ends early")?;
        let length = read_number(intro, 8) as usize * ENTRY;
        let (index, store) = rest.split_at_checked(length).ok_or("a header ends early")?;
        let mut header = Self::default();
        // Each value is copied: what several share would be copied again and again.
        let mut left = store.len();
        for entry in index.chunks_exact(ENTRY) {
            let [tag, kind, at, count] = [0, 4, 8, 12].map(|place| read_number(entry, place));
            if tag == region {
                continue;
            }
            let kind = Kind::numbered(kind).ok_or("a header has values of an unknown kind")?;
            let value = store.get(at as usize..).and_then(|it| kind.value(it, count as usize));
            let bytes = value.ok_or("a value of a header ends beyond it")?;
            left = left.checked_sub(bytes.len()).ok_or("values of a header overlap")?;
            let value = Value { kind, count: count as usize, bytes: bytes.to_vec() };
            header.values.insert(tag, value);
        }
        Ok(header)
    }

    fn put(&mut self, tag: u32, kind: Kind, count: usize, bytes: Vec<u8>) {
        let before = self.values.insert(tag, Value { kind, count, bytes });
        debug_assert!(before.is_none(), "tag {tag} is set twice");
    }

    /// The header as bytes. The tag `region` spans all others: what digests and signatures cover.
    pub(super) fn render(&self, region: u32) -> Vec<u8> {
        let mut index = Vec::new();
        let mut store = Vec::new();
        for (tag, value) in &self.values {
            store.resize(usize::next_multiple_of(store.len(), value.kind.alignment()), 0);
            index.extend(entry(*tag, value.kind, number(store.len()), value.count));
            store.extend(&value.bytes);
        }
        // The region's value is an entry that points back over the index, itself included.
        let entries = self.values.len() + 1;
        let back = number(entries * ENTRY).wrapping_neg();
        let first = entry(region, Kind::Binary, number(store.len()), ENTRY);
        store.extend(entry(region, Kind::Binary, back, ENTRY));
        let mut bytes = MAGIC.to_vec();
        bytes.extend(number(entries).to_be_bytes());
        bytes.extend(number(store.len()).to_be_bytes());
        bytes.extend(first);
        bytes.extend(index);
        bytes.extend(store);
        bytes
    }
}

fn entry(tag: u32, kind: Kind, offset: u32, count: usize) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    let fields = [tag, kind as u32, offset, number(count)];
    for (field, bytes) in fields.into_iter().zip(entry.chunks_exact_mut(4)) {
        bytes.copy_from_slice(&field.to_be_bytes());
    }
    entry
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("a header is far below 4 GiB: it holds names, not contents")
}

fn read_number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

fn c_string(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGION: u32 = 63;

    /// A header of which `count` tags have the same value, of `length` bytes.
    fn shared(count: u32, length: usize) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(count.to_be_bytes());
        bytes.extend(number(length).to_be_bytes());
        bytes.extend((0..count).flat_map(|tag| entry(1000 + tag, Kind::Binary, 0, length)));
        bytes.resize(bytes.len() + length, 0);
        bytes
    }

    #[test]
    fn a_value_is_not_copied_for_every_tag_that_names_it() {
        assert!(Header::parse(&shared(1, 1 << 10), REGION).is_ok());
        let parsed = Header::parse(&shared(2, 1 << 10), REGION);
        assert_eq!(parsed.unwrap_err(), "values of a header overlap");
        assert!(Header::parse(&shared(1 << 10, 1 << 10), REGION).is_err());
    }

    #[test]
    fn what_was_rendered_is_parsed() {
        let mut header = Header::default();
        header.string(1000, "name");
        header.strings(1001, ["one", "two"]);
        header.int32(1002, &[1, 2, 3]);
        header.binary(1003, b"bytes");
        let bytes = header.render(REGION);
        assert_eq!(Header::parse(&bytes, REGION).unwrap().render(REGION), bytes);
    }
}
