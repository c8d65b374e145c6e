//! Stories of the state machine: events in, actions out.

use std::time::{Duration, Instant};

use agent::machine::{
    Action, Beginning, EnrollFailure, Event, FetchFailure, Flags, News, Pace, Probation,
    SaveFailure, State,
};
use serde_json::json;
use wire::{NodeKey, orbit::AgentConfig};

/// A machine with a clock that moves when it is told to.
struct Story {
    state: Option<State>,
    now: Instant,
}

impl Story {
    fn begin(node_key: Option<&str>, osqueryd_installed: bool) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a story begins somewhere")]
        let now = Instant::now();
        let node_key = node_key.map(key);
        Self::of(Beginning { node_key, osqueryd_installed, ..nothing() }, now)
    }

    fn of(beginning: Beginning, now: Instant) -> Self {
        Self { state: Some(State::begin(beginning, now)), now }
    }

    /// What an event leads to.
    fn on(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.state = self.state.take().map(|state| state.on(event, self.now, &mut actions));
        actions
    }

    fn wait(&self) -> Duration {
        self.state().deadline().expect("something is waited for") - self.now
    }

    /// Lets time pass to the next deadline.
    fn timer(&mut self) -> Vec<Action> {
        self.now += self.wait();
        self.on(Event::Timer)
    }

    fn state(&self) -> &State {
        self.state.as_ref().expect("a machine is always in a state")
    }

    /// From nothing to a first poll that was answered with `flags`.
    fn enrolled(&mut self, flags: Flags) -> Vec<Action> {
        assert_eq!(self.timer(), [Action::Enroll]);
        assert_eq!(self.on(Event::Enrolled(Ok(key("a")))), [Action::SaveNodeKey(key("a"))]);
        assert_eq!(self.on(Event::NodeKeySaved(Ok(()))), [Action::FetchConfig(key("a"))]);
        self.on(configured(flags))
    }
}

/// A device with nothing, and no updates for it.
fn nothing() -> Beginning {
    Beginning {
        node_key: None,
        flags: Flags::new(),
        osqueryd_installed: false,
        osqueryd_trial: None,
        updates: false,
        logs_more: None,
        probation: Probation::None,
        pace: Pace::default(),
        seed: 7,
    }
}

fn key(text: &str) -> NodeKey {
    NodeKey::new(text).unwrap()
}

fn configured(flags: Flags) -> Event {
    Event::ConfigFetched(Ok(AgentConfig {
        command_line_startup_flags: flags,
        ..AgentConfig::default()
    }))
}

fn verbose() -> Flags {
    Flags::from([("verbose".to_owned(), json!(true))])
}

fn check_near(delay: Duration, seconds: u64) {
    let expected = Duration::from_secs(seconds);
    assert!(delay >= expected * 4 / 5 && delay <= expected * 6 / 5, "{delay:?}, not ~{expected:?}");
}

#[test]
fn a_fresh_device_enrolls_and_then_polls() {
    let mut story = Story::begin(None, false);
    assert_eq!(story.wait(), Duration::ZERO);
    assert_eq!(story.enrolled(Flags::new()), []);
    assert_eq!(story.state().name(), "running");
    check_near(story.wait(), 30);
    assert_eq!(story.timer(), [Action::FetchConfig(key("a"))]);
}

#[test]
fn an_enrolled_device_polls_with_the_key_that_it_has() {
    let mut story = Story::begin(Some("a"), false);
    assert_eq!(story.timer(), [Action::FetchConfig(key("a"))]);
}

#[test]
fn a_key_that_the_server_replaces_is_saved_and_then_used() {
    let told = || {
        let orbit_node_key = Some(key("b"));
        Event::ConfigFetched(Ok(AgentConfig { orbit_node_key, ..AgentConfig::default() }))
    };
    let mut story = Story::begin(Some("a"), false);
    assert_eq!(story.timer(), [Action::FetchConfig(key("a"))]);
    assert_eq!(story.on(told()), [Action::ReplaceNodeKey(key("b"))]);
    assert_eq!(story.on(Event::NodeKeySaved(Err(SaveFailure))), []);
    check_near(story.wait(), 30);
    assert_eq!(story.timer(), [Action::FetchConfig(key("a"))], "the old one is good still");
    assert_eq!(story.on(told()), [Action::ReplaceNodeKey(key("b"))]);
    assert_eq!(story.on(Event::NodeKeySaved(Ok(()))), []);
    check_near(story.wait(), 30);
    assert_eq!(story.timer(), [Action::FetchConfig(key("b"))]);
}

#[test]
fn enrolling_backs_off_and_stays_at_its_slowest() {
    let mut story = Story::begin(None, false);
    assert_eq!(story.timer(), [Action::Enroll]);
    for seconds in [10, 20, 40, 80, 160, 160, 160] {
        assert_eq!(story.on(Event::Enrolled(Err(EnrollFailure::Failed))), []);
        check_near(story.wait(), seconds);
        assert_eq!(story.timer(), [Action::Enroll]);
    }
}

#[test]
fn what_a_person_must_mend_is_tried_slowly() {
    for failure in
        [EnrollFailure::NoSecret, EnrollFailure::SecretRefused, EnrollFailure::NoSuchAddress]
    {
        let mut story = Story::begin(None, false);
        assert_eq!(story.timer(), [Action::Enroll]);
        assert_eq!(story.on(Event::Enrolled(Err(failure))), []);
        check_near(story.wait(), 300);
    }
}

#[test]
fn a_busy_server_is_obeyed_within_reason() {
    let mut story = Story::begin(None, false);
    assert_eq!(story.timer(), [Action::Enroll]);
    for (asked, expected) in [(600, 600), (86_400, 3_600)] {
        let busy = EnrollFailure::Busy(Duration::from_secs(asked));
        assert_eq!(story.on(Event::Enrolled(Err(busy))), []);
        assert!(story.wait() >= Duration::from_secs(expected), "{:?}", story.wait());
        assert!(story.wait() <= Duration::from_secs(expected * 6 / 5), "{:?}", story.wait());
        assert_eq!(story.timer(), [Action::Enroll]);
    }
}

#[test]
fn polling_backs_off_and_recovers() {
    let mut story = Story::begin(Some("a"), false);
    for seconds in [30, 60, 120, 240, 300, 300] {
        assert_eq!(story.timer(), [Action::FetchConfig(key("a"))]);
        assert_eq!(story.on(Event::ConfigFetched(Err(FetchFailure::Failed))), []);
        check_near(story.wait(), seconds);
    }
    assert_eq!(story.timer(), [Action::FetchConfig(key("a"))]);
    assert_eq!(story.on(configured(Flags::new())), []);
    check_near(story.wait(), 30);
}

#[test]
fn rejected_node_key_enrolls_again() {
    let mut story = Story::begin(Some("a"), false);
    assert_eq!(story.timer(), [Action::FetchConfig(key("a"))]);
    let rejected = || Event::ConfigFetched(Err(FetchFailure::KeyRejected));
    assert_eq!(story.on(rejected()), [Action::ForgetNodeKey]);
    assert_eq!(story.wait(), Duration::ZERO, "a key that once worked is replaced at once");
    for seconds in [10, 20, 40] {
        assert_eq!(story.timer(), [Action::Enroll]);
        assert_eq!(story.on(Event::Enrolled(Ok(key("b")))), [Action::SaveNodeKey(key("b"))]);
        assert_eq!(story.on(Event::NodeKeySaved(Ok(()))), [Action::FetchConfig(key("b"))]);
        assert_eq!(story.on(rejected()), [Action::ForgetNodeKey]);
        check_near(story.wait(), seconds);
    }
}

#[test]
fn a_key_is_saved_before_it_is_used() {
    let mut story = Story::begin(None, false);
    assert_eq!(story.timer(), [Action::Enroll]);
    assert_eq!(story.on(Event::Enrolled(Ok(key("a")))), [Action::SaveNodeKey(key("a"))]);
    assert_eq!(story.on(Event::NodeKeySaved(Err(SaveFailure))), []);
    assert_eq!(story.timer(), [Action::SaveNodeKey(key("a"))]);
    assert_eq!(story.on(Event::NodeKeySaved(Ok(()))), [Action::FetchConfig(key("a"))]);
}

#[test]
fn osqueryd_starts_once_the_server_has_spoken_or_failed_to() {
    let mut story = Story::begin(None, true);
    let kept = Action::KeepFlags(verbose());
    assert_eq!(story.enrolled(verbose()), [kept, Action::StartOsqueryd(verbose())]);
    let mut story = Story::begin(Some("a"), true);
    assert_eq!(story.timer(), [Action::FetchConfig(key("a"))]);
    let failed = Event::ConfigFetched(Err(FetchFailure::Failed));
    assert_eq!(story.on(failed), [Action::StartOsqueryd(Flags::new())]);
}

#[test]
fn changed_flags_restart_osqueryd() {
    let mut story = Story::begin(None, true);
    assert_eq!(story.enrolled(Flags::new()), [Action::StartOsqueryd(Flags::new())]);
    assert_eq!(story.timer(), [Action::FetchConfig(key("a"))]);
    assert_eq!(story.on(configured(Flags::new())), [], "the same flags change nothing");
    assert_eq!(story.timer(), [Action::FetchConfig(key("a"))]);
    let kept = Action::KeepFlags(verbose());
    assert_eq!(story.on(configured(verbose())), [kept, Action::StopOsqueryd]);
    assert_eq!(story.on(Event::OsquerydExited), [Action::StartOsqueryd(verbose())]);
}

#[test]
fn replaced_certificates_restart_osqueryd() {
    let mut story = Story::begin(None, true);
    story.enrolled(Flags::new());
    assert_eq!(story.on(Event::OsquerydOutdated), [Action::StopOsqueryd]);
    assert_eq!(story.on(Event::OsquerydOutdated), [], "it is ending already");
    assert_eq!(story.on(Event::OsquerydExited), [Action::StartOsqueryd(Flags::new())]);
    assert_eq!(story.on(Event::OsquerydExited), []);
    let resting = "what kept it from running may be mended";
    assert_eq!(
        story.on(Event::OsquerydOutdated),
        [Action::StartOsqueryd(Flags::new())],
        "{resting}"
    );
}

#[test]
fn a_crashed_osqueryd_is_restarted_with_backoff() {
    let mut story = Story::begin(None, true);
    story.enrolled(Flags::new());
    for seconds in [1, 2, 4, 8] {
        assert_eq!(story.on(Event::OsquerydExited), []);
        check_near(story.wait(), seconds);
        assert_eq!(story.timer(), [Action::StartOsqueryd(Flags::new())]);
    }
    story.now += Duration::from_secs(61);
    assert_eq!(story.on(Event::OsquerydExited), [Action::ReportOsquerydWell]);
    assert_eq!(story.on(Event::Timer), [Action::FetchConfig(key("a"))], "a poll is due meanwhile");
    check_near(story.wait(), 1);
}

#[test]
fn an_osqueryd_that_only_crashes_is_reported_once_and_so_is_its_recovery() {
    let mut story = Story::begin(None, true);
    story.enrolled(Flags::new());
    let start = Action::StartOsqueryd(Flags::new());
    for crash in 1..=7 {
        let told = if crash == 5 { vec![Action::ReportOsquerydLoop] } else { vec![] };
        assert_eq!(story.on(Event::OsquerydExited), told, "crash {crash}");
        while !story.timer().contains(&start) {
            let _ = story.on(configured(Flags::new()));
        }
    }
    let begun = story.now;
    while !story.timer().contains(&Action::ReportOsquerydWell) {
        let _ = story.on(configured(Flags::new()));
    }
    assert_eq!(story.now - begun, Duration::from_mins(1));
    assert_eq!(story.on(Event::OsquerydExited), [], "one crash is none to speak of");
}

fn wished(seconds: Option<u32>) -> Event {
    Event::ConfigFetched(Ok(AgentConfig { debug_for_seconds: seconds, ..AgentConfig::default() }))
}

#[test]
fn more_is_logged_for_as_long_as_the_server_wishes() {
    let minutes = |minutes| Action::LogMore(Duration::from_mins(minutes));
    let mut story = Story::begin(Some("a"), false);
    let _ = story.timer();
    assert_eq!(story.on(wished(Some(3600))), [minutes(60)]);
    let begun = story.now;
    let _ = story.timer();
    let left = 3600 - u32::try_from((story.now - begun).as_secs()).unwrap();
    assert_eq!(story.on(wished(Some(left))), [], "that is the same wish");
    let _ = story.timer();
    assert_eq!(story.on(wished(None)), [Action::LogAsUsual], "it was withdrawn");
    let _ = story.timer();
    assert_eq!(story.on(wished(Some(u32::MAX))), [minutes(24 * 60)], "a day at most");
    let _ = story.timer();
    assert_eq!(story.on(wished(Some(600))), [minutes(10)]);
    let begun = story.now;
    while !story.timer().contains(&Action::LogAsUsual) {
        let _ = story.on(Event::ConfigFetched(Err(FetchFailure::Failed)));
    }
    assert_eq!(story.now - begun, Duration::from_mins(10), "without a server too");
}

#[test]
fn what_an_earlier_run_has_left_of_it_goes_on() {
    #[expect(clippy::disallowed_methods, reason = "a story begins somewhere")]
    let now = Instant::now();
    let logs_more = Some(Duration::from_secs(7));
    let mut story = Story::of(Beginning { logs_more, ..nothing() }, now);
    assert_eq!(story.timer(), [Action::Enroll]);
    assert_eq!(story.wait(), Duration::from_secs(7));
    assert_eq!(story.timer(), [Action::LogAsUsual]);
}

#[test]
fn a_rejected_key_stops_osqueryd_until_the_device_is_enrolled_again() {
    let mut story = Story::begin(None, true);
    story.enrolled(Flags::new());
    assert_eq!(story.timer(), [Action::FetchConfig(key("a"))]);
    let rejected = Event::ConfigFetched(Err(FetchFailure::KeyRejected));
    assert_eq!(story.on(rejected), [Action::ForgetNodeKey, Action::StopOsqueryd]);
    assert_eq!(story.timer(), [Action::Enroll]);
    assert_eq!(story.on(Event::OsquerydExited), []);
    assert_eq!(story.on(Event::Enrolled(Ok(key("b")))), [Action::SaveNodeKey(key("b"))]);
    assert_eq!(story.on(Event::NodeKeySaved(Ok(()))), [Action::FetchConfig(key("b"))]);
    let kept = Action::KeepFlags(verbose());
    assert_eq!(story.on(configured(verbose())), [kept, Action::StartOsqueryd(verbose())]);
}

#[test]
fn a_shutdown_waits_for_osqueryd_then_kills_it_then_leaves() {
    let mut story = Story::begin(None, true);
    story.enrolled(Flags::new());
    assert_eq!(story.on(Event::ShutdownRequested), [Action::StopOsqueryd]);
    assert_eq!(story.wait(), Duration::from_secs(10));
    assert_eq!(story.timer(), [Action::KillOsqueryd]);
    assert_eq!(story.wait(), Duration::from_secs(2));
    assert_eq!(story.timer(), [Action::Exit]);
    assert_eq!(story.state().name(), "stopped");
}

#[test]
fn a_shutdown_without_osqueryd_is_immediate() {
    let mut story = Story::begin(None, true);
    assert_eq!(story.on(Event::ShutdownRequested), [Action::Exit]);
}

#[test]
fn a_key_that_arrives_during_shutdown_is_kept() {
    let mut story = Story::begin(None, true);
    story.enrolled(Flags::new());
    assert_eq!(story.timer(), [Action::FetchConfig(key("a"))]);
    story.on(Event::ConfigFetched(Err(FetchFailure::KeyRejected)));
    assert_eq!(story.timer(), [Action::Enroll]);
    assert_eq!(story.on(Event::ShutdownRequested), []);
    assert_eq!(story.on(Event::Enrolled(Ok(key("b")))), [Action::SaveNodeKey(key("b"))]);
    assert_eq!(story.on(Event::OsquerydExited), [Action::Exit]);
}

#[test]
fn after_a_restart_without_a_server_osqueryd_runs_with_the_flags_that_it_last_had() {
    #[expect(clippy::disallowed_methods, reason = "a story begins somewhere")]
    let now = Instant::now();
    let (node_key, flags, pace) = (Some(key("a")), verbose(), Pace::default());
    let beginning = Beginning { node_key, flags, osqueryd_installed: true, pace, ..nothing() };
    let mut story = Story::of(beginning, now);
    assert_eq!(story.timer(), [Action::FetchConfig(key("a"))]);
    let failed = Event::ConfigFetched(Err(FetchFailure::Failed));
    assert_eq!(story.on(failed), [Action::StartOsqueryd(verbose())]);
    assert_eq!(story.timer(), [Action::FetchConfig(key("a"))]);
    assert_eq!(story.on(configured(verbose())), [], "what is on disk is not written again");
}

/// A machine that looks for updates, with a key and an osqueryd.
fn updating(probation: Probation) -> Story {
    #[expect(clippy::disallowed_methods, reason = "a story begins somewhere")]
    let now = Instant::now();
    let node_key = Some(key("a"));
    let beginning =
        Beginning { node_key, osqueryd_installed: true, updates: true, probation, ..nothing() };
    Story::of(beginning, now)
}

fn orbit_is_there() -> Event {
    Event::UpdatesSeen(News { orbit: true, osqueryd: false })
}

fn osqueryd_is_there() -> Event {
    Event::UpdatesSeen(News { orbit: false, osqueryd: true })
}

#[test]
fn updates_are_looked_for_before_osqueryd_starts_and_then_at_intervals() {
    let mut story = updating(Probation::None);
    assert_eq!(story.timer(), [Action::LookForUpdates, Action::FetchConfig(key("a"))]);
    assert_eq!(story.on(configured(Flags::new())), [], "osqueryd waits for the first look");
    let seen = story.on(Event::UpdatesSeen(News::default()));
    assert_eq!(seen, [Action::StartOsqueryd(Flags::new())]);
    let mut waited = Duration::ZERO;
    while waited < Duration::from_mins(12) {
        waited += story.wait();
        let actions = story.timer();
        if actions.contains(&Action::LookForUpdates) {
            break;
        }
        if actions != [Action::ReportOsquerydWell] {
            assert_eq!(actions, [Action::FetchConfig(key("a"))]);
            assert_eq!(story.on(configured(Flags::new())), []);
        }
    }
    check_near(waited, 900);
}

#[test]
fn osqueryd_does_not_wait_for_a_slow_repository() {
    let mut story = updating(Probation::None);
    let _ = story.timer();
    let _ = story.on(configured(Flags::new()));
    let begun = story.now;
    while !story.timer().contains(&Action::StartOsqueryd(Flags::new())) {
        let _ = story.on(configured(Flags::new()));
    }
    assert_eq!(story.now - begun, Duration::from_mins(1));
}

#[test]
fn a_new_agent_takes_over_once_osqueryd_is_gone() {
    let mut story = updating(Probation::None);
    let _ = story.timer();
    let _ = story.on(configured(Flags::new()));
    let _ = story.on(Event::UpdatesSeen(News::default()));
    assert_eq!(story.on(orbit_is_there()), [Action::StopOsqueryd]);
    assert_eq!(story.on(Event::OsquerydExited), [Action::HandOver]);
    assert_eq!(story.state().name(), "stopped");
}

#[test]
fn nobody_takes_over_once_the_agent_was_asked_to_stop() {
    let mut story = updating(Probation::None);
    let _ = story.timer();
    let _ = story.on(configured(Flags::new()));
    let _ = story.on(Event::UpdatesSeen(News::default()));
    let _ = story.on(orbit_is_there());
    assert_eq!(story.on(Event::ShutdownRequested), []);
    assert_eq!(story.on(Event::OsquerydExited), [Action::Exit]);

    let mut story = updating(Probation::None);
    let _ = story.timer();
    assert_eq!(story.on(Event::ShutdownRequested), [Action::Exit]);
    assert_eq!(story.on(orbit_is_there()), []);
}

#[test]
fn a_new_agent_proves_itself_by_reaching_the_server() {
    let mut story = updating(Probation::Own);
    let _ = story.timer();
    assert_eq!(story.on(configured(Flags::new())), [Action::ProveOrbit]);
    let _ = story.on(Event::UpdatesSeen(News::default()));
    let _ = story.timer();
    assert_eq!(story.on(configured(Flags::new())), [], "once");
}

/// Lets ten minutes pass without a good answer from the server.
fn ten_minutes_of_silence(story: &mut Story) -> Vec<Action> {
    let begun = story.now;
    let mut actions = Vec::new();
    while story.now - begun < Duration::from_mins(10) {
        actions = story.timer();
        if actions.contains(&Action::FetchConfig(key("a"))) {
            actions.extend(story.on(Event::ConfigFetched(Err(FetchFailure::Failed))));
        }
    }
    assert_eq!(story.now - begun, Duration::from_mins(10));
    actions
}

#[test]
fn a_new_agent_that_does_not_reach_the_server_makes_way() {
    let mut story = updating(Probation::Own);
    let _ = story.timer();
    let _ = story.on(Event::UpdatesSeen(News::default()));
    let _ = story.on(Event::ConfigFetched(Err(FetchFailure::Failed)));
    let actions = ten_minutes_of_silence(&mut story);
    assert!(actions.contains(&Action::RevertOrbit), "{actions:?}");
    let _ = story.on(Event::OsquerydExited);
    assert_eq!(story.state().name(), "stopped");
}

#[test]
fn the_older_agent_is_put_to_the_same_test() {
    let mut story = updating(Probation::Suspect);
    let _ = story.timer();
    assert_eq!(story.on(configured(Flags::new())), [Action::CondemnOrbit]);

    let mut story = updating(Probation::Suspect);
    let _ = story.timer();
    let _ = story.on(Event::UpdatesSeen(News::default()));
    let _ = story.on(Event::ConfigFetched(Err(FetchFailure::Failed)));
    let actions = ten_minutes_of_silence(&mut story);
    assert!(actions.contains(&Action::AcquitOrbit), "{actions:?}");
    assert_eq!(story.state().name(), "running");
}

#[test]
fn a_start_that_is_broken_off_in_order_does_not_count() {
    let mut story = updating(Probation::Own);
    let _ = story.timer();
    let actions = story.on(Event::ShutdownRequested);
    assert_eq!(actions, [Action::ForgiveStart, Action::Exit]);
}

#[test]
fn a_new_osqueryd_is_restarted_alone_and_proves_itself_by_running() {
    let mut story = updating(Probation::None);
    let _ = story.timer();
    let _ = story.on(configured(Flags::new()));
    let _ = story.on(Event::UpdatesSeen(News::default()));
    assert_eq!(story.on(osqueryd_is_there()), [Action::StopOsqueryd]);
    assert_eq!(story.on(Event::OsquerydExited), [Action::StartOsqueryd(Flags::new())]);
    let begun = story.now;
    while !story.timer().contains(&Action::ProveOsqueryd) {
        let _ = story.on(configured(Flags::new()));
    }
    assert_eq!(story.now - begun, Duration::from_mins(1));
}

#[test]
fn a_new_osqueryd_that_ends_three_times_is_taken_back() {
    let mut story = updating(Probation::None);
    let _ = story.timer();
    let _ = story.on(configured(Flags::new()));
    let _ = story.on(Event::UpdatesSeen(News::default()));
    let _ = story.on(osqueryd_is_there());
    let _ = story.on(Event::OsquerydExited);
    let start = Action::StartOsqueryd(Flags::new());
    for _ in 0..2 {
        assert_eq!(story.on(Event::OsquerydExited), []);
        while !story.timer().contains(&start) {
            let _ = story.on(configured(Flags::new()));
        }
    }
    assert_eq!(story.on(Event::OsquerydExited), [Action::RevertOsqueryd]);
    while !story.timer().contains(&start) {
        let _ = story.on(configured(Flags::new()));
    }
}
