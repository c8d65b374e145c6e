//! What the server counts of itself, for a monitoring system: how many, how long, how full.
//!
//! Every label is one of few words that stand in this program. Nothing that a request says is among
//! them, so nobody outside makes up series. What the database knows is counted when it is asked for.

use std::{collections::BTreeMap, time::Instant};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
        info::Info,
    },
    registry::{Registry, Unit},
};
use wire::api::DeviceState;

use super::{
    Access, Fleet, StoreError,
    enroll::EnrollError,
    errors::SignInError,
    limits::LimitError,
    mail::Delivery,
    store::{Ages, Hash, Store},
};

/// Upper ends of the classes that durations are counted in, in seconds.
const CLASSES: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// How long the database is waited for before the rest is told without it.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);

/// A label and its value.
type Label = [(&'static str, &'static str); 1];
type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// How an attempt ended: it did; it was wrong; there were too many; the server could not.
const OUTCOMES: [&str; 4] = ["ok", "refused", "limited", "failed"];

/// Durations, in seconds.
pub(super) fn durations() -> Histogram {
    Histogram::new(CLASSES)
}

/// Measures how long something takes. It decides nothing, so it is no business of [`Clock`](crate::Clock).
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "how long something takes is only told")]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn tell(self, histogram: &Histogram) {
        histogram.observe(self.0.elapsed().as_secs_f64());
    }
}

/// A request that was answered, in words of this program.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    pub method: &'static str,
    pub route: &'static str,
    pub status: u16,
    /// The kind of problem that it was refused with, and the limit that it met.
    pub problem: Option<&'static str>,
    pub limit: Option<&'static str>,
}

/// A request under way.
#[derive(Debug)]
pub struct UnderWay {
    count: Gauge,
    watch: Stopwatch,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.count.dec();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reply {
    method: &'static str,
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Enrollment {
    program: &'static str,
    outcome: &'static str,
}

/// What is counted while it happens.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    replies: Family<Reply, Counter>,
    reply_seconds: Durations<Route>,
    under_way: Gauge,
    refusals: Family<Label, Counter>,
    limits: Family<Label, Counter>,
    logins: Family<Label, Counter>,
    refreshes: Family<Label, Counter>,
    suspicious: Family<Label, Counter>,
    token_seconds: Durations<Label>,
    enrollments: Family<Enrollment, Counter>,
    mails: Family<Label, Counter>,
}

/// What tells that somebody else may have a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suspicion {
    RefreshTokenReused,
    OtherProgramElsewhere,
}

/// What is done with an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenWork {
    Issue,
    Verify,
}

/// What the database knows.
#[derive(Debug, Default)]
struct Counts {
    organizations: u64,
    people: u64,
    mails: u64,
    revoked_tokens: u64,
    sessions: BTreeMap<String, u64>,
    devices: BTreeMap<&'static str, u64>,
}

/// The states that sessions are counted in; those that have run out are not.
const SESSION_STATES: [&str; 4] = ["authenticated", "active", "idle", "warning"];

impl Metrics {
    /// Nothing has happened yet. `passwords` is how long passwords take to hash.
    pub(super) fn new(store: &Store, passwords: &Histogram) -> Self {
        let by_label = Durations::<Label>::new_with_constructor;
        let metrics = Self {
            registry: Registry::default(),
            replies: Family::default(),
            reply_seconds: Durations::new_with_constructor(durations),
            under_way: Gauge::default(),
            refusals: Family::default(),
            limits: Family::default(),
            logins: Family::default(),
            refreshes: Family::default(),
            suspicious: Family::default(),
            token_seconds: by_label(durations),
            enrollments: Family::default(),
            mails: Family::default(),
        };
        metrics.begin_at_zero();
        metrics.registered(store, passwords)
    }

    /// Series that are there before anything happens: a first failure is a change, too.
    fn begin_at_zero(&self) {
        for outcome in OUTCOMES {
            drop(self.logins.get_or_create(&[("outcome", outcome)]));
            drop(self.refreshes.get_or_create(&[("outcome", outcome)]));
        }
        for kind in [Suspicion::RefreshTokenReused, Suspicion::OtherProgramElsewhere] {
            drop(self.suspicious.get_or_create(&kind.label()));
        }
    }

    fn registered(mut self, store: &Store, passwords: &Histogram) -> Self {
        let all = &mut self.registry;
        let version = Info::new([("version", wire::VERSION)]);
        all.register("fleetd_build", "The version that runs", version);
        let help = "Requests that were answered, by route and status";
        all.register("fleetd_http_requests", help, self.replies.clone());
        let help = "How long it took until an answer began";
        let seconds = self.reply_seconds.clone();
        all.register_with_unit("fleetd_http_request_duration", help, Unit::Seconds, seconds);
        let help = "Requests that are not answered yet";
        all.register("fleetd_http_requests_in_flight", help, self.under_way.clone());
        let help = "Requests that were refused, by kind of problem";
        all.register("fleetd_http_refusals", help, self.refusals.clone());
        let help = "Requests that met a limit, by its name";
        all.register("fleetd_limit_refusals", help, self.limits.clone());
        let help = "Sign-ins with a password, by outcome";
        all.register("fleetd_auth_logins", help, self.logins.clone());
        let help = "Refreshes of sessions, by outcome";
        all.register("fleetd_auth_refresh", help, self.refreshes.clone());
        let help = "Sessions that were ended because somebody else may have them";
        all.register("fleetd_auth_suspicious", help, self.suspicious.clone());
        let help = "How long access tokens take to issue and to verify";
        let seconds = self.token_seconds.clone();
        all.register_with_unit("fleetd_auth_token", help, Unit::Seconds, seconds);
        let help = "How long passwords wait to be hashed, and are";
        let seconds = passwords.clone();
        all.register_with_unit("fleetd_password_hash_duration", help, Unit::Seconds, seconds);
        let help = "Enrollments, by program and outcome";
        all.register("fleetd_enrollments", help, self.enrollments.clone());
        let help = "Mails that were tried to be sent, by outcome";
        all.register("fleetd_mails", help, self.mails.clone());
        let help = "How long transactions waited for a connection to the database";
        let seconds = store.waits().clone();
        all.register_with_unit("fleetd_database_wait", help, Unit::Seconds, seconds);
        self
    }

    pub(super) fn count_login<T>(&self, result: &Result<T, SignInError>) {
        self.logins.get_or_create(&[("outcome", outcome_of(result))]).inc();
    }

    pub(super) fn count_refresh<T>(&self, result: &Result<T, SignInError>) {
        self.refreshes.get_or_create(&[("outcome", outcome_of(result))]).inc();
    }

    pub(super) fn count_suspicion(&self, kind: Suspicion) {
        self.suspicious.get_or_create(&kind.label()).inc();
    }

    pub(super) fn count_enrollment<T>(
        &self,
        program: &'static str,
        result: &Result<T, EnrollError>,
    ) {
        let outcome = match result {
            Ok(_) => "ok",
            Err(EnrollError::NotAccepted) => "not_accepted",
            Err(
                EnrollError::Refused
                | EnrollError::Invalid(_)
                | EnrollError::KeyRequired
                | EnrollError::Signature(_),
            ) => "refused",
            Err(EnrollError::TooMany(_)) => "limited",
            Err(EnrollError::Store(_)) => "failed",
        };
        self.enrollments.get_or_create(&Enrollment { program, outcome }).inc();
    }

    pub(super) fn count_mails(&self, delivery: Delivery) {
        let Delivery { sent, postponed, dropped } = delivery;
        for (outcome, count) in [("sent", sent), ("postponed", postponed), ("dropped", dropped)] {
            self.mails.get_or_create(&[("outcome", outcome)]).inc_by(u64::from(count));
        }
    }

    /// Measures `work`.
    pub(super) fn measured<T>(&self, what: TokenWork, work: impl FnOnce() -> T) -> T {
        let watch = Stopwatch::start();
        let done = work();
        let operation = match what {
            TokenWork::Issue => "issue",
            TokenWork::Verify => "verify",
        };
        watch.tell(&self.token_seconds.get_or_create(&[("operation", operation)]));
        done
    }
}

impl Suspicion {
    fn label(self) -> Label {
        let kind = match self {
            Self::RefreshTokenReused => "refresh_token_reused",
            Self::OtherProgramElsewhere => "other_program_elsewhere",
        };
        [("kind", kind)]
    }
}

fn outcome_of<T>(result: &Result<T, SignInError>) -> &'static str {
    use SignInError as E;
    match result {
        Ok(_) => "ok",
        Err(E::Limit(LimitError::TooMany(_))) => "limited",
        Err(E::Limit(LimitError::Store(_)) | E::Busy(_) | E::Keys(_) | E::Store(_)) => "failed",
        Err(
            E::WrongLogin
            | E::WrongRefreshToken
            | E::SessionExpired
            | E::TooManySessions
            | E::PeopleOnly
            | E::WrongSetupCode
            | E::AlreadySetUp
            | E::Invalid(_)
            | E::NotAMember
            | E::SameOrganization
            | E::Account(_),
        ) => "refused",
    }
}

impl Fleet {
    /// Counts a request as under way, until the answer is dropped.
    #[must_use]
    pub fn begin_request(&self) -> UnderWay {
        let count = self.0.metrics.under_way.clone();
        count.inc();
        UnderWay { count, watch: Stopwatch::start() }
    }

    /// Counts a request that was answered.
    pub fn count_answer(&self, request: &UnderWay, answered: Answered) {
        let metrics = &self.0.metrics;
        let Answered { method, route, status, problem, limit } = answered;
        metrics.replies.get_or_create(&Reply { method, route, status }).inc();
        request.watch.tell(&metrics.reply_seconds.get_or_create(&Route { method, route }));
        if let Some(problem) = problem {
            metrics.refusals.get_or_create(&[("problem", problem)]).inc();
        }
        if let Some(limit) = limit {
            metrics.limits.get_or_create(&[("limit", limit)]).inc();
        }
    }

    /// Whether `presented` is the token that the operator gave to the monitoring system. `None` when
    /// there is no such token.
    #[must_use]
    pub fn is_metrics_token(&self, presented: &str) -> Option<bool> {
        let token = self.0.config.metrics.token.as_ref()?;
        Some(Hash::of(presented).is(&Hash::of(token.expose()).as_text()))
    }

    /// Everything that is counted, in the text format of OpenMetrics 1.0. Without the database, what
    /// it knows is left out.
    pub async fn metrics(&self) -> String {
        let counts = tokio::time::timeout(PATIENCE, self.counts()).await;
        let counts = match counts {
            Ok(Ok(counts)) => Some(counts),
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "could not count what the database knows");
                None
            }
            Err(_) => {
                tracing::warn!("the database took too long to count what it knows");
                None
            }
        };
        let mut page = String::new();
        text::encode_registry(&mut page, &self.0.metrics.registry)
            .and_then(|()| text::encode_registry(&mut page, &self.levels(counts)))
            .and_then(|()| text::encode_eof(&mut page))
            .expect("a text takes whatever is written to it");
        page
    }

    /// How full things are at this moment.
    fn levels(&self, counts: Option<Counts>) -> Registry {
        let mut all = Registry::default();
        let mut level = |name: &str, help: &str, value: u64| {
            all.register(name, help, ConstGauge::new(value));
        };
        let is_up = u64::from(counts.is_some());
        level("fleetd_database_up", "Whether the database answered at once", is_up);
        let most = u64::from(self.0.config.database.max_connections);
        level("fleetd_database_connections_max", "As many connections there may be", most);
        let (waiting, places) = self.0.passwords.queue();
        level("fleetd_password_jobs", "Passwords that are hashed or wait for it", waiting);
        level("fleetd_password_jobs_max", "As many may wait; more are refused", places);
        if let Some(counts) = &counts {
            level("fleetd_organizations", "Organizations", counts.organizations);
            level("fleetd_people", "People with an account", counts.people);
            level("fleetd_mails_queued", "Mails that are to be sent", counts.mails);
            let help = "Access tokens that are refused by their ids";
            level("fleetd_auth_revoked_tokens", help, counts.revoked_tokens);
        }
        let (connections, idle) = self.0.store.connections();
        let connections = [("used", connections.saturating_sub(idle)), ("idle", idle)];
        by_state(&mut all, ("fleetd_database_connections", "Connections"), connections);
        if let Some(Counts { sessions, devices, .. }) = counts {
            let count = |state| (state, sessions.get(state).copied().unwrap_or_default());
            let sessions = SESSION_STATES.map(count);
            by_state(&mut all, ("fleetd_auth_sessions", "Sessions that go on"), sessions);
            let count = |state: DeviceState| {
                let state = state.as_str();
                (state, devices.get(state).copied().unwrap_or_default())
            };
            by_state(&mut all, ("fleetd_devices", "Devices"), DeviceState::ALL.map(count));
        }
        all
    }

    /// Goes through the organizations one by one: none sees the rows of another.
    async fn counts(&self) -> Result<Counts, StoreError> {
        let now = self.now();
        let timers = self.0.config.auth.session.timers();
        let ages = Ages {
            now,
            timeout: now - timers.timeout,
            warning: now - timers.warning,
            idle: now - timers.idle,
        };
        let (people, mails) = self.0.store.people_and_mails().await?;
        let mut counts = Counts { people, mails, ..Counts::default() };
        for org_id in self.0.store.organizations().await? {
            let mut org = self.0.store.org(org_id, Access::Read).await?;
            for (state, count) in org.session_counts(ages).await? {
                *counts.sessions.entry(state).or_default() += count;
            }
            for (state, count) in org.device_counts().await? {
                *counts.devices.entry(state.as_str()).or_default() += count;
            }
            counts.revoked_tokens += org.revoked_tokens().await?;
            counts.organizations += 1;
            org.commit().await?;
        }
        Ok(counts)
    }
}

/// A gauge with a value for each state.
fn by_state<const N: usize>(
    all: &mut Registry,
    (name, help): (&str, &str),
    values: [(&'static str, u64); N],
) {
    let family = Family::<Label, Gauge>::default();
    for (state, value) in values {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        family.get_or_create(&[("state", state)]).set(value);
    }
    all.register(name, format!("{help}, by state"), family);
}
