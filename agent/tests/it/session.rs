//! `fleet-desktop` in the session of whoever sits at the device: stand-ins for logind and for a user's
//! service manager tell what is asked of them. The acceptance tests have the real ones.

use std::{fs, os::unix::fs::PermissionsExt as _};

use camino::Utf8PathBuf;
use rustix::process::{Pid, Signal, getegid, geteuid, kill_process, test_kill_process};
use wire::settings::vars;

use crate::{
    desktop::with_desktop,
    device::Device,
    fleet::{Fleet, SECRET},
    program::{Orbit, command, wait_until},
};

/// Somebody sits at the device for as long as there is a file `seated`.
const LOGINCTL: &str = r#"#!/bin/sh
case $1 in
    show-seat) cat ROOT/seated ;;
    show-session) printf 'User=USER\nClass=user\n' ;;
    show-user) printf 'GID=GROUP\nRuntimePath=ROOT/runtime\n' ;;
esac
"#;

/// Runs what comes after its own arguments, and lets itself be asked to end it.
const SYSTEMD_RUN: &str = r#"#!/bin/sh
env > ROOT/environment
echo "$@" > ROOT/arguments
while test "$1" != --; do shift; done
shift
"$@" & echo $! > ROOT/process
wait $!
"#;

const SYSTEMCTL: &str =
    "#!/bin/sh\ntest -e ROOT/process && kill $(cat ROOT/process) 2> /dev/null\n";

const ICON: &str = "#!/bin/sh\nexec sleep 1000000\n";
const BROKEN: &str = "#!/bin/sh\nexit 3\n";

/// A device with `icon` as its fleet-desktop, whose agent finds the stand-ins.
fn prepared(fleet: &Fleet, icon: &str) -> Device {
    let mut device = with_desktop(fleet);
    let root = device.root();
    let write = |path: Utf8PathBuf, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = text.replace("ROOT", root.as_str());
        let text = text.replace("USER", &geteuid().as_raw().to_string());
        fs::write(&path, text.replace("GROUP", &getegid().as_raw().to_string())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let stand_ins = root.join("stand-ins");
    for (name, text) in
        [("loginctl", LOGINCTL), ("systemd-run", SYSTEMD_RUN), ("systemctl", SYSTEMCTL)]
    {
        write(stand_ins.join(name), text);
    }
    write(root.join("bin/desktop/1.0.0/fleet-desktop"), icon);
    std::os::unix::fs::symlink("1.0.0/fleet-desktop", root.join("bin/desktop/fleet-desktop"))
        .unwrap();
    write(root.join("runtime/systemd/private"), "");
    write(root.join("runtime/bus"), "");
    write(root.join("seated"), "2\n");
    device.set("PATH", &format!("{stand_ins}:/usr/bin:/bin"));
    device
}

fn process(device: &Device) -> Option<Pid> {
    Pid::from_raw(device.read("process")?.trim().parse().ok()?)
}

fn runs(process: Pid) -> bool {
    test_kill_process(process).is_ok()
}

#[test]
fn an_icon_is_there_while_somebody_is_and_ends_with_the_agent() {
    let fleet = Fleet::start();
    let device = prepared(&fleet, ICON);
    let orbit = Orbit::spawn(&device, command(&device));
    wait_until("an icon", || process(&device).is_some_and(runs));
    let first = process(&device).unwrap();
    let arguments = device.read("arguments").unwrap();
    let wanted = format!("/1.0.0/fleet-desktop tray --root-dir {}", device.root());
    assert!(arguments.trim().ends_with(&wanted), "{arguments}");
    let environment = device.read("environment").unwrap();
    let told = environment.contains(vars::ENROLL_SECRET) || environment.contains(SECRET);
    assert!(!told, "its user may read it: {environment}");
    assert!(environment.contains("XDG_RUNTIME_DIR="), "{environment}");
    kill_process(first, Signal::KILL).unwrap();
    wait_until("another icon", || process(&device).is_some_and(|it| it != first && runs(it)));
    let second = process(&device).unwrap();
    assert!(orbit.stop().success());
    wait_until("the icon's end", || !runs(second));
}

#[test]
fn an_icon_that_never_stays_is_told_to_the_server() {
    let fleet = Fleet::start();
    let device = prepared(&fleet, BROKEN);
    let _orbit = Orbit::spawn(&device, command(&device));
    let told = || fleet.memory().updates.last().map(|report| report["crash_loops"][0].clone());
    wait_until("word of it", || told().is_some_and(|it| it["component"] == "desktop"));
    assert_eq!(told().unwrap()["detail"], "exit status: 3");
}

#[test]
fn where_nobody_is_there_is_no_icon() {
    let fleet = Fleet::start();
    let device = prepared(&fleet, ICON);
    fs::remove_file(device.root().join("seated")).unwrap();
    let orbit = Orbit::spawn(&device, command(&device));
    wait_until("contact", || device.node_key().is_some());
    assert!(orbit.stop().success());
    assert_eq!(process(&device), None);
}
