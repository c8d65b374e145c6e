//! Artifacts on their way to their names: written beside, hashed on the way, renamed when whole.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::Context as _;
use packager::WriteSeek;
use sha2::{Digest as _, Sha256};
use tempfile::TempPath;

/// Temporary files that a signal must not leave behind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unfinished(Arc<Mutex<BTreeSet<PathBuf>>>);

impl Unfinished {
    /// Deletes what is unfinished and ends the process when it is interrupted or terminated.
    pub(crate) fn watched() -> anyhow::Result<Self> {
        let unfinished = Self::default();
        let watched = unfinished.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("could not watch for signals")?;
        thread::spawn(move || {
            let Ok(signal) = runtime.block_on(signal()) else { return };
            watched.delete_all_and_exit(128 + signal);
        });
        Ok(unfinished)
    }

    /// Writes a file beside `path` by `write`. Its owner alone can read it: it holds the secret.
    pub(crate) fn stage(
        &self,
        path: &Path,
        write: impl FnOnce(&mut dyn WriteSeek) -> anyhow::Result<()>,
    ) -> anyhow::Result<Staged> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let (file, guard) = self
            .create(folder.unwrap_or(Path::new(".")))
            .context("could not create a temporary file")?;
        let mut out = Hashing::new(file);
        write(&mut out)?;
        let (size, sha256) = out.finish().context("could not read it back")?;
        Ok(Staged { size, sha256, file: guard })
    }

    /// While the set is locked no signal is answered, so no file is made that is not known.
    fn create(&self, folder: &Path) -> io::Result<(File, Guard)> {
        let mut paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, temporary) = tempfile::Builder::new()
            .prefix(".fleetctl-")
            .suffix(".tmp")
            .tempfile_in(folder)?
            .into_parts();
        paths.insert(temporary.to_path_buf());
        drop(paths);
        Ok((file, Guard { temporary, unfinished: self.clone() }))
    }

    fn forget(&self, path: &Path) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    fn delete_all_and_exit(&self, code: i32) -> ! {
        let paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for path in paths.iter() {
            // It may be gone already; nothing more can be done about one that cannot be deleted.
            let _ = std::fs::remove_file(path);
        }
        std::process::exit(code)
    }
}

/// Waits for a signal that asks to end, and gives its number.
#[cfg(unix)]
async fn signal() -> io::Result<i32> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
        _ = hangup.recv() => SignalKind::hangup().as_raw_value(),
    })
}

#[cfg(not(unix))]
async fn signal() -> io::Result<i32> {
    tokio::signal::ctrl_c().await.map(|()| 2)
}

/// A temporary file, deleted unless it is kept.
#[derive(Debug)]
struct Guard {
    temporary: TempPath,
    unfinished: Unfinished,
}

/// A whole file that has not got its name yet.
#[derive(Debug)]
pub(crate) struct Staged {
    pub size: u64,
    /// In lower-case hexadecimal.
    pub sha256: String,
    file: Guard,
}

impl Staged {
    /// Gives the file its name. What had it before is replaced.
    ///
    /// Nothing waits for the disk: what a power cut loses can be built again.
    pub(crate) fn keep(self, path: &Path) -> anyhow::Result<()> {
        let Guard { temporary, unfinished } = self.file;
        let old = temporary.to_path_buf();
        let kept = temporary.persist(path);
        unfinished.forget(&old);
        kept.with_context(|| format!("could not write `{}`", path.display()))
    }
}

/// A file that is hashed while it is written. Formats that go back to fill in their heads make it
/// read the file once more.
struct Hashing {
    file: File,
    hash: Sha256,
    /// Where the next write goes.
    position: u64,
    /// How much of the file's start is in `hash`.
    hashed: u64,
    went_back: bool,
}

impl Hashing {
    fn new(file: File) -> Self {
        Self { file, hash: Sha256::new(), position: 0, hashed: 0, went_back: false }
    }

    fn finish(mut self) -> io::Result<(u64, String)> {
        let size = self.file.seek(SeekFrom::End(0))?;
        if self.went_back || self.hashed != size {
            self.read_again()?;
        }
        Ok((size, hex::encode(self.hash.finalize())))
    }

    fn read_again(&mut self) -> io::Result<()> {
        self.hash = Sha256::new();
        self.file.seek(SeekFrom::Start(0))?;
        let mut chunk = vec![0; 256 * 1024];
        loop {
            match self.file.read(&mut chunk)? {
                0 => return Ok(()),
                length => self.hash.update(&chunk[..length]),
            }
        }
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        if self.position == self.hashed && !self.went_back {
            self.hash.update(&bytes[..length]);
            self.hashed += length as u64;
        } else {
            self.went_back = true;
        }
        self.position += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Hashing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.file.seek(to)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(
        folder: &Path,
        write: impl FnOnce(&mut dyn WriteSeek) -> anyhow::Result<()>,
    ) -> Staged {
        Unfinished::default().stage(&folder.join("artifact"), write).unwrap()
    }

    #[test]
    fn the_hash_is_that_of_the_file_even_if_its_head_is_filled_in_last() {
        let folder = tempfile::tempdir().unwrap();
        let straight = staged(folder.path(), |out| Ok(out.write_all(b"head body")?));
        let back = staged(folder.path(), |out| {
            out.write_all(b"____ body")?;
            out.seek(SeekFrom::Start(0))?;
            Ok(out.write_all(b"head")?)
        });
        let known = hex::encode(Sha256::digest(b"head body"));
        assert_eq!((&straight.sha256, straight.size), (&known, 9));
        assert_eq!((&back.sha256, back.size), (&known, 9));
    }

    #[test]
    fn what_fails_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("artifact");
        let failed = Unfinished::default().stage(&path, |out| {
            out.write_all(b"half")?;
            anyhow::bail!("no")
        });
        assert!(failed.is_err());
        drop(staged(folder.path(), |out| Ok(out.write_all(b"whole")?)));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
