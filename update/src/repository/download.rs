//! One component, from the cache or by a verified download.

use camino::Utf8PathBuf;
use futures_util::TryStreamExt;

use super::{FetchError, Repository, unpack};
use crate::{
    cache::{Cache, CacheError},
    component::{FetchedComponent, OnProgress, Progress},
    names::{Channel, TargetName},
    transport::{Transport, TransportError},
    verify::SignedTarget,
};

/// No component is longer.
const MAX_TARGET_LENGTH: u64 = 2 << 30;

impl Repository {
    pub(super) async fn fetch_one(
        &self,
        name: &TargetName,
        target: &SignedTarget,
        progress: OnProgress<'_>,
    ) -> Result<FetchedComponent, FetchError> {
        let version = target.version.clone().or_else(|| pinned_version(&name.channel));
        let version = version.ok_or_else(|| FetchError::NoVersion { target: name.clone() })?;
        let (component, platform, total) = (name.component, name.platform, target.length);
        let report = |done| progress(Progress { component, platform, done, total });
        let path = match find(&self.cache, &target.sha256).await? {
            Some(path) => path,
            None => self.download(name, target, &report).await?,
        };
        report(target.length);
        let fetched = FetchedComponent {
            component,
            platform,
            path,
            version,
            sha256: target.sha256.clone(),
            length: target.length,
            modified: target.modified,
        };
        unpack::unpack(name, fetched, &self.cache).await
    }

    async fn download(
        &self,
        name: &TargetName,
        target: &SignedTarget,
        report: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Utf8PathBuf, FetchError> {
        let Some(transport) = &self.transport else {
            return Err(FetchError::NotCached { target: name.clone() });
        };
        let failed = |source| FetchError::Download { target: name.clone(), source };
        stream_to_cache(transport, target, &self.cache, report).await.map_err(failed)
    }
}

/// Downloads `target`, checking length and hash while the bytes pass.
async fn stream_to_cache(
    transport: &Transport,
    target: &SignedTarget,
    cache: &Cache,
    report: &(dyn Fn(u64) + Send + Sync),
) -> Result<Utf8PathBuf, DownloadError> {
    let file = format!("targets/{}", target.file);
    let at = transport.locate(&file);
    let length = target.length;
    if length > MAX_TARGET_LENGTH {
        return Err(DownloadError::TooLong { length, limit: MAX_TARGET_LENGTH });
    }
    let mut stream =
        transport.open(&file).await?.ok_or_else(|| DownloadError::Missing { at: at.clone() })?;
    let mut writer = cache.create()?;
    while let Some(chunk) = stream.try_next().await? {
        if writer.length() + chunk.len() as u64 > length {
            return Err(DownloadError::Endless { at, length });
        }
        writer.append(&chunk)?;
        report(writer.length());
    }
    if writer.length() < length {
        return Err(DownloadError::Truncated { at, received: writer.length(), length });
    }
    if writer.sha256() != target.sha256 {
        return Err(DownloadError::Tampered {
            at,
            found: writer.sha256(),
            signed: target.sha256.clone(),
        });
    }
    Ok(writer.keep()?)
}

/// Why a download is not what was signed for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// Signed for, but not there.
    #[error("`{at}` is not there, though the metadata lists it")]
    Missing {
        /// The URL or path.
        at: String,
    },
    /// Signed for with a length that no component has.
    #[error("{length} bytes are more than the {limit} that are accepted")]
    TooLong {
        /// As signed for, in bytes.
        length: u64,
        /// The most that is accepted, in bytes.
        limit: u64,
    },
    /// Longer than signed for; not read any further.
    #[error("`{at}` goes on after the {length} bytes that were signed for")]
    Endless {
        /// The URL or path.
        at: String,
        /// As signed for, in bytes.
        length: u64,
    },
    /// Shorter than signed for.
    #[error("`{at}` ended after {received} of {length} bytes")]
    Truncated {
        /// The URL or path.
        at: String,
        /// What came, in bytes.
        received: u64,
        /// As signed for, in bytes.
        length: u64,
    },
    /// Another content than signed for.
    #[error("`{at}` is not the file that was signed for: its SHA-256 is {found}, not {signed}")]
    Tampered {
        /// The URL or path.
        at: String,
        /// The hash of what came.
        found: String,
        /// The hash that was signed.
        signed: String,
    },
    /// The bytes did not come.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The cache cannot be written.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl DownloadError {
    /// What to do next, for the errors where that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Missing { .. }
            | Self::Endless { .. }
            | Self::Truncated { .. }
            | Self::Tampered { .. } => Some(
                "try again later, or another mirror: this one may be in the middle of an update"
                    .to_owned(),
            ),
            Self::TooLong { .. } | Self::Transport(_) | Self::Cache(_) => None,
        }
    }
}

/// Looks `sha256` up in the cache, off the runtime's threads since the whole file is hashed.
async fn find(cache: &Cache, sha256: &str) -> Result<Option<Utf8PathBuf>, CacheError> {
    let (cache, sha256) = (cache.clone(), sha256.to_owned());
    let finding = tokio::task::spawn_blocking(move || cache.find(&sha256));
    finding.await.expect("hashing a file does not panic")
}

/// The version that a channel named after one stands for.
fn pinned_version(channel: &Channel) -> Option<String> {
    (channel.as_str().split('.').count() == 3).then(|| channel.to_string())
}
