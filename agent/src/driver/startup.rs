//! What is settled before the loop begins: that no other agent runs here, who this device is, and
//! whether its node key still counts.

use std::{fs, io};

use camino::Utf8PathBuf;
use tokio::sync::mpsc;
use uuid::Uuid;
use wire::{NodeKey, settings::files};

use crate::{
    config::Config,
    device_key::DeviceKey,
    durable,
    identity::{self, Anew, FileError, Home, Identity},
    log::Volume,
    machine::Flags,
    platform,
    status::{Lock, LockError},
    trust::Trust,
    updater::{Updater, disk::RealDisk},
};

/// An agent that is ready to run.
#[derive(Debug)]
pub struct Agent {
    pub(super) config: Config,
    pub(super) home: Home,
    pub(super) identity: Identity,
    pub(super) node_key: Option<NodeKey>,
    /// What the device enrolled with, whether or not it would now.
    pub(super) device_key: Option<DeviceKey>,
    /// What the server last wished for.
    pub(super) flags: Flags,
    pub(super) updater: Updater,
    pub(super) volume: Volume,
    /// Says that other settings count than the agent was opened with.
    pub(super) changes: Option<mpsc::Receiver<()>>,
    pub(super) lock: Lock,
}

/// Why the agent cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    #[error("could not create the root directory `{path}`")]
    Root { path: Utf8PathBuf, source: io::Error },
    #[error("could not start a second agent")]
    Lock(#[from] LockError),
    #[error("could not settle this device's identity")]
    Identity(#[from] FileError),
    #[error("could not delete the database `{path}` of another device's osqueryd")]
    Database { path: Utf8PathBuf, source: io::Error },
}

impl Agent {
    /// Takes possession of the root directory, and forgets what is no longer true: the node key of
    /// another server, or of the device whose disk was copied.
    pub fn open(config: Config) -> Result<Self, StartError> {
        let root = &config.root;
        fs::create_dir_all(root)
            .map_err(|source| StartError::Root { path: root.clone(), source })?;
        let lock = Lock::take(root)?;
        let home = config.home();
        let machine = platform::describe(&config.system);
        let (identity, anew) = identity::recall(
            home.load_identity()?,
            &machine,
            &config.connection.url,
            config.settings.host_identifier,
            Uuid::new_v4(),
        );
        let had_key = home.has_node_key()?;
        if let Some(anew) = anew {
            explain(anew, had_key);
            // The key goes first: were this interrupted, the next start would do it again.
            home.forget_node_key()?;
            if anew == Anew::DiskCopied {
                forget_database(&config)?;
            }
        }
        home.save_identity(&identity)?;
        let (node_key, flags) = (home.load_node_key()?, home.load_flags()?);
        let device_key = home.load_device_key()?;
        mention_risks(&config);
        mention_not_handled(&config);
        let updater = Updater::open(&config.root, config.program.as_deref(), RealDisk);
        Ok(Self {
            config,
            home,
            identity,
            node_key,
            device_key,
            flags,
            updater,
            volume: Volume::default(),
            changes: None,
            lock,
        })
    }

    /// Lets the server have more messages logged, by `volume`.
    #[must_use]
    pub fn with_volume(self, volume: Volume) -> Self {
        Self { volume, ..self }
    }

    /// Has it end, to be opened again, once something is sent on the channel of `changes`: other settings
    /// count.
    #[must_use]
    pub fn with_changes(self, changes: mpsc::Receiver<()>) -> Self {
        Self { changes: Some(changes), ..self }
    }
}

/// osqueryd's own node key, and results that are the other device's, are in its database.
fn forget_database(config: &Config) -> Result<(), StartError> {
    let path = config.osquery_db();
    durable::delete_directory(&path).map_err(|source| StartError::Database { path, source })
}

fn explain(anew: Anew, had_key: bool) {
    match anew {
        Anew::DiskCopied => {
            tracing::warn!("this disk was copied from another device; enrolling as a new one");
        }
        Anew::ServerChanged => tracing::info!("the server's address has changed; enrolling there"),
        Anew::NameChanged => tracing::info!("the host identifier has changed; enrolling anew"),
        Anew::Unknown if had_key => {
            tracing::warn!("there is a node key but no record of its device; enrolling anew");
        }
        Anew::Unknown => tracing::info!("this device is not enrolled yet"),
    }
}

fn mention_risks(config: &Config) {
    if config.connection.trust == Trust::Insecure {
        tracing::warn!("the server's certificate is not checked: anyone may pose as the server");
    }
    if config.updates.is_none() && !config.settings.disable_updates {
        tracing::info!(
            "there are no updates: the package has brought no `{}` to trust them by",
            files::UPDATE_ROOT
        );
    }
    if config.connection.url.scheme() == "http" {
        tracing::warn!("the server is spoken to without TLS: secrets travel in the clear");
    }
}

fn mention_not_handled(config: &Config) {
    if !config.not_handled.is_empty() {
        let names = config.not_handled.join(", ");
        tracing::debug!("set, but without effect in this version of the agent: {names}");
    }
}
