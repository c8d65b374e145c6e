//! Disks of devices: one whose power goes, and one that is full.

use std::{
    fs,
    io::{self, Read},
    rc::Rc,
};

use agent::updater::disk::{About, Disk, RealDisk};
use camino::Utf8Path;
use update::power::{Cut, Loss, Power};

/// A disk whose power goes at one operation, if at all, whoever writes there.
#[derive(Debug, Clone)]
pub(super) struct Mortal(Rc<Power>);

impl Mortal {
    /// The disk that has the folder `root`.
    pub(super) fn below(root: &Utf8Path, goes_at: Option<(usize, Cut)>) -> Self {
        Self(Rc::new(Power::of(root.as_std_path(), goes_at).unwrap()))
    }

    pub(super) fn operations(&self) -> usize {
        self.0.operations()
    }

    pub(super) fn is_dead(&self) -> bool {
        self.0.is_gone()
    }

    /// The ways in which a power cut may take now what was not synced.
    pub(super) fn losses(&self) -> Vec<Loss> {
        self.0.losses().unwrap()
    }

    /// Makes the folder `to`, with what is left after `loss`.
    pub(super) fn leave(&self, loss: Loss, to: &Utf8Path) {
        self.0.leave(loss, to.as_std_path()).unwrap();
    }

    fn through(&self, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.0.through(|is_whole| if is_whole { act() } else { Ok(()) })
    }
}

impl Disk for Mortal {
    fn make_dir(&self, path: &Utf8Path) -> io::Result<()> {
        self.through(|| RealDisk.make_dir(path))
    }

    fn store(&self, path: &Utf8Path, content: &mut dyn Read, about: About) -> io::Result<()> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        self.0.synced(path.as_std_path(), |is_whole| {
            RealDisk.store(path, &mut part(&bytes, is_whole), about)
        })
    }

    fn write(&self, path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
        self.0.synced(path.as_std_path(), |is_whole| RealDisk.write(path, part(bytes, is_whole)))
    }

    fn link(&self, target: &Utf8Path, path: &Utf8Path) -> io::Result<()> {
        self.through(|| RealDisk.link(target, path))
    }

    fn rename(&self, from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
        self.through(|| RealDisk.rename(from, to))
    }

    fn remove(&self, path: &Utf8Path) -> io::Result<()> {
        self.0.through(|is_whole| match is_whole {
            true => RealDisk.remove(path),
            false => remove_files(path),
        })
    }

    fn sync(&self, dir: &Utf8Path) -> io::Result<()> {
        self.0.synced(
            dir.as_std_path(),
            |is_whole| {
                if is_whole { RealDisk.sync(dir) } else { Ok(()) }
            },
        )
    }
}

fn part(bytes: &[u8], is_whole: bool) -> &[u8] {
    if is_whole { bytes } else { &bytes[..bytes.len() / 2] }
}

/// Of a folder that is removed, the files in it go first.
fn remove_files(dir: &Utf8Path) -> io::Result<()> {
    if !dir.symlink_metadata().is_ok_and(|it| it.is_dir()) {
        return Ok(());
    }
    for entry in dir.read_dir_utf8()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_files(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A disk that has room for a few bytes of a file, and for names.
pub(super) struct Full;

impl Disk for Full {
    fn make_dir(&self, path: &Utf8Path) -> io::Result<()> {
        RealDisk.make_dir(path)
    }

    fn store(&self, path: &Utf8Path, content: &mut dyn Read, about: About) -> io::Result<()> {
        RealDisk.store(path, &mut content.take(10), about)?;
        Err(io::ErrorKind::StorageFull.into())
    }

    fn write(&self, _path: &Utf8Path, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn link(&self, target: &Utf8Path, path: &Utf8Path) -> io::Result<()> {
        RealDisk.link(target, path)
    }

    fn rename(&self, from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Utf8Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync(&self, dir: &Utf8Path) -> io::Result<()> {
        RealDisk.sync(dir)
    }
}
