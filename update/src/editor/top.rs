//! What the root, the timestamp and the snapshot say, verified, and the files that they list.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    num::NonZeroU64,
    sync::Arc,
};

use camino::{Utf8Path, Utf8PathBuf};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tough::schema::{Metafile, Role, Root, Signed, Snapshot, Timestamp};

use super::{
    OpenError, TARGETS_DIR, authority::Authority, published::newest_version, signed::Unchecked,
};
use crate::verify::RootChain;

/// The name under which the timestamp lists the snapshot.
const SNAPSHOT: &str = "snapshot.json";

/// The name under which the snapshot lists the metadata of `targets`.
pub(super) const TARGETS: &str = "targets.json";

/// What stands above the roles that list targets.
#[derive(Debug, Clone)]
pub(super) struct Top {
    pub(super) dir: Utf8PathBuf,
    pub(super) root_bytes: Vec<u8>,
    pub(super) snapshot_bytes: Vec<u8>,
    pub(super) timestamp_bytes: Vec<u8>,
    pub(super) root: Root,
    pub(super) snapshot: Snapshot,
    pub(super) timestamp: Timestamp,
    /// The metadata that the snapshot lists, by the name there. Nobody has looked into it.
    pub(super) files: BTreeMap<String, Arc<RoleFile>>,
    /// The SHA-256 of every root up to the newest, of the snapshot and of the timestamp, by the
    /// names of the files.
    digests: BTreeMap<String, String>,
}

/// A file of metadata that a snapshot lists.
#[derive(Debug)]
pub(super) struct RoleFile {
    pub(super) path: Utf8PathBuf,
    pub(super) bytes: Vec<u8>,
    sha256: [u8; 32],
    /// What the snapshot says of it.
    pub(super) listed: Metafile,
}

impl RoleFile {
    /// Whether the snapshot lists the content by its hash. If so the signature of the snapshot
    /// guards it: whoever puts another file in its place is noticed before anybody looks into it.
    pub(super) fn is_pinned(&self) -> bool {
        let Metafile { length, hashes, .. } = &self.listed;
        length.is_none_or(|length| length == self.bytes.len() as u64)
            && hashes.as_ref().is_some_and(|it| it.sha256[..] == self.sha256)
    }

    /// Whether the content is not another one than the snapshot lists.
    pub(super) fn is_listed(&self) -> bool {
        let Metafile { length, hashes, .. } = &self.listed;
        length.is_none_or(|length| length == self.bytes.len() as u64)
            && hashes.as_ref().is_none_or(|it| it.sha256[..] == self.sha256)
    }

    fn name(&self) -> &str {
        self.path.file_name().unwrap_or_default()
    }
}

impl Top {
    /// Reads what is in `dir`, from the first root to the newest and from there down. What was read
    /// `before` and is the same now is neither read nor verified again: the same timestamp lists the
    /// same snapshot by its hash, and the same line of a snapshot the same file.
    pub(super) fn read(dir: &Utf8Path, before: Option<&Arc<Self>>) -> Result<Arc<Self>, OpenError> {
        let newest = newest_version(dir, "root.json")?
            .ok_or_else(|| OpenError::NoRepository { dir: dir.to_owned() })?;
        let roots = Roots::read(dir, newest, before)?;
        let before = before.filter(|it| it.root_bytes == roots.bytes);
        let path = dir.join("timestamp.json");
        let timestamp_bytes = read(&path)?;
        if let Some(before) = before.filter(|it| it.timestamp_bytes == timestamp_bytes) {
            return Ok(Arc::clone(before));
        }
        let timestamp: Timestamp = checked(&roots.root, &path, &timestamp_bytes)?;
        let mut digests = roots.digests;
        digests.insert("timestamp.json".to_owned(), hex::encode(Sha256::digest(&timestamp_bytes)));
        let listed = listed_in(dir, &timestamp.meta, SNAPSHOT)?;
        if let Some(before) = before.filter(|it| it.timestamp.meta.get(SNAPSHOT) == Some(listed)) {
            let is_above = |name: &str| name.ends_with(".root.json") || name == "timestamp.json";
            let rest = before.digests.iter().filter(|(name, _)| !is_above(name));
            digests.extend(rest.map(|(name, digest)| (name.clone(), digest.clone())));
            let top = Self { timestamp_bytes, timestamp, digests, ..(**before).clone() };
            return Ok(Arc::new(top));
        }
        let file = read_listed(dir, SNAPSHOT, listed)?;
        let snapshot: Snapshot = checked(&roots.root, &file.path, &file.bytes)?;
        if !file.is_listed() || snapshot.version != file.listed.version {
            return Err(OpenError::Mismatch { path: file.path });
        }
        digests.insert(file.name().to_owned(), hex::encode(file.sha256));
        let files = role_files(dir, &snapshot, before.map(|it| &it.files))?;
        Ok(Arc::new(Self {
            dir: dir.to_owned(),
            root_bytes: roots.bytes,
            snapshot_bytes: file.bytes,
            timestamp_bytes,
            root: roots.root,
            snapshot,
            timestamp,
            files,
            digests,
        }))
    }

    /// Whether the snapshot lists all of its files by their hashes, and they are there as listed.
    pub(super) fn is_pinned(&self) -> bool {
        self.files.values().all(|file| file.is_pinned())
    }

    /// Where the files of targets are.
    pub(super) fn targets_dir(&self) -> Utf8PathBuf {
        self.dir.join(TARGETS_DIR)
    }

    /// The metadata of `targets`, as it is published.
    pub(super) fn targets_bytes(&self) -> &[u8] {
        self.files.get(TARGETS).map_or(&[], |file| &file.bytes)
    }

    /// The last version of the metadata of a role that lists targets, even if it was revoked since.
    pub(super) fn last_version(&self, role: &str) -> Option<NonZeroU64> {
        self.snapshot.meta.get(&format!("{role}.json")).map(|it| it.version)
    }

    /// The version of a `timestamp.json` that the keys of the newest root signed.
    pub(super) fn signed_timestamp(&self, bytes: &[u8]) -> Option<NonZeroU64> {
        let signed: Signed<Timestamp> = serde_json::from_slice(bytes).ok()?;
        self.root.verify_role(&signed).ok().map(|()| signed.signed.version)
    }

    /// The metadata files that the newest state is made of, with every root on the way to it, and
    /// their SHA-256.
    pub(super) fn digests(&self) -> BTreeMap<String, String> {
        let files = self.files.values();
        let files = files.map(|file| (file.name().to_owned(), hex::encode(file.sha256)));
        self.digests.clone().into_iter().chain(files).collect()
    }
}

/// The newest root, and the way to it.
struct Roots {
    bytes: Vec<u8>,
    root: Root,
    digests: BTreeMap<String, String>,
}

impl Roots {
    /// The root of version `newest`, reached from the first one step by step as readers reach it. That
    /// a root pleases itself says nothing: anybody can make one that lists our public keys.
    fn read(dir: &Utf8Path, newest: u64, before: Option<&Arc<Top>>) -> Result<Self, OpenError> {
        let name = |version: u64| format!("{version}.root.json");
        let path = dir.join(name(newest));
        if let Some(before) = before.filter(|it| it.root.version.get() == newest)
            && read(&path)? == before.root_bytes
        {
            let roots = before.digests.iter().filter(|(name, _)| name.ends_with(".root.json"));
            let digests = roots.map(|(name, digest)| (name.clone(), digest.clone())).collect();
            let (bytes, root) = (before.root_bytes.clone(), before.root.clone());
            return Ok(Self { bytes, root, digests });
        }
        let (mut chain, mut digests) = (RootChain::default(), BTreeMap::new());
        let mut bytes = Vec::new();
        for version in 1..=newest {
            let path = dir.join(name(version));
            bytes = read(&path)?;
            chain.follow(&bytes).map_err(|source| OpenError::Root { path, source })?;
            digests.insert(name(version), hex::encode(Sha256::digest(&bytes)));
        }
        let root: Signed<Root> = serde_json::from_slice(&bytes)
            .map_err(|source| OpenError::Malformed { path, source })?;
        Ok(Self { bytes, root: root.signed, digests })
    }
}

/// What `snapshot` lists. Of a role that was revoked the file may be gone; that of a role that is
/// delegated to is missed when somebody looks into it.
fn role_files(
    dir: &Utf8Path,
    snapshot: &Snapshot,
    before: Option<&BTreeMap<String, Arc<RoleFile>>>,
) -> Result<BTreeMap<String, Arc<RoleFile>>, OpenError> {
    listed_in(dir, &snapshot.meta, TARGETS)?;
    let mut files = BTreeMap::new();
    for (name, listed) in &snapshot.meta {
        let same = before.and_then(|it| it.get(name)).filter(|it| it.listed == *listed);
        let file = match same {
            Some(file) => Ok(Arc::clone(file)),
            None => read_listed(dir, name, listed).map(Arc::new),
        };
        match file {
            Ok(file) => drop(files.insert(name.clone(), file)),
            Err(OpenError::Read { source, .. })
                if source.kind() == io::ErrorKind::NotFound && name != TARGETS => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

fn listed_in<'a>(
    dir: &Utf8Path,
    meta: &'a HashMap<String, Metafile>,
    name: &str,
) -> Result<&'a Metafile, OpenError> {
    meta.get(name).ok_or_else(|| OpenError::Mismatch { path: dir.join(name) })
}

fn read_listed(dir: &Utf8Path, name: &str, listed: &Metafile) -> Result<RoleFile, OpenError> {
    let path = dir.join(format!("{}.{name}", listed.version));
    let bytes = read(&path)?;
    let sha256 = Sha256::digest(&bytes).into();
    Ok(RoleFile { path, bytes, sha256, listed: listed.clone() })
}

/// What is in a file of a role that the root speaks for, if its keys signed it.
fn checked<T: Role + DeserializeOwned>(
    root: &Root,
    path: &Utf8Path,
    bytes: &[u8],
) -> Result<T, OpenError> {
    let authority = Authority::of_type(root, T::TYPE);
    Unchecked::parse(path, bytes)?.signed_by(&authority, |file| root.verify_role(file))
}

pub(super) fn read(path: &Utf8Path) -> Result<Vec<u8>, OpenError> {
    tracing::debug!(%path, "metadata is read");
    fs::read(path).map_err(|source| OpenError::Read { path: path.to_owned(), source })
}
