//! What is remembered of a submission, in a file beside the package: with it, whoever was interrupted goes on where
//! it was, and nothing is sent twice. There is no secret in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// A package that the notary has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) submission: String,
    /// Of the package, in lower-case hexadecimal.
    pub(super) sha256: String,
}

impl State {
    /// What is remembered of the package at `package`, if it is the one with this digest.
    pub(super) fn read(package: &Path, sha256: &str) -> anyhow::Result<Option<Self>> {
        let path = path(package);
        let problem = || format!("could not read `{}`", path.display());
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(problem)?,
        };
        let state: Self = serde_json::from_slice(&text).with_context(problem)?;
        Ok(Some(state).filter(|state| state.sha256 == sha256))
    }

    /// Remembers it for the package at `package`.
    pub(super) fn write(&self, package: &Path) -> anyhow::Result<()> {
        let path = path(package);
        let problem = || format!("could not write `{}`", path.display());
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
        let file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
        let file = file.with_context(problem)?;
        serde_json::to_writer(&file, self).with_context(problem)?;
        file.persist(&path).with_context(problem)?;
        Ok(())
    }

    /// Forgets what is remembered of the package at `package`.
    pub(super) fn delete(package: &Path) -> anyhow::Result<()> {
        let path = path(package);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("could not delete `{}`", path.display()))
            }
            _ => Ok(()),
        }
    }
}

fn path(package: &Path) -> PathBuf {
    let mut name = package.as_os_str().to_owned();
    name.push(".notarization");
    name.into()
}
