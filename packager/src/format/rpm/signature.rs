//! The signature of an rpm: over the header, which has the digest of the archive.

use std::io::{self, Cursor, Read, SeekFrom};

use super::{
    LEAD,
    header::{Header, INTRO, SignatureTag},
};
use crate::{
    archive::sections::Sections,
    format::{ReadSeek, WriteSeek},
    package::SourceDate,
    sign::{
        SignError, copy,
        openpgp::{Certificates, Found, SigningKey, VerifyError},
    },
};

/// Spans the header's tags.
pub(super) const REGION: u32 = 63;
const BUILD_TIME: u32 = 1006;

/// What comes before the archive.
pub(super) struct Front {
    lead: [u8; LEAD],
    pub(super) signatures: Header,
    /// Of the signature header, without what is between it and the header.
    length: usize,
    pub(super) header: Vec<u8>,
    /// Where the header begins.
    pub(super) at: u64,
}

impl Front {
    /// Leaves `package` where the archive begins.
    pub(super) fn read(package: &mut dyn ReadSeek) -> Result<Self, VerifyError> {
        package.rewind().map_err(VerifyError::Read)?;
        let mut lead = [0; LEAD];
        fill(package, &mut lead)?;
        if !lead.starts_with(&[0xed, 0xab, 0xee, 0xdb]) {
            return Err(damaged("it does not begin as one"));
        }
        let signatures = whole_header(package)?;
        let length = signatures.len();
        let mut padding = [0; 8];
        fill(package, &mut padding[..length.next_multiple_of(8) - length])?;
        let at = package.stream_position().map_err(VerifyError::Read)?;
        let header = whole_header(package)?;
        let signatures = Header::parse(&signatures, SignatureTag::REGION).map_err(damaged)?;
        Ok(Self { lead, signatures, length, header, at })
    }

    fn date(&self) -> Result<SourceDate, VerifyError> {
        let header = Header::parse(&self.header, REGION).map_err(damaged)?;
        let seconds = header.numbers(BUILD_TIME).first().map_or(0, |seconds| *seconds);
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        Ok(SourceDate::from_unix(seconds))
    }

    /// The lead, the signature header with `signature` for all others, and the header. As long as
    /// before, if the place that is kept free is enough.
    fn signed(&mut self, tag: u32, signature: &[u8]) -> Vec<u8> {
        use SignatureTag as Tag;
        let reserved = self.signatures.get_binary(Tag::RESERVED_SPACE).is_some();
        for tag in [Tag::DSA, Tag::RSA, Tag::OLD_DSA, Tag::OLD_RSA, Tag::RESERVED_SPACE] {
            self.signatures.remove(tag);
        }
        self.signatures.binary(tag, signature);
        let mut bytes = self.signatures.render(Tag::REGION);
        if reserved {
            // One byte shows what an entry takes; the place is the last in the store.
            self.signatures.binary(Tag::RESERVED_SPACE, &[0]);
            let least = self.signatures.render(Tag::REGION).len();
            if let Some(left) = self.length.checked_sub(least) {
                self.signatures.remove(Tag::RESERVED_SPACE);
                self.signatures.binary(Tag::RESERVED_SPACE, &vec![0; left + 1]);
                bytes = self.signatures.render(Tag::REGION);
            }
        }
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        [&self.lead[..], &bytes, &self.header].concat()
    }
}

/// Copies the rpm `unsigned` to `out`, signed by `key` and by nobody else.
pub(super) fn sign(
    unsigned: &mut dyn ReadSeek,
    key: &SigningKey,
    out: &mut dyn WriteSeek,
) -> Result<(), SignError> {
    let mut front = Front::read(unsigned)?;
    let made = key.sign(&mut &front.header[..], front.date()?)?;
    let tag = if key.is_rsa() { SignatureTag::RSA } else { SignatureTag::DSA };
    out.write_all(&front.signed(tag, &made)).map_err(SignError::Write)?;
    copy(unsigned, out)
}

/// What there is to say of each OpenPGP signature of the rpm `package`; none if it has none. Such a signature is
/// over the header alone, which has the digests of everything else: whether those are right is another question.
pub fn check_signatures(
    package: &mut dyn ReadSeek,
    certificates: &Certificates,
) -> Result<Vec<Found>, VerifyError> {
    let front = Front::read(package)?;
    let end = package.seek(SeekFrom::End(0)).map_err(VerifyError::Read)?;
    let mut found = Vec::new();
    for tag in [SignatureTag::RSA, SignatureTag::DSA] {
        if let Some(signature) = front.signatures.get_binary(tag) {
            let mut content = Cursor::new(&front.header);
            found.extend(certificates.check(signature, &mut content).map_err(VerifyError::Read)?);
        }
    }
    for tag in [SignatureTag::OLD_RSA, SignatureTag::OLD_DSA] {
        if let Some(signature) = front.signatures.get_binary(tag) {
            let mut content = Sections::new(package, vec![(front.at, end - front.at)]);
            found.extend(certificates.check(signature, &mut content).map_err(VerifyError::Read)?);
        }
    }
    Ok(found)
}

fn whole_header(package: &mut dyn ReadSeek) -> Result<Vec<u8>, VerifyError> {
    let mut intro = [0; INTRO];
    fill(package, &mut intro)?;
    let length = Header::length(&intro).map_err(damaged)?;
    let mut header = intro.to_vec();
    // What is told is not allocated before it is there.
    let rest = (length - INTRO) as u64;
    package.take(rest).read_to_end(&mut header).map_err(VerifyError::Read)?;
    if header.len() == length { Ok(header) } else { Err(damaged("it ends early")) }
}

fn fill(package: &mut dyn ReadSeek, buffer: &mut [u8]) -> Result<(), VerifyError> {
    package.read_exact(buffer).map_err(|error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return damaged("it ends early");
        }
        VerifyError::Read(error)
    })
}

pub(super) fn damaged(reason: &str) -> VerifyError {
    VerifyError::Damaged { format: "rpm", reason: reason.to_owned() }
}
