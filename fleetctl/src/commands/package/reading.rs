//! Packages that are read back: what `inspect`, `verify` and `diff` share.

use std::{fs::File, path::Path};

use packager::read::{self, Contents, ReadError};

use crate::exit::Stop;

/// Reads the package at `path`.
pub(crate) fn open(path: &Path) -> Result<Contents, Stop> {
    let shown = path.display();
    let mut file = File::open(path)
        .map_err(|error| Stop::usage(format!("`{shown}` cannot be read: {error}")))?;
    read::open(&mut file).map_err(|error| {
        if matches!(error, ReadError::Unknown) {
            return Stop::usage(format!("`{shown}` cannot be used: {error}"));
        }
        let error = anyhow::Error::new(error);
        Stop::Failed { message: format!("could not read `{shown}`: {error:#}"), help: None }
    })
}
