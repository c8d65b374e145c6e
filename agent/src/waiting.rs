//! Configuration that comes late: a package without server or secret is installed, and device
//! management, cloud-init or a person tells them in their own time.

use std::fs;

use agent::{
    VERSION,
    complaints::explain,
    config::{Config, Looks, Origin, Sources},
    platform::{self, Notice},
    secrets::ReadSecretError,
    status::{LastError, Lock, Record, WAITING},
};
use anyhow::Context as _;
use camino::Utf8PathBuf;
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::{now, run::is_on_trial};

/// What the agent runs with. Where server or enroll secret are missing and may come from `origin` yet,
/// waits for both, and brings `sources` up to date; none if somebody has sent on `stop` before.
///
/// Settings that are wrong to begin with are an error; what comes meanwhile may be corrected as well.
pub(crate) async fn configuration(
    origin: &Origin,
    sources: &mut Sources,
    stop: &mut mpsc::Receiver<()>,
) -> anyhow::Result<Option<Config>> {
    // The version before this one judges it by whether it comes to an end.
    let may_wait = origin.may_change(sources) && !is_on_trial(&sources.root());
    if may_wait && !wait(origin, sources, stop).await? {
        return Ok(None);
    }
    Ok(Some(Config::read(sources)?))
}

/// Waits until nothing is missing; `false` if somebody has sent on `stop` before.
async fn wait(
    origin: &Origin,
    sources: &mut Sources,
    stop: &mut mpsc::Receiver<()>,
) -> anyhow::Result<bool> {
    let mut looks = Looks::default();
    let mut waiting = None;
    // Somebody may be writing still to what has just become complete.
    let mut is_settled = true;
    loop {
        let missing = missing(sources, waiting.is_some());
        let is_complete = missing.is_none();
        if is_complete && is_settled {
            return Ok(true);
        }
        if let Some(missing) = missing {
            let begun = match waiting.take() {
                Some(begun) => begun,
                None => Waiting::begin(sources.root())?,
            };
            waiting.insert(begun).tell(missing);
        }
        let seen = tokio::select! {
            Some(()) = stop.recv() => {
                tracing::info!("asked to stop");
                platform::notify(Notice::Stopping);
                return Ok(false);
            }
            seen = origin.settled(), if is_complete => seen,
            () = looks.next(), if !is_complete => origin.look(),
        };
        platform::notify(Notice::Alive);
        is_settled = is_complete && seen.count_as(sources);
        *sources = seen;
    }
}

/// What there is to wait for, if anything; with `begun`, whatever is wrong.
fn missing(sources: &Sources, begun: bool) -> Option<String> {
    match Config::read(sources) {
        Ok(config) => missing_secret(&config),
        Err(error) if begun || sources.want_server_alone(&error) => Some(error.problems.join("; ")),
        Err(_) => None,
    }
}

/// A device that is enrolled can do without; one whose secret cannot be read says so while it tries.
fn missing_secret(config: &Config) -> Option<String> {
    let Err(error @ ReadSecretError::Missing { .. }) = config.secrets().look() else { return None };
    let enrolled = config.home().has_node_key().unwrap_or(true);
    (!enrolled).then(|| explain(&error))
}

/// An agent that waits. It is the only one in its root directory.
struct Waiting {
    root: Utf8PathBuf,
    since: Timestamp,
    /// What was said last.
    told: String,
    _lock: Lock,
}

impl Waiting {
    fn begin(root: Utf8PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&root)
            .with_context(|| format!("could not create the root directory `{root}`"))?;
        let lock = Lock::take(&root).context("could not start a second agent")?;
        platform::notify(Notice::Ready);
        Ok(Self { root, since: now(), told: String::new(), _lock: lock })
    }

    /// Tells the log, the service manager and `orbit status`, if it is news.
    fn tell(&mut self, missing: String) {
        if missing == self.told {
            return;
        }
        tracing::info!("orbit {VERSION} waits for its configuration: {missing}");
        platform::notify(Notice::Status(&format!("waiting for configuration: {missing}")));
        let record = Record {
            orbit_version: VERSION.to_owned(),
            server_url: None,
            device_key: None,
            process_id: std::process::id(),
            state: WAITING.to_owned(),
            started_at: self.since,
            last_contact_at: None,
            last_error: Some(LastError { at: now(), message: missing.clone() }),
            osqueryd_running: None,
            updates: Vec::new(),
        };
        if let Err(error) = record.save(&self.root) {
            tracing::debug!("could not write the status: {}", explain(&error));
        }
        self.told = missing;
    }
}
