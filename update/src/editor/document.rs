//! Metadata on its way to the readers: its content is fixed, its signatures are gathered.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU64,
    sync::{Arc, OnceLock},
};

use aws_lc_rs::rand::SystemRandom;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tough::schema::{Hashes, Metafile, Role};

use super::{
    authority::Authority,
    listing::{Kept, Listing},
};
use crate::{keys::SigningKey, verify};

/// The specification that is followed.
pub(super) const SPEC_VERSION: &str = "1.0.31";

/// The metadata of one role, in a version that nobody has seen yet.
#[derive(Debug, Clone)]
pub(super) struct Document {
    /// `root`, `targets`, `snapshot`, `timestamp`, or the name of a delegated role.
    pub(super) role: String,
    pub(super) version: NonZeroU64,
    /// What is signed, as JSON without blanks.
    text: String,
    /// What signatures cover; none: the text.
    canonical: Option<Vec<u8>>,
    /// The targets that are carried over as they were read, and the rest of the text.
    carried: Option<(Arc<Kept>, String)>,
    /// By the id of their key.
    signatures: BTreeMap<String, Vec<u8>>,
    /// The file, with the signatures there are: the longest of them are asked for often.
    written: OnceLock<MetadataFile>,
}

/// The file that a document becomes.
#[derive(Debug, Clone)]
pub(super) struct MetadataFile {
    pub(super) bytes: Vec<u8>,
    sha256: [u8; 32],
}

impl MetadataFile {
    /// One with this content.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { sha256: Sha256::digest(&bytes).into(), bytes }
    }

    /// What the metadata above says of it, which is of `version`.
    pub(super) fn listed(&self, version: NonZeroU64) -> Metafile {
        Metafile {
            length: Some(self.bytes.len() as u64),
            hashes: Some(sha256_hashes(&self.sha256)),
            version,
            _extra: HashMap::new(),
        }
    }

    /// Its SHA-256, in lower-case hexadecimal.
    pub(super) fn digest(&self) -> String {
        hex::encode(self.sha256)
    }
}

impl Document {
    /// `content` as the metadata of `role`, with no signature.
    pub(super) fn of<T: Role>(role: &str, content: &T) -> Result<Self, SignError> {
        let failed = |source| SignError { role: role.to_owned(), source };
        let mut signed = serde_json::to_value(content).map_err(|error| failed(Box::new(error)))?;
        signed.sort_all_objects();
        Self::new(role, content.version(), &signed)
    }

    /// `listing` as the metadata of `role`, with no signature.
    pub(super) fn of_listing(role: &str, listing: &Listing) -> Result<Self, SignError> {
        let failed = |source| SignError { role: role.to_owned(), source };
        let text = listing.text().map_err(|error| failed(Box::new(error)))?;
        // Nothing else is written differently in JSON and in the canonical form.
        if text.contains('\\') {
            let signed = serde_json::from_str(&text).map_err(|error| failed(Box::new(error)))?;
            return Self::new(role, listing.version, &signed);
        }
        let carried = match listing.kept() {
            Some(kept) => Some((kept, listing.news().map_err(|error| failed(Box::new(error)))?)),
            None => None,
        };
        Ok(Self { carried, ..Self::with(role, listing.version, (text, None)) })
    }

    /// What is in the [`file`](Self::file) of one. Its signatures may be anybody's.
    pub(super) fn from_bytes(role: &str, bytes: &[u8]) -> Result<Self, SignError> {
        let failed = |source| SignError { role: role.to_owned(), source };
        let file: File = serde_json::from_slice(bytes).map_err(|error| failed(Box::new(error)))?;
        let version = file.signed["version"].as_u64().and_then(NonZeroU64::new);
        let version = version.ok_or_else(|| failed("it has no version".into()))?;
        let mut document = Self::new(role, version, &file.signed)?;
        for signature in file.signatures {
            if let Ok(bytes) = hex::decode(signature.sig) {
                document.add_signature(signature.keyid, bytes);
            }
        }
        Ok(document)
    }

    fn new(role: &str, version: NonZeroU64, signed: &Value) -> Result<Self, SignError> {
        let canonical = verify::canonical(signed)
            .map_err(|source| SignError { role: role.to_owned(), source: Box::new(source) })?;
        Ok(Self::with(role, version, (signed.to_string(), Some(canonical))))
    }

    fn with(role: &str, version: NonZeroU64, (text, canonical): (String, Option<Vec<u8>>)) -> Self {
        let (signatures, written, carried) = (BTreeMap::new(), OnceLock::new(), None);
        Self { role: role.to_owned(), version, text, canonical, carried, signatures, written }
    }

    /// The name it is published under, e.g. `3.targets.json`.
    pub(super) fn file_name(&self) -> String {
        if self.role == "timestamp" {
            "timestamp.json".to_owned()
        } else {
            format!("{}.{}.json", self.version, self.role)
        }
    }

    /// What is signed.
    pub(super) fn signed(&self) -> Value {
        serde_json::from_str(&self.text).expect("it was written here")
    }

    /// What is signed, without the targets that are [`carried`](Self::carried) over.
    pub(super) fn news(&self) -> Value {
        match &self.carried {
            Some((_, news)) => serde_json::from_str(news).expect("it was written here"),
            None => self.signed(),
        }
    }

    /// The targets that are carried over as they were read.
    pub(super) fn carried(&self) -> Option<&Kept> {
        self.carried.as_ref().map(|(kept, _)| &**kept)
    }

    /// What signatures cover.
    pub(super) fn canonical(&self) -> &[u8] {
        self.canonical.as_deref().unwrap_or(self.text.as_bytes())
    }

    /// Whether `other` says the same, whoever signed it.
    pub(super) fn says_what(&self, other: &Self) -> bool {
        self.role == other.role && self.canonical() == other.canonical()
    }

    /// Adds the signature of `key`.
    pub(super) async fn sign(&mut self, key: &SigningKey) -> Result<(), SignError> {
        let signing = key.signer.sign(self.canonical(), &SystemRandom::new()).await;
        let signature = signing.map_err(|source| SignError { role: self.role.clone(), source })?;
        self.add_signature(key.public().id(), signature);
        Ok(())
    }

    /// Gives the signature of the key `id` under the id that the key has elsewhere, too.
    pub(super) fn sign_again(&mut self, id: &str, elsewhere: String) {
        if let Some(signature) = self.signatures.get(id).cloned() {
            self.add_signature(elsewhere, signature);
        }
    }

    fn add_signature(&mut self, id: String, signature: Vec<u8>) {
        self.signatures.insert(id, signature);
        self.written = OnceLock::new();
    }

    /// Takes over the valid signatures of `other`, the same metadata, by keys of `authority`;
    /// returns the ids of the keys whose signatures are new here.
    pub(super) fn take_signatures(&mut self, other: &Self, authority: &Authority) -> Vec<String> {
        let valid = other.signers(authority);
        let new = valid.into_iter().filter(|id| !self.signatures.contains_key(id));
        let new: Vec<_> = new.collect();
        for id in &new {
            self.add_signature(id.clone(), other.signatures[id].clone());
        }
        new
    }

    /// The ids of the keys of `authority` that signed this.
    pub(super) fn signers(&self, authority: &Authority) -> Vec<String> {
        let valid = self.signatures.iter().filter(|(id, signature)| {
            authority
                .keys
                .get(*id)
                .is_some_and(|key| verify::is_signature(key, self.canonical(), signature))
        });
        valid.map(|(id, _)| id.clone()).collect()
    }

    /// Whether enough keys of `authority` signed this.
    pub(super) fn satisfies(&self, authority: &Authority) -> bool {
        self.signers(authority).len() as u64 >= authority.threshold
    }

    /// What the metadata above says of it.
    pub(super) fn listed(&self) -> Metafile {
        self.file().listed(self.version)
    }

    /// The file's content.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.file().bytes
    }

    /// The file's content.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.written.take().map_or_else(|| self.write(), |file| file.bytes)
    }

    /// The file: the same bytes for the same signatures. It is written and hashed once.
    pub(super) fn file(&self) -> &MetadataFile {
        self.written.get_or_init(|| MetadataFile::new(self.write()))
    }

    fn write(&self) -> Vec<u8> {
        let signatures = self.signatures.iter();
        let signatures =
            signatures.map(|(id, bytes)| Signature { keyid: id, sig: hex::encode(bytes) });
        let signatures: Vec<_> = signatures.collect();
        // What is fetched by everybody all the time, or is long, is short; the rest is for people, too.
        let mut text = if matches!(self.role.as_str(), "root" | "snapshot") {
            let file = Written { signatures, signed: self.signed() };
            serde_json::to_string_pretty(&file).expect("JSON values are JSON")
        } else {
            let signatures = serde_json::to_string(&signatures).expect("JSON values are JSON");
            format!("{{\"signatures\":{signatures},\"signed\":{}}}", self.text)
        };
        text.push('\n');
        text.into_bytes()
    }
}

/// A file of metadata as it is written; fields in the order of their names, as everywhere in it.
#[derive(serde::Serialize)]
struct Written<'a> {
    signatures: Vec<Signature<'a>>,
    signed: Value,
}

#[derive(serde::Serialize)]
struct Signature<'a> {
    keyid: &'a str,
    sig: String,
}

#[derive(serde::Deserialize)]
struct File {
    signed: Value,
    signatures: Vec<FileSignature>,
}

#[derive(serde::Deserialize)]
struct FileSignature {
    keyid: String,
    sig: String,
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
