//! The only loop: it performs the machine's actions, waits for what happens next, and tells the
//! machine, the log, the service manager and `status.json`.
//!
//! It never decides on when to try again, and never waits for one thing alone.

mod desktop;
mod extensions;
mod startup;
mod updates;
mod waits;

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::{RwLock, mpsc},
    task::JoinSet,
    time::{self, Interval},
};
use update::Component;
use uuid::Uuid;
use wire::{NodeKey, orbit::AgentConfig};

pub use self::startup::{Agent, StartError};
use self::{
    desktop::hear,
    extensions::{Extending, Tended},
    updates::{Standings, Updating},
    waits::{change, idle, tick, until},
};
use crate::{
    VERSION,
    complaints::{Complaint, explain},
    config::Config,
    identity::{Home, Identity},
    log::Volume,
    machine::{Action, Beginning, Event, Flags, Pace, SaveFailure, State},
    platform::{self, Notice},
    server::{RequestError, Seal, Server},
    status::{LastError, Lock, Record},
    tasks::{
        config::{self, FetchError},
        desktop::Desktop,
        enroll::{self, EnrollError},
        osqueryd::{
            self, Ended, Launch, Order,
            authorities::Watch,
            relay::{Relay, RelayError, Way},
        },
        tray::{Tray, Word},
        updates::Seen,
    },
    trust::Trust,
};

/// What a task comes back with.
#[derive(Debug)]
enum Outcome {
    Enrolled(Result<NodeKey, EnrollError>),
    Fetched(NodeKey, Result<AgentConfig, FetchError>),
    DesktopTended,
    DesktopFares(Word),
    DateAsked,
    OsquerydEnded(Ended),
    UpdatesSeen(Box<Seen>),
    ExtensionsTended(Tended),
    UpdatesTold(Standings, Result<(), RequestError>),
}

/// How the agent came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// It was told to.
    Stopped,
    /// Another version of it is to run from here on.
    HandedOver,
    /// It is to be opened again, with the settings that count now.
    Changed,
}

struct Driver {
    config: Arc<Config>,
    server: Arc<Server>,
    home: Home,
    identity: Identity,
    volume: Volume,
    tasks: JoinSet<Outcome>,
    /// Held while a thread is at the vault, which goes on when its task is gone.
    at_vault: Arc<RwLock<()>>,
    /// Events that performing an action brought about at once.
    inbox: VecDeque<Event>,
    osqueryd: Option<Reins>,
    relay: Option<Relay>,
    /// How it last ended by itself.
    last_end: String,
    desktop: Option<Arc<Desktop>>,
    tending_desktop: bool,
    tray: Option<Tray>,
    updating: Updating,
    extending: Extending,
    /// What the server knows this run of the agent by.
    instance: String,
    /// The node key that the server has accepted, in an earlier run at least.
    accepted: Option<NodeKey>,
    complaint: Complaint,
    record: Record,
    /// What the service manager was last told.
    told: String,
    watchdog: Option<Interval>,
    changes: Option<mpsc::Receiver<()>>,
    /// How it ends if all is stopped in order.
    ends_as: Finish,
    finish: Option<Finish>,
    _lock: Lock,
}

/// The driver's hold on a running osqueryd.
struct Reins {
    orders: mpsc::UnboundedSender<Order>,
    told_to_end: bool,
    /// How the certificates and keys were that it has read.
    seal: Seal,
    /// The authorities that it has read, where none are pinned.
    authorities: Option<Watch>,
    /// The node key that it enrolls with, if it is not the enroll secret.
    node_key: Option<NodeKey>,
}

impl Agent {
    /// Runs until somebody sends on `stop`, or another version is to take over, and then until
    /// osqueryd is gone. `seed` is for jitter.
    pub async fn run(self, pace: Pace, seed: u64, stop: &mut mpsc::Receiver<()>) -> Finish {
        let osqueryd_installed = osqueryd::program(&self.config.root).exists();
        let beginning = self.beginning(osqueryd_installed, pace.clone(), seed);
        if beginning.logs_more.is_some() {
            self.volume.turn(true);
        }
        let mut state = State::begin(beginning, now());
        let mut driver = Driver::new(self, osqueryd_installed, &pace);
        platform::notify(Notice::Ready);
        let mut actions = Vec::new();
        let finish = loop {
            if let Some(finish) = driver.finish {
                break finish;
            }
            driver.show(&state);
            let event = driver.next(state.deadline(), stop).await;
            state = state.on(event, now(), &mut actions);
            for action in actions.drain(..) {
                driver.perform(action);
            }
        };
        driver.show(&state);
        if let Some(tray) = driver.tray.take() {
            tray.end().await;
        }
        if finish == Finish::Changed {
            driver.tasks.abort_all();
            idle(&driver.at_vault, driver.watchdog.as_mut()).await;
        }
        finish
    }

    fn beginning(&self, osqueryd_installed: bool, pace: Pace, seed: u64) -> Beginning {
        let trial = self.updater.ledger().osqueryd.trial.as_ref();
        Beginning {
            node_key: self.node_key.clone(),
            flags: self.flags.clone(),
            osqueryd_installed,
            osqueryd_trial: trial.map(|trial| trial.starts),
            updates: self.config.updates.is_some(),
            logs_more: self.home.load_debug(timestamp()).unwrap_or_else(|error| {
                tracing::warn!("{}", explain(&error));
                None
            }),
            probation: self.updater.probation(),
            pace,
            seed,
        }
    }
}

impl Driver {
    fn new(agent: Agent, osqueryd_installed: bool, pace: &Pace) -> Self {
        let Agent { config, home, identity, lock, updater, node_key, device_key, .. } = agent;
        let server = Server::new(config.connection.clone());
        server.sign_with(device_key);
        let record = Record {
            orbit_version: VERSION.to_owned(),
            server_url: Some(config.connection.url.clone()),
            process_id: std::process::id(),
            state: String::new(),
            started_at: timestamp(),
            last_contact_at: None,
            last_error: None,
            device_key: None,
            osqueryd_running: osqueryd_installed.then_some(false),
            updates: Vec::new(),
        };
        let updating = Updating::new(&config, updater);
        let desktop = Desktop::of(&config).map(Arc::new);
        let tray = desktop.as_ref().map(|_| Tray::start(config.root.clone(), pace));
        Self {
            server: Arc::new(server),
            config: Arc::new(config),
            home,
            identity,
            volume: agent.volume,
            tasks: JoinSet::new(),
            at_vault: Arc::default(),
            inbox: VecDeque::new(),
            osqueryd: None,
            relay: None,
            last_end: String::new(),
            desktop,
            tending_desktop: false,
            tray,
            updating,
            extending: Extending::default(),
            instance: Uuid::new_v4().to_string(),
            accepted: node_key,
            complaint: Complaint::default(),
            record,
            told: String::new(),
            watchdog: platform::watchdog().map(|within| time::interval(within / 2)),
            changes: agent.changes,
            ends_as: Finish::Stopped,
            finish: None,
            _lock: lock,
        }
    }

    /// Waits for the next event, and lets the service manager know meanwhile that the loop turns.
    async fn next(&mut self, deadline: Option<Instant>, stop: &mut mpsc::Receiver<()>) -> Event {
        if let Some(event) = self.inbox.pop_front() {
            return event;
        }
        loop {
            let outcome = tokio::select! {
                Some(()) = stop.recv() => {
                    tracing::info!("asked to stop");
                    platform::notify(Notice::Stopping);
                    (self.changes, self.ends_as) = (None, Finish::Stopped);
                    return Event::ShutdownRequested;
                }
                Some(()) = change(self.changes.as_mut()) => {
                    tracing::info!("the settings have changed: starting again with them");
                    self.ends_as = Finish::Changed;
                    return Event::ShutdownRequested;
                }
                Some(joined) = self.tasks.join_next() => match joined {
                    Ok(outcome) => outcome,
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        Err(_) => continue,
                    },
                },
                Some(word) = hear(self.tray.as_mut()) => Outcome::DesktopFares(word),
                () = until(deadline) => return Event::Timer,
                () = tick(self.watchdog.as_mut()) => {
                    platform::notify(Notice::Alive);
                    continue;
                }
            };
            if let Some(event) = self.note(outcome) {
                return event;
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Enroll => self.enroll(),
            Action::SaveNodeKey(key) => {
                let outcome = self.save_node_key(&key);
                self.inbox.push_back(Event::NodeKeySaved(outcome));
            }
            Action::ReplaceNodeKey(key) => {
                let outcome = self.replace_node_key(&key);
                self.inbox.push_back(Event::NodeKeySaved(outcome));
            }
            Action::ForgetNodeKey => self.forget_node_key(),
            Action::KeepFlags(flags) => {
                if let Err(error) = self.home.save_flags(&flags) {
                    tracing::error!("could not keep the server's flags: {}", explain(&error));
                }
            }
            Action::FetchConfig(key) => {
                let (server, instance) = (Arc::clone(&self.server), self.instance.clone());
                let renews = self.osqueryd_enrolls_with(&key);
                self.tasks.spawn(async move {
                    let answer = config::fetch(&server, key.clone(), &instance, renews).await;
                    Outcome::Fetched(key, answer)
                });
            }
            Action::StartOsqueryd(flags) => self.start_osqueryd(&flags),
            Action::StopOsqueryd => self.order(Order::Stop),
            Action::KillOsqueryd => self.order(Order::Kill),
            Action::LookForUpdates => self.look_for_updates(),
            Action::ProveOrbit => self.prove(Component::Orbit),
            Action::RevertOrbit => self.revert_orbit(),
            Action::CondemnOrbit => self.condemn_orbit(),
            Action::AcquitOrbit => self.acquit_orbit(),
            Action::ForgiveStart => self.forgive_start(),
            Action::ProveOsqueryd => self.prove(Component::Osqueryd),
            Action::RevertOsqueryd => self.revert_osqueryd(),
            Action::ReportOsquerydLoop => {
                self.report_loop(Component::Osqueryd, self.last_end.clone());
            }
            Action::ReportOsquerydWell => self.report_well(Component::Osqueryd),
            Action::LogMore(lasts) => self.log_more(lasts),
            Action::LogAsUsual => self.log_as_usual(),
            Action::Exit => self.finish = Some(self.ends_as),
            Action::HandOver => self.finish = Some(Finish::HandedOver),
        }
    }

    fn enroll(&mut self) {
        let machine = platform::describe(&self.config.system);
        let device =
            self.identity.describe(&machine, self.config.settings.end_user_email.as_deref());
        let (server, secrets) = (Arc::clone(&self.server), self.config.secrets());
        let keys = self.config.settings.device_key.then(|| self.config.vault());
        let hold = Arc::clone(&self.at_vault).try_read_owned();
        self.tasks.spawn(async move {
            Outcome::Enrolled(enroll::enroll(&server, (secrets, keys), device, hold).await)
        });
    }

    fn save_node_key(&mut self, key: &NodeKey) -> Result<(), SaveFailure> {
        if let Err(error) = self.home.save_node_key(key) {
            self.complain("save", "could not keep the node key", &explain(&error));
            return Err(SaveFailure);
        }
        self.identity.enrolled_at = Some(timestamp());
        self.save_identity();
        tracing::info!(
            server.url = %self.config.connection.url,
            device.hardware_uuid = self.identity.hardware_uuid,
            "enrolled"
        );
        Ok(())
    }

    fn replace_node_key(&mut self, key: &NodeKey) -> Result<(), SaveFailure> {
        if let Err(error) = self.home.save_node_key(key) {
            self.complain("save", "the one before stays good", &explain(&error));
            return Err(SaveFailure);
        }
        tracing::info!(server.url = %self.config.connection.url, "the server has replaced the node key");
        Ok(())
    }

    fn forget_node_key(&mut self) {
        self.accepted = None;
        self.identity.enrolled_at = None;
        if let Err(error) = self.home.forget_node_key() {
            tracing::error!("could not forget the node key: {}", explain(&error));
        }
        self.save_identity();
    }

    fn save_identity(&self) {
        if let Err(error) = self.home.save_identity(&self.identity) {
            tracing::error!("could not keep this device's identity: {}", explain(&error));
        }
    }

    fn start_osqueryd(&mut self, wishes: &Flags) {
        let goes_by_itself = !Relay::is_wanted(&self.config, self.server.signs());
        let trusts_system = self.config.connection.trust == Trust::System;
        let authorities =
            (goes_by_itself && trusts_system).then(|| Watch::begin(&self.config.root));
        let way = match self.osqueryds_way() {
            Ok(way) => way,
            Err(error) => {
                let ended = Ended::NotStarted(io::Error::other(explain(&error)));
                self.tasks.spawn(async { Outcome::OsquerydEnded(ended) });
                return;
            }
        };
        let node_key = self.accepted.clone().filter(|_| self.identity.lends_node_key);
        let given = (&way, node_key.as_ref());
        let launch = Launch::new(&self.config, &self.identity, wishes, given);
        let launch = launch.with_program(self.updating.osqueryd());
        let (orders, received) = mpsc::unbounded_channel();
        let seal = self.config.connection.seal();
        self.osqueryd = Some(Reins { orders, told_to_end: false, seal, authorities, node_key });
        self.tasks.spawn(async move { Outcome::OsquerydEnded(launch.run(received).await) });
    }

    fn osqueryds_way(&mut self) -> Result<Way, RelayError> {
        if !Relay::is_wanted(&self.config, self.server.signs()) {
            self.relay = None;
            return Ok(Way::direct(&self.config));
        }
        let relay = match self.relay.take() {
            Some(relay) => relay,
            None => Relay::start(&self.config, Arc::clone(&self.server))?,
        };
        Ok(self.relay.insert(relay).way().clone())
    }

    /// The agent has just reached the server with the files that it has read; an osqueryd that has read
    /// others is to read them, too.
    fn compare_certificates(&mut self) {
        let Some(seal) = self.server.seal() else { return };
        let Some(running) = self.osqueryd.as_mut().filter(|reins| !reins.told_to_end) else {
            return;
        };
        if running.seal != seal || running.authorities.as_mut().is_some_and(Watch::has_changed) {
            tracing::info!("certificates have been replaced: osqueryd is started again");
            self.inbox.push_back(Event::OsquerydOutdated);
        }
    }

    /// The server lets osqueryd enroll with `key`, or not; one that would do otherwise is started again.
    fn compare_node_keys(&mut self, key: &NodeKey, lends: bool) {
        if self.identity.lends_node_key != lends {
            self.identity.lends_node_key = lends;
            self.save_identity();
        }
        let running = self.osqueryd.as_ref().filter(|reins| !reins.told_to_end);
        let own = Some(key).filter(|_| lends);
        if running.is_some_and(|reins| reins.node_key.as_ref() != own) {
            tracing::info!("osqueryd is started again, to enroll as the server has it now");
            self.inbox.push_back(Event::OsquerydOutdated);
        }
    }

    fn osqueryd_enrolls_with(&self, key: &NodeKey) -> bool {
        let running = self.osqueryd.as_ref().filter(|reins| !reins.told_to_end);
        running.is_some_and(|reins| reins.node_key.as_ref() == Some(key))
    }

    fn order(&mut self, order: Order) {
        if let Some(reins) = &mut self.osqueryd {
            reins.told_to_end = true;
            // A task that is gone already has ended osqueryd; its outcome is on the way.
            let _ = reins.orders.send(order);
        }
    }

    fn log_more(&mut self, lasts: Duration) {
        self.volume.turn(true);
        let lasts = SignedDuration::try_from(lasts).unwrap_or(SignedDuration::MAX);
        let until = timestamp().saturating_add(lasts).unwrap_or(Timestamp::MAX);
        tracing::info!("the server wants more to be logged until {until:.0}");
        self.keep_debug(Some(until));
    }

    fn log_as_usual(&mut self) {
        self.volume.turn(self.config.settings.debug);
        tracing::info!("as much is logged as the settings say");
        self.keep_debug(None);
    }

    fn keep_debug(&self, until: Option<Timestamp>) {
        if let Err(error) = self.home.save_debug(until) {
            tracing::error!("could not keep how much to log: {}", explain(&error));
        }
    }

    /// Puts an outcome on record and hands the machine as much of it as it decides by.
    fn note(&mut self, outcome: Outcome) -> Option<Event> {
        Some(match outcome {
            Outcome::Enrolled(answer) => {
                match &answer {
                    Ok(_) => self.record.last_contact_at = Some(timestamp()),
                    Err(error) => self.complain(error.kind(), "will try again", &explain(error)),
                }
                Event::Enrolled(answer.map_err(|error| error.failure()))
            }
            Outcome::DesktopTended => {
                self.tending_desktop = false;
                return None;
            }
            Outcome::DesktopFares(word) => {
                self.desktop_fares(word);
                return None;
            }
            Outcome::Fetched(key, answer) => {
                match &answer {
                    Ok(config) => {
                        self.contacted();
                        self.compare_certificates();
                        self.updating.follow(&config.update_channels);
                        self.hear_of_extensions(&config.extensions);
                        self.accepted = Some(key.clone());
                        self.compare_node_keys(&key, config.osqueryd_enrolls_with_node_key);
                        self.tell_updates();
                        self.tend_desktop(key);
                    }
                    Err(error @ FetchError::KeyRejected) => {
                        self.complain(error.kind(), "enrolling again", &explain(error));
                    }
                    Err(error @ FetchError::Request(_)) => {
                        self.complain(error.kind(), "will try again", &explain(error));
                    }
                }
                Event::ConfigFetched(answer.map_err(|error| error.failure()))
            }
            Outcome::DateAsked => {
                self.begin_look();
                return None;
            }
            Outcome::UpdatesSeen(seen) if !self.updating.is_about_now(&self.config, &seen) => {
                self.begin_look();
                return None;
            }
            Outcome::UpdatesSeen(seen) => {
                self.tend_extensions();
                self.updates_seen(*seen)
            }
            Outcome::ExtensionsTended(tended) => return self.extensions_tended(tended),
            Outcome::UpdatesTold(standings, told) => {
                self.updates_told(standings, told);
                return None;
            }
            Outcome::OsquerydEnded(ended) => {
                let told_to_end = self.osqueryd.take().is_some_and(|reins| reins.told_to_end);
                report_end(&ended, told_to_end);
                if !told_to_end {
                    self.last_end = ended.text();
                }
                Event::OsquerydExited
            }
        })
    }

    fn contacted(&mut self) {
        self.record.last_contact_at = Some(timestamp());
        self.record.last_error = None;
        if self.complaint.settle() {
            tracing::info!(server.url = %self.config.connection.url, "in contact with the server again");
        }
    }

    /// Logs a failure that is news, and keeps it for `orbit status` in any case.
    fn complain(&mut self, kind: &'static str, next: &str, message: &str) {
        self.record.last_error = Some(LastError { at: timestamp(), message: message.to_owned() });
        let server = &self.config.connection.url;
        if self.complaint.raise(kind, now()) {
            tracing::warn!(error.kind = kind, server.url = %server, "{message}; {next}");
        } else {
            tracing::debug!(error.kind = kind, server.url = %server, "{message}; {next}");
        }
    }

    /// Shows how things stand to the service manager and to `orbit status`.
    fn show(&mut self, state: &State) {
        let mut record = self.record.clone();
        record.state = state.name().to_owned();
        record.device_key = self.server.signer_is_held_by();
        record.osqueryd_running = record.osqueryd_running.map(|_| self.osqueryd.is_some());
        record.updates = self.updating.standings().to_vec();
        let told = self.told_text(state);
        if told != self.told {
            platform::notify(Notice::Status(&told));
            self.told = told;
        } else if record == self.record {
            return;
        }
        if let Err(error) = record.save(&self.config.root) {
            tracing::debug!("could not write the status: {}", explain(&error));
        }
        self.record = record;
    }

    fn told_text(&self, state: &State) -> String {
        let server = &self.config.connection.url;
        let text = match (&self.record.last_error, &self.record.last_contact_at) {
            (Some(error), _) => format!("{}: {}", state.name(), error.message),
            (None, Some(at)) => format!("{}: last contact with {server} at {at:.0}", state.name()),
            (None, None) => format!("{}: {server}", state.name()),
        };
        // A line of its own would be another message to systemd.
        text.replace(char::is_control, " ")
    }
}

fn report_end(ended: &Ended, told_to_end: bool) {
    match ended {
        Ended::Exited(status) if told_to_end => tracing::info!("osqueryd stopped: {status}"),
        Ended::Exited(status) => tracing::warn!("osqueryd ended by itself: {status}"),
        Ended::NotStarted(error) => tracing::warn!("could not start osqueryd: {error}"),
        Ended::Lost(error) => tracing::warn!("lost sight of osqueryd: {error}"),
        Ended::Withdrawn => {}
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver is the machine's clock")]
fn now() -> Instant {
    Instant::now()
}

/// For people to read; nothing is decided by it.
#[expect(clippy::disallowed_methods, reason = "the driver is the only one to ask")]
fn timestamp() -> Timestamp {
    Timestamp::now()
}
