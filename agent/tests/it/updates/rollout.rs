//! A release in waves on a thousand devices, and one that fails on them.

use std::collections::BTreeMap;

use agent::updater::{
    judge::{Subject, Verdict, Wait, judge},
    ledger::{Entry, Fault, Start},
};
use jiff::{SignedDuration, Timestamp};
use update::{release::Wave, repository::Offer};
use wire::orbit::{ComponentUpdate, Tally, UpdateState};

use super::{
    counting::Server,
    judgement::{at, installed, offer, subject},
};

/// A device that looks for updates four times an hour, and the last that it said.
struct Device {
    name: String,
    version: String,
    entry: Entry,
    next_look: Timestamp,
    verdict: Option<Verdict>,
    has_tried: bool,
}

/// Devices, and how often the version was tried and has failed.
struct Fleet<'a> {
    devices: Vec<Device>,
    dice: fastrand::Rng,
    tally: Tally,
    /// The real one, which counts what they report.
    server: Option<&'a Server>,
}

impl<'a> Fleet<'a> {
    /// Devices that report to `server`, and decide by its numbers.
    fn at(server: &'a Server, size: usize) -> Self {
        Self { server: Some(server), ..Self::of(size) }
    }

    fn of(size: usize) -> Self {
        let mut dice = fastrand::Rng::with_seed(7);
        let devices = (0..size)
            .map(|number| Device {
                name: format!("device {number}"),
                version: "1.0.0".to_owned(),
                entry: Entry::default(),
                next_look: at(0) + SignedDuration::from_secs(dice.i64(0..900)),
                verdict: None,
                has_tried: false,
            })
            .collect();
        Self { devices, dice, tally: Tally::default(), server: None }
    }

    /// Lets `hours` pass. `works` tells which devices the version works on.
    fn run(&mut self, offer: &Offer, hours: i64, works: impl Fn(usize) -> bool) {
        let mut now = at(0);
        while now < at(hours) {
            for number in 0..self.devices.len() {
                if self.devices[number].next_look <= now {
                    self.look(number, offer, now, works(number));
                }
            }
            now += SignedDuration::from_mins(1);
        }
    }

    fn look(&mut self, number: usize, offer: &Offer, now: Timestamp, works: bool) {
        self.devices[number].entry.offered(&offer.file.sha256);
        let mut verdict = self.devices[number].judge(offer, None, now);
        if verdict == Verdict::Begin {
            let tally = self.tell(number, offer);
            verdict = self.devices[number].judge(offer, Some(tally), now);
        }
        if verdict == Verdict::Begin {
            let device = &mut self.devices[number];
            device.has_tried = true;
            self.tally.attempts += 1;
            if !device.try_out(&offer.release.version, works) {
                self.tally.failures += 1;
            }
            self.tell(number, offer);
        }
        let mut pause = self.dice.i64(720..1080);
        if self.server.is_some() && matches!(verdict, Verdict::Wait(Wait::Failing(_))) {
            // Nobody begins any more, so it would be told the same.
            pause *= 96;
        }
        let device = &mut self.devices[number];
        device.verdict = Some(verdict);
        device.next_look = now + SignedDuration::from_secs(pause);
    }

    /// Has a device report, and be told how the offer fares.
    fn tell(&self, number: usize, offer: &Offer) -> Tally {
        let Some(server) = self.server else { return self.tally };
        let told = server.tell(number, &self.devices[number].standing(offer));
        assert_eq!(told, self.tally, "the server counts who has tried it, and whom it failed");
        told
    }

    fn running(&self) -> BTreeMap<&str, usize> {
        let mut running = BTreeMap::new();
        for device in &self.devices {
            *running.entry(device.version.as_str()).or_default() += 1;
        }
        running
    }

    fn tried(&self) -> usize {
        self.devices.iter().filter(|device| device.has_tried).count()
    }
}

impl Device {
    fn judge(&self, offer: &Offer, tally: Option<Tally>, now: Timestamp) -> Verdict {
        let (device, installed) = (self.name.as_str(), Some(self.version.as_str()));
        judge(offer, &Subject { device, installed, tally, ..subject(&self.entry) }, now)
    }

    /// What it tells the server.
    fn standing(&self, offer: &Offer) -> ComponentUpdate {
        let blocked = self.entry.blocked.as_ref();
        let is_current = self.version == offer.release.version;
        ComponentUpdate {
            component: "orbit".to_owned(),
            channel: "stable".to_owned(),
            version: Some(self.version.clone()),
            state: match blocked {
                Some(_) => UpdateState::RolledBack,
                None if is_current => UpdateState::Current,
                None => UpdateState::Waiting,
            },
            offered_version: Some(offer.release.version.clone()),
            due_at: None,
            blocked_version: blocked.map(|it| it.version.clone()),
            blocked_sha256: blocked.map(|it| it.target.clone()),
            failures: 0,
            detail: None,
        }
    }

    /// As the service manager has it: started until it has proven itself, or its starts are used up.
    fn try_out(&mut self, version: &str, works: bool) -> bool {
        self.entry.stage(installed(version));
        while let Start::OnTrial(started) = self.entry.start() {
            if works {
                self.version = started.version;
                self.entry.prove();
                return true;
            }
        }
        false
    }
}

fn in_waves() -> Offer {
    in_waves_of("1.1.0")
}

fn in_waves_of(version: &str) -> Offer {
    let mut offer = offer(version);
    offer.release.max_failure_percent = Some(5);
    offer.release.waves = vec![
        Wave { seeds: 21, start: at(0) },
        Wave { seeds: 205, start: at(24) },
        Wave { seeds: 2048, start: at(72) },
    ];
    offer
}

#[test]
fn a_bad_release_stops_itself_in_its_first_wave_and_every_device_is_back() {
    let mut fleet = Fleet::of(1_000);
    fleet.run(&in_waves(), 24 * 5, |_| false);
    assert_eq!(fleet.running(), BTreeMap::from([("1.0.0", 1_000)]));
    assert_eq!(fleet.tried(), 2, "two failures are more than five percent of twenty");
    for device in &fleet.devices {
        let expected =
            if device.has_tried { Wait::Blocked(Fault::Ended) } else { Wait::Failing(fleet.tally) };
        assert_eq!(device.verdict, Some(Verdict::Wait(expected)), "{}", device.name);
    }
}

/// All of it with the real server: it counts, the devices stop and are back, and it tells so.
#[test]
fn what_the_real_server_counts_stops_a_bad_release_and_its_report_says_so() {
    let server = Server::start();
    let mut fleet = Fleet::at(&server, 1_000);
    fleet.run(&in_waves_of("2.0.0"), 24 * 3 + 2, |_| false);
    let failed = fleet.tried();
    assert_eq!(fleet.tally, Tally { attempts: 2, failures: 2 });
    assert_eq!((failed, fleet.running()), (2, BTreeMap::from([("1.0.0", 1_000)])));
    let is_stopped =
        |device: &&Device| device.verdict == Some(Verdict::Wait(Wait::Failing(fleet.tally)));
    assert_eq!(fleet.devices.iter().filter(is_stopped).count(), 998);
    let of = r#"component="orbit",channel="stable""#;
    let report = server.report();
    for line in [
        format!(r#"fleet_update_devices{{{of},version="1.0.0",state="rolled_back"}} 2"#),
        format!(r#"fleet_update_devices{{{of},version="1.0.0",state="waiting"}} 998"#),
        format!(r#"fleet_update_rolled_back_devices{{{of},version="2.0.0"}} 2"#),
    ] {
        assert!(report.lines().any(|it| it == line), "no {line} in {report}");
    }
    let devices = report.lines().filter(|line| line.starts_with("fleet_update_devices{"));
    assert_eq!(devices.count(), 2, "nothing else runs: {report}");
}

/// The first two waves of a release that fails on a tenth, and of one that fails here and there: what
/// stops them is what the server tells.
#[test]
fn what_the_real_server_counts_stops_no_good_release() {
    let server = Server::start();
    let run = |version: &str, works: &dyn Fn(usize) -> bool| {
        let mut fleet = Fleet::at(&server, 1_000);
        fleet.run(&in_waves_of(version), 25, works);
        let is_stopped = |device: &&Device| matches!(device.verdict, Some(Verdict::Wait(Wait::Failing(tally))) if tally == fleet.tally);
        (fleet.devices.iter().filter(is_stopped).count(), fleet.tally)
    };
    let (stopped, tally) = run("2.1.0", &|number| number % 10 != 0);
    assert!(tally.failures * 100 > tally.attempts.max(20) * 5, "{tally:?}");
    assert!(stopped > 0, "{tally:?}");
    let (stopped, tally) = run("2.2.0", &|number| number % 100 != 0);
    assert_eq!(stopped, 0, "{tally:?}");
    assert!((70..=130).contains(&tally.attempts), "{tally:?}");
}

#[test]
fn a_release_that_fails_on_a_tenth_of_the_devices_stops_before_everybody_has_it() {
    let mut fleet = Fleet::of(1_000);
    fleet.run(&in_waves(), 24 * 5, |number| number % 10 != 0);
    let with_it = fleet.running()["1.1.0"];
    assert!(with_it < 300, "{with_it} devices have it");
    let Tally { attempts, failures } = fleet.tally;
    assert!(failures * 100 > attempts.max(20) * 5, "{failures} of {attempts}");
}

#[test]
fn a_release_that_fails_here_and_there_goes_on() {
    let mut fleet = Fleet::of(1_000);
    fleet.run(&in_waves(), 24 * 5, |number| number % 100 != 0);
    assert_eq!(fleet.running(), BTreeMap::from([("1.0.0", 10), ("1.1.0", 990)]));
}

#[test]
fn a_good_release_reaches_each_wave_when_it_starts() {
    for (hours, least, most) in [(1, 4, 20), (25, 70, 130), (73, 1_000, 1_000)] {
        let mut fleet = Fleet::of(1_000);
        fleet.run(&in_waves(), hours, |_| true);
        let with_it = fleet.running()["1.1.0"];
        assert!((least..=most).contains(&with_it), "{with_it} devices after {hours} hours");
    }
}

#[test]
fn another_file_is_tried_by_those_who_were_let_down() {
    let mut fleet = Fleet::of(1_000);
    fleet.run(&in_waves(), 24, |_| false);
    fleet.tally = Tally::default();
    for device in &mut fleet.devices {
        device.next_look = at(0);
    }
    let mut fixed = in_waves();
    fixed.release.version = "1.1.1".to_owned();
    fixed.file.sha256 = "sha256 of 1.1.1".to_owned();
    fleet.run(&fixed, 24 * 5, |_| true);
    assert_eq!(fleet.running(), BTreeMap::from([("1.1.1", 1_000)]));
}
