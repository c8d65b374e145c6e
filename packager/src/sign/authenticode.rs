//! Authenticode, the signatures of Windows. Source: Microsoft's "Windows Authenticode Portable
//! Executable Signature Format", and what signtool and osslsigncode write.
//!
//! What is signed is a digest of the file, [`IndirectData`]; how it is taken depends on the kind of
//! file: [`pe`] for programs, [`crate::format::msi`] for installers.

pub mod pe;

use cms::signed_data::EncapsulatedContentInfo;
use der::{
    Any, Decode as _, Encode as _, Sequence, Tag,
    asn1::{ObjectIdentifier, OctetString},
};
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::{
    CodeSigner, Hash, Seal, SignError, Trust, VerifyError,
    cms::{Message, Opened, attribute, unencodable},
    oid, trust,
};

/// What kind of file a signature is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject {
    Program,
    Installer,
}

/// `SpcIndirectDataContent`: the digest of a file.
#[derive(Sequence)]
struct IndirectData {
    kind: Kind,
    digest: DigestInfo,
}

#[derive(Sequence)]
struct Kind {
    oid: ObjectIdentifier,
    value: Any,
}

#[derive(Sequence)]
struct DigestInfo {
    algorithm: AlgorithmIdentifierOwned,
    digest: OctetString,
}

/// `SpcPeImageData` as signtool writes it: no flags, and an empty file name.
const PE_IMAGE: [u8; 11] = [0x30, 9, 3, 1, 0, 0xa0, 4, 0xa2, 2, 0x80, 0];
/// `SpcSipinfo`: version 1, the identifier of what reads an msi, and five numbers that are zero.
const MSI_INFO: [u8; 38] = [
    0x30, 0x24, 2, 1, 1, 4, 0x10, 0xf1, 0x10, 0x0c, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46, 2,
    1, 0, 2, 1, 0, 2, 1, 0, 2, 1, 0, 2, 1, 0,
];

impl Subject {
    fn kind(self) -> der::Result<Kind> {
        let (oid, value) = match self {
            Self::Program => (oid::SPC_PE_IMAGE, PE_IMAGE.as_slice()),
            Self::Installer => (oid::SPC_SIP_INFO, MSI_INFO.as_slice()),
        };
        Ok(Kind { oid, value: Any::from_der(value)? })
    }
}

/// The hash that a file signed by `by` is digested with.
pub(crate) fn hash(by: &CodeSigner) -> Hash {
    by.identity.scheme().hash()
}

/// The signature of a file with the digest `digest`, by [`hash`]. `name` is what Windows shows to who
/// starts it.
pub(crate) fn sign(
    subject: Subject,
    digest: &[u8],
    name: Option<&str>,
    by: &CodeSigner,
) -> Result<Vec<u8>, SignError> {
    let data = IndirectData {
        kind: subject.kind().map_err(unencodable)?,
        digest: DigestInfo {
            algorithm: hash(by).algorithm(),
            digest: OctetString::new(digest).map_err(unencodable)?,
        },
    };
    let content = Any::encode_from(&data).map_err(unencodable)?;
    let encapsulated = EncapsulatedContentInfo {
        econtent_type: oid::SPC_INDIRECT_DATA,
        econtent: Some(content.clone()),
    };
    Message {
        content: encapsulated,
        signed: content.value(),
        attributes: vec![
            attribute(oid::SPC_STATEMENT_TYPE, vec![oid::SPC_INDIVIDUAL])?,
            attribute(oid::SPC_OPUS_INFO, opus(name).map_err(unencodable)?)?,
        ],
        timestamp: oid::SPC_TIMESTAMP,
    }
    .sign(by)
}

/// `SpcSpOpusInfo` with a name in UTF-16, or with nothing.
fn opus(name: Option<&str>) -> der::Result<Any> {
    let text: Vec<_> =
        name.iter().flat_map(|it| it.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    let tagged = |number, constructed, value: Vec<u8>| {
        Any::new(Tag::ContextSpecific { number, constructed }, value)?.to_der()
    };
    let number = der::TagNumber::N0;
    let name = if name.is_some() {
        tagged(number, true, tagged(number, false, text)?)?
    } else {
        Vec::new()
    };
    Any::new(Tag::Sequence, name)
}

/// A signature that was read: with what its file has to be digested, and to what.
pub(crate) struct Signature {
    message: Opened,
    pub(crate) hash: Hash,
    digest: Vec<u8>,
}

impl Signature {
    /// Reads a signature, and not what fills up its place after it.
    pub(crate) fn read(bytes: &[u8], subject: Subject) -> Result<Self, VerifyError> {
        let damaged = |_| VerifyError::Malformed { what: "signature" };
        let message = Opened::read(bytes)?;
        let content = message.content.econtent.as_ref();
        let content = content.filter(|_| message.content.econtent_type == oid::SPC_INDIRECT_DATA);
        let content = content.ok_or(VerifyError::Malformed { what: "signature" })?;
        let data: IndirectData = content.decode_as().map_err(damaged)?;
        if data.kind.oid != subject.kind().map_err(damaged)?.oid {
            return Err(VerifyError::Malformed { what: "kind of file in the signature" });
        }
        let hash = Hash::of(data.digest.algorithm.oid).ok_or(VerifyError::Algorithm)?;
        Ok(Self { hash, digest: data.digest.digest.as_bytes().to_vec(), message })
    }

    /// Checks it for a file whose digest by [`Signature::hash`] is `digest`.
    pub(crate) fn verify(&self, digest: &[u8], trust: &Trust) -> Result<Seal, VerifyError> {
        if self.digest != digest {
            return Err(VerifyError::Changed);
        }
        let content = self.message.content.econtent.as_ref();
        let signed = content.map(Any::value).unwrap_or_default();
        trust::verify(&self.message, signed, (oid::CODE_SIGNING, oid::SPC_TIMESTAMP), trust)
    }
}
