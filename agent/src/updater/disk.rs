//! What the updater changes on disk, as few operations as can be told apart by a power cut.

use std::{
    fs::{self, File},
    io::{self, Read},
    time::SystemTime,
};

use camino::Utf8Path;

use crate::platform::{self, Readers};

/// The updater's hold on the disk. A test that wants to know what a power cut leaves behind puts
/// another in its place.
pub trait Disk {
    /// Makes the directory, and what is missing above it. One that is there already is fine.
    fn make_dir(&self, path: &Utf8Path) -> io::Result<()>;

    /// Writes a program, or a file of a bundle, that was not there before, and syncs it.
    fn store(&self, path: &Utf8Path, content: &mut dyn Read, about: About) -> io::Result<()>;

    /// Writes a file for root alone, whether or not it was there, and syncs it.
    fn write(&self, path: &Utf8Path, bytes: &[u8]) -> io::Result<()>;

    /// Makes a symbolic link that was not there before.
    fn link(&self, target: &Utf8Path, path: &Utf8Path) -> io::Result<()>;

    /// Moves a file or directory over what is there, if it is a file.
    fn rename(&self, from: &Utf8Path, to: &Utf8Path) -> io::Result<()>;

    /// Removes a file, a link or a directory with all that is in it. What is not there is fine.
    fn remove(&self, path: &Utf8Path) -> io::Result<()>;

    /// Makes what was done in the directory survive a power cut.
    fn sync(&self, dir: &Utf8Path) -> io::Result<()>;
}

/// What a stored file is to be besides its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    pub is_program: bool,
    /// Its date.
    pub modified: SystemTime,
}

/// The disk itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn make_dir(&self, path: &Utf8Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn store(&self, path: &Utf8Path, content: &mut dyn Read, about: About) -> io::Result<()> {
        let mut file = File::options().write(true).create_new(true).open(path)?;
        io::copy(content, &mut file)?;
        platform::set_program(&file, about.is_program)?;
        file.set_modified(about.modified)?;
        file.sync_all()
    }

    fn write(&self, path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
        platform::write_synced(path, bytes, Readers::Root)
    }

    fn link(&self, target: &Utf8Path, path: &Utf8Path) -> io::Result<()> {
        platform::link(target, path)
    }

    fn rename(&self, from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Utf8Path) -> io::Result<()> {
        let outcome = match path.symlink_metadata() {
            Ok(about) if about.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn sync(&self, dir: &Utf8Path) -> io::Result<()> {
        platform::sync_directory(dir)
    }
}
