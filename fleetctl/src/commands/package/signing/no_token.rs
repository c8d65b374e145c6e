//! Keys in tokens, for a program that cannot load the library of a token: one that is linked statically.

use packager::sign::{Scheme, SignError, Signer};

use super::uri::TokenUri;

/// A key in a token; there is none here.
#[derive(Debug)]
pub(crate) enum Token {}

impl Token {
    pub(crate) fn open(
        _: &TokenUri,
        _: Scheme,
        _: &dyn Fn() -> Option<String>,
    ) -> Result<Self, String> {
        Err("this fleetctl, one static program, loads no library of a token: give \
             exec:PROGRAM, as docs/signing.md shows with pkcs11-tool"
            .to_owned())
    }
}

impl Signer for Token {
    fn scheme(&self) -> Scheme {
        match *self {}
    }

    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SignError> {
        match *self {}
    }
}
