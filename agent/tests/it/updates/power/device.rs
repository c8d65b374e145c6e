//! A device, as a service manager and whoever sits at it see it.

use std::{error::Error, fs, os::unix::fs::symlink};

use agent::{
    machine::Probation,
    updater::{
        Finding, Updater,
        disk::{Disk, RealDisk},
        folder::Folder,
        ledger::STARTS,
    },
};
use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use tempfile::TempDir;
use update::{
    Component,
    power::{Cut, Loss},
};
use wire::settings::files;

use super::{
    disk::Mortal,
    subject::{Fate, PACKAGED, Subject},
};
use crate::updates::releases::platform;

/// A device with packaged programs, on which one of them is updated.
pub(super) struct Device<'a> {
    directory: TempDir,
    subject: Subject<'a>,
}

/// Where the agent lives, in the directory of a device.
const ROOT: &str = "orbit";

/// One process after the other, until nothing more happens.
pub(super) enum Life {
    Settled(String),
    PowerCut,
}

impl<'a> Device<'a> {
    pub(super) fn new(subject: Subject<'a>) -> Self {
        let device = Self::empty(subject);
        fs::create_dir(device.directory.path().join(ROOT)).unwrap();
        let folder = device.folder();
        subject.lay_packaged(&folder);
        let packaged = Utf8Path::new(files::PACKAGED).join(subject.program());
        symlink(packaged, folder.join(subject.component.program(platform()))).unwrap();
        if let Some(patches) = subject.patches {
            patches.introduce(&device.root());
        }
        device
    }

    /// Nothing is kept, so there is no need of a disk that takes its time to sync.
    fn empty(subject: Subject<'a>) -> Self {
        Self { directory: TempDir::with_prefix_in("device-", "/dev/shm").unwrap(), subject }
    }

    /// One that has come to its end with all releases.
    pub(super) fn settled(subject: Subject<'a>) -> Self {
        let device = Self::new(subject);
        device.settle("at the beginning", subject.last_that_works());
        device
    }

    pub(super) fn root(&self) -> Utf8PathBuf {
        let root = self.directory.path().canonicalize().unwrap().join(ROOT);
        Utf8PathBuf::from_path_buf(root).unwrap()
    }

    /// The folder of what is updated.
    pub(super) fn folder(&self) -> Utf8PathBuf {
        self.root().join("bin").join(self.subject.component.as_str())
    }

    /// What is started, unless something is on trial.
    pub(super) fn pointed(&self) -> Utf8PathBuf {
        let pointer = self.folder().join(self.subject.component.program(platform()));
        pointer.canonicalize_utf8().expect("the pointer leads nowhere")
    }

    /// The version that a program is of. All of it is what was signed.
    pub(super) fn check(&self, program: &Utf8Path) -> String {
        let folder = self.folder();
        let inside = program.strip_prefix(&folder).unwrap();
        let name = inside.iter().next().unwrap();
        let version = if name == files::PACKAGED { PACKAGED } else { name };
        assert_eq!(inside, Utf8Path::new(name).join(self.subject.program()));
        self.subject.check(&folder.join(name), version);
        version.to_owned()
    }

    /// Its disk, whose power goes at that operation.
    pub(super) fn disk(&self, goes_at: Option<(usize, Cut)>) -> Mortal {
        Mortal::below(&self.root(), goes_at)
    }

    /// Devices as a power cut may leave this one, each without something that was not synced.
    pub(super) fn all_left(&self, disk: &Mortal) -> Vec<(Loss, Self)> {
        let left = disk.losses().into_iter().map(|loss| {
            let device = Self::empty(self.subject);
            let directory = Utf8Path::from_path(device.directory.path()).unwrap();
            disk.leave(loss, &directory.join(ROOT));
            (loss, device)
        });
        left.collect()
    }

    /// Has the power back, with a pointer to a program that can be started, and comes to its end.
    pub(super) fn recover(&self, case: &str) {
        self.check(&self.pointed());
        self.settle(case, self.subject.last_that_works());
    }

    /// Lives until nothing more happens; then `version` runs.
    pub(super) fn settle(&self, case: &str, version: &str) {
        let Life::Settled(settled) = self.live_on(&RealDisk, &|| false) else { panic!("{case}") };
        assert_eq!(settled, version, "{case}");
        assert_eq!(self.check(&self.pointed()), version, "{case}");
    }

    pub(super) fn live(&self, disk: &Mortal) -> Life {
        self.live_on(disk, &|| disk.is_dead())
    }

    /// Runs agents one after the other, as often as they end, until one stays.
    fn live_on<D: Disk + Clone>(&self, disk: &D, is_dead: &dyn Fn() -> bool) -> Life {
        for _ in 0..100 {
            let outcome = match self.subject.component {
                Component::Orbit => self.boot(disk),
                Component::Osqueryd | Component::Desktop => self.tend(disk).map(Some),
            };
            match outcome {
                Ok(Some(settled)) => return Life::Settled(settled),
                Ok(None) => {}
                Err(_) if is_dead() => return Life::PowerCut,
                Err(error) => panic!("{error:?}"),
            }
        }
        panic!("it never settles")
    }

    /// From one start of the agent by the service manager to the end of that process, where the agent is
    /// what is updated. Gives the version that has nothing more to do, if it is that.
    fn boot<D: Disk + Clone>(&self, disk: &D) -> Result<Option<String>, Box<dyn Error>> {
        let mut own = self.pointed();
        let mut after = false;
        loop {
            let version = self.check(&own);
            let mut updater = Updater::open(&self.root(), Some(&own), disk.clone());
            if let Some(next) = updater.successor(after)? {
                own = next;
                after = false;
                continue;
            }
            match (updater.probation(), self.subject.fate(&version)) {
                (Probation::Own, Fate::Works) => updater.prove(Component::Orbit)?,
                (Probation::Own, Fate::Ends) => return Ok(None),
                (Probation::Own, Fate::IsSilent) => {
                    updater.suspect_self()?;
                    return Ok(None);
                }
                (Probation::Suspect, _) => updater.condemn()?,
                (Probation::None, _) => {}
            }
            if !self.update(&mut updater, disk, &version)? {
                return Ok(Some(version));
            }
            after = true;
        }
    }

    /// From one start of the agent until it has nothing more to do, where it tends another program.
    /// Gives the version of that.
    fn tend<D: Disk + Clone>(&self, disk: &D) -> Result<String, Box<dyn Error>> {
        let mut updater = Updater::open(&self.root(), None, disk.clone());
        updater.mend(self.subject.component)?;
        loop {
            self.start_osqueryd(&mut updater)?;
            let version = self.check(&self.pointed());
            if !self.update(&mut updater, disk, &version)? {
                return Ok(version);
            }
        }
    }

    /// Starts osqueryd as often as it ends, until it stays, or what is on trial is given up.
    fn start_osqueryd<D: Disk>(&self, updater: &mut Updater<D>) -> Result<(), Box<dyn Error>> {
        while let Some(program) = updater.osqueryd_on_trial()? {
            let version = self.check(&program);
            let trial = updater.ledger().osqueryd.trial.as_ref();
            if self.subject.fate(&version) == Fate::Works {
                updater.prove(Component::Osqueryd)?;
            } else if trial.is_some_and(|trial| trial.starts >= STARTS) {
                updater.fail_osqueryd()?;
            }
        }
        Ok(())
    }

    /// Brings the release after `running` that may be begun with. Tells whether there is one.
    fn update<D: Disk>(
        &self,
        updater: &mut Updater<D>,
        disk: &D,
        running: &str,
    ) -> Result<bool, Box<dyn Error>> {
        let component = self.subject.component;
        let trial = updater.ledger().of(component).trial.as_ref();
        if component == Component::Desktop
            && let Some(trial) = trial
        {
            // It is there already and is not begun again; what counts is that it is still offered.
            let target = trial.version.target.clone();
            updater.take_in(&[(component, Finding::Offered { target })], now())?;
            return Ok(true);
        }
        let blocked = updater.ledger().of(component).blocked.as_ref();
        let blocked = blocked.map(|it| it.version.as_str());
        let Some(version) = self.subject.next(running, blocked) else { return Ok(false) };
        let brought = self.subject.bring((&self.root(), &self.pointed()), version)?;
        let busy = updater.busy(component);
        let busy: Vec<_> = busy.iter().map(String::as_str).collect();
        let staged = Folder::new(disk, &self.root(), component).stage(&brought, &busy)?;
        // Nobody starts fleet-desktop but people, so all that is known of it is whether it runs at all.
        let is_useless =
            component == Component::Desktop && self.subject.fate(version) != Fate::Works;
        let finding = if is_useless {
            Finding::Unusable { version: staged, message: String::new() }
        } else {
            Finding::Staged(staged)
        };
        let news = updater.take_in(&[(component, finding)], now())?;
        let heard = (component == Component::Orbit, component == Component::Osqueryd);
        assert_eq!((news.orbit, news.osqueryd), heard);
        Ok(true)
    }
}

pub(super) fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}
