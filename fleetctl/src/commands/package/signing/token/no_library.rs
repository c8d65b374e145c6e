//! Libraries of tokens, for a program that cannot load one: one that is linked statically.

use std::path::Path;

use super::{AskPin, Mechanism};
use crate::commands::package::signing::uri::TokenUri;

/// A key in a token, reached through its library; there is none here.
#[derive(Debug)]
pub(super) enum Library {}

impl Library {
    /// Whether there can be one.
    pub(super) const CAN_BE_LOADED: bool = false;

    pub(super) fn open(_: &Path, _: &TokenUri, _: AskPin<'_>) -> Result<Self, String> {
        Err("this fleetctl, one static program, loads no library of a token".to_owned())
    }

    pub(super) fn sign(&self, _: Mechanism, _: &[u8]) -> Result<Vec<u8>, String> {
        match *self {}
    }
}
