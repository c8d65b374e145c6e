//! The folder of a component: the packaged program, versions that updates have brought, and the
//! pointer to the one that is started.
//!
//! ```text
//! <root>/bin/orbit/orbit            the pointer: a symbolic link, on Windows the service's own
//!                                   program, for what orbit starts there a file `current`
//! <root>/bin/orbit/packaged/orbit   what the package brought
//! <root>/bin/orbit/1.2.3/orbit      what an update brought
//! ```

use std::{
    fs::{self, File},
    io::{self, Read},
    time::SystemTime,
};

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha256};
use update::Component;
use wire::settings::files;

use super::{
    disk::{About, Disk},
    ledger::Installed,
    version,
};

mod archive;

/// Where a version is put together.
const STAGED: &str = ".staged";

/// A file that was verified, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    pub path: Utf8PathBuf,
    pub version: String,
    /// SHA-256 of the target that was signed.
    pub target: String,
    pub packing: Packing,
    pub modified: Option<SystemTime>,
}

/// How a program comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    Plain,
    /// Somewhere in a gzipped tar file.
    Archive,
    /// In an application bundle, in a gzipped tar file.
    Bundle,
}

/// Why a version cannot be put in its place, or the pointer moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    #[error("could not {what} `{path}`")]
    Disk { what: &'static str, path: Utf8PathBuf, source: io::Error },
    #[error("`{0}` is no version")]
    NoVersion(String),
    #[error("version {0} is the one that runs")]
    InUse(String),
    #[error("the archive has no `{0}`")]
    NoProgram(String),
    #[error("the archive has an entry `{0}` that leads out of it")]
    Escape(String),
    #[error("could not move the pointer")]
    Pointer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The folder of one component.
#[derive(Debug)]
pub struct Folder<'a, D> {
    disk: &'a D,
    path: Utf8PathBuf,
    component: Component,
}

impl<'a, D: Disk> Folder<'a, D> {
    #[must_use]
    pub fn new(disk: &'a D, root: &Utf8Path, component: Component) -> Self {
        Self { disk, path: root.join("bin").join(component.as_str()), component }
    }

    /// Whether the component is on this device.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// The program of a version.
    #[must_use]
    pub fn program(&self, version: &Installed) -> Utf8PathBuf {
        self.path.join(&version.version).join(&version.program)
    }

    /// Whether the program of a version is there, and is the one that was put there.
    #[must_use]
    pub fn is_whole(&self, version: &Installed) -> bool {
        let hash = File::open(self.program(version)).and_then(|mut file| hash(&mut file));
        version::parse(&version.version).is_some()
            && hash.is_ok_and(|hash| hash == version.program_sha256)
    }

    /// Puts what was brought beside the other versions, where nothing leads to it yet. `busy` are
    /// versions that may run, and are not touched.
    pub fn stage(&self, brought: &Brought, busy: &[&str]) -> Result<Installed, FolderError> {
        let name = &brought.version;
        if version::parse(name).is_none() {
            return Err(FolderError::NoVersion(name.clone()));
        }
        if busy.contains(&name.as_str()) {
            return Err(FolderError::InUse(name.clone()));
        }
        let staged = self.path.join(STAGED);
        self.remove(&staged)?;
        let (program, program_sha256) = self.put_together(brought, &staged).inspect_err(|_| {
            // A disk that is full is not to stay so. What cannot be removed goes next time.
            let _ = self.disk.remove(&staged);
        })?;
        let place = self.path.join(name);
        self.remove(&place)?;
        done("rename", &staged, self.disk.rename(&staged, &place))?;
        self.sync(&self.path)?;
        let (version, target) = (name.clone(), brought.target.clone());
        Ok(Installed { version, target, program, program_sha256 })
    }

    /// Gives the program's path below `staged`, and its hash.
    fn put_together(
        &self,
        brought: &Brought,
        staged: &Utf8Path,
    ) -> Result<(String, String), FolderError> {
        done("create", staged, self.disk.make_dir(staged))?;
        let program = match brought.packing {
            Packing::Plain => self.store_plain(brought, staged)?,
            Packing::Archive => archive::take_program(self, brought, staged)?,
            Packing::Bundle => archive::unpack_bundle(self, brought, staged)?,
        };
        self.sync(staged)?;
        let sha256 = self.hash_of(&staged.join(&program))?;
        Ok((program, sha256))
    }

    fn store_plain(&self, brought: &Brought, staged: &Utf8Path) -> Result<String, FolderError> {
        let name = self.file_name();
        let source = File::open(&brought.path);
        let mut source = done("read", &brought.path, source)?;
        self.store(&staged.join(&name), &mut source, true, brought)?;
        Ok(name)
    }

    /// Has the pointer lead to `version`, else to the packaged program.
    pub fn point(&self, version: Option<&Installed>) -> Result<(), FolderError> {
        let target = match version {
            Some(version) => Utf8Path::new(&version.version).join(&version.program),
            None => Utf8Path::new(files::PACKAGED).join(self.packaged_program()),
        };
        self.point_at(&target)
    }

    /// Has the pointer lead to `target`, relative to the folder, in one step.
    #[cfg(unix)]
    pub(crate) fn point_at(&self, target: &Utf8Path) -> Result<(), FolderError> {
        let pointer = self.path.join(self.file_name());
        if pointer.read_link_utf8().is_ok_and(|now| now == target) {
            return Ok(());
        }
        let beside = self.path.join(format!(".{}.new", self.file_name()));
        self.remove(&beside)?;
        done("create", &beside, self.disk.link(target, &beside))?;
        done("replace", &pointer, self.disk.rename(&beside, &pointer))?;
        self.sync(&self.path)
    }

    #[cfg(windows)]
    pub(crate) fn point_at(&self, target: &Utf8Path) -> Result<(), FolderError> {
        if self.component == Component::Orbit {
            return crate::installer::point_service(&self.path.join(target))
                .map_err(|error| FolderError::Pointer(Box::new(error)));
        }
        let current = self.path.join(files::CURRENT);
        let version = target.iter().next().unwrap_or_default();
        if version == files::PACKAGED {
            return self.remove(&current);
        }
        let beside = self.path.join(".current.new");
        done("write", &beside, self.disk.write(&beside, version.as_bytes()))?;
        done("replace", &current, self.disk.rename(&beside, &current))
    }

    /// The folder that the pointer leads to: a version, or `packaged`; none where nobody knows.
    #[must_use]
    pub fn leads_to(&self) -> Option<String> {
        let target = self.pointer_target()?;
        let relative = target.strip_prefix(&self.path).unwrap_or(&target);
        relative.iter().next().map(str::to_owned).filter(|name| name != "..")
    }

    #[cfg(unix)]
    fn pointer_target(&self) -> Option<Utf8PathBuf> {
        self.path.join(self.file_name()).read_link_utf8().ok()
    }

    #[cfg(windows)]
    fn pointer_target(&self) -> Option<Utf8PathBuf> {
        if self.component == Component::Orbit {
            return crate::installer::service_program();
        }
        let named = fs::read_to_string(self.path.join(files::CURRENT)).ok();
        Some(named.map_or_else(|| files::PACKAGED.into(), |name| name.trim().into()))
    }

    /// The program that the pointer leads to.
    #[must_use]
    pub fn pointed(&self) -> Option<Utf8PathBuf> {
        self.pointer_target().map(|target| self.path.join(target))
    }

    /// The version that the pointer leads to; none where nobody knows.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        match self.leads_to()? {
            name if name == files::PACKAGED => {
                self.packaged_version().filter(|version| !version.is_empty())
            }
            version => Some(version),
        }
    }

    /// The version that the package says it has brought, empty if it does not say; none where it has
    /// brought nothing.
    #[must_use]
    pub fn packaged_version(&self) -> Option<String> {
        let packaged = self.path.join(files::PACKAGED);
        let told = fs::read_to_string(packaged.join(files::PACKAGED_VERSION));
        packaged.is_dir().then(|| told.unwrap_or_default().trim().to_owned())
    }

    /// Removes every version but those in `kept`, and what was left half done.
    pub fn prune(&self, kept: &[&str]) -> Result<(), FolderError> {
        let leads_to = self.leads_to();
        let entries = done("read", &self.path, self.path.read_dir_utf8())?;
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name();
            let is_version = version::parse(name).is_some();
            let is_kept = kept.contains(&name) || leads_to.as_deref() == Some(name);
            if name == STAGED || (is_version && !is_kept) {
                self.remove(entry.path())?;
            }
        }
        Ok(())
    }

    /// Where the packaged program is below its folder: on macOS it may be inside of a bundle.
    fn packaged_program(&self) -> Utf8PathBuf {
        let packaged = self.path.join(files::PACKAGED);
        let program = program_name(self.component);
        let bundles = packaged.read_dir_utf8().into_iter().flatten().filter_map(Result::ok);
        let inside =
            bundles.map(|it| Utf8Path::new(it.file_name()).join("Contents/MacOS").join(program));
        let bundled = inside.filter(|it| packaged.join(it).is_file()).last();
        bundled.unwrap_or_else(|| self.file_name().into())
    }

    fn file_name(&self) -> String {
        format!("{}{}", program_name(self.component), std::env::consts::EXE_SUFFIX)
    }

    fn store(
        &self,
        path: &Utf8Path,
        content: &mut dyn Read,
        is_program: bool,
        brought: &Brought,
    ) -> Result<(), FolderError> {
        let modified = brought.modified.unwrap_or(SystemTime::UNIX_EPOCH);
        done("write", path, self.disk.store(path, content, About { is_program, modified }))
    }

    fn remove(&self, path: &Utf8Path) -> Result<(), FolderError> {
        done("remove", path, self.disk.remove(path))
    }

    fn sync(&self, dir: &Utf8Path) -> Result<(), FolderError> {
        done("sync", dir, self.disk.sync(dir))
    }

    fn hash_of(&self, path: &Utf8Path) -> Result<String, FolderError> {
        let hash = File::open(path).and_then(|mut file| hash(&mut file));
        done("read", path, hash)
    }
}

/// What a component's program is called, without what Windows adds.
const fn program_name(component: Component) -> &'static str {
    match component {
        Component::Orbit => "orbit",
        Component::Osqueryd => "osqueryd",
        Component::Desktop => "fleet-desktop",
    }
}

fn done<T>(what: &'static str, path: &Utf8Path, outcome: io::Result<T>) -> Result<T, FolderError> {
    outcome.map_err(|source| FolderError::Disk { what, path: path.to_owned(), source })
}

fn hash(file: &mut File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            length => hasher.update(&buffer[..length]),
        }
    }
}
