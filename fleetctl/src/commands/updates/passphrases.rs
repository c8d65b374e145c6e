//! Passphrases of signing keys: from a file, else from the environment, else asked for.

use std::{
    fs,
    io::{self, Read as _},
    sync::OnceLock,
};

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use update::{KeyDir, KeyName, Passphrase, SigningKey, keys::KeyError};
use wire::api::Hidden;

use crate::{config::passphrase_variable, exit::Stop, prompt};

/// How often a passphrase that was typed wrong is asked for again.
const TRIES: u32 = 3;

/// The longest file of a passphrase that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PassphraseArgs {
    /// File whose first line opens every key that is needed
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<Utf8PathBuf>,
    /// Open file descriptor to read it from instead
    #[arg(long, value_name = "NUMBER", conflicts_with = "passphrase_file")]
    passphrase_fd: Option<u32>,
    /// The first line, once it was read: a pipe gives it once, and several keys may need it.
    #[arg(skip)]
    line: OnceLock<Hidden>,
}

impl PassphraseArgs {
    /// From `path`, if there is one.
    pub(crate) fn from_file(path: Option<Utf8PathBuf>) -> Self {
        Self { passphrase_file: path, ..Self::default() }
    }

    /// A passphrase in place of the one that a key has, which the environment names.
    pub(crate) fn asked_anew(&self, key: &str) -> anyhow::Result<Passphrase> {
        match &self.passphrase_file {
            Some(_) => self.new_for(key),
            None => asked_twice(key, "--new-passphrase-file"),
        }
    }

    /// A passphrase for a new key, asked for twice.
    pub(crate) fn new_for(&self, key: &str) -> anyhow::Result<Passphrase> {
        if let Some((from, value)) = self.given(key)? {
            return checked(&value, &from);
        }
        asked_twice(key, &passphrase_variable(key).0)
    }

    /// The passphrase of a key that is there.
    pub(crate) fn existing(&self, key: &str) -> anyhow::Result<Passphrase> {
        match self.given(key)? {
            Some((from, value)) => checked(&value, &from),
            None => asked(key),
        }
    }

    /// What opens the token that has the key called `key`; none, if nobody can tell.
    pub(crate) fn pin(&self, key: &str) -> Option<String> {
        if let Ok(Some((_, value))) = self.given(key) {
            return Some(value.0.clone());
        }
        let variable = passphrase_variable(key).0;
        let asked =
            prompt::ask_hidden(&format!("PIN of the token with the key {key}: "), &variable);
        asked.ok().map(|pin| pin.0.clone())
    }

    /// The key called `key`. A wrong passphrase that was given is final; a typed one may be typed
    /// again.
    pub(crate) fn unlock(&self, keys: &KeyDir, key: &KeyName) -> anyhow::Result<SigningKey> {
        if let Some((from, value)) = self.given(key.as_str())? {
            return Ok(keys.unlock(key, &checked(&value, &from)?)?);
        }
        for _ in 1..TRIES {
            match keys.unlock(key, &asked(key.as_str())?) {
                Err(KeyError::WrongPassphrase { .. }) => {}
                result => return Ok(result?),
            }
        }
        Ok(keys.unlock(key, &asked(key.as_str())?)?)
    }

    /// What nobody needs to be asked for, and where it comes from.
    fn given(&self, key: &str) -> anyhow::Result<Option<(String, Hidden)>> {
        let path = match (&self.passphrase_file, self.passphrase_fd) {
            (Some(path), _) => path.clone(),
            (None, Some(number)) => format!("/dev/fd/{number}").into(),
            (None, None) => {
                let (variable, value) = passphrase_variable(key);
                return Ok(value.map(|value| (variable, value)));
            }
        };
        let line = match self.line.get() {
            Some(line) => line,
            None => {
                let line = first_line(&path);
                let line = line.with_context(|| format!("could not read `{path}`"))?;
                self.line.get_or_init(|| line)
            }
        };
        Ok(Some((path.into_string(), line.clone())))
    }
}

fn first_line(path: &Utf8Path) -> io::Result<Hidden> {
    let mut text = Hidden(String::new());
    fs::File::open(path)?.take(MAX_FILE).read_to_string(&mut text.0)?;
    Ok(Hidden(text.0.lines().next().unwrap_or_default().to_owned()))
}

/// A new passphrase; `instead` is what to give where nobody can be asked.
fn asked_twice(key: &str, instead: &str) -> anyhow::Result<Passphrase> {
    let first = prompt::ask_hidden(&format!("New passphrase for the key {key}: "), instead)?;
    let again = prompt::ask_hidden(&format!("The passphrase of {key} again: "), instead)?;
    if first != again {
        return Err(Stop::usage("the passphrases differ").into());
    }
    checked(&first, instead)
}

fn asked(key: &str) -> anyhow::Result<Passphrase> {
    let (variable, _) = passphrase_variable(key);
    let typed = prompt::ask_hidden(&format!("Passphrase of the key {key}: "), &variable)?;
    checked(&typed, &variable)
}

fn checked(text: &Hidden, from: &str) -> anyhow::Result<Passphrase> {
    Passphrase::new(text.0.clone()).map_err(|error| Stop::usage(format!("{from}: {error}")).into())
}
