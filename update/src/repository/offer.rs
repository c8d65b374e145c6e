//! What a channel offers to a device, and the files of it.

use camino::Utf8PathBuf;
use jiff::Timestamp;

use super::{
    DownloadError, Repository, UnpackError, VerifyError,
    download::{Download, find},
    unpack::expand,
};
use crate::{
    cache::CacheError,
    names::TargetName,
    release::{MAX_RELEASE, Release, ReleaseError, ReleaseFile, ReleaseName},
    verify::{SignedTarget, Verifier as _},
};

/// After the name of a target: the same, compressed with zstd.
pub(crate) const COMPRESSED: &str = ".zst";

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
                target.map(|target| without_manifest(name, target)).transpose()
            }
        }
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
        let compressed = format!("{}{COMPRESSED}", file.target);
        let compressed = self.verifier.resolve(&compressed, now).await?;
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
        if let Some(path) = find(&self.cache, &file.sha256).await? {
            return Ok(path);
        }
        match self.bring_compressed(file, now).await {
            Ok(Some(path)) => return Ok(path),
            Ok(None) => {}
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
        let name = format!("{}{COMPRESSED}", file.target);
        let Some(target) = self.verifier.resolve(&name, now).await? else { return Ok(None) };
        let packed = self.have(&name, &target).await?;
        let (cache, wanted) = (self.cache.clone(), file.clone());
        let expanding = tokio::task::spawn_blocking(move || expand(&packed, &wanted, &cache));
        Ok(Some(expanding.await.expect("unpacking does not panic")?))
    }

    /// Forgets every file in the cache but those with one of these SHA-256, in hexadecimal.
    pub fn keep_only(&self, wanted: &[&str]) -> Result<(), BringError> {
        Ok(self.cache.keep_only(wanted)?)
    }

    async fn have(&self, name: &str, target: &SignedTarget) -> Result<Utf8PathBuf, BringError> {
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
    /// Whether the file came and is another one than was signed for.
    pub fn is_about_content(&self) -> bool {
        matches!(self, Self::Download { source, .. } if source.is_about_content())
    }
}
