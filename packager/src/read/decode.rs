//! What formats squeeze their members with, told by how it begins, within bounds.

use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::{LzmaReader, XzReader};

use super::error::ReadError;

/// The most memory that a decoder takes, in KiB: what the hardest levels in use ask for.
const MEMORY: u32 = 128 << 10;
/// The same for zstd, as the logarithm of a window's length.
const ZSTD_WINDOW: u32 = 27;
/// The most that a package unpacks to, in bytes.
pub(super) const UNPACKED: u64 = 64 << 30;
/// The most that a table, a header or all scripts have, in bytes.
pub(super) const TEXT: u64 = 64 << 20;

/// Reads the text of `from`, whatever it is squeezed with, if anything; fails beyond `limit` bytes.
pub(super) fn decoder<'a>(
    from: impl Read + 'a,
    part: &'static str,
    limit: u64,
) -> Result<Box<dyn Read + 'a>, ReadError> {
    let (magic, from) = peek(from).map_err(ReadError::at(part))?;
    let at = ReadError::at(part);
    let unsupported =
        |what: &str| Err(ReadError::Unsupported { part, what: format!("squeezed by {what}") });
    let plain: Box<dyn Read + 'a> = match &magic[..] {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(BufReader::new(from))),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(XzReader::new_mem_limit(from, true, MEMORY)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut zstd = zstd::Decoder::new(from).map_err(at)?;
            zstd.window_log_max(ZSTD_WINDOW).map_err(at)?;
            Box::new(zstd)
        }
        [0x5d, 0, 0, ..] => Box::new(LzmaReader::new_mem_limit(from, MEMORY, None).map_err(at)?),
        [b'B', b'Z', b'h', ..] => return unsupported("bzip2"),
        _ => Box::new(from),
    };
    Ok(Box::new(Bounded { from: plain, left: limit, limit, part }))
}

type Peeked<R> = Chain<Cursor<Vec<u8>>, R>;

/// Reads the first six bytes, if there are so many, and puts them back.
pub(super) fn peek<R: Read>(mut from: R) -> io::Result<(Vec<u8>, Peeked<R>)> {
    let mut magic = [0; 6];
    let count = fill(&mut from, &mut magic)?;
    let magic = magic[..count].to_vec();
    Ok((magic.clone(), Cursor::new(magic).chain(from)))
}

/// Reads until `buffer` is full or nothing is left.
pub(super) fn fill(from: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// All of `from`, which has at most `limit` bytes.
pub(super) fn all(
    from: &mut (impl Read + ?Sized),
    part: &'static str,
    limit: u64,
) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    let read = from.take(limit + 1).read_to_end(&mut bytes).map_err(ReadError::at(part))?;
    if read as u64 > limit {
        return Err(ReadError::TooBig { part, limit, unit: "bytes" });
    }
    Ok(bytes)
}

/// Exactly `size` bytes of `from`, of which memory is taken as they come.
pub(super) fn exactly(
    from: &mut (impl Read + ?Sized),
    part: &'static str,
    size: u64,
    limit: u64,
) -> Result<Vec<u8>, ReadError> {
    if size > limit {
        return Err(ReadError::TooBig { part, limit, unit: "bytes" });
    }
    let mut bytes = Vec::new();
    let read = from.take(size).read_to_end(&mut bytes).map_err(ReadError::at(part))?;
    if (read as u64) < size {
        return Err(ReadError::Truncated { part });
    }
    Ok(bytes)
}

/// Passes over exactly `size` bytes of `from`.
pub(super) fn skip(
    from: &mut (impl Read + ?Sized),
    part: &'static str,
    size: u64,
) -> Result<(), ReadError> {
    let skipped = io::copy(&mut from.take(size), &mut io::sink()).map_err(ReadError::at(part))?;
    if skipped == size { Ok(()) } else { Err(ReadError::Truncated { part }) }
}

/// Shows what is read through it.
pub(super) struct Watched<'a, R> {
    pub(super) from: R,
    pub(super) seen: &'a mut dyn FnMut(&[u8]),
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        (self.seen)(&buffer[..count]);
        Ok(count)
    }
}

/// Passes on so many bytes and fails at one more.
struct Bounded<R> {
    from: R,
    left: u64,
    limit: u64,
    part: &'static str,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            let Self { part, limit, .. } = *self;
            ReadError::TooBig { part, limit, unit: "bytes unpacked" }
        })?;
        Ok(count)
    }
}
