//! What `orbit status` tells: the agent writes `status.json`, anyone may read it.

use std::{fmt::Write as _, fs::File, io, thread, time::Duration};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use url::Url;
use wire::{
    api::ONLINE_WITHIN_SECONDS,
    orbit::{ComponentUpdate, UpdateState},
    settings::files,
};

use crate::{
    VERSION,
    device_key::Holder,
    durable,
    identity::{FileError, Home, Identity},
    platform::{self, Readers},
};

/// How often the lock is tried for: somebody may just be looking whether it is held.
const ATTEMPTS: u32 = 5;

/// The state of an agent that has not been told all that it needs to enroll.
pub const WAITING: &str = "waiting";

/// What `status.json` holds: what the agent last knew of itself. No secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub orbit_version: String,
    /// Absent while it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_url: Option<Url>,
    pub process_id: u32,
    /// [`WAITING`], `enrolling`, `running`, `stopping` or `stopped`.
    pub state: String,
    pub started_at: Timestamp,
    /// When the server last gave a good answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_contact_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// What holds the key that requests are signed with: `tpm` or `software`. Absent where none are signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_key: Option<Holder>,
    /// Absent where osqueryd is not installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub osqueryd_running: Option<bool>,
    /// How updates of the components stand, once they have been looked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub updates: Vec<ComponentUpdate>,
}

/// The last thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    pub at: Timestamp,
    pub message: String,
}

impl Record {
    /// Writes it below `root`.
    pub fn save(&self, root: &Utf8Path) -> Result<(), FileError> {
        let path = root.join(files::STATUS);
        let json = serde_json::to_vec_pretty(self).expect("plain values serialise");
        durable::replace(&path, &json, Readers::Everyone)
            .map_err(|source| FileError::Write { path, source })
    }

    fn load(root: &Utf8Path) -> Option<Self> {
        serde_json::from_str(&durable::read(&root.join(files::STATUS)).ok()??).ok()
    }
}

/// Held by the agent for as long as it runs: there is one in each root directory.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

/// Why the agent may not run in its root directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    #[error("could not open `{path}`")]
    Open { path: Utf8PathBuf, source: io::Error },
    #[error("another agent runs in `{root}` already")]
    Taken { root: Utf8PathBuf },
}

impl Lock {
    /// Takes the lock of `root`.
    pub fn take(root: &Utf8Path) -> Result<Self, LockError> {
        let path = root.join(files::LOCK);
        let opened =
            File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|source| LockError::Open { path, source })?;
        for attempt in 1..=ATTEMPTS {
            if file.try_lock().is_ok() {
                return Ok(Self(file));
            }
            if attempt < ATTEMPTS {
                thread::sleep(Duration::from_millis(100));
            }
        }
        Err(LockError::Taken { root: root.to_owned() })
    }

    /// Whether an agent holds it.
    #[must_use]
    pub fn is_held(root: &Utf8Path) -> bool {
        File::open(root.join(files::LOCK)).is_ok_and(|file| file.try_lock_shared().is_err())
    }
}

/// Everything that `orbit status` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether there is a node key. Absent when only an administrator could tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrolled: Option<bool>,
    /// Whether the server has answered lately.
    pub online: bool,
    pub service_running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_url: Option<Url>,
    pub root_dir: Utf8PathBuf,
    pub orbit_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub osqueryd_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<Record>,
}

impl Report {
    /// Looks at the agent's files. `configured` is the server that the settings name.
    #[must_use]
    pub fn gather(
        home: &Home,
        configured: Option<Url>,
        osqueryd_version: Option<String>,
        now: Timestamp,
    ) -> Self {
        let root = home.root();
        let identity = home.load_identity().ok().flatten();
        let agent = Record::load(root);
        // Windows has a keystore for each account: only SYSTEM sees what is in the agent's. Without an
        // identity nothing has ever been put there.
        let sees_keystore = || cfg!(target_os = "macos") && platform::is_administrator();
        let may_tell = || cfg!(target_os = "linux") || identity.is_none() || sees_keystore();
        let enrolled = home.has_node_key().ok().filter(|has_key| *has_key || may_tell());
        let fresh = agent.as_ref().and_then(|agent| agent.last_contact_at).is_some_and(|at| {
            now.duration_since(at) <= SignedDuration::from_secs(ONLINE_WITHIN_SECONDS)
        });
        let service_running = Lock::is_held(root);
        Self {
            enrolled,
            online: fresh && service_running,
            service_running,
            server_url: configured
                .or_else(|| agent.as_ref().and_then(|agent| agent.server_url.clone())),
            root_dir: root.to_owned(),
            orbit_version: VERSION.to_owned(),
            osqueryd_version,
            identity,
            agent,
        }
    }

    /// Whether all is well: enrolled, as far as can be told, and heard of the server lately.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.enrolled.unwrap_or(true) && self.online
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:<14}{value}");
        };
        row("enrolled", enrolled_text(self.enrolled));
        row("server", self.server_url.as_ref().map_or("not configured", Url::as_str));
        row("service", self.service_text());
        row("last contact", &self.last_contact_text());
        if let Some(error) = self.agent.as_ref().and_then(|agent| agent.last_error.as_ref()) {
            row("last error", &format!("{} ({})", error.message, error.at));
        }
        if let Some(identity) = &self.identity {
            row("device", &identity.osquery_identifier());
            row("machine id", identity.machine_id.as_deref().unwrap_or("none"));
        }
        if let Some(holder) = self.agent.as_ref().and_then(|agent| agent.device_key) {
            row("device key", holder_text(holder));
        }
        row("orbit", &self.orbit_version);
        row("osqueryd", self.osqueryd_version.as_deref().unwrap_or("not installed"));
        for update in self.agent.iter().flat_map(|agent| &agent.updates) {
            row("updates", &update_text(update));
        }
        text
    }

    fn service_text(&self) -> &'static str {
        let waits = || self.agent.as_ref().is_some_and(|agent| agent.state == WAITING);
        match self.service_running {
            true if waits() => "waiting for configuration",
            true => "running",
            false => "not running",
        }
    }

    fn last_contact_text(&self) -> String {
        match self.agent.as_ref().and_then(|agent| agent.last_contact_at) {
            Some(at) if self.online => at.to_string(),
            Some(at) => format!("{at} (not lately)"),
            None => "never".to_owned(),
        }
    }
}

const fn holder_text(holder: Holder) -> &'static str {
    match holder {
        Holder::Tpm => "in the TPM",
        Holder::Software => "held by the agent, not by a TPM",
    }
}

/// e.g. `osqueryd: 5.10.0 is waiting (its wave starts at …)`.
fn update_text(update: &ComponentUpdate) -> String {
    let ComponentUpdate { component, offered_version, version, state, detail, .. } = update;
    let unknown = || "unknown version".to_owned();
    let offered = offered_version.clone().unwrap_or_else(unknown);
    let current = version.clone().unwrap_or_else(unknown);
    let stands = match state {
        UpdateState::Current => format!("{current} is current"),
        UpdateState::Waiting => format!("{offered} is waiting"),
        UpdateState::Trying => format!("{offered} has yet to prove itself"),
        UpdateState::RolledBack => format!("{offered} has failed, {current} runs"),
        UpdateState::Failing => format!("{offered} could not be had"),
        UpdateState::Expired => format!("{current} runs, nobody can tell what is current"),
        UpdateState::Unreachable => format!("{current} runs, the repository cannot be asked"),
    };
    let detail = detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
    format!("{component}: {stands}{detail}")
}

fn enrolled_text(enrolled: Option<bool>) -> &'static str {
    match enrolled {
        Some(true) => "yes",
        Some(false) => "no",
        None if platform::is_administrator() => "unknown: the node key cannot be read",
        None if cfg!(windows) => "unknown: run as administrator to see",
        None => "unknown: run as root to see",
    }
}
