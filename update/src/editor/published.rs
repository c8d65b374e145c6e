//! The repository as readers see it, verified.

use std::{fs, io, num::NonZeroU64};

use camino::{Utf8Path, Utf8PathBuf};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tough::schema::{Metafile, Role, Root, Signed, Snapshot, Targets, Timestamp};

use super::{RoleStatus, Status, TargetStatus, metadata::role_type};
use crate::keys::{SigningKey, TufRole};

/// The newest metadata of each role.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) root_bytes: Vec<u8>,
    pub(super) root: Root,
    pub(super) targets: Targets,
    pub(super) snapshot: Snapshot,
    pub(super) timestamp: Timestamp,
}

impl Published {
    /// Reads the metadata in `dir` from the newest root down, refusing what is not signed by the
    /// root's keys: nobody is to be made to sign what somebody else put there.
    pub(super) fn read(dir: &Utf8Path) -> Result<Self, OpenError> {
        let newest = newest_version(dir, "root.json")?
            .ok_or_else(|| OpenError::NoRepository { dir: dir.to_owned() })?;
        let root_path = dir.join(format!("{newest}.root.json"));
        let root_bytes = read(&root_path)?;
        let root: Signed<Root> = parse(&root_path, &root_bytes)?;
        verify(&root.signed, &root, &root_path)?;
        let root = root.signed;
        let timestamp: Timestamp = load(&root, &dir.join("timestamp.json"), None)?;
        let snapshot: Snapshot = load_listed(&root, dir, (&timestamp.meta, "snapshot.json"))?;
        let targets: Targets = load_listed(&root, dir, (&snapshot.meta, "targets.json"))?;
        Ok(Self { root_bytes, root, targets, snapshot, timestamp })
    }

    /// Whether the root lists `key` for `role`.
    pub(super) fn trusts(&self, role: TufRole, key: &SigningKey) -> bool {
        let key = key.signer.tuf_key();
        self.root.keys(role_type(role)).any(|listed| *listed == key)
    }

    pub(super) fn status(&self) -> Status {
        let role = |role, version: NonZeroU64, expires| RoleStatus {
            role,
            version: version.get(),
            expires,
        };
        let roles = vec![
            role(TufRole::Root, self.root.version, self.root.expires),
            role(TufRole::Targets, self.targets.version, self.targets.expires),
            role(TufRole::Snapshot, self.snapshot.version, self.snapshot.expires),
            role(TufRole::Timestamp, self.timestamp.version, self.timestamp.expires),
        ];
        let listed = self.targets.targets_iter().map(|(name, target)| TargetStatus {
            name: name.raw().to_owned(),
            version: target.custom.get("version").and_then(|it| it.as_str()).map(str::to_owned),
            length: target.length,
            sha256: hex::encode(&target.hashes.sha256),
        });
        let mut targets: Vec<_> = listed.collect();
        targets.sort_by(|a, b| a.name.cmp(&b.name));
        Status { roles, targets }
    }
}

/// The highest N of the files `N.<name>` in `dir`, published or left by an interrupted change.
pub(super) fn newest_version(dir: &Utf8Path, name: &str) -> Result<Option<u64>, OpenError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(OpenError::Read { path: dir.to_owned(), source }),
    };
    let mut newest = None;
    for entry in entries {
        let entry = entry.map_err(|source| OpenError::Read { path: dir.to_owned(), source })?;
        let file = entry.file_name();
        let version =
            file.to_str().and_then(|it| it.strip_suffix(name)?.strip_suffix('.')?.parse().ok());
        newest = newest.max(version);
    }
    Ok(newest)
}

/// Why a repository cannot be opened for changes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is none.
    #[error("`{dir}` is not a TUF repository")]
    NoRepository {
        /// Where it was looked for.
        dir: Utf8PathBuf,
    },
    /// A file that cannot be read.
    #[error("could not read `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is no metadata.
    #[error("`{path}` is not TUF metadata")]
    Malformed {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A file without the signatures that the root asks for.
    #[error("`{path}` is not signed as the root metadata demands")]
    Unsigned {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Files that do not belong together.
    #[error("`{path}` is not the file that the metadata above it lists")]
    Mismatch {
        /// The file.
        path: Utf8PathBuf,
    },
}

impl OpenError {
    /// What to do next, for the errors where that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NoRepository { .. } => Some("`fleetctl updates init` makes one".to_owned()),
            Self::Read { .. }
            | Self::Malformed { .. }
            | Self::Unsigned { .. }
            | Self::Mismatch { .. } => None,
        }
    }
}

fn load_listed<T: Role + DeserializeOwned>(
    root: &Root,
    dir: &Utf8Path,
    (meta, name): (&std::collections::HashMap<String, Metafile>, &str),
) -> Result<T, OpenError> {
    let listed = meta.get(name).ok_or_else(|| OpenError::Mismatch { path: dir.join(name) })?;
    load(root, &dir.join(format!("{}.{name}", listed.version)), Some(listed))
}

fn load<T: Role + DeserializeOwned>(
    root: &Root,
    path: &Utf8Path,
    listed: Option<&Metafile>,
) -> Result<T, OpenError> {
    let bytes = read(path)?;
    let signed: Signed<T> = parse(path, &bytes)?;
    verify(root, &signed, path)?;
    let fits = |listed: &Metafile| {
        listed.version == signed.signed.version()
            && listed.length.is_none_or(|length| length == bytes.len() as u64)
            && listed
                .hashes
                .as_ref()
                .is_none_or(|hashes| hashes.sha256[..] == Sha256::digest(&bytes)[..])
    };
    if listed.is_none_or(fits) {
        Ok(signed.signed)
    } else {
        Err(OpenError::Mismatch { path: path.to_owned() })
    }
}

fn read(path: &Utf8Path) -> Result<Vec<u8>, OpenError> {
    fs::read(path).map_err(|source| OpenError::Read { path: path.to_owned(), source })
}

fn parse<T: DeserializeOwned>(path: &Utf8Path, bytes: &[u8]) -> Result<T, OpenError> {
    serde_json::from_slice(bytes)
        .map_err(|source| OpenError::Malformed { path: path.to_owned(), source })
}

fn verify<T: Role>(root: &Root, signed: &Signed<T>, path: &Utf8Path) -> Result<(), OpenError> {
    root.verify_role(signed)
        .map_err(|source| OpenError::Unsigned { path: path.to_owned(), source: Box::new(source) })
}
