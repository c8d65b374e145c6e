//! systemd-creds(1): texts encrypted with a key of this machine, its TPM's where it has one.
//!
//! The only PCR is the one that is left to applications, which nobody writes to: the others change with
//! updates of firmware, and a device must not lose its secrets by one. Without any, systemd 252 writes
//! what it does not read. Nothing secret is among the arguments; texts go through pipes.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use zeroize::Zeroizing;

use crate::{
    durable,
    platform::{Readers, unix::filter::filter},
};

/// Where distributions with systemd 250 or later have it.
const PROGRAM: &str = "usr/bin/systemd-creds";

/// With which keys, the best first. Only root may use the machine's, and it is made on first use.
const KEYS: [&[&str]; 2] = [&["--with-key=host+tpm2", "--tpm2-pcrs=23"], &["--with-key=host"]];

/// Texts that systemd-creds has encrypted, in files below the agent's root directory.
#[derive(Debug, Clone)]
pub struct Keystore {
    program: Utf8PathBuf,
    root: Utf8PathBuf,
}

impl Keystore {
    /// The one of the system below `system`, with its files below `root`; none where there is no
    /// such program.
    #[must_use]
    pub fn below(system: &Utf8Path, root: &Utf8Path) -> Option<Self> {
        let program = system.join(PROGRAM);
        program.is_file().then(|| Self { program, root: root.to_owned() })
    }

    /// Keeps `text` under `name`, in place of what was there.
    pub fn seal(&self, name: &str, text: &str) -> io::Result<()> {
        let sealed = self.encrypt(name, KEYS[0], text).or_else(|error| {
            tracing::debug!("no TPM takes part in keeping `{name}`: {error}");
            self.encrypt(name, KEYS[1], text)
        })?;
        durable::replace(&self.path(name), &sealed, Readers::Root)
    }

    /// What the program gives for `text`, if that can be opened again.
    fn encrypt(&self, name: &str, key: &[&str], text: &str) -> io::Result<Zeroizing<Vec<u8>>> {
        let name_flag = format!("--name={name}");
        let arguments = [&["encrypt", &name_flag][..], key, &["-", "-"]].concat();
        let sealed = filter(&self.program, &arguments, text.as_bytes())?;
        if *self.decrypt(name, &sealed)? == text {
            Ok(sealed)
        } else {
            Err(io::Error::other("it does not give back what it was given"))
        }
    }

    fn decrypt(&self, name: &str, sealed: &[u8]) -> io::Result<Zeroizing<String>> {
        let arguments = ["decrypt", &format!("--name={name}"), "-", "-"];
        let opened = filter(&self.program, &arguments, sealed)?;
        let text = std::str::from_utf8(&opened).map_err(io::Error::other)?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// The text under `name`; none when there is none. What was sealed on another machine is an error.
    pub fn open(&self, name: &str) -> io::Result<Option<Zeroizing<String>>> {
        let sealed = durable::read(&self.path(name))?;
        sealed.map(|sealed| self.decrypt(name, sealed.as_bytes())).transpose()
    }

    /// Whether there is a text under `name`.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Deletes what is under `name`, if there is anything.
    pub fn forget(&self, name: &str) -> io::Result<()> {
        durable::delete(&self.path(name))
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        self.root.join(format!("{name}.cred"))
    }
}
