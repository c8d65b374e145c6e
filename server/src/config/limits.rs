//! How much one caller, one request and one connection may take.

use serde::{Deserialize, Serialize};

use super::Period;

/// `limits:`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Refused enrollments per minute and address (IPv6: /64) before the address is told to wait.
    pub enroll_failures_per_minute: u32,
    /// Failed sign-ins per account and address within `login_window`.
    pub login_attempts: u32,
    pub login_window: Period,
    /// How long a request may take from its first byte to the reply.
    pub request_timeout: Period,
    /// How long a body may take to arrive.
    pub body_timeout: Period,
    /// How long request headers may take to arrive; an idle connection is kept as long, so it should
    /// be longer than the time between two polls of an agent.
    pub header_timeout: Period,
    /// How long open requests have when the server stops.
    pub shutdown_timeout: Period,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            enroll_failures_per_minute: 60,
            login_attempts: 5,
            login_window: Period::seconds(15 * 60),
            request_timeout: Period::seconds(60),
            body_timeout: Period::seconds(20),
            header_timeout: Period::seconds(60),
            shutdown_timeout: Period::seconds(10),
        }
    }
}

impl Limits {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if self.enroll_failures_per_minute == 0 {
            problems.push("limits.enroll_failures_per_minute: must be at least 1".to_owned());
        }
        if self.login_attempts == 0 {
            problems.push("limits.login_attempts: must be at least 1".to_owned());
        }
        if self.body_timeout > self.request_timeout {
            problems.push("limits.body_timeout: is longer than limits.request_timeout".to_owned());
        }
    }
}
