//! A change that waits for signatures, as a folder that can be carried to those who sign.
//!
//! ```text
//! change.json              what it is, and what it was made of
//! trusted.<role>.json      the metadata in force
//! new.<role>.json          what is to be signed, with the signatures so far
//! files/<sha256>           new targets' files; only beside the repository
//! ```
//!
//! Signatures are all that the folder can bring back, and only those that are valid count. So it
//! may be carried by anybody.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tough::schema::Targets;

use super::{
    change::{Change, Demand, NewFile, Source},
    compare,
    document::Document,
    draft::Draft,
    published::Published,
};
use crate::{
    disk::{self, Access},
    keys::SigningKey,
};

mod error;
mod summary;

pub use error::PendingError;
pub use summary::{PendingSignatures, PendingSummary};

/// A change that waits for signatures.
#[derive(Debug)]
pub struct Pending {
    dir: Utf8PathBuf,
    about: About,
    change: Change,
    documents: Vec<Document>,
    demands: Vec<Demand>,
    trusted: BTreeMap<String, Document>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    what: String,
    who: String,
    made: Timestamp,
    /// The versions in force when it was made, of every role it replaces.
    base: BTreeMap<String, u64>,
    /// The roles with new metadata.
    roles: BTreeSet<String>,
    snapshot: bool,
    timestamp: bool,
    restart: bool,
    targets: BTreeSet<String>,
    files: Vec<AboutFile>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct AboutFile {
    /// The name below `files`, the name of a published file, or the content: one of them.
    #[serde(flatten)]
    from: AboutSource,
    to: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AboutSource {
    Staged(String),
    Published(String),
    /// In hexadecimal.
    Content(String),
}

impl Pending {
    /// Opens the folder of a change: the repository's own, or a copy somewhere.
    pub fn open(dir: &Utf8Path) -> Result<Self, PendingError> {
        let about = dir.join(ABOUT);
        if !about.is_file() {
            return Err(PendingError::NoChange { dir: dir.to_owned() });
        }
        let about: About = serde_json::from_slice(&read(&about)?)
            .map_err(|_| PendingError::Malformed { path: about })?;
        let mut documents = Vec::new();
        for role in &about.roles {
            documents.push(document(dir, "new", role)?);
        }
        let mut trusted = BTreeMap::new();
        for role in about.base.keys() {
            trusted.insert(role.clone(), document(dir, "trusted", role)?);
        }
        let change = change_of(dir, &about, &documents)?;
        let demands =
            change.demands(&parsed(dir, &trusted, "root")?, &parsed(dir, &trusted, "targets")?);
        Ok(Self { dir: dir.to_owned(), about, change, documents, demands, trusted })
    }

    /// What it is, and who signed.
    pub fn summary(&self) -> PendingSummary {
        let signatures: Vec<_> = self.signatures().collect();
        let is_met = |it: &PendingSignatures| it.signed.len() as u64 >= it.threshold;
        let differences = self.documents.iter().flat_map(|it| {
            let before = self.trusted.get(&it.role).map(Document::signed);
            compare::differences(&it.role, before, Some(it.signed()))
        });
        PendingSummary {
            id: self.id(),
            what: self.about.what.clone(),
            who: self.about.who.clone(),
            made: self.about.made,
            is_signed: signatures.iter().all(|it| !it.is_required || is_met(it)),
            differences: differences.collect(),
            signatures,
        }
    }

    /// Signs with each of `keys` what it counts for; returns the roles whose metadata was signed.
    pub async fn sign(&mut self, keys: &[SigningKey]) -> Result<Vec<String>, PendingError> {
        let before: Vec<_> = self.signatures().map(|it| it.signed.len()).collect();
        for document in &mut self.documents {
            super::draft::sign(document, &self.demands, keys).await?;
        }
        let after = self.signatures().zip(before);
        let more = after.filter(|(it, before)| it.signed.len() > *before);
        let roles: BTreeSet<_> = more.map(|(it, _)| it.role).collect();
        self.save()?;
        Ok(roles.into_iter().collect())
    }

    /// Takes over the valid signatures of a copy; returns how many were new.
    pub fn import(&mut self, copy: &Self) -> Result<usize, PendingError> {
        if self.id() != copy.id() {
            return Err(PendingError::AnotherChange { dir: copy.dir.clone() });
        }
        let mut taken = 0;
        for document in &mut self.documents {
            let theirs = copy.documents.iter().find(|it| it.says_what(document));
            let Some(theirs) = theirs else { continue };
            let role = document.role.clone();
            for demand in self.demands.iter().filter(|it| it.role == role) {
                taken += document.take_signatures(theirs, &demand.authority).len();
            }
        }
        self.save()?;
        Ok(taken)
    }

    /// Writes a copy that can be signed to `to`, which must not be there. Targets' files are not in
    /// it: their hashes are.
    pub fn export(&self, to: &Utf8Path) -> Result<(), PendingError> {
        if to.symlink_metadata().is_ok() {
            return Err(PendingError::Exists { dir: to.to_owned() });
        }
        let copy = Self { dir: to.to_owned(), ..self.copied() };
        copy.write_to(to)
    }

    /// Writes a new change to `to`; nobody sees a part of it.
    pub(super) fn begin(
        draft: Draft,
        published: &Published,
        (to, who, made): (&Utf8Path, &str, Timestamp),
    ) -> Result<Self, PendingError> {
        if to.symlink_metadata().is_ok() {
            return Err(PendingError::Exists { dir: to.to_owned() });
        }
        let Draft { change, documents, demands } = draft;
        let trusted = trusted(published, &documents)?;
        let about = About {
            what: change.what.clone(),
            who: who.to_owned(),
            made,
            base: trusted.iter().map(|(role, it)| (role.clone(), it.version.get())).collect(),
            roles: documents.iter().map(|it| it.role.clone()).collect(),
            snapshot: change.snapshot,
            timestamp: change.timestamp,
            restart: change.restart,
            targets: change.targets.clone(),
            files: change.files.iter().map(AboutFile::of).collect(),
        };
        let pending = Self { dir: to.to_owned(), about, change, documents, demands, trusted };
        pending.write_to(to)?;
        Self::open(to)
    }

    /// The draft that it is, if `published` is still what it was made of.
    pub(super) fn draft(self, published: &Published) -> Result<Draft, PendingError> {
        let now = trusted(published, &self.documents)?;
        let now: BTreeMap<_, _> =
            now.into_iter().map(|(role, it)| (role, it.version.get())).collect();
        if now != self.about.base {
            return Err(PendingError::Overtaken);
        }
        Ok(Draft { change: self.change, documents: self.documents, demands: self.demands })
    }

    /// The roles whose metadata it replaces.
    pub(super) fn roles(&self) -> &BTreeSet<String> {
        &self.about.roles
    }

    fn id(&self) -> String {
        let mut hasher = Sha256::new();
        for document in &self.documents {
            hasher.update(document.canonical());
        }
        hex::encode(&hasher.finalize()[..6])
    }

    fn signatures(&self) -> impl Iterator<Item = PendingSignatures> {
        self.documents.iter().flat_map(|document| {
            let theirs = self.demands.iter().filter(|it| it.role == document.role);
            theirs.map(|demand| {
                let signed = document.signers(&demand.authority);
                let missing = demand.authority.keys.keys().filter(|id| !signed.contains(id));
                PendingSignatures {
                    role: document.role.clone(),
                    version: document.version.get(),
                    threshold: demand.authority.threshold,
                    is_required: demand.is_required,
                    missing: missing.cloned().collect(),
                    signed,
                }
            })
        })
    }

    fn copied(&self) -> Self {
        Self {
            dir: self.dir.clone(),
            about: self.about.clone(),
            change: self.change.clone(),
            documents: self.documents.clone(),
            demands: self.demands.clone(),
            trusted: self.trusted.clone(),
        }
    }

    fn save(&self) -> Result<(), PendingError> {
        for document in &self.documents {
            write(&self.dir.join(format!("new.{}.json", document.role)), &document.to_bytes())?;
        }
        Ok(())
    }

    fn write_to(&self, to: &Utf8Path) -> Result<(), PendingError> {
        let failed = |source| PendingError::Write { path: to.to_owned(), source };
        let parent = disk::parent(to.as_std_path());
        let building =
            tempfile::Builder::new().prefix(".change-").tempdir_in(parent).map_err(failed)?;
        let dir = Utf8Path::from_path(building.path())
            .ok_or_else(|| failed(io::Error::other("its full name is not UTF-8")))?;
        self.write_parts(dir)?;
        disk::make_dir(&dir.join(FILES).into_std_path_buf(), Access::Owner).map_err(failed)?;
        for file in self.change.files.iter() {
            if let Source::Staged(from) = &file.from
                && self.dir == to
                && from.is_file()
            {
                let name = from.file_name().unwrap_or_default();
                let linked = dir.join(FILES).join(name);
                if !linked.exists() {
                    fs::hard_link(from, &linked)
                        .or_else(|_| fs::copy(from, &linked).map(drop))
                        .map_err(failed)?;
                }
            }
        }
        fs::rename(dir, to).map_err(failed)?;
        disk::sync_dir(parent).map_err(failed)
    }

    fn write_parts(&self, dir: &Utf8Path) -> Result<(), PendingError> {
        let about = serde_json::to_vec_pretty(&self.about).expect("it is plain data");
        write(&dir.join(ABOUT), &about)?;
        for (role, document) in &self.trusted {
            write(&dir.join(format!("trusted.{role}.json")), &document.to_bytes())?;
        }
        for document in &self.documents {
            write(&dir.join(format!("new.{}.json", document.role)), &document.to_bytes())?;
        }
        Ok(())
    }
}

impl AboutFile {
    fn of(file: &NewFile) -> Self {
        let from = match &file.from {
            Source::Staged(path) => {
                AboutSource::Staged(path.file_name().unwrap_or_default().to_owned())
            }
            Source::Published(name) => AboutSource::Published(name.clone()),
            Source::Content(bytes) => AboutSource::Content(hex::encode(bytes)),
        };
        Self { from, to: file.to.clone() }
    }
}

const ABOUT: &str = "change.json";
const FILES: &str = "files";

fn change_of(
    dir: &Utf8Path,
    about: &About,
    documents: &[Document],
) -> Result<Change, PendingError> {
    let mut change = Change {
        snapshot: about.snapshot,
        timestamp: about.timestamp,
        restart: about.restart,
        targets: about.targets.clone(),
        ..Change::new(about.what.clone())
    };
    for file in &about.files {
        let malformed = || PendingError::Malformed { path: dir.join(ABOUT) };
        let from = match &file.from {
            AboutSource::Staged(name) if is_plain(name) => {
                Source::Staged(dir.join(FILES).join(name))
            }
            AboutSource::Staged(_) => return Err(malformed()),
            AboutSource::Published(name) => Source::Published(name.clone()),
            AboutSource::Content(text) => {
                Source::Content(hex::decode(text).map_err(|_| malformed())?)
            }
        };
        change.files.push(NewFile { from, to: file.to.clone() });
    }
    for document in documents {
        let malformed =
            || PendingError::Malformed { path: dir.join(format!("new.{}.json", document.role)) };
        let signed = document.signed().clone();
        if document.role == "root" {
            change.root = Some(serde_json::from_value(signed).map_err(|_| malformed())?);
        } else {
            let targets: Targets = serde_json::from_value(signed).map_err(|_| malformed())?;
            change.roles.insert(document.role.clone(), targets);
        }
    }
    Ok(change)
}

fn is_plain(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|c| c.is_ascii_hexdigit())
}

/// The metadata in force of the root, of `targets`, and of what is replaced.
fn trusted(
    published: &Published,
    documents: &[Document],
) -> Result<BTreeMap<String, Document>, PendingError> {
    let mut trusted = BTreeMap::new();
    trusted.insert("root".to_owned(), Document::from_bytes("root", &published.root_bytes)?);
    trusted
        .insert("targets".to_owned(), Document::from_bytes("targets", &published.targets_bytes)?);
    for document in documents {
        if let Some(targets) = published.delegated.get(&document.role) {
            trusted.insert(document.role.clone(), Document::of(&document.role, targets)?);
        }
    }
    Ok(trusted)
}

fn parsed<T: serde::de::DeserializeOwned>(
    dir: &Utf8Path,
    trusted: &BTreeMap<String, Document>,
    role: &str,
) -> Result<T, PendingError> {
    let document = trusted.get(role).map(|it| it.signed().clone());
    document
        .and_then(|it| serde_json::from_value(it).ok())
        .ok_or_else(|| PendingError::Malformed { path: dir.join(format!("trusted.{role}.json")) })
}

fn document(dir: &Utf8Path, kind: &str, role: &str) -> Result<Document, PendingError> {
    let path = dir.join(format!("{kind}.{role}.json"));
    Document::from_bytes(role, &read(&path)?).map_err(|_| PendingError::Malformed { path })
}

fn read(path: &Utf8Path) -> Result<Vec<u8>, PendingError> {
    fs::read(path).map_err(|source| PendingError::Read { path: path.to_owned(), source })
}

fn write(path: &Utf8Path, bytes: &[u8]) -> Result<(), PendingError> {
    disk::replace(path.as_std_path(), bytes, Access::World)
        .map_err(|source| PendingError::Write { path: path.to_owned(), source })
}
