//! `build.json`: what a folder of built programs is, for whoever makes a release of it.

use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::Context as _;
use serde::Serialize;

use super::build::Settings;
use crate::version::Version;

/// What the programs of one folder have in common.
#[derive(Debug, Serialize)]
pub(crate) struct Manifest<'a> {
    pub(crate) version: &'a str,
    pub(crate) commit: &'a str,
    /// Whether the sources differed from the commit.
    pub(crate) dirty: bool,
    pub(crate) target: &'a str,
    /// Names of the programs, without the ending that a system adds.
    pub(crate) bins: Vec<&'a str>,
    /// All that the compiler says about itself.
    pub(crate) toolchain: &'a str,
    pub(crate) linker: &'a str,
    /// The profiles of `Cargo.toml` that were used.
    pub(crate) profile: String,
    pub(crate) minimum_system: &'a str,
    #[serde(flatten)]
    pub(crate) settings: Option<&'a Settings>,
}

impl<'a> Manifest<'a> {
    pub(crate) fn new(version: &'a Version, target: &'a str, minimum_system: &'a str) -> Self {
        Self {
            version: &version.text,
            commit: &version.commit,
            dirty: version.dirty,
            target,
            bins: Vec::new(),
            toolchain: "",
            linker: "",
            profile: String::new(),
            minimum_system,
            settings: None,
        }
    }

    /// Writes it into `dir` in one step.
    pub(crate) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let problem = || format!("could not describe `{}`", dir.display());
        let text = serde_json::to_string_pretty(self).with_context(problem)?;
        let mut file = tempfile::NamedTempFile::new_in(dir).with_context(problem)?;
        file.write_all(text.as_bytes()).with_context(problem)?;
        let everybody = fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(everybody).with_context(problem)?;
        file.persist(dir.join("build.json")).with_context(problem)?;
        Ok(())
    }
}

/// Removes the description while what it describes changes.
pub(crate) fn retract(dir: &Path) {
    let _absent = fs::remove_file(dir.join("build.json"));
}
