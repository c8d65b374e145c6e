//! Files that are whole whenever anyone looks, also after a crash or a power cut.

use std::{fs, io};

use camino::{Utf8Path, Utf8PathBuf};

use crate::platform::{self, Readers};

/// Replaces `path` with `bytes` and syncs file and directory. Until the rename the old file stands.
///
/// Two writers of one file must not run at once; that one agent alone runs in a root directory
/// sees to it.
pub fn replace(path: &Utf8Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let beside = beside(path);
    platform::write_synced(&beside, bytes, readers)?;
    fs::rename(&beside, path)?;
    sync_parent(path)
}

/// Deletes the file, if it is there, and what an interrupted [`replace`] may have left beside it.
pub fn delete(path: &Utf8Path) -> io::Result<()> {
    for path in [&beside(path), path] {
        if let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    sync_parent(path)
}

/// Deletes the directory with all that is in it, if it is there.
pub fn delete_directory(path: &Utf8Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The file's text; none when there is no such file.
pub fn read(path: &Utf8Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// One fixed name, so that interrupted writes do not pile up.
fn beside(path: &Utf8Path) -> Utf8PathBuf {
    let name = path.file_name().expect("a file that is written has a name");
    path.with_file_name(format!(".{name}.new"))
}

fn sync_parent(path: &Utf8Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), platform::sync_directory)
}
