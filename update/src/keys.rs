//! Signing keys: ed25519, in files encrypted with a passphrase.
//!
//! A key file is PKCS#8 PEM encrypted with scrypt and AES-256-CBC (RFC 5958, RFC 7914), which
//! `openssl pkey` reads. A P-256 key in such a file signs as well.

use std::{fmt, fs, io};

use aws_lc_rs::signature::Ed25519KeyPair;
use camino::{Utf8Path, Utf8PathBuf};
use pkcs8::{
    EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument, der::Decode as _,
};
use tough::sign::Sign;

use crate::disk::{self, Access};

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

    /// The key file of `role`.
    pub fn file(&self, role: TufRole) -> Utf8PathBuf {
        self.0.join(format!("{role}.pem"))
    }

    /// Reads and decrypts the key of `role`. A wrong passphrase is [`KeyError::WrongPassphrase`]:
    /// ask again.
    pub fn unlock(&self, role: TufRole, passphrase: &Passphrase) -> Result<SigningKey, KeyError> {
        let path = self.file(role);
        let pem = fs::read_to_string(&path)
            .map_err(|source| KeyError::Read { path: path.clone(), source })?;
        let not_a_key = |source| KeyError::NotEncryptedKey { path: path.clone(), source };
        let (label, sealed) =
            SecretDocument::from_pem(&pem).map_err(|error| not_a_key(error.into()))?;
        if label != SEALED_LABEL {
            return Err(KeyError::Unencrypted { path });
        }
        let sealed = EncryptedPrivateKeyInfoRef::from_der(sealed.as_bytes())
            .map_err(|error| not_a_key(error.into()))?;
        let opened = sealed.decrypt(passphrase.0.as_bytes());
        let opened = opened.map_err(|_| KeyError::WrongPassphrase { path: path.clone() })?;
        let signer = tough::sign::parse_keypair(opened.as_bytes())
            .map_err(|_| KeyError::UnknownKind { path })?;
        Ok(SigningKey { signer: Box::new(signer) })
    }

    /// Makes a key for `role` and writes its file, for the owner alone.
    pub(crate) fn generate(
        &self,
        role: TufRole,
        passphrase: &Passphrase,
    ) -> Result<SigningKey, KeyError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Generate)?;
        let plain = pair.to_pkcs8v1().map_err(|_| KeyError::Generate)?;
        let path = self.file(role);
        let sealed = seal(plain.as_ref(), passphrase)
            .map_err(|source| KeyError::Encrypt { path: path.clone(), source })?;
        let pem = sealed.to_pem(SEALED_LABEL, LineEnding::LF);
        let pem =
            pem.map_err(|error| KeyError::Encrypt { path: path.clone(), source: error.into() })?;
        disk::replace(path.as_std_path(), pem.as_bytes(), Access::Owner)
            .map_err(|source| KeyError::Write { path, source })?;
        Ok(SigningKey { signer: Box::new(pair) })
    }
}

/// The first line of an encrypted key file names this (RFC 7468).
const SEALED_LABEL: &str = "ENCRYPTED PRIVATE KEY";

fn seal(plain: &[u8], passphrase: &Passphrase) -> Result<SecretDocument, pkcs8::Error> {
    PrivateKeyInfoRef::from_der(plain)?.encrypt(passphrase.0.as_bytes())
}

/// A key that can sign metadata, wherever its private part is.
pub struct SigningKey {
    pub(crate) signer: Box<dyn Sign>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.signer.tuf_key().key_id().ok()).finish()
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
    /// Neither ed25519 nor P-256.
    #[error("the key `{path}` is neither ed25519 nor P-256")]
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
