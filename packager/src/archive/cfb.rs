//! Compound files, version 3, written in one pass: a root storage with streams in it. Source: MS-CFB.
//!
//! Streams lie one after the other, in the order in which they are written, so that readers which
//! distrust scattered chains are content and nothing is written twice but the header.

use std::{
    cmp::Ordering,
    io::{self, Seek, SeekFrom, Write},
};

mod directory;

use directory::{Directory, Kind, Place};

const SECTOR: usize = 512;
const MINI_SECTOR: usize = 64;
/// Shorter streams share sectors.
const MINI_CUTOFF: usize = 4096;

const FAT_SECTOR: u32 = 0xffff_fffd;
const DIFAT_SECTOR: u32 = 0xffff_fffc;
const END_OF_CHAIN: u32 = 0xffff_fffe;
const FREE: u32 = 0xffff_ffff;

/// Entries of a sector that holds numbers of sectors.
const PER_SECTOR: usize = SECTOR / 4;
/// Sectors of the allocation table that the header itself lists.
const IN_HEADER: usize = 109;

/// Writes a compound file to `W`, which is empty and stands at its start. Must be finished.
pub(crate) struct CfbWriter<W> {
    out: W,
    /// Sectors of each chain so far, in the order of the file; they leave no gaps.
    chains: Vec<u32>,
    /// The number of the next sector.
    next: u32,
    /// Contents of short streams, each filled up to whole mini sectors, and their lengths in those.
    mini: Vec<u8>,
    mini_chains: Vec<u32>,
    directory: Directory,
    /// What has been written of the stream that is being written.
    length: u64,
    /// Its start, while it may turn out to be a short one.
    head: Vec<u8>,
}

impl<W: Write + Seek> CfbWriter<W> {
    pub(crate) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&[0; SECTOR])?;
        Ok(Self {
            out,
            chains: Vec::new(),
            next: 0,
            mini: Vec::new(),
            mini_chains: Vec::new(),
            directory: Directory::default(),
            length: 0,
            head: Vec::new(),
        })
    }

    /// Adds a stream. `name` has 1 to 31 UTF-16 units, and no other stream has it.
    pub(crate) fn stream(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.write_all(content)?;
        self.end_stream(name)
    }

    /// Ends the stream whose content was written to this, and gives it its name, as in
    /// [`CfbWriter::stream`].
    pub(crate) fn end_stream(&mut self, name: &str) -> io::Result<()> {
        let length = std::mem::take(&mut self.length);
        let head = std::mem::take(&mut self.head);
        let start = if length < MINI_CUTOFF as u64 {
            self.add_mini(&head)?
        } else {
            self.pad(length)?;
            self.end_chain(length)?
        };
        let size = u32::try_from(length).map_err(|_| too_big())?;
        self.directory.add(name, Kind::Stream, Place { start, size })
    }

    /// Overwrites bytes of the stream that is being written, `at` bytes from its start.
    pub(crate) fn patch(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if self.length < MINI_CUTOFF as u64 {
            let at = usize::try_from(at).map_err(io::Error::other)?;
            self.head[at..at + bytes.len()].copy_from_slice(bytes);
            return Ok(());
        }
        let start = (u64::from(self.next) + 1) * SECTOR as u64;
        self.out.seek(SeekFrom::Start(start + at))?;
        self.out.write_all(bytes)?;
        self.out.seek(SeekFrom::Start(start + self.length)).map(drop)
    }

    /// Writes everything that tells where streams are. `class` is the root's CLSID.
    pub(crate) fn finish(mut self, class: [u8; 16]) -> io::Result<W> {
        let mini = std::mem::take(&mut self.mini);
        let place = Place {
            start: self.add_chain(&mini)?,
            size: u32::try_from(mini.len()).map_err(|_| too_big())?,
        };
        let mini_table = table(&self.mini_chains, &[]);
        let mini_table = (self.add_chain(&mini_table)?, sectors(mini_table.len()));
        let directory = std::mem::take(&mut self.directory).bytes(class, place)?;
        let directory = self.add_chain(&directory)?;
        let (fat, difat) = self.add_tables()?;
        let header = header(directory, mini_table, &fat, &difat);
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header)?;
        self.out.seek(SeekFrom::End(0))?;
        Ok(self.out)
    }

    fn add_mini(&mut self, content: &[u8]) -> io::Result<u32> {
        if content.is_empty() {
            return Ok(END_OF_CHAIN);
        }
        let start = u32::try_from(self.mini.len() / MINI_SECTOR).map_err(|_| too_big())?;
        self.mini.extend_from_slice(content);
        self.mini.resize(self.mini.len().next_multiple_of(MINI_SECTOR), 0);
        self.mini_chains.push(content.len().div_ceil(MINI_SECTOR) as u32);
        Ok(start)
    }

    /// Writes a chain of its own; gives its first sector.
    fn add_chain(&mut self, content: &[u8]) -> io::Result<u32> {
        if content.is_empty() {
            return Ok(END_OF_CHAIN);
        }
        self.out.write_all(content)?;
        self.pad(content.len() as u64)?;
        self.end_chain(content.len() as u64)
    }

    fn pad(&mut self, length: u64) -> io::Result<()> {
        let over = (length % SECTOR as u64) as usize;
        self.out.write_all(&[0; SECTOR][..(SECTOR - over) % SECTOR])
    }

    fn end_chain(&mut self, length: u64) -> io::Result<u32> {
        let count = u32::try_from(length.div_ceil(SECTOR as u64)).map_err(|_| too_big())?;
        let start = self.next;
        self.chains.push(count);
        self.next = start.checked_add(count).ok_or_else(too_big)?;
        Ok(start)
    }

    /// Writes the allocation table and the list of its sectors, which are in the table themselves.
    /// Gives the sectors of both.
    fn add_tables(&mut self) -> io::Result<(Vec<u32>, Vec<u32>)> {
        let (mut fat, mut difat) = (0, 0);
        while fat * PER_SECTOR < self.next as usize + fat + difat {
            fat += 1;
            difat = fat.saturating_sub(IN_HEADER).div_ceil(PER_SECTOR - 1);
        }
        let first = self.next;
        let numbers: Vec<_> = (first..).take(fat + difat).collect();
        let (fat, difat) = numbers.split_at(fat);
        let own = [vec![FAT_SECTOR; fat.len()], vec![DIFAT_SECTOR; difat.len()]].concat();
        self.out.write_all(&table(&self.chains, &own))?;
        for (index, listed) in
            fat.iter().skip(IN_HEADER).collect::<Vec<_>>().chunks(PER_SECTOR - 1).enumerate()
        {
            let mut sector: Vec<u32> = listed.iter().copied().copied().collect();
            sector.resize(PER_SECTOR - 1, FREE);
            sector.push(difat.get(index + 1).copied().unwrap_or(END_OF_CHAIN));
            self.out.write_all(&numbers_bytes(&sector))?;
        }
        Ok((fat.to_vec(), difat.to_vec()))
    }
}

impl<W: Write> Write for CfbWriter<W> {
    /// Appends to the stream that is being written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stays_short = self.length + (bytes.len() as u64) < MINI_CUTOFF as u64;
        if stays_short {
            self.head.extend_from_slice(bytes);
        } else {
            self.out.write_all(&std::mem::take(&mut self.head))?;
            self.out.write_all(bytes)?;
        }
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An allocation table: each sector's successor. Chains lie one after the other; `own` comes last.
fn table(chains: &[u32], own: &[u32]) -> Vec<u8> {
    let mut table = Vec::new();
    let mut next = 0;
    for &count in chains {
        let successors = (next + 1..next + count).chain([END_OF_CHAIN]);
        successors.for_each(|sector| table.extend(sector.to_le_bytes()));
        next += count;
    }
    table.extend(numbers_bytes(own));
    let missing = (SECTOR - table.len() % SECTOR) % SECTOR / 4;
    table.extend(numbers_bytes(&vec![FREE; missing]));
    table
}

fn numbers_bytes(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn sectors(length: usize) -> u32 {
    length.div_ceil(SECTOR) as u32
}

fn header(directory: u32, mini_table: (u32, u32), fat: &[u32], difat: &[u32]) -> Vec<u8> {
    const SIGNATURE: [u8; 8] = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
    const VERSIONS_ORDER_SHIFTS: [u16; 5] = [0x3e, 3, 0xfffe, 9, 6];
    let mut header = SIGNATURE.to_vec();
    header.extend([0; 16]);
    header.extend(VERSIONS_ORDER_SHIFTS.iter().flat_map(|field| field.to_le_bytes()));
    header.extend([0; 6]);
    let first_difat = difat.first().copied().unwrap_or(END_OF_CHAIN);
    let (mini_start, mini_count) = mini_table;
    let fields = [
        0, // sectors of the directory, which version 3 does not tell
        fat.len() as u32,
        directory,
        0,
        MINI_CUTOFF as u32,
        mini_start,
        mini_count,
        first_difat,
        difat.len() as u32,
    ];
    header.extend(numbers_bytes(&fields));
    let listed = fat.iter().copied().chain(std::iter::repeat(FREE)).take(IN_HEADER);
    header.extend(listed.flat_map(u32::to_le_bytes));
    header
}

/// How names are ordered in a directory: by length, then by their letters, big or small. Names
/// here have ASCII letters or none.
fn by_name(a: &[u16], b: &[u16]) -> Ordering {
    let upper = |name: &[u16]| -> Vec<u16> {
        let letter =
            |unit: &u16| u8::try_from(*unit).map_or(*unit, |it| it.to_ascii_uppercase().into());
        name.iter().map(letter).collect()
    };
    a.len().cmp(&b.len()).then_with(|| upper(a).cmp(&upper(b)))
}

fn too_big() -> io::Error {
    io::Error::other("a compound file cannot be that big")
}

#[cfg(test)]
mod tests;
