//! Cabinets: files in one MSZIP stream. Source: MS-CAB, MS-MCI.

mod data;

use std::{io, io::Write, num::NonZeroUsize};

use data::DataWriter;
pub(crate) use data::checksum;

/// A file that a cabinet is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// ASCII, at most 255 characters.
    pub(crate) name: String,
    /// In bytes.
    pub(crate) size: u64,
}

/// How a cabinet is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Of every file, in seconds since 1970.
    pub(crate) date: u32,
    /// Of deflate, 1 to 9; 0 compresses nothing.
    pub(crate) level: u8,
    /// Threads that compress. Their number does not change the bytes.
    pub(crate) cores: NonZeroUsize,
}

/// The most bytes that the files of a cabinet have: a stream has at most 65535 blocks.
pub(crate) const MAX_TEXT: u64 = 65_535 * data::BLOCK as u64;

/// Where in a cabinet its length belongs, which is known only in the end.
pub(crate) const LENGTH_AT: u64 = 8;

const HEADER: usize = 36;
const FOLDER: usize = 8;
const FILE: usize = 16;

/// Writes the cabinet of the files given to [`CabWriter::new`], whose bytes are written to it one
/// file after the other. Must be finished.
pub(crate) struct CabWriter<W> {
    data: DataWriter<W>,
    front: u64,
}

impl<W: Write> CabWriter<W> {
    /// Items have less than [`MAX_TEXT`] bytes together.
    pub(crate) fn new(mut out: W, items: &[Item], options: Options) -> io::Result<Self> {
        let front = front(items, options)?;
        out.write_all(&front)?;
        let data = DataWriter::new(out, options.level, options.cores)?;
        Ok(Self { data, front: front.len() as u64 })
    }

    /// The length of the cabinet, which belongs at [`LENGTH_AT`], and what it was written to.
    pub(crate) fn finish(self) -> io::Result<(u32, W)> {
        let (length, out) = self.data.finish()?;
        Ok((fits(self.front + length)?, out))
    }
}

impl<W: Write> Write for CabWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.data.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything before the data: header, the only folder, files.
fn front(items: &[Item], options: Options) -> io::Result<Vec<u8>> {
    const STORED: u16 = 0;
    const MSZIP: u16 = 1;
    let text: u64 = items.iter().map(|item| item.size).sum();
    let names: usize = items.iter().map(|item| item.name.len() + 1).sum();
    let length = HEADER + FOLDER + items.len() * FILE + names;
    let mut front = header(fits(items.len() as u64)?);
    front.extend(fits::<u32>(length as u64)?.to_le_bytes());
    front.extend(fits::<u16>(text.div_ceil(data::BLOCK as u64))?.to_le_bytes());
    front.extend(if options.level == 0 { STORED } else { MSZIP }.to_le_bytes());
    let mut at = 0;
    for item in items {
        add_file(&mut front, item, at, options.date)?;
        at += item.size;
    }
    Ok(front)
}

fn header(files: u16) -> Vec<u8> {
    const VERSION: [u8; 2] = [3, 1];
    let mut header = b"MSCF\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    header.extend(((HEADER + FOLDER) as u32).to_le_bytes());
    header.extend([0; 4]);
    header.extend(VERSION);
    header.extend(1_u16.to_le_bytes());
    header.extend(files.to_le_bytes());
    header.extend([0; 6]); // No flags, no set of cabinets.
    header
}

fn add_file(front: &mut Vec<u8>, item: &Item, at: u64, date: u32) -> io::Result<()> {
    const ARCHIVE: u16 = 0x20;
    let (day, time) = dos_date(date);
    front.extend(fits::<u32>(item.size)?.to_le_bytes());
    front.extend(fits::<u32>(at)?.to_le_bytes());
    for field in [0, day, time, ARCHIVE] {
        front.extend(field.to_le_bytes());
    }
    front.extend(item.name.as_bytes());
    front.push(0);
    Ok(())
}

/// Day and time, in UTC, as MS-DOS has them: from 1980, in steps of two seconds.
fn dos_date(seconds: u32) -> (u16, u16) {
    const FIRST: u32 = 315_532_800;
    let at =
        jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(seconds.max(FIRST).into());
    let at = at.to_zoned(jiff::tz::TimeZone::UTC);
    let part = |number: i8| u16::from(number.unsigned_abs());
    let year = at.year().unsigned_abs() - 1980;
    let day = year << 9 | part(at.month()) << 5 | part(at.day());
    (day, part(at.hour()) << 11 | part(at.minute()) << 5 | (part(at.second()) / 2))
}

/// Callers keep within the limits of the format; this holds them to it.
fn fits<T: TryFrom<u64>>(number: u64) -> io::Result<T> {
    T::try_from(number).map_err(|_| io::Error::other("a cabinet cannot be that big"))
}

#[cfg(test)]
mod tests;
