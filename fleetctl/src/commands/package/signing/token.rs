//! Keys in tokens. Source: PKCS #11 3.0.
//!
//! A token comes with a library, which this program loads. One that is linked statically cannot: there `pkcs11-tool`, a
//! program of OpenSC's, loads it. Both are asked to sign digests; what is around a digest is made here.

#[cfg_attr(
    not(any(
        all(target_os = "linux", not(target_env = "musl")),
        target_os = "macos",
        all(windows, target_arch = "x86_64")
    )),
    path = "token/no_library.rs"
)]
mod library;
mod listing;
mod tool;

use packager::sign::{Scheme, SignError, Signer};
use sha2::{Digest as _, Sha256, Sha384};
use wire::api::Hidden;

use self::{library::Library, tool::Tool};
use super::uri::TokenUri;
use crate::config::pkcs11_tool;

/// What is asked for the PIN of a token.
type AskPin<'a> = &'a dyn Fn() -> Option<String>;

const MAY_NOT_SIGN: &str = "the key in the token may not sign";
const NO_TOKEN: &str = "there is no such token";
const PIN_LOCKED: &str = "the PIN is locked: it was wrong too often";
const PIN_WRONG: &str = "the PIN is wrong";

/// A key in a token.
#[derive(Debug)]
pub(crate) struct Token {
    way: Way,
    scheme: Scheme,
}

/// What speaks with the token.
#[derive(Debug)]
enum Way {
    Library(Library),
    Tool(Tool),
}

/// How a token signs what was digested here.
#[derive(Debug, Clone, Copy)]
enum Mechanism {
    /// `CKM_RSA_PKCS`: the digest comes with [`DIGEST_INFO`].
    RsaPkcs,
    /// `CKM_ECDSA`.
    Ecdsa,
}

/// What RSA signs with SHA-256: this, and the digest. Source: RFC 8017, 9.2.
const DIGEST_INFO: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20];

impl Token {
    /// Opens the token that `uri` names, and finds the key in it, which is to sign as `scheme` has it. `pin` is
    /// asked if the token wants one.
    pub(crate) fn open(uri: &TokenUri, scheme: Scheme, pin: AskPin<'_>) -> Result<Self, String> {
        if scheme == Scheme::Ed25519 {
            return Err("tokens sign with RSA and ECDSA alone".to_owned());
        }
        let module = uri.module.as_deref().ok_or("no library of the token is named")?;
        let way = match pkcs11_tool() {
            None if Library::CAN_BE_LOADED => Library::open(module, uri, pin).map(Way::Library),
            named => {
                let program = named.unwrap_or_else(|| tool::NAME.into());
                Tool::open((program, module.to_owned()), uri, pin).map(Way::Tool)
            }
        };
        Ok(Self { way: way?, scheme })
    }

    fn sign_digest(&self, mechanism: Mechanism, digest: &[u8]) -> Result<Vec<u8>, SignError> {
        let signed = match &self.way {
            Way::Library(library) => library.sign(mechanism, digest),
            Way::Tool(tool) => tool.sign(mechanism, digest),
        };
        signed.map_err(|reason| SignError::Refused(reason.into()))
    }
}

impl Signer for Token {
    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match self.scheme {
            Scheme::RsaSha256 => {
                let info = [&DIGEST_INFO[..], &Sha256::digest(message)].concat();
                self.sign_digest(Mechanism::RsaPkcs, &info)
            }
            Scheme::EcdsaP256Sha256 => {
                self.sign_digest(Mechanism::Ecdsa, &Sha256::digest(message)).map(|it| der(&it))
            }
            Scheme::EcdsaP384Sha384 => {
                self.sign_digest(Mechanism::Ecdsa, &Sha384::digest(message)).map(|it| der(&it))
            }
            Scheme::Ed25519 | _ => Err(SignError::Refused("it does not sign so".into())),
        }
    }
}

fn asked(pin: AskPin<'_>) -> Result<Hidden, String> {
    let pin = pin().map(Hidden).ok_or("the token wants a PIN, and there is none")?;
    if pin.0.is_empty() {
        return Err("the token wants a PIN, and the one given is empty".to_owned());
    }
    Ok(pin)
}

/// The only one of the tokens that fit.
fn only_token<T>(fitting: Vec<T>) -> Result<T, String> {
    only(fitting, NO_TOKEN, "there are several such tokens: add token=… or serial=…")
}

/// The only one of the keys that fit.
fn only_key<T>(fitting: Vec<T>) -> Result<T, String> {
    let several = "there are several such keys in the token: add id=…";
    only(fitting, "there is no such key in the token", several)
}

fn only<T>(mut fitting: Vec<T>, none: &str, several: &str) -> Result<T, String> {
    let one = fitting.pop().ok_or(none)?;
    if fitting.is_empty() { Ok(one) } else { Err(several.to_owned()) }
}

/// The two numbers of an ECDSA signature, which a token gives one behind the other, as
/// `ECDSA-Sig-Value` (RFC 3279, 2.2.3). All lengths are below 128.
fn der(raw: &[u8]) -> Vec<u8> {
    let integer = |half: &[u8]| {
        let digits: Vec<u8> = half.iter().copied().skip_while(|byte| *byte == 0).collect();
        let sign = digits.first().is_none_or(|byte| byte & 0x80 != 0);
        let mut integer = vec![2, (digits.len() + usize::from(sign)) as u8];
        integer.extend(sign.then_some(0));
        integer.extend(digits);
        integer
    };
    let (one, other) = raw.split_at(raw.len() / 2);
    let numbers = [integer(one), integer(other)].concat();
    [vec![0x30, numbers.len() as u8], numbers].concat()
}
