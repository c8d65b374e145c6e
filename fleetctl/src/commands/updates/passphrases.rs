//! Passphrases of signing keys: from the environment, else asked for.

use update::{KeyDir, Passphrase, SigningKey, TufRole, keys::KeyError};

use crate::{config::passphrase_variable, exit::Stop, prompt};

/// How often a passphrase that was typed wrong is asked for again.
const TRIES: u32 = 3;

/// A passphrase for a new key, asked for twice.
pub(crate) fn new(role: TufRole) -> anyhow::Result<Passphrase> {
    let (variable, value) = passphrase_variable(role.as_str());
    if let Some(value) = value {
        return checked(&value.0, &variable);
    }
    let first = prompt::ask_hidden(&format!("Passphrase for the {role} key: "), &variable)?;
    let again = prompt::ask_hidden(&format!("The {role} passphrase again: "), &variable)?;
    if first != again {
        return Err(Stop::usage("the passphrases differ").into());
    }
    checked(&first.0, &variable)
}

/// The key of `role`. A wrong passphrase from the environment is final; a typed one may be typed
/// again.
pub(crate) fn unlock(keys: &KeyDir, role: TufRole) -> anyhow::Result<SigningKey> {
    let (variable, value) = passphrase_variable(role.as_str());
    if let Some(value) = value {
        return Ok(keys.unlock(role, &checked(&value.0, &variable)?)?);
    }
    for _ in 1..TRIES {
        match keys.unlock(role, &asked(role, &variable)?) {
            Err(KeyError::WrongPassphrase { .. }) => {}
            result => return Ok(result?),
        }
    }
    Ok(keys.unlock(role, &asked(role, &variable)?)?)
}

fn asked(role: TufRole, variable: &str) -> anyhow::Result<Passphrase> {
    let typed = prompt::ask_hidden(&format!("Passphrase of the {role} key: "), variable)?;
    checked(&typed.0, variable)
}

fn checked(text: &str, variable: &str) -> anyhow::Result<Passphrase> {
    Passphrase::new(text.to_owned())
        .map_err(|error| Stop::usage(format!("{variable}: {error}")).into())
}
