//! A random walk: a world that answers the machine's actions in any order, well or badly, with a
//! checker that knows what must never happen.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use agent::machine::{
    Action, Beginning, EnrollFailure, Event, FetchFailure, Flags, News, Pace, Probation,
    SaveFailure, State,
};
use proptest::{prelude::*, sample::select, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::json;
use wire::{NodeKey, orbit::AgentConfig};

/// One step of the walk. Answers to what was not asked are part of it.
#[derive(Debug, Clone)]
enum Step {
    /// Time passes, the machine's deadlines being kept.
    Pass(Duration),
    Enrolled(Result<(), EnrollFailure>),
    Saved(bool),
    Fetched(Result<u8, FetchFailure>),
    /// osqueryd ends, if there is one.
    OsquerydExits,
    /// The certificates that it has read are replaced.
    OsquerydOutdated,
    /// What a look for updates has brought, if there is one on its way.
    UpdatesSeen(News),
    /// A timer that nobody has asked for.
    Timer,
    Shutdown,
}

fn step() -> impl Strategy<Value = Step> {
    let busy = (0..10_000_u64).prop_map(Duration::from_secs);
    let enroll_failure = prop_oneof![
        4 => Just(EnrollFailure::Failed),
        1 => Just(EnrollFailure::NoSecret),
        1 => Just(EnrollFailure::SecretRefused),
        1 => Just(EnrollFailure::NoSuchAddress),
        1 => busy.clone().prop_map(EnrollFailure::Busy),
    ];
    let fetch_failure = prop_oneof![
        3 => Just(FetchFailure::Failed),
        3 => Just(FetchFailure::KeyRejected),
        1 => busy.prop_map(FetchFailure::Busy),
    ];
    prop_oneof![
        12 => select(vec![1_u64, 100, 1_000, 9_000, 40_000, 400_000])
            .prop_map(|ms| Step::Pass(Duration::from_millis(ms))),
        6 => Just(Step::Enrolled(Ok(()))),
        3 => enroll_failure.prop_map(|failure| Step::Enrolled(Err(failure))),
        5 => any::<bool>().prop_map(Step::Saved),
        6 => (0..3_u8).prop_map(|flags| Step::Fetched(Ok(flags))),
        5 => fetch_failure.prop_map(|failure| Step::Fetched(Err(failure))),
        4 => Just(Step::OsquerydExits),
        2 => Just(Step::OsquerydOutdated),
        4 => Just(Step::UpdatesSeen(News::default())),
        2 => Just(Step::UpdatesSeen(News { orbit: false, osqueryd: true })),
        1 => Just(Step::UpdatesSeen(News { orbit: true, osqueryd: true })),
        2 => Just(Step::Timer),
        1 => Just(Step::Shutdown),
    ]
}

/// What the machine begins with.
#[derive(Debug, Clone)]
struct Start {
    enrolled: bool,
    osqueryd_installed: bool,
    osqueryd_trial: Option<u32>,
    updates: bool,
    logs_more: Option<Duration>,
    probation: Probation,
    seed: u64,
}

fn start() -> impl Strategy<Value = Start> {
    let probation = select(vec![Probation::None, Probation::Own, Probation::Suspect]);
    let trial = prop_oneof![2 => Just(None), 1 => (0..4_u32).prop_map(Some)];
    let logs_more = prop_oneof![2 => Just(None), 1 => (0..900_u64).prop_map(Some)];
    let osqueryd = prop_oneof![1 => Just(false), 4 => Just(true)];
    (any::<bool>(), osqueryd, trial, any::<bool>(), logs_more, probation, any::<u64>()).prop_map(
        |(enrolled, osqueryd_installed, osqueryd_trial, updates, logs_more, probation, seed)| {
            let logs_more = logs_more.map(Duration::from_secs);
            Start {
                enrolled,
                osqueryd_installed,
                osqueryd_trial,
                updates,
                logs_more,
                probation,
                seed,
            }
        },
    )
}

/// Every state, as [`State::name`] has it.
const STATES: [&str; 4] = ["enrolling", "running", "stopping", "stopped"];

/// Every action, by name.
const ACTIONS: [&str; 23] = [
    "enroll",
    "save node key",
    "replace node key",
    "forget node key",
    "keep flags",
    "fetch config",
    "start osqueryd",
    "stop osqueryd",
    "kill osqueryd",
    "look for updates",
    "prove orbit",
    "revert orbit",
    "condemn orbit",
    "acquit orbit",
    "forgive start",
    "prove osqueryd",
    "revert osqueryd",
    "report osqueryd's loop",
    "report osqueryd well",
    "log more",
    "log as usual",
    "exit",
    "hand over",
];

const fn action_name(action: &Action) -> &'static str {
    ACTIONS[match action {
        Action::Enroll => 0,
        Action::SaveNodeKey(_) => 1,
        Action::ReplaceNodeKey(_) => 2,
        Action::ForgetNodeKey => 3,
        Action::KeepFlags(_) => 4,
        Action::FetchConfig(_) => 5,
        Action::StartOsqueryd(_) => 6,
        Action::StopOsqueryd => 7,
        Action::KillOsqueryd => 8,
        Action::LookForUpdates => 9,
        Action::ProveOrbit => 10,
        Action::RevertOrbit => 11,
        Action::CondemnOrbit => 12,
        Action::AcquitOrbit => 13,
        Action::ForgiveStart => 14,
        Action::ProveOsqueryd => 15,
        Action::RevertOsqueryd => 16,
        Action::ReportOsquerydLoop => 17,
        Action::ReportOsquerydWell => 18,
        Action::LogMore(_) => 19,
        Action::LogAsUsual => 20,
        Action::Exit => 21,
        Action::HandOver => 22,
    }]
}

/// What the parts of a state may be in, as `Debug` tells it.
const PARTS: [(&str, &[&str]); 8] = [
    ("Updates { step: ", &["Off", "Waiting", "Looking"]),
    (", step: ", &["Waiting", "Asking", "Saving", "WaitingToSave"]),
    ("), poll: ", &["Waiting", "Asking", "Saving"]),
    ("process: ", &["Absent", "Idle", "Up", "Ending", "Killed", "Resting"]),
    ("health: ", &["Unknown", "Well", "Looping"]),
    ("probation: ", &["None", "Own", "Suspect"]),
    ("Verbosity(", &["None", "Some"]),
    ("reason: ", &["Shutdown", "Update"]),
];

/// What the parts of `state` are in.
fn parts(state: &State) -> BTreeSet<(&'static str, String)> {
    let text = format!("{state:?}");
    let word = |rest: &str| rest.chars().take_while(|it| it.is_alphanumeric()).collect::<String>();
    PARTS
        .iter()
        .filter_map(|(part, _)| text.split_once(part).map(|(_, rest)| (*part, word(rest))))
        .collect()
}

/// Every event, by name.
const EVENTS: [&str; 8] = [
    "timer",
    "enrolled",
    "node key saved",
    "config fetched",
    "osqueryd exited",
    "osqueryd outdated",
    "updates seen",
    "shutdown requested",
];

const fn name(event: &Event) -> &'static str {
    EVENTS[match event {
        Event::Timer => 0,
        Event::Enrolled(_) => 1,
        Event::NodeKeySaved(_) => 2,
        Event::ConfigFetched(_) => 3,
        Event::OsquerydExited => 4,
        Event::OsquerydOutdated => 5,
        Event::UpdatesSeen(_) => 6,
        Event::ShutdownRequested => 7,
    }]
}

/// The world around the machine, and what it remembers in order to object.
struct World {
    state: Option<State>,
    pace: Pace,
    now: Instant,
    /// How many keys the server has issued.
    issued: u32,
    /// The key on disk, and one that is being written there.
    saved: Option<NodeKey>,
    saving: Option<NodeKey>,
    rejected: BTreeSet<String>,
    enrolling: bool,
    fetching: Option<NodeKey>,
    last_enroll: Option<Instant>,
    last_fetch: Option<(NodeKey, Instant)>,
    /// The server asked not to be bothered before.
    busy_until: Option<Instant>,
    osqueryd_up: bool,
    stop_ordered: bool,
    looking: bool,
    /// Whether another version was brought, or this one has failed.
    may_hand_over: bool,
    probation: Probation,
    trial_of_osqueryd: bool,
    /// How often osqueryd has ended by itself since its start was last a good one.
    crashes: u32,
    logs_more_until: Option<Instant>,
    shutdown_at: Option<Instant>,
    exits: u32,
    /// Which event has come in which state, and which actions have followed.
    met: BTreeSet<(&'static str, &'static str)>,
    actions: BTreeSet<&'static str>,
}

impl World {
    fn new(start: Start) -> Self {
        let Start {
            osqueryd_installed, osqueryd_trial, updates, logs_more, probation, seed, ..
        } = start;
        let key = || NodeKey::new("key of an earlier run").unwrap();
        let node_key = start.enrolled.then(key);
        #[expect(clippy::disallowed_methods, reason = "a walk begins somewhere")]
        let now = Instant::now();
        let pace = Pace::default();
        let beginning = Beginning {
            node_key: node_key.clone(),
            flags: Flags::new(),
            osqueryd_installed,
            osqueryd_trial,
            updates,
            logs_more,
            probation,
            pace: pace.clone(),
            seed,
        };
        Self {
            state: Some(State::begin(beginning, now)),
            pace,
            now,
            issued: 0,
            saved: node_key,
            saving: None,
            rejected: BTreeSet::new(),
            enrolling: false,
            fetching: None,
            last_enroll: None,
            last_fetch: None,
            busy_until: None,
            osqueryd_up: false,
            stop_ordered: false,
            looking: false,
            may_hand_over: false,
            probation,
            trial_of_osqueryd: osqueryd_trial.is_some(),
            crashes: 0,
            logs_more_until: logs_more.map(|lasts| now + lasts),
            shutdown_at: None,
            exits: 0,
            met: BTreeSet::new(),
            actions: BTreeSet::new(),
        }
    }

    fn state(&self) -> &State {
        self.state.as_ref().expect("a machine is always in a state")
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Pass(time) => self.pass(time),
            Step::Enrolled(answer) => self.enrolled(answer),
            Step::Saved(well) => {
                if let Some(key) = self.saving.take().filter(|_| well) {
                    self.saved = Some(key);
                    self.on(Event::NodeKeySaved(Ok(())));
                } else {
                    self.on(Event::NodeKeySaved(Err(SaveFailure)));
                }
            }
            Step::Fetched(answer) => self.fetched(answer),
            Step::OsquerydExits if self.osqueryd_up => {
                self.osqueryd_up = false;
                self.crashes += u32::from(!self.stop_ordered);
                self.stop_ordered = false;
                self.on(Event::OsquerydExited);
            }
            Step::OsquerydExits => {}
            Step::OsquerydOutdated => self.on(Event::OsquerydOutdated),
            Step::UpdatesSeen(news) if self.looking => {
                self.looking = false;
                let stopping = matches!(self.state(), State::Stopping(_) | State::Stopped);
                self.may_hand_over |= news.orbit && !stopping;
                self.trial_of_osqueryd |= news.osqueryd && !stopping;
                self.on(Event::UpdatesSeen(news));
            }
            Step::UpdatesSeen(_) => {}
            Step::Timer => self.on(Event::Timer),
            Step::Shutdown => {
                self.shutdown_at.get_or_insert(self.now);
                self.on(Event::ShutdownRequested);
            }
        }
        self.check_liveness();
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.state().deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            let before = self.state().deadline();
            self.on(Event::Timer);
            assert_ne!(self.state().deadline(), before, "a timer that is due must be dealt with");
        }
        self.now = end;
        let outlasted = self.logs_more_until.is_some_and(|until| until < end);
        let stopping = matches!(self.state(), State::Stopping(_) | State::Stopped);
        assert!(!outlasted || stopping, "it logs more for longer than was wished");
    }

    fn enrolled(&mut self, answer: Result<(), EnrollFailure>) {
        let asked = std::mem::take(&mut self.enrolling);
        if let (true, Err(EnrollFailure::Busy(after))) = (asked, answer) {
            self.busy_until = Some(self.now + after.min(self.pace.longest_obeyed));
        }
        let answer = answer.map(|()| {
            self.issued += 1;
            NodeKey::new(format!("key {}", self.issued)).unwrap()
        });
        self.on(Event::Enrolled(answer));
    }

    fn fetched(&mut self, answer: Result<u8, FetchFailure>) {
        let asked = self.fetching.take();
        match (&asked, answer) {
            (Some(key), Err(FetchFailure::KeyRejected)) => {
                self.rejected.insert(key.expose().to_owned());
            }
            (Some(_), Err(FetchFailure::Busy(after))) => {
                self.busy_until = Some(self.now + after.min(self.pace.longest_obeyed));
            }
            (Some(_) | None, Ok(_) | Err(_)) => {}
        }
        let answer = answer.map(|number| AgentConfig {
            command_line_startup_flags: Flags::from([("flag".to_owned(), json!(number))]),
            orbit_node_key: (number == 2).then(|| {
                self.issued += 1;
                NodeKey::new(format!("key {}", self.issued)).unwrap()
            }),
            debug_for_seconds: (number == 1).then_some(300),
            ..AgentConfig::default()
        });
        self.on(Event::ConfigFetched(answer));
        if asked.is_some_and(|key| self.rejected.contains(key.expose())) {
            let ends = matches!(self.state(), State::Stopping(_) | State::Stopped);
            assert!(self.saved.is_none() || ends, "a rejected key stays");
        }
    }

    fn on(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.met.insert((self.state().name(), name(&event)));
        self.state = self.state.take().map(|state| state.on(event, self.now, &mut actions));
        for action in actions {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        assert_eq!(self.exits, 0, "nothing comes after Exit: {action:?}");
        self.actions.insert(action_name(&action));
        match action {
            Action::Enroll => self.check_enroll(),
            Action::SaveNodeKey(key) => {
                assert!(!self.rejected.contains(key.expose()), "a rejected key is saved");
                self.saving = Some(key);
            }
            Action::ReplaceNodeKey(key) => {
                assert!(self.saved.is_some(), "there is nothing to replace");
                self.saving = Some(key);
            }
            Action::ForgetNodeKey => self.saved = None,
            Action::KeepFlags(_) => {}
            Action::FetchConfig(key) => self.check_fetch(key),
            Action::StartOsqueryd(_) => {
                assert!(!self.osqueryd_up, "two osqueryds");
                assert!(self.saved.is_some(), "osqueryd without enrollment");
                assert!(self.shutdown_at.is_none(), "osqueryd starts during shutdown");
                self.osqueryd_up = true;
            }
            Action::StopOsqueryd => {
                assert!(self.osqueryd_up, "nothing to stop");
                self.stop_ordered = true;
            }
            Action::KillOsqueryd => {
                assert!(!self.osqueryd_up || self.stop_ordered, "killed without warning");
            }
            Action::LookForUpdates => {
                assert!(!self.looking, "two looks at once");
                assert!(self.shutdown_at.is_none(), "an update while it is stopping");
                self.looking = true;
            }
            Action::ProveOrbit | Action::ForgiveStart => self.end_probation(Probation::Own),
            Action::RevertOrbit => {
                self.end_probation(Probation::Own);
                self.may_hand_over = true;
            }
            Action::CondemnOrbit | Action::AcquitOrbit => self.end_probation(Probation::Suspect),
            Action::ProveOsqueryd | Action::RevertOsqueryd => {
                assert!(self.trial_of_osqueryd, "no osqueryd is on trial");
                self.trial_of_osqueryd = false;
            }
            Action::ReportOsquerydLoop => {
                assert!(self.crashes >= 5, "it crashed {} times", self.crashes);
            }
            Action::ReportOsquerydWell => {
                // The crash that shows that it had run well before counts for what comes.
                self.crashes = 0;
            }
            Action::LogMore(lasts) => self.logs_more_until = Some(self.now + lasts),
            Action::LogAsUsual => {
                assert!(self.logs_more_until.take().is_some(), "it does so already");
            }
            Action::HandOver => {
                self.exits += 1;
                assert!(self.may_hand_over, "nobody is there to take over");
                assert!(self.shutdown_at.is_none(), "a version takes over while it is stopping");
            }
            Action::Exit => {
                self.exits += 1;
                assert!(self.shutdown_at.is_some(), "nobody asked it to exit");
            }
        }
    }

    fn end_probation(&mut self, expected: Probation) {
        assert_eq!(self.probation, expected, "that is not what was tested");
        self.probation = Probation::None;
    }

    fn check_enroll(&mut self) {
        assert!(!self.enrolling && self.fetching.is_none(), "two questions at once");
        assert!(self.saved.is_none(), "it has a key");
        assert!(self.shutdown_at.is_none());
        if let Some(last) = self.last_enroll {
            let floor = self.pace.enroll.first * 4 / 5;
            assert!(self.now - last >= floor, "after {:?}", self.now - last);
        }
        self.check_not_busy();
        self.last_enroll = Some(self.now);
        self.enrolling = true;
    }

    fn check_fetch(&mut self, key: NodeKey) {
        assert!(!self.enrolling && self.fetching.is_none(), "two questions at once");
        assert_eq!(self.saved.as_ref(), Some(&key), "a key is saved before it is used");
        assert!(!self.rejected.contains(key.expose()), "a rejected key is used again");
        assert!(self.shutdown_at.is_none());
        if let Some((_, last)) = self.last_fetch.as_ref().filter(|(last, _)| *last == key) {
            let floor = self.pace.poll.first * 4 / 5;
            assert!(self.now - *last >= floor, "after {:?}", self.now - *last);
        }
        self.check_not_busy();
        self.last_fetch = Some((key.clone(), self.now));
        self.fetching = Some(key);
    }

    fn check_not_busy(&mut self) {
        let until = self.busy_until.take();
        assert!(until.is_none_or(|until| until <= self.now), "a busy server is not obeyed");
    }

    /// Unless it is done, the machine waits for an answer or for a time.
    fn check_liveness(&self) {
        let waits = self.enrolling || self.saving.is_some() || self.fetching.is_some();
        let stopped = matches!(self.state(), State::Stopped);
        assert!(stopped || waits || self.state().deadline().is_some(), "it is stuck");
        assert_eq!(stopped, self.exits == 1);
    }

    /// Lets the walk end with a shutdown in which nobody answers any more.
    fn check_shutdown_ends(&mut self) {
        self.take(Step::Shutdown);
        let longest = self.pace.osqueryd_grace + self.pace.shutdown_grace;
        self.pass(longest);
        assert!(matches!(self.state(), State::Stopped), "after {longest:?}");
        assert!(!self.osqueryd_up || self.stop_ordered, "osqueryd was not even asked to end");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_must_never_happen_happens(
        start in start(),
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut world = World::new(start);
        for step in steps {
            world.take(step);
        }
        world.check_shutdown_ends();
    }
}

/// What the walk has not met it shows nothing about.
#[test]
fn the_walk_meets_every_event_in_every_state_every_action_and_what_parts_may_be_in() {
    let mut runner = TestRunner::deterministic();
    let walk = (start(), prop::collection::vec(step(), 100..200));
    let (mut met, mut actions, mut inner) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for _ in 0..3_000 {
        let (start, steps) = walk.new_tree(&mut runner).unwrap().current();
        let mut world = World::new(start);
        inner.append(&mut parts(world.state()));
        for step in steps {
            world.take(step);
            inner.append(&mut parts(world.state()));
        }
        met.append(&mut world.met);
        actions.append(&mut world.actions);
    }
    let all = STATES.into_iter().flat_map(|state| EVENTS.map(|event| (state, event)));
    assert_eq!(met, all.collect());
    assert_eq!(actions, BTreeSet::from(ACTIONS));
    let of = |(part, words): (&'static str, &[&str])| {
        words.iter().map(|word| (part, (*word).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(inner, PARTS.into_iter().flat_map(of).collect());
}
