//! One component, from the cache or by a verified download.

use std::{num::NonZeroU64, time::Duration};

use camino::Utf8PathBuf;
use futures_util::TryStreamExt;
use jiff::Timestamp;

use super::{FetchError, Repository, unpack};
use crate::{
    cache::{Cache, CacheError, CacheWriter},
    component::{FetchedComponent, OnProgress, Progress},
    names::{Channel, TargetName},
    release::ReleaseFile,
    transport::{ByteStream, Opened, Transport, TransportError},
    verify::SignedTarget,
};

/// No component is longer.
const MAX_TARGET_LENGTH: u64 = 2 << 30;

impl Repository {
    pub(super) async fn fetch_one(
        &self,
        (name, target): (&TargetName, &SignedTarget),
        packed: Option<&Packed>,
        progress: OnProgress<'_>,
    ) -> Result<FetchedComponent, FetchError> {
        let version = target.version.clone().or_else(|| pinned_version(&name.channel));
        let version = version.ok_or_else(|| FetchError::NoVersion { target: name.clone() })?;
        let (component, platform, total) = (name.component, name.platform, target.length);
        let report = |done| progress(Progress { component, platform, done, total });
        let path = match find(&self.cache, &target.sha256).await? {
            Some(path) => path,
            None => self.download((name, target), packed, &report).await?,
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

    /// The compressed file that belongs to `target`: it is found by the version that is offered, if
    /// that has the same content.
    pub(super) async fn packed(
        &mut self,
        name: &TargetName,
        target: &SignedTarget,
        now: Timestamp,
    ) -> Option<Packed> {
        let channel = target.version.as_ref()?.parse().ok()?;
        let called = TargetName { channel, ..name.clone() }.to_string();
        let wanted = self.find(&called, now).await.ok().flatten()?;
        let target = self.compressed(&wanted, now).await.filter(|_| wanted.sha256 == target.sha256);
        Some(Packed { target: target?, wanted })
    }

    async fn download(
        &self,
        (name, target): (&TargetName, &SignedTarget),
        packed: Option<&Packed>,
        report: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Utf8PathBuf, FetchError> {
        let Some(transport) = &self.transport else {
            return Err(FetchError::NotCached { target: name.clone() });
        };
        let failed = |source| FetchError::Download { target: name.clone(), source };
        if let Some(packed) = packed {
            match self.unpacked(packed).await {
                Ok(path) => return Ok(path),
                Err(error) => {
                    tracing::debug!(%name, "the compressed file is of no use: {error}");
                }
            }
        }
        let download = Download { transport, cache: &self.cache, rate: self.rate };
        download.run(target, report).await.map_err(failed)
    }
}

/// A file that is published compressed, too.
#[derive(Debug)]
pub(super) struct Packed {
    /// The compressed file.
    pub(super) target: SignedTarget,
    /// What it unpacks to.
    pub(super) wanted: ReleaseFile,
}

/// What a download needs besides a target.
#[derive(Clone, Copy)]
pub(super) struct Download<'a> {
    pub(super) transport: &'a Transport,
    pub(super) cache: &'a Cache,
    pub(super) rate: Option<NonZeroU64>,
}

impl Download<'_> {
    /// Downloads `target`, checking length and hash while the bytes pass; goes on where an earlier
    /// attempt has ended.
    pub(super) async fn run(
        self,
        target: &SignedTarget,
        report: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Utf8PathBuf, DownloadError> {
        let (length, limit) = (target.length, MAX_TARGET_LENGTH);
        if length > limit {
            return Err(DownloadError::TooLong { length, limit });
        }
        let (cache, sha256) = (self.cache.clone(), target.sha256.clone());
        let resuming = tokio::task::spawn_blocking(move || cache.resume(&sha256));
        let mut writer = resuming.await.expect("hashing a file does not panic")?;
        let was_begun = writer.length() > 0;
        let mut outcome = self.stream(target, &mut writer, report).await;
        if was_begun && matches!(&outcome, Err(error) if error.is_about_content()) {
            // What was there before may be to blame.
            writer.restart()?;
            outcome = self.stream(target, &mut writer, report).await;
        }
        match outcome {
            Ok(()) => Ok(writer.keep()?),
            Err(error) => {
                if error.is_about_content() || writer.length() == 0 {
                    writer.discard();
                }
                Err(error)
            }
        }
    }

    async fn stream(
        self,
        target: &SignedTarget,
        writer: &mut CacheWriter,
        report: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), DownloadError> {
        let file = format!("targets/{}", target.file);
        let at = self.transport.locate(&file);
        let length = target.length;
        if writer.length() > length {
            writer.restart()?;
        }
        if writer.length() < length || length == 0 {
            let opened = self.open(target, writer.length()).await?;
            let opened = opened.ok_or_else(|| DownloadError::Missing { at: at.clone() })?;
            if opened.offset != writer.length() {
                writer.restart()?;
            }
            let patience = self.transport.patience();
            let limit = patience.target + Duration::from_secs(length / patience.slowest);
            let reading = self.append(opened.stream, (&at, length), writer, report);
            let slow = |_| TransportError::Slow { at: at.clone(), limit };
            tokio::time::timeout(limit, reading).await.map_err(slow)??;
        }
        if writer.length() < length {
            return Err(DownloadError::Truncated { at, received: writer.length(), length });
        }
        if writer.sha256() != target.sha256 {
            let signed = target.sha256.clone();
            return Err(DownloadError::Tampered { at, found: writer.sha256(), signed });
        }
        Ok(())
    }

    async fn open(
        self,
        target: &SignedTarget,
        offset: u64,
    ) -> Result<Option<Opened>, TransportError> {
        let opened = self.transport.open(&format!("targets/{}", target.file), offset).await?;
        let of_tuftool = target.file_of_tuftool().filter(|_| self.transport.is_of_tuftool());
        match (opened, of_tuftool) {
            (None, Some(file)) => self.transport.open(&format!("targets/{file}"), offset).await,
            (opened, _) => Ok(opened),
        }
    }

    async fn append(
        self,
        mut stream: ByteStream,
        (at, length): (&str, u64),
        writer: &mut CacheWriter,
        report: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), DownloadError> {
        while let Some(chunk) = stream.try_next().await? {
            if writer.length() + chunk.len() as u64 > length {
                return Err(DownloadError::Endless { at: at.to_owned(), length });
            }
            writer.append(&chunk)?;
            report(writer.length());
            if let Some(rate) = self.rate {
                let due = chunk.len() as f64 / rate.get() as f64;
                tokio::time::sleep(Duration::from_secs_f64(due)).await;
            }
        }
        Ok(())
    }
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
    /// Whether the bytes were wrong, so that none of them is worth keeping.
    pub(super) fn is_about_content(&self) -> bool {
        match self {
            Self::Endless { .. } | Self::Truncated { .. } | Self::Tampered { .. } => true,
            Self::Missing { .. } | Self::TooLong { .. } | Self::Transport(_) | Self::Cache(_) => {
                false
            }
        }
    }

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
pub(super) async fn find(cache: &Cache, sha256: &str) -> Result<Option<Utf8PathBuf>, CacheError> {
    let (cache, sha256) = (cache.clone(), sha256.to_owned());
    let finding = tokio::task::spawn_blocking(move || cache.find(&sha256));
    finding.await.expect("hashing a file does not panic")
}

/// The version that a channel named after one stands for.
fn pinned_version(channel: &Channel) -> Option<String> {
    (channel.as_str().split('.').count() == 3).then(|| channel.to_string())
}
