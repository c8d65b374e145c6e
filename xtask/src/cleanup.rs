//! What must be undone however the program ends: by return, error, panic, Ctrl-C or SIGTERM.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;

type Undo = Box<dyn FnOnce() + Send>;

static PENDING: Mutex<Vec<(u64, Undo)>> = Mutex::new(Vec::new());

/// Exit code after Ctrl-C or SIGTERM, as a shell reports it.
const INTERRUPTED: i32 = 130;

/// Runs its action when dropped, or when a signal ends the program.
#[derive(Debug)]
#[must_use = "dropping it undoes at once"]
pub(crate) struct Cleanup(u64);

impl Cleanup {
    /// Registers `undo`. The latest registered is undone first.
    pub(crate) fn new(undo: impl FnOnce() + Send + 'static) -> Self {
        let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
        let id = pending.last().map_or(0, |(id, _)| id + 1);
        pending.push((id, Box::new(undo)));
        Self(id)
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let undo = {
            let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
            let found = pending.iter().position(|(id, _)| *id == self.0);
            found.map(|at| pending.remove(at).1)
        };
        if let Some(undo) = undo {
            undo();
        }
    }
}

/// A temporary directory that goes with everything in it.
#[derive(Debug)]
pub(crate) struct TemporaryDir {
    path: PathBuf,
    _remove: Cleanup,
}

impl TemporaryDir {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("could not make a temporary directory")?;
        let path = dir.keep();
        let doomed = path.clone();
        Ok(Self { path, _remove: Cleanup::new(move || remove(&doomed)) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes the directory `dir` with all that is in it, if it is there.
pub(crate) fn remove(dir: &Path) {
    let _absent = fs::remove_dir_all(dir);
}

/// Makes Ctrl-C, SIGTERM and SIGHUP undo everything before the program ends.
pub(crate) fn on_signals() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        undo_all();
        process::exit(INTERRUPTED);
    })
    .context("could not watch for signals")
}

fn undo_all() {
    loop {
        let next = PENDING.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some((_, undo)) = next else { return };
        undo();
    }
}
