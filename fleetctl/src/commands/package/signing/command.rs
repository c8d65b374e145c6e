//! A program that signs: what holds the key may be anything that a script can ask.
//!
//! It is started once for each signature, without arguments. Its standard input has one line,
//! `fleetd-sign-1 SCHEME KEY`, with the SHA-256 of the certificate, or the fingerprint of a key of OpenPGP, in
//! hexadecimal, and after that line the bytes to sign, to the end. It prints the signature, as the scheme has it, and ends with
//! exit code 0.

use std::{
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
    process::{self, ChildStdin, Stdio},
    sync::Arc,
    thread,
};

use packager::sign::{Certificate, IdentityError, Scheme, SignError, Signer};

#[derive(Debug)]
pub(crate) struct Command {
    program: PathBuf,
    scheme: Scheme,
    key: String,
}

impl Command {
    pub(super) fn new(
        program: &Path,
        certificate: &Certificate,
    ) -> Result<Arc<Self>, IdentityError> {
        let scheme = certificate.scheme().ok_or(IdentityError::KeyKind)?;
        Ok(Arc::new(Self::of_key(program, scheme, certificate.fingerprint())))
    }

    /// For a key that has no such certificate. `key` is what the program knows it by.
    pub(crate) fn of_key(program: &Path, scheme: Scheme, key: String) -> Self {
        Self { program: program.to_owned(), scheme, key }
    }

    fn ask(&self, message: &mut dyn Read) -> Result<process::Output, SignError> {
        let failed = |error: io::Error| {
            let program = self.program.display();
            SignError::Refused(format!("could not run `{program}`: {error}").into())
        };
        #[expect(clippy::disallowed_methods, reason = "the user names a program that signs")]
        let mut command = process::Command::new(&self.program);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = child.spawn().map_err(failed)?;
        let stdin = child.stdin.take();
        let head = format!("fleetd-sign-1 {} {}\n", self.scheme.name(), self.key);
        thread::scope(|scope| {
            // What it prints is read while it is told what to sign: it waits for neither.
            let output = scope.spawn(move || child.wait_with_output());
            let told = stdin.map_or(Ok(()), |stdin| tell(stdin, &head, message));
            let output = output.join().expect("waiting does not panic").map_err(failed)?;
            told.map(|()| output)
        })
    }
}

/// A program that does not read everything may still know what to answer.
fn tell(mut to: ChildStdin, head: &str, message: &mut dyn Read) -> Result<(), SignError> {
    let mut buffer = vec![0; 1 << 16];
    let mut heard = to.write_all(head.as_bytes()).is_ok();
    loop {
        let read = message.read(&mut buffer).map_err(SignError::Read)?;
        if read == 0 {
            return Ok(());
        }
        heard = heard && to.write_all(&buffer[..read]).is_ok();
    }
}

impl Signer for Command {
    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn sign(&self, mut message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.sign_all(&mut message)
    }

    fn sign_all(&self, message: &mut dyn Read) -> Result<Vec<u8>, SignError> {
        let output = self.ask(message)?;
        if !output.status.success() {
            let reason = format!("`{}` ended with {}", self.program.display(), output.status);
            return Err(SignError::Refused(reason.into()));
        }
        Ok(output.stdout)
    }
}
