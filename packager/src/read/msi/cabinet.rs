//! Cabinets, read once from front to end: the crate `cab` unpacks a folder again for each of its files.
//! Source: MS-CAB, MS-MCI.

use std::io::{self, Read, Seek, SeekFrom};

use flate2::{Decompress, FlushDecompress};

use crate::{
    archive::cab::checksum,
    read::{
        decode::{UNPACKED, exactly, fill},
        error::ReadError,
    },
};

pub(super) const PART: &str = "cabinet";
/// How much text a block holds.
const BLOCK: usize = 32 << 10;
const MAX_NAME: u64 = 256;

/// A file in a cabinet.
pub(super) struct Item {
    pub(super) name: String,
    pub(super) size: u64,
    folder: usize,
    /// Where in its folder it begins.
    at: u64,
}

struct Folder {
    /// Where in the cabinet its data is.
    at: u64,
    blocks: u16,
    squeezed: bool,
}

/// A cabinet's list.
pub(super) struct Cabinet {
    folders: Vec<Folder>,
    pub(super) items: Vec<Item>,
    /// Bytes of every block that are left to others.
    reserved: usize,
}

impl Cabinet {
    pub(super) fn read(from: &mut (impl Read + Seek)) -> Result<Self, ReadError> {
        const HEADER: u64 = 36;
        const RESERVES: u16 = 4;
        const IN_A_SET: u16 = 3;
        let header = exactly(from, PART, HEADER, HEADER)?;
        if !header.starts_with(b"MSCF") {
            return Err(ReadError::damaged(PART, "it does not begin as one"));
        }
        let flags = short(&header, 30);
        if flags & IN_A_SET != 0 {
            return Err(ReadError::Unsupported { part: PART, what: "one of a set".to_owned() });
        }
        let mut reserved = [0; 4];
        if flags & RESERVES != 0 {
            from.read_exact(&mut reserved).map_err(ReadError::at(PART))?;
            let length = u16::from_le_bytes([reserved[0], reserved[1]]);
            exactly(from, PART, length.into(), u16::MAX.into())?;
        }
        let folders = (0..short(&header, 26)).map(|_| folder(from, reserved[2]));
        let folders = folders.collect::<Result<Vec<_>, _>>()?;
        let files_at = u64::from(long(&header, 16));
        from.seek(SeekFrom::Start(files_at)).map_err(ReadError::at(PART))?;
        let mut from = io::BufReader::new(from);
        let mut items = Vec::new();
        for _ in 0..short(&header, 28) {
            items.push(item(&mut from, folders.len())?);
        }
        Ok(Self { folders, items, reserved: reserved[3].into() })
    }

    /// Shows `visit` every file with its bytes, folder by folder. Gives whether all checksums agree. Folders, of
    /// this cabinet and others, may have the same place, so that their text is counted off `left`.
    pub(super) fn each(
        &self,
        from: &mut (impl Read + Seek),
        left: &mut u64,
        mut visit: impl FnMut(&Item, &mut dyn Read) -> Result<(), ReadError>,
    ) -> Result<bool, ReadError> {
        let mut whole = true;
        let mut items: Vec<_> = self.items.iter().collect();
        items.sort_by_key(|item| (item.folder, item.at));
        let mut items = items.into_iter().peekable();
        for (number, folder) in self.folders.iter().enumerate() {
            from.seek(SeekFrom::Start(folder.at)).map_err(ReadError::at(PART))?;
            let mut text = Text::new(&mut *from, folder, self.reserved, &mut *left);
            let mut at = 0;
            while let Some(item) = items.next_if(|item| item.folder == number) {
                let gap = item
                    .at
                    .checked_sub(at)
                    .ok_or_else(|| ReadError::damaged(PART, "two files share their bytes"))?;
                let skipped = io::copy(&mut (&mut text).take(gap), &mut io::sink());
                if skipped.map_err(ReadError::at(PART))? < gap {
                    return Err(ReadError::Truncated { part: PART });
                }
                visit(item, &mut text)?;
                at = item.at + item.size;
            }
            io::copy(&mut text, &mut io::sink()).map_err(ReadError::at(PART))?;
            whole &= text.whole;
        }
        Ok(whole)
    }
}

fn folder(from: &mut impl Read, reserved: u8) -> Result<Folder, ReadError> {
    const FOLDER: u64 = 8;
    let bytes = exactly(from, PART, FOLDER + u64::from(reserved), FOLDER + 255)?;
    let squeezed = match short(&bytes, 6) & 0xf {
        0 => false,
        1 => true,
        2 => return Err(unsupported("Quantum")),
        _ => return Err(unsupported("LZX")),
    };
    Ok(Folder { at: long(&bytes, 0).into(), blocks: short(&bytes, 4), squeezed })
}

fn unsupported(what: &str) -> ReadError {
    ReadError::Unsupported { part: PART, what: format!("squeezed by {what}") }
}

fn item(from: &mut io::BufReader<impl Read>, folders: usize) -> Result<Item, ReadError> {
    const ITEM: u64 = 16;
    let bytes = exactly(from, PART, ITEM, ITEM)?;
    let mut name = Vec::new();
    let read = io::BufRead::read_until(&mut from.take(MAX_NAME), 0, &mut name);
    read.map_err(ReadError::at(PART))?;
    if name.pop() != Some(0) {
        return Err(ReadError::damaged(PART, "a name does not end"));
    }
    let folder = usize::from(short(&bytes, 8));
    if folder >= folders {
        return Err(ReadError::damaged(PART, "a file is in no folder"));
    }
    Ok(Item {
        name: String::from_utf8_lossy(&name).into_owned(),
        size: long(&bytes, 0).into(),
        folder,
        at: long(&bytes, 4).into(),
    })
}

/// The text of a folder.
struct Text<'a, R> {
    from: R,
    /// How much text may come yet, in bytes.
    left: &'a mut u64,
    blocks: u16,
    squeezed: bool,
    reserved: usize,
    text: Vec<u8>,
    given: usize,
    whole: bool,
}

impl<'a, R: Read> Text<'a, R> {
    fn new(from: R, folder: &Folder, reserved: usize, left: &'a mut u64) -> Self {
        let Folder { blocks, squeezed, .. } = *folder;
        Self { from, left, blocks, squeezed, reserved, text: Vec::new(), given: 0, whole: true }
    }

    fn block(&mut self) -> Result<(), ReadError> {
        // Whole, however short it is: one without text takes time as well.
        let left = self.left.checked_sub(BLOCK as u64);
        *self.left =
            left.ok_or(ReadError::TooBig { part: PART, limit: UNPACKED, unit: "bytes unpacked" })?;
        let head = exactly(&mut self.from, PART, 8 + self.reserved as u64, 8 + 255)?;
        let (squeezed, plain) = (short(&head, 4), usize::from(short(&head, 6)));
        let data = exactly(&mut self.from, PART, squeezed.into(), u16::MAX.into())?;
        let sum = long(&head, 0);
        self.whole &= sum == 0 || sum == checksum(&data) ^ checksum(&head[4..]);
        if plain > BLOCK {
            return Err(ReadError::damaged(PART, "a block is too long"));
        }
        let text = if self.squeezed { inflate(&data, &self.text, plain)? } else { data };
        if text.len() != plain {
            return Err(ReadError::damaged(PART, "a block has not the length that it tells"));
        }
        (self.text, self.given) = (text, 0);
        Ok(())
    }
}

impl<R: Read> Read for Text<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.text.len() {
            if self.blocks == 0 {
                return Ok(0);
            }
            self.blocks -= 1;
            self.block()?;
        }
        let mut rest = &self.text[self.given..];
        let count = fill(&mut rest, buffer)?;
        self.given += count;
        Ok(count)
    }
}

/// The text of an MSZIP block, which goes on from the block `before` it.
fn inflate(data: &[u8], before: &[u8], length: usize) -> Result<Vec<u8>, ReadError> {
    let wrong = |_| ReadError::damaged(PART, "a block cannot be inflated");
    let data =
        data.strip_prefix(b"CK").ok_or_else(|| ReadError::damaged(PART, "a block is no MSZIP"))?;
    let mut inflate = Decompress::new(false);
    if !before.is_empty() {
        inflate.set_dictionary(before).map_err(wrong)?;
    }
    // A byte more than there may be, so that a longer one shows.
    let mut text = Vec::with_capacity(length + 1);
    inflate.decompress_vec(data, &mut text, FlushDecompress::Finish).map_err(wrong)?;
    Ok(text)
}

fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from(short(bytes, at)) | u32::from(short(bytes, at + 2)) << 16
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A cabinet without files, whose `count` folders are the same two blocks.
    fn shared(count: u16) -> Vec<u8> {
        let mut bytes = b"MSCF".to_vec();
        bytes.resize(36, 0);
        let at = 36 + u32::from(count) * 8;
        bytes[16..20].copy_from_slice(&at.to_le_bytes());
        bytes[26..28].copy_from_slice(&count.to_le_bytes());
        for _ in 0..count {
            bytes.extend(at.to_le_bytes());
            bytes.extend([2, 0, 0, 0]);
        }
        let block = [&[0, 0, 0, 0, 4, 0, 4, 0][..], b"text"].concat();
        bytes.extend(block.repeat(2));
        bytes
    }

    #[test]
    fn blocks_that_folders_share_count_for_each_of_them() {
        let read = |blocks: u64| {
            let mut file = Cursor::new(shared(3));
            let cabinet = Cabinet::read(&mut file).unwrap();
            let mut left = blocks * BLOCK as u64;
            cabinet.each(&mut file, &mut left, |_, _| Ok(())).map(|whole| (whole, left))
        };
        assert!(matches!(read(6), Ok((true, 0))));
        assert!(matches!(read(5), Err(ReadError::TooBig { part: PART, .. })));
    }
}
