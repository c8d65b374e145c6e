//! Programs for Windows. Source: Microsoft's "PE Format".
//!
//! A signature is appended, and the header says where it is. The digest leaves out what signing
//! changes: that place in the header, the checksum, and the signature.

use std::io::{self, Read, Seek, SeekFrom, Write};

use aws_lc_rs::digest::Context;

use super::{CodeSigner, Seal, SignError, Signature, Subject, Trust, VerifyError, hash};

/// Where in the file the header's place is told.
const HEADER_AT: usize = 0x3c;
const MAGIC: &[u8] = b"PE\0\0";
/// From the header's start to its optional part, in bytes.
const OPTIONAL: usize = 24;
/// In the optional part.
const CHECKSUM: usize = 64;
const PE32: u16 = 0x10b;
const PE32_PLUS: u16 = 0x20b;
/// Number of the entry that says where the signature is, and length of an entry.
const CERTIFICATES: usize = 4;
const ENTRY: usize = 8;
/// Before a signature: its length, revision 2, kind "PKCS #7".
const CERTIFICATE_HEAD: usize = 8;
const REVISION_AND_KIND: [u8; 4] = [0, 2, 2, 0];
/// What signatures are aligned to, in bytes.
const ALIGNMENT: u64 = 8;
/// How much of a file's start has everything that is looked for.
const HEAD: u64 = 64 << 10;
/// Longest signature that is read, in bytes.
const MAX_SIGNATURE: u32 = 1 << 20;
const CHUNK: u64 = 64 << 10;

/// Where in a program what is.
struct Layout {
    checksum: usize,
    /// The header's entry for the signature.
    entry: usize,
    /// Place and length of the signature with its head; none of a program that has none.
    signature: Option<(u64, u32)>,
    /// Length of the file without signature.
    end: u64,
}

impl Layout {
    /// Also gives the file's start.
    fn read(file: &mut (impl Read + Seek)) -> io::Result<Option<(Self, Vec<u8>)>> {
        let length = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let mut head = Vec::new();
        file.take(HEAD).read_to_end(&mut head)?;
        Ok(Self::of(&head, length).map(|layout| (layout, head)))
    }

    /// None: it is no program, or one whose header has no place for a signature.
    fn of(head: &[u8], length: u64) -> Option<Self> {
        let start = usize::try_from(number(head, HEADER_AT)?).ok()?;
        (head.get(start..)?.starts_with(MAGIC)).then_some(())?;
        let optional = start + OPTIONAL;
        let directories = match u16::from_le_bytes(*head.get(optional..)?.first_chunk()?) {
            PE32 => optional + 96,
            PE32_PLUS => optional + 112,
            _ => return None,
        };
        (number(head, directories - 4)? as usize > CERTIFICATES).then_some(())?;
        let entry = directories + CERTIFICATES * ENTRY;
        let (at, size) = (number(head, entry)?, number(head, entry + 4)?);
        let signature = (at != 0 && size != 0).then_some((u64::from(at), size));
        let end = signature.map_or(length, |(at, _)| at);
        let behind = signature.map_or(0, |(_, size)| u64::from(size));
        let fits = end >= (entry + ENTRY) as u64 && end + behind <= length;
        fits.then_some(Self { checksum: optional + CHECKSUM, entry, signature, end })
    }

    /// Digests what a signature is over.
    fn digest(&self, file: &mut (impl Read + Seek), context: &mut Context) -> io::Result<()> {
        let (checksum, entry) = (self.checksum as u64, self.entry as u64);
        let parts = [(0, checksum), (checksum + 4, entry), (entry + ENTRY as u64, self.end)];
        for (from, to) in parts {
            file.seek(SeekFrom::Start(from))?;
            each_chunk(file.take(to - from), |chunk| {
                context.update(chunk);
                Ok(())
            })?;
        }
        context.update(padding(self.end));
        Ok(())
    }
}

/// Whether the program in `file` carries a signature; none if it is no program for Windows.
pub fn is_signed(file: &mut (impl Read + Seek)) -> io::Result<Option<bool>> {
    Ok(Layout::read(file)?.map(|(layout, _)| layout.signature.is_some()))
}

/// Copies the program in `file` to `out`, which is empty, with a signature instead of any that it
/// has. `name` is shown to whoever starts it.
pub fn sign(
    file: &mut (impl Read + Seek),
    name: Option<&str>,
    by: &CodeSigner,
    out: &mut (impl Write + Seek),
) -> Result<(), SignError> {
    let (layout, head) = Layout::read(file).map_err(SignError::Read)?.ok_or_else(unsignable)?;
    let mut context = hash(by).context();
    layout.digest(file, &mut context).map_err(SignError::Read)?;
    let signature = super::sign(Subject::Program, context.finish().as_ref(), name, by)?;
    let signature = certificate(&signature);
    let at = layout.end + padding(layout.end).len() as u64;
    let (Ok(at), Ok(size)) = (u32::try_from(at), u32::try_from(signature.len())) else {
        return Err(unsignable());
    };
    let head = layout.signed_head(head, (at, size));
    layout.write(file, [&head, &signature], out).map_err(SignError::Write)
}

fn unsignable() -> SignError {
    let reason = "it is no program for Windows with a place for a signature".to_owned();
    SignError::Unsignable { what: "file", reason }
}

impl Layout {
    /// The file's start with the place of the signature, and no checksum.
    fn signed_head(&self, mut head: Vec<u8>, (at, size): (u32, u32)) -> Vec<u8> {
        head.truncate(usize::try_from(self.end).unwrap_or(usize::MAX));
        head[self.checksum..self.checksum + 4].fill(0);
        head[self.entry..self.entry + 4].copy_from_slice(&at.to_le_bytes());
        head[self.entry + 4..self.entry + ENTRY].copy_from_slice(&size.to_le_bytes());
        head
    }

    /// Writes `head`, the rest of the program, and `signature`, with the checksum of it all.
    fn write(
        &self,
        file: &mut (impl Read + Seek),
        [head, signature]: [&[u8]; 2],
        out: &mut (impl Write + Seek),
    ) -> io::Result<()> {
        file.seek(SeekFrom::Start(head.len() as u64))?;
        let rest = file.take(self.end - head.len() as u64);
        let mut sum = Checksum::default();
        each_chunk(head.chain(rest).chain(padding(self.end)).chain(signature), |bytes| {
            sum.add(bytes);
            out.write_all(bytes)
        })?;
        out.seek(SeekFrom::Start(self.checksum as u64))?;
        out.write_all(&sum.finish().to_le_bytes())?;
        out.seek(SeekFrom::End(0)).map(drop)
    }
}

/// Checks the signature of the program in `file`.
pub fn verify(file: &mut (impl Read + Seek), trust: &Trust) -> Result<Seal, VerifyError> {
    let layout = Layout::read(file).map_err(VerifyError::Read)?;
    let (layout, _) = layout.ok_or(VerifyError::Malformed { what: "program" })?;
    let (at, size) = layout.signature.ok_or(VerifyError::NotSigned)?;
    if size > MAX_SIGNATURE || (size as usize) < CERTIFICATE_HEAD {
        return Err(VerifyError::Malformed { what: "signature" });
    }
    // Nothing that is not signed may follow.
    if file.seek(SeekFrom::End(0)).map_err(VerifyError::Read)? != at + u64::from(size) {
        return Err(VerifyError::Changed);
    }
    let mut bytes = vec![0; size as usize];
    file.seek(SeekFrom::Start(at))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(VerifyError::Read)?;
    let signature = Signature::read(&bytes[CERTIFICATE_HEAD..], Subject::Program)?;
    let mut context = signature.hash.context();
    layout.digest(file, &mut context).map_err(VerifyError::Read)?;
    signature.verify(context.finish().as_ref(), trust)
}

/// `WIN_CERTIFICATE`, filled up.
fn certificate(signature: &[u8]) -> Vec<u8> {
    let length = (CERTIFICATE_HEAD + signature.len()).next_multiple_of(ALIGNMENT as usize);
    let mut bytes = (length as u32).to_le_bytes().to_vec();
    bytes.extend(REVISION_AND_KIND);
    bytes.extend(signature);
    bytes.resize(length, 0);
    bytes
}

/// The sum of a program's 16-bit words, carries added, and its length.
#[derive(Default)]
struct Checksum {
    sum: u32,
    length: u32,
}

impl Checksum {
    /// `bytes` are an even number, but for the last.
    fn add(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(2) {
            let high = word.get(1).copied().unwrap_or_default();
            self.sum += u32::from(u16::from_le_bytes([word[0], high]));
            self.sum = (self.sum & 0xffff) + (self.sum >> 16);
        }
        self.length = self.length.wrapping_add(bytes.len() as u32);
    }

    fn finish(self) -> u32 {
        self.sum.wrapping_add(self.length)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// What fills up something of `length` bytes.
fn padding(length: u64) -> &'static [u8] {
    &[0; ALIGNMENT as usize][..(length.next_multiple_of(ALIGNMENT) - length) as usize]
}

/// Gives all of `from`, in chunks of [`CHUNK`] bytes but for the last.
fn each_chunk(
    mut from: impl Read,
    mut give: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        from.by_ref().take(CHUNK).read_to_end(&mut buffer)?;
        if buffer.is_empty() {
            return Ok(());
        }
        give(&buffer)?;
    }
}
