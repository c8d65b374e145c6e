//! Who this device is.
//!
//! A device is named by its hardware's UUID. `identity.json` remembers the name and where it is
//! enrolled; when the hardware or the machine id differs from what it says, the disk was copied,
//! and the copy must enroll as a device of its own instead of sharing the original's row.

use std::{io, time::Duration};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;
use uuid::Uuid;
use wire::{
    HostIdentifier, NodeKey,
    orbit::{DeviceIdentity, MAX_DEBUG_SECONDS},
    settings::files,
};

use crate::{
    VERSION,
    device_key::DeviceKey,
    durable,
    machine::Flags,
    platform::{Machine, Readers},
    vault::{Slot, Vault},
};

/// What `identity.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The UUID that the server knows the hardware by.
    pub hardware_uuid: String,
    pub hardware_source: HardwareSource,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// A random UUID of this installation.
    pub instance: Uuid,
    pub host_identifier: HostIdentifier,
    pub server_url: Url,
    /// When the node key on disk was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolled_at: Option<Timestamp>,
    /// Whether the server lets osqueryd enroll with the node key, as it said last.
    #[serde(default)]
    pub lends_node_key: bool,
}

/// Where the hardware's UUID comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HardwareSource {
    /// SMBIOS tells it.
    Firmware,
    /// Computed from the machine id, because firmware tells none, or one that many share.
    MachineId,
    /// There is neither: the instance's UUID stands in.
    Instance,
}

/// Why a device must enroll anew although it may have a node key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anew {
    /// Nothing is remembered.
    Unknown,
    /// The hardware or machine id is another than at enrollment.
    DiskCopied,
    /// It is to talk to another server.
    ServerChanged,
    /// It is to call itself by another name.
    NameChanged,
}

/// Settles who this device is: what is `remembered`, where it still holds. `fresh` becomes the
/// instance's UUID where a new one is needed.
#[must_use]
pub fn recall(
    remembered: Option<Identity>,
    machine: &Machine,
    server: &Url,
    host_identifier: HostIdentifier,
    fresh: Uuid,
) -> (Identity, Option<Anew>) {
    let unknown = |instance: Uuid| {
        let (hardware_uuid, hardware_source) = hardware_uuid(machine, instance);
        Identity {
            hardware_uuid,
            hardware_source,
            machine_id: machine.machine_id.clone(),
            instance,
            host_identifier,
            server_url: server.clone(),
            enrolled_at: None,
            lends_node_key: false,
        }
    };
    let Some(remembered) = remembered else {
        return (unknown(fresh), Some(Anew::Unknown));
    };
    let now = unknown(remembered.instance);
    if remembered.is_copy(&now) {
        return (unknown(fresh), Some(Anew::DiskCopied));
    }
    // The same machine keeps its name, also when firmware can be read today and not yesterday.
    let kept = Identity {
        hardware_uuid: remembered.hardware_uuid.clone(),
        hardware_source: remembered.hardware_source,
        ..now
    };
    if remembered.server_url != *server {
        return (kept, Some(Anew::ServerChanged));
    }
    if remembered.host_identifier != host_identifier {
        return (kept, Some(Anew::NameChanged));
    }
    let Identity { enrolled_at, lends_node_key, .. } = remembered;
    (Identity { enrolled_at, lends_node_key, ..kept }, None)
}

impl Identity {
    /// Whether `now` is seen on another machine than the one that is remembered.
    fn is_copy(&self, now: &Self) -> bool {
        let other_hardware = self.hardware_source == HardwareSource::Firmware
            && now.hardware_source == HardwareSource::Firmware
            && self.hardware_uuid != now.hardware_uuid;
        let other_installation = matches!(
            (&self.machine_id, &now.machine_id),
            (Some(remembered), Some(now)) if remembered != now
        );
        other_hardware || other_installation
    }

    /// What osqueryd calls itself, so that the server takes it for this device's.
    #[must_use]
    pub fn osquery_identifier(&self) -> String {
        match self.host_identifier {
            HostIdentifier::Uuid => self.hardware_uuid.clone(),
            HostIdentifier::Instance => self.instance.to_string(),
        }
    }

    /// What the server is told on enrolling.
    #[must_use]
    pub fn describe(&self, machine: &Machine, end_user_email: Option<&str>) -> DeviceIdentity {
        DeviceIdentity {
            hardware_uuid: self.hardware_uuid.clone(),
            hardware_serial: unless_placeholder(&machine.serial),
            hostname: machine.hostname.clone(),
            platform: machine.platform.clone(),
            platform_like: machine.platform_like.clone(),
            osquery_identifier: match self.host_identifier {
                HostIdentifier::Uuid => String::new(),
                HostIdentifier::Instance => self.instance.to_string(),
            },
            computer_name: machine.hostname.clone(),
            hardware_model: unless_placeholder(&machine.model),
            machine_id: self.machine_id.clone(),
            os_version: machine.os_version.clone(),
            cpu_type: machine.cpu_type.clone(),
            orbit_version: Some(VERSION.to_owned()),
            end_user_email: end_user_email.map(str::to_owned),
        }
    }
}

fn hardware_uuid(machine: &Machine, instance: Uuid) -> (String, HardwareSource) {
    let firmware = machine.firmware_uuid.as_deref().and_then(|text| Uuid::try_parse(text).ok());
    if let Some(uuid) = firmware.filter(|uuid| !is_placeholder(*uuid)) {
        return (uuid.to_string(), HardwareSource::Firmware);
    }
    match &machine.machine_id {
        Some(id) => (uuid_of_machine_id(id).to_string(), HardwareSource::MachineId),
        None => (instance.to_string(), HardwareSource::Instance),
    }
}

/// UUIDs that vendors ship on many machines.
const PLACEHOLDERS: [u128; 6] = [
    0x03000200_0400_0500_0006_000700080009,
    0x00020003_0004_0005_0006_000700080009,
    0x12345678_1234_5678_90ab_cddeefaabbcc,
    0x12345678_1234_1234_1234_123456789012,
    0x01234567_89ab_cdef_0123_456789abcdef,
    // Dell, with a service tag of spaces.
    0x4c4c4544_0020_2010_8020_80c04f202020,
];

/// Whether firmware's UUID is no name: one of [`PLACEHOLDERS`], or one byte over and over.
fn is_placeholder(uuid: Uuid) -> bool {
    let bytes = uuid.as_bytes();
    bytes.iter().all(|byte| *byte == bytes[0]) || PLACEHOLDERS.contains(&uuid.as_u128())
}

/// A UUID of version 8 (RFC 9562) that the machine id determines and does not reveal: the start of
/// the SHA-256 of a fixed prefix and the id, as machine-id(5) asks.
fn uuid_of_machine_id(machine_id: &str) -> Uuid {
    let digest = Sha256::digest(format!("fleetd hardware uuid\0{machine_id}"));
    let bytes = digest[..16].try_into().expect("a SHA-256 has 32 bytes");
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// What firmware says where nobody wrote anything.
const PLACEHOLDER_TEXTS: [&str; 7] = [
    "to be filled by o.e.m.",
    "default string",
    "system serial number",
    "system product name",
    "not specified",
    "none",
    "0",
];

fn unless_placeholder(text: &str) -> String {
    let placeholder = PLACEHOLDER_TEXTS.contains(&text.to_ascii_lowercase().as_str());
    if placeholder { String::new() } else { text.to_owned() }
}

/// Why a file of the root directory could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    #[error("could not read `{path}`")]
    Read { path: Utf8PathBuf, source: io::Error },
    #[error("could not write `{path}`")]
    Write { path: Utf8PathBuf, source: io::Error },
    #[error("could not delete `{path}`")]
    Delete { path: Utf8PathBuf, source: io::Error },
}

/// The files below the root directory that say who this device is.
#[derive(Debug, Clone)]
pub struct Home {
    root: Utf8PathBuf,
    vault: Vault,
}

impl Home {
    #[must_use]
    pub fn new(root: &Utf8Path, vault: Vault) -> Self {
        Self { root: root.to_owned(), vault }
    }

    /// The agent's root directory.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// What is remembered. A file that makes no sense counts as none: enrolling anew is safe,
    /// sharing a row with another device is not.
    pub fn load_identity(&self) -> Result<Option<Identity>, FileError> {
        let text = self.read(files::IDENTITY)?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    pub fn save_identity(&self, identity: &Identity) -> Result<(), FileError> {
        let json = serde_json::to_vec_pretty(identity).expect("plain values serialise");
        // Linux shows the hardware's UUID to root alone, and so does this file.
        self.write(files::IDENTITY, &json, Readers::Root)
    }

    /// The node key, if there is a usable one. It is put to where secrets belong on this system.
    pub fn load_node_key(&self) -> Result<Option<NodeKey>, FileError> {
        let text = self.vault.load(Slot::NodeKey)?;
        Ok(text.and_then(|text| NodeKey::new(text.trim_end()).ok()))
    }

    /// Whether there is a node key, be it one that cannot be used.
    pub fn has_node_key(&self) -> Result<bool, FileError> {
        self.vault.holds(Slot::NodeKey)
    }

    /// Keeps the node key; a crash at any time leaves the key before, or none, or this one.
    pub fn save_node_key(&self, key: &NodeKey) -> Result<(), FileError> {
        self.vault.save(Slot::NodeKey, key.expose()).map(drop)
    }

    /// The key that requests are signed with, if there is a usable one.
    pub fn load_device_key(&self) -> Result<Option<DeviceKey>, FileError> {
        let text = self.vault.load(Slot::DeviceKey)?;
        Ok(text.and_then(|text| DeviceKey::from_text(&text, self.vault.system())))
    }

    /// Deletes the node key, what requests were signed with beside it, and the desktop token that was set
    /// with it.
    pub fn forget_node_key(&self) -> Result<(), FileError> {
        // The flags were for the holder of that key. First, so that a crash in between never leaves
        // them for another key.
        self.delete(files::SERVER_FLAGS)?;
        self.vault.forget(Slot::NodeKey)?;
        self.vault.forget(Slot::DeviceKey)?;
        self.delete(files::DESKTOP_TOKEN)
    }

    /// Deletes everything by which the device would be known again, and osqueryd's `database`. What
    /// says who it is goes last: interrupted, it is still the same device.
    pub fn forget(&self, database: &Utf8Path) -> Result<(), FileError> {
        durable::delete_directory(database)
            .map_err(|source| FileError::Delete { path: database.to_owned(), source })?;
        self.forget_node_key()?;
        self.delete(files::STATUS)?;
        self.delete(files::DEBUG_UNTIL)?;
        self.delete(files::IDENTITY)
    }

    /// The osqueryd flags that the server last wished for. A file that makes no sense counts as none:
    /// the server will say it again.
    pub fn load_flags(&self) -> Result<Flags, FileError> {
        let text = self.read(files::SERVER_FLAGS)?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    pub fn save_flags(&self, flags: &Flags) -> Result<(), FileError> {
        let json = serde_json::to_vec_pretty(flags).expect("plain values serialise");
        self.write(files::SERVER_FLAGS, &json, Readers::Root)
    }

    /// How long from `now` the agent is to log more, as the server wished of an earlier run. What a
    /// clock that was wrong has written counts for no longer than any wish may.
    pub fn load_debug(&self, now: Timestamp) -> Result<Option<Duration>, FileError> {
        let text = self.read(files::DEBUG_UNTIL)?;
        let until = text.and_then(|text| text.trim().parse::<Timestamp>().ok());
        let left = until.and_then(|until| Duration::try_from(until.duration_since(now)).ok());
        let longest = Duration::from_secs(MAX_DEBUG_SECONDS.into());
        Ok(left.filter(|left| !left.is_zero() && *left <= longest))
    }

    /// Keeps until when the agent is to log more; none: no longer.
    pub fn save_debug(&self, until: Option<Timestamp>) -> Result<(), FileError> {
        match until {
            Some(until) => {
                let text = format!("{until}\n");
                self.write(files::DEBUG_UNTIL, text.as_bytes(), Readers::Everyone)
            }
            None => self.delete(files::DEBUG_UNTIL),
        }
    }

    fn read(&self, name: &str) -> Result<Option<String>, FileError> {
        let path = self.root.join(name);
        durable::read(&path).map_err(|source| FileError::Read { path, source })
    }

    fn delete(&self, name: &str) -> Result<(), FileError> {
        let path = self.root.join(name);
        durable::delete(&path).map_err(|source| FileError::Delete { path, source })
    }

    fn write(&self, name: &str, bytes: &[u8], readers: Readers) -> Result<(), FileError> {
        let path = self.root.join(name);
        durable::replace(&path, bytes, readers).map_err(|source| FileError::Write { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_of_vendors_are_no_names() {
        for text in [
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "03000200-0400-0500-0006-000700080009",
        ] {
            let machine = Machine {
                firmware_uuid: Some(text.into()),
                machine_id: Some("3d1219c7c4c5404aaa1f6d2a48adfda4".into()),
                ..Machine::default()
            };
            let (uuid, source) = hardware_uuid(&machine, Uuid::nil());
            assert_eq!(source, HardwareSource::MachineId, "{text}");
            assert_eq!(Uuid::try_parse(&uuid).unwrap().get_version_num(), 8);
            assert!(!uuid.contains("3d1219c7"));
        }
    }

    /// What Migration Assistant brings is the other Mac's; a Mac has no machine id to tell it by.
    #[test]
    fn a_mac_that_was_set_up_from_another_is_a_device_of_its_own() {
        let server = Url::parse("https://fleet.example.com/").unwrap();
        let on_mac = |remembered: Option<&Identity>, number: u128, fresh: u128| {
            let firmware_uuid = Some(Uuid::from_u128(number).to_string());
            let machine = Machine { firmware_uuid, ..Machine::default() };
            let (name, fresh) = (HostIdentifier::Uuid, Uuid::from_u128(fresh));
            recall(remembered.cloned(), &machine, &server, name, fresh)
        };
        let (old, anew) = on_mac(None, 0xA1, 1);
        assert_eq!(anew, Some(Anew::Unknown));
        assert_eq!(on_mac(Some(&old), 0xA1, 2), (old.clone(), None));
        let (migrated, anew) = on_mac(Some(&old), 0xA2, 3);
        assert_eq!((anew, migrated.instance), (Some(Anew::DiskCopied), Uuid::from_u128(3)));
        assert_ne!(migrated.hardware_uuid, old.hardware_uuid);
    }

    #[test]
    fn without_any_name_the_instance_stands_in() {
        let instance = Uuid::from_u128(7);
        let (uuid, source) = hardware_uuid(&Machine::default(), instance);
        assert_eq!((uuid, source), (instance.to_string(), HardwareSource::Instance));
    }
}
