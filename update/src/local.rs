//! Components from a directory of files, for builds that publish nothing.

use std::{fs, io};

use camino::Utf8PathBuf;
use jiff::Timestamp;

use crate::{
    cache,
    component::{FetchedComponent, OnProgress, Progress},
    names::{Component, UpdatePlatform},
};

/// A directory of programs: flat (`DIR/orbit`, `DIR/osqueryd`, `DIR/fleet-desktop`) or laid out by
/// platform (`DIR/<component>/<platform>/<program>`), which wins where both are there. For macOS an
/// archived bundle under its target's name (`osqueryd.app.tar.gz`) does as well.
#[derive(Debug, Clone)]
pub struct LocalComponents {
    /// The directory.
    pub dir: Utf8PathBuf,
    /// The version of a program that has no `<program>.version` file (one line) beside it.
    pub default_version: String,
}

impl LocalComponents {
    /// Whether the directory has `component` for `platform`.
    pub fn has(&self, component: Component, platform: UpdatePlatform) -> bool {
        self.find(component, platform).is_some()
    }

    /// Finds the programs of `wanted`, in that order, without reading them: path and version of
    /// each. All that are missing are reported together.
    pub fn locate(
        &self,
        wanted: &[(Component, UpdatePlatform)],
    ) -> Result<Vec<(Utf8PathBuf, String)>, LocalError> {
        let found: Vec<_> =
            wanted.iter().map(|&(component, platform)| self.find(component, platform)).collect();
        let missing: Vec<_> = wanted
            .iter()
            .zip(&found)
            .filter(|(_, path)| path.is_none())
            .map(|((component, platform), _)| format!("{component} for {platform}"))
            .collect();
        if !missing.is_empty() {
            return Err(LocalError::Missing { dir: self.dir.clone(), missing });
        }
        let present = found.into_iter().flatten();
        present.map(|path| self.version_of(&path).map(|version| (path, version))).collect()
    }

    /// Finds and hashes the programs of `wanted`, in that order. All that are missing are reported
    /// together.
    pub fn fetch(
        &self,
        wanted: &[(Component, UpdatePlatform)],
        progress: OnProgress<'_>,
    ) -> Result<Vec<FetchedComponent>, LocalError> {
        let located = self.locate(wanted)?;
        let all = wanted.iter().zip(located);
        all.map(|(&(component, platform), (path, version))| {
            let fetched = Self::read(component, platform, path, version)?;
            progress(Progress { component, platform, done: fetched.length, total: fetched.length });
            Ok(fetched)
        })
        .collect()
    }

    fn find(&self, component: Component, platform: UpdatePlatform) -> Option<Utf8PathBuf> {
        // On macOS a program may come in its bundle, archived as a repository has it.
        let archive = Some(component.file_name(platform)).filter(|it| it.ends_with(".app.tar.gz"));
        let names = [Some(component.program(platform)), archive];
        let folders = [self.dir.join(component.as_str()).join(platform.as_str()), self.dir.clone()];
        let mut places =
            folders.iter().flat_map(|dir| names.iter().flatten().map(|it| dir.join(it)));
        places.find(|path| path.is_file())
    }

    fn read(
        component: Component,
        platform: UpdatePlatform,
        path: Utf8PathBuf,
        version: String,
    ) -> Result<FetchedComponent, LocalError> {
        let unreadable = |source| LocalError::Read { path: path.clone(), source };
        let mut file = fs::File::open(&path).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        let (length, modified) = (about.len(), about.modified().ok());
        let sha256 = cache::hash(&mut file).map_err(unreadable)?;
        let modified = modified.and_then(|it| Timestamp::try_from(it).ok());
        let modified = modified.and_then(|it| Timestamp::from_second(it.as_second()).ok());
        Ok(FetchedComponent { component, platform, version, sha256, length, modified, path })
    }

    /// The version of the program at a path: what the file beside it with `.version` at its end says, else the
    /// folder's.
    pub fn version_of(&self, program: &Utf8PathBuf) -> Result<String, LocalError> {
        let path = Utf8PathBuf::from(format!("{program}.version"));
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(self.default_version.clone())
            }
            Err(source) => Err(LocalError::Read { path, source }),
        }
    }
}

/// Why components cannot be taken from a directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// Programs that are in neither layout.
    #[error("`{dir}` has no {}", .missing.join(", no "))]
    Missing {
        /// The directory.
        dir: Utf8PathBuf,
        /// What was looked for, e.g. `osqueryd for linux-arm64`.
        missing: Vec<String>,
    },
    /// A file that cannot be read.
    #[error("could not read `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
}
