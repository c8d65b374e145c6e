//! Why the repository of another tool cannot be gone on with.

use std::io;

use camino::Utf8PathBuf;

use crate::{
    editor::{LogError, OpenError, SignError},
    keys::KeyError,
    verify::VerifyError,
};

/// Why a repository cannot be gone on with. Nothing of it was touched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// There are keys, a repository or a log where the new one is to be.
    #[error("`{path}` is there already")]
    Exists {
        /// What is in the way.
        path: Utf8PathBuf,
    },
    /// Readers trust the keys of the root, and too few of them are here to tell them of anything new.
    #[error("{found} of the {threshold} keys are here that must sign the next root")]
    NoRoot {
        /// Keys at hand.
        found: u64,
        /// Keys needed.
        threshold: u64,
    },
    /// Readers would refuse the old repository, so there is nothing to go on with.
    #[error("readers refuse the repository in `{dir}`")]
    Refused {
        /// Where it is.
        dir: Utf8PathBuf,
        /// Why.
        source: VerifyError,
    },
    /// A file that cannot be read.
    #[error("could not read `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that cannot be written.
    #[error("could not write `{path}`")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory's name is no UTF-8.
    #[error("the full name of `{dir}` is not UTF-8")]
    NotUtf8 {
        /// The directory.
        dir: Utf8PathBuf,
    },
    /// A target's file that is not what is listed.
    #[error("`{path}` is not the file that was signed for")]
    Differs {
        /// The file.
        path: Utf8PathBuf,
    },
    /// A target whose name leads somewhere.
    #[error("`{name}` cannot be the name of a target")]
    Name {
        /// The name.
        name: String,
    },
    /// Delegations in a form that cannot be written again.
    #[error("the delegations cannot be gone on with")]
    Delegations(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What would come of it not every client reads.
    #[error("not every client would read it: {}", .problems.join("; "))]
    NotStrict {
        /// What is wrong.
        problems: Vec<String>,
    },
    /// A client that pinned the old root would refuse the new metadata.
    #[error("readers would refuse what would follow")]
    ReadBack(#[source] VerifyError),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Metadata cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What was made cannot be read back.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl MigrateError {
    /// What to do next, for the errors where that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NoRoot { .. } => Some(
                "--key FILE gives a private key; without those of the root, readers have to be given \
                 the root of a new repository"
                    .to_owned(),
            ),
            Self::Exists { .. } => Some("choose another directory".to_owned()),
            Self::Refused { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::NotUtf8 { .. }
            | Self::Differs { .. }
            | Self::Name { .. }
            | Self::Delegations(_)
            | Self::NotStrict { .. }
            | Self::ReadBack(_)
            | Self::Key(_)
            | Self::Sign(_)
            | Self::Log(_)
            | Self::Open(_) => None,
        }
    }
}
