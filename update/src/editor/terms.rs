//! On what terms metadata is signed: by whom, for how long, how many of them.

use std::num::NonZeroU64;

use jiff::{SignedDuration, Timestamp};

use super::change::Demand;
use crate::keys::{Passphrase, SigningKey};

/// How long newly signed metadata is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiries {
    /// Of root metadata; 365 days unless changed.
    pub root: SignedDuration,
    /// Of targets metadata; 180 days unless changed.
    pub targets: SignedDuration,
    /// Of snapshot metadata; 30 days unless changed.
    pub snapshot: SignedDuration,
    /// Of timestamp metadata; 7 days unless changed.
    pub timestamp: SignedDuration,
}

impl Default for Expiries {
    fn default() -> Self {
        let days = |count: i64| SignedDuration::from_hours(24 * count);
        Self { root: days(365), targets: days(180), snapshot: days(30), timestamp: days(7) }
    }
}

/// What a new repository begins with.
#[derive(Debug)]
pub struct Founding {
    /// One passphrase for each key of the root: `keys/root.pem`, `keys/root-2.pem` and so on.
    pub root: Vec<Passphrase>,
    /// How many of them must sign.
    pub root_threshold: NonZeroU64,
    /// For `keys/targets.pem`.
    pub targets: Passphrase,
    /// For `keys/snapshot.pem`.
    pub snapshot: Passphrase,
    /// For `keys/timestamp.pem`.
    pub timestamp: Passphrase,
    /// Who makes it, for the log.
    pub who: String,
}

/// Who signs, and what they sign.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The keys at hand. Each signs what it counts for.
    pub keys: &'a [SigningKey],
    /// How long what they sign is valid.
    pub expiries: &'a Expiries,
    /// From when on.
    pub now: Timestamp,
    /// Who does it, for the log.
    pub who: &'a str,
}

/// Signatures that a change needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Of which role's metadata.
    pub role: String,
    /// The ids of the keys that count.
    pub keys: Vec<String>,
    /// How many of them must sign.
    pub threshold: u64,
    /// Whether nothing goes without them. Others make a change of keys smoother.
    pub is_required: bool,
}

impl From<Demand> for Need {
    fn from(demand: Demand) -> Self {
        Self {
            role: demand.role,
            keys: demand.authority.keys.into_keys().collect(),
            threshold: demand.authority.threshold,
            is_required: demand.is_required,
        }
    }
}
