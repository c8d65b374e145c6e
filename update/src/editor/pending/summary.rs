//! What a change that waits tells of itself.

use jiff::Timestamp;
use serde::Serialize;

use crate::editor::Difference;

/// What can be told of a change that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PendingSummary {
    /// The same wherever the change is carried: the beginning of a hash of what is signed and of the
    /// metadata in force that it is compared with.
    pub id: String,
    /// What it does, in the words of whoever made it.
    pub what: String,
    /// Who made it.
    pub who: String,
    /// When.
    pub made: Timestamp,
    /// Whether it can be applied, as far as the keys go that are not at hand there.
    pub is_signed: bool,
    /// Who signed, and who is to.
    pub signatures: Vec<PendingSignatures>,
    /// What would be other, taken from the metadata itself.
    pub differences: Vec<Difference>,
}

/// The signatures of one document that one set of keys is to give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PendingSignatures {
    /// The role.
    pub role: String,
    /// The version to be signed.
    pub version: u64,
    /// How many must sign.
    pub threshold: u64,
    /// Whether it cannot be applied without them.
    pub is_required: bool,
    /// The ids of the keys that signed.
    pub signed: Vec<String>,
    /// The ids of those that did not.
    pub missing: Vec<String>,
}
