//! What is found in a package, within bounds.

use std::{collections::BTreeMap, io::Read};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    decode::{self, TEXT},
    error::ReadError,
    settings,
};

/// Something that a package lays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub kind: FoundKind,
    /// Permission bits; none in an msi, which has lists of rights.
    pub mode: Option<u32>,
    /// `root:root`, or numbers where the format has those; empty in an msi.
    pub owner: String,
    /// In bytes; 0 unless it is a file.
    pub size: u64,
    /// Of a file that is in the package, in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// Where a symlink leads.
    pub target: Option<String>,
    /// An administrator's edit survives upgrades.
    pub config: bool,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FoundKind {
    Dir,
    File,
    Symlink,
    /// A device, a pipe, a socket.
    Special,
}

impl FoundKind {
    /// By the bits that stat(2) has for it.
    pub(super) fn of_mode(mode: u32) -> Self {
        match mode & 0o170_000 {
            0o040_000 => Self::Dir,
            0o100_000 => Self::File,
            0o120_000 => Self::Symlink,
            _ => Self::Special,
        }
    }
}

impl Found {
    pub(super) fn new(kind: FoundKind, mode: u32, owner: String) -> Self {
        let mode = Some(mode & 0o7777);
        Self { kind, mode, owner, size: 0, sha256: None, target: None, config: false }
    }
}

/// The most things that a package lays.
pub(super) const MAX_FILES: usize = 1 << 18;
/// How much of a file is read at a time.
const CHUNK: usize = 64 << 10;

/// Collects what is found.
#[derive(Default)]
pub(super) struct Files {
    pub(super) found: BTreeMap<String, Found>,
    /// Texts that tell the agent something, by path.
    pub(super) kept: BTreeMap<String, Vec<u8>>,
    /// Paths that came twice.
    pub(super) twice: Vec<String>,
    /// Bytes of names.
    names: u64,
}

impl Files {
    /// Notes that `found` is at `path`.
    pub(super) fn add(&mut self, path: String, found: Found) -> Result<(), ReadError> {
        const PART: &str = "list of files";
        self.names += (path.len() + found.target.as_ref().map_or(0, String::len)) as u64;
        if self.names > TEXT {
            return Err(ReadError::TooBig { part: PART, limit: TEXT, unit: "bytes" });
        }
        if self.found.len() >= MAX_FILES {
            return Err(ReadError::TooBig { part: PART, limit: MAX_FILES as u64, unit: "files" });
        }
        if self.found.contains_key(&path) && self.twice.len() < MAX_FILES {
            self.twice.push(path.clone());
        }
        self.found.insert(path, found);
        Ok(())
    }

    /// Reads the `size` bytes of the file at `path` from `from`, and shows them to `also`. Gives their
    /// SHA-256.
    pub(super) fn hash(
        &mut self,
        path: &str,
        from: &mut dyn Read,
        size: u64,
        also: &mut dyn FnMut(&[u8]),
    ) -> Result<String, ReadError> {
        const PART: &str = "list of files";
        let mut digest = Sha256::new();
        let mut keep = settings::is_told_by(path, size).then(Vec::new);
        let mut buffer = vec![0; CHUNK];
        let mut left = size;
        while left > 0 {
            let wanted = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
            let count = decode::fill(from, &mut buffer[..wanted])
                .map_err(ReadError::at("archive of files"))?;
            if count == 0 {
                return Err(ReadError::Truncated { part: "archive of files" });
            }
            digest.update(&buffer[..count]);
            also(&buffer[..count]);
            if let Some(keep) = &mut keep {
                keep.extend_from_slice(&buffer[..count]);
            }
            left -= count as u64;
        }
        if let Some(keep) = keep {
            self.names += size;
            if self.names > TEXT {
                return Err(ReadError::TooBig { part: PART, limit: TEXT, unit: "bytes" });
            }
            self.kept.insert(path.to_owned(), keep);
        }
        Ok(hex::encode(digest.finalize()))
    }
}

/// `./opt/orbit`, `opt/orbit` and `/opt/orbit/` as `/opt/orbit`; the root as `/`.
pub(super) fn absolute(path: &str) -> String {
    let path = path
        .strip_prefix('.')
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .unwrap_or(path);
    format!("/{}", path.trim_matches('/'))
}
