//! Configuration that comes after the agent has started, and changes while it runs.

use std::fs;

use serde_json::Value;
use wire::{
    envfile,
    settings::{files, vars},
};

use crate::{
    device::Device,
    fleet::{Fleet, SECRET},
    program::{Orbit, command, wait_until},
};

/// A device whose package has brought the server's certificate and no settings.
fn unconfigured(fleet: &Fleet) -> Device {
    let mut device = Device::of(fleet);
    device.variables.clear();
    fs::remove_file(device.root().join(files::ENROLL_SECRET)).unwrap();
    set(&device, &[]);
    device
}

/// Has the file that settings are read from say this and nothing else.
fn set(device: &Device, settings: &[(&str, &str)]) {
    device.write("settings", &envfile::render(settings.iter().copied()));
}

fn with_settings(device: &Device) -> std::process::Command {
    let mut command = command(device);
    command.arg("--env-file").arg(device.root().join("settings").as_str());
    command
}

fn status(device: &Device) -> Value {
    let output = command(device).args(["status", "--output", "json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn logged(device: &Device, words: &str) -> usize {
    device.read("test.log").unwrap_or_default().matches(words).count()
}

#[test]
fn a_package_without_configuration_waits_for_server_and_secret_and_then_enrolls() {
    let fleet = Fleet::start();
    let device = unconfigured(&fleet);
    let orbit = Orbit::spawn(&device, with_settings(&device));
    let missing = |name: &str| {
        let status = status(&device);
        status["agent"]["state"] == "waiting"
            && status["agent"]["last_error"]["message"].as_str().unwrap_or_default().contains(name)
    };
    wait_until("that the server is missing", || missing(vars::FLEET_URL));
    let output = command(&device).arg("status").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("service       waiting for configuration\n"), "{text}");
    assert_eq!(output.status.code(), Some(1), "{text}");

    let url = fleet.url();
    set(&device, &[(vars::FLEET_URL, url.as_str())]);
    wait_until("that the secret is missing", || missing(files::ENROLL_SECRET));
    assert!(fleet.memory().enrolls.is_empty());
    device.write(files::ENROLL_SECRET, SECRET);
    wait_until("enrollment", || device.node_key().is_some());
    assert_eq!(logged(&device, "waits for its configuration"), 2, "once for what is missing");
    assert!(orbit.stop().success());
}

#[test]
fn an_agent_that_waits_is_the_only_one_and_ends_when_it_is_asked_to() {
    let fleet = Fleet::start();
    let device = unconfigured(&fleet);
    let orbit = Orbit::spawn(&device, with_settings(&device));
    wait_until("that it waits", || status(&device)["agent"]["state"] == "waiting");
    let second = with_settings(&device).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8(second.stderr).unwrap().contains("another agent runs in"));
    assert!(orbit.stop().success());
}

#[test]
fn settings_that_change_count_while_it_runs_and_those_that_cannot_be_used_do_not() {
    let fleet = Fleet::start();
    let device = unconfigured(&fleet);
    let (url, secret) = (fleet.url(), (vars::ENROLL_SECRET, SECRET));
    let server = (vars::FLEET_URL, url.as_str());
    set(&device, &[server, secret]);
    let orbit = Orbit::spawn(&device, with_settings(&device));
    wait_until("enrollment", || device.node_key().is_some());
    let process = status(&device)["agent"]["process_id"].clone();

    set(&device, &[(vars::FLEET_URL, "ftp://fleet"), secret]);
    wait_until("a word about it", || logged(&device, "stay as they were") == 1);
    assert_eq!(logged(&device, "starting again"), 0);

    set(&device, &[server, secret, (vars::HOST_IDENTIFIER, "instance")]);
    wait_until("that it enrolls by another name", || fleet.memory().enrolls.len() == 2);
    assert_ne!(fleet.memory().enrolls[1]["osquery_identifier"], "");
    assert_eq!(logged(&device, "starting again"), 1);
    assert_eq!(status(&device)["agent"]["process_id"], process);
    assert!(orbit.stop().success());
}

#[test]
fn settings_that_the_agent_cannot_be_opened_with_leave_the_ones_before() {
    let fleet = Fleet::start();
    let device = unconfigured(&fleet);
    let (url, root) = (fleet.url(), device.root());
    let common = [(vars::FLEET_URL, url.as_str()), (vars::ENROLL_SECRET, SECRET)];
    let set_root = |root: &str, more: &[(&str, &str)]| {
        set(&device, &[&common[..], &[(vars::ROOT_DIR, root)], more].concat());
    };
    set_root(root.as_str(), &[]);
    let mut command = with_settings(&device);
    command.env_remove(vars::ROOT_DIR);
    let orbit = Orbit::spawn(&device, command);
    wait_until("enrollment", || device.node_key().is_some());

    // Nobody can make a directory there, not even root.
    set_root("/proc/orbit", &[]);
    wait_until("a word about it", || logged(&device, "the settings before count again") == 1);
    wait_until("that it runs", || status(&device)["agent"]["state"] == "running");

    set_root(root.as_str(), &[(vars::HOST_IDENTIFIER, "instance")]);
    wait_until("that it enrolls by another name", || fleet.memory().enrolls.len() == 2);
    assert_eq!(logged(&device, "the settings before count again"), 1);
    assert!(orbit.stop().success());
}
