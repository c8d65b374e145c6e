//! The container of a signature's parts: blobs, each with a magic number and its length, in one that
//! lists them. Source: `osfmk/kern/cs_blobs.h` of Apple's xnu. All numbers are big-endian.

/// Magic numbers.
pub(super) const REQUIREMENT: u32 = 0xfade_0c00;
pub(super) const REQUIREMENTS: u32 = 0xfade_0c01;
pub(super) const DIRECTORY: u32 = 0xfade_0c02;
const SIGNATURE: u32 = 0xfade_0cc0;
pub(super) const MESSAGE: u32 = 0xfade_0b01;
pub(super) const ENTITLEMENTS: u32 = 0xfade_7171;
pub(super) const DER_ENTITLEMENTS: u32 = 0xfade_7172;

/// What a blob in a signature is for. Those up to the last are also the places of their digests in a
/// directory, counted backwards from the digests of the pages.
pub(super) mod slot {
    pub(in super::super) const DIRECTORY: u32 = 0;
    pub(in super::super) const INFO: u32 = 1;
    pub(in super::super) const REQUIREMENTS: u32 = 2;
    pub(in super::super) const RESOURCES: u32 = 3;
    pub(in super::super) const ENTITLEMENTS: u32 = 5;
    pub(in super::super) const DER_ENTITLEMENTS: u32 = 7;
    /// Behind it, up to here, are conditions for starting the program.
    pub(in super::super) const LAST: u32 = 11;
    /// Directories with other digests, from here on.
    pub(in super::super) const ALTERNATIVES: std::ops::Range<u32> = 0x1000..0x1005;
    pub(in super::super) const MESSAGE: u32 = 0x1_0000;
}

/// In bytes: magic number and length, and an entry of a list.
const HEAD: usize = 8;
const ENTRY: usize = 8;

/// A blob with its head.
pub(super) fn blob(magic: u32, content: &[u8]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(HEAD + content.len());
    blob.extend(magic.to_be_bytes());
    blob.extend(length(HEAD + content.len()).to_be_bytes());
    blob.extend(content);
    blob
}

/// What `blob` has behind its head, if it is one with `magic`.
pub(super) fn content(blob: &[u8], magic: u32) -> Option<&[u8]> {
    let long = number(blob, 4)? as usize;
    (number(blob, 0)? == magic).then(|| blob.get(HEAD..long)).flatten()
}

/// The list of a signature's blobs, or of requirements, with the blobs.
pub(super) fn list(magic: u32, blobs: &[(u32, &[u8])]) -> Vec<u8> {
    let mut content = length(blobs.len()).to_be_bytes().to_vec();
    let mut at = HEAD + 4 + blobs.len() * ENTRY;
    for (kind, blob) in blobs {
        content.extend(kind.to_be_bytes());
        content.extend(length(at).to_be_bytes());
        at += blob.len();
    }
    content.extend(blobs.iter().flat_map(|(_, blob)| *blob));
    self::blob(magic, &content)
}

/// The signature made of `blobs`.
pub(super) fn signature(blobs: &[(u32, &[u8])]) -> Vec<u8> {
    list(SIGNATURE, blobs)
}

/// Length of a signature whose blobs have these lengths.
pub(super) fn signature_size(blobs: impl IntoIterator<Item = usize>) -> usize {
    blobs.into_iter().fold(HEAD + 4, |sum, size| sum + ENTRY + size)
}

/// The blobs of a signature, with their heads, each kind once.
pub(super) struct Signature<'a>(Vec<(u32, &'a [u8])>);

impl<'a> Signature<'a> {
    /// None: it is damaged.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut blobs: Vec<(u32, &[u8])> = Vec::new();
        for (kind, blob) in entries(bytes, SIGNATURE)? {
            blobs.iter().all(|(other, _)| *other != kind).then_some(())?;
            blobs.push((kind, blob));
        }
        Some(Self(blobs))
    }

    pub(super) fn get(&self, slot: u32) -> Option<&'a [u8]> {
        self.0.iter().find(|(kind, _)| *kind == slot).map(|(_, blob)| *blob)
    }
}

/// The blobs of a list with their kinds.
pub(super) fn entries(bytes: &[u8], magic: u32) -> Option<Vec<(u32, &[u8])>> {
    content(bytes, magic)?;
    let whole = bytes.get(..number(bytes, 4)? as usize)?;
    let count = number(whole, HEAD)? as usize;
    let index = whole.get(HEAD + 4..)?.chunks_exact(ENTRY).take(count);
    (index.len() == count).then_some(())?;
    let blobs = index.map(|entry| {
        let rest = whole.get(number(entry, 4)? as usize..)?;
        let long = number(rest, 4)? as usize;
        Some((number(entry, 0)?, rest.get(..long).filter(|blob| blob.len() >= HEAD)?))
    });
    blobs.collect()
}

pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn length(number: usize) -> u32 {
    u32::try_from(number).expect("a signature is shorter than its program, which has 32 bits")
}
