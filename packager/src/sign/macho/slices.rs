//! The programs in a file: one, or one for each processor. Source: Apple's `mach-o/fat.h`.

use std::io::{Read as _, SeekFrom, Write};

use object::macho::{FAT_MAGIC, MH_MAGIC_64};

use super::image::{Extent, Unreadable};
use crate::format::ReadSeek;

/// Header, and what says of each program where it is, in bytes.
const HEADER: u64 = 8;
const ENTRY: usize = 20;
/// More processors than there are.
const MAX_SLICES: u32 = 16;

/// A program in a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice {
    /// The processor and its variant.
    pub(super) cpu: [u32; 2],
    pub(super) place: Extent,
    /// What its place is a multiple of, as a power of two.
    pub(super) alignment: u32,
}

/// The programs of a file.
#[derive(Debug)]
pub(super) struct Slices {
    pub(super) all: Vec<Slice>,
    pub(super) is_universal: bool,
}

impl Slices {
    /// None: the file is no program for macOS, or one for 32 bits.
    pub(super) fn read(file: &mut dyn ReadSeek) -> Result<Option<Self>, Unreadable> {
        let size = file.seek(SeekFrom::End(0))?;
        let whole = Extent { start: 0, size };
        let mut head = Vec::new();
        file.rewind()?;
        file.take(HEADER + u64::from(MAX_SLICES) * ENTRY as u64).read_to_end(&mut head)?;
        let Some(magic) = head.first_chunk::<4>() else { return Ok(None) };
        if u32::from_le_bytes(*magic) == MH_MAGIC_64 {
            let only = Slice { cpu: [0; 2], place: whole, alignment: 0 };
            return Ok(Some(Self { all: vec![only], is_universal: false }));
        }
        // Java's classes begin alike; their versions are higher than this number may be.
        let count = number(&head, 4).filter(|count| (1..=MAX_SLICES).contains(count));
        match count {
            Some(count) if u32::from_be_bytes(*magic) == FAT_MAGIC => {
                let all = Self::parse(&head, count, size);
                let all = all.ok_or(Unreadable::Malformed("its header is damaged"))?;
                Ok(Some(Self { all, is_universal: true }))
            }
            _ => Ok(None),
        }
    }

    fn parse(head: &[u8], count: u32, size: u64) -> Option<Vec<Slice>> {
        let mut before = HEADER + u64::from(count) * ENTRY as u64;
        let entries = head.get(HEADER as usize..)?.chunks_exact(ENTRY).take(count as usize);
        let slices = entries.map(|entry| {
            let field = |index: usize| number(entry, index * 4);
            let place = Extent { start: field(2)?.into(), size: field(3)?.into() };
            let fits = place.start >= before && place.end() <= size;
            before = place.end();
            let alignment = field(4).filter(|power| fits && *power < 32)?;
            Some(Slice { cpu: [field(0)?, field(1)?], place, alignment })
        });
        slices.collect::<Option<Vec<_>>>().filter(|all| all.len() == count as usize)
    }

    /// Whether everything that is in no program is zero, as far as the header tells nothing of it.
    pub(super) fn stand_alone(&self, file: &mut dyn ReadSeek) -> std::io::Result<bool> {
        let size = file.seek(SeekFrom::End(0))?;
        let mut end = if self.is_universal { self.header_size() } else { 0 };
        for (start, next) in self.all.iter().map(|it| (it.place.start, it.place.end())) {
            if !is_zero(file, end, start)? {
                return Ok(false);
            }
            end = next;
        }
        Ok(end == size)
    }

    fn header_size(&self) -> u64 {
        HEADER + (self.all.len() * ENTRY) as u64
    }

    /// The same programs with other sizes, in places that fit.
    pub(super) fn resized(&self, sizes: &[u64]) -> Self {
        let mut end = if self.is_universal { self.header_size() } else { 0 };
        let all = self.all.iter().zip(sizes).map(|(slice, &size)| {
            let start = end.next_multiple_of(1 << slice.alignment);
            end = start + size;
            Slice { place: Extent { start, size }, ..*slice }
        });
        Self { all: all.collect(), is_universal: self.is_universal }
    }

    /// What is before the first program; nothing if there is but one.
    pub(super) fn header(&self) -> Option<Vec<u8>> {
        if !self.is_universal {
            return Some(Vec::new());
        }
        let mut header = Vec::new();
        header.extend(FAT_MAGIC.to_be_bytes());
        header.extend(u32::try_from(self.all.len()).ok()?.to_be_bytes());
        for Slice { cpu, place, alignment } in &self.all {
            let (start, size) = (u32::try_from(place.start).ok()?, u32::try_from(place.size).ok()?);
            for field in [cpu[0], cpu[1], start, size, *alignment] {
                header.extend(field.to_be_bytes());
            }
        }
        Some(header)
    }
}

/// Writes `count` zeros.
pub(super) fn fill(out: &mut dyn Write, count: u64) -> std::io::Result<()> {
    std::io::copy(&mut std::io::repeat(0).take(count), out).map(drop)
}

/// Whether the bytes of `file` from `start` to `end` are zeros.
fn is_zero(file: &mut dyn ReadSeek, start: u64, end: u64) -> std::io::Result<bool> {
    file.seek(SeekFrom::Start(start))?;
    let mut rest = file.take(end - start);
    let mut buffer = [0; 4096];
    loop {
        match rest.read(&mut buffer)? {
            0 => return Ok(true),
            read if buffer[..read].iter().any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
