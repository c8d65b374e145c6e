//! A program that signs: what holds the key may be anything that a script can ask.
//!
//! It is started once for each signature, without arguments. Its standard input has one line,
//! `fleetd-sign-1 SCHEME CERTIFICATE`, with the SHA-256 of the certificate in hexadecimal, and after that
//! line the bytes to sign, to the end. It prints the signature, as the scheme has it, and ends with
//! exit code 0.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{self, Stdio},
    sync::Arc,
    thread,
};

use packager::sign::{Certificate, IdentityError, Scheme, SignError, Signer};

#[derive(Debug)]
pub(super) struct Command {
    program: PathBuf,
    scheme: Scheme,
    certificate: String,
}

impl Command {
    pub(super) fn new(
        program: &Path,
        certificate: &Certificate,
    ) -> Result<Arc<Self>, IdentityError> {
        let scheme = certificate.scheme().ok_or(IdentityError::KeyKind)?;
        let certificate = certificate.fingerprint();
        Ok(Arc::new(Self { program: program.to_owned(), scheme, certificate }))
    }

    fn ask(&self, message: &[u8]) -> Result<process::Output, std::io::Error> {
        #[expect(clippy::disallowed_methods, reason = "the user names a program that signs")]
        let mut command = process::Command::new(&self.program);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = child.spawn()?;
        let stdin = child.stdin.take();
        let head = format!("fleetd-sign-1 {} {}\n", self.scheme.name(), self.certificate);
        thread::scope(|scope| {
            scope.spawn(move || {
                let Some(mut stdin) = stdin else { return };
                // A program that does not read everything may still know what to answer.
                let _ = stdin.write_all(head.as_bytes()).and_then(|()| stdin.write_all(message));
            });
            child.wait_with_output()
        })
    }
}

impl Signer for Command {
    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let program = self.program.display();
        let output = self.ask(message).map_err(|error| {
            SignError::Refused(format!("could not run `{program}`: {error}").into())
        })?;
        if !output.status.success() {
            let reason = format!("`{program}` ended with {}", output.status);
            return Err(SignError::Refused(reason.into()));
        }
        Ok(output.stdout)
    }
}
