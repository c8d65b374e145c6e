//! Why a repository is not changed.

use std::io;

use camino::Utf8PathBuf;

use super::{LogError, OpenError, PendingError, PublishError, RoleProblem, SignError};
use crate::{names::ProgramTarget, release::ReleaseError, repository::VerifyError};

/// Why a repository is not changed. Readers see it as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// Files or names that cannot be published, all of them.
    #[error("{}", .problems.iter().map(|it| it.to_string()).collect::<Vec<_>>().join("; "))]
    Unusable {
        /// What is wrong.
        problems: Vec<AdditionProblem>,
    },
    /// Targets that are not published.
    #[error("there is no target {}", quoted(.missing))]
    NoSuchTargets {
        /// Their names.
        missing: Vec<String>,
    },
    /// A role that is not there.
    #[error("there is no role `{role}`")]
    NoSuchRole {
        /// Its name.
        role: String,
    },
    /// Keys or roles that cannot be so.
    #[error(transparent)]
    Role(#[from] RoleProblem),
    /// A rollout that would not reach everybody.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The change that waits for signatures is in the way, or cannot be used.
    #[error(transparent)]
    Pending(#[from] PendingError),
    /// Another change that replaces the same metadata waits for signatures.
    #[error("a change of the {role} metadata waits for signatures")]
    Waiting {
        /// The role.
        role: String,
    },
    /// The repository cannot be read, or is not to be trusted.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is published is not what the log tells of.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Too few of the keys that count signed.
    #[error("the {role} metadata has {found} of the {threshold} signatures that it needs")]
    Lacking {
        /// The role.
        role: String,
        /// Valid signatures.
        found: u64,
        /// Signatures needed.
        threshold: u64,
    },
    /// Metadata cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// What was to be published is not what every client reads.
    #[error("not every client would read it: {}", .problems.join("; "))]
    NotStrict {
        /// What is wrong.
        problems: Vec<String>,
    },
    /// A client would refuse what was to be published.
    #[error("readers would refuse the change")]
    ReadBack(#[source] VerifyError),
    /// The directory cannot be written.
    #[error("could not write `{path}`")]
    Write {
        /// The file or directory.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the repository cannot be written.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl ChangeError {
    /// What to do next, for the errors where that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Lacking { role, .. } => Some(format!(
                "the keys that count for {role} are those that `fleetctl updates roles list` names"
            )),
            Self::NoSuchTargets { .. } => {
                Some("`fleetctl updates status` lists what is published".to_owned())
            }
            Self::ReadBack(VerifyError::Expired { role, .. }) => {
                Some(format!("sign it for another while first: `fleetctl updates renew {role}`"))
            }
            Self::Open(error) => error.help(),
            Self::Pending(error) => error.help(),
            Self::Log(error) => error.help(),
            Self::Waiting { .. } => {
                Some("`fleetctl updates change show` tells which; apply or cancel it".to_owned())
            }
            Self::Unusable { .. }
            | Self::NoSuchRole { .. }
            | Self::Role(_)
            | Self::Release(_)
            | Self::Sign(_)
            | Self::NotStrict { .. }
            | Self::ReadBack(_)
            | Self::Write { .. }
            | Self::Publish(_) => None,
        }
    }

    /// Whether the mistake is in what was asked for.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Unusable { .. }
                | Self::NoSuchTargets { .. }
                | Self::NoSuchRole { .. }
                | Self::Role(_)
                | Self::Release(_)
        )
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Why one file cannot be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdditionProblem {
    /// It cannot be read or copied.
    #[error("could not read `{file}`: {source}")]
    Unreadable {
        /// The file.
        file: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory, or worse.
    #[error("`{file}` is not a file")]
    NotAFile {
        /// What was given.
        file: Utf8PathBuf,
    },
    /// Nothing in it.
    #[error("`{file}` is empty")]
    Empty {
        /// The file.
        file: Utf8PathBuf,
    },
    /// A program where an archive belongs, or the other way round.
    #[error(
        "`{file}` cannot be published as `{wanted}`: one is a gzipped archive, the other is not"
    )]
    WrongKind {
        /// The file.
        file: Utf8PathBuf,
        /// What agents look for.
        wanted: String,
    },
    /// A channel where a version belongs.
    #[error("`{version}` is not a version for `{file}` (1.2.3)")]
    NoVersion {
        /// The file.
        file: Utf8PathBuf,
        /// What was given.
        version: String,
    },
    /// Two files for one target.
    #[error("two files are to become `{target}`")]
    Twice {
        /// The target.
        target: ProgramTarget,
    },
    /// The version was published before with another content.
    #[error("`{target}` is published already with another content: give the file a new version")]
    VersionTaken {
        /// The target.
        target: ProgramTarget,
    },
}
