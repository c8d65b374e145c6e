//! What is done to the disk, one operation after the other, so that tests can have the power go at
//! each. Release builds only do it.

use std::{io, path::Path};

#[cfg(all(debug_assertions, unix))]
pub use self::{
    cut::{Cut, Power},
    medium::{Loss, Medium},
};

#[cfg(all(debug_assertions, unix))]
mod medium;

/// How much of an operation happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Whole,
    /// As much as a power cut amid it may leave.
    #[cfg(all(debug_assertions, unix))]
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
#[cfg(not(all(debug_assertions, unix)))]
pub(crate) fn through<T>(_path: &Path, act: impl FnOnce(Extent) -> io::Result<T>) -> io::Result<T> {
    act(Extent::Whole)
}

/// Does `act` to the file or folder at `path`, unless the power is gone there, or goes.
#[cfg(all(debug_assertions, unix))]
pub(crate) fn through<T>(path: &Path, act: impl FnOnce(Extent) -> io::Result<T>) -> io::Result<T> {
    cut::through(path, act, |medium| medium.observe())
}

/// Has the file or folder at `path` synced by `act`.
#[cfg(not(all(debug_assertions, unix)))]
pub(crate) fn synced(_path: &Path, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    act()
}

/// Has the file or folder at `path` synced by `act`, unless the power is gone there, or goes.
#[cfg(all(debug_assertions, unix))]
pub(crate) fn synced(path: &Path, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    cut::through(path, |_| act(), |medium| medium.sync(path))
}

#[cfg(all(debug_assertions, unix))]
mod cut {
    use std::{
        io,
        path::{Path, PathBuf},
        sync::{
            Arc, Mutex, MutexGuard, PoisonError,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use super::{Extent, Loss, Medium};

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
    pub struct Power(Arc<Supply>);

    #[derive(Debug)]
    struct Supply {
        dir: PathBuf,
        operations: AtomicUsize,
        goes_at: Option<(usize, Cut)>,
        medium: Mutex<Medium>,
    }

    static SUPPLIES: Mutex<Vec<Arc<Supply>>> = Mutex::new(Vec::new());

    fn alone<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    impl Power {
        /// Counts what happens below `dir`; all of it does, or all before the operation that is
        /// told. Fails if the folder cannot be read.
        pub fn of(dir: &Path, goes_at: Option<(usize, Cut)>) -> io::Result<Self> {
            let (operations, medium) = (AtomicUsize::new(0), Mutex::new(Medium::of(dir)?));
            let supply = Arc::new(Supply { dir: dir.to_owned(), operations, goes_at, medium });
            alone(&SUPPLIES).push(Arc::clone(&supply));
            Ok(Self(supply))
        }

        /// Operations so far.
        pub fn operations(&self) -> usize {
            self.0.operations.load(Ordering::SeqCst)
        }

        /// Whether the power is gone.
        pub fn is_gone(&self) -> bool {
            self.0.goes_at.is_some_and(|(at, _)| self.operations() > at)
        }

        /// Does `act` to something below the folder, unless the power is gone, or goes: for those who
        /// write there by other means than this crate's. It hears whether it is to do all of it, or as
        /// much as a power cut amid it may leave.
        pub fn through<T>(&self, act: impl FnOnce(bool) -> io::Result<T>) -> io::Result<T> {
            self.0.through(|extent| act(extent.is_whole()), Medium::observe)
        }

        /// The same, where `act` syncs the file or folder at `path`, too.
        pub fn synced(
            &self,
            path: &Path,
            act: impl FnOnce(bool) -> io::Result<()>,
        ) -> io::Result<()> {
            self.0.through(|extent| act(extent.is_whole()), |medium| medium.sync(path))
        }

        /// What a power cut may take now of what was not synced.
        pub fn losses(&self) -> io::Result<Vec<Loss>> {
            alone(&self.0.medium).losses()
        }

        /// Makes the folder `to`, with what is left after `loss`.
        pub fn leave(&self, loss: Loss, to: &Path) -> io::Result<()> {
            alone(&self.0.medium).leave(loss, to)
        }
    }

    impl Drop for Power {
        fn drop(&mut self) {
            alone(&SUPPLIES).retain(|it| !Arc::ptr_eq(it, &self.0));
        }
    }

    pub(super) fn through<T>(
        path: &Path,
        act: impl FnOnce(Extent) -> io::Result<T>,
        seen: impl FnOnce(&mut Medium) -> io::Result<()>,
    ) -> io::Result<T> {
        let supply = alone(&SUPPLIES).iter().find(|it| path.starts_with(&it.dir)).cloned();
        match supply {
            Some(supply) => supply.through(act, seen),
            None => act(Extent::Whole),
        }
    }

    impl Supply {
        fn through<T>(
            &self,
            act: impl FnOnce(Extent) -> io::Result<T>,
            seen: impl FnOnce(&mut Medium) -> io::Result<()>,
        ) -> io::Result<T> {
            let number = self.operations.fetch_add(1, Ordering::SeqCst);
            let gone = || io::Error::other("the power is gone");
            let last = match self.goes_at {
                Some((at, _)) if number > at => return Err(gone()),
                Some((at, cut)) if number == at => Some(cut),
                Some(_) | None => None,
            };
            match last {
                Some(Cut::Before) => return Err(gone()),
                Some(Cut::Midway) => drop(act(Extent::Half)?),
                Some(Cut::After) | None => {
                    let done = act(Extent::Whole)?;
                    seen(&mut alone(&self.medium))?;
                    if last.is_none() {
                        return Ok(done);
                    }
                }
            }
            Err(gone())
        }
    }
}
