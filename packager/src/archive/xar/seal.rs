//! Signatures in an archive that is written already: over the checksum of its table, which points to
//! them. Nothing but the archive's front changes.

use std::io::{self, Read, Seek, SeekFrom, Write};

use flate2::read::ZlibDecoder;
use sha1::{Digest, Sha1};

use super::{CHECKSUM, HEADER, MAGIC, Room, SHA1, VERSION, table};

/// Longest table that is read, in bytes, squeezed or not.
const MAX_TABLE: u64 = 64 << 20;
/// After this element signatures belong.
const BEFORE_SIGNATURES: &str = "</checksum>";

/// The front of an archive: its table, as it stands in the file, and where the heap begins.
pub(crate) struct Front {
    /// XML.
    pub(crate) text: String,
    pub(crate) heap: u64,
    squeezed: Vec<u8>,
}

impl Front {
    /// Reads the start of `file`.
    pub(crate) fn read(file: &mut (impl Read + Seek + ?Sized)) -> io::Result<Self> {
        file.rewind()?;
        let mut header = [0; HEADER as usize];
        file.read_exact(&mut header)?;
        let number = |at: usize| {
            let bytes = header[at..].first_chunk().expect("the header is longer");
            u64::from_be_bytes(*bytes)
        };
        let (squeezed, length) = (number(8), number(16));
        let its_own = u64::from(u16::from_be_bytes([header[4], header[5]]));
        if &header[..4] != MAGIC || its_own < HEADER || squeezed.max(length) > MAX_TABLE {
            return Err(damaged());
        }
        file.seek(SeekFrom::Start(its_own))?;
        let mut table = Vec::new();
        file.take(squeezed).read_to_end(&mut table)?;
        let mut text = String::new();
        ZlibDecoder::new(table.as_slice()).take(length).read_to_string(&mut text)?;
        if table.len() as u64 != squeezed || text.len() as u64 != length {
            return Err(damaged());
        }
        Ok(Self { text, heap: its_own + squeezed, squeezed: table })
    }

    /// What signatures are over. The archive says the same at the start of its heap.
    pub(crate) fn checksum(&self) -> Vec<u8> {
        Sha1::digest(&self.squeezed).to_vec()
    }

    /// The front with `elements` put where signatures belong; what is not blank stays as it is.
    pub(crate) fn with(&self, elements: &str, room: Room) -> io::Result<Self> {
        let closing = std::str::from_utf8(table::CLOSING).map_err(io::Error::other)?;
        let body = self.text.strip_suffix(closing).ok_or_else(damaged)?.trim_end_matches(' ');
        let (before, after) = body.split_once(BEFORE_SIGNATURES).ok_or_else(damaged)?;
        let body = [before, BEFORE_SIGNATURES, elements, after].concat();
        let (squeezed, length) = table::pack(body.as_bytes(), room.table)?;
        let blanks =
            usize::try_from(length).map_err(io::Error::other)? - body.len() - closing.len();
        let text = [body.as_str(), &" ".repeat(blanks), closing].concat();
        Ok(Self { text, heap: HEADER + u64::from(room.table), squeezed })
    }

    /// Writes header, table, checksum and `signatures`, filled up to the first member.
    pub(crate) fn write(
        &self,
        signatures: &[u8],
        room: Room,
        out: &mut (impl Write + ?Sized),
    ) -> io::Result<()> {
        let left = u64::from(room.signatures).checked_sub(CHECKSUM + signatures.len() as u64);
        let left = left.ok_or_else(|| io::Error::other("there is no room for such signatures"))?;
        out.write_all(MAGIC)?;
        out.write_all(&u16::try_from(HEADER).map_err(io::Error::other)?.to_be_bytes())?;
        out.write_all(&VERSION.to_be_bytes())?;
        out.write_all(&(self.squeezed.len() as u64).to_be_bytes())?;
        out.write_all(&(self.text.len() as u64).to_be_bytes())?;
        out.write_all(&SHA1.to_be_bytes())?;
        out.write_all(&self.squeezed)?;
        out.write_all(&self.checksum())?;
        out.write_all(signatures)?;
        io::copy(&mut io::repeat(0).take(left), out).map(drop)
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the table of the xar archive is damaged")
}
