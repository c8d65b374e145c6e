//! osqueryd's log lines, in files below the data directory: one line of JSON each, one file a log
//! type, put aside when it is full. The oldest are deleted, so the space they take is bounded.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    sync::{Arc, Mutex, PoisonError},
};

use camino::{Utf8Path, Utf8PathBuf};
use wire::osquery::LogType;

use crate::config::agents;

/// Where log lines go. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct OsqueryLogs(Arc<Mutex<Files>>);

#[derive(Debug)]
struct Files {
    dir: Utf8PathBuf,
    max_bytes: u64,
    keep: u32,
}

impl OsqueryLogs {
    pub(super) fn new(dir: Utf8PathBuf, config: &agents::OsqueryLogs) -> Self {
        let files = Files { dir, max_bytes: config.max_bytes, keep: config.keep };
        Self(Arc::new(Mutex::new(files)))
    }

    /// Appends whole lines, each ending in a line feed.
    pub(super) async fn append(&self, log_type: LogType, lines: Vec<u8>) -> io::Result<()> {
        let files = Arc::clone(&self.0);
        let written = tokio::task::spawn_blocking(move || {
            let files = files.lock().unwrap_or_else(PoisonError::into_inner);
            files.append(log_type, &lines)
        });
        written.await.map_err(io::Error::other)?
    }
}

impl Files {
    fn append(&self, log_type: LogType, lines: &[u8]) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let path = self.dir.join(match log_type {
            LogType::Status => "status.log",
            LogType::Result => "result.log",
        });
        let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if size > 0 && size + lines.len() as u64 > self.max_bytes {
            self.put_aside(&path)?;
        }
        let mut file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        file.write_all(lines)
    }

    /// `status.log` → `status.log.1` → `status.log.2` …; the last is deleted.
    fn put_aside(&self, path: &Utf8Path) -> io::Result<()> {
        let numbered = |number: u32| Utf8PathBuf::from(format!("{path}.{number}"));
        if self.keep == 0 {
            return fs::remove_file(path);
        }
        for number in (1..self.keep).rev() {
            if numbered(number).exists() {
                fs::rename(numbered(number), numbered(number + 1))?;
            }
        }
        fs::rename(path, numbered(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_are_put_aside_and_the_oldest_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let files = Files { dir: dir.clone(), max_bytes: 10, keep: 2 };
        for line in ["one\n", "two\n", "three\n", "four\n", "five\n", "sixsix\n"] {
            files.append(LogType::Status, line.as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
        assert_eq!(read("status.log"), "sixsix\n");
        assert_eq!(read("status.log.1"), "four\nfive\n");
        assert_eq!(read("status.log.2"), "three\n");
        assert!(!dir.join("status.log.3").exists());
    }
}
