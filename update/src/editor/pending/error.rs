//! Why a change that waits cannot be used.

use std::io;

use camino::Utf8PathBuf;

use crate::editor::{OpenError, SignError};

/// Why a change that waits cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PendingError {
    /// None is open.
    #[error("`{dir}` is not the folder of a change")]
    NoChange {
        /// Where it was looked for.
        dir: Utf8PathBuf,
    },
    /// Something is there already.
    #[error("`{dir}` is there already")]
    Exists {
        /// What is in the way.
        dir: Utf8PathBuf,
    },
    /// A file cannot be read.
    #[error("could not read `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("could not write `{path}`")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("could not understand `{path}`")]
    Malformed {
        /// The file.
        path: Utf8PathBuf,
    },
    /// What is said to be in force is not signed.
    #[error("`{path}` is not signed as the root beside it demands")]
    Unsigned {
        /// The file.
        path: Utf8PathBuf,
    },
    /// The copy of something else.
    #[error("`{dir}` is the folder of another change")]
    AnotherChange {
        /// The copy.
        dir: Utf8PathBuf,
    },
    /// Other metadata was published meanwhile in place of what it replaces.
    #[error("the metadata that the change replaces was changed since it was made")]
    Overtaken,
    /// What is published cannot be read, or is not to be trusted.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl PendingError {
    /// What to do next, for the errors where that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Overtaken => {
                Some("cancel it and make it again: `fleetctl updates change cancel`".to_owned())
            }
            Self::Exists { dir } if dir.file_name() == Some("change") => Some(
                "apply or cancel the open change first: `fleetctl updates change show`".to_owned(),
            ),
            Self::Open(error) => error.help(),
            Self::NoChange { .. } => {
                Some("`--stage` on a command that changes the repository opens one".to_owned())
            }
            Self::Exists { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Malformed { .. }
            | Self::Unsigned { .. }
            | Self::AnotherChange { .. }
            | Self::Sign(_) => None,
        }
    }
}
