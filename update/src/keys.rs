//! Signing keys: ed25519, in files encrypted with a passphrase.
//!
//! A key file is PKCS#8 PEM encrypted with scrypt and AES-256-CBC (RFC 5958, RFC 7914), which
//! `openssl pkey` reads. A P-256 or RSA key in such a file signs as well.

use std::{fmt, io};

use camino::Utf8PathBuf;
use tough::sign::Sign;

mod dir;
mod gotuf;
mod public;
mod remote;

pub use dir::{Algorithm, KeyDir, KeyFile, KeyName, KeyNameError, NewKey, is_encrypted};
pub use public::{PublicKey, PublicKeyError};

/// A role of TUF's that signs metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TufRole {
    /// Says whose keys count; kept offline.
    Root,
    /// Says which files there are.
    Targets,
    /// Says which metadata belongs together.
    Snapshot,
    /// Says what is newest.
    Timestamp,
}

impl TufRole {
    /// Every role, in the order their metadata is signed.
    pub const ALL: [Self; 4] = [Self::Root, Self::Targets, Self::Snapshot, Self::Timestamp];

    /// The role called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// The role's name, e.g. `snapshot`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        }
    }
}

impl fmt::Display for TufRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a key file is encrypted with. Never empty; wiped from memory when dropped.
#[derive(Clone)]
pub struct Passphrase(zeroize::Zeroizing<String>);

impl Passphrase {
    /// Takes `text` as it is; refuses an empty one.
    pub fn new(text: String) -> Result<Self, EmptyPassphrase> {
        if text.is_empty() { Err(EmptyPassphrase) } else { Ok(Self(text.into())) }
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A passphrase that protects nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the passphrase is empty")]
pub struct EmptyPassphrase;

/// A key that can sign metadata, wherever its private part is.
pub struct SigningKey {
    pub(crate) signer: Box<dyn Sign>,
}

impl SigningKey {
    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey::new(self.signer.tuf_key())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public().id()).finish()
    }
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file decrypts to nothing sensible.
    #[error("the passphrase does not open `{path}`")]
    WrongPassphrase {
        /// The key file.
        path: Utf8PathBuf,
    },
    /// There is one already; nothing replaces a key.
    #[error("the key `{path}` is there already")]
    Exists {
        /// The key file.
        path: Utf8PathBuf,
    },
    /// The file beside a key file that holds its public half makes no sense.
    #[error("could not understand the public key `{path}`")]
    Public {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: PublicKeyError,
    },
    /// No such file, or not readable.
    #[error("could not read the key `{path}`")]
    Read {
        /// The key file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is something else.
    #[error("`{path}` is not an encrypted private key (PKCS#8 PEM)")]
    NotEncryptedKey {
        /// The key file.
        path: Utf8PathBuf,
        /// Why.
        source: pkcs8::Error,
    },
    /// A private key that everybody who has the file can use.
    #[error("the key `{path}` is not encrypted")]
    Unencrypted {
        /// The key file.
        path: Utf8PathBuf,
    },
    /// A file with more than one key, where one was asked for.
    #[error("`{path}` holds several keys")]
    Several {
        /// The key file.
        path: Utf8PathBuf,
    },
    /// Not of a kind that every client reads.
    #[error("the key `{path}` is neither ed25519 nor P-256 nor RSA")]
    UnknownKind {
        /// The key file.
        path: Utf8PathBuf,
    },
    /// The system gives no randomness.
    #[error("could not generate a key")]
    Generate,
    /// The key cannot be encrypted.
    #[error("could not encrypt the key `{path}`")]
    Encrypt {
        /// The key file.
        path: Utf8PathBuf,
        /// Why.
        source: pkcs8::Error,
    },
    /// The key file cannot be written.
    #[error("could not write the key `{path}`")]
    Write {
        /// The key file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
}
