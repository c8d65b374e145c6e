//! Looks for updates: asks the repository, hears from the server how others fared, and puts what is
//! due beside what runs. Nothing that runs is touched.

mod case;
pub mod extensions;
mod probe;

use std::{
    collections::BTreeMap,
    num::NonZeroU64,
    sync::{Arc, PoisonError},
    time::SystemTime,
};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;
use update::{
    Channel, Component, Location, Repository, RepositoryConfig, TargetName, UpdatePlatform,
    connection::{Patience, Respite},
    repository::{BringError, Offer, OpenError, RefreshError},
};
use wire::{
    NodeKey,
    orbit::{ComponentUpdate, CrashLoop, Tally, UpdateReport, UpdateReportReply, UpdateState},
    settings::files,
};

use self::case::Case;
pub use self::probe::{Probe, ProbeError};
use crate::{
    complaints::explain,
    config::UpdateSource,
    platform,
    server::{RequestError, Seal, Server, SetupError},
    updater::{
        Finding,
        clock::Judged,
        disk::RealDisk,
        folder::{Brought, Folder, FolderError, Packing},
        ledger::Entry,
    },
};

/// What stays free on the disk, in bytes, unless told otherwise.
const RESERVE: u64 = 64 << 20;

/// The repository, kept open from one look to the next.
#[derive(Debug)]
pub struct Updates {
    source: UpdateSource,
    root: Utf8PathBuf,
    rate: Option<NonZeroU64>,
    reserve: u64,
    patience: Patience,
    probe: Probe,
    repository: Mutex<Option<Kept>>,
    /// Outlives a repository that is opened again.
    respite: Respite,
    /// What has come of extensions whose download broke off: it is gone on with.
    begun_extensions: std::sync::Mutex<Vec<String>>,
}

/// An open repository, and how the certificates and keys were that it was opened with.
type Kept = (Repository, Seal);

/// What a look needs to know.
#[derive(Debug)]
pub struct Question {
    /// The time to judge by; none: nobody knows what time it is.
    pub now: Option<Judged>,
    /// What names the device.
    pub device: String,
    /// The version of the agent.
    pub agent: String,
    pub interval: SignedDuration,
    pub components: Vec<Installed>,
    /// The server to tell, and the key to show, while it is in contact.
    pub server: Option<(Arc<Server>, NodeKey)>,
}

/// A component of this device.
#[derive(Debug, Clone)]
pub struct Installed {
    pub component: Component,
    pub channel: Channel,
    /// The version that runs; none: nobody knows.
    pub version: Option<String>,
    pub entry: Entry,
    /// Versions that may run.
    pub busy: Vec<String>,
}

/// What a look has found.
#[derive(Debug, Default)]
pub struct Seen {
    pub findings: Vec<(Component, Finding)>,
    /// How each component stands, for the server and `orbit status`.
    pub standings: Vec<ComponentUpdate>,
    /// What went wrong, if anything did: one word for its kind, and a sentence.
    pub trouble: Option<(&'static str, String)>,
    /// SHA-256 of the files that are needed again.
    wanted: Vec<String>,
}

/// Why updates cannot be looked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookError {
    #[error("this device's clock is wrong: updates wait until somebody knows what time it is")]
    Clock,
    #[error("could not read the pinned root metadata `{path}`")]
    Root { path: Utf8PathBuf, source: std::io::Error },
    #[error("could not set up the connection to the update server")]
    Setup(#[from] SetupError),
    #[error("the update server's address cannot be used")]
    Location,
    #[error("could not look for updates")]
    Open(#[from] OpenError),
    #[error("could not look for updates")]
    Refresh(#[from] RefreshError),
}

/// Why an update cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
enum UpdateError {
    #[error("could not bring {version}")]
    Bring { version: String, source: BringError },
    #[error("{version} needs {needed} bytes, and the disk has {free}")]
    Space { version: String, needed: u64, free: u64 },
    #[error("could not put {version} in its place")]
    Folder { version: String, source: FolderError },
    #[error("could not find out whether {version} runs here")]
    Probe { version: String, source: ProbeError },
}

impl Updates {
    #[must_use]
    pub fn new(source: UpdateSource, root: &Utf8Path, probe: Probe) -> Self {
        Self {
            source,
            root: root.to_owned(),
            rate: None,
            reserve: RESERVE,
            patience: Patience::default(),
            probe,
            repository: Mutex::new(None),
            respite: Respite::default(),
            begun_extensions: std::sync::Mutex::default(),
        }
    }

    /// How long the update server may take.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// At most so many bytes are downloaded in a second.
    #[must_use]
    pub fn with_rate(self, rate: Option<NonZeroU64>) -> Self {
        Self { rate, ..self }
    }

    /// So many bytes of the disk stay free.
    #[must_use]
    pub fn with_reserve(self, reserve: u64) -> Self {
        Self { reserve, ..self }
    }

    /// Looks for updates of what is installed, and brings those whose turn it is.
    pub async fn look(&self, question: Question) -> Seen {
        let mut kept = self.repository.lock().await;
        match self.refreshed(kept.take(), question.now).await {
            Ok(((mut repository, seal), now)) => {
                let seen = self.look_into(&mut repository, &question, now).await;
                *kept = Some((repository, seal));
                seen
            }
            Err(error) => unseen(&error, &question.components),
        }
    }

    async fn refreshed(
        &self,
        kept: Option<Kept>,
        now: Option<Judged>,
    ) -> Result<(Kept, Timestamp), LookError> {
        let Judged { now, instead } = now.ok_or(LookError::Clock)?;
        // Taken before the files are read: what is replaced meanwhile is read the next time.
        let seal = self.source.connection.seal();
        let mut repository = match kept {
            Some((repository, before)) if before == seal => repository,
            Some(_) | None => self.open()?,
        };
        match (repository.refresh(now).await, instead) {
            (Ok(()), _) => Ok(((repository, seal), now)),
            (Err(error), Some(instead)) if error.expired().is_some() => {
                let mut repository = self.open()?;
                repository.refresh(instead).await?;
                Ok(((repository, seal), instead))
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    fn open(&self) -> Result<Repository, LookError> {
        let path = &self.source.pinned_root;
        let pinned_root =
            std::fs::read(path).map_err(|source| LookError::Root { path: path.clone(), source })?;
        let connection = &self.source.connection;
        let location: Location =
            connection.url.as_str().parse().map_err(|_| LookError::Location)?;
        let connection = update::Connection {
            client: Some(connection.build_download_client()?),
            rate: self.rate,
            patience: self.patience,
            respite: self.respite.clone(),
            ..update::Connection::default()
        };
        let cache_dir = self.root.join(files::UPDATES);
        let config =
            RepositoryConfig { location, pinned_root, cache_dir, connection, offline: false };
        Ok(Repository::open(config)?)
    }

    async fn look_into(
        &self,
        repository: &mut Repository,
        question: &Question,
        now: Timestamp,
    ) -> Seen {
        let mut cases = Vec::new();
        for installed in &question.components {
            let offer = repository.offer(&target_name(installed), now).await;
            cases.push(Case::new(installed, offer, (question, None), now));
        }
        if cases.iter().any(Case::may_begin) {
            let tallies = ask_about_others(question, &cases).await;
            for case in &mut cases {
                let tally = tallies.get(case.installed.component.as_str()).copied();
                case.judge((question, tally), now);
            }
        }
        let mut seen = Seen::default();
        for mut case in cases {
            let mut parts = Vec::new();
            let finding = match &case.offer {
                Ok(Some(offer)) if case.may_begin() => {
                    let begun = self.begin(repository, case.installed, offer, now).await;
                    if begun.is_err() {
                        // What has come of it is gone on with.
                        let present = self.present(case.installed.component);
                        parts = repository.parts_of(&offer.file, present.as_deref(), now).await;
                    }
                    Some(begun.unwrap_or_else(|error| case.failed(&error)))
                }
                Ok(Some(offer)) => Some(Finding::Offered { target: offer.file.sha256.clone() }),
                Ok(None) | Err(_) => None,
            };
            case.found(finding.as_ref());
            seen.wanted.extend(parts);
            seen.take(case, finding);
        }
        let begun = self.begun_extensions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.wanted.extend(begun);
        if let Err(error) = repository.keep_only(&seen.wanted()) {
            tracing::debug!("could not tidy up after updates: {}", explain(&error));
        }
        seen
    }

    /// Brings a version, puts it beside the others, and tries whether it runs at all.
    async fn begin(
        &self,
        repository: &mut Repository,
        installed: &Installed,
        offer: &Offer,
        now: Timestamp,
    ) -> Result<Finding, UpdateError> {
        let version = &offer.release.version;
        let failed = |source| UpdateError::Bring { version: version.clone(), source };
        let missing = repository.missing_bytes(&offer.file, now).await.map_err(failed)?;
        // Packed, unpacked in the cache, and in its place.
        self.require_space(version, offer.file.length.saturating_mul(2).saturating_add(missing))?;
        tracing::info!("{} {version} is fetched", installed.component);
        let component = installed.component;
        let present = self.present(component);
        let bringing = repository.bring_over(&offer.file, present.as_deref(), now);
        let path = bringing.await.map_err(failed)?;
        let brought = Brought {
            path,
            version: version.clone(),
            target: offer.file.sha256.clone(),
            packing: packing(component),
            modified: offer.modified.map(SystemTime::from),
        };
        let (root, busy) = (self.root.clone(), installed.busy.clone());
        let staging = tokio::task::spawn_blocking(move || {
            let busy: Vec<_> = busy.iter().map(String::as_str).collect();
            let folder = Folder::new(&RealDisk, &root, component);
            folder.stage(&brought, &busy).map(|it| (folder.program(&it), it))
        });
        let staged = staging.await.expect("staging does not panic");
        let (program, staged) =
            staged.map_err(|source| UpdateError::Folder { version: version.clone(), source })?;
        match self.probe.run(component, &program).await {
            Ok(()) => Ok(Finding::Staged(staged)),
            Err(error) if error.is_final() => {
                Ok(Finding::Unusable { version: staged, message: explain(&error) })
            }
            Err(source) => Err(UpdateError::Probe { version: version.clone(), source }),
        }
    }

    /// The program that runs, if patches are made for it: none are for archives.
    fn present(&self, component: Component) -> Option<Utf8PathBuf> {
        let is_program = packing(component) == Packing::Plain;
        is_program.then(|| Folder::new(&RealDisk, &self.root, component).pointed()).flatten()
    }

    fn require_space(&self, version: &str, needed: u64) -> Result<(), UpdateError> {
        let needed = needed.saturating_add(self.reserve);
        match platform::free_space(&self.root) {
            Some(free) if free < needed => {
                Err(UpdateError::Space { version: version.to_owned(), needed, free })
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Seen {
    fn take(&mut self, case: Case<'_>, finding: Option<Finding>) {
        let component = case.installed.component;
        let offer = case.offer.as_ref().ok().and_then(Option::as_ref);
        self.wanted.extend(offer.and_then(|offer| offer.manifest_sha256.clone()));
        if let Some(trouble) = case.trouble(finding.as_ref()) {
            self.trouble = Some(trouble);
        }
        self.standings.push(case.standing);
        self.findings.extend(finding.map(|finding| (component, finding)));
    }

    fn wanted(&self) -> Vec<&str> {
        self.wanted.iter().map(String::as_str).collect()
    }
}

/// Nothing could be seen at all.
fn unseen(error: &LookError, components: &[Installed]) -> Seen {
    let expired = matches!(error, LookError::Refresh(error) if error.expired().is_some());
    let state = if expired { UpdateState::Expired } else { UpdateState::Unreachable };
    let kind = match error {
        LookError::Clock => "clock",
        LookError::Refresh(_) if expired => "expired",
        LookError::Refresh(error) if error.is_stale() => "stale",
        LookError::Refresh(_) => "refresh",
        LookError::Root { .. } | LookError::Setup(_) | LookError::Location | LookError::Open(_) => {
            "setup"
        }
    };
    let detail = explain(error);
    let standing = |installed| ComponentUpdate {
        state,
        detail: Some(detail.clone()),
        ..case::unjudged(installed)
    };
    Seen {
        standings: components.iter().map(standing).collect(),
        trouble: Some((kind, detail.clone())),
        ..Seen::default()
    }
}

/// Tells the server how the components stand, and hears how others fared with what they are offered.
/// A server that does not answer, or does not count, keeps nobody from updating.
async fn ask_about_others(question: &Question, cases: &[Case<'_>]) -> BTreeMap<String, Tally> {
    let Some((server, key)) = &question.server else { return BTreeMap::new() };
    let components = cases.iter().map(|case| case.standing.clone()).collect();
    match tell(server, key.clone(), components, None).await {
        Ok(reply) => reply.tallies,
        Err(error) => {
            tracing::debug!("the server does not tell how others fared: {}", explain(&error));
            BTreeMap::new()
        }
    }
}

/// Tells the server how the components stand, and which of them crash, if that is known.
pub async fn tell(
    server: &Server,
    orbit_node_key: NodeKey,
    components: Vec<ComponentUpdate>,
    crash_loops: Option<Vec<CrashLoop>>,
) -> Result<UpdateReportReply, RequestError> {
    let report = UpdateReport { orbit_node_key, components, crash_loops };
    server.post("updates", &report).await
}

fn target_name(installed: &Installed) -> TargetName {
    let Installed { component, channel, .. } = installed;
    TargetName {
        component: *component,
        platform: platform_of(*component),
        channel: channel.clone(),
    }
}

/// What this device is called in a repository.
const fn platform_of(component: Component) -> UpdatePlatform {
    if cfg!(target_os = "macos") {
        let bundled = matches!(component, Component::Osqueryd);
        return if bundled { UpdatePlatform::MacosApp } else { UpdatePlatform::Macos };
    }
    match (cfg!(windows), cfg!(target_arch = "aarch64")) {
        (true, true) => UpdatePlatform::WindowsArm64,
        (true, false) => UpdatePlatform::Windows,
        (false, true) => UpdatePlatform::LinuxArm64,
        (false, false) => UpdatePlatform::Linux,
    }
}

fn packing(component: Component) -> Packing {
    match component.file_name(platform_of(component)) {
        name if name.ends_with(".app.tar.gz") => Packing::Bundle,
        name if name.ends_with(".tar.gz") => Packing::Archive,
        _ => Packing::Plain,
    }
}
