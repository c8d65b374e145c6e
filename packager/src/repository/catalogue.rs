//! What a repository publishes, as its index was made from: kept in the folder of the index, so that the
//! two change together.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::{
    RepositoryError,
    publication::{beside, make_parent, recover},
};
use crate::hashing::HashingWriter;

/// Its name in the folder of the index. Readers of repositories do not look at it.
pub(super) const FILE: &str = "fleetctl.json";

/// How many indexes of before keep the files that their readers may still ask for.
const GENERATIONS: usize = 3;

/// How many catalogues of before are remembered.
const ANCESTORS: usize = 256;

/// Everything that is published, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Catalogue<S> {
    /// What `init` was told.
    pub(super) settings: S,
    /// Sorted by file.
    pub(super) packages: Vec<Listed>,
    /// Files of the index whose names are their digests, of this index first.
    pub(super) generations: Vec<Vec<String>>,
    /// What the catalogues before this one were, the last first: see [`Lineage`].
    #[serde(default)]
    ancestors: Vec<String>,
    /// What this was when it was read.
    #[serde(skip)]
    read_as: Option<String>,
}

/// Which catalogues came before one.
#[derive(Debug, Deserialize)]
pub(super) struct Lineage {
    #[serde(default)]
    ancestors: Vec<String>,
}

impl Lineage {
    /// That of the catalogue in `bytes`, which `file` holds.
    pub(super) fn read(bytes: &[u8], file: PathBuf) -> Result<Self, RepositoryError> {
        parsed(bytes, file)
    }

    /// Whether `other` is one of them.
    pub(super) fn has(&self, other: &[u8]) -> bool {
        self.ancestors.contains(&short_digest(other))
    }
}

/// Enough of a digest to tell catalogues of one repository apart.
fn short_digest(catalogue: &[u8]) -> String {
    hex::encode(&Sha256::digest(catalogue)[..8])
}

fn parsed<T: DeserializeOwned>(bytes: &[u8], file: PathBuf) -> Result<T, RepositoryError> {
    serde_json::from_slice(bytes)
        .map_err(|error| RepositoryError::Foreign { file, reason: error.to_string() })
}

/// A package that is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    pub name: String,
    /// As the format writes it, with an epoch if it has one.
    pub version: String,
    pub architecture: String,
    /// Its path in the repository.
    pub file: String,
    /// In bytes.
    pub size: u64,
    /// In lower-case hexadecimal.
    pub sha256: String,
    /// The part of an apt repository that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
}

impl<S: Serialize + DeserializeOwned> Catalogue<S> {
    pub(super) fn new(settings: S) -> Self {
        Self {
            settings,
            packages: Vec::new(),
            generations: Vec::new(),
            ancestors: Vec::new(),
            read_as: None,
        }
    }

    /// The one in the index folder `folder` of the repository in `root`, which nobody else changes as long as the
    /// lock lives.
    pub(super) fn open(root: &Path, folder: &Path) -> Result<(Self, Lock), RepositoryError> {
        if !root.is_dir() {
            return Err(RepositoryError::None { folder: root.to_owned() });
        }
        let lock = Lock::take(root)?;
        recover(folder)?;
        Ok((Self::read(folder)?, lock))
    }

    /// The one in the index folder `folder`.
    pub(super) fn read(folder: &Path) -> Result<Self, RepositoryError> {
        let file = folder.join(FILE);
        let bytes = match fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(RepositoryError::None { folder: folder.to_owned() });
            }
            result => result.map_err(RepositoryError::read(&file))?,
        };
        Self::parse(&bytes, file)
    }

    /// The one in `bytes`, which `file` holds.
    pub(super) fn parse(bytes: &[u8], file: PathBuf) -> Result<Self, RepositoryError> {
        let mut catalogue: Self = parsed(bytes, file)?;
        catalogue.read_as = Some(short_digest(bytes));
        Ok(catalogue)
    }

    /// Copies what `additions` name to its place below `root` and lists it; returns what is new. One that is
    /// listed already changes nothing; one that differs from what is listed under its name, here or
    /// `elsewhere` in the repository (digests by file), is refused, and then nothing is added.
    pub(super) fn add(
        &mut self,
        root: &Path,
        additions: impl Iterator<Item = Result<Addition, RepositoryError>>,
        elsewhere: &BTreeMap<String, String>,
    ) -> Result<Vec<Listed>, RepositoryError> {
        let new = merge(&mut self.packages, additions.collect::<Result<_, _>>()?)?;
        for Addition { from, package } in &new {
            let published = elsewhere.get(&package.file);
            if published.is_some_and(|sha256| *sha256 != package.sha256) {
                let (file, published) = (from.clone(), package.file.clone());
                return Err(RepositoryError::Differs { file, published });
            }
        }
        copy_all(root, &new)?;
        Ok(new.into_iter().map(|addition| addition.package).collect())
    }

    /// Remembers that `files` are those of the index now made. Returns those of indexes before it that stay.
    pub(super) fn next_generation(&mut self, files: Vec<String>) -> Vec<String> {
        if self.generations.first() != Some(&files) {
            self.generations.insert(0, files);
        }
        self.generations.truncate(GENERATIONS);
        if let Some(before) = self.read_as.take() {
            self.ancestors.insert(0, before);
            self.ancestors.truncate(ANCESTORS);
        }
        self.generations.iter().skip(1).flatten().cloned().collect()
    }

    pub(super) fn render(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("names and numbers are JSON");
        text.push(b'\n');
        text
    }
}

/// A package that is to be published, and where it is now.
#[derive(Debug)]
pub(super) struct Addition {
    pub(super) from: PathBuf,
    pub(super) package: Listed,
}

/// Sorts `additions` into `packages`; returns those whose files have to be copied. A package that is published
/// already is left alone; one that only has the same name is refused.
fn merge(
    packages: &mut Vec<Listed>,
    additions: Vec<Addition>,
) -> Result<Vec<Addition>, RepositoryError> {
    let mut new = Vec::new();
    for addition in additions {
        let same = packages.iter().find(|package| package.file == addition.package.file);
        match same {
            Some(published) if published.sha256 == addition.package.sha256 => {}
            Some(published) => {
                let published = published.file.clone();
                return Err(RepositoryError::Differs { file: addition.from, published });
            }
            None => {
                packages.push(addition.package.clone());
                new.push(addition);
            }
        }
    }
    packages.sort_by(|one, other| one.file.cmp(&other.file));
    Ok(new)
}

/// SHA-256 and size of the file at `path`.
pub(super) fn digest(path: &Path) -> Result<(String, u64), RepositoryError> {
    let mut hashing = HashingWriter::new(io::sink());
    File::open(path)
        .and_then(|mut file| io::copy(&mut file, &mut hashing))
        .map_err(RepositoryError::read(path))?;
    let (digest, size) = hashing.finish();
    Ok((hex::encode(digest), size))
}

/// Copies each file to its place below `root`, whole or not at all.
fn copy_all(root: &Path, additions: &[Addition]) -> Result<(), RepositoryError> {
    for Addition { from, package } in additions {
        let to = root.join(&package.file);
        make_parent(&to)?;
        let temporary = beside(&to);
        let copied = copy(from, &temporary, package)
            .and_then(|()| fs::rename(&temporary, &to).map_err(RepositoryError::write(&to)));
        if copied.is_err() {
            // Nothing more can be done about one that stays.
            let _ = fs::remove_file(&temporary);
        }
        copied?;
    }
    Ok(())
}

/// Removes the files of `packages` from below `root`, those that are there.
pub(super) fn remove_all<'a>(
    root: &Path,
    mut packages: impl Iterator<Item = &'a Listed>,
) -> Result<(), RepositoryError> {
    packages.try_for_each(|package| remove(&root.join(&package.file)))
}

/// Removes the file at `path`, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), RepositoryError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RepositoryError::write(path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Copies what was looked at: a file that has changed since is refused.
fn copy(from: &Path, to: &Path, package: &Listed) -> Result<(), RepositoryError> {
    let mut source = File::open(from).map_err(RepositoryError::read(from))?;
    let target = File::create(to).map_err(RepositoryError::write(to))?;
    let mut hashing = HashingWriter::new(&target);
    io::copy(&mut source, &mut hashing).map_err(RepositoryError::write(to))?;
    if hex::encode(hashing.finish().0) != package.sha256 {
        let reason = "it changed while it was read".to_owned();
        return Err(RepositoryError::Package { file: from.to_owned(), reason });
    }
    target.sync_all().map_err(RepositoryError::write(to))
}

/// Removes from `packages` all but the newest `keep` versions of each package. `newer` orders two of one name.
pub(super) fn prune(
    packages: &mut Vec<Listed>,
    keep: usize,
    newer: impl Fn(&Listed, &Listed) -> std::cmp::Ordering,
) -> Vec<Listed> {
    let group = |package: &Listed| {
        (package.component.clone(), package.name.clone(), package.architecture.clone())
    };
    let mut sorted = std::mem::take(packages);
    sorted.sort_by(|one, other| group(one).cmp(&group(other)).then_with(|| newer(other, one)));
    let mut removed = Vec::new();
    let mut at = None;
    for package in sorted {
        let group = group(&package);
        let count = match at.take() {
            Some((last, count)) if last == group => count + 1,
            _ => 1,
        };
        at = Some((group, count));
        if count > keep { removed.push(package) } else { packages.push(package) }
    }
    packages.sort_by(|one, other| one.file.cmp(&other.file));
    removed
}

/// Makes the folder `root` for a repository whose index is to be in `folder`, where none may be.
pub(super) fn found(root: &Path, folder: &Path) -> Result<Lock, RepositoryError> {
    fs::create_dir_all(root).map_err(RepositoryError::write(root))?;
    let lock = Lock::take(root)?;
    recover(folder)?;
    if folder.exists() {
        return Err(RepositoryError::Exists { folder: folder.to_owned() });
    }
    Ok(lock)
}

/// Keeps other writers away from the repository in `root` while it lives.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    pub(super) fn take(root: &Path) -> Result<Self, RepositoryError> {
        let path = root.join(".fleetctl.lock");
        let file = File::create(&path).map_err(RepositoryError::write(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(fs::TryLockError::WouldBlock) => {
                Err(RepositoryError::Busy { folder: root.to_owned() })
            }
            Err(fs::TryLockError::Error(error)) => Err(RepositoryError::write(path)(error)),
        }
    }
}

impl Drop for Lock {
    /// Said aloud: closing the file is not enough while a program that is just being started has a copy.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}
