//! Unsigned metadata in, signed files out.

use std::{collections::HashMap, num::NonZeroU64};

use aws_lc_rs::rand::SystemRandom;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tough::schema::{self, Hashes, Metafile, Role, Signature};

use crate::keys::{SigningKey, TufRole};

/// The specification that is followed.
pub(super) const SPEC_VERSION: &str = "1.0.31";

/// Signed metadata as the bytes of a file. Only [`sign`] makes one.
#[derive(Debug)]
pub(super) struct SignedFile {
    name: String,
    bytes: Vec<u8>,
    version: NonZeroU64,
}

impl SignedFile {
    /// The name it is published under, e.g. `3.targets.json`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What the metadata above this says of it.
    pub(super) fn metafile(&self) -> Metafile {
        Metafile {
            length: Some(self.bytes.len() as u64),
            hashes: Some(sha256_hashes(&Sha256::digest(&self.bytes))),
            version: self.version,
            _extra: HashMap::new(),
        }
    }

    /// The file's content.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Signs `unsigned` with `key`. The signature covers the canonical form; the file is for people to
/// read too.
pub(super) async fn sign<T: Role>(unsigned: T, key: &SigningKey) -> Result<SignedFile, SignError> {
    let failed = |source| SignError { role: T::TYPE.to_string(), source };
    let canonical = unsigned.canonical_form().map_err(|error| failed(Box::new(error)))?;
    let sig = key.signer.sign(&canonical, &SystemRandom::new()).await.map_err(failed)?;
    let keyid = key.signer.tuf_key().key_id().map_err(|error| failed(Box::new(error)))?;
    let (name, version) = (unsigned.filename(true), unsigned.version());
    let signed =
        schema::Signed { signed: unsigned, signatures: vec![Signature { keyid, sig: sig.into() }] };
    let bytes = sorted_json(&signed).map_err(|error| failed(Box::new(error)))?;
    Ok(SignedFile { name, bytes, version })
}

/// JSON with the keys of every object in order, so that equal metadata is equal bytes.
fn sorted_json(value: &impl serde::Serialize) -> serde_json::Result<Vec<u8>> {
    let mut value = serde_json::to_value(value)?;
    value.sort_all_objects();
    let mut bytes = serde_json::to_vec_pretty(&value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Metadata that cannot be signed.
#[derive(Debug, thiserror::Error)]
#[error("could not sign the {role} metadata")]
pub struct SignError {
    /// Which metadata.
    pub role: String,
    /// Why.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The `hashes` of a file.
pub(super) fn sha256_hashes(digest: &[u8]) -> Hashes {
    Hashes { sha256: digest.to_vec().into(), _extra: HashMap::new() }
}

/// The end of a validity that starts `now`, in whole seconds, which is all that some clients read.
pub(super) fn expiry(now: Timestamp, validity: SignedDuration) -> Timestamp {
    let end = now.as_second().saturating_add(validity.as_secs());
    Timestamp::from_second(end).unwrap_or(Timestamp::MAX)
}

/// `tough`'s word for a role.
pub(super) fn role_type(role: TufRole) -> schema::RoleType {
    match role {
        TufRole::Root => schema::RoleType::Root,
        TufRole::Targets => schema::RoleType::Targets,
        TufRole::Snapshot => schema::RoleType::Snapshot,
        TufRole::Timestamp => schema::RoleType::Timestamp,
    }
}
