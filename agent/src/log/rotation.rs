//! A log in a file of bounded size, for systems without a journal. The crates that rotate by size
//! bring a calendar and a compressor along.

use std::{
    fs::{self, File},
    io::{self, Write},
};

use camino::{Utf8Path, Utf8PathBuf};

use crate::platform;

/// A file that has grown beyond this is put aside. Fleet's agent does so too.
const LARGEST: u64 = 25 * 1024 * 1024;

/// How many files that were put aside are kept: `orbit.log.1` is the youngest.
const KEPT: u32 = 3;

/// A log that puts itself aside when it has grown too large.
#[derive(Debug)]
pub struct Rotating {
    path: Utf8PathBuf,
    file: File,
    size: u64,
    largest: u64,
}

impl Rotating {
    /// Continues the log at `path`; its folder is made if it is missing.
    pub fn open(path: &Utf8Path) -> io::Result<Self> {
        Self::with_limit(path, LARGEST)
    }

    fn with_limit(path: &Utf8Path, largest: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = platform::open_log(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, largest })
    }

    fn aside(&self, number: u32) -> Utf8PathBuf {
        Utf8PathBuf::from(format!("{}.{number}", self.path))
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..KEPT).rev() {
            rename_if_there(&self.aside(number), &self.aside(number + 1))?;
        }
        rename_if_there(&self.path, &self.aside(1))?;
        self.file = platform::open_log(&self.path)?;
        self.size = self.file.metadata()?.len();
        Ok(())
    }
}

fn rename_if_there(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

impl Write for Rotating {
    /// Messages come whole, so none is cut in two. One that cannot be put aside, because somebody
    /// holds the file, grows on.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size > 0 && self.size + bytes.len() as u64 > self.largest {
            let _ = self.rotate();
        }
        let written = self.file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_put_aside_when_it_is_large_and_only_the_youngest_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("logs/orbit.log");
        for number in 0..6 {
            // Opened anew each time, as after a restart.
            let mut log = Rotating::with_limit(&path, 20).unwrap();
            log.write_all(format!("message {number}\n").as_bytes()).unwrap();
            log.write_all(b"and another\n").unwrap();
        }
        let read = |name: &str| fs::read_to_string(path.with_file_name(name)).unwrap_or_default();
        assert_eq!(read("orbit.log"), "and another\n");
        assert_eq!(read("orbit.log.1"), "message 5\n");
        assert_eq!(read("orbit.log.2"), "and another\n");
        assert_eq!(read("orbit.log.3"), "message 4\n");
        assert_eq!(read("orbit.log.4"), "");
    }
}
