//! How the process ends: exit codes, and the errors that decide on one.

use std::process::ExitCode;

/// What a script may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    Success = 0,
    /// The machine, the network or the server did not do it.
    Failure = 1,
    /// The command line or a file named on it is wrong; nothing was done.
    Usage = 2,
    /// Nobody is signed in, or the credentials are refused.
    Unauthenticated = 4,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

/// An error that knows how the process must end and what the user can do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// Everything that is wrong with what the user gave, one sentence each.
    #[error("{}", sentence(.problems))]
    Usage { problems: Vec<String>, help: Option<String> },
    #[error("{message}")]
    Unauthenticated { message: String, help: Option<String> },
    #[error("{message}")]
    Failed { message: String, help: Option<String> },
    /// The output was printed and said it all.
    #[error("a check failed")]
    Reported,
    /// Whoever read our output has had enough.
    #[error("the output was closed")]
    OutputClosed,
}

impl Stop {
    /// One thing that is wrong with the command line.
    pub(crate) fn usage(problem: impl Into<String>) -> Self {
        Self::Usage { problems: vec![problem.into()], help: None }
    }

    /// A failure with advice.
    pub(crate) fn failed(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), help: Some(help.into()) }
    }

    /// `error` and its causes, with the advice that it may have.
    pub(crate) fn advised(
        error: impl std::error::Error + Send + Sync + 'static,
        help: Option<String>,
    ) -> Self {
        Self::Failed { message: format!("{:#}", anyhow::Error::new(error)), help }
    }

    /// Refused credentials, with advice.
    pub(crate) fn unauthenticated(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Unauthenticated { message: message.into(), help: Some(help.into()) }
    }

    fn status(&self) -> ExitStatus {
        match self {
            Self::Usage { .. } => ExitStatus::Usage,
            Self::Unauthenticated { .. } => ExitStatus::Unauthenticated,
            Self::Failed { .. } | Self::Reported => ExitStatus::Failure,
            Self::OutputClosed => ExitStatus::Success,
        }
    }

    fn help(&self) -> Option<&str> {
        match self {
            Self::Usage { help, .. }
            | Self::Unauthenticated { help, .. }
            | Self::Failed { help, .. } => help.as_deref(),
            Self::Reported | Self::OutputClosed => None,
        }
    }
}

fn sentence(problems: &[String]) -> String {
    match problems {
        [one] => one.clone(),
        many => many.iter().fold(format!("{} problems:", many.len()), |text, problem| {
            format!("{text}\n  - {}", problem.replace('\n', "\n    "))
        }),
    }
}

/// The exit status that `error` leads to.
pub(crate) fn status_of(error: &anyhow::Error) -> ExitStatus {
    stop_in(error).map_or(ExitStatus::Failure, Stop::status)
}

/// What the user can do about `error`, if anything is known.
pub(crate) fn help_of(error: &anyhow::Error) -> Option<&str> {
    stop_in(error).and_then(Stop::help)
}

/// Whether nothing is left to be said about `error`.
pub(crate) fn is_silent(error: &anyhow::Error) -> bool {
    matches!(stop_in(error), Some(Stop::OutputClosed | Stop::Reported))
}

fn stop_in(error: &anyhow::Error) -> Option<&Stop> {
    error.chain().find_map(|cause| cause.downcast_ref())
}
