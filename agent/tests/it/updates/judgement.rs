//! What is decided about an offer: taken, waited for, refused.

use agent::updater::{
    judge::{Subject, Verdict, Wait, judge},
    ledger::{Entry, Fault, Installed, Ledger, STARTS, Start},
};
use jiff::{SignedDuration, Timestamp};
use update::{
    release::{Release, ReleaseFile, Wave},
    repository::Offer,
};
use wire::orbit::Tally;

pub(super) fn at(hours: i64) -> Timestamp {
    "2026-03-01T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hours)
}

pub(super) fn offer(version: &str) -> Offer {
    let target = format!("sha256 of {version}");
    let file = ReleaseFile { target: "orbit/linux/x/orbit".to_owned(), length: 7, sha256: target };
    let release = Release {
        version: version.to_owned(),
        files: vec![file.clone()],
        waves: Vec::new(),
        min_agent: None,
        critical: false,
        paused: false,
        allow_downgrade: false,
        max_failure_percent: None,
    };
    Offer { release, file, modified: None, manifest_sha256: None }
}

pub(super) fn installed(version: &str) -> Installed {
    Installed {
        version: version.to_owned(),
        target: format!("sha256 of {version}"),
        program: "orbit".to_owned(),
        program_sha256: String::new(),
    }
}

pub(super) fn subject(entry: &Entry) -> Subject<'_> {
    Subject {
        device: "4C4C4544-0042-3510-8054-B9C04F4D3132",
        installed: Some("1.0.0"),
        agent: "1.0.0",
        entry,
        tally: None,
        interval: SignedDuration::from_mins(15),
    }
}

fn wait(verdict: &Verdict) -> &Wait {
    match verdict {
        Verdict::Wait(wait) => wait,
        Verdict::UpToDate | Verdict::Begin => panic!("{verdict:?}"),
    }
}

#[test]
fn a_newer_version_is_begun_with_and_the_same_one_is_not() {
    let entry = Entry::default();
    assert_eq!(judge(&offer("1.1.0"), &subject(&entry), at(0)), Verdict::Begin);
    assert_eq!(judge(&offer("1.0.0"), &subject(&entry), at(0)), Verdict::UpToDate);
    let unknown = Subject { installed: None, ..subject(&entry) };
    assert_eq!(judge(&offer("1.0.0"), &unknown, at(0)), Verdict::Begin);
}

#[test]
fn an_older_version_is_begun_with_only_where_that_was_signed() {
    let entry = Entry::default();
    let mut older = offer("0.9.0");
    assert_eq!(wait(&judge(&older, &subject(&entry), at(0))), &Wait::Older);
    older.release.allow_downgrade = true;
    assert_eq!(judge(&older, &subject(&entry), at(0)), Verdict::Begin);
}

#[test]
fn what_a_release_demands_is_kept_to() {
    let entry = Entry::default();
    let mut offer = offer("1.10.0");
    offer.release.min_agent = Some("1.9".to_owned());
    let needs = Wait::NeedsAgent { version: "1.9".to_owned() };
    assert_eq!(wait(&judge(&offer, &subject(&entry), at(0))), &needs);
    let newer = Subject { agent: "1.9.0", ..subject(&entry) };
    assert_eq!(judge(&offer, &newer, at(0)), Verdict::Begin);
    offer.release.paused = true;
    assert_eq!(wait(&judge(&offer, &newer, at(0))), &Wait::Paused);
}

#[test]
fn a_version_that_is_no_folder_name_is_refused() {
    let entry = Entry::default();
    for version in ["../../etc", "packaged", "", "1.2.3/../../x", "stable"] {
        let verdict = judge(&offer(version), &subject(&entry), at(0));
        assert_eq!(wait(&verdict), &Wait::NoVersion, "{version}");
    }
}

#[test]
fn a_device_waits_for_its_wave_and_knows_when_it_starts() {
    let entry = Entry::default();
    let mut offer = offer("1.1.0");
    let seed = offer.release.seed(subject(&entry).device);
    offer.release.waves =
        vec![Wave { seeds: seed, start: at(0) }, Wave { seeds: 2048, start: at(24) }];
    let due = Wait::Wave { due_at: Some(at(24)) };
    assert_eq!(wait(&judge(&offer, &subject(&entry), at(23))), &due);
    assert_eq!(judge(&offer, &subject(&entry), at(24)), Verdict::Begin);
    offer.release.critical = true;
    assert_eq!(judge(&offer, &subject(&entry), at(0)), Verdict::Begin);
}

#[test]
fn a_release_that_fails_elsewhere_is_not_begun_with() {
    let entry = Entry::default();
    let mut offer = offer("1.1.0");
    offer.release.max_failure_percent = Some(5);
    let after = |attempts, failures| {
        let tally = Some(Tally { attempts, failures });
        judge(&offer, &Subject { tally, ..subject(&entry) }, at(0))
    };
    assert_eq!(after(0, 0), Verdict::Begin);
    assert_eq!(after(3, 1), Verdict::Begin, "one failure is no rate");
    assert_eq!(wait(&after(3, 2)), &Wait::Failing(Tally { attempts: 3, failures: 2 }));
    assert_eq!(after(1_000, 50), Verdict::Begin);
    assert_eq!(wait(&after(1_000, 51)), &Wait::Failing(Tally { attempts: 1_000, failures: 51 }));
    assert_eq!(after(u64::MAX, u64::MAX / 50), Verdict::Begin);
    assert!(matches!(wait(&after(u64::MAX, u64::MAX / 10)), Wait::Failing(_)));
}

#[test]
fn a_version_is_started_three_times_and_then_blocked_until_another_is_offered() {
    let mut entry = Entry::default();
    entry.stage(installed("1.1.0"));
    for _ in 0..STARTS {
        assert_eq!(entry.start(), Start::OnTrial(installed("1.1.0")));
        assert_eq!(wait(&judge(&offer("1.1.0"), &subject(&entry), at(0))), &Wait::OnTrial);
    }
    assert_eq!(entry.start(), Start::Proven);
    assert_eq!(
        wait(&judge(&offer("1.1.0"), &subject(&entry), at(0))),
        &Wait::Blocked(Fault::Ended)
    );
    assert_eq!(judge(&offer("1.1.1"), &subject(&entry), at(0)), Verdict::Begin);
    entry.offered("sha256 of 1.1.0");
    assert!(entry.blocked.is_some());
    entry.offered("sha256 of 1.1.1");
    assert!(entry.blocked.is_none());
}

#[test]
fn starts_that_end_in_order_do_not_count() {
    let mut entry = Entry::default();
    entry.stage(installed("1.1.0"));
    for _ in 0..10 {
        assert_eq!(entry.start(), Start::OnTrial(installed("1.1.0")));
        entry.forgive_start();
    }
}

#[test]
fn silence_is_blamed_on_a_version_only_if_the_one_before_is_heard() {
    let mut entry = Entry::default();
    entry.stage(installed("1.1.0"));
    entry.suspect();
    assert_eq!(wait(&judge(&offer("1.1.0"), &subject(&entry), at(0))), &Wait::OnTrial);
    let mut heard = entry.clone();
    heard.condemn();
    assert_eq!(heard.blocked.unwrap().fault, Fault::Silent);
    entry.acquit(at(0));
    assert_eq!(entry.blocked, None);
    let soon = judge(&offer("1.1.0"), &subject(&entry), at(0) + SignedDuration::from_mins(14));
    assert!(matches!(wait(&soon), Wait::BackingOff { .. }), "{soon:?}");
    assert_eq!(judge(&offer("1.1.0"), &subject(&entry), at(1)), Verdict::Begin);
}

#[test]
fn a_file_that_cannot_be_had_is_tried_ever_less_often_and_at_least_daily() {
    let mut entry = Entry::default();
    let mut now = at(0);
    for expected_minutes in [15, 30, 60, 120, 240, 480, 960, 1_440, 1_440] {
        entry.fail_to_bring("sha256 of 1.1.0", "cut off".to_owned(), now);
        let verdict = judge(&offer("1.1.0"), &subject(&entry), now);
        let Wait::BackingOff { until } = wait(&verdict) else { panic!("{verdict:?}") };
        assert_eq!(until.duration_since(now), SignedDuration::from_mins(expected_minutes));
        now = *until;
        assert_eq!(judge(&offer("1.1.0"), &subject(&entry), now), Verdict::Begin);
    }
    assert_eq!(judge(&offer("1.1.1"), &subject(&entry), now), Verdict::Begin);
}

#[test]
fn a_failure_from_the_future_blocks_nothing() {
    let mut entry = Entry::default();
    entry.fail_to_bring("sha256 of 1.1.0", "cut off".to_owned(), at(24 * 365));
    assert_eq!(judge(&offer("1.1.0"), &subject(&entry), at(0)), Verdict::Begin);
}

#[test]
fn a_ledger_survives_being_written_and_a_damaged_one_is_an_empty_one() {
    let mut ledger = Ledger::default();
    ledger.orbit.stage(installed("1.1.0"));
    ledger.osqueryd.fail_to_bring("target", "cut off".to_owned(), at(0));
    let text = String::from_utf8(ledger.to_json()).unwrap();
    assert_eq!(Ledger::from_json(&text), ledger);
    for length in 0..text.len() - 2 {
        assert_eq!(Ledger::from_json(&text[..length]), Ledger::default(), "{length}");
    }
    assert_eq!(Ledger::from_json(r#"{"orbit":{"trial":7}}"#), Ledger::default());
}

#[test]
fn what_a_later_version_has_written_does_not_hide_what_failed() {
    let mut ledger = Ledger::default();
    ledger.orbit.stage(installed("1.1.0"));
    ledger.orbit.fail(Fault::Ended);
    ledger.orbit.fail_to_bring("target", "cut off".to_owned(), at(0));
    let mut written: serde_json::Value = serde_json::from_slice(&ledger.to_json()).unwrap();
    written["orbit"]["blocked"]["fault"] = "seized".into();
    written["orbit"]["failure"] = "told otherwise".into();
    written["orbit"]["suspect"] = serde_json::json!({ "version": 2 });
    written["channels"] = 7.into();
    written["osqueryd"] = "gone".into();
    let read = Ledger::from_json(&written.to_string());
    let blocked = read.orbit.blocked.as_ref().unwrap();
    assert_eq!((blocked.version.as_str(), blocked.fault), ("1.1.0", Fault::Other));
    let verdict = judge(&offer("1.1.0"), &subject(&read.orbit), at(0));
    assert_eq!(wait(&verdict), &Wait::Blocked(Fault::Other));
    assert_eq!((&read.orbit.failure, &read.orbit.suspect), (&None, &None));
}
