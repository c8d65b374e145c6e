//! A copy of the repository somewhere else, brought up to date in an order that never shows a reader
//! files that do not fit together.

use std::{fs, io};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use super::{
    OpenError, SweepError, TARGETS_DIR,
    published::{Published, newest_version},
    sweep::{files, hash_in},
};
use crate::{
    disk::{self, Access},
    verify::Reading,
};

mod stock;

pub use stock::{Stock, Upload};

/// Where the copy is.
enum Place<'a> {
    Folder(&'a Utf8Path),
    Stock(&'a Stock),
}

impl Place<'_> {
    /// A file's path, as errors show it.
    fn path(&self, name: &str) -> Utf8PathBuf {
        match self {
            Self::Folder(dir) if name.is_empty() => (*dir).to_owned(),
            Self::Folder(dir) => dir.join(name),
            Self::Stock(stock) => stock.path(name),
        }
    }

    /// The content of a metadata file; none, if it is not there, or not known.
    fn read(&self, name: &Utf8Path) -> Result<Option<Vec<u8>>, MirrorError> {
        match self {
            Self::Folder(dir) => read(&dir.join(name)),
            Self::Stock(stock) => Ok(stock.contents.get(name).cloned()),
        }
    }

    fn has(&self, name: &Utf8Path) -> Result<bool, MirrorError> {
        Ok(self.length(name)?.is_some())
    }

    fn length(&self, name: &Utf8Path) -> Result<Option<u64>, MirrorError> {
        match self {
            Self::Folder(dir) => length(&dir.join(name)),
            Self::Stock(stock) => Ok(stock.lengths.get(name).copied()),
        }
    }

    fn newest_root(&self) -> Result<Option<u64>, MirrorError> {
        match self {
            Self::Folder(dir) => Ok(newest_version(dir, "root.json")?),
            Self::Stock(stock) => Ok(stock.newest_root()),
        }
    }
}

/// What is missing in a copy, in the order in which it is to be written.
#[derive(Debug)]
pub struct Mirror {
    from: Utf8PathBuf,
    to: Utf8PathBuf,
    names: Vec<Utf8PathBuf>,
    /// Keeps others from writing to the copy, and from changing what is copied.
    _locks: [Held; 2],
}

/// A locked file.
#[derive(Debug)]
struct Held(fs::File);

impl Drop for Held {
    /// Said aloud: closing the file is not enough while a program that is just being started has a copy.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl Mirror {
    /// Compares what is in `to` with the repository in `from`.
    pub(super) fn plan(
        from: &Utf8Path,
        to: &Utf8Path,
        (lock, now): (fs::File, Timestamp),
    ) -> Result<Self, MirrorError> {
        let failed = |source| MirrorError::Write { path: to.to_owned(), source };
        let published = Published::read(from)?;
        check_is_copy(&published, from, &Place::Folder(to))?;
        disk::make_dir(to.join(TARGETS_DIR).as_std_path(), Access::World).map_err(failed)?;
        let locked = fs::File::create(to.join(LOCK))
            .and_then(|it| it.try_lock().map(|()| it).map_err(Into::into));
        let locked = locked.map_err(|source| MirrorError::Busy { dir: to.to_owned(), source })?;
        let names = compare((from, &published), &Place::Folder(to), now)?;
        let _locks = [Held(lock), Held(locked)];
        Ok(Self { from: from.to_owned(), to: to.to_owned(), names, _locks })
    }

    /// The files that are missing, relative to the copy, in order.
    pub fn names(&self) -> &[Utf8PathBuf] {
        &self.names
    }

    /// Copies one of them: it appears whole. Doing it again changes nothing.
    pub fn copy(&self, name: &Utf8Path) -> Result<(), MirrorError> {
        let (from, to) = (self.from.join(name), self.to.join(name));
        let failed = |source| MirrorError::Write { path: to.clone(), source };
        let dir = disk::parent(to.as_std_path());
        disk::make_dir(dir, Access::World).map_err(failed)?;
        if !is_as_named(&from)? {
            return Err(MirrorError::Differs { path: from });
        }
        let mut file = disk::temporary(dir).map_err(failed)?;
        fs::File::open(&from)
            .and_then(|mut source| io::copy(&mut source, &mut file))
            .map_err(|source| MirrorError::Read { path: from, source })?;
        disk::persist(file, to.as_std_path(), Access::World).map_err(failed)
    }

    /// Copies all of them; returns their names.
    pub fn copy_all(self) -> Result<Vec<Utf8PathBuf>, MirrorError> {
        for name in &self.names {
            self.copy(name)?;
        }
        Ok(self.names)
    }
}

const LOCK: &str = ".lock";
const TIMESTAMP: &str = "timestamp.json";

/// The files that `to` lacks, in the order in which they are to be copied.
pub(super) fn missing(
    from: &Utf8Path,
    to: &Utf8Path,
    now: Timestamp,
) -> Result<Vec<Utf8PathBuf>, MirrorError> {
    missing_at(from, &Place::Folder(to), now)
}

fn missing_at(
    from: &Utf8Path,
    to: &Place<'_>,
    now: Timestamp,
) -> Result<Vec<Utf8PathBuf>, MirrorError> {
    let published = Published::read(from)?;
    check_is_copy(&published, from, to)?;
    compare((from, &published), to, now)
}

fn compare(
    (from, published): (&Utf8Path, &Published),
    to: &Place<'_>,
    now: Timestamp,
) -> Result<Vec<Utf8PathBuf>, MirrorError> {
    let root_is_last = root_is_last(published, to, now)?;
    let mut names = Vec::new();
    for path in files(from)? {
        let name = path.strip_prefix(from).unwrap_or(&path).to_owned();
        let is_hidden = name.file_name().is_some_and(|it| it.starts_with('.'));
        if !is_hidden && is_missing(from, to, &name)? {
            names.push((rank(&name, root_is_last), name));
        }
    }
    names.sort();
    Ok(names.into_iter().map(|(_, name)| name).collect())
}

/// What of a file's name says when its turn is: targets, what metadata lists, then what makes it
/// count. Roots come one by one.
fn rank(name: &Utf8Path, root_is_last: bool) -> (u8, u64) {
    let file = name.file_name().unwrap_or_default();
    let root = file.strip_suffix(".root.json").and_then(|it| it.parse().ok());
    match (name.starts_with(TARGETS_DIR), root, file) {
        (true, ..) => (0, 0),
        (false, Some(version), _) => (if root_is_last { 4 } else { 2 }, version),
        (false, None, TIMESTAMP) => (3, 0),
        (false, None, _) => (1, 0),
    }
}

/// Whether `to` is an older copy of what is in `from`, or nothing yet.
fn check_is_copy(
    published: &Published,
    from: &Utf8Path,
    to: &Place<'_>,
) -> Result<(), MirrorError> {
    let first = Utf8Path::new("1.root.json");
    match to.read(first)? {
        None => return Ok(()),
        Some(theirs) if Some(&theirs) == read(&from.join(first))?.as_ref() => {}
        Some(_) => return Err(MirrorError::AnotherRepository { dir: to.path("") }),
    }
    let newest = to.newest_root()?;
    // Readers who saw a timestamp remember its version for as long as its key counts.
    let seen = to.read(TIMESTAMP.into())?.and_then(|it| published.signed_timestamp(&it));
    if newest > Some(published.root.version.get())
        || seen.is_some_and(|seen| seen > published.timestamp.version)
    {
        return Err(MirrorError::Newer { dir: to.path("") });
    }
    Ok(())
}

/// Whether readers of the copy can read the new state before they have the new root.
fn root_is_last(
    published: &Published,
    to: &Place<'_>,
    now: Timestamp,
) -> Result<bool, MirrorError> {
    let Some(newest) = to.newest_root()? else { return Ok(false) };
    let reading = Reading {
        roots: to.read(format!("{newest}.root.json").as_str().into())?.into_iter().collect(),
        timestamp: published.timestamp_bytes.clone(),
        snapshot: published.snapshot_bytes.clone(),
        targets: Some(published.targets_bytes().to_vec()),
        delegated: Vec::new(),
    };
    Ok(reading.check(now).is_ok())
}

/// Whether `name` is to be copied. Only the timestamp is ever replaced; another file with a name
/// that says its content or version must not be another file.
fn is_missing(from: &Utf8Path, to: &Place<'_>, name: &Utf8Path) -> Result<bool, MirrorError> {
    let from = from.join(name);
    if !to.has(name)? {
        return Ok(true);
    }
    if name.starts_with(TARGETS_DIR) {
        let is_whole = match to {
            Place::Folder(to) => is_as_named(&to.join(name))?,
            Place::Stock(_) => true,
        };
        return Ok(to.length(name)? != length(&from)? || !is_whole);
    }
    let is_other = match to.read(name)? {
        Some(theirs) => read(&from)?.as_ref() != Some(&theirs),
        // Of what is never replaced the length has to do.
        None => to.length(name)? != length(&from)?,
    };
    if is_other && name != TIMESTAMP {
        return Err(MirrorError::Differs { path: to.path(name.as_str()) });
    }
    Ok(is_other)
}

fn length(path: &Utf8Path) -> Result<Option<u64>, MirrorError> {
    match fs::metadata(path) {
        Ok(about) => Ok(Some(about.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(MirrorError::Read { path: path.to_owned(), source }),
    }
}

/// Whether a target's file has the content that its name tells the hash of, if it tells one.
fn is_as_named(path: &Utf8Path) -> Result<bool, MirrorError> {
    let Some(named) = path.file_name().and_then(hash_in) else { return Ok(true) };
    let failed = |source| MirrorError::Read { path: path.to_owned(), source };
    Ok(disk::hash(path.as_std_path()).map_err(failed)?.0 == named)
}

fn read(path: &Utf8Path) -> Result<Option<Vec<u8>>, MirrorError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(MirrorError::Read { path: path.to_owned(), source }),
    }
}

/// Why a copy is not brought up to date.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// Something else is there.
    #[error("`{dir}` is a copy of another repository")]
    AnotherRepository {
        /// The copy.
        dir: Utf8PathBuf,
    },
    /// The copy was made of a newer state.
    #[error("`{dir}` is newer than the repository")]
    Newer {
        /// The copy.
        dir: Utf8PathBuf,
    },
    /// A file that can have one content only has another.
    #[error("`{path}` is not the file that was published")]
    Differs {
        /// The file in the copy.
        path: Utf8PathBuf,
    },
    /// Somebody else is at it.
    #[error("could not lock `{dir}`")]
    Busy {
        /// The copy.
        dir: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The repository is being changed, and nobody could be kept from it.
    #[error("could not lock `{path}`")]
    Lock {
        /// The lock.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("could not read `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("could not write `{path}`")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is to be copied cannot be read as a repository.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A folder cannot be listed.
    #[error(transparent)]
    List(#[from] SweepError),
}
