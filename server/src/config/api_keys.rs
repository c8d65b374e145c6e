//! What API keys look like, and how long they may last.

use serde::{Deserialize, Serialize};
use wire::api::KeyEnvironment;

use super::Lifetime;

/// `api_keys:`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiKeys {
    /// How keys begin: 2 to 16 of a-z and 0-9. Keys made with another prefix are refused.
    pub prefix: String,
    /// What keys are for in organizations that do not say.
    pub environment: KeyEnvironment,
    /// The longest that a key may last; `0` lets keys last for ever.
    pub max_ttl: Lifetime,
    /// The most requests a minute that a key may be given.
    pub max_requests_per_minute: u32,
}

impl Default for ApiKeys {
    fn default() -> Self {
        Self {
            prefix: "fleetd".to_owned(),
            environment: KeyEnvironment::Live,
            max_ttl: Lifetime(None),
            max_requests_per_minute: 6000,
        }
    }
}

impl ApiKeys {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if !(2..=16).contains(&self.prefix.len()) || !self.prefix.bytes().all(plain) {
            problems.push("api_keys.prefix: must have 2 to 16 of a-z and 0-9".to_owned());
        }
    }
}
