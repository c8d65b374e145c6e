//! The master key: private signing keys are encrypted with what is derived from it, so that a copy
//! of the database signs nothing.
//!
//! It is `auth.jwt.secret` where that is set, which several servers with one database need. Else it
//! is a file in the data directory, which only the server's own user can read: a backup of a
//! PostgreSQL does not contain it, and nobody has to think of one to begin with.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    hkdf::{HKDF_SHA256, Prk, Salt},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use camino::{Utf8Path, Utf8PathBuf};
use zeroize::Zeroizing;

use crate::config::Config;

/// The file's name below the data directory.
const FILE: &str = "master.key";
const NONCE: usize = 12;

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MasterKeyError {
    #[error("could not read the master key `{path}`")]
    Read { path: Utf8PathBuf, source: io::Error },
    #[error("could not write the master key `{path}`")]
    Write { path: Utf8PathBuf, source: io::Error },
    #[error("`{path}` holds no master key; restore it, or remove it to have another made")]
    Unusable { path: Utf8PathBuf },
    #[error("others can read the master key `{path}`; run `chmod 600 {path}`")]
    Exposed { path: Utf8PathBuf },
}

/// Encrypts and decrypts private keys.
pub(in crate::fleet) struct MasterKey {
    key: RandomizedNonceKey,
    name: String,
}

impl MasterKey {
    /// The configured one, else the file's, which is made when it is not there.
    pub(in crate::fleet) fn load(config: &Config) -> Result<Self, MasterKeyError> {
        match &config.auth.jwt.secret {
            Some(secret) => Ok(Self::derived_from(secret.expose().as_bytes())),
            None => Ok(Self::derived_from(&read_or_make(&config.data_dir.join(FILE))?)),
        }
    }

    fn derived_from(secret: &[u8]) -> Self {
        let root = Salt::new(HKDF_SHA256, b"fleetd master key").extract(secret);
        let key = RandomizedNonceKey::new(&AES_256_GCM, &*derive(&root, b"signing keys"))
            .expect("32 bytes are an AES-256 key");
        Self { key, name: hex::encode(&derive(&root, b"name")[..8]) }
    }

    /// Tells this master key from others, and nothing else about it.
    pub(in crate::fleet) fn name(&self) -> &str {
        &self.name
    }

    /// Encrypts `secret`, which can be opened again only with the same `label`.
    pub(in crate::fleet) fn seal(&self, label: &str, secret: &[u8]) -> String {
        let mut sealed = secret.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(label.as_bytes()), &mut sealed)
            .expect("a few kilobytes are not too long for AES-GCM");
        STANDARD.encode([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// What was sealed; nothing when it was sealed by another key or is damaged.
    pub(in crate::fleet) fn open(&self, label: &str, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = STANDARD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_at_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(text.to_vec());
        let length =
            self.key.open_in_place(nonce, Aad::from(label.as_bytes()), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MasterKey").field("name", &self.name).finish_non_exhaustive()
    }
}

fn derive(root: &Prk, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    root.expand(&[purpose], HKDF_SHA256)
        .and_then(|output| output.fill(&mut *key))
        .expect("HKDF-SHA-256 gives 32 bytes at once");
    key
}

fn read_or_make(path: &Utf8Path) -> Result<Zeroizing<Vec<u8>>, MasterKeyError> {
    match fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => {
            let bytes = STANDARD.decode(text.trim()).map(Zeroizing::new).ok();
            let usable = bytes.filter(|bytes| bytes.len() == 32);
            let key = usable.ok_or_else(|| MasterKeyError::Unusable { path: path.to_owned() })?;
            check_mode(path)?;
            Ok(key)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(path).map_err(|source| MasterKeyError::Write { path: path.to_owned(), source })?;
            read_or_make(path)
        }
        Err(source) => Err(MasterKeyError::Read { path: path.to_owned(), source }),
    }
}

fn check_mode(path: &Utf8Path) -> Result<(), MasterKeyError> {
    let meta = fs::metadata(path)
        .map_err(|source| MasterKeyError::Read { path: path.to_owned(), source })?;
    if meta.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(MasterKeyError::Exposed { path: path.to_owned() })
}

/// Written beside and linked into place: of two servers that start at once, one makes it, and a
/// half-written one is never read.
fn make(path: &Utf8Path) -> io::Result<()> {
    let secret = Zeroizing::new(rand::random::<[u8; 32]>());
    let text = Zeroizing::new(STANDARD.encode(*secret) + "\n");
    let beside = path.with_extension(format!("key.{}", std::process::id()));
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = match fs::hard_link(&beside, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    };
    fs::remove_file(&beside)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_label_open_what_was_sealed() {
        let key = MasterKey::derived_from(&[7; 32]);
        let sealed = key.seal("a", b"secret");
        assert!(!sealed.contains("secret"));
        assert_eq!(key.open("a", &sealed).unwrap().as_slice(), b"secret");
        assert!(key.open("b", &sealed).is_none());
        let other = MasterKey::derived_from(&[8; 32]);
        assert!(other.open("a", &sealed).is_none());
        assert_ne!(other.name(), key.name());
        for damaged in ["", "AAAA", "not base64", &sealed[..sealed.len() - 4]] {
            assert!(key.open("a", damaged).is_none(), "{damaged}");
        }
    }

    #[test]
    fn the_file_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join(FILE)).unwrap();
        let made = read_or_make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(*read_or_make(&path).unwrap(), *made);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(read_or_make(&path), Err(MasterKeyError::Exposed { .. })));
        fs::write(&path, "short").unwrap();
        assert!(matches!(read_or_make(&path), Err(MasterKeyError::Unusable { .. })));
    }
}
