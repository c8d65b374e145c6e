//! Parts of a file, read as if they were all there is.

use std::io::{self, Read, Seek, SeekFrom};

/// Sections of `F`, one after the other.
pub(crate) struct Sections<'a, F: ?Sized> {
    file: &'a mut F,
    /// Where each begins, and how long it is.
    sections: Vec<(u64, u64)>,
    /// How much has been read of all.
    at: u64,
}

impl<'a, F: ?Sized> Sections<'a, F> {
    pub(crate) fn new(file: &'a mut F, sections: Vec<(u64, u64)>) -> Self {
        Self { file, sections, at: 0 }
    }

    /// Where in the file the next byte is, and how many there are in its section from there on.
    fn next(&self) -> Option<(u64, u64)> {
        let mut left = self.at;
        for (start, length) in &self.sections {
            match length.checked_sub(left) {
                Some(rest) if rest > 0 => return Some((start + left, rest)),
                Some(_) | None => left -= length,
            }
        }
        None
    }
}

impl<F: Read + Seek + ?Sized> Read for Sections<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((start, rest)) = self.next() else {
            return Ok(0);
        };
        self.file.seek(SeekFrom::Start(start))?;
        let wanted = usize::try_from(rest).map_or(buffer.len(), |rest| rest.min(buffer.len()));
        let read = self.file.read(&mut buffer[..wanted])?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}

impl<F: Read + Seek + ?Sized> Seek for Sections<'_, F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let end: u64 = self.sections.iter().map(|(_, length)| length).sum();
        let to = match to {
            SeekFrom::Start(to) => Some(to),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => end.checked_add_signed(by),
        };
        self.at = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn sections_are_read_as_one() {
        let mut file = Cursor::new(b"0123456789");
        let mut parts = Sections::new(&mut file, vec![(1, 2), (5, 0), (7, 3)]);
        let mut text = String::new();
        parts.read_to_string(&mut text).unwrap();
        assert_eq!(text, "12789");
        assert_eq!(parts.seek(SeekFrom::Start(3)).unwrap(), 3);
        text.clear();
        parts.read_to_string(&mut text).unwrap();
        assert_eq!(text, "89");
    }
}
