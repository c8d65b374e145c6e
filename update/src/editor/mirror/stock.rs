//! A copy that is not on this machine: objects in a bucket.

use std::{collections::BTreeMap, fs, io};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use super::{Held, MirrorError, Place, TIMESTAMP, is_as_named, missing_at};

/// What is in a bucket, as far as it decides on what is missing there.
#[derive(Debug, Clone, Default)]
pub struct Stock {
    /// What the bucket is called, for messages: `s3://bucket/prefix`.
    pub place: String,
    /// The length of each file, by its name from the top of the repository.
    pub lengths: BTreeMap<Utf8PathBuf, u64>,
    /// The content of [`decisive`](Self::decisive) files.
    pub contents: BTreeMap<Utf8PathBuf, Vec<u8>>,
}

impl Stock {
    /// The files whose content is needed, of those that are there: they say which repository it is,
    /// and in which state. The others have a name that says their content, or are never replaced.
    pub fn decisive(&self) -> Vec<Utf8PathBuf> {
        let newest = self.newest_root().map(|version| format!("{version}.root.json"));
        let names = [Some("1.root.json".to_owned()), newest, Some(TIMESTAMP.to_owned())];
        let mut names: Vec<_> = names.into_iter().flatten().map(Utf8PathBuf::from).collect();
        names.dedup();
        names.retain(|name| self.lengths.contains_key(name));
        names
    }

    pub(super) fn newest_root(&self) -> Option<u64> {
        let versions = self.lengths.keys().filter_map(|it| it.as_str().strip_suffix(".root.json"));
        versions.filter_map(|it| it.parse().ok()).max()
    }

    pub(super) fn path(&self, name: &str) -> Utf8PathBuf {
        if name.is_empty() {
            return self.place.as_str().into();
        }
        format!("{}/{name}", self.place).into()
    }
}

/// What is missing in a bucket, in the order in which it is to be brought. Nobody can change the
/// repository while this is held.
#[derive(Debug)]
pub struct Upload {
    from: Utf8PathBuf,
    names: Vec<Utf8PathBuf>,
    _lock: Held,
}

impl Upload {
    pub(in crate::editor) fn plan(
        from: &Utf8Path,
        stock: &Stock,
        (lock, now): (fs::File, Timestamp),
    ) -> Result<Self, MirrorError> {
        let names = missing_at(from, &Place::Stock(stock), now)?;
        Ok(Self { from: from.to_owned(), names, _lock: Held(lock) })
    }

    /// The files that are missing: targets, in any order, then metadata, one by one.
    pub fn names(&self) -> &[Utf8PathBuf] {
        &self.names
    }

    /// The content of one of them, and its length in bytes.
    pub fn open(&self, name: &Utf8Path) -> Result<(fs::File, u64), MirrorError> {
        let path = self.from.join(name);
        if !is_as_named(&path)? {
            return Err(MirrorError::Differs { path });
        }
        let opened = fs::File::open(&path).and_then(|file| {
            let length = file.metadata()?.len();
            io::Result::Ok((file, length))
        });
        opened.map_err(|source| MirrorError::Read { path, source })
    }
}
