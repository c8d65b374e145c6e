//! Artifacts on their way to their names: written beside, hashed, renamed when whole.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Seek as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::Context as _;
use packager::WriteSeek;
use tempfile::TempPath;

use crate::digest::sha256;

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

    /// Writes a file beside `path` by `write`, and reads it again for its digest if that is wanted:
    /// formats fill in their heads last. Its owner alone can read it: it holds the secret.
    pub(crate) fn stage(
        &self,
        path: &Path,
        digest: Digest,
        write: impl FnOnce(&mut dyn WriteSeek) -> anyhow::Result<()>,
    ) -> anyhow::Result<Staged> {
        let (mut file, temporary) =
            self.create(folder_of(path)).context("could not create a temporary file")?;
        write(&mut file)?;
        let size = file.metadata().context("could not ask for its size")?.len();
        let sha256 = match digest {
            Digest::None => None,
            Digest::Sha256 => Some(read_back(&mut file).context("could not read it back")?),
        };
        Ok(Staged { size, sha256, file: temporary })
    }

    /// While the set is locked no signal is answered, so no file is made that is not known.
    fn create(&self, folder: &Path) -> io::Result<(File, TempPath)> {
        let mut paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, temporary) = tempfile::Builder::new()
            .prefix(".fleetctl-")
            .suffix(".tmp")
            .tempfile_in(folder)?
            .into_parts();
        paths.insert(temporary.to_path_buf());
        Ok((file, temporary))
    }

    /// Gives every file its name. What had a name before is replaced; when one file cannot get its
    /// name, none does, and all that was replaced is back.
    ///
    /// Nothing waits for the disk: what a power cut loses can be built again.
    pub(crate) fn keep_all<'a>(
        &self,
        files: Vec<Staged>,
        paths: impl IntoIterator<Item = &'a Path>,
    ) -> anyhow::Result<()> {
        // While the set is locked no signal is answered, so none leaves half of the files.
        let mut unfinished = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = Vec::new();
        let mut result = Ok(());
        for (file, path) in files.into_iter().zip(paths) {
            unfinished.remove(&*file.file);
            if result.is_ok() {
                let renamed = Kept::rename(file.file, path);
                result = renamed
                    .map(|it| kept.push(it))
                    .with_context(|| format!("could not write `{}`", path.display()));
            }
        }
        if result.is_err() {
            kept.into_iter().rev().for_each(Kept::undo);
        }
        result
    }

    fn delete_all_and_exit(&self, code: i32) -> ! {
        let paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for path in paths.iter() {
            // It may be gone already; nothing more can be done about one that cannot be deleted.
            let _ = fs::remove_file(path);
        }
        std::process::exit(code)
    }
}

/// `SIGXFSZ`, the same on Linux and macOS.
#[cfg(unix)]
const FILE_SIZE_LIMIT: i32 = 25;

/// From now on catches signals that ask to end; gives the number of the first.
#[cfg(unix)]
fn signal() -> io::Result<impl Future<Output = i32> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    // Once it is watched, a file that grows beyond what its writer may have is an error of writing.
    let limit = signal(SignalKind::from_raw(FILE_SIZE_LIMIT))?;
    Ok(async move {
        let _limit = limit;
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

/// What else is to be known of a file than its size.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Digest {
    /// Nothing: what nobody is shown is not computed, which takes a tenth of packing.
    None,
    Sha256,
}

/// A whole file that has not got its name yet.
#[derive(Debug)]
pub(crate) struct Staged {
    pub size: u64,
    /// In lower-case hexadecimal, if it was wanted.
    pub sha256: Option<String>,
    file: TempPath,
}

impl Staged {
    /// To read what is in it.
    pub(crate) fn open(&self) -> io::Result<File> {
        File::open(&self.file)
    }
}

/// A file that has got its name.
struct Kept<'a> {
    path: &'a Path,
    /// What had the name before.
    before: Option<TempPath>,
}

impl<'a> Kept<'a> {
    fn rename(file: TempPath, path: &'a Path) -> io::Result<Self> {
        let before = set_aside(path)?;
        match file.persist(path) {
            Ok(()) => Ok(Self { path, before }),
            Err(error) => {
                // A second name just goes again; an only one goes back.
                if fs::symlink_metadata(path).is_err() {
                    before.map(|before| before.persist(path));
                }
                Err(error.error)
            }
        }
    }

    /// Nothing more can be done about a file that does not come back.
    fn undo(self) {
        let _ = match self.before {
            Some(before) => before.persist(self.path).map_err(|error| error.error),
            None => fs::remove_file(self.path),
        };
    }
}

/// A second name for the file at `path`, if there is one; where the file system knows no second
/// names, its only one.
fn set_aside(path: &Path) -> io::Result<Option<TempPath>> {
    if !fs::symlink_metadata(path).is_ok_and(|about| !about.is_dir()) {
        return Ok(None);
    }
    let aside = tempfile::Builder::new()
        .prefix(".fleetctl-")
        .suffix(".tmp")
        .make_in(folder_of(path), |aside| {
            fs::hard_link(path, aside).or_else(|_| fs::rename(path, aside))
        })?;
    Ok(Some(aside.into_temp_path()))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn read_back(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    sha256(file)
}

#[cfg(test)]
mod tests {
    use std::io::SeekFrom;

    use sha2::Sha256;

    use super::*;

    fn staged(
        folder: &Path,
        write: impl FnOnce(&mut dyn WriteSeek) -> anyhow::Result<()>,
    ) -> Staged {
        Unfinished::default().stage(&folder.join("artifact"), Digest::Sha256, write).unwrap()
    }

    #[test]
    fn the_hash_is_that_of_the_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let back = staged(folder.path(), |out| {
            out.write_all(b"____ body")?;
            out.seek(SeekFrom::Start(0))?;
            Ok(out.write_all(b"head")?)
        });
        let known = hex::encode(<Sha256 as sha2::Digest>::digest(b"head body"));
        assert_eq!((back.sha256, back.size), (Some(known), 9));
    }

    #[test]
    fn what_fails_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("artifact");
        let failed = Unfinished::default().stage(&path, Digest::None, |out| {
            out.write_all(b"half")?;
            anyhow::bail!("no")
        });
        assert!(failed.is_err());
        drop(staged(folder.path(), |out| Ok(out.write_all(b"whole")?)));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn all_files_get_their_names_or_none_does_and_what_was_there_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["new", "old", "blocked"].map(|name| folder.path().join(name));
        fs::write(&paths[1], "before").unwrap();
        fs::create_dir(&paths[2]).unwrap();
        fs::write(paths[2].join("in the way"), "").unwrap();
        let unfinished = Unfinished::default();
        let files = |count: usize| -> Vec<_> {
            let stage = |path| {
                unfinished.stage(path, Digest::Sha256, |out| Ok(out.write_all(b"after")?)).unwrap()
            };
            paths[..count].iter().map(|path| stage(path.as_path())).collect()
        };
        let keep = |count| {
            unfinished.keep_all(files(count), paths.iter().map(std::path::PathBuf::as_path))
        };
        assert!(format!("{:#}", keep(3).unwrap_err()).contains("blocked"));
        assert_eq!(fs::read(&paths[1]).unwrap(), b"before");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "`old` and `blocked`");
        keep(2).unwrap();
        let read = |path| fs::read(path).unwrap();
        assert_eq!([read(&paths[0]), read(&paths[1])], [b"after", b"after"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        assert!(unfinished.0.lock().unwrap().is_empty());
    }
}
