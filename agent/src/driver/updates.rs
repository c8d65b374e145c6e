//! The driver's part in updates: it has them looked for, writes down what comes of it, and tells the
//! server.

use std::{num::NonZeroU64, sync::Arc};

use camino::Utf8PathBuf;
use jiff::{SignedDuration, Timestamp};
use update::{Channel, Component};
use wire::orbit::{ComponentUpdate, CrashLoop, UpdateChannels, UpdateState};

use super::{Driver, Outcome, now, timestamp};
use crate::{
    VERSION,
    complaints::{Complaint, explain},
    config::Config,
    identity::Identity,
    machine::{Event, News},
    server::{RequestError, Server},
    tasks::updates::{self, Installed, Probe, Question, Seen, Updates},
    updater::{
        Updater, UpdaterError,
        clock::{self, Judged, Told},
    },
};

/// What the driver knows of updates.
pub(super) struct Updating {
    updater: Updater,
    /// None: there are none for this device.
    source: Option<Arc<Updates>>,
    /// What there is to tell, and what the server was last told.
    standings: Standings,
    told: Standings,
    telling: bool,
    complaint: Complaint,
}

/// How things stand that the server wants to know of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standings {
    /// The components when they were last looked at; none: they have yet to be.
    components: Option<Vec<ComponentUpdate>>,
    /// None: nobody knows yet.
    crash_loops: Option<Vec<CrashLoop>>,
}

impl Updating {
    pub(super) fn new(config: &Config, mut updater: Updater) -> Self {
        for component in [Component::Osqueryd, Component::Desktop] {
            complain(updater.mend(component));
        }
        let probe = Probe { variables: Some(config.variables.clone()) };
        let rate = config.settings.update_rate.and_then(NonZeroU64::new);
        let source = config.updates.clone();
        let source =
            source.map(|it| Arc::new(Updates::new(it, &config.root, probe).with_rate(rate)));
        Self {
            updater,
            source,
            standings: Standings::default(),
            told: Standings::default(),
            telling: false,
            complaint: Complaint::default(),
        }
    }

    pub(super) fn standings(&self) -> &[ComponentUpdate] {
        self.standings.components.as_deref().unwrap_or_default()
    }

    /// The osqueryd to start, where that is not the one that the pointer leads to.
    pub(super) fn osqueryd(&mut self) -> Option<Utf8PathBuf> {
        self.updater.osqueryd_on_trial().unwrap_or_else(|error| {
            complain(Err(error));
            None
        })
    }

    /// The server says which channels to follow.
    pub(super) fn follow(&mut self, channels: &UpdateChannels) {
        complain(self.updater.follow(channels));
    }

    /// Where updates come from, if there are any for this device.
    pub(super) fn source(&self) -> Option<Arc<Updates>> {
        self.source.clone()
    }

    /// The time to judge metadata by; none: nobody knows what time it is.
    pub(super) fn judged_time(&self, server: &Server) -> Option<Judged> {
        let (own, floor) = (timestamp(), self.floor());
        // Where anybody on the way could choose it, only a clock that is wrong for certain yields to it.
        let told = server.date().zip(server.date_after_sleep());
        let told = told.filter(|_| own < floor || server.is_verified());
        let told = told.map(|(least, likely)| Told { least, likely });
        clock::judge_by(own, floor, told)
    }

    fn question(&self, config: &Config, identity: &Identity, server: &Server) -> Question {
        let installed = |component| self.installed(config, component);
        Question {
            now: self.judged_time(server),
            device: identity.osquery_identifier(),
            agent: self.updater.version(Component::Orbit).unwrap_or_else(|| VERSION.to_owned()),
            interval: SignedDuration::try_from(config.settings.update_interval)
                .unwrap_or(SignedDuration::MAX),
            // What ends this process comes last.
            components: [Component::Osqueryd, Component::Desktop, Component::Orbit]
                .into_iter()
                .filter_map(installed)
                .collect(),
            server: None,
        }
    }

    fn installed(&self, config: &Config, component: Component) -> Option<Installed> {
        if !self.updater.folder(component).exists() {
            return None;
        }
        Some(Installed {
            component,
            channel: self.channel(config, component),
            version: self.updater.version(component),
            entry: self.updater.ledger().of(component).clone(),
            busy: self.updater.busy(component),
        })
    }

    /// The server's word counts, then the package's.
    fn channel(&self, config: &Config, component: Component) -> Channel {
        let (said, set) = (&self.updater.ledger().channels, &config.settings.channels);
        let (said, set) = match component {
            Component::Orbit => (&said.orbit, &set.orbit),
            Component::Osqueryd => (&said.osqueryd, &set.osqueryd),
            Component::Desktop => (&said.desktop, &set.desktop),
        };
        let said = said.as_ref().and_then(|text| text.parse().ok());
        said.or_else(|| set.parse().ok()).unwrap_or_else(Channel::stable)
    }

    /// Whether a look was at the channels of this moment: the server may have named another meanwhile, and
    /// what was found on the one before must not be installed.
    pub(super) fn is_about_now(&self, config: &Config, seen: &Seen) -> bool {
        let channel = |name: &str| Some(self.channel(config, name.parse().ok()?));
        let is_followed = |it: &ComponentUpdate| {
            channel(&it.component).is_none_or(|channel| channel.as_str() == it.channel)
        };
        seen.standings.iter().all(is_followed)
    }

    /// The date of the newest program on this device: no clock is right that is before it.
    fn floor(&self) -> Timestamp {
        let date = |component| {
            let about = self.updater.folder(component).pointed()?.metadata().ok()?;
            Timestamp::try_from(about.modified().ok()?).ok()
        };
        let dates = Component::ALL.into_iter().filter_map(date);
        dates.max().unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Shows what has become of a version on trial.
    fn restate(&mut self, component: Component) {
        let entry = self.updater.ledger().of(component).clone();
        let version = self.updater.version(component);
        let name = component.as_str();
        let mut standings = self.standings.components.iter_mut().flatten();
        let Some(standing) = standings.find(|it| it.component == name) else {
            return;
        };
        standing.blocked_version = entry.blocked.as_ref().map(|it| it.version.clone());
        standing.blocked_sha256 = entry.blocked.as_ref().map(|it| it.target.clone());
        standing.detail = entry.blocked.as_ref().map(|it| it.fault.text().to_owned());
        standing.version = version;
        standing.state = match (&entry.trial, &entry.blocked) {
            (Some(_), _) => UpdateState::Trying,
            (None, Some(_)) => UpdateState::RolledBack,
            (None, None) if standing.version == standing.offered_version => UpdateState::Current,
            (None, None) => UpdateState::Waiting,
        };
    }
}

impl Driver {
    pub(super) fn look_for_updates(&mut self) {
        if self.updating.source.is_none() {
            return;
        }
        // Until the server has told its date, this device's clock is all there is.
        if self.server.date().is_some() {
            return self.begin_look();
        }
        let server = Arc::clone(&self.server);
        self.tasks.spawn(async move {
            if let Err(error) = server.ping().await {
                tracing::debug!("the server does not tell its date: {}", explain(&error));
            }
            Outcome::DateAsked
        });
    }

    /// Looks, by all that is known at this moment.
    pub(super) fn begin_look(&mut self) {
        let Some(source) = self.updating.source.clone() else { return };
        let mut question = self.updating.question(&self.config, &self.identity, &self.server);
        question.server = self.accepted.clone().map(|key| (Arc::clone(&self.server), key));
        self.tasks
            .spawn(async move { Outcome::UpdatesSeen(Box::new(source.look(question).await)) });
    }

    pub(super) fn updates_seen(&mut self, seen: Seen) -> Event {
        self.report_trouble(&seen);
        self.updating.standings.components = Some(seen.standings);
        let news = self.updating.updater.take_in(&seen.findings, timestamp());
        let news = news.unwrap_or_else(|error| {
            complain(Err(error));
            News::default()
        });
        self.updating.restate(Component::Desktop);
        if news.orbit {
            tracing::info!("a new version of the agent is there and takes over");
        }
        self.tell_updates();
        Event::UpdatesSeen(news)
    }

    fn report_trouble(&mut self, seen: &Seen) {
        let Some((kind, message)) = &seen.trouble else {
            if self.updating.complaint.settle() {
                tracing::info!("updates can be looked for again");
            }
            return;
        };
        let is_news = self.updating.complaint.raise(kind, now());
        match (is_news, *kind) {
            // The mirror will catch up, and what was seen before still counts.
            (true, "stale") => tracing::info!(error.kind = kind, "{message}; will look again"),
            (true, _) => tracing::warn!(error.kind = kind, "{message}; will look again"),
            (false, _) => tracing::debug!(error.kind = kind, "{message}; will look again"),
        }
    }

    /// Tells the server how things stand, if that is news to it.
    pub(super) fn tell_updates(&mut self) {
        let updating = &mut self.updating;
        let Some(key) = self.accepted.clone() else { return };
        // What is told takes the place of what was told before, so all of it must be known.
        let is_early = updating.source.is_some() && updating.standings.components.is_none();
        if updating.telling || is_early || updating.standings == updating.told {
            return;
        }
        updating.telling = true;
        let (server, standings) = (Arc::clone(&self.server), updating.standings.clone());
        self.tasks.spawn(async move {
            let Standings { components, crash_loops } = standings.clone();
            let components = components.unwrap_or_default();
            let told = updates::tell(&server, key, components, crash_loops).await;
            Outcome::UpdatesTold(standings, told.map(drop))
        });
    }

    /// A component ends as often as it is started; `detail` tells how it last ended.
    pub(super) fn report_loop(&mut self, component: Component, detail: String) {
        tracing::warn!("{component} ends as often as it is started; the server is told");
        let name = component.as_str().to_owned();
        self.report(component, Some(CrashLoop { component: name, since: timestamp(), detail }));
    }

    /// A component runs well, also as far as an earlier run of the agent has told otherwise.
    pub(super) fn report_well(&mut self, component: Component) {
        self.report(component, None);
    }

    fn report(&mut self, component: Component, known: Option<CrashLoop>) {
        let loops = self.updating.standings.crash_loops.get_or_insert_default();
        loops.retain(|it| it.component != component.as_str());
        loops.extend(known);
        self.tell_updates();
    }

    pub(super) fn updates_told(&mut self, standings: Standings, told: Result<(), RequestError>) {
        self.updating.telling = false;
        match told {
            // A server that has no such address has no use for it either.
            Ok(()) | Err(RequestError::NoSuchAddress { .. }) => self.updating.told = standings,
            Err(error) => {
                tracing::debug!("could not tell the server of updates: {}", explain(&error))
            }
        }
    }

    pub(super) fn prove(&mut self, component: Component) {
        let version = self.trial_of(component);
        complain(self.updating.updater.prove(component));
        tracing::info!("{component} {version} has proven itself");
        self.updating.restate(component);
    }

    pub(super) fn revert_orbit(&mut self) {
        tracing::warn!(
            "this version did not reach the server in time; the one before it takes over"
        );
        complain(self.updating.updater.suspect_self());
    }

    pub(super) fn condemn_orbit(&mut self) {
        complain(self.updating.updater.condemn());
        let blocked = self.updating.updater.ledger().orbit.blocked.as_ref();
        if let Some(blocked) = blocked {
            tracing::warn!(
                "orbit {} is not tried again: {}",
                blocked.version,
                blocked.fault.text()
            );
        }
        self.updating.restate(Component::Orbit);
    }

    pub(super) fn acquit_orbit(&mut self) {
        complain(self.updating.updater.acquit(timestamp()));
        self.updating.restate(Component::Orbit);
    }

    pub(super) fn forgive_start(&mut self) {
        complain(self.updating.updater.forgive_start());
    }

    pub(super) fn revert_osqueryd(&mut self) {
        let version = self.trial_of(Component::Osqueryd);
        tracing::warn!("osqueryd {version} ends again and again; the one before it runs");
        complain(self.updating.updater.fail_osqueryd());
        self.updating.restate(Component::Osqueryd);
    }

    fn trial_of(&self, component: Component) -> String {
        let trial = self.updating.updater.ledger().of(component).trial.as_ref();
        trial.map(|trial| trial.version.version.clone()).unwrap_or_default()
    }
}

fn complain(outcome: Result<(), UpdaterError>) {
    if let Err(error) = outcome {
        tracing::error!("{}", explain(&error));
    }
}
