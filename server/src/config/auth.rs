//! How people sign in, and for how long.

use serde::{Deserialize, Serialize};

use super::Period;

/// The longest session, so that its end is a date.
const MAX_REFRESH_TTL: Period = Period::seconds(3650 * 24 * 60 * 60);

/// `auth:`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// How long an access token lasts.
    pub access_ttl: Period,
    /// How long a session lasts at most, however often it is refreshed.
    pub refresh_ttl: Period,
    pub password: Password,
}

/// `auth.password:`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Password {
    /// In characters.
    pub min_length: usize,
    /// In characters; no password is cut.
    pub max_length: usize,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            access_ttl: Period::seconds(15 * 60),
            refresh_ttl: Period::seconds(7 * 24 * 60 * 60),
            password: Password::default(),
        }
    }
}

impl Default for Password {
    fn default() -> Self {
        Self { min_length: 12, max_length: 128 }
    }
}

impl Auth {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if self.refresh_ttl < self.access_ttl {
            problems.push("auth.refresh_ttl: is shorter than auth.access_ttl".to_owned());
        }
        if self.refresh_ttl > MAX_REFRESH_TTL {
            problems.push("auth.refresh_ttl: must be at most 3650d".to_owned());
        }
        if self.password.min_length < 8 {
            problems.push("auth.password.min_length: must be at least 8".to_owned());
        }
        if self.password.max_length < self.password.min_length || self.password.max_length > 1024 {
            problems.push(
                "auth.password.max_length: must be between auth.password.min_length and 1024"
                    .to_owned(),
            );
        }
    }
}
