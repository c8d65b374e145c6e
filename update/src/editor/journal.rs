//! A change of keys that cannot be bridged, while it is being published.
//!
//! Between a new root and what its keys signed nobody can read the repository, we neither. So what is
//! still to be written lies beside it, and whoever opens the repository next writes it.

use std::{error::Error, fs, io};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    CHANGE_DIR, JOURNAL_FILE, LOG_FILE, OpenError, REPOSITORY_DIR, STAGED_DIR,
    log::Log,
    publication::{Step, clear},
};
use crate::disk::{self, Access};

/// The file of it, in the folder of a repository.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    dir: Utf8PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unfinished {
    files: Vec<File>,
    /// The folder that is of no use afterwards.
    staged: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    content: String,
}

impl Journal {
    /// Of the repository in `dir`.
    pub(super) fn of(dir: &Utf8Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    pub(super) fn path(&self) -> Utf8PathBuf {
        self.dir.join(JOURNAL_FILE)
    }

    pub(super) fn is_there(&self) -> bool {
        self.path().symlink_metadata().is_ok()
    }

    /// Notes the metadata that `steps` write, durably.
    pub(super) fn begin(&self, steps: &[Step], staged: &Utf8Path) -> io::Result<()> {
        let mut files = Vec::new();
        for step in steps {
            let Step::Write { path, bytes } = step else { continue };
            let content = String::from_utf8(bytes.clone()).map_err(io::Error::other)?;
            files.push(File { name: path.file_name().unwrap_or_default().to_owned(), content });
        }
        let staged = staged.file_name().unwrap_or_default().to_owned();
        let text = serde_json::to_vec(&Unfinished { files, staged }).map_err(io::Error::other)?;
        disk::replace(self.path().as_std_path(), &text, Access::World)
    }

    /// Everything is written.
    pub(super) fn end(&self) -> io::Result<()> {
        fs::remove_file(self.path())?;
        disk::sync_dir(self.dir.as_std_path())
    }

    /// Writes what is still to be written. Nobody else may be at the repository meanwhile.
    pub(super) fn resume(&self) -> Result<(), OpenError> {
        if !self.is_there() {
            return Ok(());
        }
        self.take_up().map_err(|source| OpenError::Unfinished { path: self.path(), source })
    }

    fn take_up(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let unfinished: Unfinished = serde_json::from_slice(&fs::read(self.path())?)?;
        let entries = Log::new(self.dir.join(LOG_FILE)).read()?;
        let logged = entries.last().map(|entry| &entry.files);
        let is_logged = |file: &File| {
            let digest = hex::encode(Sha256::digest(&file.content));
            logged.is_some_and(|files| files.get(&file.name) == Some(&digest))
        };
        let is_ours = [STAGED_DIR, CHANGE_DIR].contains(&unfinished.staged.as_str());
        if !is_ours || !unfinished.files.iter().all(is_logged) {
            return Err("it is not of the change that the log tells of last".into());
        }
        for file in unfinished.files {
            let path = self.dir.join(REPOSITORY_DIR).join(file.name);
            Step::Write { path, bytes: file.content.into_bytes() }.apply()?;
        }
        clear(&self.dir.join(unfinished.staged))?;
        Ok(self.end()?)
    }
}
