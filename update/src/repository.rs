//! Components from a TUF repository, verified and kept in a cache.
//!
//! ```text
//! <cache_dir>/metadata/<sha256 of the pinned root>/   metadata as received: the floor for the next
//! <cache_dir>/targets/<sha256>                        files by their content
//! ```

use std::{io, num::NonZeroU64, path::PathBuf};

use camino::Utf8PathBuf;
use jiff::Timestamp;

use crate::{
    cache::{Cache, CacheError},
    component::{FetchedComponent, OnProgress},
    connection::{Connection, ConnectionError},
    names::TargetName,
    store::Store,
    transport::Transport,
    verify::{self, MetadataSource, SigstoreVerifier, Verifier},
};

mod download;
mod location;
mod offer;
mod patched;
mod unpack;

pub use crate::{
    cache::CacheError as CachedFileError, transport::TransportError, verify::VerifyError,
};
pub use download::DownloadError;
pub use location::{Location, LocationError};
pub(crate) use location::{is_of_tuftool, targets_of};
pub use offer::{BringError, Offer, OfferError};
pub use unpack::UnpackError;

/// Which repository to fetch from, and how.
#[derive(Debug, Clone)]
pub struct RepositoryConfig {
    /// Where it is.
    pub location: Location,
    /// The root metadata to trust: the bytes of a `root.json` that came by a way you trust.
    pub pinned_root: Vec<u8>,
    /// Where metadata and targets are kept; shared by repositories and by processes. Made, readable
    /// by its owner alone, when missing.
    pub cache_dir: Utf8PathBuf,
    /// How the server is reached.
    pub connection: Connection,
    /// Use what the cache holds and nothing else: neither the server nor the directory is asked for
    /// anything. Metadata that has expired is refused as it is online, since nobody can tell any
    /// more what it hides.
    pub offline: bool,
}

/// A TUF repository whose metadata is verified from a pinned root.
#[derive(Debug)]
pub struct Repository {
    location: Location,
    verifier: SigstoreVerifier,
    store: Store,
    cache: Cache,
    /// None: offline.
    transport: Option<Transport>,
    /// Bytes in a second.
    rate: Option<NonZeroU64>,
}

impl Repository {
    /// Checks the pinned root and the connection, and opens the cache. Asks the server for nothing.
    pub fn open(config: RepositoryConfig) -> Result<Self, OpenError> {
        let RepositoryConfig { location, pinned_root, cache_dir, connection, offline } = config;
        let in_cache = |(path, source): (PathBuf, io::Error)| OpenError::Cache { path, source };
        let store = Store::open(cache_dir.as_std_path(), &pinned_root).map_err(in_cache)?;
        let cache = Cache::open(&cache_dir).map_err(in_cache)?;
        let transport = if offline { None } else { Some(location.transport(&connection)?) };
        let source = match &transport {
            Some(transport) => MetadataSource::Published(transport.clone()),
            None => MetadataSource::Stored(store.clone()),
        };
        let verifier =
            SigstoreVerifier::new(&pinned_root, source, store.clone()).map_err(OpenError::Root)?;
        Ok(Self { location, verifier, store, cache, transport, rate: connection.rate })
    }

    /// Brings the metadata up to date and verifies it. `now` decides what has expired.
    pub async fn refresh(&mut self, now: Timestamp) -> Result<(), RefreshError> {
        let store = self.store.clone();
        let locking = tokio::task::spawn_blocking(move || store.lock());
        let in_store = |(path, source)| RefreshError::Store { path, source };
        let _alone = locking.await.expect("locking a file does not panic").map_err(in_store)?;
        self.verifier.refresh(now).await.map_err(|error| self.refused(error))?;
        self.store.take_failure().map_or(Ok(()), |failure| Err(in_store(failure)))
    }

    /// Fetches `wanted`, all at once, downloading what the cache does not have; returns them in
    /// that order. Needs a [`refresh`](Self::refresh) before.
    ///
    /// Of `desktop` for Linux, an archive in the repository, the program is unpacked; bundles for
    /// macOS stay archives.
    pub async fn fetch(
        &mut self,
        wanted: &[TargetName],
        now: Timestamp,
        progress: OnProgress<'_>,
    ) -> Result<Vec<FetchedComponent>, FetchError> {
        let mut targets = Vec::new();
        let mut missing = Vec::new();
        for name in wanted {
            let resolved = self.verifier.resolve(&name.to_string(), now).await;
            match resolved.map_err(|source| FetchError::Resolve { target: name.clone(), source })? {
                Some(target) => {
                    let packed = self.packed(name, &target, now).await;
                    targets.push((name, target, packed));
                }
                None => missing.push(name.to_string()),
            }
        }
        if !missing.is_empty() {
            return Err(FetchError::NoSuchTargets { location: self.location.to_string(), missing });
        }
        let fetching = targets.iter().map(|(name, target, packed)| {
            let (target, packed) = ((*name, target), packed.as_ref());
            self.fetch_one(target, packed, progress)
        });
        futures_util::future::try_join_all(fetching).await
    }

    fn refused(&self, error: VerifyError) -> RefreshError {
        let location = self.location.to_string();
        if matches!(&error, VerifyError::Missing { name } if name == "timestamp.json") {
            return match self.transport {
                Some(_) => RefreshError::NoRepository { location },
                None => RefreshError::NothingStored { location },
            };
        }
        RefreshError::Refused { location, source: error }
    }
}

/// Whether `bytes` can be pinned: root metadata, signed by its own keys. Whether it has expired does
/// not matter, since newer ones may follow it.
pub fn check_root(bytes: &[u8]) -> Result<(), VerifyError> {
    verify::check_root(bytes)
}

/// Whether `after` is the root metadata that follows `before`, which is trusted: one version later,
/// and signed by the keys of both.
pub fn check_next_root(before: &[u8], after: &[u8]) -> Result<(), VerifyError> {
    verify::check_next_root(before, after)
}

/// Why a repository cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The pinned root is no root metadata, or not signed by its own keys.
    #[error("could not trust the pinned root metadata")]
    Root(#[source] VerifyError),
    /// The connection cannot be set up.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The cache cannot be used.
    #[error("could not use the cache `{}`", .path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why metadata cannot be brought up to date.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// There is nothing like a repository.
    #[error("`{location}` has no TUF repository")]
    NoRepository {
        /// Where it was looked for.
        location: String,
    },
    /// Offline, and never refreshed from this pinned root before.
    #[error("nothing of `{location}` is in the cache")]
    NothingStored {
        /// Where the repository is published.
        location: String,
    },
    /// The metadata did not come, or is not to be trusted.
    #[error("could not verify the repository at `{location}`")]
    Refused {
        /// Where it is published.
        location: String,
        /// What is wrong.
        source: VerifyError,
    },
    /// What was verified cannot be kept, so that nothing would protect the next refresh from older
    /// metadata.
    #[error("could not keep metadata in `{}`", .path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl RefreshError {
    /// What to do next, for the errors where that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NothingStored { .. } => Some("fetch once without being offline".to_owned()),
            Self::NoRepository { .. } => {
                Some("the location is the directory that holds timestamp.json".to_owned())
            }
            Self::Refused { source, .. } => source.help(),
            Self::Store { .. } => None,
        }
    }
}

impl RefreshError {
    /// Whether the server has older metadata than was seen before: a stale mirror, or somebody who
    /// holds back updates. What was seen before still counts.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Refused { source: VerifyError::Rollback { .. }, .. })
    }

    /// Which metadata has expired, if that is what is wrong, and when.
    pub fn expired(&self) -> Option<(&str, Timestamp)> {
        let Self::Refused { source: VerifyError::Expired { role, expires }, .. } = self else {
            return None;
        };
        Some((role, *expires))
    }
}

impl FetchError {
    /// What to do next, for the errors where that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NoSuchTargets { .. } => {
                Some("`fleetctl updates add` publishes files for a channel".to_owned())
            }
            Self::NoVersion { .. } => {
                Some("publish it again with `fleetctl updates add`".to_owned())
            }
            Self::NotCached { .. } => Some("fetch once without being offline".to_owned()),
            Self::Resolve { source, .. } => source.help(),
            Self::Download { source, .. } => source.help(),
            Self::Cache(_) | Self::Unpack { .. } => None,
        }
    }
}

impl VerifyError {
    /// What to do next, for the errors where that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Expired { role, .. } if role == "root" => {
                Some("whoever holds the root key must sign new root metadata".to_owned())
            }
            Self::Expired { role, .. } => Some(format!(
                "whoever holds the {role} key must sign again: `fleetctl updates add` does"
            )),
            Self::Rollback { .. } => {
                Some("the mirror may be stale: try again later, or another one".to_owned())
            }
            Self::Unsigned { role, .. } if role == "root" => Some(
                "pin the root metadata that `fleetctl updates roots` prints for this repository"
                    .to_owned(),
            ),
            Self::Unsigned { .. } => {
                Some("is the pinned root metadata that of this repository?".to_owned())
            }
            Self::Mismatch { .. } => {
                Some("the mirror may be in the middle of an update: try again later".to_owned())
            }
            Self::RootOrder { .. }
            | Self::Malformed(_)
            | Self::Name { .. }
            | Self::NoSha256 { .. }
            | Self::Missing { .. }
            | Self::Stored(_)
            | Self::Transport(_) => None,
        }
    }
}

/// Why components cannot be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Targets that no metadata lists.
    #[error("`{location}` has no `{}`", .missing.join("`, no `"))]
    NoSuchTargets {
        /// Where the repository is published.
        location: String,
        /// The targets' names.
        missing: Vec<String>,
    },
    /// The metadata that would list the target is not to be trusted.
    #[error("could not look up `{target}`")]
    Resolve {
        /// The target.
        target: TargetName,
        /// What is wrong.
        source: VerifyError,
    },
    /// The publisher did not tell the component's version.
    #[error("`{target}` does not tell its version")]
    NoVersion {
        /// The target.
        target: TargetName,
    },
    /// Offline, and the file was never downloaded.
    #[error("`{target}` is not in the cache")]
    NotCached {
        /// The target.
        target: TargetName,
    },
    /// The file did not come, or is another one.
    #[error("could not download `{target}`")]
    Download {
        /// The target.
        target: TargetName,
        /// What is wrong.
        source: DownloadError,
    },
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The archive does not hold the program.
    #[error("could not unpack `{target}`")]
    Unpack {
        /// The target.
        target: TargetName,
        /// What is wrong.
        source: UnpackError,
    },
}
