//! osquery's extensions: programs that osqueryd starts beside itself and that add tables to it.
//!
//! `--extensions_autoload` names a file with the path of one program on each line. osqueryd loads
//! programs whose names end in `.ext` (`.ext.exe` on Windows), and only such as nobody but root can write.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    time::SystemTime,
};

use camino::{Utf8Path, Utf8PathBuf};
use update::{Channel, ExtensionName, Program, ProgramTarget, UpdatePlatform};
use wire::{orbit::Extension, settings::files};

use crate::{
    durable,
    identity::FileError,
    platform::Readers,
    updater::disk::{About, Disk as _, RealDisk},
};

/// How much of a file's SHA-256, in hexadecimal, its folder is called by.
const NAME_LENGTH: usize = 16;

/// An extension that this device is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    name: ExtensionName,
    platform: UpdatePlatform,
    channel: Channel,
}

impl Wish {
    /// Those of `told` that are for `platform`. What cannot be one is named in the log.
    #[must_use]
    pub fn all(told: &BTreeMap<String, Extension>, platform: UpdatePlatform) -> Vec<Self> {
        let ours = told.iter().filter(|(_, extension)| extension.platform == platform.as_str());
        ours.filter_map(|(name, extension)| {
            let wish = Self::of(name, platform, &extension.channel);
            if wish.is_none() {
                tracing::warn!(
                    extension.name = name,
                    "the server's extension `{name}` cannot be used"
                );
            }
            wish
        })
        .collect()
    }

    fn of(name: &str, platform: UpdatePlatform, channel: &str) -> Option<Self> {
        Some(Self { name: name.parse().ok()?, platform, channel: channel.parse().ok()? })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// What it is called in a repository.
    #[must_use]
    pub fn target(&self) -> String {
        let Self { name, platform, channel } = self.clone();
        ProgramTarget { program: Program::Extension(name), platform, channel }.to_string()
    }
}

/// Where extensions are kept, and which of them osqueryd loads.
#[derive(Debug, Clone)]
pub struct Shelf {
    folder: Utf8PathBuf,
    list: Utf8PathBuf,
}

impl Shelf {
    #[must_use]
    pub fn below(root: &Utf8Path) -> Self {
        let folder = root.join("bin").join(files::EXTENSIONS);
        Self { folder, list: root.join(files::EXTENSIONS_LOAD) }
    }

    /// What osqueryd is to read, if it is to load anything.
    #[must_use]
    pub fn list(&self) -> Option<&Utf8Path> {
        (!self.loaded().is_empty()).then_some(&self.list)
    }

    fn loaded(&self) -> Vec<Utf8PathBuf> {
        let text = durable::read(&self.list).ok().flatten().unwrap_or_default();
        text.lines().filter(|line| !line.is_empty()).map(Utf8PathBuf::from).collect()
    }

    /// Where the program with that SHA-256, in hexadecimal, belongs: another one has another place, so
    /// that none is replaced while it runs.
    #[must_use]
    pub fn place(&self, wish: &Wish, sha256: &str) -> Utf8PathBuf {
        let version = sha256.get(..NAME_LENGTH).unwrap_or(sha256);
        self.folder.join(wish.name()).join(version).join(wish.name.file_name(wish.platform))
    }

    /// Puts the verified program `from` in its place.
    pub fn put(&self, from: &Utf8Path, place: &Utf8Path) -> io::Result<()> {
        let disk = RealDisk;
        let parent = place.parent().unwrap_or(&self.folder);
        disk.make_dir(parent)?;
        let beside = parent.join(".new");
        disk.remove(&beside)?;
        let about = About { is_program: true, modified: SystemTime::UNIX_EPOCH };
        disk.store(&beside, &mut File::open(from)?, about)?;
        disk.rename(&beside, place)?;
        // The version's folder, the extension's, that of all, and the one above, where it may be new.
        parent.ancestors().take(4).try_for_each(|dir| disk.sync(dir))
    }

    /// Has osqueryd load what is wished for: the program in `places`, by name, or the one that it has
    /// loaded before, where that one could not be had. All others are deleted. Tells whether anything
    /// has changed.
    pub fn settle(
        &self,
        wishes: &[Wish],
        places: &BTreeMap<String, Utf8PathBuf>,
    ) -> Result<bool, FileError> {
        let before = self.loaded();
        let kept = |wish: &Wish| {
            let own = self.folder.join(wish.name());
            before.iter().find(|path| path.starts_with(&own) && path.is_file()).cloned()
        };
        let wanted: Vec<_> = wishes
            .iter()
            .filter_map(|wish| places.get(wish.name()).cloned().or_else(|| kept(wish)))
            .collect();
        if wanted != before {
            let text: String = wanted.iter().map(|path| format!("{path}\n")).collect();
            durable::replace(&self.list, text.as_bytes(), Readers::Root)
                .map_err(|source| FileError::Write { path: self.list.clone(), source })?;
        }
        self.tidy(&wanted);
        Ok(wanted != before)
    }

    /// What is in use cannot be deleted everywhere, and goes the next time.
    fn tidy(&self, wanted: &[Utf8PathBuf]) {
        let keep: BTreeSet<_> = wanted.iter().flat_map(|path| path.ancestors()).collect();
        for extension in entries(&self.folder) {
            if !keep.contains(extension.as_path()) {
                let _ = RealDisk.remove(&extension);
                continue;
            }
            for version in entries(&extension) {
                if !keep.contains(version.as_path()) {
                    let _ = RealDisk.remove(&version);
                }
            }
        }
    }
}

fn entries(folder: &Utf8Path) -> Vec<Utf8PathBuf> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    found.filter_map(|entry| Utf8PathBuf::from_path_buf(entry.path()).ok()).collect()
}
