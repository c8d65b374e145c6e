//! Where the agent asks no TPM yet for a key that stays in it.

use camino::Utf8Path;
use zeroize::Zeroizing;

/// There is none.
#[derive(Debug)]
pub enum TpmKey {}

/// Why there is no key of a TPM's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TpmError {
    #[error("the agent asks no TPM on this system")]
    Absent,
}

impl TpmError {
    /// Whether there is no TPM at all: always.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        true
    }
}

impl TpmKey {
    /// Makes none.
    pub const fn make(_system: &Utf8Path) -> Result<Self, TpmError> {
        Err(TpmError::Absent)
    }

    /// None: no text is of such a key.
    #[must_use]
    pub const fn from_text(_text: &str, _system: &Utf8Path) -> Option<Self> {
        None
    }

    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        match *self {}
    }

    #[must_use]
    pub fn public(&self) -> &[u8] {
        match *self {}
    }

    pub fn rest(&self) {
        match *self {}
    }

    pub fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, TpmError> {
        match *self {}
    }
}
