//! The agent is killed, or the power goes and takes what was not synced, before, amid and after every
//! operation on the disk, whatever is updated and however it comes; the next start runs what is verified.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use agent::updater::{
    Finding, Updater, UpdaterError,
    disk::RealDisk,
    folder::{Brought, Folder, Packing},
    read_ledger,
};
use update::{Component, power::Cut};
use wire::orbit::UpdateChannels;

use self::{
    device::{Device, Life, now},
    disk::Full,
    subject::{OF_ORBIT, Patches, Subject, TWO},
};

mod device;
mod disk;
mod subject;

const ORBIT: Subject<'static> = Subject::of(Component::Orbit, Packing::Plain, OF_ORBIT);
const OSQUERYD: Subject<'static> = Subject::of(Component::Osqueryd, Packing::Plain, TWO);
const BUNDLE: Subject<'static> = Subject::of(Component::Osqueryd, Packing::Bundle, TWO);
const DESKTOP: Subject<'static> = Subject::of(Component::Desktop, Packing::Archive, TWO);

/// Has whatever `begun` gives live until the power goes, at every operation on its disk, and `check`
/// what is left. Tells how often there was something left of each kind.
fn at_every_operation<'a>(
    begun: impl Fn() -> Device<'a>,
    check: impl Fn(&Device<'a>, &str),
) -> BTreeMap<String, usize> {
    let device = begun();
    let rehearsal = device.disk(None);
    assert!(matches!(device.live(&rehearsal), Life::Settled(_)));
    let mut tried = BTreeMap::new();
    for at in 0..rehearsal.operations() {
        for cut in [Cut::Before, Cut::Midway, Cut::After] {
            let (device, case) = (begun(), format!("{cut:?} operation {at}"));
            let disk = device.disk(Some((at, cut)));
            assert!(matches!(device.live(&disk), Life::PowerCut), "{case}");
            // What is lost before an operation is what was lost after the one before.
            let left = if cut == Cut::Before { Vec::new() } else { device.all_left(&disk) };
            drop(disk);
            // Killed: all that was written stays.
            check(&device, &case);
            *tried.entry("Nothing".to_owned()).or_default() += 1;
            for (loss, device) in left {
                check(&device, &format!("{case}, {loss:?}"));
                *tried.entry(format!("{loss:?}")).or_default() += 1;
            }
        }
    }
    tried
}

/// Whenever the power goes, a verified program runs, and the update comes to its end; so does going back.
fn survives(subject: Subject<'_>) {
    let tried = at_every_operation(|| Device::new(subject), |device, case| device.recover(case));
    assert!(tried["Nothing"] > 75, "{tried:?} are too few to mean anything");
    assert!(tried.contains_key("Everything") && tried.contains_key("Order"), "{tried:?}");
    assert!(tried.contains_key("Contents") && tried.contains_key("Names"), "{tried:?}");
}

#[test]
fn whenever_the_power_goes_a_verified_orbit_runs() {
    survives(ORBIT);
}

#[test]
fn whenever_the_power_goes_a_verified_osqueryd_runs() {
    survives(OSQUERYD);
}

#[test]
fn whenever_the_power_goes_a_bundle_is_whole() {
    survives(BUNDLE);
}

#[test]
fn whenever_the_power_goes_a_verified_fleet_desktop_is_there() {
    survives(DESKTOP);
}

#[test]
fn whenever_the_power_goes_a_patched_orbit_is_what_was_signed() {
    let patches = Patches::of(Component::Orbit, TWO);
    survives(Subject { releases: TWO, patches: Some(&patches), ..ORBIT });
}

#[test]
fn whenever_the_power_goes_a_patched_osqueryd_is_what_was_signed() {
    let patches = Patches::of(Component::Osqueryd, TWO);
    survives(Subject { patches: Some(&patches), ..OSQUERYD });
}

#[test]
fn whenever_the_power_goes_a_damaged_version_is_gone_back_from() {
    for subject in [OSQUERYD, BUNDLE, DESKTOP] {
        let damaged = || {
            let device = Device::settled(subject);
            fs::write(device.pointed(), "damaged").unwrap();
            device
        };
        let tried = at_every_operation(damaged, |device, case| device.settle(case, "1.0.0"));
        assert!(tried["Nothing"] > 10 && tried.len() > 1, "{tried:?}");
    }
}

#[test]
fn without_a_power_cut_the_working_releases_are_taken_and_the_others_left() {
    let device = Device::settled(ORBIT);
    let updater = Updater::open(&device.root(), Some(&device.pointed()), RealDisk);
    assert_eq!(updater.ledger().orbit.blocked.as_ref().unwrap().version, "1.4.0");
    assert_eq!(names_in(&device), ["1.1.0", "1.3.0", "orbit", "packaged"].map(String::from).into());
    for (subject, pointer) in
        [(OSQUERYD, "osqueryd"), (BUNDLE, "osqueryd"), (DESKTOP, "fleet-desktop")]
    {
        let device = Device::settled(subject);
        let updater = Updater::open(&device.root(), None, RealDisk);
        let entry = updater.ledger().of(subject.component);
        assert_eq!(entry.blocked.as_ref().unwrap().version, "1.2.0");
        assert_eq!(names_in(&device), ["1.1.0", pointer, "packaged"].map(String::from).into());
    }
}

fn names_in(device: &Device<'_>) -> BTreeSet<String> {
    let entries = fs::read_dir(device.folder()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// What was done, and told to be done, is not undone by a power cut.
#[test]
fn what_is_written_down_lasts() {
    let device = Device::new(ORBIT);
    let disk = device.disk(None);
    let edge = UpdateChannels { orbit: Some("edge".to_owned()), ..UpdateChannels::default() };
    let mut updater = Updater::open(&device.root(), Some(&device.pointed()), disk.clone());
    updater.follow(&edge).unwrap();
    for (loss, device) in device.all_left(&disk) {
        assert_eq!(read_ledger(&device.root()).channels, edge, "{loss:?}");
    }

    for subject in [ORBIT, OSQUERYD, BUNDLE, DESKTOP] {
        let device = Device::new(subject);
        let disk = device.disk(None);
        let Life::Settled(version) = device.live(&disk) else { panic!("no power was cut") };
        let ledger = read_ledger(&device.root());
        for (loss, device) in device.all_left(&disk) {
            assert_eq!(device.check(&device.pointed()), version, "{loss:?}");
            assert_eq!(read_ledger(&device.root()), ledger, "{loss:?}");
        }
    }
}

/// A disk that was full for a moment: what was found is found again, and taken then.
#[test]
fn what_could_not_be_written_down_is_taken_at_the_next_look() {
    let device = Device::new(ORBIT);
    let pointed = device.pointed();
    fs::create_dir(device.root().join("updates")).unwrap();
    for at in 0..3 {
        let disk = device.disk(Some((at, Cut::Before)));
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
    let device = Device::new(ORBIT);
    let brought = Brought {
        path: device.root().join("download"),
        version: "1.1.0".to_owned(),
        target: "signed".to_owned(),
        packing: Packing::Plain,
        modified: None,
    };
    fs::write(&brought.path, "longer than the room that there is").unwrap();
    let full = Full;
    let folder = Folder::new(&full, &device.root(), Component::Orbit);
    folder.stage(&brought, &[]).unwrap_err();
    assert!(!device.folder().join(".staged").exists());
}

#[test]
fn a_disk_that_takes_nothing_more_keeps_the_agent_that_runs() {
    let device = Device::new(ORBIT);
    let _ = device.live(&device.disk(Some((9, Cut::After))));
    let before = device.pointed();
    for _ in 0..3 {
        let disk = device.disk(Some((0, Cut::Before)));
        let mut updater = Updater::open(&device.root(), Some(&before), disk);
        let outcome = updater.successor(false);
        assert!(matches!(outcome, Ok(None) | Err(UpdaterError::Ledger(_))), "{outcome:?}");
    }
    assert_eq!(device.pointed(), before);
}
