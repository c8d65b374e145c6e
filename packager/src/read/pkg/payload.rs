//! How a payload is kept in its archive: as it is, or, by newer tools of Apple's, in chunks of xz ("pbzx").

use std::io::{self, Read};

use crate::read::{
    decode::{TEXT, UNPACKED, decoder, exactly, fill, peek},
    error::ReadError,
};

pub(super) const PART: &str = "payload";

/// The payload without chunks.
pub(super) fn unchunked<'a>(from: impl Read + 'a) -> Result<Box<dyn Read + 'a>, ReadError> {
    let (magic, mut from) = peek(from).map_err(ReadError::at(PART))?;
    if !magic.starts_with(b"pbzx") {
        return Ok(Box::new(from));
    }
    const MAGIC_AND_FLAGS: u64 = 12;
    exactly(&mut from, PART, MAGIC_AND_FLAGS, MAGIC_AND_FLAGS)?;
    Ok(Box::new(Chunks { from, text: io::Cursor::new(Vec::new()) }))
}

struct Chunks<R> {
    from: R,
    text: io::Cursor<Vec<u8>>,
}

impl<R: Read> Chunks<R> {
    /// The text of the next chunk. None: there are no more.
    fn next(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        let at = ReadError::at(PART);
        let mut head = [0; 16];
        match fill(&mut self.from, &mut head).map_err(at)? {
            0 => return Ok(None),
            16 => {}
            _ => return Err(ReadError::Truncated { part: PART }),
        }
        let [plain, squeezed] = [&head[..8], &head[8..]]
            .map(|bytes| bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)));
        let data = exactly(&mut self.from, PART, squeezed, TEXT)?;
        if plain == squeezed {
            return Ok(Some(data));
        }
        let mut text = decoder(&data[..], PART, UNPACKED)?;
        exactly(&mut text, PART, plain, TEXT).map(Some)
    }
}

impl<R: Read> Read for Chunks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.text.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match self.next()? {
                Some(text) => self.text = io::Cursor::new(text),
                None => return Ok(0),
            }
        }
    }
}
