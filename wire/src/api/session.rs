//! Sessions of people: their states, their list, ending and renewing them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ClientKind, Hidden};
use crate::{SessionId, UserId};

/// How a session stands, counted from the last action of its person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// Signed in, and nothing done since.
    Authenticated,
    Active,
    Idle,
    /// About to run out: its person should be asked whether they are still there.
    Warning,
    /// Run out. Only signing in again helps.
    Expired,
}

/// A session's state, and when it changes unless its person does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionTimes {
    pub state: SessionState,
    pub idle_at: Timestamp,
    pub warn_at: Timestamp,
    pub expires_at: Timestamp,
}

/// A session, as `GET /auth/sessions` and `GET /users/{id}/sessions` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Session {
    pub id: SessionId,
    pub client: ClientKind,
    /// Program and system, e.g. `Firefox on Linux`.
    pub device: String,
    pub user_agent: String,
    /// Where its person signed in from.
    pub address: String,
    /// Where that is, e.g. `Tromsø, Norway`, where the server knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    pub created_at: Timestamp,
    pub last_action_at: Timestamp,
    pub state: SessionState,
    pub expires_at: Timestamp,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// `POST /auth/step-up`: the password once more, for what is sensitive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct StepUpRequest {
    pub password: Hidden,
}

/// `POST /auth/revocations`: what is refused from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "what", deny_unknown_fields)]
pub enum Revocation {
    /// One access token, by its `jti`.
    Token {
        jti: String,
    },
    Session {
        id: SessionId,
    },
    /// Every session of a person in this organization.
    User {
        id: UserId,
    },
    /// Every session of everybody in this organization, the caller's own too.
    Organization,
}

/// The header that says whether a person is behind a request. [`BACKGROUND`] as its value means
/// that a client asks by itself, which keeps no session alive.
pub const ACTIVITY_HEADER: &str = "x-fleetd-activity";
/// See [`ACTIVITY_HEADER`].
pub const BACKGROUND: &str = "background";
