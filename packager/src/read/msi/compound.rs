//! Compound files: the crate `cfb` reads them, once it is known that their tables are no longer than their
//! sectors need.

use std::io::SeekFrom;

use cfb::CompoundFile;

use crate::read::{
    ReadSeek,
    decode::{TEXT, all, exactly},
    error::ReadError,
};

const PART: &str = "compound file";
const HEADER: u64 = 512;
const FREE: u32 = u32::MAX;
const MAX_SECTOR: u32 = 0xffff_fffa;

/// The streams of a compound file.
pub(super) struct Compound<'a>(CompoundFile<&'a mut dyn ReadSeek>);

impl<'a> Compound<'a> {
    pub(super) fn open(file: &'a mut dyn ReadSeek) -> Result<Self, ReadError> {
        check_tables(file)?;
        file.seek(SeekFrom::Start(0)).map_err(ReadError::Read)?;
        CompoundFile::open(file).map(Self).map_err(ReadError::at(PART))
    }

    /// Names and lengths of the streams that are in no folder.
    pub(super) fn streams(&self) -> Vec<(String, u64)> {
        let entries = self.0.read_root_storage().filter(cfb::Entry::is_stream);
        entries.map(|entry| (entry.name().to_owned(), entry.len())).collect()
    }

    pub(super) fn stream(
        &mut self,
        name: &str,
    ) -> Result<cfb::Stream<&'a mut dyn ReadSeek>, ReadError> {
        self.0.open_stream(name).map_err(ReadError::at(PART))
    }

    /// All of a stream; empty if there is none.
    pub(super) fn text(&mut self, name: &str) -> Result<Vec<u8>, ReadError> {
        match self.0.exists(name) {
            true => all(&mut self.stream(name)?, "database", TEXT),
            false => Ok(Vec::new()),
        }
    }
}

/// Fails if the list of allocation tables goes on for longer than the file has sectors to allocate: it could
/// name the same one again and again.
fn check_tables(file: &mut dyn ReadSeek) -> Result<(), ReadError> {
    let length = file.seek(SeekFrom::End(0)).map_err(ReadError::Read)?;
    file.seek(SeekFrom::Start(0)).map_err(ReadError::Read)?;
    let header = exactly(file, PART, HEADER, HEADER)?;
    let sector: u64 = match header[30] {
        9 => 512,
        12 => 4096,
        _ => return Err(ReadError::damaged(PART, "its sectors have an odd length")),
    };
    let per_table = sector / 4;
    let needed = (length / sector).div_ceil(per_table) + 1;
    let mut listed =
        header[76..].chunks_exact(4).filter(|entry| long(entry, 0) != FREE).count() as u64;
    let mut next = long(&header, 68);
    while next <= MAX_SECTOR {
        if listed > needed {
            return Err(ReadError::TooBig { part: PART, limit: needed, unit: "allocation tables" });
        }
        let at = (u64::from(next) + 1) * sector;
        file.seek(SeekFrom::Start(at)).map_err(ReadError::Read)?;
        let entries = exactly(file, PART, sector, sector)?;
        let (entries, last) = entries.split_at(entries.len() - 4);
        listed +=
            entries.chunks_exact(4).filter(|entry| long(entry, 0) != FREE).count().max(1) as u64;
        next = long(last, 0);
    }
    Ok(())
}

fn long(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |sum, &byte| sum << 8 | u32::from(byte))
}
