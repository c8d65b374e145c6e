//! A token's library, loaded by `pkcs11-tool`, a program of OpenSC's.
//!
//! It is started to list tokens, to list keys, and once for each signature. The PIN is in its environment, where nobody
//! but its user and root can read it, and no other secret of fleetctl's is; digests go to its standard input, and signatures come from its standard output.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::Mutex,
};

use wire::api::Hidden;

use super::{AskPin, MAY_NOT_SIGN, Mechanism, NO_TOKEN, PIN_LOCKED, PIN_WRONG, asked, listing};
use crate::{
    commands::package::signing::uri::TokenUri,
    config::{PKCS11_TOOL, own_variables},
};

/// What it is called, wherever PATH leads to it.
pub(super) const NAME: &str = "pkcs11-tool";

/// The variable in which it finds the PIN. It takes those since OpenSC 0.15.
const PIN: &str = "FLEETCTL_TOKEN_PIN";

/// A key in a token.
#[derive(Debug)]
pub(super) struct Tool {
    loader: Loader,
    slot: String,
    /// The key's id, in hexadecimal.
    key: String,
    pin: Option<Hidden>,
    /// Held while it signs: some tokens have one session at a time.
    turn: Mutex<()>,
}

impl Tool {
    /// Finds the token that `uri` names, with the program and the library in it, and the key in that. `pin` is
    /// asked if the token wants one.
    pub(super) fn open(
        (program, module): (PathBuf, PathBuf),
        uri: &TokenUri,
        pin: AskPin<'_>,
    ) -> Result<Self, String> {
        let loader = Loader { program, module };
        let slots = loader.run(&["--list-token-slots"], None, &[])?;
        let (slot, wants_pin) = listing::slot(&String::from_utf8_lossy(&slots), uri)?;
        let slot = slot.to_string();
        let pin = wants_pin.then(|| asked(pin)).transpose()?;
        let list = ["--slot", &slot, "--list-objects", "--type", "privkey"];
        let keys = loader.run(&list, pin.as_ref(), &[])?;
        let key = hex::encode(listing::key(&String::from_utf8_lossy(&keys), uri)?);
        Ok(Self { loader, slot, key, pin, turn: Mutex::new(()) })
    }

    /// Signs a digest; what ECDSA gives is two numbers, one behind the other.
    pub(super) fn sign(&self, mechanism: Mechanism, digest: &[u8]) -> Result<Vec<u8>, String> {
        let mechanism = match mechanism {
            Mechanism::RsaPkcs => "RSA-PKCS",
            Mechanism::Ecdsa => "ECDSA",
        };
        let to = ["--slot", &self.slot, "--id", &self.key, "--sign", "--mechanism", mechanism];
        let args = [&to[..], &["--signature-format", "rs"]].concat();
        let _turn = self.turn.lock().map_err(|_| "the token is in disorder")?;
        self.loader.run(&args, self.pin.as_ref(), digest)
    }
}

/// The program, and the library that it loads.
#[derive(Debug)]
struct Loader {
    program: PathBuf,
    module: PathBuf,
}

impl Loader {
    /// What it prints, started with `args`, and `input` on its standard input.
    fn run(&self, args: &[&str], pin: Option<&Hidden>, input: &[u8]) -> Result<Vec<u8>, String> {
        #[expect(clippy::disallowed_methods, reason = "this program cannot load the library")]
        let mut command = Command::new(&self.program);
        command.arg("--module").arg(&self.module).args(args);
        for name in own_variables() {
            command.env_remove(name);
        }
        if let Some(pin) = pin {
            command.args(["--login", "--pin", &format!("env:{PIN}")]).env(PIN, &pin.0);
        }
        let output = exchange(&mut command, input).map_err(|error| self.not_run(&error))?;
        if output.status.success() { Ok(output.stdout) } else { Err(self.told(&output)) }
    }

    fn not_run(&self, error: &io::Error) -> String {
        let program = self.program.display();
        if error.kind() == io::ErrorKind::NotFound {
            return format!(
                "there is no program `{program}` to speak with the token: install opensc, or name the program in \
                 {PKCS11_TOOL}"
            );
        }
        format!("could not run `{program}`: {error}")
    }

    /// Why it failed, by what it said.
    fn told(&self, output: &Output) -> String {
        let said = String::from_utf8_lossy(&output.stderr);
        let after = |prefix: &str| said.lines().find_map(|line| line.strip_prefix(prefix));
        if said.lines().any(|line| line == "No slots.") {
            return NO_TOKEN.to_owned();
        }
        let error = after("error: ");
        if error == Some("Failed to load pkcs11 module") {
            let reason = after("sc_dlopen failed: ").unwrap_or("it has no PKCS #11 in it");
            return format!("the library `{}` cannot be used: {reason}", self.module.display());
        }
        if let Some((_, code)) = error.and_then(|error| error.split_once("rv = ")) {
            return refusal(code);
        }
        let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        let (program, reason) = (self.program.display(), error.unwrap_or(first));
        format!("`{program}` ended with {}: {reason}", output.status)
    }
}

/// Starts `command` and lets it read `input`. That is less than a pipe holds, so it is written whether it is read or not.
fn exchange(command: &mut Command, input: &[u8]) -> io::Result<Output> {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that has ended before it read anything tells why in another place.
        let _ = stdin.write_all(input);
    }
    child.wait_with_output()
}

/// What a return value of PKCS #11 means: `CKR_PIN_INCORRECT (0xa0)`.
fn refusal(code: &str) -> String {
    match code.split_whitespace().next() {
        Some("CKR_PIN_INCORRECT" | "CKR_PIN_INVALID" | "CKR_PIN_LEN_RANGE") => PIN_WRONG.to_owned(),
        Some("CKR_PIN_LOCKED") => PIN_LOCKED.to_owned(),
        Some("CKR_KEY_FUNCTION_NOT_PERMITTED") => MAY_NOT_SIGN.to_owned(),
        _ => format!("the token refused: {code}"),
    }
}
