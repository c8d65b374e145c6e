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

use camino::Utf8PathBuf;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use update::{
    Addition, Channel, Component, Edit, Editor, Expiries, Founding, Passphrase, SigningKey, Terms,
    UpdatePlatform,
};
use wire::settings::{files, vars};

use crate::{
    device::Device,
    fleet::Fleet,
    program::{log_path, wait_until},
};

/// A repository that is published in a folder.
struct Releases {
    directory: TempDir,
    editor: Editor,
    keys: Vec<SigningKey>,
}

impl Releases {
    fn new() -> Self {
        let directory = TempDir::with_prefix("tuf-").unwrap();
        let passphrase = || Passphrase::new("correct horse".to_owned()).unwrap();
        let founding = Founding {
            root: vec![passphrase()],
            root_threshold: 1.try_into().unwrap(),
            targets: passphrase(),
            snapshot: passphrase(),
            timestamp: passphrase(),
            who: "ann".to_owned(),
        };
        let path = Utf8PathBuf::from_path_buf(directory.path().join("tuf")).unwrap();
        let expiries = Expiries::default();
        let editor = wait_for(update::init(&path, &founding, &expiries, now())).unwrap();
        let unlock = |name: &str| editor.keys().unlock(name, &passphrase()).unwrap();
        let keys = ["targets", "snapshot", "timestamp"].map(unlock).into();
        Self { directory, editor, keys }
    }

    /// Makes `content` the stable version of orbit.
    fn publish(&mut self, version: &str, content: &[u8]) {
        let file = self.directory.path().join("file");
        fs::write(&file, content).unwrap();
        let platform = if cfg!(target_arch = "aarch64") {
            UpdatePlatform::LinuxArm64
        } else {
            UpdatePlatform::Linux
        };
        let addition = Addition {
            file: Utf8PathBuf::from_path_buf(file).unwrap(),
            component: Component::Orbit,
            platform,
            version: version.parse().unwrap(),
            tags: vec![Channel::stable()],
        };
        let expiries = Expiries::default();
        let terms = Terms { keys: &self.keys, expiries: &expiries, now: now(), who: "ann" };
        wait_for(self.editor.apply(&Edit::Add(vec![addition]), &terms)).unwrap();
    }

    fn url(&self) -> String {
        format!("file://{}", self.editor.repository_dir())
    }
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[expect(clippy::disallowed_methods, reason = "the program under test asks for the time, too")]
fn now() -> Timestamp {
    Timestamp::now()
}

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
    releases.publish("1.0.0", &orbit);
    let folder = device.root().join("bin/orbit");
    fs::create_dir_all(folder.join("packaged")).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_orbit"), folder.join("packaged/orbit")).unwrap();
    symlink("packaged/orbit", folder.join("orbit")).unwrap();
    let root = String::from_utf8(releases.editor.root_json().to_vec()).unwrap();
    device.write(files::UPDATE_ROOT, &root);
    device.set(vars::UPDATE_URL, &releases.url());
    device.set(vars::UPDATE_INTERVAL, "1s");
    let manager = ServiceManager::start(&device);
    // What the package has brought calls itself otherwise than what was published.
    wait_until("1.0.0 runs", || pointer(&device) == "1.0.0/orbit");

    let mut second = orbit.clone();
    second.extend(b"\nthe second");
    releases.publish("1.1.0", &second);
    wait_until("1.1.0 runs", || pointer(&device) == "1.1.0/orbit");
    let told = |state: &str| {
        let memory = fleet.memory();
        memory.updates.iter().any(|report| report["components"][0]["state"] == state)
    };
    wait_until("the server hears of it", || told("current"));

    releases.publish("1.2.0", b"#!/bin/sh\ncase $1 in version|check) exit 0 ;; esac\nexit 1\n");
    let blocked = || json(&device, "updates/ledger.json")["orbit"]["blocked"].clone();
    wait_until("1.2.0 is given up", || blocked()["version"] == "1.2.0");
    assert_eq!(blocked()["fault"], "ended");
    assert_eq!(pointer(&device), "1.1.0/orbit");
    wait_until("1.1.0 is back", || json(&device, files::STATUS)["state"] == "running");
    wait_until("the server hears that it failed", || told("rolled_back"));
    assert!(!folder.join("1.2.0").exists());

    releases.publish("1.3.0", b"#!/bin/sh\nexit 1\n");
    wait_until("1.3.0 is not even tried", || blocked()["version"] == "1.3.0");
    assert_eq!(blocked()["fault"], "unusable");

    let ends = manager.stop();
    let failed = ends.iter().filter(|end| end.code() == Some(1)).count();
    assert_eq!(failed, 3, "{ends:?}");
    assert!(ends.iter().all(|end| end.signal().is_none()), "{ends:?}");
    assert_eq!(ends.last().unwrap().code(), Some(0));
}
