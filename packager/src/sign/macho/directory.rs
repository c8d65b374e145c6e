//! The directory of a signature: digests of the program's pages and of the signature's other parts. It
//! is what is signed, and by whose digest macOS knows a program. Source: `CS_CodeDirectory` in
//! `osfmk/kern/cs_blobs.h` of Apple's xnu.

use aws_lc_rs::digest::{self, Context, SHA256};

use super::blob::{self, length, number};

/// The newest kind that has no more than is needed here: with the version of the hardened runtime.
const VERSION: u32 = 0x2_0500;
/// From which on it says where the team's name and the code's segment are, and has 64 bits for the code.
const WITH_TEAM: u32 = 0x2_0200;
const WITH_LONG_LIMIT: u32 = 0x2_0300;
/// In bytes, with the blob's head.
const HEAD: usize = 96;
/// Hardened runtime, as Apple's notary wants it.
const RUNTIME: u32 = 0x1_0000;
/// Signed by nobody.
const AD_HOC: u32 = 2;
/// Of a program that is started.
const MAIN: u64 = 1;
const KIND_SHA256: u8 = 2;
const SHA256_SIZE: usize = 32;
/// Length of the digest by which macOS knows a program.
pub(super) const SHORT: usize = 20;

/// A directory in the making.
#[derive(Debug)]
pub(super) struct Directory<'a> {
    pub(super) identifier: &'a str,
    pub(super) team: Option<&'a str>,
    /// In bytes.
    pub(super) code_size: u32,
    /// As a power of two.
    pub(super) page: u8,
    /// Where the segment with the code begins and how long it is.
    pub(super) text: [u64; 2],
    pub(super) is_main: bool,
    /// What the program was built against.
    pub(super) sdk: u32,
    /// Digests of the other parts, by their slots from 1 on.
    pub(super) special: Vec<[u8; SHA256_SIZE]>,
}

impl Directory<'_> {
    /// The blob; `pages` are the digests of the pages.
    pub(super) fn encode(&self, pages: &[u8]) -> Vec<u8> {
        let identifier = [self.identifier.as_bytes(), &[0]].concat();
        let team = self.team.map_or(Vec::new(), |team| [team.as_bytes(), &[0]].concat());
        let team_at = HEAD + identifier.len();
        let pages_at = team_at + team.len() + self.special.len() * SHA256_SIZE;
        let mut out = Vec::new();
        let numbers = [
            VERSION,
            RUNTIME,
            length(pages_at),
            length(HEAD),
            length(self.special.len()),
            length(pages.len() / SHA256_SIZE),
            self.code_size,
        ];
        out.extend(numbers.into_iter().flat_map(u32::to_be_bytes));
        out.extend([SHA256_SIZE as u8, KIND_SHA256, 0, self.page]);
        let team_at = if self.team.is_some() { length(team_at) } else { 0 };
        // Nothing is scattered; the code's size fits into 32 bits.
        out.extend([0, 0, team_at, 0, 0, 0].into_iter().flat_map(u32::to_be_bytes));
        let [text, size] = self.text;
        let flags = if self.is_main { MAIN } else { 0 };
        out.extend([text, size, flags].into_iter().flat_map(u64::to_be_bytes));
        out.extend([self.sdk, 0].into_iter().flat_map(u32::to_be_bytes));
        out.extend(identifier);
        out.extend(team);
        out.extend(self.special.iter().rev().flatten());
        out.extend(pages);
        blob::blob(blob::DIRECTORY, &out)
    }

    /// How long [`Self::encode`] is.
    pub(super) fn size(&self) -> usize {
        let pages = (self.code_size as usize).div_ceil(1 << self.page);
        self.encode(&[]).len() + pages * SHA256_SIZE
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; SHA256_SIZE] {
    let digest = digest::digest(&SHA256, bytes);
    digest.as_ref().try_into().expect("it has 32 bytes")
}

/// Digests pages as they come by.
pub(super) struct Pages {
    size: usize,
    filled: usize,
    context: Context,
    digests: Vec<u8>,
}

impl Pages {
    /// For pages of `size` bytes.
    pub(super) fn new(size: usize) -> Self {
        Self { size, filled: 0, context: Context::new(&SHA256), digests: Vec::new() }
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(self.size - self.filled));
            self.context.update(now);
            self.filled += now.len();
            bytes = later;
            if self.filled == self.size {
                self.end_page();
            }
        }
    }

    fn end_page(&mut self) {
        let context = std::mem::replace(&mut self.context, Context::new(&SHA256));
        self.digests.extend(context.finish().as_ref());
        self.filled = 0;
    }

    /// The digests of all pages, one behind the other.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.end_page();
        }
        self.digests
    }
}

/// A directory that was read, whose digests are SHA-256.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub(super) blob: &'a [u8],
    flags: u32,
    pub(super) identifier: &'a str,
    pub(super) team: Option<&'a str>,
    pub(super) code_size: u64,
    /// In bytes.
    pub(super) page: u64,
    pub(super) pages: &'a [u8],
    /// Digests of the other parts, the highest slot first.
    special: &'a [u8],
}

impl<'a> Parsed<'a> {
    /// Whether the digests in `blob` are of a kind that is read here.
    pub(super) fn is_supported(blob: &[u8]) -> bool {
        blob.get(36..38) == Some(&[SHA256_SIZE as u8, KIND_SHA256])
    }

    /// None: it is damaged.
    pub(super) fn parse(blob: &'a [u8]) -> Option<Self> {
        blob::content(blob, blob::DIRECTORY)?;
        let blob = blob.get(..number(blob, 4)? as usize)?;
        let [version, flags, pages_at, identifier, specials, pages, size] =
            [2, 3, 4, 5, 6, 7, 8].map(|field| number(blob, field * 4));
        let version = version?;
        let [pages_at, specials, pages] = [pages_at?, specials?, pages?].map(|it| it as usize);
        let specials_at = pages_at.checked_sub(specials.checked_mul(SHA256_SIZE)?)?;
        let pages_end = pages_at.checked_add(pages.checked_mul(SHA256_SIZE)?)?;
        let team = if version >= WITH_TEAM { number(blob, 48)? } else { 0 };
        let long =
            if version >= WITH_LONG_LIMIT { blob.get(56..)?.first_chunk()? } else { &[0; 8] };
        let code_size = match u64::from_be_bytes(*long) {
            0 => u64::from(size?),
            long => long,
        };
        let page = match *blob.get(39)? {
            0 => code_size.max(1),
            power => 1_u64.checked_shl(power.into())?,
        };
        (code_size.div_ceil(page) == pages as u64).then_some(())?;
        Some(Self {
            blob,
            flags: flags?,
            identifier: text(blob, identifier? as usize)?,
            team: if team == 0 { None } else { Some(text(blob, team as usize)?) },
            code_size,
            page,
            pages: blob.get(pages_at..pages_end)?,
            special: blob.get(specials_at..pages_at)?,
        })
    }

    /// The digest of the part in `slot`; none if there is no such part.
    pub(super) fn special(&self, slot: u32) -> Option<&'a [u8]> {
        let index = (self.special.len() / SHA256_SIZE).checked_sub(slot as usize)?;
        let digest = self.special.get(index * SHA256_SIZE..)?.get(..SHA256_SIZE)?;
        digest.iter().any(|byte| *byte != 0).then_some(digest)
    }

    /// Whether it says that nobody has signed it.
    pub(super) fn is_ad_hoc(&self) -> bool {
        self.flags & AD_HOC != 0
    }

    pub(super) fn is_hardened(&self) -> bool {
        self.flags & RUNTIME != 0
    }
}

fn text(blob: &[u8], at: usize) -> Option<&str> {
    let bytes = blob.get(at..)?.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(bytes).ok()
}
