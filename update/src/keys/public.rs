//! The public halves of keys, as files that openssl reads too.

use std::{collections::HashMap, fs};

use camino::Utf8Path;
use pkcs8::{
    Document, LineEnding, ObjectIdentifier,
    der::{Decode as _, Encode as _, asn1::BitStringRef},
    spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef},
};
use tough::schema::key::{Ed25519Key, Ed25519Scheme, Key};

use super::KeyError;

/// A key that signatures can be checked with: ed25519, P-256 or RSA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    pub(crate) key: Key,
}

/// The first line of a public key file names this (RFC 7468).
const LABEL: &str = "PUBLIC KEY";

/// RFC 8410.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

impl PublicKey {
    pub(crate) fn new(key: Key) -> Self {
        Self { key }
    }

    /// Reads a file of [`from_pem`](Self::from_pem)'s kind.
    pub fn read(path: &Utf8Path) -> Result<Self, KeyError> {
        let pem = fs::read_to_string(path)
            .map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
        Self::from_pem(&pem).map_err(|source| KeyError::Public { path: path.to_owned(), source })
    }

    /// Takes a SubjectPublicKeyInfo in PEM (RFC 5280, RFC 7468), what `openssl pkey -pubout` writes.
    pub fn from_pem(pem: &str) -> Result<Self, PublicKeyError> {
        let (label, der) = Document::from_pem(pem).map_err(|_| PublicKeyError::NotPem)?;
        let info = SubjectPublicKeyInfoRef::from_der(der.as_bytes())
            .ok()
            .filter(|_| label == LABEL)
            .ok_or(PublicKeyError::NotPem)?;
        if info.algorithm.oid == ED25519 {
            return Ok(Self::new(ed25519(info.subject_public_key.raw_bytes())));
        }
        // Metadata carries the text, so it is made canonical: another line length is no other key.
        let pem = der.to_pem(LABEL, LineEnding::LF).map_err(|_| PublicKeyError::NotPem)?;
        match pem.trim_end().parse() {
            Ok(key) => Ok(Self::new(key)),
            Err(_) => Err(PublicKeyError::UnknownKind),
        }
    }

    /// What [`from_pem`](Self::from_pem) reads.
    pub fn to_pem(&self) -> String {
        let text = match &self.key {
            Key::Ed25519 { keyval, .. } => ed25519_pem(&keyval.public),
            Key::Rsa { .. } | Key::Ecdsa { .. } | Key::EcdsaOld { .. } => {
                let json = serde_json::to_value(&self.key).expect("a key is plain data");
                json["keyval"]["public"].as_str().unwrap_or_default().to_owned()
            }
        };
        format!("{}\n", text.trim_end())
    }

    /// TUF's name of it: the SHA-256 of its canonical form, in lower-case hexadecimal.
    pub fn id(&self) -> String {
        hex::encode(&self.key.key_id().expect("a key has a canonical form")[..])
    }

    /// `ed25519`, `ecdsa` or `rsa`.
    pub fn kind(&self) -> &'static str {
        match &self.key {
            Key::Ed25519 { .. } => "ed25519",
            Key::Ecdsa { .. } | Key::EcdsaOld { .. } => "ecdsa",
            Key::Rsa { .. } => "rsa",
        }
    }
}

/// Text that is no public key for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// Something else.
    #[error("it is not a public key in PEM")]
    NotPem,
    /// A curve or algorithm that not every client reads.
    #[error("the key is neither ed25519 nor P-256 nor RSA")]
    UnknownKind,
}

fn ed25519(public: &[u8]) -> Key {
    Key::Ed25519 {
        keyval: Ed25519Key { public: public.to_vec().into(), _extra: HashMap::new() },
        scheme: Ed25519Scheme::Ed25519,
        _extra: HashMap::new(),
    }
}

fn ed25519_pem(public: &[u8]) -> String {
    let info = SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef { oid: ED25519, parameters: None },
        subject_public_key: BitStringRef::from_bytes(public).expect("32 bytes fit"),
    };
    let der = info.to_der().expect("a key of 32 bytes has a DER form");
    Document::try_from(der)
        .and_then(|it| it.to_pem(LABEL, LineEnding::LF))
        .expect("DER has a PEM form")
}
