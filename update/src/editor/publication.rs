//! A signed change on its way to the readers.

use std::{fs, io};

use camino::{Utf8Path, Utf8PathBuf};

use crate::{
    disk::{self, Access},
    names::TargetName,
};

/// A change that is signed and staged. Readers see it when its last step, the timestamp, is done;
/// until then they see the repository as it was.
#[derive(Debug)]
pub struct Publication {
    pub(super) steps: Vec<Step>,
    pub(super) targets: Vec<TargetName>,
    pub(super) staged: Utf8PathBuf,
    /// Keeps others from changing the repository.
    pub(super) lock: fs::File,
}

impl Publication {
    /// What will be written, in order. A copy of the repository elsewhere is to be brought up to
    /// date in this order too.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Takes every step; returns the targets that changed.
    pub fn publish(self) -> Result<Vec<TargetName>, PublishError> {
        for step in &self.steps {
            step.apply()?;
        }
        let cleared = clear(&self.staged);
        cleared.map_err(|source| PublishError { path: self.staged.clone(), source })?;
        drop(self.lock);
        Ok(self.targets)
    }
}

/// One file that appears whole, or not at all.
#[derive(Debug)]
#[non_exhaustive]
pub enum Step {
    /// A target's file, from where it is staged. One that is there already has the same content.
    Link {
        /// The staged file.
        from: Utf8PathBuf,
        /// Where readers look for it.
        to: Utf8PathBuf,
    },
    /// Metadata.
    Write {
        /// Where readers look for it.
        path: Utf8PathBuf,
        /// Its content.
        bytes: Vec<u8>,
    },
}

impl Step {
    /// Takes this step, durably. Taking it again changes nothing.
    pub fn apply(&self) -> Result<(), PublishError> {
        match self {
            Self::Link { from, to } => {
                link(from, to).map_err(|source| PublishError { path: to.clone(), source })
            }
            Self::Write { path, bytes } => disk::replace(path.as_std_path(), bytes, Access::World)
                .map_err(|source| PublishError { path: path.clone(), source }),
        }
    }
}

/// A file that cannot be published.
#[derive(Debug, thiserror::Error)]
#[error("could not write `{path}`")]
pub struct PublishError {
    /// The file.
    pub path: Utf8PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Removes what is staged.
pub(super) fn clear(staged: &Utf8Path) -> io::Result<()> {
    match fs::remove_dir_all(staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn link(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    let dir = disk::parent(to.as_std_path());
    disk::make_dir(dir, Access::World)?;
    match fs::hard_link(from, to) {
        Ok(()) => disk::sync_dir(dir),
        Err(_) if to.is_file() => Ok(()),
        Err(_) => copy(from, to),
    }
}

/// For file systems without hard links.
fn copy(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(disk::parent(to.as_std_path()))?;
    io::copy(&mut fs::File::open(from)?, &mut file)?;
    disk::persist(file, to.as_std_path(), Access::World)
}
