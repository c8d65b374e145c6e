//! Keys in tokens, reached through the library that a token comes with. Source: PKCS #11 3.0.

use std::sync::Mutex;

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, AttributeType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use packager::sign::{Scheme, SignError, Signer};
use sha2::{Digest as _, Sha256, Sha384};

use super::uri::TokenUri;

/// A key in a token. The session with it is open, and whoever has the PIN is signed in.
#[derive(Debug)]
pub(crate) struct Token {
    session: Mutex<Session>,
    key: ObjectHandle,
    scheme: Scheme,
}

/// What RSA signs with SHA-256: this, and the digest. Source: RFC 8017, 9.2.
const DIGEST_INFO: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20];

impl Token {
    /// Opens the token that `uri` names, and finds the key in it, which is to sign as `scheme` has it. `pin` is
    /// asked if the token wants one.
    pub(crate) fn open(
        uri: &TokenUri,
        scheme: Scheme,
        pin: &dyn Fn() -> Option<String>,
    ) -> Result<Self, String> {
        if scheme == Scheme::Ed25519 {
            return Err("tokens sign with RSA and ECDSA alone".to_owned());
        }
        let path = uri.module.as_deref().ok_or("no library of the token is named")?;
        let told = |error: Error| told(&error);
        let library = Pkcs11::new(path)
            .map_err(|error| format!("the library `{}` cannot be used: {error}", path.display()))?;
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        match library.initialize(arguments) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(told(error)),
        }
        let slot = slot(&library, uri)?;
        let session = library.open_ro_session(slot).map_err(told)?;
        if library.get_token_info(slot).map_err(told)?.login_required() {
            sign_in(&session, pin)?;
        }
        let key = key(&session, uri)?;
        Ok(Self { session: Mutex::new(session), key, scheme })
    }

    fn sign_digest(&self, mechanism: &Mechanism<'_>, digest: &[u8]) -> Result<Vec<u8>, SignError> {
        let session = self.session.lock();
        let session = session.map_err(|_| SignError::Refused("the token is in disorder".into()))?;
        let signed = session.sign(mechanism, self.key, digest);
        signed.map_err(|error| SignError::Refused(told(&error).into()))
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
                self.sign_digest(&Mechanism::RsaPkcs, &info)
            }
            Scheme::EcdsaP256Sha256 => {
                self.sign_digest(&Mechanism::Ecdsa, &Sha256::digest(message)).map(|it| der(&it))
            }
            Scheme::EcdsaP384Sha384 => {
                self.sign_digest(&Mechanism::Ecdsa, &Sha384::digest(message)).map(|it| der(&it))
            }
            Scheme::Ed25519 | _ => Err(SignError::Refused("it does not sign so".into())),
        }
    }
}

/// The only slot whose token is the one that `uri` names.
fn slot(library: &Pkcs11, uri: &TokenUri) -> Result<Slot, String> {
    let mut fitting = Vec::new();
    for slot in library.get_slots_with_initialized_token().map_err(|error| told(&error))? {
        let info = library.get_token_info(slot).map_err(|error| told(&error))?;
        let wanted = [
            (&uri.token, info.label()),
            (&uri.serial, info.serial_number()),
            (&uri.manufacturer, info.manufacturer_id()),
            (&uri.model, info.model()),
        ];
        let fits = |(wanted, has): &(&Option<String>, &str)| {
            wanted.as_ref().is_none_or(|wanted| wanted == has.trim_end())
        };
        if wanted.iter().all(fits) && uri.slot.is_none_or(|number| number == slot.id()) {
            fitting.push(slot);
        }
    }
    match fitting[..] {
        [slot] => Ok(slot),
        [] => Err("there is no such token".to_owned()),
        _ => Err("there are several such tokens: add token=… or serial=…".to_owned()),
    }
}

fn sign_in(session: &Session, pin: &dyn Fn() -> Option<String>) -> Result<(), String> {
    let pin = pin().ok_or("the token wants a PIN, and there is none")?;
    match session.login(UserType::User, Some(&AuthPin::from(pin))) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(error) => Err(told(&error)),
    }
}

fn key(session: &Session, uri: &TokenUri) -> Result<ObjectHandle, String> {
    let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
    template.extend(uri.object.iter().map(|label| Attribute::Label(label.clone().into_bytes())));
    template.extend(uri.id.iter().map(|id| Attribute::Id(id.clone())));
    let found = session.find_objects(&template).map_err(|error| told(&error))?;
    match found[..] {
        [key] => {
            let signs = session.get_attributes(key, &[AttributeType::Sign]);
            let signs = signs.map_err(|error| told(&error))?;
            if signs.contains(&Attribute::Sign(false)) {
                return Err("the key in the token may not sign".to_owned());
            }
            Ok(key)
        }
        [] => Err("there is no such key in the token".to_owned()),
        _ => Err("there are several such keys in the token: add id=…".to_owned()),
    }
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

fn told(error: &Error) -> String {
    let Error::Pkcs11(reason, _) = error else { return format!("the token failed: {error}") };
    let wrong =
        matches!(reason, RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange);
    if wrong {
        return "the PIN is wrong".to_owned();
    }
    if matches!(reason, RvError::PinLocked) {
        return "the PIN is locked: it was wrong too often".to_owned();
    }
    format!("the token refused: {reason}")
}
