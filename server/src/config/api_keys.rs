//! What API keys look like, and how long they may last.

use serde::{Deserialize, Serialize};

use super::Lifetime;

/// `api_keys:`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiKeys {
    /// How keys begin: 2 to 16 of a-z and 0-9. Keys made with another prefix are refused.
    pub prefix: String,
    /// Keys of the other environment are refused.
    pub environment: Environment,
    /// The longest that a key may last; `0` lets keys last for ever.
    pub max_ttl: Lifetime,
}

/// What an installation is for. The word stands in its keys, so that one of a trial is not taken
/// for one that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    Live,
    Test,
}

impl Environment {
    /// As keys have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

impl Default for ApiKeys {
    fn default() -> Self {
        Self {
            prefix: "fleetd".to_owned(),
            environment: Environment::Live,
            max_ttl: Lifetime(None),
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
