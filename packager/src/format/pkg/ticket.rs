//! Apple's word that it knows a package, appended to it: a ticket. Source: what stapler writes, as
//! apple-codesign's `stapling.rs` describes it. Numbers are little-endian.
//!
//! Behind the archive are an end mark, the ticket, and a mark that tells its length; so it is found from
//! the end of the file.

use std::io::{self, Read as _, SeekFrom};

use crate::{
    archive::xar::Front,
    format::{ReadSeek, WriteSeek},
    sign::SignError,
};

const MAGIC: [u8; 4] = *b"t8lr";
const VERSION: u16 = 1;
const END: u16 = 1;
const TICKET: u16 = 2;
const MARK: u64 = 16;
/// Longest ticket that is read, in bytes; real ones have some thousands.
const MAX_TICKET: u32 = 1 << 20;

/// By which Apple's service knows the ticket of the package in `file`.
pub fn ticket_name(file: &mut dyn ReadSeek) -> io::Result<String> {
    /// The service's version, and its number for SHA-1.
    const PREFIX: &str = "2/1";
    let checksum = Front::read(file)?.checksum();
    Ok(format!("{PREFIX}/{}", hex::encode(checksum)))
}

/// Whether the package in `file` has the signature of which a ticket tells.
pub fn is_signed(file: &mut dyn ReadSeek) -> io::Result<bool> {
    Ok(Front::read(file)?.text.contains("<x-signature "))
}

/// The ticket that the package in `file` has.
pub fn ticket(file: &mut dyn ReadSeek) -> io::Result<Option<Vec<u8>>> {
    let length = file.seek(SeekFrom::End(0))?;
    let Some((at, size)) = place(file, length)? else { return Ok(None) };
    let mut ticket = Vec::new();
    file.seek(SeekFrom::Start(at + MARK))?;
    file.take(size.into()).read_to_end(&mut ticket)?;
    Ok(Some(ticket))
}

/// Where the end mark before the ticket is, and how long the ticket is.
fn place(file: &mut dyn ReadSeek, length: u64) -> io::Result<Option<(u64, u32)>> {
    let Some(last) = length.checked_sub(MARK) else { return Ok(None) };
    let mut mark = [0; MARK as usize];
    file.seek(SeekFrom::Start(last))?;
    file.read_exact(&mut mark)?;
    let size = u32::from_le_bytes([mark[8], mark[9], mark[10], mark[11]]);
    let is_ticket = mark[..4] == MAGIC && mark[6..8] == TICKET.to_le_bytes() && size <= MAX_TICKET;
    let at = last.checked_sub(u64::from(size) + MARK).filter(|_| is_ticket);
    Ok(at.map(|at| (at, size)))
}

/// Copies the package in `file` to `out` with `ticket`, in place of one that it has.
pub fn staple(
    file: &mut dyn ReadSeek,
    ticket: &[u8],
    out: &mut dyn WriteSeek,
) -> Result<(), SignError> {
    let unsignable =
        |reason: &str| SignError::Unsignable { what: "package", reason: reason.to_owned() };
    let size = u32::try_from(ticket.len()).ok().filter(|size| *size <= MAX_TICKET);
    let size = size.ok_or_else(|| unsignable("its ticket is too long"))?;
    let length = file.seek(SeekFrom::End(0)).map_err(SignError::Read)?;
    let old = place(file, length).map_err(SignError::Read)?;
    file.rewind().map_err(SignError::Read)?;
    let archive = old.map_or(length, |(at, _)| at);
    crate::sign::copy(&mut file.take(archive), out)?;
    let parts = [&mark(END, 0), ticket, &mark(TICKET, size)];
    out.write_all(&parts.concat()).map_err(SignError::Write)
}

fn mark(kind: u16, size: u32) -> Vec<u8> {
    let numbers = [VERSION.to_le_bytes(), kind.to_le_bytes()].concat();
    [&MAGIC[..], &numbers, &size.to_le_bytes(), &[0; 4]].concat()
}
