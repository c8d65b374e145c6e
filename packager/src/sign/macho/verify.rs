//! Whether a program is what somebody has signed.

use std::io::{Read as _, SeekFrom};

use der::{
    Decode as _, Sequence,
    asn1::{ObjectIdentifier, OctetString},
};

use super::{
    Details,
    blob::{self, Signature, slot},
    directory::{Pages, Parsed, SHORT, sha256},
    image::{Extent, Image, Unreadable},
    requirement,
    slices::Slices,
};
use crate::{
    format::ReadSeek,
    sign::{Hash, Seal, Trust, VerifyError, cms::Opened, oid, trust},
};

/// Longest signature that is read, in bytes: the digests of a program of 1 GiB take 8 MiB.
const MAX_SIGNATURE: u64 = 64 << 20;
/// Largest pages that are digested, unless all is one.
const CHUNK: usize = 256 << 10;

/// What the signature of a program for one processor says, and what it was checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sealed {
    /// By which macOS knows the program.
    pub identifier: String,
    /// For whom it was signed.
    pub team: Option<String>,
    /// Whether the hardened runtime is asked for.
    pub hardened: bool,
    /// By which macOS knows these very bytes: the start of a digest, in 20 bytes.
    pub code_digest: [u8; SHORT],
    /// The designated requirement as text, if there is one that is understood.
    pub requirement: Option<String>,
    /// The entitlements, as XML.
    pub entitlements: Option<Vec<u8>>,
    /// Whether it belongs to a bundle, whose description and other files it covers.
    pub covers_bundle: bool,
    /// By whom; none of a signature that only tells whether something was changed.
    pub seal: Option<Seal>,
}

/// Checks the signatures of the programs in `file`, one for each processor. `bundle` is what it belongs
/// to; what of that is not given is not checked.
pub fn verify(
    file: &mut dyn ReadSeek,
    bundle: &Details,
    trust: &Trust,
) -> Result<Vec<Sealed>, VerifyError> {
    let slices = Slices::read(file)?.ok_or(VerifyError::Malformed { what: "program" })?;
    if !slices.stand_alone(file).map_err(VerifyError::Read)? {
        return Err(VerifyError::Changed);
    }
    slices.all.iter().map(|slice| verify_image(file, slice.place, bundle, trust)).collect()
}

/// What the signatures of the programs in `file` say, none of it verified. None: no program for
/// macOS; a program that has no signature has none in its place.
pub fn read(file: &mut dyn ReadSeek) -> Result<Option<Vec<Option<Sealed>>>, VerifyError> {
    let Some(slices) = Slices::read(file)? else { return Ok(None) };
    let all = slices.all.iter().map(|slice| {
        let image = Image::read(file, slice.place)?;
        let Some(extent) = image.signature else { return Ok(None) };
        let bytes = extent.read(file, MAX_SIGNATURE)?;
        let (signature, directory) = open(&bytes)?;
        let directory = Parsed::parse(directory).ok_or(DAMAGED)?;
        let message = message(&signature);
        let seal = message.and_then(|it| Opened::read(it).ok()).map(|message| Seal {
            chain: message.certificates,
            timestamp: None,
            trusted: false,
        });
        Ok(Some(sealed(&signature, &directory, seal)))
    });
    all.collect::<Result<_, VerifyError>>().map(Some)
}

const DAMAGED: VerifyError = VerifyError::Malformed { what: "signature" };

impl From<Unreadable> for VerifyError {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Read(error) => Self::Read(error),
            Unreadable::Malformed(_) => Self::Malformed { what: "program" },
        }
    }
}

/// The parts of a signature, and the directory with digests that are supported.
fn open(bytes: &[u8]) -> Result<(Signature<'_>, &[u8]), VerifyError> {
    let signature = Signature::parse(bytes).ok_or(DAMAGED)?;
    let slots = std::iter::once(slot::DIRECTORY).chain(slot::ALTERNATIVES);
    let mut directories = slots.filter_map(|slot| signature.get(slot)).peekable();
    directories.peek().ok_or(DAMAGED)?;
    let found = directories.find(|blob| Parsed::is_supported(blob));
    Ok((signature, found.ok_or(VerifyError::Algorithm)?))
}

fn verify_image(
    file: &mut dyn ReadSeek,
    place: Extent,
    bundle: &Details,
    trust: &Trust,
) -> Result<Sealed, VerifyError> {
    let image = Image::read(file, place)?;
    let extent = image.signature.ok_or(VerifyError::NotSigned)?;
    let bytes = extent.read(file, MAX_SIGNATURE)?;
    let (signature, blob) = open(&bytes)?;
    let directory = Parsed::parse(blob).ok_or(DAMAGED)?;
    if directory.code_size != extent.start - place.start || extent.end() != place.end() {
        return Err(VerifyError::Changed);
    }
    check_pages(file, place, &directory)?;
    check_parts(&signature, &directory)?;
    let info = image.info.map(|extent| extent.read(file, MAX_SIGNATURE)).transpose()?;
    let info = bundle.info.as_deref().or(info.as_deref());
    check_part(&directory, slot::INFO, info)?;
    check_part(&directory, slot::RESOURCES, bundle.resources.as_deref())?;
    let seal = match message(&signature) {
        Some(message) => Some(check_message(&signature, blob, message, trust)?),
        None if directory.is_ad_hoc() => None,
        None => return Err(VerifyError::NotSigned),
    };
    Ok(sealed(&signature, &directory, seal))
}

fn check_pages(
    file: &mut dyn ReadSeek,
    place: Extent,
    directory: &Parsed<'_>,
) -> Result<(), VerifyError> {
    let page = usize::try_from(directory.page).map_err(|_| DAMAGED)?;
    let mut pages = Pages::new(page);
    file.seek(SeekFrom::Start(place.start)).map_err(VerifyError::Read)?;
    let mut code = file.take(directory.code_size);
    let mut buffer = vec![0; CHUNK];
    loop {
        match code.read(&mut buffer).map_err(VerifyError::Read)? {
            0 => break,
            read => pages.update(&buffer[..read]),
        }
    }
    if pages.finish() == directory.pages { Ok(()) } else { Err(VerifyError::Changed) }
}

/// Every part that is in the signature itself, and none that is promised may be missing.
fn check_parts(signature: &Signature<'_>, directory: &Parsed<'_>) -> Result<(), VerifyError> {
    for slot in (1..=slot::LAST).filter(|slot| ![slot::INFO, slot::RESOURCES].contains(slot)) {
        let blob = signature.get(slot);
        if blob.map(sha256).as_ref().map(<[u8; 32]>::as_slice) != directory.special(slot) {
            return Err(VerifyError::Changed);
        }
    }
    Ok(())
}

/// A part that is elsewhere: what is given must be what was signed.
fn check_part(
    directory: &Parsed<'_>,
    slot: u32,
    content: Option<&[u8]>,
) -> Result<(), VerifyError> {
    match content {
        Some(content) if directory.special(slot) != Some(sha256(content).as_slice()) => {
            Err(VerifyError::Changed)
        }
        _ => Ok(()),
    }
}

/// The message of a signature; none of one that nobody has made.
fn message<'a>(signature: &Signature<'a>) -> Option<&'a [u8]> {
    let content = blob::content(signature.get(slot::MESSAGE)?, blob::MESSAGE)?;
    (!content.is_empty()).then_some(content)
}

/// `directory` is the one that was checked, which need not be the one that was signed: the signed
/// attributes then have its digest.
fn check_message(
    signature: &Signature<'_>,
    directory: &[u8],
    message: &[u8],
    trust: &Trust,
) -> Result<Seal, VerifyError> {
    let message = Opened::read(message)?;
    let signed = signature.get(slot::DIRECTORY).ok_or(DAMAGED)?;
    if !std::ptr::eq(signed, directory) && !lists(&message, directory) {
        return Err(VerifyError::Changed);
    }
    trust::verify(&message, signed, (oid::CODE_SIGNING, oid::TIMESTAMP), trust)
}

/// A digest with its algorithm, as a signed attribute has it.
#[derive(Sequence)]
struct Listed {
    algorithm: ObjectIdentifier,
    digest: OctetString,
}

fn lists(message: &Opened, directory: &[u8]) -> bool {
    let digest = sha256(directory);
    message.signed(oid::APPLE_CODE_DIGESTS).iter().any(|value| {
        Listed::from_der(value)
            .is_ok_and(|it| it.algorithm == Hash::SHA256.oid && it.digest.as_bytes() == digest)
    })
}

fn sealed(signature: &Signature<'_>, directory: &Parsed<'_>, seal: Option<Seal>) -> Sealed {
    let digest = sha256(directory.blob);
    let (short, _) = digest.split_first_chunk::<SHORT>().expect("20 of 32 bytes");
    let entitlements = signature.get(slot::ENTITLEMENTS);
    Sealed {
        identifier: directory.identifier.to_owned(),
        team: directory.team.map(str::to_owned),
        hardened: directory.is_hardened(),
        code_digest: *short,
        requirement: signature.get(slot::REQUIREMENTS).and_then(requirement::text),
        entitlements: entitlements
            .and_then(|it| blob::content(it, blob::ENTITLEMENTS))
            .map(<[u8]>::to_vec),
        covers_bundle: directory.special(slot::RESOURCES).is_some(),
        seal,
    }
}
