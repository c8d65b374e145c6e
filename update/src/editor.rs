//! Making and changing a repository.
//!
//! ```text
//! DIR/keys/<role>.pem       encrypted private keys; never published
//! DIR/staged/               files on their way in
//! DIR/repository/           what is published, as it is
//!     N.root.json  N.targets.json  N.snapshot.json  timestamp.json
//!     targets/<component>/<platform>/<channel>/<sha256>.<file>
//! ```
//!
//! What is written keeps to the part of the specification that every TUF client reads: expiry in
//! whole seconds of UTC, consistent snapshots, key ids that are hashes of their keys, SHA-256 for
//! everything, no empty or unknown fields.

use camino::{Utf8Path, Utf8PathBuf};
use jiff::{SignedDuration, Timestamp};

use crate::{
    keys::{KeyDir, Passphrase, SigningKey, TufRole},
    names::{Channel, Component, TargetName, UpdatePlatform},
};

mod add;
mod init;
mod metadata;
mod publication;
mod published;
mod staging;

pub use add::{AddError, AdditionProblem};
pub use init::{InitError, init};
pub use metadata::SignError;
pub use publication::{Publication, PublishError, Step};
pub use published::OpenError;

use published::Published;

/// How long newly signed metadata is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiries {
    /// Of root metadata; 365 days unless changed.
    pub root: SignedDuration,
    /// Of targets metadata; 180 days unless changed.
    pub targets: SignedDuration,
    /// Of snapshot metadata; 30 days unless changed.
    pub snapshot: SignedDuration,
    /// Of timestamp metadata; 7 days unless changed.
    pub timestamp: SignedDuration,
}

impl Default for Expiries {
    fn default() -> Self {
        let days = |count: i64| SignedDuration::from_hours(24 * count);
        Self { root: days(365), targets: days(180), snapshot: days(30), timestamp: days(7) }
    }
}

/// A passphrase for each role's new key.
#[derive(Debug)]
pub struct InitPassphrases {
    /// For `keys/root.pem`.
    pub root: Passphrase,
    /// For `keys/targets.pem`.
    pub targets: Passphrase,
    /// For `keys/snapshot.pem`.
    pub snapshot: Passphrase,
    /// For `keys/timestamp.pem`.
    pub timestamp: Passphrase,
}

/// A file to publish.
#[derive(Debug, Clone)]
pub struct Addition {
    /// The file.
    pub file: Utf8PathBuf,
    /// What it is.
    pub component: Component,
    /// Where it runs.
    pub platform: UpdatePlatform,
    /// Its version, a channel such as `1.2.3`. Once published, a version keeps its content for
    /// ever.
    pub version: Channel,
    /// The other channels it becomes the current file of, e.g. `stable`.
    pub tags: Vec<Channel>,
}

/// The keys that publishing needs. The root key is not among them.
#[derive(Debug)]
pub struct PublishKeys {
    /// Signs targets metadata.
    pub targets: SigningKey,
    /// Signs snapshot metadata.
    pub snapshot: SigningKey,
    /// Signs timestamp metadata.
    pub timestamp: SigningKey,
}

/// A repository on this machine that can be changed.
#[derive(Debug)]
pub struct Editor {
    dir: Utf8PathBuf,
    keys: KeyDir,
    repository: Utf8PathBuf,
    published: Published,
}

impl Editor {
    /// Opens the repository that [`init`] made in `dir`, verifying its metadata. Expired metadata
    /// is no obstacle.
    pub fn open(dir: &Utf8Path) -> Result<Self, OpenError> {
        let repository = dir.join(REPOSITORY_DIR);
        let published = Published::read(&repository)?;
        Ok(Self {
            dir: dir.to_owned(),
            keys: KeyDir::new(dir.join(KEYS_DIR)),
            repository,
            published,
        })
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
        &self.published.root_bytes
    }

    /// Looks at `additions` without keys, so that a mistake shows before anybody types a passphrase.
    pub fn check(&self, additions: &[Addition]) -> Result<(), AddError> {
        add::check(additions)
    }

    /// Publishes `additions` in one step: a reader sees all of them or none. Returns the targets
    /// written.
    ///
    /// Adding a published version again with other tags promotes it.
    pub async fn add(
        &mut self,
        additions: &[Addition],
        keys: &PublishKeys,
        expiries: &Expiries,
        now: Timestamp,
    ) -> Result<Vec<TargetName>, AddError> {
        let targets = self.prepare(additions, keys, expiries, now).await?.publish()?;
        self.published = Published::read(&self.repository)?;
        Ok(targets)
    }

    /// Signs what [`add`](Self::add) would publish, and stages its files; a reader sees nothing of
    /// it yet. Nobody else can change the repository while the result is held.
    pub async fn prepare(
        &self,
        additions: &[Addition],
        keys: &PublishKeys,
        expiries: &Expiries,
        now: Timestamp,
    ) -> Result<Publication, AddError> {
        add::prepare(&self.dir, additions, keys, (expiries, now)).await
    }

    /// Versions, expiries and targets as they are.
    pub fn status(&self) -> Status {
        self.published.status()
    }
}

/// What a repository holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Root, targets, snapshot, timestamp.
    pub roles: Vec<RoleStatus>,
    /// Every target, sorted by name.
    pub targets: Vec<TargetStatus>,
}

/// The state of one role's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleStatus {
    /// Which role.
    pub role: TufRole,
    /// The version of its metadata.
    pub version: u64,
    /// Until when it is valid.
    pub expires: Timestamp,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetStatus {
    /// Its name, e.g. `orbit/linux/stable/orbit`.
    pub name: String,
    /// The version of the component, if the publisher told it.
    pub version: Option<String>,
    /// In bytes.
    pub length: u64,
    /// In lower-case hexadecimal.
    pub sha256: String,
}

const KEYS_DIR: &str = "keys";
const REPOSITORY_DIR: &str = "repository";
const STAGED_DIR: &str = "staged";
const TARGETS_DIR: &str = "targets";
