//! The metadata received and verified so far: what nobody may roll back behind.
//!
//! The bytes are kept as they came, so that what is read back verifies by the same signatures;
//! every root since the pinned one is kept, so that the newest is reached from the pinned one
//! without a server. Nothing read back is trusted before it is verified again.

use std::{
    fs, io,
    path::{Component as PathPart, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use sha2::{Digest, Sha256};
use sigstore_tuf::MetadataStore;

use crate::{
    disk::{self, Access},
    power::through,
};

/// The folder of stores in a cache.
pub(crate) const METADATA: &str = "metadata";

/// A directory with the metadata of the repository that one pinned root speaks for, wherever it is
/// published.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    dir: PathBuf,
    /// The first write that failed, which the client library only logs.
    failure: Arc<Mutex<Option<(PathBuf, io::Error)>>>,
}

impl Store {
    /// Opens, or makes, the store for `pinned_root` below `cache_dir`.
    pub(crate) fn open(cache_dir: &Path, pinned_root: &[u8]) -> Result<Self, (PathBuf, io::Error)> {
        let dir = cache_dir.join(METADATA).join(hex::encode(Sha256::digest(pinned_root)));
        disk::make_dir(&dir, Access::Owner).map_err(|error| (dir.clone(), error))?;
        Ok(Self { dir, failure: Arc::default() })
    }

    /// Waits until no other process refreshes this store, and keeps them waiting until the guard is
    /// dropped: a slower one would put older metadata over newer.
    pub(crate) fn lock(&self) -> Result<fs::File, (PathBuf, io::Error)> {
        let path = self.dir.join("lock");
        let made = through(&path, |_| fs::File::create(&path));
        let locked = made.and_then(|file| file.lock().map(|()| file));
        locked.map_err(|error| (path, error))
    }

    /// The first failure to write since the last call.
    pub(crate) fn take_failure(&self) -> Option<(PathBuf, io::Error)> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A stored file by the name a server has it under: `3.snapshot.json` is kept as
    /// `snapshot.json`.
    pub(crate) fn read(&self, served_name: &str) -> io::Result<Option<Vec<u8>>> {
        if served_name.ends_with(".root.json") {
            return self.read_kept(&format!("root_history/{served_name}"));
        }
        let kept = match served_name.split_once('.') {
            Some((version, name)) if version.parse::<u64>().is_ok() && name != "json" => name,
            Some(_) | None => served_name,
        };
        self.read_kept(kept)
    }

    /// A symbolic link is none of ours, and not followed.
    fn read_kept(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(name)?;
        if path.is_symlink() {
            tracing::warn!(path = %path.display(), "a symbolic link among stored metadata is passed over");
            return Ok(None);
        }
        match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write_kept(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(name)?;
        disk::make_dir(disk::parent(&path), Access::Owner)?;
        disk::replace(&path, bytes, Access::Owner)
    }

    /// Role names come from the repository: none may lead out of the directory.
    fn path(&self, name: &str) -> io::Result<PathBuf> {
        let relative = Path::new(name);
        if relative.components().all(|part| matches!(part, PathPart::Normal(_))) {
            Ok(self.dir.join(relative))
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{name}` leads out of the store"),
            ))
        }
    }
}

impl MetadataStore for Store {
    fn load(&self, name: &str) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        self.read_kept(name).map_err(|error| {
            sigstore_tuf::Error::io(format!("could not read stored `{name}`"), error)
        })
    }

    fn store(&self, name: &str, bytes: &[u8]) -> sigstore_tuf::Result<()> {
        // One copy of each role is enough: the versioned name of a snapshot adds nothing.
        if name.ends_with(".snapshot.json") {
            return Ok(());
        }
        self.write_kept(name, bytes).map_err(|error| {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            let told = io::Error::new(error.kind(), error.to_string());
            failure.get_or_insert((self.dir.join(name), told));
            sigstore_tuf::Error::io(format!("could not store `{name}`"), error)
        })
    }
}
