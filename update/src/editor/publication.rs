//! A signed change on its way to the readers.

use std::{collections::HashMap, fs, io};

use camino::{Utf8Path, Utf8PathBuf};

use super::{
    STAGED_DIR,
    journal::Journal,
    log::{Log, LogError, NewEntry},
};
use crate::disk::{self, Access, Durable};

/// A change that is signed and staged. Readers see it when its last step, the timestamp, is done;
/// until then they see the repository as it was.
#[derive(Debug)]
pub struct Publication {
    pub(super) steps: Vec<Step>,
    /// What is told of it.
    pub(super) done: Published,
    pub(super) log: Log,
    pub(super) entry: NewEntry,
    pub(super) journal: Journal,
    /// What is of no use afterwards.
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

    /// Logs the change, which comes before any step.
    pub fn record(&self) -> Result<(), PublishError> {
        Ok(self.log.append(self.entry.clone())?)
    }

    /// Logs the change, then takes every step.
    pub fn publish(self) -> Result<Published, PublishError> {
        self.record()?;
        let unreadable_from = self.unreadable_from();
        let noted = |source| PublishError::Write { path: self.journal.path(), source };
        // Files come before all that tells of them.
        let links = self.steps.iter().take_while(|it| matches!(it, Step::Link { .. })).count();
        self.link_all(links)?;
        for (index, step) in self.steps.iter().enumerate().skip(links) {
            if Some(index) == unreadable_from {
                self.journal.begin(&self.steps[index..], &self.staged).map_err(noted)?;
            }
            self.take(index, step)?;
        }
        if unreadable_from.is_some() {
            self.journal.end().map_err(noted)?;
        }
        let cleared = clear(&self.staged);
        cleared.map_err(|source| PublishError::Write { path: self.staged.clone(), source })?;
        drop(self.lock);
        Ok(self.done)
    }

    /// Takes the step `index`. Metadata that nobody reads of yet is durable with the last of it.
    fn take(&self, index: usize, step: &Step) -> Result<(), PublishError> {
        let next = self.steps.get(index + 1);
        match step {
            Step::Write { path, bytes }
                if !step.is_seen() && next.is_some_and(|it| it.is_beside(path)) =>
            {
                put(path, bytes)
                    .map_err(|source| PublishError::Write { path: path.clone(), source })
            }
            Step::Write { .. } | Step::Link { .. } => step.apply(),
        }
    }

    /// Takes the first `count` steps, which are links, durably. A staged file that is not needed again
    /// is moved, which is less work than a link and taking the file away.
    fn link_all(&self, count: usize) -> Result<(), PublishError> {
        let durable = Durable::of(count);
        let mut last_use = HashMap::new();
        for (index, step) in self.steps.iter().enumerate() {
            if let Step::Link { from, .. } = step
                && from.parent() == Some(&self.staged)
                && self.staged.file_name() == Some(STAGED_DIR)
            {
                last_use.insert(from, index);
            }
        }
        let mut last = None;
        for (index, step) in self.steps[..count].iter().enumerate() {
            let Step::Link { from, to } = step else { continue };
            let lay = if last_use.get(from) == Some(&index) { move_to } else { link };
            lay(from, to, durable)
                .map_err(|source| PublishError::Write { path: to.clone(), source })?;
            last = Some(to);
        }
        let Some(path) = last else { return Ok(()) };
        disk::sync(disk::parent(path.as_std_path()), durable)
            .map_err(|source| PublishError::Write { path: path.clone(), source })
    }

    /// The step after which nobody can read the repository until the last one: a new root before what
    /// its keys signed.
    fn unreadable_from(&self) -> Option<usize> {
        let is_root = |step: &Step| match step {
            Step::Write { path, .. } => path.as_str().ends_with(".root.json"),
            Step::Link { .. } => false,
        };
        self.steps.iter().position(is_root).filter(|index| index + 1 < self.steps.len())
    }
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// For people, as in the log.
    pub what: String,
    /// The targets that are other ones, or gone.
    pub targets: Vec<String>,
    /// The new metadata files, in the order in which readers get to see them.
    pub files: Vec<String>,
}

/// One file that appears whole, or not at all.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Step {
    /// A target's file, from where it is staged. One that is there already has the same content.
    Link {
        /// The staged file.
        from: Utf8PathBuf,
        /// Where readers look for it.
        to: Utf8PathBuf,
    },
    /// Metadata, or a target that is made of metadata.
    Write {
        /// Where readers look for it.
        path: Utf8PathBuf,
        /// Its content.
        bytes: Vec<u8>,
    },
}

impl Step {
    /// Whether readers find it without anything that tells of it.
    fn is_seen(&self) -> bool {
        match self {
            Self::Write { path, .. } => {
                let name = path.file_name().unwrap_or_default();
                name == "timestamp.json" || name.ends_with(".root.json")
            }
            Self::Link { .. } => false,
        }
    }

    /// Whether it writes, in the folder of `path`, what nobody reads of yet.
    fn is_beside(&self, path: &Utf8Path) -> bool {
        let is_there = matches!(self, Self::Write { path: it, .. } if it.parent() == path.parent());
        is_there && !self.is_seen()
    }

    /// Takes this step, durably. Taking it again changes nothing.
    pub fn apply(&self) -> Result<(), PublishError> {
        match self {
            Self::Link { from, to } => link(from, to, Durable::Each)
                .map_err(|source| PublishError::Write { path: to.clone(), source }),
            Self::Write { path, bytes } => write(path, bytes)
                .map_err(|source| PublishError::Write { path: path.clone(), source }),
        }
    }
}

/// Why a change cannot be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A file that cannot be written.
    #[error("could not write `{path}`")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The log cannot be written, so nothing was.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Removes a folder of ours: at once as far as others see it.
pub(super) fn clear(dir: &Utf8Path) -> io::Result<()> {
    let gone = dir.with_extension("gone");
    for step in [&remove as &dyn Fn(&Utf8Path) -> _, &|gone| fs::rename(dir, gone), &remove] {
        match step(&gone) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn remove(dir: &Utf8Path) -> io::Result<()> {
    fs::remove_dir_all(dir)
}

fn write(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes)?;
    disk::sync_dir(disk::parent(path.as_std_path()))
}

fn put(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    disk::make_dir(disk::parent(path.as_std_path()), Access::World)?;
    disk::put(path.as_std_path(), bytes, Access::World)
}

/// The same as [`link`], after which nothing is at `from`.
fn move_to(from: &Utf8Path, to: &Utf8Path, durable: Durable) -> io::Result<()> {
    let dir = disk::parent(to.as_std_path());
    disk::lay_dir(dir, (Access::World, durable))?;
    match fs::rename(from, to) {
        Ok(()) if durable == Durable::Together => Ok(()),
        Ok(()) => disk::sync_dir(dir),
        Err(_) => link(from, to, durable),
    }
}

fn link(from: &Utf8Path, to: &Utf8Path, durable: Durable) -> io::Result<()> {
    let dir = disk::parent(to.as_std_path());
    disk::lay_dir(dir, (Access::World, durable))?;
    match fs::hard_link(from, to) {
        Ok(()) if durable == Durable::Together => Ok(()),
        Ok(()) => disk::sync_dir(dir),
        Err(_) if to.is_file() => Ok(()),
        Err(_) => copy(from, to),
    }
}

/// For file systems without hard links.
fn copy(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    let mut file = disk::temporary(disk::parent(to.as_std_path()))?;
    io::copy(&mut fs::File::open(from)?, &mut file)?;
    disk::persist(file, to.as_std_path(), Access::World)
}
