//! Making and changing a repository.
//!
//! ```text
//! DIR/keys/<name>.pem       encrypted private keys; never published
//! DIR/log.jsonl             what was done
//! DIR/change/               a change that waits for signatures
//! DIR/staged/               files on their way in
//! DIR/unfinished.json       a change of keys while it is being published
//! DIR/repository/           what is published, as it is
//!     N.root.json  N.targets.json  N.snapshot.json  timestamp.json
//!     targets/<component>/<platform>/<channel>/<sha256>.<file>
//! ```
//!
//! What is written keeps to the part of the specification that every TUF client reads: expiry in
//! whole seconds of UTC, consistent snapshots, key ids that are hashes of their keys, SHA-256 for
//! everything, no empty or unknown fields.

use std::{fs, io, sync::Arc};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use crate::keys::{KeyDir, TufRole};

mod add;
mod authority;
mod change;
mod compare;
mod document;
mod draft;
mod edit;
mod error;
mod init;
mod journal;
mod listing;
mod log;
mod migrate;
mod mirror;
mod patches;
mod patterns;
mod pending;
mod publication;
mod published;
mod release;
mod roles;
mod signed;
mod staging;
mod status;
mod strict;
mod sweep;
mod terms;
mod top;

pub use compare::{Difference, differences_between};
pub use document::SignError;
pub use edit::{Addition, Edit, Promotion};
pub use error::{AdditionProblem, ChangeError};
pub use init::{InitError, init};
pub use log::{Log, LogEntry, LogError};
pub use migrate::{Inheritance, MigrateError, migrate, roles_without_keys};
pub use mirror::{Mirror, MirrorError, Stock, Upload};
pub use patterns::PatternError;
pub use pending::{Pending, PendingError, PendingSignatures, PendingSummary};
pub use publication::{Publication, PublishError, Published as Done, Step};
pub use published::OpenError;
pub use release::{Pausing, Rollout};
pub use roles::{Delegation, KeyChange, RoleProblem};
pub use status::{Freshness, RoleStatus, Status, TargetStatus};
pub use sweep::{Keep, SweepError};
pub use terms::{Expiries, Founding, Need, Terms};

use change::{Change, Demand};
use draft::{Draft, Finished, Taken};
use journal::Journal;
use log::{Logged, NewEntry};
use published::Current;
use staging::StagedFile;

/// A repository on this machine that can be changed.
#[derive(Debug)]
pub struct Editor {
    dir: Utf8PathBuf,
    keys: KeyDir,
    repository: Utf8PathBuf,
    current: Arc<Current>,
}

impl Editor {
    /// Opens the repository that [`init`] made in `dir`, verifying its metadata: that of the roles that
    /// list targets is held against its hash, and looked into when it is first needed. Expired
    /// metadata is no obstacle. A change of keys that was broken off is finished.
    pub fn open(dir: &Utf8Path) -> Result<Self, OpenError> {
        let repository = dir.join(REPOSITORY_DIR);
        let journal = Journal::of(dir);
        if journal.is_there() {
            let path = dir.join(LOCK_FILE);
            let _lock = lock(&path).map_err(|source| OpenError::Read { path, source })?;
            journal.resume()?;
        }
        let current = Arc::new(Current::read(&repository)?);
        Ok(Self { dir: dir.to_owned(), keys: KeyDir::new(dir.join(KEYS_DIR)), repository, current })
    }

    /// The key files beside the repository.
    pub fn keys(&self) -> &KeyDir {
        &self.keys
    }

    /// The directory to publish.
    pub fn repository_dir(&self) -> &Utf8Path {
        &self.repository
    }

    /// The newest root metadata, byte for byte: what clients pin.
    pub fn root_json(&self) -> &[u8] {
        &self.current.top.root_bytes
    }

    /// What was done to it.
    pub fn log(&self) -> Log {
        Log::new(self.dir.join(LOG_FILE))
    }

    /// Whether the log tells of all that is published.
    pub fn check_log(&self) -> Result<(), LogError> {
        Logged::read(&self.log())?.check(&self.current.top)
    }

    /// Versions, expiries and targets as they are.
    pub fn status(&self, now: Timestamp) -> Result<Status, OpenError> {
        Ok(status::of(self.current.published()?, now))
    }

    /// Until when the metadata of `role` is valid; none, if there is no such role.
    pub fn expiry(&self, role: &str) -> Result<Option<Timestamp>, OpenError> {
        let top = &self.current.top;
        Ok(match TufRole::named(role) {
            Some(TufRole::Root) => Some(top.root.expires),
            Some(TufRole::Snapshot) => Some(top.snapshot.expires),
            Some(TufRole::Timestamp) => Some(top.timestamp.expires),
            Some(TufRole::Targets) | None => {
                self.current.published()?.role(role).map(|it| it.expires)
            }
        })
    }

    /// The files that no reader can want any more; removes them, unless `is_rehearsal`.
    pub fn sweep(
        &self,
        keep: &Keep,
        now: Timestamp,
        is_rehearsal: bool,
    ) -> Result<Vec<Utf8PathBuf>, SweepError> {
        let _lock = self.lock_now(|path, source| SweepError::Lock { path, source })?;
        let state = (&self.log().read()?[..], self.current.top.snapshot.version.get());
        let unwanted = sweep::unwanted(&self.repository, state, (keep, now))?;
        if !is_rehearsal {
            for path in &unwanted {
                fs::remove_file(path)
                    .map_err(|source| SweepError::Remove { path: path.clone(), source })?;
            }
        }
        Ok(unwanted)
    }

    /// Compares the copy in `to`, which need not be there, with the repository. Nobody can change
    /// either while the result is held.
    pub fn mirror(&self, to: &Utf8Path, now: Timestamp) -> Result<Mirror, MirrorError> {
        let lock = self.lock_now(|path, source| MirrorError::Lock { path, source })?;
        Mirror::plan(&self.repository, to, (lock, now))
    }

    /// Compares what is in a bucket with the repository. Nobody can change the repository while the
    /// result is held.
    pub fn upload(&self, stock: &Stock, now: Timestamp) -> Result<Upload, MirrorError> {
        let lock = self.lock_now(|path, source| MirrorError::Lock { path, source })?;
        Upload::plan(&self.repository, stock, (lock, now))
    }

    /// What [`mirror`](Self::mirror) would copy to `to`, where nothing is written.
    pub fn missing_in(
        &self,
        to: &Utf8Path,
        now: Timestamp,
    ) -> Result<Vec<Utf8PathBuf>, MirrorError> {
        mirror::missing(&self.repository, to, now)
    }

    /// Looks at `edit` without keys, so that a mistake shows before anybody types a passphrase;
    /// tells which signatures it needs.
    pub fn check(&self, edit: &Edit) -> Result<Vec<Need>, ChangeError> {
        add::check(edit.additions())?;
        let unseen: Vec<_> = edit.additions().iter().map(|_| StagedFile::unseen()).collect();
        let mut change = edit.plan(&self.current, &unseen)?;
        change.complete(&self.current)?;
        let root = change.root.as_ref().map(|_| "root");
        self.check_waiting(root.into_iter().chain(change.roles.keys().map(String::as_str)))?;
        Ok(change.demands_now(&self.current)?.into_iter().map(Need::from).collect())
    }

    /// Does `edit` in one step: a reader sees all of it or nothing.
    pub async fn apply(&mut self, edit: &Edit, terms: &Terms<'_>) -> Result<Done, ChangeError> {
        let done = self.prepare(edit, terms).await?.publish()?;
        self.current = self.current.read_again()?;
        Ok(done)
    }

    /// Signs what [`apply`](Self::apply) would publish, and stages its files; a reader sees nothing
    /// of it yet. Nobody else can change the repository while the result is held.
    pub async fn prepare(
        &self,
        edit: &Edit,
        terms: &Terms<'_>,
    ) -> Result<Publication, ChangeError> {
        let lock = self.lock().await?;
        let staged = self.dir.join(STAGED_DIR);
        match self.stage_and_sign(edit, &staged, terms).await {
            Ok(finished) => Ok(self.publication(finished, (staged, lock), terms)),
            Err(error) => {
                publication::clear(&staged)
                    .map_err(|source| ChangeError::Write { path: staged, source })?;
                Err(error)
            }
        }
    }

    async fn stage_and_sign(
        &self,
        edit: &Edit,
        staged: &Utf8Path,
        terms: &Terms<'_>,
    ) -> Result<Finished, ChangeError> {
        let logged = self.read_logged()?;
        let draft = self.draft(edit, (&logged, staged), terms).await?;
        self.check_waiting(draft.documents.iter().map(|it| it.role.as_str()))?;
        draft.finish(&logged.current, &logged.taken, terms).await
    }

    /// Whether no waiting change replaces the metadata of one of `roles`.
    fn check_waiting<'a>(
        &self,
        mut roles: impl Iterator<Item = &'a str>,
    ) -> Result<(), ChangeError> {
        match self.pending() {
            Ok(waiting) => match roles.find(|it| waiting.roles().contains(*it)) {
                Some(role) => Err(ChangeError::Waiting { role: role.to_owned() }),
                None => Ok(()),
            },
            Err(_) => Ok(()),
        }
    }

    async fn draft(
        &self,
        edit: &Edit,
        (now, staged): (&Now<'_>, &Utf8Path),
        terms: &Terms<'_>,
    ) -> Result<Draft, ChangeError> {
        let change = self.stage(edit, &now.current, staged)?;
        let validity = (terms.expiries, terms.now);
        let mut draft = Draft::new(change, &now.current, &now.taken, validity)?;
        draft.sign(terms.keys).await?;
        Ok(draft)
    }

    /// Keeps `edit` for those who have the keys, signed by the keys at hand; a reader sees nothing
    /// of it.
    pub async fn begin(&self, edit: &Edit, terms: &Terms<'_>) -> Result<Pending, ChangeError> {
        let _lock = self.lock().await?;
        self.check_can_stage()?;
        let now = self.read_logged()?;
        let staged = self.dir.join(STAGED_DIR);
        let draft = self.draft(edit, (&now, &staged), terms).await;
        let to = self.dir.join(CHANGE_DIR);
        let begun = draft.and_then(|draft| {
            let published = now.current.published()?;
            Ok(Pending::begin(draft, published, (&to, terms.who, terms.now))?)
        });
        publication::clear(&staged)
            .map_err(|source| ChangeError::Write { path: staged, source })?;
        begun
    }

    /// Whether no change waits: there is place for one.
    pub fn check_can_stage(&self) -> Result<(), PendingError> {
        let dir = self.dir.join(CHANGE_DIR);
        if dir.symlink_metadata().is_ok() { Err(PendingError::Exists { dir }) } else { Ok(()) }
    }

    /// The change that waits for signatures.
    pub fn pending(&self) -> Result<Pending, PendingError> {
        Pending::open(&self.dir.join(CHANGE_DIR))
    }

    /// The signatures that applying the waiting change needs besides those that it has: those of the
    /// snapshot and of the timestamp.
    pub fn pending_needs(&self) -> Result<Vec<Need>, PendingError> {
        let draft = self.pending()?.draft(self.current.published()?)?;
        let is_missing = |it: &Demand| matches!(it.role.as_str(), "snapshot" | "timestamp");
        Ok(draft.demands.into_iter().filter(is_missing).map(Need::from).collect())
    }

    /// Publishes the change that waits; `terms` needs the keys of the snapshot and the timestamp.
    pub async fn apply_pending(&mut self, terms: &Terms<'_>) -> Result<Done, ChangeError> {
        let done = self.prepare_pending(terms).await?.publish()?;
        self.current = self.current.read_again()?;
        Ok(done)
    }

    /// Signs what [`apply_pending`](Self::apply_pending) would publish.
    pub async fn prepare_pending(&self, terms: &Terms<'_>) -> Result<Publication, ChangeError> {
        let lock = self.lock().await?;
        let now = self.read_logged()?;
        let mut draft = self.pending()?.draft(now.current.published()?)?;
        draft.sign(terms.keys).await?;
        let finished = draft.finish(&now.current, &now.taken, terms).await?;
        Ok(self.publication(finished, (self.dir.join(CHANGE_DIR), lock), terms))
    }

    /// Forgets the change that waits.
    pub async fn cancel_pending(&self) -> Result<(), ChangeError> {
        let _lock = self.lock().await?;
        self.pending()?;
        let dir = self.dir.join(CHANGE_DIR);
        publication::clear(&dir).map_err(|source| ChangeError::Write { path: dir, source })
    }

    /// Copies the files of `edit` to `staged` and plans the rest.
    fn stage(
        &self,
        edit: &Edit,
        current: &Current,
        staged: &Utf8Path,
    ) -> Result<Change, ChangeError> {
        let additions = edit.additions();
        if additions.is_empty() {
            return edit.plan(current, &[]);
        }
        let published = current.published()?;
        add::name_targets(additions)?;
        let mut files = add::stage_all(additions, staged)?;
        add::check_versions(published, additions, &files)?;
        patches::make_all(published, additions, &mut files, staged)?;
        edit.plan(current, &files)
    }

    fn publication(
        &self,
        Finished { change, steps, files }: Finished,
        (staged, lock): (Utf8PathBuf, fs::File),
        terms: &Terms<'_>,
    ) -> Publication {
        Publication {
            done: Done {
                what: change.what.clone(),
                targets: change.targets.into_iter().collect(),
                files: files.iter().map(|(name, _)| name.clone()).collect(),
            },
            entry: NewEntry {
                time: terms.now,
                who: terms.who.to_owned(),
                what: change.what,
                files: files.into_iter().collect(),
            },
            journal: Journal::of(&self.dir),
            log: self.log(),
            steps,
            staged,
            lock,
        }
    }

    /// What is published, if the log tells of all of it. A repository whose first root is another one
    /// too holds together, and only the log, which is not published, says that it is not ours.
    fn read_logged(&self) -> Result<Now<'_>, ChangeError> {
        Journal::of(&self.dir).resume()?;
        let current = self.current.read_again()?;
        let logged = Logged::read(&self.log())?;
        logged.check(&current.top)?;
        Ok(Now { current, taken: Taken::of(&self.repository, logged) })
    }

    fn lock_now<E>(&self, failed: impl FnOnce(Utf8PathBuf, io::Error) -> E) -> Result<fs::File, E> {
        let path = self.dir.join(LOCK_FILE);
        lock(&path).map_err(|source| failed(path, source))
    }

    async fn lock(&self) -> Result<fs::File, ChangeError> {
        let path = self.dir.join(LOCK_FILE);
        let at = path.clone();
        let locking = tokio::task::spawn_blocking(move || lock(&at));
        let locked = locking.await.expect("locking a file does not panic");
        locked.map_err(|source| ChangeError::Write { path, source })
    }
}

/// What is published while nobody else may change it, all of it logged.
struct Now<'a> {
    current: Arc<Current>,
    taken: Taken<'a>,
}

/// Waits until nobody else has the file at `path` locked, which is made if it is not there.
fn lock(path: &Utf8Path) -> io::Result<fs::File> {
    fs::File::create(path).and_then(|file| file.lock().map(|()| file))
}

const CHANGE_DIR: &str = "change";
const JOURNAL_FILE: &str = "unfinished.json";
const KEYS_DIR: &str = "keys";
const LOCK_FILE: &str = ".lock";
const LOG_FILE: &str = "log.jsonl";
const REPOSITORY_DIR: &str = "repository";
const STAGED_DIR: &str = "staged";
const TARGETS_DIR: &str = "targets";
