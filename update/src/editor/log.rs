//! The record of every change: a file that only grows, each line naming the hash of the one before.
//!
//! A change is in the log before a reader sees anything of it. So nothing is published that is not
//! in the log, and the last entry may be of a change that was broken off.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read, Seek, Write},
};

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::top::Top;
use crate::power::synced;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogEntry {
    /// 1 for the first, and so on.
    pub number: u64,
    /// When it was signed.
    pub time: Timestamp,
    /// Who did it, as they say.
    pub who: String,
    /// What was done, e.g. `add orbit/linux/1.2.3/orbit`.
    pub what: String,
    /// The new metadata files and their SHA-256, by name.
    pub files: BTreeMap<String, String>,
    /// The SHA-256 of the line before, without its end; zeroes in the first.
    pub previous: String,
}

/// The log of a repository.
#[derive(Debug, Clone)]
pub struct Log {
    path: Utf8PathBuf,
}

/// A line about to be written.
#[derive(Debug, Clone)]
pub(super) struct NewEntry {
    pub(super) time: Timestamp,
    pub(super) who: String,
    pub(super) what: String,
    pub(super) files: BTreeMap<String, String>,
}

impl Log {
    pub(super) fn new(path: Utf8PathBuf) -> Self {
        Self { path }
    }

    /// Every entry, oldest first, once the chain was found whole.
    pub fn read(&self) -> Result<Vec<LogEntry>, LogError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(LogError::Read { path: self.path.clone(), source }),
        };
        let broken = |line| LogError::Broken { path: self.path.clone(), line };
        let (mut entries, mut previous) = (Vec::new(), START.to_owned());
        for (line, number) in whole_lines(&text).lines().zip(1_u64..) {
            let entry: LogEntry = serde_json::from_str(line).map_err(|_| broken(number))?;
            if entry.previous != previous || entry.number != number {
                return Err(broken(number));
            }
            previous = hash(line);
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Writes an entry, durably. A line that an earlier one left half written goes: what it would
    /// have told of never began.
    pub(super) fn append(&self, entry: NewEntry) -> Result<(), LogError> {
        let failed = |source| LogError::Write { path: self.path.clone(), source };
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&self.path).map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let whole = whole_lines(&text);
        let last = whole.lines().last();
        let entry = LogEntry {
            number: whole.lines().count() as u64 + 1,
            time: entry.time,
            who: entry.who,
            what: entry.what,
            files: entry.files,
            previous: last.map_or_else(|| START.to_owned(), hash),
        };
        let mut line = serde_json::to_string(&entry).expect("an entry is plain data");
        line.push('\n');
        let end = whole.len() as u64;
        file.set_len(end)
            .and_then(|()| file.seek(io::SeekFrom::Start(end)))
            .and_then(|_| file.write_all(line.as_bytes()))
            .and_then(|()| synced(self.path.as_std_path(), || file.sync_all()))
            .map_err(failed)
    }
}

/// What the log tells of: the SHA-256 of the metadata files, by their names. A name that was given
/// twice has several.
#[derive(Debug)]
pub(super) struct Logged(BTreeMap<String, BTreeSet<String>>);

impl Logged {
    /// Reads `log`, whose chain must be whole.
    pub(super) fn read(log: &Log) -> Result<Self, LogError> {
        let mut files = BTreeMap::<_, BTreeSet<_>>::new();
        for (name, digest) in log.read()?.into_iter().flat_map(|entry| entry.files) {
            files.entry(name).or_default().insert(digest);
        }
        Ok(Self(files))
    }

    /// Whether the log tells of everything that is published: every metadata file that the newest
    /// state is made of must be in an entry, with the content that was read.
    pub(super) fn check(&self, top: &Top) -> Result<(), LogError> {
        for (name, digest) in top.digests() {
            if !self.0.get(&name).is_some_and(|it| it.contains(&digest)) {
                return Err(LogError::Unlogged { path: top.dir.join(name) });
            }
        }
        Ok(())
    }

    /// Whether an entry tells of a file called `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// What the first line names in place of a line before.
const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn whole_lines(text: &str) -> &str {
    &text[..text.rfind('\n').map_or(0, |end| end + 1)]
}

fn hash(line: &str) -> String {
    hex::encode(Sha256::digest(line))
}

/// A log that does not tell what happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// It cannot be read.
    #[error("could not read `{path}`")]
    Read {
        /// The log, or a file that it tells of.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line was changed, removed or put in.
    #[error("`{path}` was changed: line {line} does not follow the one before")]
    Broken {
        /// The log.
        path: Utf8PathBuf,
        /// The first line that does not fit, from 1.
        line: u64,
    },
    /// Metadata that no entry tells of.
    #[error("`{path}` is published, and the log does not tell of it")]
    Unlogged {
        /// The metadata file.
        path: Utf8PathBuf,
    },
    /// It cannot be written.
    #[error("could not write `{path}`")]
    Write {
        /// The log.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl LogError {
    /// What to do next, for the errors where that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Unlogged { .. } => Some(
                "nothing is signed over what the log does not tell of: put back `repository` and \
                 `log.jsonl` as they were together"
                    .to_owned(),
            ),
            Self::Read { .. } | Self::Broken { .. } | Self::Write { .. } => None,
        }
    }
}
