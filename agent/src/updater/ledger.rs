//! What is remembered of updates from one start to the next, and how it changes: pure, so that every
//! order of events can be tried.
//!
//! ```text
//!             staged                 proven
//! (nothing) ─────────▶ on trial ───────────────▶ current
//!     ▲                 │     │
//!     │     acquitted   │     │ three starts in vain
//!     └───────────── suspected ─────────────▶ blocked ──▶ (nothing), once another file is offered
//!                             condemned
//! ```

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use update::Component;
use wire::orbit::UpdateChannels;

/// How often a new version may be started before it has proven itself.
pub const STARTS: u32 = 3;

/// The longest pause after a file that could not be had or used.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);

/// What is remembered of each component.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    pub orbit: Entry,
    pub osqueryd: Entry,
    pub desktop: Entry,
    /// The channels that the server last said to follow.
    #[serde(skip_serializing_if = "UpdateChannels::is_empty")]
    pub channels: UpdateChannels,
}

/// What is remembered of one component.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// What an update has put in the place of the packaged program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Installed>,
    /// What ran before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<Installed>,
    /// What is there and has yet to prove itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// What did not reach the server in time, while it is not clear whose fault that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspect: Option<Installed>,
    /// What is not tried again on this device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Blocked>,
    /// What could not be had or used, and is tried again later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// A version in a folder of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Its version, which is the folder's name.
    pub version: String,
    /// SHA-256 of the target that was signed, in hexadecimal: what tells two files apart.
    pub target: String,
    /// The program, relative to the folder.
    pub program: String,
    /// SHA-256 of the program, in hexadecimal.
    pub program_sha256: String,
}

/// A version that has to prove itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    #[serde(flatten)]
    pub version: Installed,
    /// How often it was started.
    #[serde(default)]
    pub starts: u32,
}

/// A version that failed here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    pub version: String,
    /// SHA-256 of the target that was signed: it is not fetched again until another is offered.
    pub target: String,
    pub fault: Fault,
}

/// What was wrong with a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It was started three times and ended each time before it had proven itself.
    Ended,
    /// It did not reach the server, and the version before it did.
    Silent,
    /// It is the file that was signed for, and does not run on this device.
    Unusable,
    /// Something that another version of the agent has found.
    #[serde(other)]
    Other,
}

/// A file that could not be had or used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// SHA-256 of the target that was signed.
    pub target: String,
    /// How often in a row.
    pub times: u32,
    /// When last, by this device's clock.
    pub at: Timestamp,
    pub message: String,
}

/// What runs when the agent is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// What has proven itself.
    Proven,
    /// What has to.
    OnTrial(Installed),
}

impl Ledger {
    #[must_use]
    pub const fn of(&self, component: Component) -> &Entry {
        match component {
            Component::Orbit => &self.orbit,
            Component::Osqueryd => &self.osqueryd,
            Component::Desktop => &self.desktop,
        }
    }

    pub const fn of_mut(&mut self, component: Component) -> &mut Entry {
        match component {
            Component::Orbit => &mut self.orbit,
            Component::Osqueryd => &mut self.osqueryd,
            Component::Desktop => &mut self.desktop,
        }
    }

    /// Reads what [`to_json`](Self::to_json) writes. What makes no sense counts as nothing, since
    /// the programs that have proven themselves are found without it; the rest counts all the same:
    /// a later version, gone back from, may have written what this one does not know.
    #[must_use]
    pub fn from_json(text: &str) -> Self {
        let Ok(Value::Object(mut fields)) = serde_json::from_str(text) else {
            return Self::default();
        };
        Self {
            orbit: Entry::from_value(fields.remove("orbit")),
            osqueryd: Entry::from_value(fields.remove("osqueryd")),
            desktop: Entry::from_value(fields.remove("desktop")),
            channels: known(fields.remove("channels")).unwrap_or_default(),
        }
    }

    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("plain values serialise")
    }
}

/// What is understood.
fn known<T: DeserializeOwned>(value: Option<Value>) -> Option<T> {
    value.and_then(|value| serde_json::from_value(value).ok())
}

impl Entry {
    fn from_value(value: Option<Value>) -> Self {
        let Some(Value::Object(mut fields)) = value else { return Self::default() };
        let mut field = |name| fields.remove(name);
        Self {
            current: known(field("current")),
            previous: known(field("previous")),
            trial: known(field("trial")),
            suspect: known(field("suspect")),
            blocked: known(field("blocked")),
            failure: known(field("failure")),
        }
    }

    /// A new version is there.
    pub fn stage(&mut self, version: Installed) {
        self.trial = Some(Trial { version, starts: 0 });
        self.suspect = None;
    }

    /// Counts a start, and tells what is to be started. A version whose starts are used up is
    /// blocked.
    #[must_use]
    pub fn start(&mut self) -> Start {
        match &mut self.trial {
            None => Start::Proven,
            Some(trial) if trial.starts < STARTS => {
                trial.starts += 1;
                Start::OnTrial(trial.version.clone())
            }
            Some(_) => {
                self.fail(Fault::Ended);
                Start::Proven
            }
        }
    }

    /// The last start of the version on trial came to an orderly end.
    pub fn forgive_start(&mut self) {
        if let Some(trial) = &mut self.trial {
            trial.starts = trial.starts.saturating_sub(1);
        }
    }

    /// The version on trial has proven itself. Tells which that is.
    pub fn prove(&mut self) -> Option<Installed> {
        let proven = self.trial.take()?.version;
        // Proving twice, after a power cut in between, must not lose what ran before.
        if self.current.as_ref() != Some(&proven) {
            self.previous = self.current.replace(proven.clone());
        }
        self.blocked = None;
        self.failure = None;
        Some(proven)
    }

    /// The version on trial is not to be tried again.
    pub fn fail(&mut self, fault: Fault) {
        if let Some(Trial { version, .. }) = self.trial.take() {
            self.block(version, fault);
        }
    }

    /// The version on trial did not reach the server in time.
    pub fn suspect(&mut self) {
        if let Some(Trial { version, .. }) = self.trial.take() {
            self.suspect = Some(version);
        }
    }

    /// The version before reaches the server.
    pub fn condemn(&mut self) {
        if let Some(version) = self.suspect.take() {
            self.block(version, Fault::Silent);
        }
    }

    /// The version before does not reach the server either.
    pub fn acquit(&mut self, now: Timestamp) {
        if let Some(version) = self.suspect.take() {
            let message = format!("{} could not reach the server, nor could this", version.version);
            self.fail_to_bring(&version.target, message, now);
        }
    }

    /// A file could not be had or used.
    pub fn fail_to_bring(&mut self, target: &str, message: String, now: Timestamp) {
        let before = self.failure.take().filter(|before| before.target == target);
        let times = before.map_or(0, |before| before.times).saturating_add(1);
        self.failure = Some(Failure { target: target.to_owned(), times, at: now, message });
    }

    /// Forgets what concerned files that are not offered any more.
    pub fn offered(&mut self, target: &str) {
        self.blocked = self.blocked.take().filter(|it| it.target == target);
        self.failure = self.failure.take().filter(|it| it.target == target);
    }

    fn block(&mut self, version: Installed, fault: Fault) {
        let Installed { version, target, .. } = version;
        self.blocked = Some(Blocked { version, target, fault });
    }
}

impl Failure {
    /// When the file is tried again: after one, two, four … times `interval`, at most after a day. A
    /// failure that lies in the future is that of a clock that was wrong, and does not count.
    #[must_use]
    pub fn until(&self, interval: SignedDuration, now: Timestamp) -> Option<Timestamp> {
        let doublings = self.times.saturating_sub(1).min(16);
        let pause = interval.checked_mul(1 << doublings).unwrap_or(LONGEST_PAUSE);
        let until = self.at.checked_add(pause.min(LONGEST_PAUSE)).ok()?;
        (self.at <= now && now < until).then_some(until)
    }
}

impl Fault {
    /// For people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ended => "it ended three times before it had proven itself",
            Self::Silent => "it did not reach the server, and the version before it did",
            Self::Unusable => "it does not run on this device",
            Self::Other => "another version of the agent gave it up",
        }
    }
}
