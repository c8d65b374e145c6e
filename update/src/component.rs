//! What fetching gives, wherever a component comes from.

use camino::Utf8PathBuf;
use jiff::Timestamp;

use crate::names::{Component, UpdatePlatform};

/// A component's program on this machine, ready to be packaged or run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedComponent {
    /// What it is.
    pub component: Component,
    /// Where it runs.
    pub platform: UpdatePlatform,
    /// The program's file. It may lie in a cache: read it, do not change or move it.
    pub path: Utf8PathBuf,
    /// Its version, e.g. `1.2.3`.
    pub version: String,
    /// SHA-256 of the file, in lower-case hexadecimal.
    pub sha256: String,
    /// Length of the file in bytes.
    pub length: u64,
    /// When it was built, as far as its source tells: the publisher's date, signed, or a local
    /// file's own.
    pub modified: Option<Timestamp>,
}

/// How far one component has come. The last call for a component has `done == total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being fetched.
    pub component: Component,
    /// Where it runs.
    pub platform: UpdatePlatform,
    /// Bytes so far.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Called while components are fetched, several times a second, from whichever thread does the
/// work.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);
