//! What is done to the disk, one operation after the other, so that tests can have the power go at
//! each. Release builds only do it.

use std::{io, path::Path};

#[cfg(debug_assertions)]
pub use self::cut::{Cut, Power};

/// How much of an operation happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Whole,
    /// As much as a power cut amid it may leave.
    #[cfg(debug_assertions)]
    Half,
}

impl Extent {
    /// Whether it happens at all, for what happens whole or not at all.
    pub(crate) fn is_whole(self) -> bool {
        self == Self::Whole
    }

    /// So much of `bytes` is written.
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        if self.is_whole() { bytes } else { &bytes[..bytes.len() / 2] }
    }
}

/// Does `act` to the file or folder at `path`.
#[cfg(not(debug_assertions))]
pub(crate) fn through<T>(_path: &Path, act: impl FnOnce(Extent) -> io::Result<T>) -> io::Result<T> {
    act(Extent::Whole)
}

/// Does `act` to the file or folder at `path`, unless the power is gone there, or goes.
#[cfg(debug_assertions)]
pub(crate) fn through<T>(path: &Path, act: impl FnOnce(Extent) -> io::Result<T>) -> io::Result<T> {
    cut::through(path, act)
}

#[cfg(debug_assertions)]
mod cut {
    use std::{
        io,
        path::{Path, PathBuf},
        sync::{
            Mutex, PoisonError,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use super::Extent;

    /// How an operation is interrupted.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Cut {
        /// It has not happened.
        Before,
        /// Half of it has.
        Midway,
        /// It has, and nothing after it.
        After,
    }

    /// The power of everything below a folder, for as long as this is held.
    #[derive(Debug)]
    pub struct Power(&'static Supply);

    #[derive(Debug)]
    struct Supply {
        dir: PathBuf,
        operations: AtomicUsize,
        goes_at: Option<(usize, Cut)>,
    }

    static SUPPLIES: Mutex<Vec<&'static Supply>> = Mutex::new(Vec::new());

    impl Power {
        /// Counts what happens below `dir`; all of it does, or all before the operation that is
        /// told.
        pub fn of(dir: &Path, goes_at: Option<(usize, Cut)>) -> Self {
            let operations = AtomicUsize::new(0);
            // Few, and in tests.
            let supply = &*Box::leak(Box::new(Supply { dir: dir.to_owned(), operations, goes_at }));
            SUPPLIES.lock().unwrap_or_else(PoisonError::into_inner).push(supply);
            Self(supply)
        }

        /// Operations so far.
        pub fn operations(&self) -> usize {
            self.0.operations.load(Ordering::SeqCst)
        }

        /// Whether the power is gone.
        pub fn is_gone(&self) -> bool {
            self.0.goes_at.is_some_and(|(at, _)| self.operations() > at)
        }
    }

    impl Drop for Power {
        fn drop(&mut self) {
            let mut supplies = SUPPLIES.lock().unwrap_or_else(PoisonError::into_inner);
            supplies.retain(|it| !std::ptr::eq(*it, self.0));
        }
    }

    pub(super) fn through<T>(
        path: &Path,
        act: impl FnOnce(Extent) -> io::Result<T>,
    ) -> io::Result<T> {
        let supplies = SUPPLIES.lock().unwrap_or_else(PoisonError::into_inner);
        let supply = supplies.iter().find(|it| path.starts_with(&it.dir)).copied();
        drop(supplies);
        let Some(supply) = supply else { return act(Extent::Whole) };
        let number = supply.operations.fetch_add(1, Ordering::SeqCst);
        match supply.goes_at {
            Some((at, _)) if number > at => {}
            Some((at, cut)) if number == at => match cut {
                Cut::Before => {}
                Cut::Midway => drop(act(Extent::Half)?),
                Cut::After => drop(act(Extent::Whole)?),
            },
            Some(_) | None => return act(Extent::Whole),
        }
        Err(io::Error::other("the power is gone"))
    }
}
