//! The directory with a repository's key files.

use std::{fmt, fs, io, str::FromStr};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use camino::{Utf8Path, Utf8PathBuf};
use pkcs8::{
    EncryptedPrivateKeyInfoRef, LineEnding, ObjectIdentifier, PrivateKeyInfoRef, SecretDocument,
    der::{
        Decode as _,
        asn1::{AnyRef, OctetStringRef},
    },
    spki::AlgorithmIdentifierRef,
};

use super::{KeyError, Passphrase, PublicKey, SigningKey, gotuf};
use crate::disk::{self, Access};

/// What a key file is called without its ending: small letters, digits and hyphens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for KeyName {
    type Err = KeyNameError;

    fn from_str(text: &str) -> Result<Self, KeyNameError> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if !text.is_empty() && text.len() <= 64 && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyNameError(text.to_owned()))
        }
    }
}

/// Text that cannot name a key or a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name (small letters, digits and hyphens)")]
pub struct KeyNameError(String);

/// What kind of key to make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// What every client reads and nobody can get wrong.
    #[default]
    Ed25519,
    /// ECDSA with NIST's P-256, which security tokens and key services have.
    P256,
}

/// A key in a directory of keys, as far as it can be known without its passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// What it is called.
    pub name: KeyName,
    /// Its public half.
    pub public: PublicKey,
}

/// The directory with a repository's keys: `<name>.pem`, encrypted, and `<name>.pub`.
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

    /// The file of the key called `name`; the first key of a role has the role's name.
    pub fn file(&self, name: impl fmt::Display) -> Utf8PathBuf {
        self.0.join(format!("{name}.pem"))
    }

    /// Every key that has its public half beside it, by name. A directory that is not there holds
    /// none.
    pub fn list(&self) -> Result<Vec<KeyFile>, KeyError> {
        let unreadable = |source| KeyError::Read { path: self.0.clone(), source };
        let entries = match self.0.read_dir_utf8() {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(error)),
        };
        let mut keys = Vec::new();
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().strip_suffix(".pub").and_then(|it| it.parse().ok());
            if let Some(name) = name {
                keys.push(KeyFile { name, public: PublicKey::read(entry.path())? });
            }
        }
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(keys)
    }

    /// Reads and decrypts the key called `name`. A wrong passphrase is
    /// [`KeyError::WrongPassphrase`]: ask again.
    pub fn unlock(
        &self,
        name: impl fmt::Display,
        passphrase: &Passphrase,
    ) -> Result<SigningKey, KeyError> {
        let path = self.file(name);
        let opened = open(&path, passphrase)?;
        signing_key(&opened, path)
    }

    /// Makes a key called `name` and writes its files, the private one for the owner alone.
    pub fn generate(
        &self,
        name: impl fmt::Display,
        algorithm: Algorithm,
        passphrase: &Passphrase,
    ) -> Result<SigningKey, KeyError> {
        self.draft(name, algorithm)?.keep(passphrase)
    }

    /// A key to be called `name`, of which no file is written yet.
    pub fn draft(&self, name: impl fmt::Display, algorithm: Algorithm) -> Result<NewKey, KeyError> {
        let plain = match algorithm {
            Algorithm::Ed25519 => Ed25519KeyPair::generate().and_then(|it| it.to_pkcs8v1()),
            Algorithm::P256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
                .and_then(|it| it.to_pkcs8v1()),
        };
        let plain = plain.map_err(|_| KeyError::Generate)?;
        let path = self.file(&name);
        let plain = SecretDocument::try_from(plain.as_ref()).map_err(|error| {
            KeyError::NotEncryptedKey { path: path.clone(), source: error.into() }
        })?;
        let key = signing_key(&plain, path)?;
        Ok(NewKey { dir: self.clone(), name: name.to_string(), plain, key })
    }

    /// Takes the key in the file `from` into this directory, under `name`; `opens` decrypts that
    /// file, if it is encrypted, and `passphrase` the new one.
    pub fn import(
        &self,
        name: &KeyName,
        from: &Utf8Path,
        (opens, passphrase): (Option<&Passphrase>, &Passphrase),
    ) -> Result<SigningKey, KeyError> {
        let [key] = <[_; 1]>::try_from(self.take(name, from, opens)?)
            .map_err(|_| KeyError::Several { path: from.to_owned() })?;
        key.keep(passphrase)
    }

    /// The keys in the file `from`, to be called `name`, `name-2` and so on here; `opens` decrypts it,
    /// if it is encrypted. Only key files of go-tuf hold several.
    pub fn take(
        &self,
        name: &KeyName,
        from: &Utf8Path,
        opens: Option<&Passphrase>,
    ) -> Result<Vec<NewKey>, KeyError> {
        let all = match opens {
            _ if gotuf::is_sealed(from).is_some() => gotuf::open(from, opens)?,
            Some(opens) => vec![open(from, opens)?],
            None => vec![plain_key(from)?],
        };
        let named = all.into_iter().zip(1_u32..).map(|(plain, number)| {
            let key = signing_key(&plain, from.to_owned())?;
            let name = if number == 1 { name.to_string() } else { format!("{name}-{number}") };
            Ok(NewKey { dir: self.clone(), name, plain, key })
        });
        named.collect()
    }

    /// Encrypts the key called `name` anew: `old` opens it, `new` opens it from then on.
    pub fn change_passphrase(
        &self,
        name: &KeyName,
        (old, new): (&Passphrase, &Passphrase),
    ) -> Result<(), KeyError> {
        let path = self.file(name);
        let plain = open(&path, old)?;
        write_sealed(&path, plain.as_bytes(), new)
    }
}

/// A key that is nowhere but in memory.
pub struct NewKey {
    dir: KeyDir,
    name: String,
    plain: SecretDocument,
    key: SigningKey,
}

impl NewKey {
    /// What it is to be called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// The same in another directory.
    pub(crate) fn keep_in(
        self,
        dir: &KeyDir,
        passphrase: &Passphrase,
    ) -> Result<SigningKey, KeyError> {
        Self { dir: dir.clone(), ..self }.keep(passphrase)
    }

    /// Writes its files, the private one encrypted and for the owner alone. Nothing replaces a key.
    pub fn keep(self, passphrase: &Passphrase) -> Result<SigningKey, KeyError> {
        let path = self.dir.file(&self.name);
        if path.symlink_metadata().is_ok() {
            return Err(KeyError::Exists { path });
        }
        let written = |path: &Utf8Path| {
            let path = path.to_owned();
            move |source| KeyError::Write { path, source }
        };
        let dir = self.dir.path();
        disk::make_dir(dir.as_std_path(), Access::Owner).map_err(written(dir))?;
        write_sealed(&path, self.plain.as_bytes(), passphrase)?;
        let public = path.with_extension("pub");
        let pem = self.key.public().to_pem();
        disk::replace(public.as_std_path(), pem.as_bytes(), Access::World)
            .map_err(written(&public))?;
        Ok(self.key)
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The first line of an encrypted key file names this (RFC 7468).
const SEALED_LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// The same of one that is not encrypted.
const PLAIN_LABEL: &str = "PRIVATE KEY";

/// The same of one in the form that RSA keys had before (PKCS#1).
const RSA_LABEL: &str = "RSA PRIVATE KEY";

/// RFC 8017, appendix C.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

fn signing_key(plain: &SecretDocument, path: Utf8PathBuf) -> Result<SigningKey, KeyError> {
    let unknown = || KeyError::UnknownKind { path: path.clone() };
    if let Ok(signer) = tough::sign::parse_keypair(plain.as_bytes()) {
        return Ok(SigningKey { signer: Box::new(signer) });
    }
    // RSA keys it takes as text alone.
    let pem = plain.to_pem(PLAIN_LABEL, LineEnding::LF).map_err(|_| unknown())?;
    let signer = tough::sign::parse_keypair(pem.as_bytes()).map_err(|_| unknown())?;
    Ok(SigningKey { signer: Box::new(signer) })
}

/// The key in an encrypted file.
fn open(path: &Utf8Path, passphrase: &Passphrase) -> Result<SecretDocument, KeyError> {
    let not_a_key = |source| KeyError::NotEncryptedKey { path: path.to_owned(), source };
    let (label, sealed) = read_key(path)?;
    if label != SEALED_LABEL {
        return Err(KeyError::Unencrypted { path: path.to_owned() });
    }
    let sealed = EncryptedPrivateKeyInfoRef::from_der(sealed.as_bytes())
        .map_err(|error| not_a_key(error.into()))?;
    let opened = sealed.decrypt(passphrase.0.as_bytes());
    opened.map_err(|_| KeyError::WrongPassphrase { path: path.to_owned() })
}

/// The key in a file that is not encrypted.
fn plain_key(path: &Utf8Path) -> Result<SecretDocument, KeyError> {
    match read_key(path)? {
        (label, plain) if label == PLAIN_LABEL => Ok(plain),
        (label, plain) if label == RSA_LABEL => {
            wrap_rsa(&plain).ok_or_else(|| KeyError::UnknownKind { path: path.to_owned() })
        }
        _ => Err(KeyError::UnknownKind { path: path.to_owned() }),
    }
}

/// PKCS#1 as PKCS#8 (RFC 5208, appendix A.1 of RFC 8017).
fn wrap_rsa(plain: &SecretDocument) -> Option<SecretDocument> {
    let algorithm = AlgorithmIdentifierRef { oid: RSA, parameters: Some(AnyRef::NULL) };
    let key = OctetStringRef::new(plain.as_bytes()).ok()?;
    SecretDocument::encode_msg(&PrivateKeyInfoRef::new(algorithm, key)).ok()
}

/// Whether the key in the file at `path` is encrypted.
pub fn is_encrypted(path: &Utf8Path) -> Result<bool, KeyError> {
    if let Some(is_sealed) = gotuf::is_sealed(path) {
        return Ok(is_sealed);
    }
    Ok(read_key(path)?.0 == SEALED_LABEL)
}

/// The key in the file at `path`, in whatever form it is, and the label of that. What is no text is
/// PKCS#8, as tuftool has it.
fn read_key(path: &Utf8Path) -> Result<(String, SecretDocument), KeyError> {
    let read = |source| KeyError::Read { path: path.to_owned(), source };
    let content = fs::read(path).map_err(read)?;
    let plain = SecretDocument::try_from(content.as_slice()).ok();
    if let Some(plain) = plain.filter(|it| PrivateKeyInfoRef::from_der(it.as_bytes()).is_ok()) {
        return Ok((PLAIN_LABEL.to_owned(), plain));
    }
    let pem = std::str::from_utf8(&content).map_err(|error| read(io::Error::other(error)))?;
    let (label, document) = SecretDocument::from_pem(pem).map_err(|error| {
        KeyError::NotEncryptedKey { path: path.to_owned(), source: error.into() }
    })?;
    Ok((label.to_owned(), document))
}

fn write_sealed(path: &Utf8Path, plain: &[u8], passphrase: &Passphrase) -> Result<(), KeyError> {
    let failed = |source| KeyError::Encrypt { path: path.to_owned(), source };
    let sealed = PrivateKeyInfoRef::from_der(plain)
        .map_err(|error| failed(error.into()))?
        .encrypt(passphrase.0.as_bytes())
        .map_err(failed)?;
    let pem = sealed.to_pem(SEALED_LABEL, LineEnding::LF).map_err(|error| failed(error.into()))?;
    disk::replace(path.as_std_path(), pem.as_bytes(), Access::Owner)
        .map_err(|source| KeyError::Write { path: path.to_owned(), source })
}
