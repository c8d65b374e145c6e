//! The OpenPGP key that a command signs with: from a file or the environment, with its passphrase from
//! the environment, a file, or the person at the terminal.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use packager::{
    SourceDate,
    sign::{
        Scheme, Signer,
        openpgp::{KeyError, SigningKey, needs_passphrase},
    },
};
use wire::api::Hidden;

use crate::{
    commands::{
        expiry::now,
        package::{
            files::{read_text, unreadable},
            signing::{Command, KeyRef, Token},
        },
    },
    config::{OPENPGP_KEY, OPENPGP_PASSPHRASE, OpenPgpVariables},
    prompt,
};

/// How often a passphrase that was typed wrong is asked for again.
const TRIES: u32 = 3;

/// The flags of every command that signs so.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct OpenPgpArgs {
    /// Secret key to sign with, as `gpg --export-secret-keys` writes it
    #[arg(long, value_name = "FILE")]
    pub openpgp_key: Option<PathBuf>,
    /// File with its passphrase on the only line; - for standard input
    #[arg(long, value_name = "FILE")]
    pub openpgp_passphrase_file: Option<PathBuf>,
    /// Program that signs with the secret part of a public --openpgp-key, in a cloud for example;
    /// or pkcs11:KEY
    #[arg(long, value_name = "PROGRAM")]
    pub openpgp_sign_command: Option<PathBuf>,
}

impl OpenPgpArgs {
    /// The key, if one is given. What is wrong is told of the flag or variable that it is wrong with.
    pub(crate) fn key(&self, variables: &OpenPgpVariables) -> Result<Option<SigningKey>, String> {
        let Some((named, file)) = self.file(variables)? else {
            return self
                .stray()
                .map_or(Ok(None), |flag| Err(format!("{flag} goes together with --openpgp-key")));
        };
        let told = |error: KeyError| format!("{named} cannot be used: {error}");
        let now = SourceDate::from_unix(u32::try_from(now().as_second()).unwrap_or(u32::MAX));
        if let Some(command) = &self.openpgp_sign_command {
            let flag = "--openpgp-sign-command";
            let key = KeyRef::parse_command(command);
            let key = key.map_err(|problem| format!("{flag} cannot be used: {problem}"))?;
            let wanted = SigningKey::wanted(&file, now).map_err(told)?;
            let signer = self.signer(&key, wanted, variables)?;
            return SigningKey::from_signer(&file, signer, now).map(Some).map_err(told);
        }
        let open = |passphrase: Option<&str>| SigningKey::from_secret_key(&file, passphrase, now);
        if !needs_passphrase(&file) {
            return open(None).map(Some).map_err(told);
        }
        if let Some(passphrase) = self.passphrase(variables)? {
            return open(Some(&passphrase.0)).map(Some).map_err(told);
        }
        // What cannot be used anyway is told before anybody types.
        match open(None) {
            Err(KeyError::NoPassphrase) => {}
            result => return result.map(Some).map_err(told),
        }
        for _ in 1..TRIES {
            match open(Some(&asked(&named)?.0)) {
                Err(KeyError::WrongPassphrase) => {}
                result => return result.map(Some).map_err(told),
            }
        }
        open(Some(&asked(&named)?.0)).map(Some).map_err(told)
    }

    /// Who has the secret part of a key that signs as `scheme` has it.
    fn signer(
        &self,
        key: &KeyRef,
        (scheme, fingerprint): (Scheme, String),
        variables: &OpenPgpVariables,
    ) -> Result<Arc<dyn Signer>, String> {
        let flag = "--openpgp-sign-command";
        match key {
            KeyRef::Program(_) | KeyRef::File(_) if self.openpgp_passphrase_file.is_some() => {
                Err(format!("--openpgp-passphrase-file and {flag} contradict each other"))
            }
            KeyRef::Program(path) | KeyRef::File(path) => {
                Ok(Arc::new(Command::of_key(path, scheme, fingerprint)))
            }
            KeyRef::Token(uri) => {
                let given = self.passphrase(variables)?;
                let asked = || asked("the token").ok();
                let pin = || {
                    uri.pin()
                        .or_else(|| given.clone().or_else(asked).map(|hidden| hidden.0.clone()))
                };
                let token = Token::open(uri, scheme, &pin);
                token
                    .map(|token| Arc::new(token) as Arc<dyn Signer>)
                    .map_err(|problem| format!("{flag} cannot be used: {problem}"))
            }
        }
    }

    /// A flag that says more of a key, if one is given.
    fn stray(&self) -> Option<&'static str> {
        let passphrase = self.openpgp_passphrase_file.as_ref();
        let command = self.openpgp_sign_command.as_ref();
        passphrase
            .map(|_| "--openpgp-passphrase-file")
            .or(command.map(|_| "--openpgp-sign-command"))
    }

    /// Whether somebody may be asked for a passphrase.
    pub(crate) fn asks(&self, variables: &OpenPgpVariables) -> bool {
        self.openpgp_passphrase_file.is_none() && variables.passphrase.is_none()
    }

    /// What the key is called here, and its bytes.
    fn file(&self, variables: &OpenPgpVariables) -> Result<Option<(String, Vec<u8>)>, String> {
        match (&self.openpgp_key, &variables.key) {
            (Some(path), _) => {
                let bytes = std::fs::read(path)
                    .map_err(|error| unreadable("--openpgp-key", path, &error))?;
                Ok(Some((format!("--openpgp-key `{}`", path.display()), bytes)))
            }
            (None, Some(text)) => Ok(Some((OPENPGP_KEY.to_owned(), text.0.clone().into_bytes()))),
            (None, None) => Ok(None),
        }
    }

    fn passphrase(&self, variables: &OpenPgpVariables) -> Result<Option<Hidden>, String> {
        match &self.openpgp_passphrase_file {
            Some(path) => passphrase_in(path).map(Some),
            None => Ok(variables.passphrase.clone()),
        }
    }
}

fn passphrase_in(path: &Path) -> Result<Hidden, String> {
    let flag = "--openpgp-passphrase-file";
    let text = read_text(path).map_err(|error| unreadable(flag, path, &error))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains('\n') {
        return Err(format!("{flag} `{}` does not hold one line", path.display()));
    }
    Ok(Hidden(line.to_owned()))
}

fn asked(named: &str) -> Result<Hidden, String> {
    let question = format!("Passphrase of {named}: ");
    let instead = format!("--openpgp-passphrase-file or {OPENPGP_PASSPHRASE}");
    prompt::ask_hidden(&question, &instead).map_err(|error| format!("{error:#}"))
}
