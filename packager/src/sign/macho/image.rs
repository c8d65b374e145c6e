//! A program's header and load commands: where its code is, and where its signature. Source: Apple's
//! `mach-o/loader.h`.
//!
//! A signature is the last thing in the last segment, `__LINKEDIT`. Adding one changes two load
//! commands and what is behind the code; nothing moves.

use std::io::{self, Read as _, SeekFrom};

use object::macho::{
    CPU_TYPE_ARM64, CPU_TYPE_X86_64, CpuType, LC_BUILD_VERSION, LC_CODE_SIGNATURE, LC_SEGMENT_64,
    LC_VERSION_MIN_MACOSX, MH_EXECUTE, MH_MAGIC_64,
};

use crate::format::ReadSeek;

/// The header before the load commands, in bytes.
const HEADER: usize = 32;
const NUMBER_OF_COMMANDS: usize = 16;
const SIZE_OF_COMMANDS: usize = 20;
/// Longest load commands that are read, in bytes; programs have some thousands.
const MAX_COMMANDS: u32 = 1 << 20;
/// `linkedit_data_command`: what says where the signature is.
const SIGNATURE_COMMAND: u32 = 16;
/// `segment_command_64` and `section_64`, in bytes.
const SEGMENT: usize = 72;
const SECTION: usize = 80;
/// What signatures are aligned to, in bytes.
pub(super) const ALIGNMENT: u64 = 16;
/// What a segment's length in memory is rounded to: the pages of arm64, which codesign takes for both.
const SEGMENT_ALIGNMENT: u64 = 16 << 10;

/// Why a program cannot be read.
#[derive(Debug)]
pub(super) enum Unreadable {
    Read(io::Error),
    Malformed(&'static str),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// Part of a file: where it begins, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) size: u64,
}

impl Extent {
    pub(super) fn end(self) -> u64 {
        self.start.saturating_add(self.size)
    }

    /// Reads all of it, which is at most `limit` bytes.
    pub(super) fn read(self, file: &mut dyn ReadSeek, limit: u64) -> Result<Vec<u8>, Unreadable> {
        if self.size > limit {
            return Err(Unreadable::Malformed("a part of it is too long"));
        }
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.start))?;
        file.take(self.size).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == self.size {
            Ok(bytes)
        } else {
            Err(Unreadable::Malformed("it ends too early"))
        }
    }

    /// The part of it from `start`, counted from its own.
    fn part(self, start: u64, size: u64) -> Option<Self> {
        let fits = start.checked_add(size)? <= self.size;
        fits.then_some(Self { start: self.start + start, size })
    }
}

/// A program for one processor.
#[derive(Debug)]
pub(super) struct Image {
    /// Where it is in its file.
    pub(super) place: Extent,
    pub(super) cpu: CpuType,
    /// Whether it is started, and no library.
    pub(super) is_main: bool,
    /// The segment with the code, from the image's start.
    pub(super) text: Extent,
    /// The signature that it has, from the file's start.
    pub(super) signature: Option<Extent>,
    /// The `Info.plist` that a program without bundle has in itself, from the file's start.
    pub(super) info: Option<Extent>,
    /// What it was built against, as in `0x000b_0000`; 0 if it does not tell.
    pub(super) sdk: u32,
    /// Everything to the end of the load commands, and the room behind them.
    head: Vec<u8>,
    commands_end: usize,
    /// The load commands for the last segment and the signature.
    linkedit_at: usize,
    signature_at: Option<usize>,
    linkedit: Extent,
}

impl Image {
    /// Reads the program at `place`.
    pub(super) fn read(file: &mut dyn ReadSeek, place: Extent) -> Result<Self, Unreadable> {
        let malformed = Unreadable::Malformed("its header is damaged");
        let Some(start) = place.part(0, HEADER as u64) else { return Err(malformed) };
        let header = start.read(file, HEADER as u64)?;
        if number(&header, 0) != Some(MH_MAGIC_64) {
            return Err(Unreadable::Malformed("it is for another processor"));
        }
        let size = number(&header, SIZE_OF_COMMANDS).filter(|size| *size <= MAX_COMMANDS);
        let Some(size) = size else { return Err(malformed) };
        // One more command may get in behind them.
        let long = HEADER as u64 + u64::from(size + SIGNATURE_COMMAND);
        let head = Extent { size: long.min(place.size), ..place }.read(file, long)?;
        Self::parse(head, place, HEADER + size as usize).ok_or(malformed)
    }

    fn parse(head: Vec<u8>, place: Extent, commands_end: usize) -> Option<Self> {
        head.get(..commands_end)?;
        let mut image = Self {
            place,
            cpu: CpuType(number(&head, 4)?),
            is_main: number(&head, 12)? == MH_EXECUTE.0,
            text: Extent { start: 0, size: 0 },
            signature: None,
            info: None,
            sdk: 0,
            head: Vec::new(),
            commands_end,
            linkedit_at: 0,
            signature_at: None,
            linkedit: Extent { start: 0, size: 0 },
        };
        let mut at = HEADER;
        for _ in 0..number(&head, NUMBER_OF_COMMANDS)? {
            let size = number(&head, at + 4)? as usize;
            let end = at.checked_add(size).filter(|end| size >= 8 && *end <= commands_end)?;
            image.take(at, &head[at..end])?;
            at = end;
        }
        (image.linkedit_at != 0).then_some(())?;
        Some(Self { head, ..image })
    }

    /// Takes note of the load command `bytes`, which is at `at`. None: it cannot be right.
    fn take(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        let command = number(bytes, 0)?;
        if command == LC_SEGMENT_64.0 {
            self.segment(at, bytes)?;
        } else if command == LC_CODE_SIGNATURE.0 {
            let extent = self.place.part(number(bytes, 8)?.into(), number(bytes, 12)?.into())?;
            (self.signature_at.is_none()).then_some(())?;
            (self.signature, self.signature_at) = (Some(extent), Some(at));
        } else if command == LC_BUILD_VERSION.0 {
            self.sdk = number(bytes, 16)?;
        } else if command == LC_VERSION_MIN_MACOSX.0 {
            self.sdk = number(bytes, 12)?;
        }
        Some(())
    }

    fn segment(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        let extent = Extent { start: long(bytes, 40)?, size: long(bytes, 48)? };
        match name(bytes, 8)? {
            b"__TEXT" => {
                self.text = extent;
                self.sections(bytes)?;
            }
            b"__LINKEDIT" => {
                self.place.part(extent.start, extent.size)?;
                (self.linkedit, self.linkedit_at) = (extent, at);
            }
            _ => {}
        }
        Some(())
    }

    fn sections(&mut self, segment: &[u8]) -> Option<()> {
        let count = number(segment, 64)? as usize;
        let sections = segment.get(SEGMENT..)?.chunks_exact(SECTION);
        (sections.len() == count).then_some(())?;
        for section in sections {
            let (start, size) = (u64::from(number(section, 48)?), long(section, 40)?);
            if name(section, 0)? == b"__info_plist" {
                self.info = Some(self.place.part(start, size)?);
            }
        }
        Some(())
    }

    /// Whether it is for a processor that macOS runs on.
    pub(super) fn is_for_mac(&self) -> bool {
        self.cpu == CPU_TYPE_ARM64 || self.cpu == CPU_TYPE_X86_64
    }

    /// How much of it a new signature covers: all that there is without one.
    pub(super) fn code_size(&self) -> u64 {
        let end = self.signature.map_or(self.linkedit.end(), |it| it.start - self.place.start);
        end.next_multiple_of(ALIGNMENT)
    }

    /// What is copied of it; the rest up to [`Self::code_size`] is zero.
    pub(super) fn copied(&self) -> Extent {
        let end = self.signature.map_or(self.linkedit.end(), |it| it.start - self.place.start);
        Extent { start: self.place.start, size: end }
    }

    /// Its start up to the end of the load commands, as it is with a signature of `size` bytes at
    /// [`Self::code_size`].
    pub(super) fn signed_head(&self, size: u32) -> Result<Vec<u8>, &'static str> {
        let behind = self.signature.unwrap_or(Extent { start: self.copied().end(), size: 0 });
        if behind.end() != self.linkedit.end() + self.place.start
            || behind.end() != self.place.end()
        {
            return Err("there is something behind its last segment");
        }
        let start = self.code_size();
        let start32 = u32::try_from(start).ok().filter(|it| it.checked_add(size).is_some());
        let start32 = start32.ok_or("it is too big")?;
        let mut head = self.head.clone();
        let at = match self.signature_at {
            Some(at) => at,
            None => self.room(&mut head)?,
        };
        head.truncate(self.commands_end.max(at + SIGNATURE_COMMAND as usize));
        let command = [LC_CODE_SIGNATURE.0, SIGNATURE_COMMAND, start32, size];
        for (field, value) in command.into_iter().enumerate() {
            put(&mut head, at + field * 4, &value.to_le_bytes());
        }
        let long = start + u64::from(size) - self.linkedit.start;
        let memory = long.next_multiple_of(SEGMENT_ALIGNMENT);
        put(&mut head, self.linkedit_at + 32, &memory.to_le_bytes());
        put(&mut head, self.linkedit_at + 48, &long.to_le_bytes());
        Ok(head)
    }

    /// Makes room for one command behind the others, and tells where.
    fn room(&self, head: &mut [u8]) -> Result<usize, &'static str> {
        let at = self.commands_end;
        let free = head.get(at..at + SIGNATURE_COMMAND as usize);
        if free.is_none_or(|free| free.iter().any(|byte| *byte != 0)) {
            return Err("its header has no room for a signature");
        }
        for (field, more) in [(NUMBER_OF_COMMANDS, 1), (SIZE_OF_COMMANDS, SIGNATURE_COMMAND)] {
            let value = number(head, field).unwrap_or_default() + more;
            put(head, field, &value.to_le_bytes());
        }
        Ok(at)
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The name of a segment or section, of at most 16 bytes.
fn name(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let name: &[u8; 16] = bytes.get(at..)?.first_chunk()?;
    Some(name.split(|byte| *byte == 0).next().unwrap_or_default())
}
