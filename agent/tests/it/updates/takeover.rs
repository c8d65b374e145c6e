//! The real `orbit` under a stand-in for a service manager, with a real repository.

use std::{
    fs::{self, File},
    os::unix::{fs::symlink, process::ExitStatusExt as _},
    process::{Command, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use update::Component;
use wire::settings::{files, vars};

use super::releases::Releases;
use crate::{
    device::Device,
    fleet::Fleet,
    program::{log_path, wait_until},
};

/// Starts what the pointer leads to, again and again, like the service manager of a device.
struct ServiceManager {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<ExitStatus>>>,
}

impl ServiceManager {
    fn start(device: &Device) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let pointer = device.root().join("bin/orbit/orbit");
        let variables = device.variables.clone();
        let (root, log) = (device.root(), log_path(device));
        let thread = std::thread::spawn(move || {
            let mut ends = Vec::new();
            while !stopping.load(Ordering::SeqCst) {
                let log = File::options().create(true).append(true).open(&log).unwrap();
                #[expect(clippy::disallowed_methods, reason = "it is what a service manager does")]
                let mut command = Command::new(&pointer);
                command.env_clear().envs(&variables).env(vars::ROOT_DIR, root.as_str());
                let mut child = command.stderr(log).spawn().unwrap();
                let pid = Pid::from_child(&child);
                let end = loop {
                    if let Some(end) = child.try_wait().unwrap() {
                        break end;
                    }
                    if stopping.load(Ordering::SeqCst) {
                        kill_process(pid, Signal::TERM).unwrap();
                    }
                    std::thread::sleep(std::time::Duration::from_millis(20));
                };
                ends.push(end);
            }
            ends
        });
        Self { stop, thread: Some(thread) }
    }

    /// Asks the service to end, and tells how it has ended each time.
    fn stop(mut self) -> Vec<ExitStatus> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for ServiceManager {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn pointer(device: &Device) -> String {
    fs::read_link(device.root().join("bin/orbit/orbit")).unwrap().to_str().unwrap().to_owned()
}

fn json(device: &Device, name: &str) -> Value {
    device.read(name).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

#[test]
fn orbit_takes_a_good_version_and_goes_back_from_a_broken_one() {
    let fleet = Fleet::start();
    let mut device = Device::of(&fleet);
    let mut releases = Releases::new();
    let orbit = fs::read(env!("CARGO_BIN_EXE_orbit")).unwrap();
    releases.publish(Component::Orbit, "1.0.0", &orbit);
    let folder = device.root().join("bin/orbit");
    fs::create_dir_all(folder.join("packaged")).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_orbit"), folder.join("packaged/orbit")).unwrap();
    symlink("packaged/orbit", folder.join("orbit")).unwrap();
    device.write(files::UPDATE_ROOT, &releases.root_json());
    device.set(vars::UPDATE_URL, &releases.url());
    device.set(vars::UPDATE_INTERVAL, "1s");
    let manager = ServiceManager::start(&device);
    // What the package has brought calls itself otherwise than what was published.
    wait_until("1.0.0 runs", || pointer(&device) == "1.0.0/orbit");

    let mut second = orbit.clone();
    second.extend(b"\nthe second");
    releases.publish(Component::Orbit, "1.1.0", &second);
    wait_until("1.1.0 runs", || pointer(&device) == "1.1.0/orbit");
    let told = |state: &str| {
        let memory = fleet.memory();
        memory.updates.iter().any(|report| report["components"][0]["state"] == state)
    };
    wait_until("the server hears of it", || told("current"));

    releases.publish(
        Component::Orbit,
        "1.2.0",
        b"#!/bin/sh\ncase $1 in version|check) exit 0 ;; esac\nexit 1\n",
    );
    let blocked = || json(&device, "updates/ledger.json")["orbit"]["blocked"].clone();
    wait_until("1.2.0 is given up", || blocked()["version"] == "1.2.0");
    assert_eq!(blocked()["fault"], "ended");
    assert_eq!(pointer(&device), "1.1.0/orbit");
    wait_until("1.1.0 is back", || json(&device, files::STATUS)["state"] == "running");
    wait_until("the server hears that it failed", || told("rolled_back"));
    assert!(!folder.join("1.2.0").exists());

    releases.publish(Component::Orbit, "1.3.0", b"#!/bin/sh\nexit 1\n");
    wait_until("1.3.0 is not even tried", || blocked()["version"] == "1.3.0");
    assert_eq!(blocked()["fault"], "unusable");

    let ends = manager.stop();
    let failed = ends.iter().filter(|end| end.code() == Some(1)).count();
    assert_eq!(failed, 3, "{ends:?}");
    assert!(ends.iter().all(|end| end.signal().is_none()), "{ends:?}");
    assert_eq!(ends.last().unwrap().code(), Some(0));
}
