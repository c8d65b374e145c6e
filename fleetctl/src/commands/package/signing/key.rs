//! Where a private key is: in a file, or with a program that signs.

use std::path::{Path, PathBuf};

/// What a flag that names a key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyRef {
    File(PathBuf),
    /// `exec:PROGRAM`, started as [`super::Command`] says.
    Program(PathBuf),
}

impl KeyRef {
    const PROGRAM: &str = "exec:";

    /// What is no reference is a file.
    pub(crate) fn parse(text: &Path) -> Self {
        match text.to_str().and_then(|text| text.strip_prefix(Self::PROGRAM)) {
            Some(program) => Self::Program(program.into()),
            None => Self::File(text.to_owned()),
        }
    }
}
