//! How much one caller, one request and one connection may take.

use serde::{Deserialize, Serialize};

use super::{
    Period,
    period::{DAY, HOUR, at_most},
};

/// `limits:`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Refused enrollments per minute and address (IPv6: /64) before the address is told to wait.
    pub enroll_failures_per_minute: u32,
    /// Failed sign-ins per account and address within `login_window`.
    pub login_attempts: u32,
    #[serde(deserialize_with = "at_most::<_, DAY>")]
    pub login_window: Period,
    /// Failed sign-ins of one network (IPv6: /64) within `login_window`, whatever the account.
    pub login_attempts_per_network: u32,
    /// Failed sign-ins of one account within a day, from networks that its person has not signed in
    /// from, before each further one waits twice as long as the one before, up to `login_window`.
    pub login_attempts_per_account: u32,
    /// Refreshes of one session.
    pub refreshes_per_minute: u32,
    /// Requests of one person or API key.
    pub requests_per_minute: u32,
    /// Requests of one network that show no good token.
    pub anonymous_requests_per_minute: u32,
    /// Requests of one network to `/auth` by whoever has no session yet.
    pub sign_in_requests_per_minute: u32,
    /// How long a request may take from its first byte to the reply.
    #[serde(deserialize_with = "at_most::<_, HOUR>")]
    pub request_timeout: Period,
    /// How long a body may take to arrive.
    #[serde(deserialize_with = "at_most::<_, HOUR>")]
    pub body_timeout: Period,
    /// How long request headers may take to arrive; an idle connection is kept as long, so it should
    /// be longer than the time between two polls of an agent.
    #[serde(deserialize_with = "at_most::<_, HOUR>")]
    pub header_timeout: Period,
    /// How long open requests have when the server stops.
    #[serde(deserialize_with = "at_most::<_, HOUR>")]
    pub shutdown_timeout: Period,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            enroll_failures_per_minute: 60,
            login_attempts: 5,
            login_window: Period::seconds(15 * 60),
            login_attempts_per_network: 50,
            login_attempts_per_account: 10,
            refreshes_per_minute: 10,
            requests_per_minute: 100,
            anonymous_requests_per_minute: 10,
            sign_in_requests_per_minute: 300,
            request_timeout: Period::seconds(60),
            body_timeout: Period::seconds(20),
            header_timeout: Period::seconds(60),
            shutdown_timeout: Period::seconds(10),
        }
    }
}

impl Limits {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        for (name, limit) in [
            ("enroll_failures_per_minute", self.enroll_failures_per_minute),
            ("login_attempts", self.login_attempts),
            ("login_attempts_per_network", self.login_attempts_per_network),
            ("login_attempts_per_account", self.login_attempts_per_account),
            ("refreshes_per_minute", self.refreshes_per_minute),
            ("requests_per_minute", self.requests_per_minute),
            ("anonymous_requests_per_minute", self.anonymous_requests_per_minute),
            ("sign_in_requests_per_minute", self.sign_in_requests_per_minute),
        ] {
            if limit == 0 {
                problems.push(format!("limits.{name}: must be at least 1"));
            }
        }
        if self.body_timeout > self.request_timeout {
            problems.push("limits.body_timeout: is longer than limits.request_timeout".to_owned());
        }
    }
}
