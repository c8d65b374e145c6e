//! A file's bytes, read from any place in them.

use std::{
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom},
};

use bytes::Bytes;

use super::Source;

/// What [`Source::open`] gives.
#[derive(Debug)]
pub struct Part(Kind);

#[derive(Debug)]
enum Kind {
    Bytes(Cursor<Bytes>),
    File { file: File, start: u64, size: u64, at: u64 },
}

impl Source {
    /// Its bytes. Those of several sources are in memory.
    pub fn open(&self) -> io::Result<Part> {
        let (path, start, size) = match self {
            Self::Bytes(bytes) => return Ok(Part(Kind::Bytes(Cursor::new(bytes.clone())))),
            Self::Path { path, size } => (path, 0, *size),
            Self::Slice { path, offset, size } => (path, *offset, *size),
            Self::Joined(parts) => {
                let mut all = Vec::new();
                for part in parts {
                    part.open()?.read_to_end(&mut all)?;
                }
                return Ok(Part(Kind::Bytes(Cursor::new(all.into()))));
            }
        };
        Ok(Part(Kind::File { file: File::open(path)?, start, size, at: 0 }))
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Bytes(bytes) => bytes.read(buffer),
            Kind::File { file, start, size, at } => {
                file.seek(SeekFrom::Start(*start + *at))?;
                let read = file.take(size.saturating_sub(*at)).read(buffer)?;
                *at += read as u64;
                Ok(read)
            }
        }
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.0 {
            Kind::Bytes(bytes) => bytes.seek(to),
            Kind::File { size, at, .. } => {
                let place = match to {
                    SeekFrom::Start(place) => Some(place),
                    SeekFrom::End(less) => size.checked_add_signed(less),
                    SeekFrom::Current(more) => at.checked_add_signed(more),
                };
                *at = place.ok_or(io::ErrorKind::InvalidInput)?;
                Ok(*at)
            }
        }
    }
}
