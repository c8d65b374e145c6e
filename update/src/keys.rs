//! Signing keys: ed25519, in files encrypted with a passphrase.
//!
//! A key file is PKCS#8 PEM encrypted with scrypt and AES-256-CBC (RFC 5958, RFC 7914), which `openssl pkey` reads.

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

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

/// The directory with a repository's key files, `<role>.pem`.
#[derive(Debug, Clone)]
pub struct KeyDir(Utf8PathBuf);

impl KeyDir {
    /// The directory at `path`, which need not be there yet.
    pub fn new(path: impl Into<Utf8PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Utf8Path {
        &self.0
    }

    /// Reads and decrypts the key of `role`. A wrong passphrase is [`KeyError::WrongPassphrase`]: ask again.
    pub fn unlock(&self, role: TufRole, passphrase: &Passphrase) -> Result<SigningKey, KeyError> {
        let _ = (role, passphrase);
        unimplemented!()
    }
}

/// A key that can sign metadata.
#[derive(Debug)]
pub struct SigningKey {}

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
}
