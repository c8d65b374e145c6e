//! The repository as readers see it, verified.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    num::NonZeroU64,
    sync::Arc,
};

use super::{TARGETS_DIR, add::published_as};
use crate::{
    release::Release,
    verify::{self, VerifyError},
};
use camino::{Utf8Path, Utf8PathBuf};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use tough::{
    TargetName,
    schema::{Metafile, Role, Root, Signed, Snapshot, Target, Targets, Timestamp},
};

/// The newest metadata of each role.
#[derive(Debug)]
pub(super) struct Published {
    dir: Utf8PathBuf,
    pub(super) root_bytes: Vec<u8>,
    pub(super) targets_bytes: Vec<u8>,
    pub(super) snapshot_bytes: Vec<u8>,
    pub(super) timestamp_bytes: Vec<u8>,
    pub(super) root: Root,
    pub(super) targets: Arc<Targets>,
    /// By the name of the role.
    pub(super) delegated: BTreeMap<String, Targets>,
    pub(super) snapshot: Snapshot,
    pub(super) timestamp: Timestamp,
}

impl Published {
    /// Reads the metadata in `dir`, from the first root to the newest and from there down, refusing
    /// what is not signed by the keys of the root: nobody is to be made to sign what somebody else
    /// put there.
    pub(super) fn read(dir: &Utf8Path) -> Result<Self, OpenError> {
        Self::read_after(dir, None)
    }

    /// The same as it is now. What is long and has not changed is not read anew.
    pub(super) fn read_again(&self) -> Result<Self, OpenError> {
        Self::read_after(&self.dir, Some(self))
    }

    fn read_after(dir: &Utf8Path, before: Option<&Self>) -> Result<Self, OpenError> {
        let newest = newest_version(dir, "root.json")?
            .ok_or_else(|| OpenError::NoRepository { dir: dir.to_owned() })?;
        let (root_bytes, root) = load_roots(dir, newest)?;
        let (timestamp_bytes, timestamp): (_, Timestamp) =
            load(&root, &dir.join("timestamp.json"), None)?;
        let (snapshot_bytes, snapshot): (_, Snapshot) =
            load_listed(&root, dir, (&timestamp.meta, "snapshot.json"))?;
        let before = before.filter(|it| it.root_bytes == root_bytes);
        let (targets_bytes, targets) = load_targets(&root, dir, &snapshot.meta, before)?;
        let delegated = load_delegated(dir, &targets, &snapshot)?;
        Ok(Self {
            dir: dir.to_owned(),
            root_bytes,
            targets_bytes,
            snapshot_bytes,
            timestamp_bytes,
            root,
            targets,
            delegated,
            snapshot,
            timestamp,
        })
    }

    /// Where the files of targets are.
    pub(super) fn targets_dir(&self) -> Utf8PathBuf {
        self.dir.join(TARGETS_DIR)
    }

    /// The metadata of `targets` or of a delegated role.
    pub(super) fn role(&self, name: &str) -> Option<&Targets> {
        if name == "targets" { Some(&self.targets) } else { self.delegated.get(name) }
    }

    /// The last version of the metadata of a role that lists targets, even if it was revoked since.
    pub(super) fn last_version(&self, name: &str) -> Option<NonZeroU64> {
        let listed = self.snapshot.meta.get(&format!("{name}.json")).map(|it| it.version);
        listed.max(self.role(name).map(|it| it.version))
    }

    /// The version of a `timestamp.json` that the keys of the newest root signed.
    pub(super) fn signed_timestamp(&self, bytes: &[u8]) -> Option<NonZeroU64> {
        let signed: Signed<Timestamp> = serde_json::from_slice(bytes).ok()?;
        self.root.verify_role(&signed).ok().map(|()| signed.signed.version)
    }

    /// The file of a delegated role's metadata.
    pub(super) fn delegated_file(&self, name: &str) -> Option<Utf8PathBuf> {
        let targets = self.delegated.get(name)?;
        Some(self.dir.join(format!("{}.{name}.json", targets.version)))
    }

    /// Every role that lists targets, as clients ask them.
    pub(super) fn roles(&self) -> impl Iterator<Item = (&str, &Targets)> {
        let delegated = self.delegated.iter().map(|(name, targets)| (name.as_str(), targets));
        std::iter::once(("targets", &*self.targets)).chain(delegated)
    }

    /// What is listed as `target`, and by which role.
    pub(super) fn target(&self, target: &str) -> Option<(&str, &Target)> {
        let name = TargetName::new(target).ok()?;
        self.roles().find_map(|(role, targets)| Some((role, targets.targets.get(&name)?)))
    }

    /// The release manifest that is listed as `name`, if one is.
    pub(super) fn release(&self, name: &str) -> Result<Option<Release>, OpenError> {
        let Some((_, target)) = self.target(name) else { return Ok(None) };
        let path = self.dir.join(TARGETS_DIR).join(published_as(name, &target.hashes.sha256));
        let bytes = read(&path)?;
        if Sha256::digest(&bytes)[..] != target.hashes.sha256[..] {
            return Err(OpenError::Mismatch { path });
        }
        Release::from_json(&bytes).map(Some).map_err(|_| OpenError::Mismatch { path })
    }

    /// The names of the metadata files that the newest state is made of, with every root on the way
    /// to it.
    pub(super) fn files(&self) -> Vec<String> {
        let roles = self.roles().map(|(name, targets)| format!("{}.{name}.json", targets.version));
        let mut files: Vec<_> = roles.collect();
        files.extend((1..=self.root.version.get()).map(|version| format!("{version}.root.json")));
        files.push(format!("{}.snapshot.json", self.snapshot.version));
        files.push("timestamp.json".to_owned());
        files
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
    /// A root that the one before it did not sign, or that is called by another's version.
    #[error("`{path}` does not follow the root metadata before it")]
    Root {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: VerifyError,
    },
    /// A change of keys that was broken off and cannot be finished.
    #[error("could not finish the change of keys in `{path}`")]
    Unfinished {
        /// What is left of it.
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
            | Self::Root { .. }
            | Self::Unfinished { .. }
            | Self::Mismatch { .. } => None,
        }
    }
}

/// The root of version `newest`, reached from the first one step by step as readers reach it. That a
/// root pleases itself says nothing: anybody can make one that lists our public keys.
fn load_roots(dir: &Utf8Path, newest: u64) -> Result<(Vec<u8>, Root), OpenError> {
    let mut before: Option<Vec<u8>> = None;
    for version in 1..=newest {
        let path = dir.join(format!("{version}.root.json"));
        let bytes = read(&path)?;
        let followed = match &before {
            None => verify::check_first_root(&bytes),
            Some(before) => verify::check_next_root(before, &bytes),
        };
        followed.map_err(|source| OpenError::Root { path, source })?;
        before = Some(bytes);
    }
    let bytes = before.ok_or_else(|| OpenError::NoRepository { dir: dir.to_owned() })?;
    let root: Signed<Root> = parse(&dir.join(format!("{newest}.root.json")), &bytes)?;
    Ok((bytes, root.signed))
}

/// The targets metadata that `meta` lists. If it is what was verified `before` with the keys of the same root, it
/// is still right.
fn load_targets(
    root: &Root,
    dir: &Utf8Path,
    meta: &HashMap<String, Metafile>,
    before: Option<&Published>,
) -> Result<(Vec<u8>, Arc<Targets>), OpenError> {
    const NAME: &str = "targets.json";
    if let (Some(before), Some(listed)) = (before, meta.get(NAME)) {
        let path = dir.join(format!("{}.{NAME}", listed.version));
        let bytes = read(&path)?;
        if bytes == before.targets_bytes {
            check_listed(&path, &bytes, (Some(listed), before.targets.version))?;
            return Ok((bytes, Arc::clone(&before.targets)));
        }
    }
    let (bytes, targets) = load_listed(root, dir, (meta, NAME))?;
    Ok((bytes, Arc::new(targets)))
}

fn load_listed<T: Role + DeserializeOwned>(
    root: &Root,
    dir: &Utf8Path,
    (meta, name): (&HashMap<String, Metafile>, &str),
) -> Result<(Vec<u8>, T), OpenError> {
    let listed = meta.get(name).ok_or_else(|| OpenError::Mismatch { path: dir.join(name) })?;
    load(root, &dir.join(format!("{}.{name}", listed.version)), Some(listed))
}

fn load<T: Role + DeserializeOwned>(
    root: &Root,
    path: &Utf8Path,
    listed: Option<&Metafile>,
) -> Result<(Vec<u8>, T), OpenError> {
    let bytes = read(path)?;
    let signed: Signed<T> = parse(path, &bytes)?;
    check_signed(root, &signed, path)?;
    check_listed(path, &bytes, (listed, signed.signed.version()))?;
    Ok((bytes, signed.signed))
}

/// The metadata of every role that `targets` delegates to. One that the snapshot does not list was
/// never published.
fn load_delegated(
    dir: &Utf8Path,
    targets: &Targets,
    snapshot: &Snapshot,
) -> Result<BTreeMap<String, Targets>, OpenError> {
    let mut loaded = BTreeMap::new();
    let Some(delegations) = &targets.delegations else { return Ok(loaded) };
    for role in &delegations.roles {
        let Some(listed) = snapshot.meta.get(&format!("{}.json", role.name)) else { continue };
        let path = dir.join(format!("{}.{}.json", listed.version, role.name));
        let bytes = read(&path)?;
        let signed: Signed<Targets> = parse(&path, &bytes)?;
        delegations.verify_role(&signed, &role.name).map_err(|source| OpenError::Unsigned {
            path: path.clone(),
            source: Box::new(source),
        })?;
        check_listed(&path, &bytes, (Some(listed), signed.signed.version))?;
        loaded.insert(role.name.clone(), signed.signed);
    }
    Ok(loaded)
}

fn check_listed(
    path: &Utf8Path,
    bytes: &[u8],
    (listed, version): (Option<&Metafile>, NonZeroU64),
) -> Result<(), OpenError> {
    let fits = |listed: &Metafile| {
        listed.version == version
            && listed.length.is_none_or(|length| length == bytes.len() as u64)
            && listed
                .hashes
                .as_ref()
                .is_none_or(|hashes| hashes.sha256[..] == Sha256::digest(bytes)[..])
    };
    if listed.is_none_or(fits) {
        Ok(())
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

fn check_signed<T: Role>(
    root: &Root,
    signed: &Signed<T>,
    path: &Utf8Path,
) -> Result<(), OpenError> {
    root.verify_role(signed)
        .map_err(|source| OpenError::Unsigned { path: path.to_owned(), source: Box::new(source) })
}
