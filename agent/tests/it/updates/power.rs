//! The power goes before, amid and after every operation on the disk, and takes what was not synced; the
//! next start runs what is verified.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    fs,
    io::{self, Read},
    os::unix::fs::symlink,
    rc::Rc,
};

use agent::{
    machine::Probation,
    updater::{
        Finding, Updater, UpdaterError,
        disk::{About, Disk, RealDisk},
        folder::{Brought, Folder, Packing},
        read_ledger,
    },
};
use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use update::{
    Component,
    power::{Cut, Loss, Medium},
};
use wire::orbit::UpdateChannels;

/// A device's disk, whose power goes at one operation.
#[derive(Debug, Clone)]
struct Mortal {
    operations: Rc<Cell<usize>>,
    dies_at: Option<(usize, Cut)>,
    medium: Rc<RefCell<Medium>>,
}

impl Mortal {
    fn living(device: &Device) -> Self {
        let medium = Medium::of(device.root().as_std_path()).unwrap();
        let medium = Rc::new(RefCell::new(medium));
        Self { operations: Rc::default(), dies_at: None, medium }
    }

    fn dying(device: &Device, at: usize, cut: Cut) -> Self {
        Self { dies_at: Some((at, cut)), ..Self::living(device) }
    }

    /// Devices as a power cut may leave them, each without something that was not synced.
    fn all_left(&self) -> Vec<(Loss, Device)> {
        let losses = self.medium.borrow_mut().losses().unwrap();
        let left = losses.into_iter().map(|loss| {
            let device = Device { directory: TempDir::with_prefix("device-").unwrap() };
            self.medium.borrow_mut().leave(loss, &device.directory.path().join(ROOT)).unwrap();
            (loss, device)
        });
        left.collect()
    }

    fn synced(&self, path: &Utf8Path) -> io::Result<()> {
        self.medium.borrow_mut().sync(path.as_std_path())
    }

    fn is_dead(&self) -> bool {
        self.dies_at.is_some_and(|(at, _)| self.operations.get() > at)
    }

    fn run(
        &self,
        whole: impl FnOnce() -> io::Result<()>,
        half: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let number = self.operations.get();
        if self.is_dead() {
            return Err(io::Error::other("no power"));
        }
        self.operations.set(number + 1);
        let observed = |()| self.medium.borrow_mut().observe();
        match self.dies_at.filter(|(at, _)| *at == number) {
            None => return whole().and_then(observed),
            Some((_, Cut::Before)) => {}
            Some((_, Cut::Midway)) => half()?,
            Some((_, Cut::After)) => whole().and_then(observed)?,
        }
        Err(io::Error::other("the power went"))
    }
}

impl Disk for Mortal {
    fn make_dir(&self, path: &Utf8Path) -> io::Result<()> {
        self.run(|| RealDisk.make_dir(path), || Ok(()))
    }

    fn store(&self, path: &Utf8Path, content: &mut dyn Read, about: About) -> io::Result<()> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        let half = &bytes[..bytes.len() / 2];
        self.run(
            || RealDisk.store(path, &mut &*bytes, about).and_then(|()| self.synced(path)),
            || RealDisk.store(path, &mut &*half, about),
        )
    }

    fn write(&self, path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
        let half = &bytes[..bytes.len() / 2];
        self.run(
            || RealDisk.write(path, bytes).and_then(|()| self.synced(path)),
            || RealDisk.write(path, half),
        )
    }

    fn link(&self, target: &Utf8Path, path: &Utf8Path) -> io::Result<()> {
        self.run(|| RealDisk.link(target, path), || Ok(()))
    }

    fn rename(&self, from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
        self.run(|| RealDisk.rename(from, to), || Ok(()))
    }

    fn remove(&self, path: &Utf8Path) -> io::Result<()> {
        // Of a folder, the files in it go first.
        let inside = || match fs::read_dir(path) {
            Ok(mut entries) => entries.try_for_each(|entry| fs::remove_file(entry?.path())),
            Err(_) => Ok(()),
        };
        self.run(|| RealDisk.remove(path), inside)
    }

    fn sync(&self, dir: &Utf8Path) -> io::Result<()> {
        self.run(|| RealDisk.sync(dir).and_then(|()| self.synced(dir)), || Ok(()))
    }
}

/// What the repository has, newest last, and whether it works.
const RELEASES: [(&str, bool); 4] =
    [("1.1.0", true), ("1.2.0", false), ("1.3.0", true), ("1.4.0", false)];

/// A device with a packaged agent, as a service manager sees it.
struct Device {
    directory: TempDir,
}

/// Where the agent lives, in the directory of a device.
const ROOT: &str = "orbit";

/// One process after the other, until nothing more happens.
enum Life {
    Settled(String),
    PowerCut,
}

impl Device {
    fn new() -> Self {
        let device = Self { directory: TempDir::with_prefix("device-").unwrap() };
        let folder = device.root().join("bin/orbit");
        fs::create_dir_all(folder.join("packaged")).unwrap();
        fs::write(folder.join("packaged/orbit"), content("1.0.0")).unwrap();
        fs::write(folder.join("packaged/VERSION"), "1.0.0\n").unwrap();
        symlink("packaged/orbit", folder.join("orbit")).unwrap();
        device
    }

    fn root(&self) -> Utf8PathBuf {
        let root = self.directory.path().canonicalize().unwrap().join(ROOT);
        Utf8PathBuf::from_path_buf(root).unwrap()
    }

    /// What the service manager starts.
    fn pointed(&self) -> Utf8PathBuf {
        self.root().join("bin/orbit/orbit").canonicalize_utf8().expect("the pointer leads nowhere")
    }

    /// Has the power back.
    fn recover(&self, case: &str) {
        check_program(&self.pointed());
        let Life::Settled(version) = self.live(&Mortal::living(self)) else { panic!("{case}") };
        assert_eq!(version, "1.3.0", "{case}");
        assert_eq!(version_of(&self.pointed()), "1.3.0", "{case}");
    }

    /// Runs agents one after the other, as often as they end, until one stays.
    fn live(&self, disk: &Mortal) -> Life {
        for _ in 0..100 {
            match self.boot(disk) {
                Ok(Some(settled)) => return Life::Settled(settled),
                Ok(None) => {}
                Err(_) if disk.is_dead() => return Life::PowerCut,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("it never settles")
    }

    /// From one start by the service manager to the end of that process. Gives the version that has
    /// nothing more to do, if it is that.
    fn boot(&self, disk: &Mortal) -> Result<Option<String>, Box<dyn std::error::Error>> {
        let mut own = self.pointed();
        let mut after = false;
        loop {
            check_program(&own);
            let mut updater = Updater::open(&self.root(), Some(&own), disk.clone());
            if let Some(next) = updater.successor(after)? {
                own = next;
                after = false;
                continue;
            }
            let version = version_of(&own);
            if updater.probation() == Probation::Own {
                if !works(&version) {
                    return Ok(None);
                }
                updater.prove(Component::Orbit)?;
            }
            if !self.update(&mut updater, disk)? {
                return Ok(Some(version));
            }
            after = true;
        }
    }

    /// Brings the next release that may be begun with. Tells whether there is one.
    fn update(
        &self,
        updater: &mut Updater<Mortal>,
        disk: &Mortal,
    ) -> Result<bool, Box<dyn std::error::Error>> {
        let running = updater.version(Component::Orbit).unwrap();
        let blocked = updater.ledger().orbit.blocked.clone();
        let is_open = |version: &str| {
            version > running.as_str()
                && blocked.as_ref().is_none_or(|blocked| version > blocked.version.as_str())
        };
        let Some((version, _)) = RELEASES.iter().find(|(version, _)| is_open(version)) else {
            return Ok(false);
        };
        let path = self.root().with_file_name("download");
        fs::write(&path, content(version)).unwrap();
        let brought = Brought {
            path,
            version: (*version).to_owned(),
            target: hex::encode(Sha256::digest(content(version))),
            packing: Packing::Plain,
            modified: None,
        };
        let busy = updater.busy(Component::Orbit);
        let busy: Vec<_> = busy.iter().map(String::as_str).collect();
        let staged = Folder::new(disk, &self.root(), Component::Orbit).stage(&brought, &busy)?;
        let news = updater.take_in(&[(Component::Orbit, Finding::Staged(staged))], now())?;
        assert!(news.orbit);
        Ok(true)
    }
}

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn content(version: &str) -> String {
    format!("the program of version {version}, as it was signed")
}

fn works(version: &str) -> bool {
    RELEASES.iter().any(|(it, works)| *it == version && *works)
}

fn version_of(program: &Utf8Path) -> String {
    match program.parent().unwrap().file_name().unwrap() {
        "packaged" => "1.0.0".to_owned(),
        version => version.to_owned(),
    }
}

/// Whatever is started is what was signed, to the last byte.
fn check_program(program: &Utf8Path) {
    let found = fs::read_to_string(program).unwrap_or_else(|error| panic!("{program}: {error}"));
    assert_eq!(found, content(&version_of(program)));
}

#[test]
fn without_a_power_cut_the_working_releases_are_taken_and_the_others_left() {
    let device = Device::new();
    let disk = Mortal::living(&device);
    let Life::Settled(version) = device.live(&disk) else { panic!("no power was cut") };
    assert_eq!(version, "1.3.0");
    assert_eq!(version_of(&device.pointed()), "1.3.0");
    let updater = Updater::open(&device.root(), Some(&device.pointed()), RealDisk);
    assert_eq!(updater.ledger().orbit.blocked.as_ref().unwrap().version, "1.4.0");
    let versions: BTreeSet<_> = fs::read_dir(device.root().join("bin/orbit"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(versions, ["1.1.0", "1.3.0", "orbit", "packaged"].map(String::from).into());
}

#[test]
fn whenever_the_power_goes_a_verified_program_runs_and_the_update_comes_to_its_end() {
    let device = Device::new();
    let rehearsal = Mortal::living(&device);
    let _ = device.live(&rehearsal);
    let operations = rehearsal.operations.get();
    assert!(operations > 50, "{operations} operations are too few to mean anything");
    for at in 0..operations {
        for cut in [Cut::Before, Cut::Midway, Cut::After] {
            let (device, case) = (Device::new(), format!("{cut:?} operation {at}"));
            let disk = Mortal::dying(&device, at, cut);
            assert!(matches!(device.live(&disk), Life::PowerCut), "{case}");
            let left = if cut == Cut::After { disk.all_left() } else { Vec::new() };
            device.recover(&case);
            for (loss, device) in left {
                device.recover(&format!("{case}, {loss:?}"));
            }
        }
    }
}

/// What was done, and told to be done, is not undone by a power cut.
#[test]
fn what_is_written_down_lasts() {
    let device = Device::new();
    let disk = Mortal::living(&device);
    let edge = UpdateChannels { orbit: Some("edge".to_owned()), ..UpdateChannels::default() };
    let mut updater = Updater::open(&device.root(), Some(&device.pointed()), disk.clone());
    updater.follow(&edge).unwrap();
    for (loss, device) in disk.all_left() {
        assert_eq!(read_ledger(&device.root()).channels, edge, "{loss:?}");
    }

    let device = Device::new();
    let disk = Mortal::living(&device);
    let Life::Settled(version) = device.live(&disk) else { panic!("no power was cut") };
    let ledger = read_ledger(&device.root());
    for (loss, device) in disk.all_left() {
        assert_eq!(version_of(&device.pointed()), version, "{loss:?}");
        assert_eq!(read_ledger(&device.root()), ledger, "{loss:?}");
    }
}

/// A disk that was full for a moment: what was found is found again, and taken then.
#[test]
fn what_could_not_be_written_down_is_taken_at_the_next_look() {
    let device = Device::new();
    let pointed = device.pointed();
    fs::create_dir(device.root().join("updates")).unwrap();
    for at in 0..3 {
        let disk = Mortal::dying(&device, at, Cut::Before);
        let mut updater = Updater::open(&device.root(), Some(&pointed), disk);
        let staged = agent::updater::ledger::Installed {
            version: "1.1.0".to_owned(),
            target: "signed".to_owned(),
            program: "orbit".to_owned(),
            program_sha256: String::new(),
        };
        let finding = [(Component::Orbit, Finding::Staged(staged))];
        updater.take_in(&finding, now()).unwrap_err();
        assert_eq!(updater.ledger().orbit.trial, None, "operation {at}");
    }
}

#[test]
fn a_version_that_finds_no_room_leaves_the_room_that_it_took() {
    let device = Device::new();
    let brought = Brought {
        path: device.root().join("download"),
        version: "1.1.0".to_owned(),
        target: "signed".to_owned(),
        packing: Packing::Plain,
        modified: None,
    };
    fs::write(&brought.path, content("1.1.0")).unwrap();
    let full = Full;
    let folder = Folder::new(&full, &device.root(), Component::Orbit);
    folder.stage(&brought, &[]).unwrap_err();
    assert!(!device.root().join("bin/orbit/.staged").exists());
}

/// A disk that has room for half of a file, and for names.
struct Full;

impl Disk for Full {
    fn make_dir(&self, path: &Utf8Path) -> io::Result<()> {
        RealDisk.make_dir(path)
    }

    fn store(&self, path: &Utf8Path, content: &mut dyn Read, about: About) -> io::Result<()> {
        RealDisk.store(path, &mut content.take(10), about)?;
        Err(io::ErrorKind::StorageFull.into())
    }

    fn write(&self, _path: &Utf8Path, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn link(&self, target: &Utf8Path, path: &Utf8Path) -> io::Result<()> {
        RealDisk.link(target, path)
    }

    fn rename(&self, from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Utf8Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync(&self, dir: &Utf8Path) -> io::Result<()> {
        RealDisk.sync(dir)
    }
}

#[test]
fn a_disk_that_takes_nothing_more_keeps_the_agent_that_runs() {
    let device = Device::new();
    let _ = device.live(&Mortal::dying(&device, 9, Cut::After));
    let before = device.pointed();
    for _ in 0..3 {
        let disk = Mortal::dying(&device, 0, Cut::Before);
        let mut updater = Updater::open(&device.root(), Some(&before), disk);
        let outcome = updater.successor(false);
        assert!(matches!(outcome, Ok(None) | Err(UpdaterError::Ledger(_))), "{outcome:?}");
    }
    assert_eq!(device.pointed(), before);
}
