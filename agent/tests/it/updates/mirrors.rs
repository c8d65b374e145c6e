//! What an agent makes of repositories that are slow, busy or expired, of clocks that are wrong, and
//! of new versions of all three components.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    time::Duration,
};

use agent::tasks::updates::{Installed, Probe, Question, Seen, Updates};
use camino::Utf8PathBuf;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use update::{Channel, Component, connection::Patience};
use wire::{
    orbit::UpdateState,
    settings::{files, vars},
};

use super::releases::Releases;
use crate::{
    device::{Device, until},
    fleet::{Fleet, Mood},
    program::{Orbit, command, wait_until},
};

/// A program that answers what every version is asked before it is trusted with anything.
pub(super) const GOOD: &[u8] = b"#!/bin/sh\nexit 0\n";

/// A device with a packaged `orbit`, whose updates are at its server.
pub(super) fn device_of(fleet: &Fleet, releases: &Releases) -> Device {
    let mut device = Device::of(fleet);
    device.set(vars::UPDATE_INTERVAL, "1s");
    device.write(files::UPDATE_ROOT, &releases.root_json());
    fleet.memory().mirror.dir = releases.dir().into();
    package(&device, "orbit", "orbit", GOOD);
    device
}

/// Puts a packaged program on the device, and a pointer to it.
pub(super) fn package(device: &Device, component: &str, name: &str, content: &[u8]) {
    let folder = device.root().join("bin").join(component);
    fs::create_dir_all(folder.join("packaged")).unwrap();
    let program = folder.join("packaged").join(name);
    fs::write(&program, content).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    symlink(format!("packaged/{name}"), folder.join(name)).unwrap();
}

pub(super) fn staged(device: &Device, component: &str, version: &str) -> bool {
    let ledger = device.read("updates/ledger.json").unwrap_or_default();
    let ledger: Value = serde_json::from_str(&ledger).unwrap_or_default();
    let entry = &ledger[component];
    ["trial", "current"].iter().any(|state| entry[state]["version"] == version)
}

/// What the server was told of a component last.
fn told(fleet: &Fleet, component: &str) -> Value {
    let memory = fleet.memory();
    let last = memory.updates.last().map(|report| report["components"].clone());
    let components = last.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
    components.into_iter().find(|it| it["component"] == component).unwrap_or_default()
}

fn polls(fleet: &Fleet) -> Vec<u16> {
    let memory = fleet.memory();
    let polls = memory.mirror.answers.iter().filter(|(path, _)| path == "timestamp.json");
    polls.map(|(_, status)| *status).collect()
}

#[tokio::test]
async fn nothing_new_is_two_requests_and_a_304() {
    let (fleet, mut releases) = (Fleet::start(), Releases::new());
    releases.publish(Component::Orbit, agent::VERSION, GOOD);
    let device = device_of(&fleet, &releases);
    device
        .run(async |_| {
            until(|| polls(&fleet).len() >= 4).await;
            releases.publish(Component::Orbit, "9.9.9", GOOD);
            until(|| staged(&device, "orbit", "9.9.9")).await;
        })
        .await;
    assert_eq!(polls(&fleet)[..4], [200, 304, 304, 304]);
    let answers = &fleet.memory().mirror.answers;
    let later = answers.iter().skip_while(|(_, status)| *status != 304);
    let quiet: Vec<_> = later.take_while(|(_, status)| *status != 200).cloned().collect();
    let look = [("timestamp.json".to_owned(), 304), ("2.root.json".to_owned(), 404)];
    assert_eq!(quiet[..4], [look.clone(), look].concat(), "the next root is asked for before");
}

#[tokio::test]
async fn a_busy_mirror_is_told_of_once_and_asked_again() {
    for mood in [Mood::Status(429), Mood::Busy(1), Mood::Portal(200), Mood::Status(500)] {
        let (fleet, mut releases) = (Fleet::start(), Releases::new());
        releases.publish(Component::Orbit, "9.9.9", GOOD);
        let device = device_of(&fleet, &releases);
        fleet.memory().mirror.mood = mood.clone();
        let log = device
            .run(async |_| {
                until(|| fleet.memory().mirror.answers.len() >= 3).await;
                until(|| told(&fleet, "orbit")["state"] == "unreachable").await;
                assert!(!staged(&device, "orbit", "9.9.9"));
                fleet.memory().mirror.mood = Mood::Good;
                until(|| staged(&device, "orbit", "9.9.9")).await;
            })
            .await;
        assert_eq!(log.complaints().len(), 1, "{mood:?}: {}", log.text());
        assert!(log.text().contains("updates can be looked for again"), "{}", log.text());
    }
}

/// A look as the agent takes it, with less patience.
pub(super) async fn look(device: &Device, updates: &Updates) -> Seen {
    #[expect(clippy::disallowed_methods, reason = "what is published is signed by this clock")]
    let now = Timestamp::now();
    let installed = Installed {
        component: Component::Orbit,
        channel: Channel::stable(),
        version: Some("1.0.0".to_owned()),
        entry: agent::updater::read_ledger(&device.root()).orbit,
        busy: Vec::new(),
    };
    let question = Question {
        now: Some(now.into()),
        device: "device".to_owned(),
        agent: "1.0.0".to_owned(),
        interval: SignedDuration::from_mins(15),
        components: vec![installed],
        server: None,
    };
    updates.look(question).await
}

fn impatient(device: &Device) -> Updates {
    let source = device.config().unwrap().updates.unwrap();
    let within = Duration::from_millis(500);
    let patience = Patience { metadata: within, target: within, ..Patience::default() };
    Updates::new(source, &device.root(), Probe::default()).with_patience(patience)
}

#[tokio::test]
async fn a_mirror_that_drips_is_given_up_and_asked_again() {
    let (fleet, mut releases) = (Fleet::start(), Releases::new());
    releases.publish(Component::Orbit, "9.9.9", GOOD);
    let device = device_of(&fleet, &releases);
    let updates = impatient(&device);
    fleet.memory().mirror.mood = Mood::Drip;
    let seen = look(&device, &updates).await;
    let (kind, message) = seen.trouble.unwrap();
    assert!(kind == "refresh" && message.contains("did not arrive within"), "{kind}: {message}");
    assert_eq!(seen.standings[0].state, UpdateState::Unreachable);
    fleet.memory().mirror.mood = Mood::Good;
    let seen = look(&device, &updates).await;
    assert_eq!(seen.standings[0].state, UpdateState::Trying, "{:?}", seen.trouble);
}

/// Of a file that comes too slowly, compressed or not, nothing has to come twice.
#[tokio::test]
async fn a_compressed_release_is_brought() {
    let (fleet, mut releases) = (Fleet::start(), Releases::new());
    let mut program = GOOD.to_vec();
    program.extend((0..20_000_u32).flat_map(|number| format!("# {number}\n").into_bytes()));
    releases.publish_compressed(Component::Orbit, "9.9.9", &program);
    let device = device_of(&fleet, &releases);
    let seen = look(&device, &impatient(&device)).await;
    assert_eq!(seen.standings[0].state, UpdateState::Trying, "{:?}", seen.trouble);
    assert_eq!(fs::read(device.root().join("bin/orbit/9.9.9/orbit")).unwrap(), program);
    let memory = fleet.memory();
    let targets = memory.mirror.answers.iter().filter(|(path, _)| path.starts_with("targets/"));
    let targets: Vec<_> = targets.collect();
    assert!(matches!(&targets[..], [(path, 200)] if path.ends_with(".orbit.zst")), "{targets:?}");
}

/// What there is no room for is not begun to be downloaded, and told.
#[tokio::test]
async fn a_disk_that_is_full_is_left_alone() {
    let (fleet, mut releases) = (Fleet::start(), Releases::new());
    releases.publish(Component::Orbit, "9.9.9", GOOD);
    let device = device_of(&fleet, &releases);
    let source = device.config().unwrap().updates.unwrap();
    let updates = Updates::new(source, &device.root(), Probe::default());
    let seen = look(&device, &updates.with_reserve(1 << 60)).await;
    assert_eq!(seen.standings[0].state, UpdateState::Failing);
    let (_, message) = seen.trouble.unwrap();
    assert!(message.contains("9.9.9 needs") && message.contains("the disk has"), "{message}");
    let memory = fleet.memory();
    assert!(memory.mirror.answers.iter().all(|(path, _)| !path.starts_with("targets/")));
    assert!(!device.root().join("bin/orbit/9.9.9").exists());
}

#[tokio::test]
async fn expired_metadata_changes_nothing_is_told_and_passes() {
    let fleet = Fleet::start();
    let mut releases = Releases::signed_ago(SignedDuration::from_hours(24 * 8));
    releases.publish(Component::Orbit, "9.9.9", GOOD);
    let device = device_of(&fleet, &releases);
    let log = device
        .run(async |_| {
            until(|| told(&fleet, "orbit")["state"] == "expired").await;
            let (looks, served) = (polls(&fleet).len(), fleet.memory().served.len());
            until(|| polls(&fleet).len() > looks + 1).await;
            until(|| fleet.memory().served.len() > served + 1).await;
            assert!(!staged(&device, "orbit", "9.9.9"));
            assert!(!device.root().join("bin/orbit/9.9.9").exists());
            releases.renew();
            until(|| staged(&device, "orbit", "9.9.9")).await;
        })
        .await;
    let [complaint] = &log.complaints()[..] else { panic!("{}", log.text()) };
    assert!(complaint.contains("the timestamp metadata expired at"), "{complaint}");
}

/// The real `orbit` at another time, as faketime has it.
fn start_at(device: &Device, time: &str) -> Orbit {
    let libraries = fs::read_dir("/usr/lib").unwrap().map(|it| it.unwrap().path());
    let library =
        libraries.map(|dir| dir.join("faketime/libfaketimeMT.so.1")).find(|it| it.exists());
    let mut command = command(device);
    command.env("LD_PRELOAD", library.expect("the package faketime is not installed"));
    command.env("FAKETIME", time);
    // Files and pauses are as they are.
    command.env("NO_FAKE_STAT", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Orbit::spawn(device, command)
}

#[test]
fn a_clock_that_is_decades_behind_neither_stops_updates_nor_lets_expired_ones_pass() {
    for (ago, state) in [(0, "trying"), (24 * 8, "expired")] {
        let fleet = Fleet::start();
        let mut releases = Releases::signed_ago(SignedDuration::from_hours(ago));
        releases.publish(Component::Orbit, "9.9.9", GOOD);
        let device = device_of(&fleet, &releases);
        let orbit = start_at(&device, "@1980-01-01 00:00:00");
        wait_until(state, || told(&fleet, "orbit")["state"] == state);
        assert_eq!(staged(&device, "orbit", "9.9.9"), ago == 0);
        assert_eq!(orbit.stop().code(), Some(0));
        let log = device.read("test.log").unwrap();
        assert!(log.contains("1980-01-01"), "{log}");
    }
}

#[test]
fn a_clock_that_is_days_off_neither_stops_updates_nor_lets_expired_ones_pass() {
    // The metadata of the timestamp is good for a week.
    for (time, ago, state) in
        [("+10d", 0, "trying"), ("-10d", 24 * 8, "expired"), ("-10d", 0, "trying")]
    {
        let fleet = Fleet::start();
        let mut releases = Releases::signed_ago(SignedDuration::from_hours(ago));
        releases.publish(Component::Orbit, "9.9.9", GOOD);
        let device = device_of(&fleet, &releases);
        let program = fs::File::open(device.root().join("bin/orbit/packaged/orbit")).unwrap();
        let built = program.metadata().unwrap().modified().unwrap();
        program.set_modified(built - Duration::from_hours(24 * 60)).unwrap();
        let orbit = start_at(&device, time);
        wait_until(state, || told(&fleet, "orbit")["state"] == state);
        assert_eq!(staged(&device, "orbit", "9.9.9"), ago == 0, "{time}");
        assert_eq!(orbit.stop().code(), Some(0));
    }
}

/// `fleet-desktop` as it is published for Linux.
fn desktop_archive() -> Vec<u8> {
    let program = fs::read(env!("CARGO_BIN_EXE_fleet-desktop")).unwrap();
    let packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(packed);
    let mut header = tar::Header::new_gnu();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    archive.append_data(&mut header, "fleet-desktop/fleet-desktop", &program[..]).unwrap();
    let mut packed = archive.into_inner().unwrap();
    packed.flush().unwrap();
    packed.finish().unwrap()
}

/// An osqueryd that says which version it is, and that it runs.
fn osqueryd(version: &str, runs: bool) -> Vec<u8> {
    let stays = if runs { "while :; do sleep 0.02; done" } else { "exit 1" };
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho {version} >> \"$STARTED\"\n{stays}\n"
    );
    script.into_bytes()
}

#[tokio::test]
async fn all_three_components_are_replaced_and_a_broken_osqueryd_is_taken_back() {
    let (fleet, mut releases) = (Fleet::start(), Releases::new());
    let device = device_of(&fleet, &releases);
    let started = device.root().join("started");
    let noting = |version: &str, runs| {
        let script = String::from_utf8(osqueryd(version, runs)).unwrap();
        script.replace("$STARTED", started.as_str()).into_bytes()
    };
    package(&device, "osqueryd", "osqueryd", &noting("5.9.0", true));
    package(&device, "desktop", "fleet-desktop", GOOD);
    for component in ["osqueryd", "desktop"] {
        device.write(&format!("bin/{component}/packaged/VERSION"), "5.9.0\n");
    }
    let pointer = |component: &str, name: &str| -> Utf8PathBuf {
        device.root().join("bin").join(component).join(name).read_link_utf8().unwrap()
    };
    device
        .run(async |_| {
            until(|| started.exists()).await;
            releases.publish(Component::Desktop, "5.10.0", &desktop_archive());
            releases.publish(Component::Osqueryd, "5.10.0", &noting("5.10.0", true));
            releases.publish(Component::Orbit, "9.9.9", GOOD);
            until(|| pointer("osqueryd", "osqueryd") == "5.10.0/osqueryd").await;
            until(|| pointer("desktop", "fleet-desktop") == "5.10.0/fleet-desktop").await;
            until(|| staged(&device, "orbit", "9.9.9")).await;
            for (component, state) in [("osqueryd", "current"), ("desktop", "current")] {
                until(|| told(&fleet, component)["state"] == state).await;
                assert_eq!(told(&fleet, component)["version"], "5.10.0");
            }
            releases.publish(Component::Osqueryd, "5.11.0", &noting("5.11.0", false));
            until(|| told(&fleet, "osqueryd")["blocked_version"] == "5.11.0").await;
            until(|| fs::read_to_string(&started).unwrap().ends_with("5.11.0\n5.10.0\n")).await;
        })
        .await;
    assert_eq!(pointer("osqueryd", "osqueryd"), "5.10.0/osqueryd");
    let program = device.root().join("bin/desktop/5.10.0/fleet-desktop");
    let real = fs::read(env!("CARGO_BIN_EXE_fleet-desktop")).unwrap();
    assert!(fs::read(&program).unwrap() == real);
    assert_eq!(program.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    let starts = fs::read_to_string(&started).unwrap();
    assert_eq!(starts, "5.9.0\n5.10.0\n5.11.0\n5.11.0\n5.11.0\n5.10.0\n");
}

#[tokio::test]
async fn a_damaged_osqueryd_is_replaced_by_the_one_before_and_fetched_again() {
    let (fleet, mut releases) = (Fleet::start(), Releases::new());
    let device = device_of(&fleet, &releases);
    let started = device.root().join("started");
    let noting = |version: &str| {
        let script = String::from_utf8(osqueryd(version, true)).unwrap();
        script.replace("$STARTED", started.as_str()).into_bytes()
    };
    package(&device, "osqueryd", "osqueryd", &noting("5.9.0"));
    device.write("bin/osqueryd/packaged/VERSION", "5.9.0\n");
    let folder = device.root().join("bin/osqueryd");
    let pointer = || folder.join("osqueryd").read_link_utf8().unwrap();
    device
        .run(async |_| {
            for version in ["5.10.0", "5.11.0"] {
                releases.publish(Component::Osqueryd, version, &noting(version));
                until(|| pointer() == format!("{version}/osqueryd")).await;
            }
            until(|| told(&fleet, "osqueryd")["version"] == "5.11.0").await;
        })
        .await;
    let damaged = folder.join("5.11.0/osqueryd");
    let program = fs::OpenOptions::new().write(true).open(&damaged).unwrap();
    program.set_len(10).unwrap();
    fleet.memory().mirror.mood = Mood::Status(503);
    let log = device
        .run(async |_| {
            until(|| fs::read_to_string(&started).unwrap().ends_with("5.11.0\n5.10.0\n")).await;
            assert_eq!(pointer(), "5.10.0/osqueryd");
            fleet.memory().mirror.mood = Mood::Good;
            until(|| pointer() == "5.11.0/osqueryd").await;
        })
        .await;
    let told = "osqueryd 5.11.0 is damaged; the version before it runs";
    assert!(log.text().contains(told), "{}", log.text());
    assert!(fs::read(&damaged).unwrap() == noting("5.11.0"));
}

#[tokio::test]
async fn the_servers_clock_goes_on_between_its_answers() {
    let (fleet, releases) = (Fleet::start(), Releases::new());
    let device = device_of(&fleet, &releases);
    let server = agent::server::Server::new(device.config().unwrap().connection);
    assert_eq!(server.date(), None);
    let key = wire::NodeKey::new("none").unwrap();
    agent::tasks::updates::tell(&server, key, Vec::new(), None).await.unwrap();
    let first = server.date().unwrap();
    until(|| server.date().unwrap() > first).await;
}
