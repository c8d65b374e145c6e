//! Why a package could not be read.

use std::io::{self, ErrorKind};

/// Why a package could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    #[error("could not read the package")]
    Read(#[source] io::Error),
    #[error("it is no package of type deb, rpm, msi or pkg")]
    Unknown,
    #[error("its {part} ends too early")]
    Truncated { part: &'static str },
    #[error("its {part} cannot be read: {reason}")]
    Damaged { part: &'static str, reason: String },
    #[error("its {part} has more than {limit} {unit}, which no package needs")]
    TooBig { part: &'static str, limit: u64, unit: &'static str },
    #[error("its {part} is {what}, which is not read here")]
    Unsupported { part: &'static str, what: String },
}

impl ReadError {
    pub(super) fn damaged(part: &'static str, reason: impl Into<String>) -> Self {
        Self::Damaged { part, reason: reason.into() }
    }

    /// What reading `part` met: the file's end, nonsense, or a machine that cannot read.
    pub(super) fn at(part: &'static str) -> impl Fn(io::Error) -> Self + Copy {
        move |error| {
            let kind = error.kind();
            let nonsense = [ErrorKind::InvalidData, ErrorKind::InvalidInput, ErrorKind::Other];
            if kind == ErrorKind::UnexpectedEof {
                return Self::Truncated { part };
            }
            if !nonsense.contains(&kind) {
                return Self::Read(error);
            }
            match error.downcast::<Self>() {
                Ok(named) => named,
                Err(error) => Self::Damaged { part, reason: error.to_string() },
            }
        }
    }
}

/// For readers that pass through libraries: [`ReadError::at`] brings it back.
impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        Self::other(error)
    }
}
