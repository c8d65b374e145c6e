//! Signatures of others, checked against certificates.

use std::io::{self, Read};

use pgp::{
    armor::BlockType,
    composed::{PublicOrSecret, SignedPublicKey},
    packet::{Packet, PacketParser, Signature},
    types::{KeyDetails, Timestamp, VerifyingKey},
};

use super::{
    KeyError,
    certificate::{self, Standing},
    key,
};
use crate::{format::ReadSeek, package::SourceDate};

/// Public keys that are trusted.
#[derive(Debug, Clone, Default)]
pub struct Certificates(Vec<SignedPublicKey>);

/// A signature that something carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Who made it, by his own word: a fingerprint or, from old programs, a key ID; in capital hexadecimal.
    pub issuer: Option<String>,
    /// When, by his own word.
    pub created: Option<SourceDate>,
    /// Like `RSA with SHA256`.
    pub algorithm: String,
    pub verdict: Verdict,
}

/// What there is to say of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is valid. `fingerprint` is that of the primary key of the certificate, in capital hexadecimal, `user`
    /// is whom the certificate is for.
    Good { fingerprint: String, user: Option<String> },
    /// None of the certificates has the key.
    Unknown,
    /// It must not be trusted.
    Bad { reason: String },
}

impl Certificates {
    /// Every public key in `file`, armored or binary; at least one.
    pub fn parse(file: &[u8]) -> Result<Self, KeyError> {
        let mut certificates = Vec::new();
        for key in key::read(file)? {
            match key {
                PublicOrSecret::Public(certificate) => certificates.push(certificate),
                PublicOrSecret::Secret(_) => return Err(KeyError::SecretKey),
            }
        }
        if certificates.is_empty() {
            return Err(KeyError::NotAKey { reason: "there is no key in it".to_owned() });
        }
        Ok(Self(certificates))
    }

    /// These and `others`.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Their fingerprints, in capital hexadecimal.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<String> {
        self.0.iter().map(|it| certificate::fingerprint(&it.primary_key)).collect()
    }

    /// All of them, armored.
    #[must_use]
    pub fn armored(&self) -> String {
        let mut armored = Vec::new();
        // rpm reads no key without a checksum.
        pgp::armor::write(&self.0, BlockType::PublicKey, &mut armored, None, true)
            .expect("writing to memory does not fail");
        String::from_utf8_lossy(&armored).into_owned()
    }

    /// What there is to say of each of `signatures`, binary and detached, over `content`, which is read
    /// from its start once for each. Fails only if `content` cannot be read.
    pub fn check(&self, signatures: &[u8], content: &mut dyn ReadSeek) -> io::Result<Vec<Found>> {
        let mut all = Vec::new();
        for packet in PacketParser::new(signatures) {
            match packet {
                Ok(Packet::Signature(signature)) => all.push(self.found(&signature, content)?),
                Ok(_) => all.push(Found::broken("it is not a signature")),
                Err(error) => {
                    all.push(Found::broken(&error.to_string()));
                    break;
                }
            }
        }
        Ok(all)
    }

    fn found(&self, signature: &Signature, content: &mut dyn ReadSeek) -> io::Result<Found> {
        let fingerprints = signature.issuer_fingerprint().into_iter().map(|it| format!("{it:X}"));
        let ids = signature.issuer_key_id().into_iter().map(|it| hex::encode_upper(it.as_ref()));
        let created = signature.created();
        Ok(Found {
            issuer: fingerprints.chain(ids).next(),
            created: created.map(|it| SourceDate::from_unix(it.as_secs())),
            algorithm: algorithm(signature),
            verdict: self.verdict(signature, content)?,
        })
    }

    fn verdict(&self, signature: &Signature, content: &mut dyn ReadSeek) -> io::Result<Verdict> {
        let mut verdict = Verdict::Unknown;
        for certificate in &self.0 {
            for (key, standing) in keys(certificate) {
                if !made_by(signature, key) {
                    continue;
                }
                content.rewind()?;
                let mut reading = Watched { inner: content, error: None };
                let valid = verified(signature, key, &mut reading);
                if let Some(error) = reading.error {
                    return Err(error);
                }
                let checked = valid.and_then(|()| timely(signature, standing.as_ref()));
                match checked {
                    Ok(()) => return Ok(good(certificate)),
                    Err(reason) => verdict = Verdict::Bad { reason },
                }
            }
        }
        Ok(verdict)
    }
}

impl Found {
    fn broken(reason: &str) -> Self {
        Self {
            issuer: None,
            created: None,
            algorithm: "unknown".to_owned(),
            verdict: Verdict::Bad { reason: reason.to_owned() },
        }
    }

    /// Whether it is valid and of a trusted key.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self.verdict, Verdict::Good { .. })
    }
}

/// A key of a certificate, with what the certificate says of it.
type Key<'a> = (&'a dyn Verifies, Option<Standing>);

/// What primary keys and subkeys have in common.
trait Verifies: KeyDetails {
    fn check(&self, signature: &Signature, content: &mut dyn Read) -> Result<(), String>;
}

impl<K: VerifyingKey> Verifies for K {
    fn check(&self, signature: &Signature, content: &mut dyn Read) -> Result<(), String> {
        signature.verify(self, content).map_err(|error| error.to_string())
    }
}

fn keys(certificate: &SignedPublicKey) -> Vec<Key<'_>> {
    let primary = certificate::of_primary(certificate);
    let revoked = primary.is_none_or(|it| it.revoked);
    let subkeys = certificate.public_subkeys.iter().map(|subkey| {
        let standing = certificate::of_subkey(certificate, subkey).map(|own| {
            let until = own.until.into_iter().chain(primary.and_then(|it| it.until)).min();
            Standing { revoked: own.revoked || revoked, until, ..own }
        });
        (&subkey.key as &dyn Verifies, standing)
    });
    let first = (&certificate.primary_key as &dyn Verifies, primary);
    std::iter::once(first).chain(subkeys).collect()
}

fn made_by(signature: &Signature, key: &dyn Verifies) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if fingerprints.is_empty() {
        return signature.issuer_key_id().into_iter().any(|id| *id == key.legacy_key_id());
    }
    fingerprints.into_iter().any(|it| *it == key.fingerprint())
}

fn verified(
    signature: &Signature,
    key: &dyn Verifies,
    content: &mut dyn Read,
) -> Result<(), String> {
    use pgp::crypto::hash::HashAlgorithm::{Md5, Ripemd160, Sha1};
    if let Some(weak @ (Md5 | Sha1 | Ripemd160)) = signature.hash_alg() {
        return Err(format!("{weak} does not protect against forgery any more"));
    }
    key.check(signature, content)
        .map_err(|_| "it does not go with what it should be of: one of them was changed".to_owned())
}

/// Whether the key was allowed to sign when it did.
fn timely(signature: &Signature, standing: Option<&Standing>) -> Result<(), String> {
    let standing = standing.ok_or("its key does not belong to the certificate it comes with")?;
    let created = signature.created().map(Timestamp::as_secs).ok_or("it has no date")?;
    if standing.revoked {
        return Err("its key is revoked".to_owned());
    }
    if !standing.is_valid(created) {
        return Err("its key had expired when it was made".to_owned());
    }
    if !standing.signs {
        return Err("its key may not sign".to_owned());
    }
    Ok(())
}

fn good(certificate: &SignedPublicKey) -> Verdict {
    let user = certificate.details.users.first();
    Verdict::Good {
        fingerprint: certificate::fingerprint(&certificate.primary_key),
        user: user.map(|user| String::from_utf8_lossy(user.id.id()).into_owned()),
    }
}

fn algorithm(signature: &Signature) -> String {
    let config = signature.config();
    config.map_or_else(
        || "unknown".to_owned(),
        |config| format!("{:?} with {}", config.pub_alg, config.hash_alg),
    )
}

/// Keeps the error of a reader that somebody else reads and reports in his own words.
struct Watched<'a> {
    inner: &'a mut dyn ReadSeek,
    error: Option<io::Error>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).inspect_err(|error| {
            self.error = Some(io::Error::new(error.kind(), error.to_string()));
        })
    }
}
