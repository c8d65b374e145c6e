//! Verification of a repository's metadata, behind one trait.
//!
//! `tough` signs and `sigstore-tuf` verifies. Tried on a repository written by python-tuf 7.0.1,
//! with consistent snapshots and the target `orbit/linux/stable/orbit`: `tough` 0.24 lists the
//! target but asks for its file as `HASH.orbit/linux/stable/orbit`, which is not there, where the
//! specification (6.2) has `orbit/linux/stable/HASH.orbit`; `sigstore-tuf` 0.15.1 finds it, and
//! asks for two small files when nothing has changed. It keeps whole targets in memory, so it only
//! looks them up here and [`crate::repository`] streams them; it signs nothing, so the editor uses
//! `tough`'s types, canonical form and signatures, which every client tried reads. Its releases
//! change the interface: the version is pinned, and nothing outside this module names it but the
//! store that it writes to.

use std::{collections::BTreeSet, io};

use jiff::Timestamp;
use serde_json::Value;
use sigstore_tuf::{
    Error as TufError, MetadataStore as _, Repository as _, TrustedMetadataSet, Updater,
    UpdaterConfig, metadata::TargetFile, transport::FetchFuture,
};

use sigstore_types::SignatureBytes;

use self::succinct::Bin;
use crate::{
    audit::Listed,
    store::Store,
    transport::{Transport, TransportError},
};

/// What this crate asks of a TUF client: the workflow of the specification's chapter 5, up to the
/// point where a target's length and hash are known. Downloading is not part of it.
pub(crate) trait Verifier {
    /// Root chain, timestamp, snapshot, targets.
    async fn refresh(&mut self, now: Timestamp) -> Result<(), VerifyError>;

    /// Looks `target` up, through delegations where there are any. Needs a refresh before.
    async fn resolve(
        &mut self,
        target: &str,
        now: Timestamp,
    ) -> Result<Option<SignedTarget>, VerifyError>;
}

/// What signed metadata says of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignedTarget {
    /// In bytes.
    pub(crate) length: u64,
    /// In lower-case hexadecimal; a SHA-512 where the publisher gives nothing else.
    pub(crate) sha256: String,
    /// Where its file is, relative to the directory of targets.
    pub(crate) file: String,
    /// `custom.version`.
    pub(crate) version: Option<String>,
    /// `custom.modified`.
    pub(crate) modified: Option<Timestamp>,
}

impl SignedTarget {
    /// Where tuftool puts the file of a target whose name has a slash: the hash before the whole name
    /// and not before its last part, as the specification has it.
    pub(crate) fn file_of_tuftool(&self) -> Option<String> {
        let (dir, file) = self.file.rsplit_once('/')?;
        let name = file.strip_prefix(&self.sha256)?.strip_prefix('.')?;
        Some(format!("{}.{dir}/{name}", self.sha256))
    }
}

/// Metadata that is not to be trusted, or cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Too old to be relied upon.
    #[error("the {role} metadata expired at {expires}")]
    Expired {
        /// Whose key must sign anew.
        role: String,
        /// When.
        expires: Timestamp,
    },
    /// Older than what was seen before: a stale mirror, or somebody who holds back updates.
    #[error("the {role} metadata has version {offered}, but version {trusted} was seen before")]
    Rollback {
        /// Which metadata.
        role: String,
        /// The version seen before.
        trusted: u64,
        /// The version that came.
        offered: u64,
    },
    /// Too few signatures by the keys that count.
    #[error("the {role} metadata has {found} of the {threshold} signatures that the root demands")]
    Unsigned {
        /// Which metadata.
        role: String,
        /// Valid signatures.
        found: usize,
        /// Signatures needed.
        threshold: usize,
    },
    /// Files that do not belong together, or were changed.
    #[error("the metadata does not fit together: {detail}")]
    Mismatch {
        /// What differs.
        detail: String,
    },
    /// A root that does not follow the one before it.
    #[error("root metadata of version {offered} cannot follow version {trusted}")]
    RootOrder {
        /// The newest trusted version.
        trusted: u64,
        /// The version that came.
        offered: u64,
    },
    /// Metadata, or a key in it, that makes no sense.
    #[error("the metadata cannot be read")]
    Malformed(#[source] Box<TufError>),
    /// A target whose name leads somewhere.
    #[error("`{target}` cannot be the name of a target")]
    Name {
        /// The name.
        target: String,
    },
    /// A target without a SHA-256 or SHA-512.
    #[error("`{target}` is signed for without a SHA-256 or SHA-512")]
    NoSha256 {
        /// The target's name.
        target: String,
    },
    /// A file that a repository must have.
    #[error("there is no `{name}`")]
    Missing {
        /// Its name, e.g. `timestamp.json`.
        name: String,
    },
    /// What was stored before cannot be read.
    #[error("could not read stored metadata")]
    Stored(#[source] io::Error),
    /// The file did not come.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

mod carried;
mod succinct;

/// `sigstore-tuf`'s client over our transport and store.
#[derive(Debug)]
pub(crate) struct SigstoreVerifier {
    updater: Updater,
    /// For the bins, which the client does not know of.
    source: MetadataSource,
    store: Store,
}

impl SigstoreVerifier {
    /// Starts from `pinned_root` and the newest stored root that chains from it.
    pub(crate) fn new(
        pinned_root: &[u8],
        source: MetadataSource,
        store: Store,
    ) -> Result<Self, VerifyError> {
        let updater = Updater::new(source.clone(), pinned_root)?.with_config(limits());
        Ok(Self { updater: updater.with_store(store.clone()), source, store })
    }

    /// The roles that the verified snapshot and targets metadata name. Needs a refresh before.
    pub(crate) fn listed(&self) -> Listed {
        let trusted = self.updater.trusted();
        let targets = trusted.targets_role("targets");
        let delegations = targets.and_then(|it| it.delegations.as_ref());
        let delegated = delegations.map(|it| it.roles.iter().map(|role| role.name.clone()));
        let delegated: BTreeSet<_> = delegated.into_iter().flatten().collect();
        let meta = trusted.snapshot().map(|it| it.meta.iter()).into_iter().flatten();
        let named = meta.filter_map(|(file, listed)| {
            let role = file.strip_suffix(".json")?;
            (role == "targets" || delegated.contains(role))
                .then(|| (role.to_owned(), listed.version))
        });
        Listed { roles: named.collect(), delegated }
    }

    /// What the bin of `target` says of it, if there are bins.
    async fn in_bin(
        &self,
        target: &str,
        now: Timestamp,
    ) -> Result<Option<TargetFile>, VerifyError> {
        let trusted = self.updater.trusted();
        let bin = Bin::of(trusted, target);
        let listed = bin.and_then(|bin| bin.listed(trusted).map(|it| it.version).zip(Some(bin)));
        let Some((version, bin)) = listed else { return Ok(None) };
        let plain = format!("{}.json", bin.role);
        let is_consistent = trusted.root().consistent_snapshot;
        let name = if is_consistent { format!("{version}.{plain}") } else { plain.clone() };
        let bytes = self.source.fetch_metadata(&name, limits().targets_max_length).await?;
        let bytes = bytes.ok_or(VerifyError::Missing { name })?;
        let found = bin.look_up(trusted, &bytes, (target, now))?;
        self.store.store(&plain, &bytes)?;
        Ok(found)
    }

    /// The name a target's file is published under.
    fn file_of(&self, target: &str, sha256: &str) -> String {
        if !self.updater.trusted().root().consistent_snapshot {
            return target.to_owned();
        }
        match target.rsplit_once('/') {
            Some((dir, name)) => format!("{dir}/{sha256}.{name}"),
            None => format!("{sha256}.{target}"),
        }
    }
}

impl Verifier for SigstoreVerifier {
    async fn refresh(&mut self, now: Timestamp) -> Result<(), VerifyError> {
        Ok(self.updater.refresh(now).await?)
    }

    async fn resolve(
        &mut self,
        target: &str,
        now: Timestamp,
    ) -> Result<Option<SignedTarget>, VerifyError> {
        if !is_plain(target) {
            return Err(VerifyError::Name { target: target.to_owned() });
        }
        let found = match self.updater.get_target_info(target, now).await? {
            None => self.in_bin(target, now).await?,
            found => found,
        };
        let Some(found) = found else { return Ok(None) };
        let no_sha256 = || VerifyError::NoSha256 { target: target.to_owned() };
        let hash = |name, length| found.hashes.get(name).filter(|it: &&String| is_hash(it, length));
        let sha256 = hash("sha256", 64).or_else(|| hash("sha512", 128));
        let sha256 = sha256.ok_or_else(no_sha256)?.to_lowercase();
        let custom = |key| found.custom.as_ref().and_then(|it: &Value| it.get(key)?.as_str());
        Ok(Some(SignedTarget {
            length: found.length,
            file: self.file_of(target, &sha256),
            version: custom("version").map(str::to_owned),
            modified: custom("modified").and_then(|it| it.parse().ok()),
            sha256,
        }))
    }
}

/// Metadata in memory, to be read as a client reads it.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// The trusted root and those after it.
    pub(crate) roots: Vec<Vec<u8>>,
    pub(crate) timestamp: Vec<u8>,
    pub(crate) snapshot: Vec<u8>,
    /// Nothing: as it was.
    pub(crate) targets: Option<Vec<u8>>,
    /// By the name of the role.
    pub(crate) delegated: Vec<(String, Vec<u8>)>,
}

impl Reading {
    /// Whether each root follows the one before.
    pub(crate) fn roots_follow(&self) -> Result<(), VerifyError> {
        self.trusted().map(drop)
    }

    /// Whether a client that trusts the first root accepts all of this `now`.
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), VerifyError> {
        let mut trusted = self.trusted_snapshot(now)?;
        if let Some(targets) = &self.targets {
            trusted.update_targets(targets, now)?;
        }
        for (role, bytes) in &self.delegated {
            trusted.update_delegated_targets(bytes, role, "targets", now)?;
        }
        Ok(())
    }

    /// The same, where `targets` alone lists targets, if that client accepts every one of them, name
    /// and value, that `is_known` holds for.
    pub(crate) fn check_news(
        &self,
        is_known: impl Fn(&str, &str) -> bool,
        now: Timestamp,
    ) -> Result<(), VerifyError> {
        let trusted = self.trusted_snapshot(now)?;
        let targets = self.targets.as_deref().unwrap_or_default();
        carried::check(&trusted, targets, is_known, now)
    }

    fn trusted_snapshot(&self, now: Timestamp) -> Result<TrustedMetadataSet, VerifyError> {
        let mut trusted = self.trusted()?;
        trusted.check_root_expired(now)?;
        trusted.update_timestamp(&self.timestamp, now)?;
        trusted.update_snapshot(&self.snapshot, now)?;
        Ok(trusted)
    }

    fn trusted(&self) -> Result<TrustedMetadataSet, VerifyError> {
        let mut roots = self.roots.iter();
        let first = roots.next().map(Vec::as_slice).unwrap_or_default();
        let mut trusted = TrustedMetadataSet::from_root(first)?;
        for root in roots {
            trusted.update_root(root)?;
        }
        Ok(trusted)
    }
}

/// The bytes that signatures of `value` cover.
pub(crate) fn canonical(value: &Value) -> Result<Vec<u8>, VerifyError> {
    Ok(sigstore_tuf::canonical_json::to_canonical_bytes(value)?)
}

/// Whether `signature` is one of `data` by `key`, as metadata writes keys.
pub(crate) fn is_signature(key: &impl serde::Serialize, data: &[u8], signature: &[u8]) -> bool {
    let key = serde_json::to_value(key).and_then(serde_json::from_value::<sigstore_tuf::Key>);
    key.is_ok_and(|key| key.verify(data, &SignatureBytes::from_bytes(signature)).is_ok())
}

/// Whether `bytes` are root metadata that its own keys signed.
pub(crate) fn check_root(bytes: &[u8]) -> Result<(), VerifyError> {
    TrustedMetadataSet::from_root(bytes).map(drop).map_err(VerifyError::from)
}

/// The roots of a repository, from the one that it began with on.
#[derive(Debug, Default)]
pub(crate) struct RootChain(Option<TrustedMetadataSet>);

impl RootChain {
    /// Whether `bytes` are the next root metadata; if so the one after that is the next.
    pub(crate) fn follow(&mut self, bytes: &[u8]) -> Result<(), VerifyError> {
        if let Some(trusted) = &mut self.0 {
            return Ok(trusted.update_root(bytes)?);
        }
        let first = TrustedMetadataSet::from_root(bytes)?;
        match first.root().version {
            1 => {
                self.0 = Some(first);
                Ok(())
            }
            offered => Err(VerifyError::RootOrder { trusted: 0, offered }),
        }
    }
}

/// Whether `after` is the root metadata of the version after `before`, which is trusted.
pub(crate) fn check_next_root(before: &[u8], after: &[u8]) -> Result<(), VerifyError> {
    TrustedMetadataSet::from_root(before)?.update_root(after)?;
    Ok(())
}

/// How much of everything is accepted, so that no server makes us wait or remember without end.
fn limits() -> UpdaterConfig {
    let mut limits = UpdaterConfig::default();
    limits.root_max_length = 1 << 20;
    limits.timestamp_max_length = 64 << 10;
    limits.snapshot_max_length = 4 << 20;
    limits.targets_max_length = 16 << 20;
    // It downloads no targets.
    limits.target_max_length = 0;
    limits.max_root_rotations = 1024;
    limits.max_delegations = 64;
    limits
}

/// Whether the file of `target` is below the directory of targets, whoever joins their names.
fn is_plain(target: &str) -> bool {
    !target.contains('\\') && target.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn is_hash(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Where metadata is read from.
#[derive(Debug, Clone)]
pub(crate) enum MetadataSource {
    /// Where the repository is published.
    Published(Transport),
    /// What was stored before, and nothing else.
    Stored(Store),
}

impl sigstore_tuf::Repository for MetadataSource {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        Box::pin(async move {
            let found = match self {
                Self::Published(transport) => {
                    transport.read(name, max_length).await.map_err(VerifyError::Transport)
                }
                Self::Stored(store) => store.read(name).map_err(VerifyError::Stored),
            };
            match found {
                // The end of the root chain is where there is no further root.
                Ok(None) if !name.ends_with(".root.json") => {
                    Err(VerifyError::Missing { name: name.to_owned() })
                }
                other => other,
            }
            .map_err(|error| TufError::transport_with_source(name, error))
        })
    }

    /// Targets are downloaded by [`crate::repository`], as a stream.
    fn fetch_target<'a>(&'a self, _path: &'a str, _max_length: u64) -> FetchFuture<'a> {
        Box::pin(async { Ok(None) })
    }
}

impl From<TufError> for VerifyError {
    fn from(error: TufError) -> Self {
        match error {
            TufError::Expired { role, expires } => Self::Expired { role, expires },
            TufError::Rollback { role, trusted, new } => {
                Self::Rollback { role, trusted, offered: new }
            }
            TufError::ThresholdNotMet { role, found, threshold } => {
                Self::Unsigned { role, found, threshold }
            }
            TufError::IntegrityMismatch(detail) => Self::Mismatch { detail },
            TufError::BadRootVersion { trusted, new } => Self::RootOrder { trusted, offered: new },
            TufError::Transport { message, source: Some(source) } => {
                match source.downcast::<Self>() {
                    Ok(ours) => *ours,
                    Err(source) => {
                        Self::Malformed(Box::new(TufError::transport_with_source(message, source)))
                    }
                }
            }
            other @ (TufError::Transport { source: None, .. }
            | TufError::Json(_)
            | TufError::Malformed(_)
            | TufError::NonIntegerNumber
            | TufError::UnusableKey { .. }
            | TufError::UnsupportedScheme { .. }
            | TufError::UnknownRole(_)
            | TufError::DuplicateSignature { .. }
            | TufError::EqualVersion { .. }
            | TufError::Crypto(_)
            | TufError::NotRefreshed
            | TufError::TargetNotFound(_)
            | TufError::Io { .. }
            | _) => Self::Malformed(Box::new(other)),
        }
    }
}
