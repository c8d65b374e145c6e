//! A change that waits for signatures, as a folder that can be carried to those who sign.
//!
//! ```text
//! change.json              what it is, and what it was made of
//! trusted.<role>.json      the metadata in force
//! new.<role>.json          what is to be signed, with the signatures so far
//! files/<sha256>           new targets' files; only beside the repository
//! ```
//!
//! Signatures are all that a copy can bring back, and only those that are valid count. Whoever
//! carries it could still show its signers another change, or this one against metadata that was
//! never in force: that it is signed by its own root says nothing of whose root that is. Its id tells,
//! which covers both.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use self::folder::{
    ABOUT, About, AboutFile, FILES, change_of, check_trusted, document, parsed, read, trusted,
    write,
};
use super::{
    change::{Change, Demand, Source},
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
mod folder;
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

impl Pending {
    /// Opens the folder of a change: the repository's own, or a copy somewhere.
    pub fn open(dir: &Utf8Path) -> Result<Self, PendingError> {
        let about = dir.join(ABOUT);
        if !about.is_file() {
            return Err(PendingError::NoChange { dir: dir.to_owned() });
        }
        let about: About = serde_json::from_slice(&read(&about)?)
            .map_err(|_| PendingError::Malformed { path: about })?;
        about.check_roles(dir)?;
        let mut documents = Vec::new();
        for role in &about.roles {
            documents.push(document(dir, "new", role)?);
        }
        let mut trusted = BTreeMap::new();
        for role in about.base.keys() {
            trusted.insert(role.clone(), document(dir, "trusted", role)?);
        }
        let top = (&parsed(dir, &trusted, "root")?, &parsed(dir, &trusted, "targets")?);
        check_trusted(dir, &trusted, top)?;
        let change = change_of(dir, &about, &documents)?;
        let demands = change.demands(top.0, top.1.delegations.as_ref());
        Ok(Self { dir: dir.to_owned(), about, change, documents, demands, trusted })
    }

    /// What it is, and who signed.
    pub fn summary(&self) -> PendingSummary {
        let signatures: Vec<_> = self.signatures().collect();
        let is_met = |it: &PendingSignatures| it.signed.len() as u64 >= it.threshold;
        let differences = self.documents.iter().flat_map(|it| {
            let before = self.trusted.get(&it.role).map(Document::signed);
            compare::differences(&it.role, before.as_ref(), Some(&it.signed()))
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

    /// The draft that it is, if the metadata that it replaces is still what it was made of. What else
    /// was published meanwhile stays as it is.
    pub(super) fn draft(self, published: &Published) -> Result<Draft, PendingError> {
        let in_force = |role: &str| match role {
            "root" => Some(published.root.version.get()),
            _ => published.role(role).map(|it| it.version.get()),
        };
        if self.about.roles.iter().any(|it| in_force(it) != self.about.base.get(it).copied()) {
            return Err(PendingError::Overtaken);
        }
        let delegations = published.targets.delegations.as_ref();
        let demands = self.change.demands(&published.root, delegations);
        Ok(Draft { change: self.change, documents: self.documents, demands })
    }

    /// The roles whose metadata it replaces.
    pub(super) fn roles(&self) -> &BTreeSet<String> {
        &self.about.roles
    }

    /// What is to be signed and what it replaces, as the beginning of a hash that nobody can aim at.
    fn id(&self) -> String {
        let mut hasher = Sha256::new();
        for document in self.documents.iter().chain(self.trusted.values()) {
            let content = document.canonical();
            hasher.update(format!("{} {}\n", document.role, content.len()));
            hasher.update(content);
        }
        hex::encode(&hasher.finalize()[..16])
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
            write(&self.dir.join(format!("new.{}.json", document.role)), document.bytes())?;
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
        disk::sync_dir(dir.join(FILES).as_std_path()).map_err(failed)?;
        fs::rename(dir, to).map_err(failed)?;
        disk::sync_dir(parent).map_err(failed)
    }

    fn write_parts(&self, dir: &Utf8Path) -> Result<(), PendingError> {
        let about = serde_json::to_vec_pretty(&self.about).expect("it is plain data");
        write(&dir.join(ABOUT), &about)?;
        for (role, document) in &self.trusted {
            write(&dir.join(format!("trusted.{role}.json")), document.bytes())?;
        }
        for document in &self.documents {
            write(&dir.join(format!("new.{}.json", document.role)), document.bytes())?;
        }
        Ok(())
    }
}
