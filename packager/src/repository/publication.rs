//! A folder that is replaced as a whole: whoever reads it sees one or the other.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::RepositoryError;

/// The files of a folder, by their paths in it.
#[derive(Default)]
pub(super) struct Publication {
    files: BTreeMap<String, Vec<u8>>,
}

impl Publication {
    pub(super) fn put(&mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.files.insert(path.into(), content.into());
    }

    /// Replaces `folder`, of which `kept` stays: files that a reader of the folder before may still ask for.
    pub(super) fn publish(&self, folder: &Path, kept: &[String]) -> Result<(), RepositoryError> {
        let next = beside(folder);
        remove(&next)?;
        for (path, content) in &self.files {
            write(&next.join(path), content)?;
        }
        for path in kept.iter().filter(|path| !self.files.contains_key(*path)) {
            let (from, to) = (folder.join(path), next.join(path));
            make_parent(&to)?;
            match fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop)) {
                Ok(()) => {}
                // Gone already: nobody can ask for it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(RepositoryError::write(to)(error)),
            }
        }
        swap(&next, folder).map_err(RepositoryError::write(folder))?;
        remove(&next)
    }
}

/// Replaces the file at `path`, whole or not at all.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), RepositoryError> {
    let next = beside(path);
    write(&next, content)?;
    fs::rename(&next, path).map_err(RepositoryError::write(path))
}

/// Brings `folder` back if somebody was interrupted between two renames.
pub(super) fn recover(folder: &Path) -> Result<(), RepositoryError> {
    let old = aside(&beside(folder));
    if folder.exists() || !old.exists() {
        return Ok(());
    }
    fs::rename(old, folder).map_err(RepositoryError::write(folder))
}

/// [`recover`]s every folder in `parent`, if there is such a folder.
pub(super) fn recover_all(parent: &Path) -> Result<(), RepositoryError> {
    let entries = match fs::read_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result.map_err(RepositoryError::read(parent))?,
    };
    for entry in entries {
        let name = entry.map_err(RepositoryError::read(parent))?.file_name();
        let name = name.to_str().and_then(|it| it.strip_prefix('.')?.strip_suffix(".next.old"));
        if let Some(name) = name {
            recover(&parent.join(name))?;
        }
    }
    Ok(())
}

/// Writes `content` to a file that is not there yet, and waits until the disk has it.
fn write(path: &Path, content: &[u8]) -> Result<(), RepositoryError> {
    make_parent(path)?;
    let written = File::create(path).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.map_err(RepositoryError::write(path))
}

pub(super) fn make_parent(path: &Path) -> Result<(), RepositoryError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder).map_err(RepositoryError::write(folder))
}

/// A hidden name in the same folder.
pub(super) fn beside(folder: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(folder.file_name().unwrap_or_default());
    name.push(".next");
    folder.with_file_name(name)
}

fn remove(folder: &Path) -> Result<(), RepositoryError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RepositoryError::write(folder)(error))
        }
        _ => Ok(()),
    }
}

/// Gives `next` the name `folder`, and the other way round if there is such a folder.
fn swap(next: &Path, folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        return fs::rename(next, folder);
    }
    exchange(next, folder)
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn exchange(next: &Path, folder: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, next, CWD, folder, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        // A file system without it, as NFS is.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            one_by_one(next, folder)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn exchange(next: &Path, folder: &Path) -> io::Result<()> {
    one_by_one(next, folder)
}

/// For a moment there is neither.
fn one_by_one(next: &Path, folder: &Path) -> io::Result<()> {
    let old = aside(next);
    // One that was left stands for nothing: the folder is there.
    match fs::remove_dir_all(&old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::rename(folder, &old)?;
    fs::rename(next, folder).or_else(|error| fs::rename(&old, folder).and(Err(error)))?;
    fs::remove_dir_all(old)
}

/// Where the folder before is meanwhile.
fn aside(next: &Path) -> PathBuf {
    let mut old = next.as_os_str().to_owned();
    old.push(".old");
    PathBuf::from(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_replaced_and_keeps_what_is_asked_for() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("index");
        let publish = |names: &[&str], kept: &[&str]| {
            let mut publication = Publication::default();
            for name in names {
                publication.put(*name, name.as_bytes());
            }
            let kept: Vec<_> = kept.iter().map(|name| (*name).to_owned()).collect();
            publication.publish(&folder, &kept).unwrap();
        };
        publish(&["a", "b"], &[]);
        // What an interruption left is no obstacle.
        fs::create_dir(parent.path().join(".index.next")).unwrap();
        publish(&["b", "c"], &["a", "gone"]);
        assert_eq!(listed(&folder), ["a", "b", "c"]);
        publish(&["c"], &[]);
        assert_eq!(listed(&folder), ["c"]);
        assert_eq!(listed(parent.path()), ["index"]);
    }

    #[test]
    fn where_folders_cannot_be_exchanged_they_are_renamed() {
        let parent = tempfile::tempdir().unwrap();
        let [next, folder] = ["next", "folder"].map(|name| parent.path().join(name));
        for path in [&next, &folder] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("name"), path.as_os_str().as_encoded_bytes()).unwrap();
        }
        fs::create_dir_all(aside(&next).join("left")).unwrap();
        one_by_one(&next, &folder).unwrap();
        assert_eq!(listed(parent.path()), ["folder"]);
        assert_eq!(fs::read(folder.join("name")).unwrap(), next.as_os_str().as_encoded_bytes());
        fs::rename(&folder, aside(&beside(&folder))).unwrap();
        recover_all(parent.path()).unwrap();
        assert_eq!(listed(parent.path()), ["folder"]);
    }
}
