//! The pure core: what the agent does next, given what just happened.
//!
//! ```text
//!            node key saved                 shutdown              osqueryd gone, or given up
//! Enrolling ───────────────▶ Running ──────────────▶ Stopping ──────────────────────────▶ Stopped
//!    │  ▲ │                     │                      ▲
//!    └──┘ │   key rejected      │                      │
//!  backoff└◀────────────────────┘       any ───────────┘
//! ```
//!
//! **Invariants:** no I/O, no clock, no async; time and chance are handed in. At most one osqueryd
//! runs. The server is asked for configuration only with a node key that is saved. A rejected key
//! is never used again. Enrollments are never closer together than four fifths of
//! [`Pace::enroll`]'s first delay, but for one after the very start. A shutdown always ends. No
//! other version takes over once a shutdown was asked for.

mod enrolling;
mod osqueryd;
mod pace;
mod probation;
mod running;
mod stopping;
mod updates;
mod verbosity;

use std::{collections::BTreeMap, time::Duration, time::Instant};

use serde_json::Value;
use wire::{NodeKey, orbit::AgentConfig};

pub(crate) use self::pace::{Backoff, LONGEST_OBEYED, LOOP};
pub use self::{
    enrolling::Enrolling,
    pace::{Pace, Retry},
    probation::Probation,
    running::Running,
    stopping::Stopping,
};
use self::{
    osqueryd::Supervision, pace::Dice, probation::Test, stopping::Reason, updates::Updates,
    verbosity::Verbosity,
};

/// osqueryd flags that the server wishes for, by name without dashes.
pub type Flags = BTreeMap<String, Value>;

/// Where the agent stands.
#[derive(Debug)]
pub enum State {
    /// It has no node key and tries to get one.
    Enrolling(Enrolling),
    /// It has one, asks for configuration and keeps osqueryd running.
    Running(Running),
    /// It was told to stop and waits for osqueryd to end.
    Stopping(Stopping),
    /// It is done; nothing comes after.
    Stopped,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// The time that [`State::deadline`] named has come.
    Timer,
    /// The answer to [`Action::Enroll`].
    Enrolled(Result<NodeKey, EnrollFailure>),
    /// The outcome of [`Action::SaveNodeKey`] or [`Action::ReplaceNodeKey`].
    NodeKeySaved(Result<(), SaveFailure>),
    /// The answer to [`Action::FetchConfig`].
    ConfigFetched(Result<AgentConfig, FetchFailure>),
    /// What [`Action::StartOsqueryd`] started is gone, or could not be started.
    OsquerydExited,
    /// Certificates or keys that osqueryd was started with are others on disk now, and it reads them
    /// only at its start.
    OsquerydOutdated,
    /// The outcome of [`Action::LookForUpdates`].
    UpdatesSeen(News),
    /// The service manager, or a person, wants the agent to stop.
    ShutdownRequested,
}

/// Something for the driver to do. Actions are done in the order given.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ask the server for a node key, showing the enroll secret. Answered by [`Event::Enrolled`].
    Enroll,
    /// Write the key to disk. Answered by [`Event::NodeKeySaved`].
    SaveNodeKey(NodeKey),
    /// Write the key that the server gives instead of the present one to disk. Answered by
    /// [`Event::NodeKeySaved`]; if it cannot be written, the present one stays good.
    ReplaceNodeKey(NodeKey),
    /// Delete the key from disk.
    ForgetNodeKey,
    /// Write the server's flags to disk, for the next start.
    KeepFlags(Flags),
    /// Ask the server for configuration. Answered by [`Event::ConfigFetched`].
    FetchConfig(NodeKey),
    /// Start osqueryd. Answered by [`Event::OsquerydExited`] once it has ended.
    StartOsqueryd(Flags),
    /// Ask osqueryd to end.
    StopOsqueryd,
    /// End osqueryd by force.
    KillOsqueryd,
    /// See whether there are updates and bring those whose turn it is. Answered by
    /// [`Event::UpdatesSeen`].
    LookForUpdates,
    /// This version of the agent has reached the server: it is the one to start from here on.
    ProveOrbit,
    /// This version of the agent did not reach the server in time: the one before it is to run.
    RevertOrbit,
    /// This version, the older one, has reached the server: the newer one was to blame.
    CondemnOrbit,
    /// This version, the older one, does not reach the server either: the newer one may try again.
    AcquitOrbit,
    /// The start of this version, which is new, does not count.
    ForgiveStart,
    /// The new osqueryd runs well: it is the one to start from here on.
    ProveOsqueryd,
    /// The new osqueryd ends again and again: the one before it is to run.
    RevertOsqueryd,
    /// osqueryd ends as often as it is started.
    ReportOsquerydLoop,
    /// osqueryd runs well: it did not, or nobody knew since the agent's start.
    ReportOsquerydWell,
    /// Log more for so long, across restarts of the agent.
    LogMore(Duration),
    /// Log as the settings say.
    LogAsUsual,
    /// Leave the loop: the agent is done.
    Exit,
    /// Leave the loop, for another version of the agent to take over.
    HandOver,
}

/// What a look for updates has brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct News {
    /// A new version of the agent is there, to be tried.
    pub orbit: bool,
    /// A new osqueryd is there, to be tried.
    pub osqueryd: bool,
}

/// Why the server gave no node key, as far as it decides on when to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnrollFailure {
    /// There is no usable enroll secret on this device.
    NoSecret,
    /// The server refuses the enroll secret.
    SecretRefused,
    /// The server knows no such address: it is no Fleet server, or behind a wrong path.
    NoSuchAddress,
    /// The server is busy and names how long to wait.
    Busy(Duration),
    /// Everything else: no network, no trust, an error of the server, an answer that makes no sense.
    Failed,
}

/// Why the node key could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaveFailure;

/// Why there is no configuration, as far as it decides on what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchFailure {
    /// The server does not accept the node key.
    KeyRejected,
    /// The server is busy and names how long to wait.
    Busy(Duration),
    /// Everything else.
    Failed,
}

/// What the machine begins with.
#[derive(Debug)]
pub struct Beginning {
    /// The node key on disk, if there is one.
    pub node_key: Option<NodeKey>,
    /// What the server wished for when it last spoke to the holder of that key.
    pub flags: Flags,
    /// Whether osqueryd is installed.
    pub osqueryd_installed: bool,
    /// How often an osqueryd was started that has yet to prove itself, if there is one.
    pub osqueryd_trial: Option<u32>,
    /// Whether updates are looked for.
    pub updates: bool,
    /// For how long the agent is yet to log more, as the server wished of an earlier run.
    pub logs_more: Option<Duration>,
    pub probation: Probation,
    pub pace: Pace,
    /// Seeds the jitter.
    pub seed: u64,
}

impl State {
    /// The first state. It wants an [`Event::Timer`] at once.
    #[must_use]
    pub fn begin(beginning: Beginning, now: Instant) -> Self {
        let carried = Carried {
            dice: Dice::new(beginning.seed),
            osqueryd: Supervision::new(beginning.osqueryd_installed, beginning.osqueryd_trial),
            updates: Updates::new(beginning.updates, &beginning.pace, now),
            test: Test::new(beginning.probation, &beginning.pace, now),
            verbosity: Verbosity::new(beginning.logs_more, now),
            pace: beginning.pace,
        };
        match beginning.node_key {
            Some(key) => Self::Running(Running::resume(carried, key, beginning.flags, now)),
            None => Self::Enrolling(Enrolling::first(carried, now)),
        }
    }

    /// Takes one event, pushes what must be done, and returns the next state.
    #[must_use]
    pub fn on(self, event: Event, now: Instant, out: &mut Vec<Action>) -> Self {
        match self {
            Self::Enrolling(state) => state.on(event, now, out),
            Self::Running(state) => state.on(event, now, out),
            Self::Stopping(state) => state.on(event, now, out),
            Self::Stopped => Self::Stopped,
        }
    }

    /// When the driver must deliver [`Event::Timer`], if nothing else happens first.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Enrolling(state) => state.deadline(),
            Self::Running(state) => state.deadline(),
            Self::Stopping(state) => Some(state.deadline()),
            Self::Stopped => None,
        }
    }

    /// `enrolling`, `running`, `stopping` or `stopped`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Enrolling(_) => "enrolling",
            Self::Running(_) => "running",
            Self::Stopping(_) => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// What every state passes on to the next.
#[derive(Debug)]
struct Carried {
    pace: Pace,
    dice: Dice,
    osqueryd: Supervision,
    updates: Updates,
    test: Test,
    verbosity: Verbosity,
}

impl Carried {
    /// Has osqueryd run with `flags`, or not at all, from here on.
    fn want_osqueryd(&mut self, flags: Option<Flags>, now: Instant, out: &mut Vec<Action>) {
        self.osqueryd.want(flags);
        self.settle(now, out);
    }

    fn settle(&mut self, now: Instant, out: &mut Vec<Action>) {
        if !self.updates.holds_osqueryd() {
            self.osqueryd.settle(&self.pace, now, out);
        }
    }

    /// What `event` leads to in every state until the agent is to end. Tells why it is to, if it is.
    #[must_use]
    fn meet(&mut self, event: &Event, now: Instant, out: &mut Vec<Action>) -> Option<Reason> {
        let makes_way = match event {
            Event::Timer => {
                self.updates.timer(now, out);
                self.verbosity.timer(now, out);
                self.test.timer(now, out)
            }
            Event::UpdatesSeen(news) => {
                self.updates.looked(&self.pace, &mut self.dice, now);
                if news.osqueryd {
                    self.osqueryd.replace(&self.pace, now, out);
                }
                news.orbit
            }
            Event::OsquerydExited => {
                self.osqueryd.exited(&self.pace, &mut self.dice, now, out);
                false
            }
            Event::OsquerydOutdated => {
                self.osqueryd.renew(&self.pace, now, out);
                false
            }
            Event::ShutdownRequested => return Some(Reason::Shutdown),
            Event::Enrolled(_) | Event::NodeKeySaved(_) | Event::ConfigFetched(_) => return None,
        };
        self.settle(now, out);
        makes_way.then_some(Reason::Update)
    }

    fn deadline(&self) -> Option<Instant> {
        let tasks = earlier(self.osqueryd.deadline(&self.pace), self.updates.deadline());
        earlier(tasks, earlier(self.test.deadline(), self.verbosity.deadline()))
    }

    fn jittered(&mut self, delay: Duration) -> Duration {
        self.dice.jittered(delay)
    }

    /// How long to wait when the server asked for at least `after`: jittered upwards only.
    fn obeying(&mut self, after: Duration, own: Duration) -> Duration {
        let after = after.min(self.pace.longest_obeyed);
        own.max(after + self.dice.fraction_of(after / 5))
    }
}

/// The earlier of two times, either of which may be missing.
fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
