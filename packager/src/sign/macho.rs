//! Signatures of programs for macOS. Source: Apple's technical notes TN3126 and TN3127,
//! `osfmk/kern/cs_blobs.h` of xnu, and what codesign writes.
//!
//! What is signed is a directory of digests: of the program's pages, and of the other parts of its
//! signature. A universal program is signed once for each processor. All but the signature's two load
//! commands stays as it was.

mod blob;
mod directory;
mod entitlements;
mod image;
mod join;
mod requirement;
mod slices;
mod verify;

use std::io::{Read as _, SeekFrom, Write};

use cms::signed_data::EncapsulatedContentInfo;
use der::{
    Sequence,
    asn1::{ObjectIdentifier, OctetString, UtcTime},
};
use object::macho::{FAT_MAGIC, MH_MAGIC_64};
use plist::{Dictionary, Value};

use self::{
    blob::{signature_size, slot},
    directory::{Directory, Pages, SHORT, sha256},
    image::{Extent, Image, Unreadable},
    slices::{Slices, fill},
};
pub use self::{
    entitlements::{EntitlementsError, check as check_entitlements},
    join::{JoinError, join},
    verify::{Sealed, read, verify},
};
use super::{
    CodeSigner, Hash, Scheme, SignError,
    cms::{Message, attribute, unencodable},
    oid,
};
use crate::format::ReadSeek;

/// Length of the pages that are digested, as a power of two: 4 KiB for both processors, as codesign and lld
/// have them.
const PAGE: u8 = 12;
/// Room for a message beside its certificates, and for a timestamp with those of its authority.
const MESSAGE_ROOM: usize = 4 << 10;
const TIMESTAMP_ROOM: usize = 14 << 10;
/// Longest description in a program that is read, in bytes.
const MAX_INFO: u64 = 1 << 20;
const CHUNK: usize = 256 << 10;

/// What is signed with a program.
#[derive(Debug, Clone, Default)]
pub struct Details {
    /// By which macOS knows it, as in `com.example.agent`.
    pub identifier: String,
    /// What it may do, as a property list in XML.
    pub entitlements: Option<Vec<u8>>,
    /// The `Info.plist` of its bundle.
    pub info: Option<Vec<u8>>,
    /// The `CodeResources` of its bundle.
    pub resources: Option<Vec<u8>>,
    /// When it is signed, in seconds since 1970: that is not proved, and nothing depends on it. Without, the
    /// same program and key give the same bytes.
    pub signed_at: Option<u64>,
}

/// Whether a file that begins with `start`, 4 bytes or more, may be a program for macOS.
pub(crate) fn may_be(start: &[u8]) -> bool {
    let thin = MH_MAGIC_64.to_le_bytes();
    let universal = FAT_MAGIC.to_be_bytes();
    start.starts_with(&thin) || start.starts_with(&universal)
}

/// Copies the program in `file` to `out`, hardened and signed in place of any signature that it has.
pub fn sign(
    file: &mut dyn ReadSeek,
    details: &Details,
    by: &CodeSigner,
    out: &mut dyn Write,
) -> Result<(), SignError> {
    if by.identity.scheme() != Scheme::RsaSha256 {
        return Err(unsignable("macOS wants a key of RSA"));
    }
    let slices = Slices::read(file)?.ok_or_else(|| unsignable("it is none for macOS"))?;
    let parts = Parts::new(details, by)?;
    let plans = slices.all.iter().map(|slice| {
        let image = Image::read(file, slice.place)?;
        Plan::new(file, image, &parts)
    });
    let plans = plans.collect::<Result<Vec<_>, SignError>>()?;
    let sizes: Vec<_> = plans.iter().map(Plan::size).collect();
    let signed = slices.resized(&sizes);
    let header = signed.header().ok_or_else(|| unsignable("it is too big"))?;
    out.write_all(&header).map_err(SignError::Write)?;
    let mut end = header.len() as u64;
    for (plan, slice) in plans.iter().zip(&signed.all) {
        fill(out, slice.place.start - end).map_err(SignError::Write)?;
        plan.write(file, by, out)?;
        end = slice.place.end();
    }
    Ok(())
}

fn unsignable(reason: &str) -> SignError {
    SignError::Unsignable { what: "program", reason: reason.to_owned() }
}

impl From<Unreadable> for SignError {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Read(error) => Self::Read(error),
            Unreadable::Malformed(reason) => unsignable(reason),
        }
    }
}

/// The parts of a signature that are the same for all processors.
struct Parts<'a> {
    details: &'a Details,
    team: Option<String>,
    requirements: Vec<u8>,
    /// As XML and as DER.
    entitlements: Option<[Vec<u8>; 2]>,
    /// For the message.
    room: usize,
}

impl<'a> Parts<'a> {
    fn new(details: &'a Details, by: &CodeSigner) -> Result<Self, SignError> {
        let chain = by.identity.chain();
        let entitlements = details.entitlements.as_deref().map(|xml| {
            let der = entitlements::der(xml).map_err(|error| unsignable(&error.to_string()))?;
            let xml = blob::blob(blob::ENTITLEMENTS, xml);
            Ok::<_, SignError>([xml, blob::blob(blob::DER_ENTITLEMENTS, &der)])
        });
        let certificates: usize = chain.iter().map(|it| it.der().len()).sum();
        let timestamp = if by.timestamper.is_some() { TIMESTAMP_ROOM } else { 0 };
        Ok(Self {
            details,
            team: requirement::team(chain),
            requirements: requirement::designated(&details.identifier, chain),
            entitlements: entitlements.transpose()?,
            room: certificates + MESSAGE_ROOM + timestamp,
        })
    }

    /// Blobs with their slots, without directory and message.
    fn blobs(&self) -> Vec<(u32, &[u8])> {
        let mut blobs = vec![(slot::REQUIREMENTS, self.requirements.as_slice())];
        if let Some([xml, der]) = &self.entitlements {
            blobs.push((slot::ENTITLEMENTS, xml));
            blobs.push((slot::DER_ENTITLEMENTS, der));
        }
        blobs
    }

    /// The digests of all parts, from slot 1 on. `info` is the program's own description.
    fn digests(&self, info: Option<&[u8]>) -> Vec<[u8; 32]> {
        let info = self.details.info.as_deref().or(info).map(|info| (slot::INFO, info));
        let resources = self.details.resources.as_deref().map(|it| (slot::RESOURCES, it));
        let mut digests = Vec::new();
        for (slot, content) in info.into_iter().chain(resources).chain(self.blobs()) {
            let count = digests.len().max(slot as usize);
            digests.resize(count, [0; 32]);
            digests[slot as usize - 1] = sha256(content);
        }
        digests
    }
}

/// How a program for one processor will be.
struct Plan<'a> {
    image: Image,
    parts: &'a Parts<'a>,
    directory: Directory<'a>,
    head: Vec<u8>,
    /// Of the signature, with what fills up its room.
    signature_size: usize,
}

impl<'a> Plan<'a> {
    fn new(file: &mut dyn ReadSeek, image: Image, parts: &'a Parts<'a>) -> Result<Self, SignError> {
        if !image.is_for_mac() {
            return Err(unsignable("it is for a processor that macOS does not run on"));
        }
        let code_size = u32::try_from(image.code_size());
        let info = image.info.map(|extent| extent.read(file, MAX_INFO)).transpose()?;
        let directory = Directory {
            identifier: &parts.details.identifier,
            team: parts.team.as_deref(),
            code_size: code_size.map_err(|_| unsignable("it is too big"))?,
            page: PAGE,
            text: [image.text.start, image.text.size],
            is_main: image.is_main,
            sdk: image.sdk,
            special: parts.digests(info.as_deref()),
        };
        let blobs = parts.blobs();
        let blobs = blobs.iter().map(|(_, blob)| blob.len());
        let size = signature_size(blobs.chain([directory.size(), parts.room]));
        let signature_size = size.next_multiple_of(image::ALIGNMENT as usize);
        let size = u32::try_from(signature_size).map_err(|_| unsignable("it is too big"))?;
        let head = image.signed_head(size).map_err(unsignable)?;
        Ok(Self { image, parts, directory, head, signature_size })
    }

    fn size(&self) -> u64 {
        self.image.code_size() + self.signature_size as u64
    }

    fn write(
        &self,
        file: &mut dyn ReadSeek,
        by: &CodeSigner,
        out: &mut dyn Write,
    ) -> Result<(), SignError> {
        let mut pages = Pages::new(1 << self.directory.page);
        let mut copy = |bytes: &[u8]| {
            pages.update(bytes);
            out.write_all(bytes).map_err(SignError::Write)
        };
        copy(&self.head)?;
        let Extent { start, size } = self.image.copied();
        let head = self.head.len() as u64;
        file.seek(SeekFrom::Start(start + head)).map_err(SignError::Read)?;
        let mut rest = file.take(size - head);
        let mut buffer = vec![0; CHUNK];
        loop {
            match rest.read(&mut buffer).map_err(SignError::Read)? {
                0 => break,
                read => copy(&buffer[..read])?,
            }
        }
        let zeros = self.image.code_size() - size;
        copy(&vec![0; usize::try_from(zeros).expect("less than an alignment")])?;
        let signature = self.signature(&self.directory.encode(&pages.finish()), by)?;
        out.write_all(&signature).map_err(SignError::Write)?;
        fill(out, (self.signature_size - signature.len()) as u64).map_err(SignError::Write)
    }

    fn signature(&self, directory: &[u8], by: &CodeSigner) -> Result<Vec<u8>, SignError> {
        let message = message(directory, self.parts.details.signed_at, by)?;
        if message.len() + 8 > self.parts.room {
            return Err(unsignable("the timestamp is longer than its room"));
        }
        let message = blob::blob(blob::MESSAGE, &message);
        let mut blobs = vec![(slot::DIRECTORY, directory)];
        blobs.extend(self.parts.blobs());
        blobs.push((slot::MESSAGE, &message));
        Ok(blob::signature(&blobs))
    }
}

/// A digest with its algorithm.
#[derive(Sequence)]
struct CodeDigest {
    algorithm: ObjectIdentifier,
    digest: OctetString,
}

/// The message over `directory`, which is not in it. Its attributes tell the directory's digest twice, as
/// macOS looks for it: in a property list, and in DER.
fn message(
    directory: &[u8],
    signed_at: Option<u64>,
    by: &CodeSigner,
) -> Result<Vec<u8>, SignError> {
    let digest = sha256(directory);
    let list = code_digests(&digest[..SHORT]);
    let digest = CodeDigest {
        algorithm: Hash::SHA256.oid,
        digest: OctetString::new(digest).map_err(unencodable)?,
    };
    let mut attributes = vec![
        attribute(oid::APPLE_CODE_DIGEST_LIST, OctetString::new(list).map_err(unencodable)?)?,
        attribute(oid::APPLE_CODE_DIGESTS, digest)?,
    ];
    if let Some(seconds) = signed_at {
        let time = UtcTime::from_unix_duration(std::time::Duration::from_secs(seconds));
        attributes.push(attribute(oid::SIGNING_TIME, time.map_err(unencodable)?)?);
    }
    let content = EncapsulatedContentInfo { econtent_type: oid::DATA, econtent: None };
    Message { content, signed: directory, attributes, timestamp: oid::TIMESTAMP }.sign(by)
}

fn code_digests(digest: &[u8]) -> Vec<u8> {
    let mut list = Dictionary::new();
    list.insert("cdhashes".to_owned(), Value::Array(vec![Value::Data(digest.to_vec())]));
    let mut xml = Vec::new();
    Value::Dictionary(list).to_writer_xml(&mut xml).expect("writing to memory does not fail");
    xml
}
