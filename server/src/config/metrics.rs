//! Who may read what the server counts of itself.

use serde::{Deserialize, Serialize};

use super::Secret;

/// The shortest token, in bytes.
const MIN_TOKEN: usize = 16;

/// `metrics:`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// What a monitoring system presents at `GET /metrics`. Without one there is nothing there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
}

impl Metrics {
    /// Takes what the environment has, and notes what is wrong.
    pub(super) fn check(&mut self, problems: &mut Vec<String>) {
        let Some(token) = &mut self.token else { return };
        let before = problems.len();
        token.resolve("metrics.token", problems);
        if problems.len() == before && token.expose().len() < MIN_TOKEN {
            problems.push(format!("metrics.token: must have at least {MIN_TOKEN} bytes"));
        }
    }
}
