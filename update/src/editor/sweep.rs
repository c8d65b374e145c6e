//! Throwing away what no reader can want any more.

use std::{
    collections::BTreeSet,
    fs, io,
    time::{Duration, SystemTime},
};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{LogEntry, LogError, TARGETS_DIR, add::published_as};
use crate::disk;

/// What is kept besides what the newest metadata lists.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// So many states before the newest.
    pub states: usize,
    /// Every state that was the newest within this time: the validity of a timestamp, and some more
    /// for clocks and caches.
    pub younger: SignedDuration,
}

impl Default for Keep {
    /// Ten states; nine days, two more than a timestamp is valid.
    fn default() -> Self {
        Self { states: 10, younger: SignedDuration::from_hours(24 * 9) }
    }
}

/// Why nothing was thrown away.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// The log says what readers may know of, and it does not say.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A file or folder cannot be read.
    #[error("could not read `{path}`")]
    Read {
        /// Which.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be removed.
    #[error("could not remove `{path}`")]
    Remove {
        /// Which.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The repository is being changed, and nobody could be kept from it.
    #[error("could not lock `{path}`")]
    Lock {
        /// The lock.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The files below `repository` that nobody can want: neither a root, nor reachable from a state that
/// is kept, nor young. What we did not write is not ours to judge.
pub(super) fn unwanted(
    repository: &Utf8Path,
    (log, newest): (&[LogEntry], u64),
    (keep, now): (&Keep, Timestamp),
) -> Result<Vec<Utf8PathBuf>, SweepError> {
    let mut wanted = BTreeSet::from([repository.join("timestamp.json")]);
    for version in kept_snapshots(log, newest, (keep, now)) {
        add_reachable(&mut wanted, repository, version)?;
    }
    let younger = Duration::try_from(keep.younger).ok();
    let oldest = younger.and_then(|younger| SystemTime::from(now).checked_sub(younger));
    let logged = log.iter().flat_map(|entry| entry.files.keys().map(String::as_str)).collect();
    let mut unwanted = Vec::new();
    for path in files(repository)? {
        let failed = |source| SweepError::Read { path: path.clone(), source };
        let written = path.symlink_metadata().and_then(|it| it.modified()).map_err(failed)?;
        let is_young = oldest.is_none_or(|oldest| written >= oldest);
        if !is_young && !wanted.contains(&path) && is_ours(&path, repository, &logged) {
            unwanted.push(path);
        }
    }
    unwanted.sort();
    Ok(unwanted)
}

/// Whether we wrote the file at `path`, and not as a root; perhaps not to its end.
fn is_ours(path: &Utf8Path, repository: &Utf8Path, logged: &BTreeSet<&str>) -> bool {
    let name = path.file_name().unwrap_or_default();
    if disk::is_leftover(name) {
        return true;
    }
    if path.starts_with(repository.join(TARGETS_DIR)) {
        return hash_in(name).is_some();
    }
    path.parent() == Some(repository) && logged.contains(name) && !name.ends_with(".root.json")
}

/// The hash that the name of a target's file begins with.
pub(super) fn hash_in(name: &str) -> Option<&str> {
    let (hash, _) = name.split_once('.')?;
    let is_digit = |c| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    (hash.len() == 64 && hash.bytes().all(is_digit)).then_some(hash)
}

/// The versions of the snapshots that a reader may still have or be about to ask for.
fn kept_snapshots(log: &[LogEntry], newest: u64, (keep, now): (&Keep, Timestamp)) -> Vec<u64> {
    let version = |entry: &LogEntry| {
        let names = entry.files.keys();
        names.filter_map(|it| it.strip_suffix(".snapshot.json")?.parse().ok()).next()
    };
    let states: Vec<(Timestamp, u64)> =
        log.iter().filter_map(|entry| Some((entry.time, version(entry)?))).collect();
    let oldest = now.checked_sub(keep.younger).unwrap_or(Timestamp::MIN);
    // The one that was the newest when the time began counts.
    let first = states.iter().rposition(|(time, _)| *time <= oldest).unwrap_or(0);
    let first = first.min(states.len().saturating_sub(keep.states.saturating_add(1)));
    let kept = states[first..].iter().map(|(_, version)| *version);
    kept.chain([newest]).collect()
}

#[derive(Deserialize)]
struct File<T> {
    signed: T,
}

#[derive(Deserialize)]
struct SnapshotFile {
    meta: std::collections::BTreeMap<String, Listed>,
}

#[derive(Deserialize)]
struct Listed {
    version: u64,
}

#[derive(Deserialize)]
struct TargetsFile {
    targets: std::collections::BTreeMap<String, Target>,
}

#[derive(Deserialize)]
struct Target {
    hashes: std::collections::BTreeMap<String, String>,
}

fn add_reachable(
    wanted: &mut BTreeSet<Utf8PathBuf>,
    repository: &Utf8Path,
    version: u64,
) -> Result<(), SweepError> {
    let path = repository.join(format!("{version}.snapshot.json"));
    let Some(snapshot) = read::<SnapshotFile>(&path)? else { return Ok(()) };
    wanted.insert(path);
    for (file, listed) in snapshot.meta {
        let path = repository.join(format!("{}.{file}", listed.version));
        let Some(role) = read::<TargetsFile>(&path)? else { continue };
        wanted.insert(path);
        for (name, target) in role.targets {
            let hash = target.hashes.get("sha256").and_then(|it| hex::decode(it).ok());
            let file = published_as(&name, &hash.unwrap_or_default());
            wanted.insert(repository.join(TARGETS_DIR).join(file));
        }
    }
    Ok(())
}

/// The metadata at `path`; nothing, where an earlier sweep took it.
fn read<T: serde::de::DeserializeOwned>(path: &Utf8Path) -> Result<Option<T>, SweepError> {
    let failed = |source| SweepError::Read { path: path.to_owned(), source };
    match fs::read(path) {
        Ok(bytes) => {
            let file: File<T> = serde_json::from_slice(&bytes).map_err(|it| failed(it.into()))?;
            Ok(Some(file.signed))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Every file below `dir`, at any depth.
pub(super) fn files(dir: &Utf8Path) -> Result<Vec<Utf8PathBuf>, SweepError> {
    let failed = |path: &Utf8Path| {
        let path = path.to_owned();
        move |source| SweepError::Read { path, source }
    };
    let (mut found, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in dir.read_dir_utf8().map_err(failed(&dir))? {
            let entry = entry.map_err(failed(&dir))?;
            let kind = entry.file_type().map_err(failed(&dir))?;
            let list = if kind.is_dir() { &mut dirs } else { &mut found };
            list.push(entry.into_path());
        }
    }
    Ok(found)
}
