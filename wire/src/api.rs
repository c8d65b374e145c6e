//! The JSON interface of the server for people and scripts; `fleetctl` uses nothing else.
//!
//! Times are RFC 3339 in UTC. Lists come in [`Page`]s. Refusals are [`Problem`]s (RFC 9457).

mod device_login;
mod session;

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ApiKeyId, DeviceId, EnrollSecret, EnrollSecretId, InvitationId, OrgId, Permission, RoleName,
    TeamId, UserId,
    orbit::{ComponentUpdate, CrashLoop, UpdateChannels},
};

pub use self::{
    device_login::{
        DeviceApproval, DeviceCode, DeviceCodeRequest, DeviceTokenRequest, PendingDeviceLogin,
    },
    session::{
        ACTIVITY_HEADER, BACKGROUND, Revocation, Session, SessionState, SessionTimes, StepUpRequest,
    },
};

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Give it as `after` to get the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The most items on a [`Page`], and how many there are when nothing is said.
pub const MAX_PAGE: u32 = 500;
pub const DEFAULT_PAGE: u32 = 100;

/// Why a request was refused (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// What kind of problem, stable: `/problems/<name>`, where the server explains it.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The request's id, `/requests/<id>`; the server's log names it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Of `password-expired`: takes another password at `POST /auth/reset-password`, within ten
    /// minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_token: Option<Hidden>,
    /// Each field that is wrong, where a body is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// What OAuth calls it, where a program of its clients asks (RFC 6749, section 5.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One wrong field of a request body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the body, e.g. `/password`.
    pub pointer: String,
    pub detail: String,
    /// Of a password: the rule that it breaks, as the configuration names it, e.g. `min_length`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// A text that must not be printed: a password, a refresh token, a set-up code.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String))]
#[serde(transparent)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// `POST /auth/register`: with a set-up code, the first person of an empty server, who becomes its
/// owner; without, somebody who wants an account and an organization of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// Printed by the server when it first starts; good once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup_code: Option<Hidden>,
    pub email: String,
    pub name: String,
    pub password: Hidden,
    /// What the organization is called.
    pub organization: String,
    #[serde(default)]
    pub client: ClientKind,
}

/// `POST /auth/forgot-password` and `POST /auth/verify-email/resend`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EmailRequest {
    pub email: String,
}

/// `POST /auth/verify-email`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct VerifyEmail {
    /// From a mail.
    pub token: Hidden,
}

/// `POST /auth/reset-password`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ResetPassword {
    /// From a mail, or `change_token` of a refused sign-in.
    pub token: Hidden,
    pub new_password: Hidden,
}

/// `POST /auth/password`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    pub current_password: Hidden,
    pub new_password: Hidden,
    /// Whether every other session of this person ends.
    #[serde(default)]
    pub end_other_sessions: bool,
}

/// `POST /auth/email`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeEmail {
    pub email: String,
    pub current_password: Hidden,
}

/// An invitation that nobody has accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Invitation {
    pub id: InvitationId,
    pub email: String,
    pub role: RoleName,
    pub invited_by: UserId,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// `POST /invitations`. Nobody invites to a role above their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewInvitation {
    pub email: String,
    pub role: RoleName,
}

/// An invitation just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedInvitation {
    #[serde(flatten)]
    pub invitation: Invitation,
    /// What accepts it, to be passed on. Absent where the server sends mail: it is in the mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Hidden>,
}

/// `POST /auth/accept-invitation`. Who has an account joins with it, and shows that it is theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AcceptInvitation {
    pub token: Hidden,
    /// For who has no account yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of the account that is made, or of the one that there is. A session of that one, presented as an
    /// access token, does instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Hidden>,
}

/// `POST /auth/login`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    pub email: String,
    pub password: Hidden,
    #[serde(default)]
    pub client: ClientKind,
}

/// Where the refresh token goes: into an HttpOnly cookie, or into the body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ClientKind {
    #[default]
    Browser,
    Cli,
}

/// `POST /auth/refresh`. A browser sends its cookie and `{}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Hidden>,
}

/// What signing in and refreshing give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionTokens {
    pub access_token: Hidden,
    /// Always `Bearer`.
    pub token_type: String,
    /// Seconds until the access token ends.
    pub expires_in: u64,
    /// Only for [`ClientKind::Cli`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Hidden>,
    pub user: CurrentUser,
}

/// `GET /auth/user`: who the request comes from, a person or an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CurrentUser {
    pub id: UserId,
    pub email: String,
    /// Whether a mail to the address was answered.
    #[serde(default)]
    pub email_verified: bool,
    /// Whether a second factor was shown, too, for the session that asks (`mfa` in the access token's `amr`).
    #[serde(default)]
    pub mfa: bool,
    pub name: String,
    pub org_id: OrgId,
    pub organization: String,
    pub role: RoleName,
    /// What this request may do: for an API key, its scopes as far as its creator still has them.
    pub permissions: Vec<Permission>,
    /// What it may do in teams besides, by team.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub team_permissions: BTreeMap<TeamId, Vec<Permission>>,
    /// The API key that was presented, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_id: Option<ApiKeyId>,
    /// How the session stands that asks; an API key has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionTimes>,
}

/// `GET /check`: whose access token or API key was presented, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Checked {
    /// Of a service's key, the key's.
    pub id: UserId,
    pub org_id: OrgId,
    pub permissions: Vec<Permission>,
    /// In teams besides, by team.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub team_permissions: BTreeMap<TeamId, Vec<Permission>>,
    /// The API key that was presented, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_id: Option<ApiKeyId>,
}

/// A person, as `GET /users` shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub role: RoleName,
    /// Since when they may not sign in to this organization, if they may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<Timestamp>,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_login_at: Option<Timestamp>,
}

/// What `POST /users` gives: a person, or, on a server with several organizations, an invitation,
/// whether the address has an account or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum AddedUser {
    Invited(CreatedInvitation),
    Added(User),
}

/// `POST /users`. Nobody grants a role above their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    pub email: String,
    pub name: String,
    pub role: RoleName,
    pub password: Hidden,
}

/// `PATCH /users/{id}`: what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeUser {
    /// Nobody grants or takes away more than they may do themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// Whether they are shut out: their sessions end, and their API keys rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// A role that the organization made, or one that every organization has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoleInfo {
    pub name: RoleName,
    /// What whoever made it says it is for; none of a role that every organization has.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Sorted.
    pub permissions: Vec<Permission>,
    /// Every organization has it, and nobody can change or delete it.
    pub built_in: bool,
}

/// `POST /roles`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    pub name: RoleName,
    /// What it is for: at most 200 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Each must be a permission of whoever makes the role. There may be none: its people may then
    /// do what they may do in teams, and nothing else.
    pub permissions: Vec<Permission>,
}

/// `PATCH /roles/{name}`. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeRole {
    /// What it is called from here on, by whoever has it or is invited to it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<RoleName>,
    /// What it is for: at most 200 characters; empty takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// All that it grants from here on. Without it, the other two say what changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<Permission>>,
    /// To be granted besides what is. Not together with `permissions`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_permissions: Vec<Permission>,
    /// To be granted no longer. Not together with `permissions`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove_permissions: Vec<Permission>,
}

/// Somebody's role in a team, beside the one in the organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TeamMember {
    pub user_id: UserId,
    pub email: String,
    pub name: String,
    pub role: RoleName,
}

/// `PUT /teams/{id}/members/{user_id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetTeamRole {
    /// Grants what it grants of a team's matters: devices, enroll secrets, telemetry, updates.
    pub role: RoleName,
}

/// The organization that one is signed in to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Organization {
    pub id: OrgId,
    pub name: String,
    pub created_at: Timestamp,
    /// Networks (CIDR) that its people and API keys may ask from; from anywhere when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_networks: Vec<String>,
    /// What its API keys are for: keys of the other environment are refused.
    #[serde(default)]
    pub key_environment: KeyEnvironment,
    /// How long its API keys may last, in seconds; as long as the server allows when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_max_ttl_seconds: Option<u64>,
}

/// Whether API keys open what matters, or what is for trial. The word stands in the keys, so that one is not
/// taken for the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum KeyEnvironment {
    #[default]
    Live,
    Test,
}

impl KeyEnvironment {
    /// `live` or `test`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

impl std::str::FromStr for KeyEnvironment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::Live, Self::Test].into_iter().find(|known| known.as_str() == text);
        known.ok_or_else(|| format!("unknown environment `{text}`; one of live, test"))
    }
}

/// An organization that one belongs to, as `GET /auth/orgs` lists them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Membership {
    pub org_id: OrgId,
    pub organization: String,
    pub role: RoleName,
    /// Whether the request is for this one.
    pub current: bool,
}

/// `POST /auth/org/switch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SwitchOrganization {
    pub org_id: OrgId,
}

/// `PATCH /organization`: what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeOrganization {
    /// 1 to 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Networks (CIDR, e.g. `203.0.113.0/24`) that its people and API keys may ask from, the one of who
    /// asks among them; none: anywhere. At most 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_networks: Option<Vec<String>>,
    /// What its API keys are for. Those made for the other environment are refused from here on, and are good
    /// again when it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_environment: Option<KeyEnvironment>,
    /// How long API keys made from here on may last, in seconds, at most ten years; 0: as long as the server
    /// allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_max_ttl_seconds: Option<u64>,
}

/// `GET /billing`: what the organization uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Billing {
    /// Always `self-hosted`: nobody is billed.
    pub plan: String,
    pub devices: u64,
    pub users: u64,
}

/// An API key without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub name: String,
    #[serde(default)]
    pub kind: ApiKeyKind,
    /// How the key begins, e.g. `fleetd_pk_live_`.
    pub prefix: String,
    pub last4: String,
    pub scopes: Vec<Permission>,
    pub created_by: UserId,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_ip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// How many requests a minute it may send, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
}

/// Whose key it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ApiKeyKind {
    /// Its creator's: it may do what its scopes allow and its creator still may.
    #[default]
    Person,
    /// A service's: it may do what its scopes allow, whatever becomes of its creator.
    Service,
}

impl ApiKeyKind {
    /// `person` or `service`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Service => "service",
        }
    }
}

/// `POST /api-keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewApiKey {
    /// 1 to 100 characters.
    pub name: String,
    #[serde(default)]
    pub kind: ApiKeyKind,
    /// Each must be a permission of the creator.
    pub scopes: Vec<Permission>,
    /// Make none when the organization has a good key of this name: the reply then shows that one,
    /// without its value, with status 200.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub if_absent: bool,
    /// Never, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// How many requests a minute it may send, at least one; as many as anybody, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
}

/// `POST /api-keys/{id}/rotate`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RotateApiKey {
    /// How long the old value still works, at most a day.
    #[serde(default)]
    pub overlap_seconds: u32,
}

/// An API key just made or rotated: the only time that its value is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedApiKey {
    #[serde(flatten)]
    pub api_key: ApiKey,
    /// Absent when nothing was made, because there is a key of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Hidden>,
}

/// A team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Team {
    pub id: TeamId,
    pub name: String,
    pub created_at: Timestamp,
    pub device_count: u64,
}

/// `POST /teams`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewTeam {
    /// 1 to 100 characters, unique in the organization.
    pub name: String,
}

/// `PATCH /teams/{id}`: what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeTeam {
    /// 1 to 100 characters, unique in the organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// An enroll secret without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollSecretInfo {
    pub id: EnrollSecretId,
    pub name: String,
    /// Devices join this team; the organization alone when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_id: Option<TeamId>,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// How many enrollments it admits; any number when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u32>,
    /// Whether devices that it admits wait until somebody approves of them.
    #[serde(default)]
    pub needs_approval: bool,
    /// The only hardware that it admits, by UUID or serial number, in lower case; any when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hardware_ids: Vec<String>,
    /// How many it has admitted. orbit and osqueryd of one device count once.
    pub use_count: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

/// `POST /enroll-secrets`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewEnrollSecret {
    /// 1 to 100 characters.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_id: Option<TeamId>,
    /// Chosen by the administrator, at least 16 bytes; made by the server when absent:
    /// `fleetd_ek_live_` and 32 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<EnrollSecret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// At least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u32>,
    /// Whether devices that it admits wait until somebody approves of them.
    #[serde(default)]
    pub needs_approval: bool,
    /// The only hardware that it admits, by UUID or serial number, in any case, at most 1000; any when
    /// empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hardware_ids: Vec<String>,
}

/// An enroll secret just made: the only time that its value is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedEnrollSecret {
    #[serde(flatten)]
    pub info: EnrollSecretInfo,
    pub secret: EnrollSecret,
}

/// A device, as lists and `GET /devices/{id}` show it. Texts that are not known are empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Device {
    pub id: DeviceId,
    pub hostname: String,
    pub computer_name: String,
    pub platform: String,
    pub platform_like: String,
    pub os_version: String,
    pub cpu_type: String,
    pub hardware_uuid: String,
    pub hardware_serial: String,
    pub hardware_model: String,
    pub orbit_version: String,
    pub osquery_version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_id: Option<TeamId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_user_email: Option<String>,
    pub status: DeviceStatus,
    /// Whether it may be here.
    #[serde(default)]
    pub state: DeviceState,
    /// Since when it is in that state, if somebody put it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_changed_at: Option<Timestamp>,
    /// Who did, as the audit trail names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_changed_by: Option<String>,
    /// When one of its keys was last used by two machines at once, as far as it seems.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone_suspected_at: Option<Timestamp>,
    /// Sorted.
    #[serde(default)]
    pub tags: Vec<String>,
    /// When it first enrolled.
    pub enrolled_at: Timestamp,
    /// When its agent last enrolled, if an agent did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orbit_enrolled_at: Option<Timestamp>,
    /// When its osqueryd last enrolled, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub osquery_enrolled_at: Option<Timestamp>,
    pub last_seen_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_ip: Option<String>,
    /// The channels that its components are updated from, where people said so.
    #[serde(default, skip_serializing_if = "UpdateChannels::is_empty")]
    pub update_channels: UpdateChannels,
    /// How updates of its components stand, once its agent has told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub updates: Vec<ComponentUpdate>,
    /// Which of its components end as often as they are started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crash_loops: Vec<CrashLoop>,
    /// Until when its agent logs more, as somebody asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debug_until: Option<Timestamp>,
    /// Whether its agent signs what it asks, with a key of the device's own.
    #[serde(default)]
    pub signs_requests: bool,
}

/// Whether a device may be here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// It asked to enroll with a secret that needs approval. It has no key, and asks again.
    Pending,
    #[default]
    Accepted,
    /// It was pending, and somebody said no.
    Rejected,
    /// It was accepted. Its keys are gone, and it gets none.
    Decommissioned,
}

impl DeviceState {
    /// Every state.
    pub const ALL: [Self; 4] =
        [Self::Pending, Self::Accepted, Self::Rejected, Self::Decommissioned];

    /// As it is written everywhere, e.g. `pending`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Decommissioned => "decommissioned",
        }
    }
}

impl std::str::FromStr for DeviceState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == text);
        known.ok_or_else(|| format!("unknown device state `{text}`"))
    }
}

/// `PATCH /devices/{id}`: what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeDevice {
    /// `accepted`, `rejected` or `decommissioned`; takes `devices:write`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<DeviceState>,
    /// All of its tags: 1 to 40 of letters, digits, `.`, `-` and `_`, at most 20; takes `devices:configure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// All channels that people set for it, by component (`orbit`, `osqueryd`, `desktop`): a name, or a
    /// version. Components without one follow the server, or their package; takes `updates:deploy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_channels: Option<BTreeMap<String, String>>,
    /// For how long from now its agent is to log more, in seconds: a day at most; 0: no longer. Takes
    /// `devices:configure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debug_for_seconds: Option<u32>,
}

/// `POST /devices/update-channels`: for those that match, and exactly one of the first three fields is
/// to be given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DeployUpdates {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_id: Option<TeamId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Admitted by this secret, the last time that they enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enroll_secret_id: Option<EnrollSecretId>,
    /// As of one device.
    pub update_channels: BTreeMap<String, String>,
}

/// How many devices it was said of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Deployed {
    pub devices: u64,
}

/// `POST /devices/decommission`: those that match, and exactly one field is to be given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DecommissionDevices {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_id: Option<TeamId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Admitted by this secret, the last time that they enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enroll_secret_id: Option<EnrollSecretId>,
}

/// How many devices lost their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Decommissioned {
    pub devices: u64,
}

/// Whether a device was heard of lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum DeviceStatus {
    /// Heard of within [`ONLINE_WITHIN_SECONDS`].
    Online,
    Offline,
}

impl DeviceStatus {
    /// As it is written everywhere: `online`, `offline`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }
}

/// How long a device counts as online after it was last heard of: four agent polls and a little.
pub const ONLINE_WITHIN_SECONDS: i64 = 150;
