//! What can go wrong, an enum for each step. `Display` says what was being done to what; the
//! cause is in `source()`.

use std::{fmt, io};

use camino::Utf8PathBuf;
use semver::Version;

use crate::{
    payload::{ComponentKind, MadeFor, Os, Platform},
    spec::Field,
    tree::{InstallPath, InvalidPath},
};

/// Something in a [`Draft`](crate::Draft) that no package can be built from. Never shows a value
/// that may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    #[error("the {field} cannot be used: {reason}")]
    Unusable { field: Field, reason: String },
    #[error("the {field} goes together with the {with}, which is missing")]
    Alone { field: Field, with: Field },
    #[error("the {field} contradicts insecure: it would not be looked at")]
    Insecure { field: Field },
    #[error("architecture `{given}` is neither `amd64` nor `arm64`")]
    UnknownArch { given: String },
    #[error("identifier `{given}` is not like `com.example.agent`")]
    Identifier { given: String },
    #[error("compression `{given}` cannot be used: {reason}")]
    Compression { given: String, reason: String },
}

/// Everything that is wrong with a [`Draft`](crate::Draft), in the order of its fields; at least
/// one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecErrors(pub Vec<SpecError>);

impl std::error::Error for SpecErrors {}

impl fmt::Display for SpecErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "; " })?;
            if let Some(cause) = std::error::Error::source(error) {
                write!(f, ": {cause}")?;
            }
        }
        Ok(())
    }
}

/// Why binaries cannot be a payload.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    #[error("could not read `{path}`")]
    Read { path: Utf8PathBuf, source: io::Error },
    #[error("`{path}` is not a file")]
    NotAFile { path: Utf8PathBuf },
    #[error("`{path}` is a program for {made_for}, not for {platform}")]
    WrongPlatform { path: Utf8PathBuf, made_for: MadeFor, platform: Platform },
    #[error("`{path}` is no program that {platform} could start")]
    NotAProgram { path: Utf8PathBuf, platform: Platform },
    #[error("`{path}` holds no application bundle: {reason}")]
    Bundle { path: Utf8PathBuf, reason: String },
    #[error("{kind} is given twice")]
    Twice { kind: ComponentKind },
    #[error("orbit is missing")]
    NoOrbit,
}

/// Why a spec and a payload do not make a package.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    #[error("two things want to be at `{path}`")]
    Collision { path: InstallPath },
    #[error("a file cannot be put where its name says")]
    Path(#[from] InvalidPath),
    #[error("nothing is known of where things are on {os}")]
    NoLayout { os: Os },
    #[error("the {what} has a password in it, which everybody on the device could read")]
    Exposed { what: &'static str },
    #[error("the osquery database `{path}` is not an absolute path on {os}")]
    ForeignPath { path: String, os: Os },
    #[error("the publisher `{name}` has letters that an installer for Windows cannot show")]
    Letters { name: String },
    #[error("version {version} does not fit its installer, whose numbers end at {limit}")]
    Version { version: Version, limit: &'static str },
    #[error("the spec wants {kind}, which the payload has not")]
    Missing { kind: ComponentKind },
}

/// Why a package could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    #[error("could not read `{path}`")]
    Read { path: Utf8PathBuf, source: io::Error },
    #[error("`{path}` changed while it was read")]
    Changed { path: Utf8PathBuf },
    #[error("could not write the package")]
    Write(#[source] io::Error),
    #[error("`{path}` is a symlink, which the format does not have")]
    Symlink { path: InstallPath },
    #[error(
        "`{one}` and `{other}` differ in case alone, which the systems of the format take for one"
    )]
    SameName { one: InstallPath, other: InstallPath },
    #[error("the package is too big for its format: {what} is over {limit} bytes")]
    TooBig { what: &'static str, limit: u64 },
}
