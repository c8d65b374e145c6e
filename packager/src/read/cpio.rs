//! cpio archives: "new ASCII", as rpm has them, also without names, and "old portable", as pkg has them.
//! Source: cpio(5), rpm's `cpio.c`.

use std::io::Read;

use super::{
    decode::exactly,
    error::ReadError,
    files::{Found, FoundKind},
};

const PART: &str = "archive of files";
const TRAILER: &str = "TRAILER!!!";
/// The longest path, and the longest target of a symlink, in bytes.
const MAX_NAME: u64 = 64 << 10;

/// An entry, whose bytes come next.
pub(super) enum Item {
    Named {
        path: String,
        found: Found,
    },
    /// rpm's way for big files: the number of the file in the header.
    Numbered(usize),
}

/// Reads entries one after the other.
pub(super) struct Cpio<R> {
    from: R,
    /// Bytes read so far.
    position: u64,
    /// Whether the entry that is being read is filled up to four bytes.
    aligned: bool,
}

impl<R: Read> Cpio<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, position: 0, aligned: true }
    }

    /// The next entry. None: there are no more. All of the bytes of the one before were read.
    pub(super) fn next(&mut self) -> Result<Option<Item>, ReadError> {
        let magic = self.bytes(6)?;
        self.aligned = magic != *b"070707";
        let item = match magic.as_slice() {
            b"070701" | b"070702" => self.new_ascii()?,
            b"070707" => self.portable()?,
            b"07070X" => {
                let number = hexadecimal(&self.bytes(8)?)?;
                self.align()?;
                return Ok(Some(Item::Numbered(number as usize)));
            }
            _ => return Err(ReadError::damaged(PART, "an entry has no head")),
        };
        Ok(match item {
            Item::Named { path, .. } if path == TRAILER => None,
            item @ (Item::Named { .. } | Item::Numbered(_)) => Some(item),
        })
    }

    /// For the bytes of the entry, of which [`Cpio::end`] has to hear.
    pub(super) fn from(&mut self) -> &mut R {
        &mut self.from
    }

    /// The entry's `size` bytes have been read.
    pub(super) fn end(&mut self, size: u64) -> Result<(), ReadError> {
        self.position += size;
        if self.aligned { self.align() } else { Ok(()) }
    }

    /// What is left when the last entry has been read.
    pub(super) fn into_inner(self) -> R {
        self.from
    }

    fn new_ascii(&mut self) -> Result<Item, ReadError> {
        let head = self.bytes(13 * 8)?;
        let field = |index: usize| hexadecimal(&head[index * 8..][..8]);
        let (mode, user, group, size) = (field(1)?, field(2)?, field(3)?, field(6)?);
        let path = self.name(field(11)?.into())?;
        self.align()?;
        let owner = format!("{user}:{group}");
        Ok(item(path, mode, owner, size.into()))
    }

    fn portable(&mut self) -> Result<Item, ReadError> {
        let head = self.bytes(70)?;
        let field = |at: usize, length: usize| octal(&head[at..at + length]);
        let (mode, name, size) = (field(12, 6)?, field(53, 6)?, field(59, 11)?);
        let (user, group) = (field(18, 6)?, field(24, 6)?);
        let mode =
            u32::try_from(mode).map_err(|_| ReadError::damaged(PART, "a mode is too long"))?;
        let path = self.name(name)?;
        Ok(item(path, mode, format!("{user}:{group}"), size))
    }

    fn name(&mut self, length: u64) -> Result<String, ReadError> {
        if length > MAX_NAME {
            return Err(ReadError::TooBig { part: PART, limit: MAX_NAME, unit: "bytes in a name" });
        }
        let mut bytes = self.bytes(length)?;
        bytes.pop();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn bytes(&mut self, count: u64) -> Result<Vec<u8>, ReadError> {
        self.position += count;
        exactly(&mut self.from, PART, count, MAX_NAME)
    }

    fn align(&mut self) -> Result<(), ReadError> {
        let rest = self.position.next_multiple_of(4) - self.position;
        self.bytes(rest).map(drop)
    }
}

fn item(path: String, mode: u32, owner: String, size: u64) -> Item {
    let kind = FoundKind::of_mode(mode);
    let found = Found { size, ..Found::new(kind, mode, owner) };
    Item::Named { path, found }
}

fn hexadecimal(digits: &[u8]) -> Result<u32, ReadError> {
    let text = std::str::from_utf8(digits).unwrap_or_default();
    u32::from_str_radix(text, 16).map_err(|_| no_number())
}

fn octal(digits: &[u8]) -> Result<u64, ReadError> {
    let text = std::str::from_utf8(digits).unwrap_or_default();
    u64::from_str_radix(text, 8).map_err(|_| no_number())
}

fn no_number() -> ReadError {
    ReadError::damaged(PART, "an entry's head has something else than numbers in it")
}
