//! The files that a change that waits is made of.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use camino::Utf8Path;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tough::schema::{Root, Targets};

use super::PendingError;
use crate::{
    disk::{self, Access},
    editor::{
        authority::Authority,
        change::{Change, NewFile, Source},
        document::Document,
        published::Published,
    },
    keys::{KeyName, TufRole},
    verify,
};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct About {
    pub(super) what: String,
    pub(super) who: String,
    pub(super) made: Timestamp,
    /// The versions in force when it was made, of every role it replaces.
    pub(super) base: BTreeMap<String, u64>,
    /// The roles with new metadata.
    pub(super) roles: BTreeSet<String>,
    pub(super) snapshot: bool,
    pub(super) timestamp: bool,
    pub(super) restart: bool,
    pub(super) targets: BTreeSet<String>,
    pub(super) files: Vec<AboutFile>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AboutFile {
    /// The name below `files`, the name of a published file, or the content: one of them.
    #[serde(flatten)]
    from: AboutSource,
    to: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AboutSource {
    Staged(String),
    Published(String),
    /// In hexadecimal.
    Content(String),
}

impl About {
    /// Roles are parts of the names of files, and a copy's are anybody's words.
    pub(super) fn check_roles(&self, dir: &Utf8Path) -> Result<(), PendingError> {
        let is_role = |name: &String| {
            !matches!(TufRole::named(name), Some(TufRole::Snapshot | TufRole::Timestamp))
                && name.parse::<KeyName>().is_ok()
        };
        if self.roles.iter().chain(self.base.keys()).all(is_role) {
            Ok(())
        } else {
            Err(PendingError::Malformed { path: dir.join(ABOUT) })
        }
    }
}

impl AboutFile {
    pub(super) fn of(file: &NewFile) -> Self {
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

pub(super) const ABOUT: &str = "change.json";
pub(super) const FILES: &str = "files";

pub(super) fn change_of(
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
        let signed = document.signed();
        if document.role == "root" {
            change.root = Some(serde_json::from_value(signed).map_err(|_| malformed())?);
        } else {
            let targets: Targets = serde_json::from_value(signed).map_err(|_| malformed())?;
            change.roles.insert(document.role.clone(), targets.into());
        }
    }
    Ok(change)
}

fn is_plain(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|c| c.is_ascii_hexdigit())
}

/// The metadata in force of the root, of `targets`, and of what is replaced.
pub(super) fn trusted(
    published: &Published,
    documents: &[Document],
) -> Result<BTreeMap<String, Document>, PendingError> {
    let mut trusted = BTreeMap::new();
    trusted.insert("root".to_owned(), Document::from_bytes("root", &published.root_bytes)?);
    let targets = Document::from_bytes("targets", published.targets_bytes())?;
    trusted.insert("targets".to_owned(), targets);
    for document in documents {
        if let Some(bytes) = published.delegated_bytes(&document.role) {
            trusted.insert(document.role.clone(), Document::from_bytes(&document.role, bytes)?);
        }
    }
    Ok(trusted)
}

/// Whether the metadata in force is signed as its own root demands.
pub(super) fn check_trusted(
    dir: &Utf8Path,
    trusted: &BTreeMap<String, Document>,
    (root, targets): (&Root, &Targets),
) -> Result<(), PendingError> {
    for (role, document) in trusted {
        let authority = match TufRole::named(role) {
            Some(role) => Authority::of_root(root, role),
            None => Authority::of_delegation(targets.delegations.as_ref(), role),
        };
        let is_fine = if role == "root" {
            verify::check_root(document.bytes()).is_ok()
        } else {
            document.satisfies(&authority)
        };
        if !is_fine {
            let path = dir.join(format!("trusted.{role}.json"));
            return Err(PendingError::Unsigned { path });
        }
    }
    Ok(())
}

pub(super) fn parsed<T: serde::de::DeserializeOwned>(
    dir: &Utf8Path,
    trusted: &BTreeMap<String, Document>,
    role: &str,
) -> Result<T, PendingError> {
    let document = trusted.get(role).map(Document::signed);
    document
        .and_then(|it| serde_json::from_value(it).ok())
        .ok_or_else(|| PendingError::Malformed { path: dir.join(format!("trusted.{role}.json")) })
}

pub(super) fn document(dir: &Utf8Path, kind: &str, role: &str) -> Result<Document, PendingError> {
    let path = dir.join(format!("{kind}.{role}.json"));
    Document::from_bytes(role, &read(&path)?).map_err(|_| PendingError::Malformed { path })
}

pub(super) fn read(path: &Utf8Path) -> Result<Vec<u8>, PendingError> {
    fs::read(path).map_err(|source| PendingError::Read { path: path.to_owned(), source })
}

pub(super) fn write(path: &Utf8Path, bytes: &[u8]) -> Result<(), PendingError> {
    disk::replace(path.as_std_path(), bytes, Access::World)
        .map_err(|source| PendingError::Write { path: path.to_owned(), source })
}
