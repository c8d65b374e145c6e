//! The real `orbit`, as systemd, administrators and scripts see it.

use std::{
    fs::{self, File},
    os::unix::{net::UnixDatagram, process::ExitStatusExt as _},
    process::{Child, Command, ExitStatus, Output},
    time::{Duration, Instant},
};

use proptest::prelude::*;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use wire::{
    envfile,
    settings::{files, vars},
};

use crate::{
    device::Device,
    fleet::{Fleet, Mood, SECRET},
};

/// A running `orbit`, killed when the test ends.
pub(crate) struct Orbit(Child);

/// `orbit` with the device's variables and no others.
pub(crate) fn command(device: &Device) -> Command {
    command_of(env!("CARGO_BIN_EXE_orbit").into(), device)
}

/// A copy of it.
fn command_of(program: camino::Utf8PathBuf, device: &Device) -> Command {
    #[expect(clippy::disallowed_methods, reason = "tests start the program that they test")]
    let mut command = Command::new(program);
    command.env_clear().envs(&device.variables).env(vars::ROOT_DIR, device.root().as_str());
    // The keystore would be that of the machine that runs the tests.
    command.env(vars::DISABLE_KEYSTORE, "true");
    command
}

impl Orbit {
    pub(crate) fn start(device: &Device) -> Self {
        Self::spawn(device, command(device))
    }

    pub(crate) fn spawn(device: &Device, mut command: Command) -> Self {
        let log = File::options().create(true).append(true).open(log_path(device)).unwrap();
        Self(command.stderr(log).spawn().unwrap())
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        assert_eq!(self.0.wait().unwrap().signal(), Some(9));
    }

    /// Asks it to end, as systemd does, and waits.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.0.wait().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Orbit {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn log_path(device: &Device) -> camino::Utf8PathBuf {
    device.root().join("test.log")
}

/// Waits for something that another process brings about.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "a test gives up after real time")]
    let now = Instant::now;
    let begun = now();
    while !condition() {
        assert!(now() - begun < Duration::from_secs(30), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn status(device: &Device, arguments: &[&str]) -> Output {
    command(device).arg("status").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn an_unusable_configuration_is_explained_and_not_tried_again() {
    let fleet = Fleet::start();
    let mut device = Device::of(&fleet);
    device.set(vars::FLEET_URL, "ftp://fleet");
    device.set(vars::DEBUG, "perhaps");
    let output = command(&device).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    snapbox::assert_data_eq!(
        text(&output.stderr),
        snapbox::str![[r#"
error: the configuration cannot be used
  - `ORBIT_FLEET_URL` cannot be used: its scheme is `ftp`, not https
  - `ORBIT_DEBUG` cannot be used: it is neither `true` nor `false`
help: edit `/etc/default/orbit`, then run `systemctl restart orbit`

"#]]
    );
}

/// An exit code of 78 would be the last word of a device whose new version is too strict.
#[test]
fn a_version_on_trial_leaves_it_to_the_one_before_to_give_up() {
    let fleet = Fleet::start();
    let mut device = Device::of(&fleet);
    device.set(vars::FLEET_URL, "ftp://fleet");
    let folder = device.root().join("bin/orbit");
    for version in ["packaged", "1.1.0"] {
        fs::create_dir_all(folder.join(version)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_orbit"), folder.join(version).join("orbit")).unwrap();
    }
    std::os::unix::fs::symlink("packaged/orbit", folder.join("orbit")).unwrap();
    fs::create_dir(device.root().join(files::UPDATES)).unwrap();
    let trial = serde_json::json!({
        "version": "1.1.0", "target": "signed", "program": "orbit", "program_sha256": "", "starts": 1,
    });
    let ledger = serde_json::json!({ "orbit": { "trial": trial } }).to_string();
    device.write(&format!("{}/ledger.json", files::UPDATES), &ledger);
    let run =
        |version: &str| command_of(folder.join(version).join("orbit"), &device).output().unwrap();
    let output = run("1.1.0");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("ORBIT_FLEET_URL"), "{}", text(&output.stderr));
    assert_eq!(run("packaged").status.code(), Some(78));
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    assert_eq!(command(&device).arg("nonsense").output().unwrap().status.code(), Some(2));
    assert_eq!(status(&device, &["--output", "xml"]).status.code(), Some(2));
}

#[test]
fn the_version_is_told_to_people_and_scripts() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    for way in ["version", "--version"] {
        let output = command(&device).arg(way).output().unwrap();
        assert_eq!(text(&output.stdout), format!("orbit {}\n", agent::VERSION));
    }
    let output = command(&device).args(["version", "--output", "json"]).output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["version"], agent::VERSION);
}

#[test]
fn status_follows_the_agents_life() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    let output = status(&device, &[]);
    assert_eq!(output.status.code(), Some(1), "nothing has run yet");
    assert!(text(&output.stdout).contains("enrolled      no\n"), "{}", text(&output.stdout));

    let orbit = Orbit::start(&device);
    wait_until("a status of 0", || status(&device, &[]).status.success());
    let told = || -> Value {
        serde_json::from_slice(&status(&device, &["--output", "json"]).stdout).unwrap()
    };
    // The key is on disk a moment before the agent goes on.
    wait_until("the next state", || told()["agent"]["state"] != "enrolling");
    let json = told();
    assert_eq!(json["enrolled"], true);
    assert_eq!(json["online"], true);
    assert_eq!(json["service_running"], true);
    assert_eq!(json["server_url"], fleet.url());
    assert_eq!(json["agent"]["state"], "running");
    assert_eq!(json["identity"]["server_url"], fleet.url());

    assert!(orbit.stop().success());
    let output = status(&device, &[]);
    assert_eq!(output.status.code(), Some(1), "it is stopped");
    assert!(text(&output.stdout).contains("service       not running\n"));
}

#[test]
fn status_tells_the_last_error() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    fleet.set_mood(Mood::Status(500));
    let _orbit = Orbit::start(&device);
    wait_until("the error in the status", || {
        let output = status(&device, &[]);
        assert_eq!(output.status.code(), Some(1));
        text(&output.stdout).contains("the server answers with an error (status 500)")
    });
}

#[test]
fn two_agents_do_not_share_a_root_directory() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    let _orbit = Orbit::start(&device);
    wait_until("enrollment", || device.node_key().is_some());
    let second = command(&device).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another agent runs in"), "{}", text(&second.stderr));
}

#[test]
fn systemd_is_told_of_readiness_life_and_end() {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    fleet.set_mood(Mood::Silent);
    let path = device.root().join("notify.socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let heard = |expected: &str| {
        let mut buffer = [0; 4096];
        loop {
            let length = socket.recv(&mut buffer).unwrap_or_else(|_| panic!("no {expected}"));
            if text(&buffer[..length]).contains(expected) {
                return;
            }
        }
    };
    let mut command = command(&device);
    command.env("NOTIFY_SOCKET", path.as_str()).env("WATCHDOG_USEC", "200000");
    let orbit = Orbit::spawn(&device, command);
    heard("READY=1");
    heard("STATUS=enrolling");
    heard("WATCHDOG=1");
    heard("WATCHDOG=1");
    orbit.signal(Signal::HUP);
    heard("WATCHDOG=1");
    orbit.signal(Signal::TERM);
    heard("STOPPING=1");
    assert!(orbit.stop().success(), "it stops although the server keeps it waiting");
}

/// Runs `orbit` with an environment file until the server has seen the enroll request.
fn secret_that_arrives(secret: &str) -> String {
    let fleet = Fleet::start();
    let device = Device::of(&fleet);
    fs::remove_file(device.root().join(files::ENROLL_SECRET)).unwrap();
    device.write("settings", &envfile::render([(vars::ENROLL_SECRET, secret)]));
    let mut command = command(&device);
    command.arg("--env-file").arg(device.root().join("settings").as_str()).arg("--debug");
    let orbit = Orbit::spawn(&device, command);
    wait_until("an enroll request", || !fleet.memory().enrolls.is_empty());
    assert!(orbit.stop().success());
    let arrived = fleet.memory().enrolls[0]["enroll_secret"].as_str().unwrap().to_owned();
    for name in ["test.log", files::STATUS, files::IDENTITY] {
        let text = device.read(name).unwrap_or_default();
        assert!(secret.len() < 12 || !text.contains(secret), "{name} shows the secret");
    }
    arrived
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn any_secret_reaches_the_server_unchanged(secret in r#"[ -~äßé😀"'\\$%#`;= ]{1,40}"#) {
        prop_assert_eq!(secret_that_arrives(&secret), secret);
    }
}

#[test]
fn the_secret_is_nowhere_to_be_seen() {
    let odd = format!("{SECRET} $HOME \"quoted\" 'single' back\\slash %n #no-comment ÄÖÜ");
    assert_eq!(secret_that_arrives(&odd), odd);
}
