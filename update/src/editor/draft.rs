//! From a change to what is published: versions, signatures, order.

use std::num::NonZeroU64;

use camino::Utf8Path;
use jiff::Timestamp;
use tough::schema::{Role, Snapshot, Timestamp as TimestampRole};

use super::{
    ChangeError, Expiries, TARGETS_DIR, Terms,
    change::{Change, Demand, NewFile, Source},
    document::{Document, SPEC_VERSION, SignError, expiry},
    log::Logged,
    publication::Step,
    published::{Current, Published},
    strict,
    top::Top,
};
use crate::{keys::SigningKey, verify};

/// A change with the documents that are to be signed for it. What stands above them, the snapshot
/// and the timestamp, is made when they are signed, since it tells their length and hash.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) change: Change,
    /// The root, `targets` and delegated roles.
    pub(super) documents: Vec<Document>,
    pub(super) demands: Vec<Demand>,
}

impl Draft {
    /// Gives everything in `change` its next version and a new validity.
    pub(super) fn new(
        mut change: Change,
        current: &Current,
        taken: &Taken<'_>,
        (expiries, now): (&Expiries, Timestamp),
    ) -> Result<Self, ChangeError> {
        change.complete(current)?;
        let (top, restart) = (&current.top, change.restart);
        if let Some(root) = &mut change.root {
            root.version = top.root.version.saturating_add(1);
            root.expires = expiry(now, expiries.root);
        }
        for (name, targets) in &mut change.roles {
            let before = top.last_version(name).filter(|_| !restart);
            targets.version = taken.free_version(name, before);
            targets.expires = expiry(now, expiries.targets);
        }
        let mut documents = Vec::new();
        if let Some(root) = &change.root {
            documents.push(Document::of("root", root)?);
        }
        for (name, targets) in &change.roles {
            documents.push(Document::of_listing(name, targets)?);
        }
        Ok(Self { demands: change.demands_now(current)?, change, documents })
    }

    /// Signs every document with each of `keys` that counts for it.
    pub(super) async fn sign(&mut self, keys: &[SigningKey]) -> Result<(), SignError> {
        for document in &mut self.documents {
            sign(document, &self.demands, keys).await?;
        }
        Ok(())
    }

    /// The first demand that the signatures so far do not meet.
    pub(super) fn lacking(&self) -> Option<ChangeError> {
        self.documents.iter().find_map(|it| lacking(it, &self.demands))
    }

    /// Everything that readers are to get, in order. `keys` sign the snapshot and the timestamp.
    pub(super) async fn finish(
        self,
        current: &Current,
        taken: &Taken<'_>,
        terms: &Terms<'_>,
    ) -> Result<Finished, ChangeError> {
        if let Some(lack) = self.lacking() {
            return Err(lack);
        }
        let snapshot = self.snapshot(&current.top, taken, terms).await?;
        let timestamp = self.timestamp(&current.top, snapshot.as_ref(), terms).await?;
        let Self { change, documents, .. } = self;
        let (root, roles): (Vec<_>, Vec<_>) =
            documents.into_iter().partition(|it| it.role == "root");
        let new = New { root: root.into_iter().next(), roles, snapshot, timestamp };
        new.check_rules()?;
        if !change.roles.is_empty() {
            check_paths(&change, current.published()?)?;
        }
        // Whoever has the old root and reads versions that begin again takes them for a rollback.
        let root_is_last = new.read_back(&current.top, terms.now)? && !change.restart;
        let targets = taken.repository.join(TARGETS_DIR);
        let link = |file: &NewFile| {
            let to = targets.join(&file.to);
            match &file.from {
                Source::Staged(path) => Step::Link { from: path.clone(), to },
                Source::Published(name) => Step::Link { from: targets.join(name), to },
                Source::Content(bytes) => Step::Write { path: to, bytes: bytes.clone() },
            }
        };
        let mut steps: Vec<_> = change.files.iter().map(link).collect();
        let documents = new.in_order(root_is_last);
        let files = documents.iter().map(|it| (it.file_name(), it.file().digest())).collect();
        steps.extend(documents.into_iter().map(|document| Step::Write {
            path: taken.repository.join(document.file_name()),
            bytes: document.into_bytes(),
        }));
        Ok(Finished { change, steps, files })
    }

    async fn snapshot(
        &self,
        top: &Top,
        taken: &Taken<'_>,
        terms: &Terms<'_>,
    ) -> Result<Option<Document>, ChangeError> {
        if !self.change.snapshot {
            return Ok(None);
        }
        let restart = self.change.restart;
        let before = Some(top.snapshot.version).filter(|_| !restart);
        let mut snapshot = Snapshot {
            version: taken.free_version("snapshot", before),
            expires: expiry(terms.now, terms.expiries.snapshot),
            spec_version: SPEC_VERSION.to_owned(),
            ..top.snapshot.clone()
        };
        for document in self.documents.iter().filter(|it| it.role != "root") {
            snapshot.meta.insert(format!("{}.json", document.role), document.listed());
        }
        self.sign_one("snapshot", &snapshot, terms).await.map(Some)
    }

    async fn timestamp(
        &self,
        top: &Top,
        snapshot: Option<&Document>,
        terms: &Terms<'_>,
    ) -> Result<Option<Document>, ChangeError> {
        if !self.change.timestamp {
            return Ok(None);
        }
        let before = &top.timestamp;
        let version =
            if self.change.restart { NonZeroU64::MIN } else { before.version.saturating_add(1) };
        let expires = expiry(terms.now, terms.expiries.timestamp);
        let mut timestamp = TimestampRole::new(SPEC_VERSION.to_owned(), version, expires);
        timestamp.meta = before.meta.clone();
        if let Some(snapshot) = snapshot {
            timestamp.meta.insert("snapshot.json".to_owned(), snapshot.listed());
        }
        self.sign_one("timestamp", &timestamp, terms).await.map(Some)
    }

    async fn sign_one<T: Role>(
        &self,
        role: &str,
        content: &T,
        terms: &Terms<'_>,
    ) -> Result<Document, ChangeError> {
        let mut document = Document::of(role, content)?;
        sign(&mut document, &self.demands, terms.keys).await?;
        match lacking(&document, &self.demands) {
            None => Ok(document),
            Some(lack) => Err(lack),
        }
    }
}

/// What is to be published, in order.
pub(super) struct Finished {
    pub(super) change: Change,
    pub(super) steps: Vec<Step>,
    /// The new metadata files and their SHA-256, in the order of their steps.
    pub(super) files: Vec<(String, String)>,
}

/// Whether each delegated role speaks for nothing but what it may.
fn check_paths(change: &Change, published: &Published) -> Result<(), ChangeError> {
    let delegations = change.top(published).delegations.as_ref();
    let delegated = delegations.map(|it| it.roles.as_slice()).unwrap_or_default();
    let mut problems = Vec::new();
    for role in delegated {
        let Some(targets) = change.roles.get(&role.name) else { continue };
        let stray = targets.names().filter(|name| !super::patterns::covers(&role.paths, name));
        problems.extend(
            stray.map(|name| format!("the role `{}` may not speak for `{name}`", role.name)),
        );
    }
    if problems.is_empty() { Ok(()) } else { Err(ChangeError::NotStrict { problems }) }
}

/// Everything that is new, signed.
struct New {
    root: Option<Document>,
    roles: Vec<Document>,
    snapshot: Option<Document>,
    timestamp: Option<Document>,
}

impl New {
    fn check_rules(&self) -> Result<(), ChangeError> {
        let all = self.root.iter().chain(&self.roles).chain(&self.snapshot).chain(&self.timestamp);
        let problems: Vec<_> = all.flat_map(|it| strict::problems(&it.news())).collect();
        if problems.is_empty() { Ok(()) } else { Err(ChangeError::NotStrict { problems }) }
    }

    /// Reads it as clients do that have the old root, with the verifying half of this crate. Returns
    /// whether they can read it even before they have the new root: then that comes last, and they
    /// are never between the two.
    fn read_back(&self, top: &Top, now: Timestamp) -> Result<bool, ChangeError> {
        let bytes =
            |new: &Option<Document>, old: &[u8]| new.as_ref().map_or(old, Document::bytes).to_vec();
        let (targets, delegated): (Vec<_>, Vec<_>) =
            self.roles.iter().partition(|it| it.role == "targets");
        let carried = targets.first().and_then(|it| it.carried());
        let targets = targets.first().map_or(top.targets_bytes(), |it| it.bytes());
        let mut reading = verify::Reading {
            roots: vec![top.root_bytes.clone()],
            timestamp: bytes(&self.timestamp, &top.timestamp_bytes),
            snapshot: bytes(&self.snapshot, &top.snapshot_bytes),
            targets: (!self.roles.is_empty()).then(|| targets.to_vec()),
            delegated: delegated.iter().map(|it| (it.role.clone(), it.bytes().to_vec())).collect(),
        };
        if self.timestamp.is_none() {
            // Only the root is new: whether the rest is in its time is not this change's matter.
            reading.roots.extend(self.root.iter().map(|it| it.bytes().to_vec()));
            return reading.roots_follow().map(|()| true).map_err(ChangeError::ReadBack);
        }
        let Some(root) = &self.root else {
            let read = match carried.filter(|_| delegated.is_empty()) {
                // What is carried over was read back when it was published.
                Some(kept) => reading.check_news(|name, value| kept.has(name, value), now),
                None => reading.check(now),
            };
            return read.map(|()| true).map_err(ChangeError::ReadBack);
        };
        let is_bridged = reading.check(now).is_ok();
        reading.roots.push(root.bytes().to_vec());
        reading.check(now).map(|()| is_bridged).map_err(ChangeError::ReadBack)
    }

    /// The files, in the order in which readers are to get them.
    fn in_order(self, root_is_last: bool) -> Vec<Document> {
        let rest = self.roles.into_iter().chain(self.snapshot).chain(self.timestamp);
        if root_is_last {
            rest.chain(self.root).collect()
        } else {
            self.root.into_iter().chain(rest).collect()
        }
    }
}

pub(super) async fn sign(
    document: &mut Document,
    demands: &[Demand],
    keys: &[SigningKey],
) -> Result<(), SignError> {
    for key in keys {
        let id = key.public().id();
        let counts = |it: &Demand| it.role == document.role && it.authority.keys.contains_key(&id);
        if demands.iter().any(counts) {
            document.sign(key).await?;
        }
    }
    Ok(())
}

fn lacking(document: &Document, demands: &[Demand]) -> Option<ChangeError> {
    let unmet = |it: &&Demand| {
        it.role == document.role && it.is_required && !document.satisfies(&it.authority)
    };
    demands.iter().find(unmet).map(|demand| ChangeError::Lacking {
        role: demand.role.clone(),
        found: document.signers(&demand.authority).len() as u64,
        threshold: demand.authority.threshold,
    })
}

/// The names of metadata that cannot be given again: no version is ever two files.
pub(super) struct Taken<'a> {
    repository: &'a Utf8Path,
    logged: Logged,
}

impl<'a> Taken<'a> {
    /// Those in `repository`, also of what an interrupted change left, and those of its log, which
    /// knows what was thrown away since.
    pub(super) fn of(repository: &'a Utf8Path, logged: Logged) -> Self {
        Self { repository, logged }
    }

    /// The first version after `before` that is free.
    fn free_version(&self, role: &str, before: Option<NonZeroU64>) -> NonZeroU64 {
        let is_free = |version: NonZeroU64| {
            let name = format!("{version}.{role}.json");
            let is_there = || self.repository.join(&name).symlink_metadata().is_ok();
            !self.logged.has(&name) && !is_there()
        };
        let mut version = before.map_or(NonZeroU64::MIN, |it| it.saturating_add(1));
        while !is_free(version) {
            version = version.saturating_add(1);
        }
        version
    }
}
