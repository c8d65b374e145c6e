//! Components from a TUF repository, verified and kept in a cache.

use std::{fmt, str::FromStr};

use camino::Utf8PathBuf;
use jiff::Timestamp;
use url::Url;

use crate::{
    component::{FetchedComponent, OnProgress},
    connection::Connection,
    names::TargetName,
};

/// Where a repository is published: the directory that holds `timestamp.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// An `https` (or `http`) URL.
    Url(Url),
    /// A directory on this machine.
    Directory(Utf8PathBuf),
}

/// Which repository to fetch from, and how.
#[derive(Debug, Clone)]
pub struct RepositoryConfig {
    /// Where it is.
    pub location: Location,
    /// The root metadata to trust: the bytes of a `root.json` that came by a way you trust.
    pub pinned_root: Vec<u8>,
    /// Where metadata and targets are kept; shared by repositories and by processes. Made, readable by its owner
    /// alone, when missing.
    pub cache_dir: Utf8PathBuf,
    /// How the server is reached.
    pub connection: Connection,
    /// Use what the cache holds and nothing else.
    pub offline: bool,
}

/// A TUF repository whose metadata is verified from a pinned root.
#[derive(Debug)]
pub struct Repository {}

impl Repository {
    /// Checks the pinned root and the connection, and opens the cache. Asks the server for nothing.
    pub fn open(config: RepositoryConfig) -> Result<Self, OpenError> {
        let _ = config;
        unimplemented!()
    }

    /// Brings the metadata up to date and verifies it. `now` decides what has expired.
    pub async fn refresh(&mut self, now: Timestamp) -> Result<(), RefreshError> {
        let _ = now;
        unimplemented!()
    }

    /// Fetches `wanted`, in that order, downloading what the cache does not have. Needs a [`refresh`](Self::refresh)
    /// before.
    pub async fn fetch(
        &mut self,
        wanted: &[TargetName],
        now: Timestamp,
        progress: OnProgress<'_>,
    ) -> Result<Vec<FetchedComponent>, FetchError> {
        let _ = (wanted, now, progress);
        unimplemented!()
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let _ = text;
        unimplemented!()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url.as_str()),
            Self::Directory(dir) => f.write_str(dir.as_str()),
        }
    }
}

/// Text that is neither an `https`, `http` or `file` URL nor a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an https URL nor a directory")]
pub struct LocationError(pub String);

/// Why a repository cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {}

/// Why metadata cannot be brought up to date.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {}

/// Why components cannot be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {}
