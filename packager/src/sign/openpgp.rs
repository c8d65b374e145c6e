//! OpenPGP (RFC 9580): what rpm, apt and debsig-verify check. Keys and signatures are of version 4,
//! which all of them read.
//!
//! A [`SigningKey`] comes from a secret key file, or from a certificate whose key somebody else holds, behind
//! a [`Signer`](super::Signer). A signature's time is that of what is signed, or that of the key if the key is
//! younger, so the same package and key give the same signature. [`Certificates`] verify.
//!
//! The curves and RSA are those of the `pgp` crate, as aws-lc-rs has no way to be put below it.

use std::io;

use super::SignError;

mod certificate;
mod key;
mod remote;
mod verify;

pub use crate::format::{deb::check_signatures as check_deb, rpm::check_signatures as check_rpm};

pub use self::{
    key::{SigningKey, needs_passphrase},
    verify::{Certificates, Found, Verdict},
};

/// Why a file cannot be used as a key. Never shows a passphrase.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    #[error("it is not an OpenPGP key: {reason}")]
    NotAKey { reason: String },
    #[error("it holds {count} keys, and one is needed")]
    Several { count: usize },
    #[error("it is a public key, and signing needs the secret one")]
    PublicKey,
    #[error("it is a secret key, and a public one is wanted")]
    SecretKey,
    #[error("its secret part is elsewhere, on a smart card or in another file")]
    Elsewhere,
    #[error("the key {fingerprint} is revoked")]
    Revoked { fingerprint: String },
    #[error("the key {fingerprint} expired on {on}")]
    Expired { fingerprint: String, on: jiff::civil::Date },
    #[error("neither the key {fingerprint} nor a subkey of it may sign")]
    CannotSign { fingerprint: String },
    #[error("the key {fingerprint} cannot be used: {reason}")]
    Unsupported { fingerprint: String, reason: String },
    #[error("it needs a passphrase")]
    NoPassphrase,
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    #[error("the certificate {fingerprint} is not that of the key that signs")]
    OtherKey { fingerprint: String },
}

/// Why signatures could not be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    #[error("could not read the package")]
    Read(#[source] io::Error),
    #[error("it is no {format}: {reason}")]
    Damaged { format: &'static str, reason: String },
}

impl From<VerifyError> for SignError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Read(error) => Self::Read(error),
            VerifyError::Damaged { format, reason } => Self::Unsignable { what: format, reason },
        }
    }
}
