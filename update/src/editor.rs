//! Making and changing a repository.
//!
//! ```text
//! DIR/keys/<role>.pem            encrypted private keys; never published
//! DIR/repository/                published as it is
//!     timestamp.json, N.snapshot.json, N.targets.json, N.root.json
//!     targets/<component>/<platform>/<channel>/<sha256>.<file>
//! ```

use camino::{Utf8Path, Utf8PathBuf};
use jiff::{SignedDuration, Timestamp};

use crate::{
    keys::{KeyDir, Passphrase, SigningKey, TufRole},
    names::{Channel, Component, TargetName, UpdatePlatform},
};

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

/// Makes keys and an empty, signed repository in `dir`, which must hold neither.
pub async fn init(
    dir: &Utf8Path,
    passphrases: &InitPassphrases,
    expiries: &Expiries,
    now: Timestamp,
) -> Result<Editor, InitError> {
    let _ = (dir, passphrases, expiries, now);
    unimplemented!()
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
    /// Its version, `X.Y.Z`, which becomes a channel of its own.
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
pub struct Editor {}

impl Editor {
    /// Opens the repository that [`init`] made in `dir`, verifying its metadata. Expired metadata is no obstacle.
    pub fn open(dir: &Utf8Path) -> Result<Self, OpenError> {
        let _ = dir;
        unimplemented!()
    }

    /// The key files beside the repository.
    pub fn keys(&self) -> &KeyDir {
        unimplemented!()
    }

    /// The directory to publish.
    pub fn repository_dir(&self) -> &Utf8Path {
        unimplemented!()
    }

    /// The newest root metadata, byte for byte: what clients pin.
    pub fn root_json(&self) -> &[u8] {
        unimplemented!()
    }

    /// Publishes `additions` in one step: a reader sees all of them or none. Returns the targets written.
    pub async fn add(
        &mut self,
        additions: &[Addition],
        keys: &PublishKeys,
        expiries: &Expiries,
        now: Timestamp,
    ) -> Result<Vec<TargetName>, AddError> {
        let _ = (additions, keys, expiries, now);
        unimplemented!()
    }

    /// Versions, expiries and targets as they are.
    pub fn status(&self) -> Status {
        unimplemented!()
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

/// Why a repository cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {}

/// Why a repository cannot be opened for changes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {}

/// Why files cannot be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {}
