//! Files that are whole or absent, and directories that are private.

use std::{
    fs, io,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::power::through;

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

/// Makes `dir` and what is missing above it; each directory made gets `access`, whatever the umask.
pub(crate) fn make_dir(dir: &Path, access: Access) -> io::Result<()> {
    let missing: Vec<PathBuf> = dir
        .ancestors()
        .take_while(|it| !it.as_os_str().is_empty() && !it.is_dir())
        .map(Path::to_owned)
        .collect();
    for dir in missing.iter().rev() {
        match through(dir, |it| if it.is_whole() { fs::create_dir(dir) } else { Ok(()) }) {
            Ok(()) => set_access(dir, access, 0o700)?,
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
    let mut file = through(path, |_| NamedTempFile::new_in(parent(path)))?;
    if let Err(error) = through(path, |it| file.write_all(it.of(bytes))) {
        leave(file, path);
        return Err(error);
    }
    keep(file, path, (access, Durable::Each))
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
        through(path, |_| file.as_file().sync_all())?;
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
    if durable == Durable::Each { file.sync_all() } else { Ok(()) }
}

/// Makes renames in `dir` durable.
#[cfg(unix)]
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    through(dir, |_| fs::File::open(dir)?.sync_all())
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
