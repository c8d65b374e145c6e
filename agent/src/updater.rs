//! Updates, from the ledger on disk to the pointers that decide what is started.
//!
//! - [`ledger`] and [`judge`] decide, without I/O, like [`crate::machine`], which says when.
//! - [`folder`] keeps the versions of a component and the pointer to one of them, on a [`disk`].
//! - [`crate::tasks::updates`] asks the repository, and brings what is due.
//!
//! **Invariants:** a pointer leads to a version that has proven itself, or to the packaged one, and
//! is moved in one step. What has yet to prove itself is started by what has: so whatever becomes of
//! it, and whenever the power goes, the next start finds a program that works. Nothing is started
//! whose hash is not that of what was signed.

pub mod clock;
pub mod disk;
pub mod folder;
pub mod judge;
pub mod ledger;
pub mod version;

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use update::Component;
use wire::{orbit::UpdateChannels, settings::files};

use self::{
    disk::{Disk, RealDisk},
    folder::{Folder, FolderError},
    ledger::{Fault, Installed, Ledger, Start},
};
use crate::{
    durable,
    identity::FileError,
    machine::{News, Probation},
};

/// Below the folder of updates.
const LEDGER: &str = "ledger.json";

/// What becomes of updates on this device.
#[derive(Debug)]
pub struct Updater<D = RealDisk> {
    root: Utf8PathBuf,
    disk: D,
    /// The folder below `bin/orbit` that this program runs from; none if it runs from elsewhere, and
    /// then it neither hands over to another version nor proves anything.
    own: Option<String>,
    ledger: Ledger,
}

/// What a look for updates has found out about one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The channel offers this file, and nothing was done about it.
    Offered { target: String },
    /// A version was put beside the others.
    Staged(Installed),
    /// A file could not be had.
    Failed { target: String, message: String },
    /// A file is what was signed, and does not run here.
    Unusable { version: Installed, message: String },
}

/// Why the ledger or a pointer could not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdaterError {
    #[error("could not keep what is known of updates")]
    Ledger(#[source] FileError),
    #[error("could not change what is installed")]
    Folder(#[from] FolderError),
}

impl<D: Disk> Updater<D> {
    /// The updater of the program at `own` below `root`.
    pub fn open(root: &Utf8Path, own: Option<&Utf8Path>, disk: D) -> Self {
        let ledger = read_ledger(root);
        let own = own.and_then(|own| folder_of(root, own));
        let mut updater = Self { root: root.to_owned(), disk, own, ledger };
        updater.follow_pointers();
        updater
    }

    /// A package may have moved a pointer meanwhile: what it leads to is what counts.
    fn follow_pointers(&mut self) {
        for component in Component::ALL {
            let leads_to = self.folder(component).leads_to();
            let entry = self.ledger.of_mut(component);
            let trial = entry.trial.as_ref().map(|trial| &trial.version.version);
            let is_half_moved = leads_to.is_some() && leads_to.as_ref() == trial;
            let current = entry.current.as_ref().map(|current| &current.version);
            if !is_half_moved && leads_to.as_ref() != current {
                entry.current = None;
            }
        }
    }

    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    #[must_use]
    pub fn folder(&self, component: Component) -> Folder<'_, D> {
        Folder::new(&self.disk, &self.root, component)
    }

    /// The program that is to run in place of this one, if there is one: a version on trial, whose
    /// start is counted before it is told, or what the pointer leads to `after` this one has ended.
    pub fn successor(&mut self, after: bool) -> Result<Option<Utf8PathBuf>, UpdaterError> {
        let Some(own) = self.own.clone() else { return Ok(None) };
        if self.is_on_trial() && !after {
            return Ok(None);
        }
        self.distrust_damaged(Component::Orbit)?;
        let before = self.ledger.clone();
        if let Start::OnTrial(version) = self.ledger.orbit.start() {
            self.save()?;
            return Ok(Some(self.folder(Component::Orbit).program(&version)));
        }
        if before != self.ledger {
            self.save()?;
            self.prune(Component::Orbit)?;
        }
        let folder = self.folder(Component::Orbit);
        let elsewhere = after && folder.leads_to().is_some_and(|name| name != own);
        Ok(elsewhere.then(|| folder.pointed()).flatten())
    }

    /// Whose fault it would be if the server were not reached from here on.
    #[must_use]
    pub fn probation(&self) -> Probation {
        if self.is_on_trial() {
            Probation::Own
        } else if self.ledger.orbit.suspect.is_some() && self.own.is_some() {
            Probation::Suspect
        } else {
            Probation::None
        }
    }

    /// The version of a component that runs, or would if it were started; none: nobody knows.
    #[must_use]
    pub fn version(&self, component: Component) -> Option<String> {
        match (component, &self.own) {
            (Component::Orbit, Some(own)) if own != files::PACKAGED => Some(own.clone()),
            (Component::Orbit, _) => Some(crate::VERSION.to_owned()),
            (Component::Osqueryd | Component::Desktop, _) => self.folder(component).version(),
        }
    }

    /// The osqueryd to start, if it is on trial. Counts the start.
    pub fn osqueryd_on_trial(&mut self) -> Result<Option<Utf8PathBuf>, UpdaterError> {
        self.distrust_damaged(Component::Osqueryd)?;
        if self.ledger.osqueryd.trial.is_none() {
            return Ok(None);
        }
        let start = self.ledger.osqueryd.start();
        self.save()?;
        match start {
            Start::OnTrial(version) => Ok(Some(self.folder(Component::Osqueryd).program(&version))),
            Start::Proven => Ok(None),
        }
    }

    /// The version on trial has proven itself: the pointer leads to it from here on.
    pub fn prove(&mut self, component: Component) -> Result<(), UpdaterError> {
        let Some(trial) = self.ledger.of(component).trial.clone() else { return Ok(()) };
        self.folder(component).point(Some(&trial.version))?;
        self.ledger.of_mut(component).prove();
        self.save()?;
        self.prune(component)
    }

    /// The osqueryd on trial is not to be tried again.
    pub fn fail_osqueryd(&mut self) -> Result<(), UpdaterError> {
        self.ledger.osqueryd.fail(Fault::Ended);
        self.save()?;
        self.prune(Component::Osqueryd)
    }

    /// This version did not reach the server in time. The pointer leads to the one before already,
    /// unless the power went while it was moved.
    pub fn suspect_self(&mut self) -> Result<(), UpdaterError> {
        let folder = self.folder(Component::Orbit);
        if folder.leads_to() == self.own {
            folder.point(self.ledger.orbit.current.as_ref())?;
        }
        self.ledger.orbit.suspect();
        self.save()
    }

    /// This version reaches the server, and the one after it did not.
    pub fn condemn(&mut self) -> Result<(), UpdaterError> {
        self.ledger.orbit.condemn();
        self.save()?;
        self.prune(Component::Orbit)
    }

    /// This version does not reach the server either.
    pub fn acquit(&mut self, now: Timestamp) -> Result<(), UpdaterError> {
        self.ledger.orbit.acquit(now);
        self.save()?;
        self.prune(Component::Orbit)
    }

    /// The start of this version is not counted.
    pub fn forgive_start(&mut self) -> Result<(), UpdaterError> {
        self.ledger.orbit.forgive_start();
        self.save()
    }

    /// The server says which channels to follow, also after the next start.
    pub fn follow(&mut self, channels: &UpdateChannels) -> Result<(), UpdaterError> {
        if self.ledger.channels == *channels {
            return Ok(());
        }
        self.ledger.channels = channels.clone();
        self.save()
    }

    /// Takes in what a look for updates has found out.
    pub fn take_in(
        &mut self,
        findings: &[(Component, Finding)],
        now: Timestamp,
    ) -> Result<News, UpdaterError> {
        let before = self.ledger.clone();
        let mut news = News::default();
        for (component, finding) in findings {
            self.take_in_one(*component, finding, now, &mut news);
        }
        if before != self.ledger
            && let Err(error) = self.save()
        {
            // The next look is to find the same again, not something that waits for a start.
            self.ledger = before;
            return Err(error);
        }
        for (component, finding) in findings {
            if matches!(finding, Finding::Unusable { .. }) {
                self.prune(*component)?;
            }
        }
        if self.ledger.desktop.trial.is_some() {
            // Nobody of ours starts it, so it proves itself by having run once.
            self.prove(Component::Desktop)?;
        }
        Ok(news)
    }

    fn take_in_one(
        &mut self,
        component: Component,
        finding: &Finding,
        now: Timestamp,
        news: &mut News,
    ) {
        let entry = self.ledger.of_mut(component);
        match finding {
            Finding::Offered { target } => entry.offered(target),
            Finding::Failed { target, message } => {
                entry.offered(target);
                entry.fail_to_bring(target, message.clone(), now);
            }
            Finding::Unusable { version, .. } => {
                entry.stage(version.clone());
                entry.fail(Fault::Unusable);
            }
            Finding::Staged(version) => {
                entry.offered(&version.target);
                entry.stage(version.clone());
                match component {
                    Component::Orbit => news.orbit = self.own.is_some(),
                    Component::Osqueryd => news.osqueryd = true,
                    Component::Desktop => {}
                }
            }
        }
    }

    /// Removes the versions that nothing leads back to.
    fn prune(&self, component: Component) -> Result<(), UpdaterError> {
        let busy = self.busy(component);
        let kept: Vec<_> = busy.iter().map(String::as_str).collect();
        Ok(self.folder(component).prune(&kept)?)
    }

    /// The versions that run, or may be started.
    #[must_use]
    pub fn busy(&self, component: Component) -> Vec<String> {
        let entry = self.ledger.of(component);
        let trial = entry.trial.as_ref().map(|trial| &trial.version);
        let known =
            [entry.current.as_ref(), entry.previous.as_ref(), trial, entry.suspect.as_ref()];
        let known = known.into_iter().flatten().map(|it| it.version.clone());
        let own = self.own.clone().filter(|_| component == Component::Orbit);
        known.chain(own).collect()
    }

    /// Drops a version on trial that is not what was put there.
    fn distrust_damaged(&mut self, component: Component) -> Result<(), UpdaterError> {
        let Some(trial) = &self.ledger.of(component).trial else { return Ok(()) };
        if self.folder(component).is_whole(&trial.version) {
            return Ok(());
        }
        tracing::warn!("{component} {} is damaged and is fetched again", trial.version.version);
        self.ledger.of_mut(component).trial = None;
        self.save()
    }

    /// Has a pointer lead away from a version that is damaged.
    pub fn mend(&mut self, component: Component) -> Result<(), UpdaterError> {
        let Some(current) = self.ledger.of(component).current.clone() else { return Ok(()) };
        let folder = self.folder(component);
        if folder.leads_to().as_deref() != Some(current.version.as_str())
            || folder.is_whole(&current)
        {
            return Ok(());
        }
        let previous = self.ledger.of(component).previous.clone();
        let previous = previous.filter(|version| folder.is_whole(version));
        tracing::warn!("{component} {} is damaged; the version before it runs", current.version);
        folder.point(previous.as_ref())?;
        let entry = self.ledger.of_mut(component);
        (entry.current, entry.previous) = (previous, None);
        self.save()
    }

    fn is_on_trial(&self) -> bool {
        let trial = self.ledger.orbit.trial.as_ref();
        trial.is_some_and(|trial| self.own.as_ref() == Some(&trial.version.version))
    }

    fn save(&self) -> Result<(), UpdaterError> {
        let dir = self.root.join(files::UPDATES);
        let (path, beside) = (dir.join(LEDGER), dir.join(".ledger.json.new"));
        let saved = self
            .make_dir_of_ledger(&dir)
            .and_then(|()| self.disk.write(&beside, &self.ledger.to_json()))
            .and_then(|()| self.disk.rename(&beside, &path))
            .and_then(|()| self.disk.sync(&dir));
        saved.map_err(|source| UpdaterError::Ledger(FileError::Write { path, source }))
    }

    /// What is in a directory lasts no longer than its own name.
    fn make_dir_of_ledger(&self, dir: &Utf8Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        self.disk.make_dir(dir).and_then(|()| self.disk.sync(&self.root))
    }
}

/// What is remembered of updates below `root`.
#[must_use]
pub fn read_ledger(root: &Utf8Path) -> Ledger {
    let text = durable::read(&root.join(files::UPDATES).join(LEDGER)).ok().flatten();
    text.as_deref().map(Ledger::from_json).unwrap_or_default()
}

/// The folder below `bin/orbit` that `program` lies in.
fn folder_of(root: &Utf8Path, program: &Utf8Path) -> Option<String> {
    let root = root.canonicalize_utf8().ok()?;
    let program = program.canonicalize_utf8().ok()?;
    let inside = program.strip_prefix(root.join("bin").join(Component::Orbit.as_str())).ok()?;
    inside.parent()?.iter().next().map(str::to_owned)
}
