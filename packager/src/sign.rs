//! Signing. A [`Signer`] holds a key and knows nothing of packages: a key file, a hardware token, a
//! program that asks a cloud's key service. What is signed, and how the signature is wrapped, is each
//! format's own business.

pub mod authenticode;
mod ber;
pub mod bundle;
mod certificate;
pub(crate) mod cms;
mod code;
mod hash;
mod identity;
mod key;
pub mod macho;
pub(crate) mod oid;
pub mod openpgp;
mod timestamp;
pub(crate) mod trust;

use std::{
    fmt,
    io::{self, Read, Write},
};

pub(crate) use self::hash::Hash;
pub use self::{
    certificate::Certificate,
    code::{CodeSigner, Timestamper},
    identity::{Identity, IdentityError, Purpose},
    key::{AskPassphrase, LocalKey},
    trust::{Seal, Trust, VerifyError},
};

/// What packages are signed with, by the kind of signature. A format takes what is for it.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Keys {
    /// For rpm and deb.
    pub openpgp: Option<openpgp::SigningKey>,
    /// For programs and installers for Windows.
    pub windows: Option<CodeSigner>,
    /// For programs for macOS.
    pub macos: Option<CodeSigner>,
    /// For installers for macOS.
    pub macos_installer: Option<CodeSigner>,
}

/// Something that can sign bytes.
pub trait Signer: fmt::Debug + Send + Sync {
    /// How it signs, which does not change.
    fn scheme(&self) -> Scheme;

    /// Signs `message`; hashing is part of the scheme. RSA gives PKCS #1 v1.5 (RFC 8017), the curves of
    /// NIST a DER-encoded `ECDSA-Sig-Value` (RFC 3279), Ed25519 64 bytes (RFC 8032).
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// Signs everything that `message` gives. A key that is given digests, or messages piece by piece,
    /// does it without holding all of it in memory, which this does.
    fn sign_all(&self, message: &mut dyn Read) -> Result<Vec<u8>, SignError> {
        let mut whole = Vec::new();
        message.read_to_end(&mut whole).map_err(SignError::Read)?;
        self.sign(&whole)
    }
}

/// An algorithm with its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme {
    RsaSha256,
    EcdsaP256Sha256,
    EcdsaP384Sha384,
    Ed25519,
}

impl Scheme {
    /// As people and other programs call it: `rsa-sha256`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::EcdsaP384Sha384 => "ecdsa-p384-sha384",
            Self::Ed25519 => "ed25519",
        }
    }
}

/// Why something could not be signed. Never shows a key or a passphrase.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    #[error("could not read what is to be signed")]
    Read(#[source] io::Error),
    #[error("could not write what was signed")]
    Write(#[source] io::Error),
    #[error("the {key} cannot be used: {reason}")]
    Key { key: &'static str, reason: String },
    #[error("the {what} cannot be signed: {reason}")]
    Unsignable { what: &'static str, reason: String },
    #[error("the signing key did not sign")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("there is no timestamp to be had")]
    Timestamp(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Passes the rest of `from` on to `out`.
pub(crate) fn copy(
    from: &mut (impl Read + ?Sized),
    out: &mut (impl Write + ?Sized),
) -> Result<(), SignError> {
    const CHUNK: usize = 1 << 18;
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => out.write_all(&buffer[..read]).map_err(SignError::Write)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SignError::Read(error)),
        }
    }
}
