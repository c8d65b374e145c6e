//! What must be undone however the program ends: by return, error, panic, Ctrl-C or SIGTERM.

use std::{
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
