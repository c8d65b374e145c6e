//! The signature of a pkg: one of RSA and a message of CMS, both over the checksum of the archive's
//! table, which has the checksums of all members. Source: xar's page on signatures, and what
//! productsign and rcodesign write.

use std::io::{Read as _, SeekFrom};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use cms::signed_data::EncapsulatedContentInfo;
use quick_xml::{Reader, events::Event};
use sha1::{Digest as _, Sha1};

use super::ROOM;
use crate::{
    archive::xar::{CHECKSUM, Front},
    format::{ReadSeek, WriteSeek},
    sign::{
        CodeSigner, Scheme, Seal, SignError, Trust, VerifyError,
        cms::{Message, Opened},
        copy, oid, trust,
    },
};

/// Copies the installer `unsigned`, one of ours, to `out` with a signature.
pub(super) fn sign(
    unsigned: &mut dyn ReadSeek,
    by: &CodeSigner,
    out: &mut dyn WriteSeek,
) -> Result<(), SignError> {
    let front = Front::read(unsigned).map_err(SignError::Read)?;
    let unsignable =
        |reason: &str| SignError::Unsignable { what: "package", reason: reason.to_owned() };
    if front.text.contains("<signature ") {
        return Err(unsignable("it is signed already"));
    }
    if by.identity.scheme() != Scheme::RsaSha256 {
        return Err(unsignable("macOS wants a key of RSA"));
    }
    // A trial tells how long a signature is.
    let rsa = by.identity.sign(b"")?.len() as u64;
    let message = u64::from(ROOM.signatures) - CHECKSUM - rsa;
    let elements = elements(by, [(CHECKSUM, rsa), (CHECKSUM + rsa, message)]);
    let signed = front.with(&elements, ROOM).map_err(SignError::Write)?;
    let checksum = signed.checksum();
    let content = EncapsulatedContentInfo { econtent_type: oid::DATA, econtent: None };
    let rsa = by.identity.sign(&checksum)?;
    let message =
        Message { content, signed: &checksum, attributes: Vec::new(), timestamp: oid::TIMESTAMP };
    let signatures = [rsa, message.sign(by)?].concat();
    signed.write(&signatures, ROOM, out).map_err(SignError::Write)?;
    let members = front.heap + u64::from(ROOM.signatures);
    unsigned.seek(SeekFrom::Start(members)).map_err(SignError::Read)?;
    copy(unsigned, out)
}

/// What the table says of both signatures, at places in the heap.
fn elements(by: &CodeSigner, [rsa, message]: [(u64, u64); 2]) -> String {
    let certificates: String = by
        .identity
        .chain()
        .iter()
        .map(|it| BASE64_STANDARD.encode(it.der()))
        .map(|text| format!("<X509Certificate>{text}</X509Certificate>"))
        .collect();
    let element = |name: &str, style: &str, (offset, size): (u64, u64)| {
        format!(
            "<{name} style=\"{style}\"><offset>{offset}</offset><size>{size}</size>\
             <KeyInfo xmlns=\"http://www.w3.org/2000/09/xmldsig#\"><X509Data>{certificates}</X509Data>\
             </KeyInfo></{name}>"
        )
    };
    [element("signature", "RSA", rsa), element("x-signature", "CMS", message)].concat()
}

/// Checks the signature of the installer in `file`, and every member.
pub(super) fn verify(file: &mut dyn ReadSeek, trust: &Trust) -> Result<Seal, VerifyError> {
    let front = Front::read(file).map_err(VerifyError::Read)?;
    let table = Table::read(&front.text)?;
    table.check_lengths()?;
    let checksum = front.checksum();
    let damaged = VerifyError::Malformed { what: "place of the signature" };
    let (offset, size) = table.message.ok_or(VerifyError::NotSigned)?;
    let size = Some(size).filter(|size| *size <= MAX_MESSAGE).ok_or(damaged)?;
    if part(file, (front.heap, CHECKSUM))? != checksum {
        return Err(VerifyError::Changed);
    }
    let place = front.heap.checked_add(offset).ok_or(VerifyError::Changed)?;
    let message = Opened::read(&part(file, (place, size))?)?;
    let usage = (oid::APPLE_INSTALLER, oid::TIMESTAMP);
    let seal = trust::verify(&message, &checksum, usage, trust)?;
    for member in &table.members {
        member.verify(file, front.heap)?;
    }
    Ok(seal)
}

/// Longest message that is read, in bytes.
const MAX_MESSAGE: u64 = 1 << 20;
/// The most that all members have, in bytes.
const MAX_MEMBERS: u64 = 64 << 30;

fn part(file: &mut dyn ReadSeek, (at, size): (u64, u64)) -> Result<Vec<u8>, VerifyError> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at))
        .and_then(|_| file.take(size).read_to_end(&mut bytes))
        .map_err(VerifyError::Read)?;
    Ok(bytes)
}

/// What of a table is looked at.
#[derive(Default)]
struct Table {
    /// Place of the CMS message in the heap.
    message: Option<(u64, u64)>,
    members: Vec<Member>,
}

#[derive(Default)]
struct Member {
    offset: u64,
    length: u64,
    /// Hexadecimal.
    sha1: String,
}

impl Table {
    fn read(text: &str) -> Result<Self, VerifyError> {
        let damaged = || VerifyError::Malformed { what: "table" };
        let mut reader = Reader::from_str(text);
        let (mut path, mut table) = (Vec::<String>::new(), Self::default());
        loop {
            let event = reader.read_event().map_err(|_| damaged())?;
            if let Event::Start(start) = &event {
                let name = start.name().as_ref().to_owned();
                table.enter(&name);
                path.push(name);
            } else if let Event::Text(text) = &event {
                table.take(&path, text.trim()).ok_or_else(damaged)?;
            } else if matches!(event, Event::End(_)) {
                path.pop();
            } else if matches!(event, Event::Eof) {
                return Ok(table);
            }
        }
    }

    /// Members may have the same place, so that a short file could be long to check.
    fn check_lengths(&self) -> Result<(), VerifyError> {
        let lengths = self.members.iter().map(|member| member.length);
        let sum = lengths.fold(0, u64::saturating_add);
        if sum > MAX_MEMBERS { Err(VerifyError::Malformed { what: "table" }) } else { Ok(()) }
    }

    fn enter(&mut self, name: &str) {
        match name {
            "x-signature" => self.message = Some((0, 0)),
            "data" => self.members.push(Member::default()),
            _ => {}
        }
    }

    /// Takes the text of the element at `path`. None if it is no number where one belongs.
    fn take(&mut self, path: &[String], text: &str) -> Option<()> {
        let [.., parent, name] = path else { return Some(()) };
        match (parent.as_str(), name.as_str(), &mut self.message, self.members.last_mut()) {
            ("x-signature", "offset", Some(message), _) => message.0 = text.parse().ok()?,
            ("x-signature", "size", Some(message), _) => message.1 = text.parse().ok()?,
            ("data", "offset", _, Some(member)) => member.offset = text.parse().ok()?,
            ("data", "length", _, Some(member)) => member.length = text.parse().ok()?,
            ("data", "archived-checksum", _, Some(member)) => member.sha1 = text.to_owned(),
            _ => {}
        }
        Some(())
    }
}

impl Member {
    fn verify(&self, file: &mut dyn ReadSeek, heap: u64) -> Result<(), VerifyError> {
        let start = heap.checked_add(self.offset).ok_or(VerifyError::Changed)?;
        file.seek(SeekFrom::Start(start)).map_err(VerifyError::Read)?;
        let mut digest = Sha1::new();
        let read = std::io::copy(&mut file.take(self.length), &mut Digesting(&mut digest));
        if read.map_err(VerifyError::Read)? == self.length
            && hex::encode(digest.finalize()) == self.sha1
        {
            return Ok(());
        }
        Err(VerifyError::Changed)
    }
}

struct Digesting<'a>(&'a mut Sha1);

impl std::io::Write for Digesting<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::archive::xar::XarWriter;

    /// What is said of an archive whose table has `elements`.
    fn verified(elements: &str) -> VerifyError {
        let mut unsigned = XarWriter::new(Cursor::new(Vec::new()), ROOM, 0).unwrap();
        unsigned.member("Distribution", b"text").unwrap();
        let front = Front::read(&mut unsigned.finish().unwrap()).unwrap();
        let mut file = Cursor::new(Vec::new());
        front.with(elements, ROOM).unwrap().write(&[], ROOM, &mut file).unwrap();
        verify(&mut file, &Trust::default()).unwrap_err()
    }

    #[test]
    fn a_signature_or_members_beyond_every_file_are_refused() {
        let at = |offset: u64| {
            format!("<x-signature><offset>{offset}</offset><size>9</size></x-signature>")
        };
        assert!(matches!(verified(&at(u64::MAX)), VerifyError::Changed));
        assert!(matches!(verified(&at(20)), VerifyError::Malformed { what: _ }));
        let long = format!("{}<data><length>{}</length></data>", at(20), u64::MAX);
        assert!(matches!(verified(&long), VerifyError::Malformed { what: "table" }));
    }
}
