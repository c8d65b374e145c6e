//! rpm's header: an index of tags over a store of their values.

use std::collections::BTreeMap;

/// Tags of the signature header.
pub(super) struct SignatureTag;

impl SignatureTag {
    pub(super) const REGION: u32 = 62;
    pub(super) const SHA256: u32 = 273;
    pub(super) const SIZE: u32 = 1000;
    pub(super) const PAYLOAD_SIZE: u32 = 1007;
    pub(super) const RESERVED_SPACE: u32 = 1008;
}

const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
/// Of an entry of the index.
const ENTRY: usize = 16;

/// Values by tag, which is also their order on disk.
#[derive(Default)]
pub(super) struct Header {
    values: BTreeMap<u32, Value>,
}

struct Value {
    kind: Kind,
    count: usize,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Kind {
    Int16 = 3,
    Int32 = 4,
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
            Self::String | Self::Binary | Self::Strings | Self::Translated => 1,
        }
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

fn c_string(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}
