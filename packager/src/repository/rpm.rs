//! What an rpm says of itself, as far as an index of dnf repeats it. Source: rpm's `rpmtag.h`, createrepo_c.

use std::{fs::File, path::Path};

use super::{RepositoryError, plain_word};
use crate::format::rpm::{Told, read_told};

/// A package's header, and what the file is besides.
#[derive(Debug)]
pub(super) struct Rpm {
    pub(super) name: String,
    pub(super) version: Version,
    pub(super) architecture: String,
    pub(super) told: Told,
}

/// Epoch, version and release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) epoch: String,
    pub(super) version: String,
    pub(super) release: String,
}

impl Version {
    /// As people write it: without an epoch of nought.
    pub(super) fn written(&self) -> String {
        match self.epoch.as_str() {
            "0" => format!("{}-{}", self.version, self.release),
            epoch => format!("{epoch}:{}-{}", self.version, self.release),
        }
    }
}

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const ARCHITECTURE: u32 = 1022;
const SOURCE_RPM: u32 = 1044;

/// Reads the headers of the rpm at `path`, which has what an index needs.
pub(super) fn read(path: &Path) -> Result<Rpm, RepositoryError> {
    let mut file = File::open(path).map_err(RepositoryError::read(path))?;
    let told = read_told(&mut file).map_err(|error| RepositoryError::Package {
        file: path.to_owned(),
        reason: error.to_string(),
    })?;
    let text = |tag, what| {
        let text = told.string(tag);
        plain_word(what, &text).map(|()| text)
    };
    let name = text(NAME, "package's name")?;
    let version = Version {
        epoch: told.numbers(EPOCH).first().unwrap_or(&0).to_string(),
        version: text(VERSION, "package's version")?,
        release: text(RELEASE, "package's release")?,
    };
    // Packages of sources are those that came from none.
    let architecture = if told.string(SOURCE_RPM).is_empty() {
        "src".to_owned()
    } else {
        text(ARCHITECTURE, "package's architecture")?
    };
    Ok(Rpm { name, version, architecture, told })
}
