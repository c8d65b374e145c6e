//! A repository on its way to where no folder can be exchanged for another, as a bucket is: which file comes
//! when, so that whoever reads meanwhile finds all that an index names.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use wire::path::is_plain;

use super::{
    KEY_FILE, RepositoryError,
    catalogue::{self, Lineage, Lock},
    publication::recover_all,
};

/// When a copy gets a file. In this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// In any order: packages, and lists under their digests. A name never gets another content.
    Lasting,
    /// What a repository was made from. Whoever replaces one that he has not seen takes back what others did.
    Catalogue,
    /// What nobody needs who has the index.
    Beside,
    /// One after the other: the index, which makes the others count, and its signatures. The last is the one that
    /// readers ask for first.
    Index,
}

impl Turn {
    /// The turn of the file at `path` in a repository, in segments parted by `/`. None if it is no part of one:
    /// hidden files, and what does not lie where this program puts files.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        if !is_plain(path) {
            return None;
        }
        let parts: Vec<_> = path.split('/').collect();
        Some(match parts[..] {
            [KEY_FILE] => Self::Beside,
            ["pool" | "packages", _, ..] => Self::Lasting,
            ["dists", _, catalogue::FILE] | ["repodata", catalogue::FILE] => Self::Catalogue,
            ["dists", _, "InRelease" | "Release" | "Release.gpg"]
            | ["repodata", "repomd.xml" | "repomd.xml.asc"] => Self::Index,
            ["dists", _, .., "by-hash", _, _] => Self::Lasting,
            ["repodata", name] if is_named_by_digest(name) => Self::Lasting,
            ["dists", _, _, ..] | ["repodata", _] => Self::Beside,
            _ => return None,
        })
    }
}

fn is_named_by_digest(name: &str) -> bool {
    let digest = name.split('-').next().unwrap_or_default();
    digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The folder of the index that the file at `path` belongs to, or none if it is shared by all.
#[must_use]
pub fn index_of(path: &str) -> Option<&str> {
    match path.split('/').next() {
        Some("repodata") => Some("repodata"),
        Some("dists") => path.match_indices('/').nth(1).map(|(end, _)| &path[..end]),
        _ => None,
    }
}

/// All files of a repository, which nobody changes as long as this lives.
#[derive(Debug)]
pub struct Shipment {
    root: PathBuf,
    files: Vec<String>,
    _lock: Lock,
}

impl Shipment {
    /// The repository in the folder `root`, for apt or for dnf, with all that it publishes.
    pub fn of(root: impl Into<PathBuf>) -> Result<Self, RepositoryError> {
        let root = root.into();
        if !root.is_dir() {
            return Err(RepositoryError::None { folder: root });
        }
        let lock = Lock::take(&root)?;
        recover_all(&root)?;
        recover_all(&root.join("dists"))?;
        let mut files = files(&root)?;
        if !files.iter().any(|path| Turn::of(path) == Some(Turn::Catalogue)) {
            return Err(RepositoryError::None { folder: root });
        }
        files.sort_by_cached_key(|path| (Turn::of(path), is_entry(path), path.clone()));
        Ok(Self { root, files, _lock: lock })
    }

    /// Their paths, in the order in which a copy gets them.
    #[must_use]
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// The content of one of them, and its length in bytes.
    pub fn open(&self, path: &str) -> Result<(File, u64), RepositoryError> {
        let path = self.root.join(path);
        let opened = File::open(&path).and_then(|file| {
            let length = file.metadata()?.len();
            Ok((file, length))
        });
        opened.map_err(RepositoryError::read(path))
    }

    /// Whether a copy whose catalogue at `path` is `theirs` is as this repository is, or was once.
    pub fn succeeds(&self, path: &str, theirs: &[u8]) -> Result<bool, RepositoryError> {
        let file = self.root.join(path);
        let ours = match fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            result => result.map_err(RepositoryError::read(&file))?,
        };
        Ok(ours == theirs || Lineage::read(&ours, file)?.has(theirs))
    }
}

/// Whether readers ask for it before anything else.
#[must_use]
pub fn is_entry(path: &str) -> bool {
    path.ends_with("/InRelease") || path.ends_with("/repomd.xml")
}

/// The files below `root` that are part of a repository.
pub(super) fn files(root: &Path) -> Result<Vec<String>, RepositoryError> {
    let mut files = Vec::new();
    list(root, "", &mut files)?;
    Ok(files)
}

/// Adds the files below `root` that are part of a repository to `files`.
fn list(root: &Path, below: &str, files: &mut Vec<String>) -> Result<(), RepositoryError> {
    let folder = root.join(below);
    for entry in fs::read_dir(&folder).map_err(RepositoryError::read(&folder))? {
        let entry = entry.map_err(RepositoryError::read(&folder))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.path().is_dir() {
            // What a file in it would be: a folder of others is not looked into.
            if Turn::of(&format!("{path}/x/x")).is_some() || path == "repodata" {
                list(root, &path, files)?;
            }
        } else if Turn::of(&path).is_some() {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_others_count_comes_last() {
        let digest = "0123456789abcdef".repeat(4);
        let lists = format!("repodata/{digest}-primary.xml.gz");
        for (path, turn) in [
            ("key.asc", Some(Turn::Beside)),
            ("pool/main/f/fleetd/fleetd_1_amd64.deb", Some(Turn::Lasting)),
            ("packages/fleetd-1-1.x86_64.rpm", Some(Turn::Lasting)),
            (
                &format!("dists/stable/main/binary-amd64/by-hash/SHA256/{digest}"),
                Some(Turn::Lasting),
            ),
            (&lists, Some(Turn::Lasting)),
            ("repodata/primary.xml.gz", Some(Turn::Beside)),
            ("repodata/fleetctl.json", Some(Turn::Catalogue)),
            ("dists/stable/fleetctl.json", Some(Turn::Catalogue)),
            ("dists/stable/main/binary-amd64/Packages", Some(Turn::Beside)),
            ("dists/stable/Release", Some(Turn::Index)),
            ("dists/stable/InRelease", Some(Turn::Index)),
            ("repodata/repomd.xml", Some(Turn::Index)),
            ("repodata/repomd.xml.key", Some(Turn::Beside)),
            (".fleetctl.lock", None),
            ("dists/.stable.next/InRelease", None),
            ("pool/../../etc/passwd", None),
            ("pool//x", None),
            ("pool", None),
            ("index.html", None),
            ("", None),
        ] {
            assert_eq!(Turn::of(path), turn, "{path}");
        }
        assert!(Turn::Lasting < Turn::Catalogue && Turn::Beside < Turn::Index);
    }

    #[test]
    fn each_file_of_an_index_belongs_to_it() {
        assert_eq!(index_of("dists/stable/main/binary-amd64/Packages"), Some("dists/stable"));
        assert_eq!(index_of("repodata/repomd.xml"), Some("repodata"));
        assert_eq!(index_of("pool/main/x"), None);
        assert_eq!(index_of("key.asc"), None);
    }
}
