//! What a channel offers to a device, and the files of it.

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use super::{
    DownloadError, Repository, UnpackError, VerifyError,
    download::{Download, Packed, find},
    unpack::expand,
};
use crate::{
    cache::CacheError,
    names::{TargetName, compressed_name},
    release::{MAX_RELEASE, Release, ReleaseError, ReleaseFile, ReleaseName},
    transport::TransportError,
    verify::{SignedTarget, Verifier as _},
};

/// What is current on a channel, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What was signed of it. A channel without a manifest offers its file to everybody; one that is
    /// named after a version sends later versions back.
    pub release: Release,
    /// The program, or the archive that it is in.
    pub file: ReleaseFile,
    /// When it was built, as far as its publisher tells.
    pub modified: Option<Timestamp>,
    /// SHA-256 of the manifest, where there is one.
    pub manifest_sha256: Option<String>,
}

impl Repository {
    /// What `name`'s channel offers; none: nothing. Needs a [`refresh`](Self::refresh) before.
    pub async fn offer(
        &mut self,
        name: &TargetName,
        now: Timestamp,
    ) -> Result<Option<Offer>, OfferError> {
        let TargetName { component, platform, channel } = name.clone();
        let manifest = ReleaseName { component, platform, channel }.to_string();
        match self.verifier.resolve(&manifest, now).await? {
            Some(target) => self.offered(&manifest, &target, now).await.map(Some),
            None => {
                let target = self.verifier.resolve(&name.to_string(), now).await?;
                let offer = target.map(|target| without_manifest(name, target)).transpose()?;
                match offer {
                    Some(offer) => Ok(Some(self.by_its_version(name, offer, now).await)),
                    None => Ok(None),
                }
            }
        }
    }

    /// Has a file be called by its version, if that is listed too: what it is compressed to is called
    /// like that.
    async fn by_its_version(
        &mut self,
        name: &TargetName,
        mut offer: Offer,
        now: Timestamp,
    ) -> Offer {
        let Ok(channel) = offer.release.version.parse() else { return offer };
        let called = TargetName { channel, ..name.clone() }.to_string();
        let same = ReleaseFile { target: called, ..offer.file.clone() };
        if self.listed(&same, now).await.is_ok() {
            offer.release.files = vec![same.clone()];
            offer.file = same;
        }
        offer
    }

    async fn offered(
        &mut self,
        manifest: &str,
        target: &SignedTarget,
        now: Timestamp,
    ) -> Result<Offer, OfferError> {
        let told = || manifest.to_owned();
        if target.length > MAX_RELEASE {
            return Err(OfferError::TooLong { manifest: told(), length: target.length });
        }
        let fetched = self.have(manifest, target).await;
        let path = fetched.map_err(|source| OfferError::Fetch { manifest: told(), source })?;
        let read = std::fs::read(&path).map_err(|source| CacheError { path, source });
        let read =
            read.map_err(|error| OfferError::Fetch { manifest: told(), source: error.into() })?;
        let release = Release::from_json(&read)
            .map_err(|source| OfferError::Release { manifest: told(), source })?;
        let file = release.files.first().cloned();
        let file = file.ok_or_else(|| OfferError::Empty { manifest: told() })?;
        let modified = self.listed(&file, now).await?.modified;
        let manifest_sha256 = Some(target.sha256.clone());
        Ok(Offer { release, file, modified, manifest_sha256 })
    }

    /// What the metadata says of a file that a manifest names, if both say the same.
    async fn listed(
        &mut self,
        file: &ReleaseFile,
        now: Timestamp,
    ) -> Result<SignedTarget, OfferError> {
        let target = self.verifier.resolve(&file.target, now).await?;
        target
            .filter(|it| it.sha256 == file.sha256 && it.length == file.length)
            .ok_or_else(|| OfferError::Unlisted { target: file.target.clone() })
    }

    /// What the metadata says of a target of any name; none: nothing. Needs a
    /// [`refresh`](Self::refresh) before.
    pub async fn find(
        &mut self,
        target: &str,
        now: Timestamp,
    ) -> Result<Option<ReleaseFile>, OfferError> {
        let found = self.verifier.resolve(target, now).await?;
        Ok(found.map(|it| ReleaseFile {
            target: target.to_owned(),
            length: it.length,
            sha256: it.sha256,
        }))
    }

    /// How many bytes have still to be downloaded for `file`; none if it is here.
    pub async fn missing_bytes(
        &mut self,
        file: &ReleaseFile,
        now: Timestamp,
    ) -> Result<u64, BringError> {
        if find(&self.cache, &file.sha256).await?.is_some() {
            return Ok(0);
        }
        let compressed = self.compressed(file, now).await;
        let (length, sha256) =
            compressed.as_ref().map_or((file.length, &file.sha256), |it| (it.length, &it.sha256));
        // What an earlier attempt has brought takes its room already.
        Ok(length.saturating_sub(self.cache.begun(sha256)))
    }

    /// Has `file` in the cache, verified, and gives its path: downloaded compressed where the
    /// repository has it like that, else as it is. Whatever it was unpacked from, its own SHA-256
    /// decides.
    pub async fn bring(
        &mut self,
        file: &ReleaseFile,
        now: Timestamp,
    ) -> Result<Utf8PathBuf, BringError> {
        self.bring_over(file, None, now).await
    }

    /// The same for who has another version of `file` at `present`: a patch from that is tried first.
    pub async fn bring_over(
        &mut self,
        file: &ReleaseFile,
        present: Option<&Utf8Path>,
        now: Timestamp,
    ) -> Result<Utf8PathBuf, BringError> {
        if let Some(path) = find(&self.cache, &file.sha256).await? {
            return Ok(path);
        }
        if let Some(present) = present
            && let Some(path) = self.bring_patched(file, present, now).await
        {
            return Ok(path);
        }
        match self.bring_compressed(file, now).await {
            Ok(Some(path)) => return Ok(path),
            Ok(None) => {}
            Err(error) if error.is_passing() => return Err(error),
            Err(error) => {
                tracing::debug!(target = file.target, "the compressed file is of no use: {error}");
            }
        }
        let listed = self.listed(file, now).await?;
        self.have(&file.target, &listed).await
    }

    async fn bring_compressed(
        &mut self,
        file: &ReleaseFile,
        now: Timestamp,
    ) -> Result<Option<Utf8PathBuf>, BringError> {
        let Some(target) = self.compressed(file, now).await else { return Ok(None) };
        self.unpacked(&Packed { target, wanted: file.clone() }).await.map(Some)
    }

    /// Downloads a compressed file and unpacks it to what it must give.
    pub(super) async fn unpacked(&self, packed: &Packed) -> Result<Utf8PathBuf, BringError> {
        let Packed { target, wanted } = packed;
        let archive = self.have(&compressed_name(&wanted.target), target).await?;
        let (cache, wanted) = (self.cache.clone(), wanted.clone());
        let expanding = tokio::task::spawn_blocking(move || expand(&archive, &wanted, &cache));
        Ok(expanding.await.expect("unpacking does not panic")?)
    }

    /// The target that unpacks to `file`, if there is one and it is smaller. One that cannot be looked
    /// up is none.
    pub(super) async fn compressed(
        &mut self,
        file: &ReleaseFile,
        now: Timestamp,
    ) -> Option<SignedTarget> {
        let target = self.verifier.resolve(&compressed_name(&file.target), now).await;
        target.ok().flatten().filter(|it| it.length < file.length)
    }

    /// The SHA-256 of what [`bring_over`](Self::bring_over) may have left half done, in hexadecimal,
    /// for [`keep_only`](Self::keep_only).
    pub async fn parts_of(
        &mut self,
        file: &ReleaseFile,
        present: Option<&Utf8Path>,
        now: Timestamp,
    ) -> Vec<String> {
        let patch = match present {
            Some(present) => self.part_of_patch(file, present, now).await,
            None => None,
        };
        let compressed = self.compressed(file, now).await.map(|it| it.sha256);
        patch.into_iter().chain(compressed).chain([file.sha256.clone()]).collect()
    }

    /// Forgets every file in the cache but those with one of these SHA-256, in hexadecimal.
    pub fn keep_only(&self, wanted: &[&str]) -> Result<(), BringError> {
        Ok(self.cache.keep_only(wanted)?)
    }

    pub(super) async fn have(
        &self,
        name: &str,
        target: &SignedTarget,
    ) -> Result<Utf8PathBuf, BringError> {
        if let Some(path) = find(&self.cache, &target.sha256).await? {
            return Ok(path);
        }
        let Some(transport) = &self.transport else {
            return Err(BringError::NotCached { target: name.to_owned() });
        };
        let download = Download { transport, cache: &self.cache, rate: self.rate };
        let downloaded = download.run(target, &|_| ()).await;
        downloaded.map_err(|source| BringError::Download { target: name.to_owned(), source })
    }
}

/// What a channel offers that has its file alone.
fn without_manifest(name: &TargetName, target: SignedTarget) -> Result<Offer, OfferError> {
    let pinned = Some(name.channel.as_str()).filter(|it| it.split('.').count() == 3);
    let version = target.version.as_deref().or(pinned);
    let version = version.ok_or_else(|| OfferError::NoVersion { target: name.to_string() })?;
    let file =
        ReleaseFile { target: name.to_string(), length: target.length, sha256: target.sha256 };
    let release = Release {
        version: version.to_owned(),
        files: vec![file.clone()],
        waves: Vec::new(),
        min_agent: None,
        critical: false,
        paused: false,
        allow_downgrade: name.channel.is_version(),
        max_failure_percent: None,
    };
    Ok(Offer { release, file, modified: target.modified, manifest_sha256: None })
}

/// Why nobody can tell what a channel offers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// The metadata that would list it is not to be trusted.
    #[error("could not look up what the channel offers")]
    Resolve(#[from] VerifyError),
    /// The manifest did not come.
    #[error("could not read `{manifest}`")]
    Fetch {
        /// The manifest.
        manifest: String,
        /// Why.
        source: BringError,
    },
    /// The manifest makes no sense.
    #[error("could not use `{manifest}`")]
    Release {
        /// The manifest.
        manifest: String,
        /// Why.
        source: ReleaseError,
    },
    /// A manifest of a length that none has.
    #[error("`{manifest}` has {length} bytes, which no release manifest has")]
    TooLong {
        /// The manifest.
        manifest: String,
        /// In bytes.
        length: u64,
    },
    /// The manifest names no file.
    #[error("`{manifest}` names no file")]
    Empty {
        /// The manifest.
        manifest: String,
    },
    /// The manifest names a file that the metadata does not list, or lists as another one.
    #[error("the release has `{target}`, which the metadata does not list like that")]
    Unlisted {
        /// The target.
        target: String,
    },
    /// The publisher did not tell the version.
    #[error("`{target}` does not tell its version")]
    NoVersion {
        /// The target.
        target: String,
    },
}

/// Why a file of a release cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BringError {
    /// The metadata does not list it like that, or is not to be trusted.
    #[error(transparent)]
    Offer(Box<OfferError>),
    /// Offline, and the file was never downloaded.
    #[error("`{target}` is not in the cache")]
    NotCached {
        /// The target.
        target: String,
    },
    /// The file did not come, or is another one.
    #[error("could not download `{target}`")]
    Download {
        /// The target.
        target: String,
        /// What is wrong.
        source: DownloadError,
    },
    /// The compressed file does not hold the program.
    #[error("could not unpack it")]
    Unpack(#[from] UnpackError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl From<OfferError> for BringError {
    fn from(error: OfferError) -> Self {
        Self::Offer(Box::new(error))
    }
}

impl From<VerifyError> for BringError {
    fn from(error: VerifyError) -> Self {
        OfferError::Resolve(error).into()
    }
}

impl BringError {
    /// Whether it may go better next time, and would have gone no better with another file.
    fn is_passing(&self) -> bool {
        match self {
            Self::Cache(_) | Self::Unpack(UnpackError::Cache(_)) => true,
            Self::Download { source, .. } => match source {
                DownloadError::Transport(error) => {
                    matches!(error, TransportError::Request { .. } | TransportError::Slow { .. })
                }
                DownloadError::Cache(_) => true,
                DownloadError::Missing { .. }
                | DownloadError::TooLong { .. }
                | DownloadError::Endless { .. }
                | DownloadError::Truncated { .. }
                | DownloadError::Tampered { .. } => false,
            },
            Self::Offer(_) | Self::NotCached { .. } | Self::Unpack(_) => false,
        }
    }

    /// Whether the file came and is another one than was signed for.
    pub fn is_about_content(&self) -> bool {
        matches!(self, Self::Download { source, .. } if source.is_about_content())
    }
}
