//! How long the audit trail is kept.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Lifetime, Period};

/// `audit:`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// How long events are kept; `0` keeps them for ever.
    pub retention: Lifetime,
}

impl Default for Audit {
    fn default() -> Self {
        Self { retention: Lifetime(Some(Period::seconds(400 * 24 * 60 * 60))) }
    }
}

impl Audit {
    /// Events from before this are deleted; none are when they are kept for ever.
    #[must_use]
    pub fn kept_since(&self, now: Timestamp) -> Option<Timestamp> {
        now.checked_sub(self.retention.0?.as_signed()).ok()
    }
}
