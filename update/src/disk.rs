//! Files that are whole or absent, and directories that are private.

use std::{
    fs, io,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::power::{synced, through};

/// Who may read a file or directory besides its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nobody.
    Owner,
    /// Everybody.
    World,
}

/// When files come to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durable {
    /// Each at once.
    Each,
    /// All with [`sync`], which comes before anything that counts on them.
    Together,
}

impl Durable {
    /// So many files are cheaper together, where the system can sync them so.
    const MANY: usize = 32;

    /// What suits `count` files.
    pub(crate) fn of(count: usize) -> Self {
        if cfg!(target_os = "linux") && count >= Self::MANY { Self::Together } else { Self::Each }
    }
}

/// Makes durable what was written to the file system of `dir` to be so together.
#[cfg(target_os = "linux")]
pub(crate) fn sync(dir: &Path, durable: Durable) -> io::Result<()> {
    if durable == Durable::Together {
        rustix::fs::syncfs(fs::File::open(dir)?)?;
    }
    Ok(())
}

/// Each is durable already.
#[cfg(not(target_os = "linux"))]
pub(crate) fn sync(_dir: &Path, _durable: Durable) -> io::Result<()> {
    Ok(())
}

/// Makes `dir` and what is missing above it, durably; each directory made gets `access`, whatever the
/// umask.
pub(crate) fn make_dir(dir: &Path, access: Access) -> io::Result<()> {
    lay_dir(dir, (access, Durable::Each))
}

/// The same; when it is durable may be left to [`sync`].
pub(crate) fn lay_dir(dir: &Path, (access, durable): (Access, Durable)) -> io::Result<()> {
    let missing: Vec<PathBuf> = dir
        .ancestors()
        .take_while(|it| !it.as_os_str().is_empty() && !it.is_dir())
        .map(Path::to_owned)
        .collect();
    for dir in missing.iter().rev() {
        match through(dir, |it| if it.is_whole() { fs::create_dir(dir) } else { Ok(()) }) {
            Ok(()) => {
                set_access(dir, access, 0o700)?;
                if durable == Durable::Each {
                    sync_dir(parent(dir))?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Puts `bytes` at `path` in one step: a reader, or a power cut, meets the old file or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    put(path, bytes, access)?;
    sync_dir(parent(path))
}

/// The same; which of the two a power cut leaves is known after [`sync_dir`].
pub(crate) fn put(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let mut file = through(path, |_| temporary(parent(path)))?;
    if let Err(error) = through(path, |it| file.write_all(it.of(bytes))) {
        leave(file, path);
        return Err(error);
    }
    keep(file, path, (access, Durable::Each))
}

/// A file in `dir` that has yet to get its name.
pub(crate) fn temporary(dir: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(LEFTOVER_PREFIX).tempfile_in(dir)
}

/// Before the names of files that have yet to get their own. After a power cut they are left.
const LEFTOVER_PREFIX: &str = ".partial-";

/// Whether a file of this name is one that was never finished, once nobody is at it.
pub(crate) fn is_leftover(name: &str) -> bool {
    name.starts_with(LEFTOVER_PREFIX)
}

/// Removes what was never finished in `dir` and below, where nobody else may be writing.
pub(crate) fn remove_leftovers(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_leftovers(&entry.path())?;
        } else if is_leftover(&entry.file_name().to_string_lossy()) {
            remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes the file at `path`, if there is one.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match through(path, |it| if it.is_whole() { fs::remove_file(path) } else { Ok(()) }) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes an unfinished file, if there is power for it.
fn leave(mut file: NamedTempFile, path: &Path) {
    let is_gone = through(path, |_| Ok(())).is_err();
    file.disable_cleanup(is_gone);
}

/// Moves a finished temporary file, made in the same directory or file system, to `path`, durably.
pub(crate) fn persist(file: NamedTempFile, path: &Path, access: Access) -> io::Result<()> {
    keep(file, path, (access, Durable::Each))?;
    sync_dir(parent(path))
}

/// The same; when the name is durable is left to others, and when the content is, too, if that comes
/// with that of other files.
pub(crate) fn keep(
    file: NamedTempFile,
    path: &Path,
    (access, durable): (Access, Durable),
) -> io::Result<()> {
    set_access(file.path(), access, 0o600)?;
    if durable == Durable::Each {
        synced(file.path(), || file.as_file().sync_all())?;
    }
    through(path, |it| match it.is_whole() {
        true => file.persist(path).map_err(|error| error.error).map(drop),
        false => Ok(()),
    })
}

/// Makes a file at `path` in a folder that is nobody else's, with its content but for its name as
/// durable as with [`keep`]. One that is there has the same content.
pub(crate) fn create(
    path: &Path,
    bytes: &[u8],
    (access, durable): (Access, Durable),
) -> io::Result<()> {
    let mut file = match fs::File::create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        file => file?,
    };
    set_access(path, access, 0o600)?;
    file.write_all(bytes)?;
    if durable == Durable::Each { synced(path, || file.sync_all()) } else { Ok(()) }
}

/// Makes renames in `dir` durable.
#[cfg(unix)]
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    synced(dir, || fs::File::open(dir)?.sync_all())
}

/// NTFS journals renames; a directory cannot be opened for syncing.
#[cfg(not(unix))]
pub(crate) fn sync_dir(_dir: &Path) -> io::Result<()> {
    Ok(())
}

/// The SHA-256 of the file at `path`, in lower-case hexadecimal, and its length in bytes.
pub(crate) fn hash(path: &Path) -> io::Result<(String, u64)> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let (mut length, mut buffer) = (0, vec![0; 256 * 1024]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((hex::encode(hasher.finalize()), length));
        }
        hasher.update(&buffer[..read]);
        length += read as u64;
    }
}

/// The directory of `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(unix)]
fn set_access(path: &Path, access: Access, private: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = match access {
        Access::Owner => private,
        Access::World => private | (private & 0o500) >> 3 | (private & 0o500) >> 6,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Files inherit the access rules of the directory they are made in.
#[cfg(not(unix))]
fn set_access(_path: &Path, _access: Access, _private: u32) -> io::Result<()> {
    Ok(())
}
