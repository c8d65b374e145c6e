//! Where a private key is: in a file, with a program that signs, or in a token.

use std::path::{Path, PathBuf};

use super::uri::TokenUri;

/// What a flag that names a key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyRef {
    File(PathBuf),
    /// `exec:PROGRAM`, started as [`super::Command`] says.
    Program(PathBuf),
    /// `pkcs11:…`.
    Token(Box<TokenUri>),
}

impl KeyRef {
    const PROGRAM: &str = "exec:";

    /// What is no reference is a file.
    pub(crate) fn parse(text: &Path) -> Result<Self, String> {
        let file = Self::File(text.to_owned());
        let Some(text) = text.to_str() else { return Ok(file) };
        if let Some(program) = text.strip_prefix(Self::PROGRAM) {
            return Ok(Self::Program(program.into()));
        }
        if text.starts_with(TokenUri::SCHEME) {
            return TokenUri::parse(text).map(Box::new).map(Self::Token);
        }
        Ok(file)
    }

    /// Like [`Self::parse`], for flags that take programs: what is no reference is one.
    pub(crate) fn parse_command(text: &Path) -> Result<Self, String> {
        Ok(match Self::parse(text)? {
            Self::File(program) => Self::Program(program),
            reference @ (Self::Program(_) | Self::Token(_)) => reference,
        })
    }
}
