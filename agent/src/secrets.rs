//! The enroll secret: where it comes from, and how it is kept.
//!
//! A package brings it in `secret.txt`, and brings it again whenever it is repaired or installed anew,
//! also when another secret has been put there since. So the agent remembers which secrets its own
//! has replaced: one of those that comes back is old, and not the word of an administrator.

use std::{io, mem};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wire::{
    EnrollSecret,
    secret::SecretError,
    settings::{self, files},
};

use crate::{
    durable,
    identity::FileError,
    platform::Readers,
    vault::{Place, Slot, Vault},
};

/// So many secrets that were replaced are remembered.
const MAX_REPLACED: usize = 16;

/// Where the enroll secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A variable held it.
    Given(EnrollSecret),
    /// Somebody has put it into `secret.txt` below the root directory, or is going to.
    Packaged(Utf8PathBuf),
    /// It is in this file of somebody else's, which is read each time and left where it is.
    File(Utf8PathBuf),
}

/// Why there is no enroll secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadSecretError {
    #[error("there is no enroll secret: `{path}` does not exist")]
    Missing { path: Utf8PathBuf },
    #[error("could not read the enroll secret from `{path}`")]
    Read { path: Utf8PathBuf, source: io::Error },
    #[error("the enroll secret in `{path}` cannot be used")]
    Unusable { path: Utf8PathBuf, source: SecretError },
    #[error("could not keep the enroll secret")]
    Keep(#[from] FileError),
}

/// The enroll secret of this device.
#[derive(Debug, Clone)]
pub struct Secrets {
    source: SecretSource,
    vault: Vault,
}

/// The enroll secret as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    secret: EnrollSecret,
    /// SHA-256 of those before it, the oldest first.
    #[serde(default)]
    replaced: Vec<String>,
}

/// What a secret in `secret.txt` is to the one that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// It counts from now on.
    New,
    Same,
    /// The kept one has replaced it.
    Old,
}

impl Secrets {
    #[must_use]
    pub const fn new(source: SecretSource, vault: Vault) -> Self {
        Self { source, vault }
    }

    /// The enroll secret as it is at this moment. Changes nothing.
    pub fn look(&self) -> Result<EnrollSecret, ReadSecretError> {
        match &self.source {
            SecretSource::Given(secret) => Ok(secret.clone()),
            SecretSource::File(path) => {
                read(path)?.ok_or_else(|| ReadSecretError::Missing { path: path.clone() })
            }
            SecretSource::Packaged(path) => {
                let kept = self.kept(&self.vault.look(Slot::EnrollSecret)?);
                self.settle(path, kept).map(|(kept, _)| kept.secret)
            }
        }
    }

    /// The enroll secret as it is at this moment. One that was put into `secret.txt` is kept from now
    /// on, and the file is deleted if a keystore has it. Blocks for as long as a keystore takes.
    pub fn read(&self) -> Result<EnrollSecret, ReadSecretError> {
        let SecretSource::Packaged(path) = &self.source else { return self.look() };
        let kept = self.kept(&self.vault.load(Slot::EnrollSecret)?);
        let (kept, found) = self.settle(path, kept)?;
        if found != Found::Nothing {
            self.keep(path, &kept, found)?;
        }
        Ok(kept.secret)
    }

    /// Has `secret` count although it may have been replaced once: somebody says so now.
    pub fn welcome(&self, path: &Utf8Path, secret: &EnrollSecret) -> Result<(), ReadSecretError> {
        if let Some(mut kept) = self.kept(&self.vault.look(Slot::EnrollSecret)?) {
            kept.replaced.retain(|replaced| *replaced != digest(secret));
            self.save(&kept)?;
        }
        Ok(write(path, secret)?)
    }

    /// Puts the secret back into `secret.txt`, for copies of the disk: they cannot open what this
    /// machine has sealed.
    pub fn release(&self) -> Result<(), ReadSecretError> {
        let SecretSource::Packaged(path) = &self.source else { return Ok(()) };
        match self.look() {
            Ok(secret) => write(path, &secret)?,
            Err(ReadSecretError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(self.vault.forget(Slot::EnrollSecret)?)
    }

    fn settle(
        &self,
        path: &Utf8Path,
        kept: Option<Kept>,
    ) -> Result<(Kept, Found), ReadSecretError> {
        let found = match (read(path), &kept) {
            (Ok(found), _) => found,
            // What makes no sense is no reason to forget what does.
            (Err(ReadSecretError::Unusable { .. }), Some(_)) => None,
            (Err(error), _) => return Err(error),
        };
        decide(found, kept).ok_or_else(|| ReadSecretError::Missing { path: path.to_owned() })
    }

    fn keep(&self, path: &Utf8Path, kept: &Kept, found: Found) -> Result<(), ReadSecretError> {
        if found == Found::Old {
            tracing::warn!("`{path}` holds an enroll secret that was replaced; it is passed over");
        }
        let delete_error = |source| FileError::Delete { path: path.to_owned(), source };
        match self.save(kept)? {
            Place::Keystore => durable::delete(path).map_err(delete_error)?,
            Place::File if found == Found::Old => write(path, &kept.secret)?,
            Place::File => {}
        }
        Ok(())
    }

    fn save(&self, kept: &Kept) -> Result<Place, FileError> {
        let json = serde_json::to_string(kept).expect("plain values serialise");
        self.vault.save(Slot::EnrollSecret, &zeroize::Zeroizing::new(json))
    }

    /// What makes no sense counts as none.
    #[expect(clippy::unused_self, reason = "reads as a question to the vault")]
    fn kept(&self, text: &Option<zeroize::Zeroizing<String>>) -> Option<Kept> {
        text.as_ref().and_then(|text| serde_json::from_str(text).ok())
    }
}

fn decide(found: Option<EnrollSecret>, kept: Option<Kept>) -> Option<(Kept, Found)> {
    Some(match (found, kept) {
        (None, kept) => (kept?, Found::Nothing),
        (Some(secret), None) => (Kept { secret, replaced: Vec::new() }, Found::New),
        (Some(secret), Some(kept)) if secret == kept.secret => (kept, Found::Same),
        (Some(secret), Some(kept)) if kept.replaced.contains(&digest(&secret)) => {
            (kept, Found::Old)
        }
        (Some(secret), Some(mut kept)) => {
            let before = mem::replace(&mut kept.secret, secret);
            kept.replaced.push(digest(&before));
            let surplus = kept.replaced.len().saturating_sub(MAX_REPLACED);
            kept.replaced.drain(..surplus);
            (kept, Found::New)
        }
    })
}

fn digest(secret: &EnrollSecret) -> String {
    hex::encode(Sha256::digest(secret.expose()))
}

fn read(path: &Utf8Path) -> Result<Option<EnrollSecret>, ReadSecretError> {
    let text = durable::read(path)
        .map_err(|source| ReadSecretError::Read { path: path.to_owned(), source })?;
    let secret = text.map(|text| settings::secret_from_file_text(&text)).transpose();
    secret.map_err(|source| ReadSecretError::Unusable { path: path.to_owned(), source })
}

fn write(path: &Utf8Path, secret: &EnrollSecret) -> Result<(), FileError> {
    let line = zeroize::Zeroizing::new(format!("{}\n", secret.expose()));
    durable::replace(path, line.as_bytes(), Readers::Root)
        .map_err(|source| FileError::Write { path: path.to_owned(), source })
}

/// Where packages and administrators put the enroll secret.
#[must_use]
pub fn packaged(root: &Utf8Path) -> Utf8PathBuf {
    root.join(files::ENROLL_SECRET)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> EnrollSecret {
        EnrollSecret::new(text).unwrap()
    }

    /// What is kept after secrets were found one after the other.
    fn after(texts: &[&str]) -> Kept {
        let settle = |kept, text: &&str| decide(Some(secret(text)), kept).map(|(kept, _)| kept);
        texts.iter().fold(None, settle).unwrap()
    }

    #[test]
    fn of_secrets_the_newest_counts_whatever_comes_back() {
        for (found, counts) in [
            (&["a"][..], "a"),
            (&["a", "a"], "a"),
            (&["a", "b"], "b"),
            (&["a", "b", "a"], "b"),
            (&["a", "b", "a", "b", "c", "b", "a"], "c"),
        ] {
            assert_eq!(after(found).secret, secret(counts), "{found:?}");
        }
        let kept = after(&["a", "b"]);
        let (same, found) = decide(None, Some(kept.clone())).unwrap();
        assert_eq!((same, found), (kept, Found::Nothing));
        assert_eq!(decide(None, None), None);
    }

    #[test]
    fn not_all_secrets_there_ever_were_are_remembered() {
        let texts: Vec<_> = (0..40).map(|number| number.to_string()).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let kept = after(&texts);
        assert_eq!(kept.replaced.len(), MAX_REPLACED);
        assert!(kept.replaced.contains(&digest(&secret("38"))));
        let size = serde_json::to_string(&kept).unwrap().len() + wire::secret::MAX_SECRET_LEN;
        assert!(size < 2_560, "Windows keeps no more: {size}");
    }
}
