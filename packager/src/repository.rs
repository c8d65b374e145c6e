//! Signed repositories of packages in a folder: what plain `apt` and `dnf` install and upgrade from.
//!
//! ```text
//! files ──▶ Addition ─┐                           ┌─▶ package files, under their own names, once
//!                     ├─▶ Catalogue ─▶ index files ┴─▶ Publication ─▶ one folder, swapped for the one before
//! folder ──▶ Catalogue┘
//! ```
//!
//! - [`apt`]: `dists/` and `pool/`, for Debian and Ubuntu.
//! - [`dnf`]: `repodata/` and `packages/`, for Fedora, RHEL, openSUSE.
//! - [`catalogue`]: what is published, with the size and digest of each file, kept beside the index.
//! - [`shipment`]: which file comes when in a copy that cannot change as a whole.
//! - [`delivery`]: how such a copy becomes a folder again.
//! - [`publication`]: how an index replaces another, whole or not at all.
//!
//! **Invariant:** a reader finds the index of before or of after, and every file that it names, wherever the
//! writer is interrupted. The same packages, date and key give the same bytes. What is in other packages is foreign
//! input: it is read within bounds, and never decides where a file is written without having been checked.

pub mod apt;
pub mod delivery;
pub mod dnf;
pub mod shipment;

mod catalogue;
mod deb;
mod publication;
mod rpm;

pub use self::catalogue::Listed;

use std::{io, path::PathBuf};

use crate::sign::SignError;

/// Why a repository could not be made, changed or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    #[error("there is a repository in `{folder}` already")]
    Exists { folder: PathBuf },
    #[error("there is no repository in `{folder}`")]
    None { folder: PathBuf },
    #[error("what `{file}` holds was not written by this program: {reason}")]
    Foreign { file: PathBuf, reason: String },
    #[error("somebody else is changing the repository in `{folder}`")]
    Busy { folder: PathBuf },
    #[error("the {what} `{given}` cannot be used: {reason}")]
    Name { what: &'static str, given: String, reason: &'static str },
    #[error("`{file}` cannot be added: {reason}")]
    Package { file: PathBuf, reason: String },
    #[error(
        "`{file}` differs from the package of the same name that is published as `{published}`"
    )]
    Differs { file: PathBuf, published: String },
    #[error("`{folder}` has changes that were not published")]
    Ahead { folder: PathBuf },
    #[error("could not read `{file}`")]
    Read { file: PathBuf, source: io::Error },
    #[error("could not write `{file}`")]
    Write { file: PathBuf, source: io::Error },
    #[error("could not sign the index")]
    Sign(#[source] SignError),
}

impl RepositoryError {
    /// Whether it is the user who has to change something, and nothing was done.
    #[must_use]
    pub fn is_input(&self) -> bool {
        match self {
            Self::Exists { .. }
            | Self::None { .. }
            | Self::Foreign { .. }
            | Self::Name { .. }
            | Self::Package { .. }
            | Self::Differs { .. }
            | Self::Ahead { .. } => true,
            Self::Busy { .. } | Self::Read { .. } | Self::Write { .. } | Self::Sign(_) => false,
        }
    }

    fn read(file: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |source| Self::Read { file, source }
    }

    fn write(file: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |source| Self::Write { file, source }
    }
}

/// The public key that readers verify with, at the top of a repository.
pub const KEY_FILE: &str = "key.asc";

/// Refuses a name that is not one line of text, without spaces around it: gpg hashes lines without those.
fn line_of_text(what: &'static str, given: &str) -> Result<(), RepositoryError> {
    if !given.is_empty() && given.trim() == given && !given.chars().any(char::is_control) {
        return Ok(());
    }
    let (given, reason) = (
        given.escape_debug().to_string(),
        "it has to be one line of text, without spaces around it",
    );
    Err(RepositoryError::Name { what, given, reason })
}

/// Refuses what could not be part of a path or a line of an index.
fn plain_word(what: &'static str, given: &str) -> Result<(), RepositoryError> {
    let wrong = |reason| {
        Err(RepositoryError::Name { what, given: given.escape_debug().to_string(), reason })
    };
    if given.is_empty() || given.len() > 100 {
        return wrong("it has to have one to a hundred characters");
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-+._~^".contains(&byte);
    if !given.bytes().all(fits) {
        return wrong("it may have letters, digits and -+._~^");
    }
    if !given.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return wrong("it has to begin with a letter or digit");
    }
    Ok(())
}
