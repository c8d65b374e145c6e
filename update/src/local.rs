//! Components from a directory of files, for builds that publish nothing.

use camino::Utf8PathBuf;

use crate::{
    component::{FetchedComponent, OnProgress},
    names::{Component, UpdatePlatform},
};

/// A directory of programs: flat (`DIR/orbit`, `DIR/osqueryd`, `DIR/fleet-desktop`) or laid out by platform
/// (`DIR/<component>/<platform>/<program>`), which wins where both are there.
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
        let _ = (component, platform);
        unimplemented!()
    }

    /// Finds and hashes the programs of `wanted`, in that order.
    pub fn fetch(
        &self,
        wanted: &[(Component, UpdatePlatform)],
        progress: OnProgress<'_>,
    ) -> Result<Vec<FetchedComponent>, LocalError> {
        let _ = (wanted, progress);
        unimplemented!()
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
        source: std::io::Error,
    },
}
