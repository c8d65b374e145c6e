//! Credential Manager: what the account that runs the agent, SYSTEM, keeps there is encrypted with keys
//! of that account on this machine (DPAPI).

use std::{io, sync::Arc};

use camino::{Utf8Path, Utf8PathBuf};
use keyring_core::{Entry, Error, api::CredentialStoreApi as _};
use windows_native_keyring_store::Store;
use zeroize::Zeroizing;

/// Credentials of the account that runs the agent.
#[derive(Debug, Clone)]
pub struct Keystore {
    store: Arc<Store>,
    /// The agent's root directory, by which agents tell theirs from others'.
    root: Utf8PathBuf,
}

impl Keystore {
    /// The one of this system for the agent below `root`; there is one, wherever `system` points to.
    #[must_use]
    pub fn below(_system: &Utf8Path, root: &Utf8Path) -> Option<Self> {
        Some(Self { store: Store::new().ok()?, root: root.to_owned() })
    }

    /// Keeps `text` under `name`, in place of what was there.
    pub fn seal(&self, name: &str, text: &str) -> io::Result<()> {
        self.entry(name)?.set_secret(text.as_bytes()).map_err(io::Error::other)
    }

    /// The text under `name`; none when there is none.
    pub fn open(&self, name: &str) -> io::Result<Option<Zeroizing<String>>> {
        let secret = match self.entry(name)?.get_secret() {
            Ok(secret) => Zeroizing::new(secret),
            Err(Error::NoEntry) => return Ok(None),
            Err(error) => return Err(io::Error::other(error)),
        };
        let text = std::str::from_utf8(&secret).map_err(io::Error::other)?;
        Ok(Some(Zeroizing::new(text.to_owned())))
    }

    /// Whether there is a text under `name`.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        self.open(name).is_ok_and(|text| text.is_some())
    }

    /// Deletes what is under `name`, if there is anything.
    pub fn forget(&self, name: &str) -> io::Result<()> {
        match self.entry(name)?.delete_credential() {
            Ok(()) | Err(Error::NoEntry) => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn entry(&self, name: &str) -> io::Result<Entry> {
        self.store.build(name, self.root.as_str(), None).map_err(io::Error::other)
    }
}
