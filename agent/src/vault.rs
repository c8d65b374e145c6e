//! The agent's secrets at rest: sealed by the system's own keystore where there is one, else in files
//! for root alone.
//!
//! A text goes into the keystore, is read back, and only then is its file deleted; a keystore that
//! does not give back what it was given is not used. A text that lies in its file counts before one
//! that is sealed: it is either the same, or what could not be sealed.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use wire::settings::files;
use zeroize::Zeroizing;

use crate::{
    durable,
    identity::FileError,
    platform::{Keystore, Readers},
};

/// What the agent keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    NodeKey,
    /// What requests are signed with.
    DeviceKey,
    /// The enroll secret, and which ones it has replaced.
    EnrollSecret,
}

impl Slot {
    /// What the keystore knows it by.
    const fn name(self) -> &'static str {
        match self {
            Self::NodeKey => "orbit-node-key",
            Self::DeviceKey => "orbit-device-key",
            Self::EnrollSecret => "orbit-enroll-secret",
        }
    }

    const fn file(self) -> &'static str {
        match self {
            Self::NodeKey => files::NODE_KEY,
            Self::DeviceKey => files::DEVICE_KEY,
            Self::EnrollSecret => files::KEPT_SECRET,
        }
    }
}

/// Where a text was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Keystore,
    File,
}

/// Keeps secrets for the agent below `root`.
#[derive(Debug, Clone)]
pub struct Vault {
    root: Utf8PathBuf,
    system: Utf8PathBuf,
    keystore: Option<Keystore>,
    /// Without it the keystore is only emptied.
    enabled: bool,
}

impl Vault {
    /// The one for the agent below `root`, with the keystore of the system below `system`. It seals
    /// nothing unless `enabled`.
    #[must_use]
    pub fn new(root: &Utf8Path, system: &Utf8Path, enabled: bool) -> Self {
        let keystore = Keystore::below(system, root);
        Self { root: root.to_owned(), system: system.to_owned(), keystore, enabled }
    }

    /// Below which the system's keystore and TPM are.
    #[must_use]
    pub fn system(&self) -> &Utf8Path {
        &self.system
    }

    /// The text in `slot`, left where it is. What cannot be opened counts as none: it was sealed on
    /// other hardware, or the system has lost its key.
    pub fn look(&self, slot: Slot) -> Result<Option<Zeroizing<String>>, FileError> {
        if let Some(text) = self.read(slot)? {
            return Ok(Some(text));
        }
        Ok(self.keystore.as_ref().and_then(|keystore| {
            keystore.open(slot.name()).unwrap_or_else(|error| {
                tracing::warn!(
                    "the system's keystore does not give back `{}`: {error}",
                    slot.name()
                );
                None
            })
        }))
    }

    /// Whether there is a text in `slot`, be it one that cannot be opened.
    pub fn holds(&self, slot: Slot) -> Result<bool, FileError> {
        let path = self.root.join(slot.file());
        let in_file = path.try_exists().map_err(|source| FileError::Read { path, source })?;
        Ok(in_file || self.keystore.as_ref().is_some_and(|keystore| keystore.holds(slot.name())))
    }

    /// The text in `slot`, put to where it belongs: into the keystore, or out of one that is not to
    /// be used any more.
    pub fn load(&self, slot: Slot) -> Result<Option<Zeroizing<String>>, FileError> {
        let text = self.look(slot)?;
        let in_file = self.read(slot)?.is_some();
        if let Some(text) = &text
            && in_file == (self.enabled && self.keystore.is_some())
        {
            self.save(slot, text)?;
        }
        Ok(text)
    }

    /// Keeps `text` in `slot`: when this comes back it is there to stay, in one place.
    pub fn save(&self, slot: Slot, text: &str) -> Result<Place, FileError> {
        if let Some(keystore) = self.keystore.as_ref().filter(|_| self.enabled) {
            match seal(keystore, slot, text) {
                Ok(()) => {
                    self.delete(slot)?;
                    return Ok(Place::Keystore);
                }
                Err(error) => tracing::info!(
                    "`{}` stays in a file, for the system's keystore does not take it: {error}",
                    slot.name()
                ),
            }
        }
        self.write(slot, text)?;
        self.unseal(slot)?;
        Ok(Place::File)
    }

    /// Deletes what is in `slot`, wherever it is.
    pub fn forget(&self, slot: Slot) -> Result<(), FileError> {
        self.unseal(slot)?;
        self.delete(slot)
    }

    fn unseal(&self, slot: Slot) -> Result<(), FileError> {
        let Some(keystore) = &self.keystore else { return Ok(()) };
        let path = Utf8PathBuf::from(slot.name());
        keystore.forget(slot.name()).map_err(|source| FileError::Delete { path, source })
    }

    fn read(&self, slot: Slot) -> Result<Option<Zeroizing<String>>, FileError> {
        let path = self.root.join(slot.file());
        let text = durable::read(&path).map_err(|source| FileError::Read { path, source })?;
        Ok(text.map(Zeroizing::new))
    }

    fn write(&self, slot: Slot, text: &str) -> Result<(), FileError> {
        let path = self.root.join(slot.file());
        durable::replace(&path, text.as_bytes(), Readers::Root)
            .and_then(|()| {
                if durable::read(&path)?.as_deref() == Some(text) { Ok(()) } else { Err(other()) }
            })
            .map_err(|source| FileError::Write { path, source })
    }

    fn delete(&self, slot: Slot) -> Result<(), FileError> {
        let path = self.root.join(slot.file());
        durable::delete(&path).map_err(|source| FileError::Delete { path, source })
    }
}

fn seal(keystore: &Keystore, slot: Slot, text: &str) -> io::Result<()> {
    keystore.seal(slot.name(), text)?;
    let back = keystore.open(slot.name())?;
    if back.is_some_and(|back| *back == text) { Ok(()) } else { Err(other()) }
}

fn other() -> io::Error {
    io::Error::other("what is read back is not what was written")
}
