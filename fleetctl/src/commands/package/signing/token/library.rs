//! A token's own library, loaded into this program.

use std::{path::Path, sync::Mutex};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism,
    object::{Attribute, AttributeType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};

use super::{AskPin, MAY_NOT_SIGN, Mechanism, PIN_LOCKED, PIN_WRONG, asked, only_key, only_token};
use crate::commands::package::signing::uri::{TokenInfo, TokenUri};

/// A key in a token. The session with it is open, and whoever has the PIN is signed in.
#[derive(Debug)]
pub(super) struct Library {
    session: Mutex<Session>,
    key: ObjectHandle,
}

impl Library {
    /// Whether there can be one.
    pub(super) const CAN_BE_LOADED: bool = true;

    /// Loads `module`, opens the token that `uri` names, and finds the key in it. `pin` is asked if the
    /// token wants one.
    pub(super) fn open(module: &Path, uri: &TokenUri, pin: AskPin<'_>) -> Result<Self, String> {
        let told = |error: Error| told(&error);
        let library = Pkcs11::new(module).map_err(|error| {
            format!("the library `{}` cannot be used: {error}", module.display())
        })?;
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
        Ok(Self { session: Mutex::new(session), key })
    }

    /// Signs a digest; what ECDSA gives is two numbers, one behind the other.
    pub(super) fn sign(&self, mechanism: Mechanism, digest: &[u8]) -> Result<Vec<u8>, String> {
        let mechanism = match mechanism {
            Mechanism::RsaPkcs => mechanism::Mechanism::RsaPkcs,
            Mechanism::Ecdsa => mechanism::Mechanism::Ecdsa,
        };
        let session = self.session.lock().map_err(|_| "the token is in disorder")?;
        session.sign(&mechanism, self.key, digest).map_err(|error| told(&error))
    }
}

/// The only slot whose token is the one that `uri` names.
fn slot(library: &Pkcs11, uri: &TokenUri) -> Result<Slot, String> {
    let mut fitting = Vec::new();
    for slot in library.get_slots_with_initialized_token().map_err(|error| told(&error))? {
        let info = library.get_token_info(slot).map_err(|error| told(&error))?;
        let token = TokenInfo {
            slot: slot.id(),
            label: info.label(),
            serial: info.serial_number(),
            manufacturer: info.manufacturer_id(),
            model: info.model(),
        };
        if uri.names(&token) {
            fitting.push(slot);
        }
    }
    only_token(fitting)
}

fn sign_in(session: &Session, pin: AskPin<'_>) -> Result<(), String> {
    let pin = asked(pin)?;
    match session.login(UserType::User, Some(&AuthPin::from(pin.0.clone()))) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(error) => Err(told(&error)),
    }
}

fn key(session: &Session, uri: &TokenUri) -> Result<ObjectHandle, String> {
    let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
    template.extend(uri.object.iter().map(|label| Attribute::Label(label.clone().into_bytes())));
    template.extend(uri.id.iter().map(|id| Attribute::Id(id.clone())));
    let key = only_key(session.find_objects(&template).map_err(|error| told(&error))?)?;
    let signs = session.get_attributes(key, &[AttributeType::Sign]);
    if signs.map_err(|error| told(&error))?.contains(&Attribute::Sign(false)) {
        return Err(MAY_NOT_SIGN.to_owned());
    }
    Ok(key)
}

fn told(error: &Error) -> String {
    let Error::Pkcs11(reason, _) = error else { return format!("the token failed: {error}") };
    let wrong =
        matches!(reason, RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange);
    if wrong {
        return PIN_WRONG.to_owned();
    }
    if matches!(reason, RvError::PinLocked) {
        return PIN_LOCKED.to_owned();
    }
    format!("the token refused: {reason}")
}
