//! Sessions: how long without an action, how many at once, and what needs more than a session.

use camino::Utf8PathBuf;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::config::{
    Period,
    period::{DAY, at_most},
};

/// `auth.session:`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Session {
    /// A session without an action of its person for so long has ended.
    pub timeout: Period,
    /// When it counts as idle. Absent: after a sixth of `timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_after: Option<Period>,
    /// When its person is warned. Absent: after five sixths of `timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn_after: Option<Period>,
    /// How many sessions a person may have in an organization.
    pub max_concurrent: u32,
    /// What happens to one more.
    pub on_limit: OnLimit,
    /// How long after showing a password its person may do what is sensitive.
    #[serde(deserialize_with = "at_most::<_, DAY>")]
    pub recent_login: Period,
    /// When a request must come from the network that its person signed in from.
    pub ip_binding: IpBinding,
    /// A database in MaxMind's format (GeoLite2-City, for one), by which sessions tell where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub places: Option<Utf8PathBuf>,
}

/// What one session too many does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLimit {
    /// Ends the one that is oldest.
    #[default]
    EvictOldest,
    /// Is refused.
    Reject,
}

/// Which requests are bound to the network of the sign-in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpBinding {
    Off,
    /// Those that are sensitive.
    #[default]
    Sensitive,
    Always,
}

/// The times of a session's life, each counted from its person's last action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    pub idle: SignedDuration,
    pub warning: SignedDuration,
    pub timeout: SignedDuration,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            timeout: Period::seconds(30 * 60),
            idle_after: None,
            warn_after: None,
            max_concurrent: 5,
            on_limit: OnLimit::default(),
            recent_login: Period::seconds(15 * 60),
            ip_binding: IpBinding::default(),
            places: None,
        }
    }
}

impl Session {
    /// What is set, and in proportion what is not.
    #[must_use]
    pub fn timers(&self) -> Timers {
        let timeout = self.timeout.as_signed();
        Timers {
            idle: self.idle_after.map_or(timeout / 6, Period::as_signed),
            warning: self.warn_after.map_or(timeout / 6 * 5, Period::as_signed),
            timeout,
        }
    }

    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let Timers { idle, warning, timeout } = self.timers();
        if idle >= warning {
            problems.push("auth.session.idle_after: must be shorter than warn_after".to_owned());
        }
        if warning >= timeout {
            problems.push("auth.session.warn_after: must be shorter than timeout".to_owned());
        }
        if self.max_concurrent == 0 {
            problems.push("auth.session.max_concurrent: must be at least 1".to_owned());
        }
    }
}
