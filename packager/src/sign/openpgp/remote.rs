//! Signatures by a key that somebody else holds, who hashes what he signs.

use std::io::{self, Read};

use pgp::{
    packet::{Signature, SignatureConfig, SignatureType},
    ser::Serialize as _,
    types::{
        EcdsaPublicParams, EddsaLegacyPublicParams, KeyDetails, Mpi, PublicParams, SignatureBytes,
        VerifyingKey,
    },
};
use sha2::{Sha256, Sha384, digest::DynDigest};

use super::key::refused;
use crate::sign::{Scheme, SignError, Signer};

/// How `key` signs, if somebody else can hold it.
pub(super) fn scheme(key: &dyn KeyDetails) -> Option<Scheme> {
    if let PublicParams::RSA(_) = key.public_params() {
        return Some(Scheme::RsaSha256);
    }
    if let PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Ed25519 { .. }) = key.public_params()
    {
        return Some(Scheme::Ed25519);
    }
    let PublicParams::ECDSA(curve) = key.public_params() else {
        return None;
    };
    match curve {
        EcdsaPublicParams::P256 { .. } => Some(Scheme::EcdsaP256Sha256),
        EcdsaPublicParams::P384 { .. } => Some(Scheme::EcdsaP384Sha384),
        EcdsaPublicParams::P521 { .. }
        | EcdsaPublicParams::Secp256k1 { .. }
        | EcdsaPublicParams::Unsupported { .. } => None,
    }
}

/// Signs what `content` gives; if it is text, its lines end in one line feed each.
pub(super) fn sign(
    config: SignatureConfig,
    (signer, key): (&dyn Signer, &impl VerifyingKey),
    content: &mut dyn Read,
) -> Result<Signature, SignError> {
    let mut normalized = Vec::new();
    let mut text;
    let content: &mut dyn Read = if config.typ == SignatureType::Text {
        content.read_to_end(&mut normalized).map_err(SignError::Read)?;
        let lines: Vec<_> = normalized.split(|byte| *byte == b'\n').collect();
        normalized = lines.join(&b"\r\n"[..]);
        text = &normalized[..];
        &mut text
    } else {
        content
    };
    let end = end(&config)?;
    let mut message = Hashing { inner: content.chain(&end[..]), hash: hash(signer.scheme()) };
    let raw = if signer.scheme() == Scheme::Ed25519 {
        // OpenPGP signs the hash as if it were the message.
        io::copy(&mut message, &mut io::sink()).map_err(SignError::Read)?;
        signer.sign(&message.hash.clone().finalize())?
    } else {
        signer.sign_all(&mut message)?
    };
    let digest = message.hash.finalize();
    let signature = bytes(signer.scheme(), &raw)?;
    key.verify(config.hash_alg, &digest, &signature).map_err(|_| SignError::Key {
        key: "OpenPGP key",
        reason: "what it signed is not verified by its certificate".to_owned(),
    })?;
    let start = [digest[0], digest[1]];
    Signature::from_config(config, start, signature).map_err(refused)
}

/// What is signed behind the content. Source: RFC 9580, 5.2.4.
fn end(config: &SignatureConfig) -> Result<Vec<u8>, SignError> {
    let packets = config.hashed_subpackets.to_bytes().map_err(refused)?;
    let length = u16::try_from(packets.len()).map_err(refused)?;
    let mut end = vec![
        config.version().into(),
        config.typ.into(),
        config.pub_alg.into(),
        config.hash_alg.into(),
    ];
    end.extend(length.to_be_bytes());
    end.extend(packets);
    let trailer = config.trailer(end.len()).map_err(refused)?;
    end.extend(trailer);
    Ok(end)
}

fn hash(scheme: Scheme) -> Box<dyn DynDigest> {
    match scheme {
        Scheme::RsaSha256 | Scheme::EcdsaP256Sha256 | Scheme::Ed25519 => Box::<Sha256>::default(),
        Scheme::EcdsaP384Sha384 => Box::<Sha384>::default(),
    }
}

fn bytes(scheme: Scheme, raw: &[u8]) -> Result<SignatureBytes, SignError> {
    let numbers = match scheme {
        Scheme::RsaSha256 => vec![raw],
        Scheme::Ed25519 => raw.chunks(32).collect(),
        Scheme::EcdsaP256Sha256 | Scheme::EcdsaP384Sha384 => {
            integers(raw).ok_or_else(|| SignError::Key {
                key: "OpenPGP key",
                reason: "what it gave is not an ECDSA signature".to_owned(),
            })?
        }
    };
    Ok(SignatureBytes::Mpis(numbers.into_iter().map(Mpi::from_slice).collect()))
}

/// The two numbers of an `ECDSA-Sig-Value` (RFC 3279, 2.2.3), whose curve is one of at most 384 bits:
/// all lengths are below 128.
fn integers(der: &[u8]) -> Option<Vec<&[u8]>> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 2;
    let (mut rest, after) = value(der, SEQUENCE)?;
    let mut integers = Vec::new();
    while !rest.is_empty() {
        let (integer, after) = value(rest, INTEGER)?;
        integers.push(integer);
        rest = after;
    }
    (after.is_empty() && integers.len() == 2).then_some(integers)
}

fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk()?;
    (found == tag && length < 0x80).then_some(())?;
    rest.split_at_checked(usize::from(length))
}

/// Hashes what is read through it.
struct Hashing<R> {
    inner: R,
    hash: Box<dyn DynDigest>,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}
