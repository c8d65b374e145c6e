//! `orbit doctor` and `orbit reset-identity`, as an administrator runs them.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Output};

use serde_json::Value;
use wire::settings::{files, vars};

use crate::{
    device::Device,
    fleet::{Fleet, Mood},
    program::{Orbit, command, wait_until},
};

fn set_mode(device: &Device, name: &str, mode: u32) {
    let path = device.root().join(name);
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn device_of(fleet: &Fleet) -> Device {
    let device = Device::of(fleet);
    set_mode(&device, files::ENROLL_SECRET, 0o600);
    device
}

fn run(device: &Device, arguments: &[&str]) -> Output {
    command(device).args(arguments).output().unwrap()
}

/// What the check says, as `outcome: found; advice`.
fn check(device: &Device, name: &str) -> String {
    let output = run(device, &["doctor", "--output", "json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = json["checks"].as_array().unwrap();
    let failed = checks.iter().any(|check| check["outcome"] == "failed");
    assert_eq!(output.status.code(), Some(i32::from(failed)), "{json:#}");
    let check = checks.iter().find(|check| check["name"] == name);
    let check = check.unwrap_or_else(|| panic!("no {name}: {json:#}"));
    let text = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
    format!("{}: {}; {}", text("outcome"), text("found"), text("advice"))
}

#[track_caller]
fn assert_check(device: &Device, name: &str, outcome: &str, words: &[&str]) {
    let said = check(device, name);
    assert!(said.starts_with(&format!("{outcome}: ")), "{said}");
    for word in words {
        assert!(said.contains(word), "no `{word}`: {said}");
    }
}

#[test]
fn a_device_that_works_has_nothing_to_be_done() {
    let fleet = Fleet::start();
    let device = device_of(&fleet);
    let _orbit = Orbit::start(&device);
    wait_until("enrollment", || device.node_key().is_some());
    let output = run(&device, &["doctor"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let names: Vec<_> = text.lines().map(|line| line[9..22].trim()).collect();
    let expected =
        ["settings", "permissions", "disk", "secret", "dns", "server", "clock", "service"];
    assert_eq!(names, expected, "{text}");
    assert!(text.lines().all(|line| line.starts_with("ok ")), "{text}");
}

#[test]
fn every_fault_of_the_way_to_the_server_is_told_apart() {
    let mut fleet = Fleet::start();
    let device = device_of(&fleet);
    assert_check(&device, "server", "ok", &["answers"]);
    assert_check(&device, "service", "failed", &["does not run", "start"]);
    for (mood, words) in [
        (Mood::Status(500), ["status 500", "looked after"]),
        (Mood::Portal(200), ["web page", "captive portal"]),
        (Mood::Status(404), ["no `/api/fleet/orbit/ping`", vars::FLEET_URL]),
    ] {
        fleet.set_mood(mood);
        assert_check(&device, "server", "failed", &words);
    }
    fleet.set_mood(Mood::Good);
    fs::remove_file(device.root().join(files::SERVER_CA)).unwrap();
    assert_check(&device, "server", "failed", &["TLS", vars::FLEET_CERTIFICATE]);
    fleet.go_down();
    assert_check(&device, "server", "failed", &["cannot be reached", "firewall"]);
}

#[test]
fn a_name_that_nobody_knows_is_told() {
    let fleet = Fleet::start();
    let mut device = device_of(&fleet);
    device.set(vars::FLEET_URL, "https://no-such-server.invalid");
    assert_check(&device, "dns", "failed", &["no-such-server.invalid", "name servers"]);
    device.set(vars::HTTPS_PROXY, "http://ann:s3cret@localhost:1");
    let said = check(&device, "server");
    assert!(said.contains("through the proxy at `http://localhost:1/`"), "{said}");
    assert!(said.contains(vars::HTTPS_PROXY) && !said.contains("s3cret"), "{said}");
}

#[test]
fn what_others_can_read_or_replace_is_told() {
    let fleet = Fleet::start();
    let device = device_of(&fleet);
    assert_check(&device, "permissions", "ok", &[]);
    set_mode(&device, files::ENROLL_SECRET, 0o644);
    assert_check(&device, "permissions", "failed", &[files::ENROLL_SECRET, "chmod 600"]);
    set_mode(&device, files::ENROLL_SECRET, 0o600);
    set_mode(&device, "", 0o777);
    assert_check(&device, "permissions", "failed", &["can write to", "chmod go-w"]);
}

#[test]
fn settings_and_secrets_that_cannot_be_used_are_told_with_the_rest() {
    let fleet = Fleet::start();
    let mut device = device_of(&fleet);
    fs::remove_file(device.root().join(files::ENROLL_SECRET)).unwrap();
    assert_check(&device, "secret", "failed", &["does not exist", "one line"]);
    device.set(vars::FLEET_URL, "ftp://fleet");
    assert_check(&device, "settings", "failed", &[vars::FLEET_URL, "/etc/default/orbit"]);
    assert_check(&device, "disk", "ok", &["MiB"]);
}

/// What it writes, and that it works, is for a device under systemd to show.
#[test]
fn enrolling_with_what_cannot_be_used_changes_nothing() {
    let fleet = Fleet::start();
    let device = device_of(&fleet);
    let before = device.read(files::ENROLL_SECRET);
    device.write("empty", "\n");
    let file = device.root().join("empty");
    for (arguments, words) in [
        (["--enroll-secret-file", file.as_str()], "the enroll secret in"),
        (["--enroll-secret-file", "/no/such/file"], "could not read the enroll secret from"),
    ] {
        let output = run(&device, &[&["enroll", "--no-start"][..], &arguments].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(words), "{said}");
    }
    let url = ["enroll", "--no-start", "--fleet-url", "ftp://fleet", "--enroll-secret-file"];
    let secret = device.root().join(files::ENROLL_SECRET);
    let output = run(&device, &[&url[..], &[secret.as_str()]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(device.read(files::ENROLL_SECRET), before);
}

#[test]
fn a_clock_that_goes_wrong_is_told() {
    let fleet = Fleet::start();
    let device = device_of(&fleet);
    fleet.memory().date = Some("Thu, 01 Jan 2032 00:00:00 GMT".to_owned());
    assert_check(&device, "clock", "failed", &["behind the server's", "timedatectl"]);
}

#[test]
fn a_repository_of_updates_is_looked_for() {
    let fleet = Fleet::start();
    let device = device_of(&fleet);
    device.write(files::UPDATE_ROOT, "{}");
    assert_check(&device, "updates", "warning", &["no repository", vars::DISABLE_UPDATES]);
}

#[test]
fn a_device_that_forgot_itself_enrolls_as_another() {
    let fleet = Fleet::start();
    let device = device_of(&fleet);
    let orbit = Orbit::start(&device);
    wait_until("enrollment", || device.node_key().is_some());
    let output = run(&device, &["reset-identity"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "it runs");
    assert!(said.contains("stop the service first: another agent runs in"), "{said}");
    assert!(orbit.stop().success());
    let before = device.read(files::IDENTITY).unwrap();

    let database = device.root().join(files::OSQUERY_DB);
    fs::create_dir_all(database.join("old")).unwrap();
    for _ in 0..2 {
        assert!(run(&device, &["reset-identity"]).status.success());
    }
    assert!(!database.exists() && device.node_key().is_none());
    assert!(device.read(files::IDENTITY).is_none() && device.read(files::STATUS).is_none());
    let secret = device.read(files::ENROLL_SECRET);
    assert!(secret.is_some(), "copies enroll with it");

    let _orbit = Orbit::start(&device);
    wait_until("another identity", || device.node_key().is_some());
    let instance = |text: &str| serde_json::from_str::<Value>(text).unwrap()["instance"].clone();
    assert_ne!(instance(&device.read(files::IDENTITY).unwrap()), instance(&before));
}
