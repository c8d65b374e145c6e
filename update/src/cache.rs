//! Targets by the hash of their content, shared by every repository and process that uses the
//! directory.
//!
//! A file appears under its hash whole or not at all. It is hashed again whenever it is asked for,
//! so a damaged one is found, thrown away and fetched anew.

use std::{
    fs, io,
    io::{Read, Seek as _, Write},
    path::PathBuf,
    sync::Arc,
};

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256, Sha512};
use tempfile::{NamedTempFile, TempPath};

use crate::{
    disk::{self, Access},
    power::through,
    store::METADATA,
};

/// A directory of files named by their SHA-256.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    dir: Utf8PathBuf,
    /// Held, shared, by all who may be writing here, or metadata beside: whoever gets it alone knows
    /// that half-written files are leftovers.
    _in_use: Arc<fs::File>,
}

impl Cache {
    /// Opens, or makes, the cache below `cache_dir`, and removes what interrupted downloads left, and
    /// interrupted writes to the stores of metadata.
    pub(crate) fn open(cache_dir: &Utf8Path) -> Result<Self, (PathBuf, io::Error)> {
        let dir = cache_dir.join("targets");
        let at = |path: &Utf8Path| {
            let path = path.as_std_path().to_owned();
            move |error| (path, error)
        };
        disk::make_dir(dir.as_std_path(), Access::Owner).map_err(at(&dir))?;
        let lock_path = dir.join(LOCK);
        let lock = through(lock_path.as_std_path(), |_| fs::File::create(&lock_path));
        let lock = lock.map_err(at(&lock_path))?;
        if lock.try_lock().is_ok() {
            for dir in [&dir, &cache_dir.join(METADATA)] {
                disk::remove_leftovers(dir.as_std_path()).map_err(at(dir))?;
            }
        }
        lock.lock_shared().map_err(at(&lock_path))?;
        Ok(Self { dir, _in_use: Arc::new(lock) })
    }

    /// The file whose content hashes to `sha256`, if it is here and does.
    pub(crate) fn find(&self, sha256: &str) -> Result<Option<Utf8PathBuf>, CacheError> {
        let path = self.path(sha256);
        let found = match fs::File::open(&path) {
            Ok(mut file) => {
                let mut hasher = Hasher::of(sha256);
                hash_into(&mut hasher, &mut file)
                    .map_err(|source| CacheError { path: path.clone(), source })?;
                hasher.finish()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CacheError { path, source }),
        };
        if found == sha256 {
            return Ok(Some(path));
        }
        tracing::warn!(%path, "a cached file is damaged and is fetched again");
        match disk::remove_if_there(path.as_std_path()) {
            Ok(()) => Ok(None),
            Err(source) => Err(CacheError { path, source }),
        }
    }

    /// Starts a file whose hash is not known yet.
    pub(crate) fn create(&self) -> Result<CacheWriter, CacheError> {
        let dir = self.dir.as_std_path();
        let file = through(dir, |_| disk::temporary(dir));
        let file = file.map_err(|source| CacheError { path: self.dir.clone(), source })?;
        Ok(CacheWriter { cache: self.clone(), file, hasher: Hasher::default(), length: 0 })
    }

    /// Goes on with a file that is to hash to `sha256`, where an earlier attempt has ended. While
    /// somebody else is at it, starts another.
    pub(crate) fn resume(&self, sha256: &str) -> Result<CacheWriter, CacheError> {
        let path = self.dir.join(format!("{UNFINISHED_PREFIX}{sha256}"));
        let failed = |source| CacheError { path: path.clone(), source };
        if path.is_symlink() {
            disk::remove_if_there(path.as_std_path()).map_err(failed)?;
        }
        let mut options = fs::File::options();
        options.read(true).append(true).create(true);
        let mut file = through(path.as_std_path(), |_| options.open(&path)).map_err(failed)?;
        let mut hasher = Hasher::of(sha256);
        if file.try_lock().is_err() {
            return Ok(CacheWriter { hasher, ..self.create()? });
        }
        let length = hash_into(&mut hasher, &mut file).map_err(failed)?;
        let place = TempPath::try_from_path(path.as_std_path()).map_err(failed)?;
        let mut file = NamedTempFile::from_parts(file, place);
        file.disable_cleanup(true);
        Ok(CacheWriter { cache: self.clone(), file, hasher, length })
    }

    /// How many bytes of the file that is to hash to `sha256` an earlier attempt has brought.
    pub(crate) fn begun(&self, sha256: &str) -> u64 {
        let path = self.dir.join(format!("{UNFINISHED_PREFIX}{sha256}"));
        path.symlink_metadata().map_or(0, |about| about.len())
    }

    /// Removes everything but the targets that hash to one of `wanted`, unfinished ones included.
    pub(crate) fn keep_only(&self, wanted: &[&str]) -> Result<(), CacheError> {
        let failed = |source| CacheError { path: self.dir.clone(), source };
        for entry in self.dir.read_dir_utf8().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let hash = name.strip_prefix(UNFINISHED_PREFIX).unwrap_or(name);
            if name != LOCK && !disk::is_leftover(name) && !wanted.contains(&hash) {
                disk::remove_if_there(entry.path().as_std_path()).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn path(&self, sha256: &str) -> Utf8PathBuf {
        self.dir.join(sha256)
    }
}

/// A file of the cache that is being written.
#[derive(Debug)]
pub(crate) struct CacheWriter {
    cache: Cache,
    file: NamedTempFile,
    hasher: Hasher,
    length: u64,
}

impl CacheWriter {
    /// Appends `bytes`.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), CacheError> {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        let path = self.file.path().to_owned();
        through(&path, |it| self.file.write_all(it.of(bytes)))
            .map_err(|source| CacheError { path: self.cache.dir.clone(), source })
    }

    /// Bytes so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The hash of the bytes so far, in hexadecimal.
    pub(crate) fn sha256(&self) -> String {
        self.hasher.clone().finish()
    }

    /// Begins anew, with what is there thrown away.
    pub(crate) fn restart(&mut self) -> Result<(), CacheError> {
        (self.hasher, self.length) = (self.hasher.anew(), 0);
        let path = self.file.path().to_owned();
        let emptied = through(&path, |it| match it.is_whole() {
            true => self.file.as_file().set_len(0).and_then(|()| self.file.rewind()),
            false => Ok(()),
        });
        emptied.map_err(|source| CacheError { path: self.cache.dir.clone(), source })
    }

    /// Removes the file, which nobody is to go on with.
    pub(crate) fn discard(mut self) {
        let is_there = through(self.file.path(), |it| Ok(!it.is_whole())).unwrap_or(true);
        self.file.disable_cleanup(is_there);
    }

    /// Keeps the file under its hash. Without this call one that can be gone on with stays as it is,
    /// and any other is removed.
    pub(crate) fn keep(self) -> Result<Utf8PathBuf, CacheError> {
        let path = self.cache.path(&self.sha256());
        disk::persist(self.file, path.as_std_path(), Access::Owner)
            .map_err(|source| CacheError { path: path.clone(), source })?;
        Ok(path)
    }
}

/// SHA-256, or SHA-512 for the files of publishers who give nothing else.
#[derive(Debug, Clone)]
enum Hasher {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Default for Hasher {
    fn default() -> Self {
        Self::Sha256(Sha256::new())
    }
}

impl Hasher {
    /// The one that gives `hash`, in hexadecimal.
    fn of(hash: &str) -> Self {
        if hash.len() == 128 { Self::Sha512(Box::default()) } else { Self::default() }
    }

    fn anew(&self) -> Self {
        match self {
            Self::Sha256(_) => Self::default(),
            Self::Sha512(_) => Self::Sha512(Box::default()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// In hexadecimal.
    fn finish(self) -> String {
        match self {
            Self::Sha256(hasher) => hex::encode(hasher.finalize()),
            Self::Sha512(hasher) => hex::encode(hasher.finalize()),
        }
    }
}

/// The cache cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("could not use the cached file `{path}`")]
pub struct CacheError {
    /// The file.
    pub path: Utf8PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The SHA-256 of what is left to read of `file`, in hexadecimal.
pub(crate) fn hash(file: &mut dyn Read) -> io::Result<String> {
    let mut hasher = Hasher::default();
    hash_into(&mut hasher, file)?;
    Ok(hasher.finish())
}

/// Gives the number of bytes.
fn hash_into(hasher: &mut Hasher, file: &mut dyn Read) -> io::Result<u64> {
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(total),
            length => {
                hasher.update(&buffer[..length]);
                total += length as u64;
            }
        }
    }
}

const LOCK: &str = "lock";
/// Before the hash that a file is to have once it is whole.
const UNFINISHED_PREFIX: &str = ".unfinished-";
