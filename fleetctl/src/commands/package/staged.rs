//! Artifacts on their way to their names: written beside, hashed, renamed when whole.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
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
        let signal = {
            let _inside = runtime.enter();
            signal().context("could not watch for signals")?
        };
        thread::spawn(move || {
            let number = runtime.block_on(signal);
            watched.delete_all_and_exit(128 + number);
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
        let (mut file, guard) = self
            .create(folder.unwrap_or(Path::new(".")))
            .context("could not create a temporary file")?;
        write(&mut file)?;
        let (size, sha256) = digest(&mut file).context("could not read it back")?;
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

/// From now on catches signals that ask to end; gives the number of the first.
#[cfg(unix)]
fn signal() -> io::Result<impl Future<Output = i32> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = hangup.recv() => SignalKind::hangup().as_raw_value(),
        }
    })
}

#[cfg(windows)]
fn signal() -> io::Result<impl Future<Output = i32> + Send> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
        2
    })
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
        let kept = temporary.persist(path).map_err(|error| error.error);
        unfinished.forget(&old);
        kept.with_context(|| format!("could not write `{}`", path.display()))
    }
}

/// Length and SHA-256 of `file`. Formats fill in their heads last, so nothing can be hashed before.
fn digest(file: &mut File) -> io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 256 * 1024];
    let mut size = 0;
    file.seek(SeekFrom::Start(0))?;
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok((size, hex::encode(hash.finalize()))),
            length => {
                hash.update(&chunk[..length]);
                size += length as u64;
            }
        }
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
    fn the_hash_is_that_of_the_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let back = staged(folder.path(), |out| {
            out.write_all(b"____ body")?;
            out.seek(SeekFrom::Start(0))?;
            Ok(out.write_all(b"head")?)
        });
        let known = hex::encode(Sha256::digest(b"head body"));
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
