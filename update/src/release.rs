//! The release manifest of a channel: a small signed target that says what is current there, and who
//! is to have it when.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::names::{Channel, Component, UpdatePlatform};

/// How many seeds there are. A device has one for each release, so a wave of 64 is one in 32.
pub const SEEDS: u16 = 2048;

/// The longest manifest that is read, in bytes.
pub const MAX_RELEASE: u64 = 64 * 1024;

/// What is current on a channel. Fields that a reader does not know are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The version, e.g. `1.2.3`.
    pub version: String,
    /// What it is made of.
    pub files: Vec<ReleaseFile>,
    /// Who may have it when, the first wave first; none: everybody at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<Wave>,
    /// The oldest agent that can use it, e.g. `1.0.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_agent: Option<String>,
    /// Whether waves do not matter: everybody is to have it now.
    #[serde(default)]
    pub critical: bool,
    /// Whether nobody is to begin with it.
    #[serde(default)]
    pub paused: bool,
    /// Whether devices with a later version are to go back to it.
    #[serde(default)]
    pub allow_downgrade: bool,
    /// How many of a hundred devices may fail with it before those that have not begun wait; none:
    /// all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failure_percent: Option<u8>,
}

/// A target of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseFile {
    /// Its name, that of the version and not of the channel: `orbit/linux/1.2.3/orbit`.
    pub target: String,
    /// In bytes.
    pub length: u64,
    /// In lower-case hexadecimal.
    pub sha256: String,
}

/// Some of the devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// Those whose seed is below this; at most [`SEEDS`], which is everybody.
    pub seeds: u16,
    /// From when on.
    pub start: Timestamp,
}

impl Release {
    /// Reads what [`to_json`](Self::to_json) writes, and refuses waves that leave somebody out.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReleaseError> {
        let release: Self = serde_json::from_slice(bytes).map_err(ReleaseError::Malformed)?;
        check_waves(&release.waves)?;
        Ok(release)
    }

    /// JSON, for people to read too.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a release is plain data");
        bytes.push(b'\n');
        bytes
    }

    /// The seed of a device for this release, below [`SEEDS`]: another one for each version, so that
    /// nobody is always first. `device` is anything that does not change, e.g. its identifier.
    pub fn seed(&self, device: &str) -> u16 {
        let mut hasher = Sha256::new();
        hasher.update(device.as_bytes());
        hasher.update([0]);
        hasher.update(self.version.as_bytes());
        let hash = hasher.finalize();
        u16::from_be_bytes([hash[0], hash[1]]) % SEEDS
    }

    /// When the wave of a device with `seed` starts; none: it needs no wave, or is in none.
    pub fn due_at(&self, seed: u16) -> Option<Timestamp> {
        self.waves.iter().find(|wave| seed < wave.seeds).map(|wave| wave.start)
    }

    /// Whether a device with `seed` may begin with it `now`.
    pub fn is_due(&self, seed: u16, now: Timestamp) -> bool {
        let is_in_wave = |wave: &Wave| wave.start <= now && seed < wave.seeds;
        !self.paused
            && (self.critical || self.waves.is_empty() || self.waves.iter().any(is_in_wave))
    }
}

/// Whether `waves` grow to everybody, each later than the one before.
pub fn check_waves(waves: &[Wave]) -> Result<(), ReleaseError> {
    let grow = waves
        .windows(2)
        .all(|pair| pair[0].seeds < pair[1].seeds && pair[0].start <= pair[1].start);
    let reach_all = waves.last().is_none_or(|wave| wave.seeds == SEEDS);
    if grow && reach_all && waves.iter().all(|wave| wave.seeds > 0) {
        Ok(())
    } else {
        Err(ReleaseError::Waves)
    }
}

/// The name of the manifest of a channel: `orbit/linux/stable/release.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseName {
    /// What is released.
    pub component: Component,
    /// Where it runs.
    pub platform: UpdatePlatform,
    /// On which channel.
    pub channel: Channel,
}

impl fmt::Display for ReleaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/release.json", self.component, self.platform, self.channel)
    }
}

/// A manifest that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// Something else.
    #[error("it is not a release manifest")]
    Malformed(#[source] serde_json::Error),
    /// Waves that shrink, or leave somebody out for ever.
    #[error("waves must grow, one after the other, and the last one must be everybody")]
    Waves,
    /// A channel, or half a version, where an agent's version belongs.
    #[error("`{given}` is not the version of an agent (1.2.3)")]
    MinAgent {
        /// What was given.
        given: String,
    },
}
