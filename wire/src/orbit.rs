//! What the agent says to the server and hears back, under [`PREFIX`].
//!
//! Field names are Fleet's, so that either side can be replaced by Fleet's own. Fields of ours are
//! optional for the same reason. The node key travels inside the JSON body.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{DesktopToken, EnrollSecret, NodeKey};

/// Where these endpoints live: `HEAD ping`, `POST enroll`, `POST config`, `POST device_token`,
/// `POST updates`.
pub const PREFIX: &str = "/api/fleet/orbit";

/// Where a device may keep a connection, with its node key as the bearer's (ours, not Fleet's).
pub const CONNECT: &str = "/api/device/connect";

/// Body of `POST enroll`: who asks, and the secret that admits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollRequest {
    pub enroll_secret: EnrollSecret,
    /// The public half of the key that this request and every one after it is signed with, in hexadecimal: 32
    /// bytes of Ed25519, or an uncompressed point of P-256. None: requests come without
    /// [`signature`](crate::signature)s (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_key: Option<String>,
    #[serde(flatten)]
    pub device: DeviceIdentity,
}

/// How a device describes itself. Every text is at most 255 bytes once trimmed; the server cuts
/// what is longer, except the two that name the device: `hardware_uuid` and `osquery_identifier`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceIdentity {
    /// Names the hardware: the SMBIOS UUID, or a UUID made from the machine id where there is none.
    pub hardware_uuid: String,
    #[serde(default)]
    pub hardware_serial: String,
    #[serde(default)]
    pub hostname: String,
    /// osquery's word for the system: `ubuntu`, `debian`, `darwin`, `windows`, …
    #[serde(default)]
    pub platform: String,
    /// The family that `platform` belongs to, e.g. `debian`.
    #[serde(default)]
    pub platform_like: String,
    /// What this device's osqueryd calls itself when it enrolls. Empty: `hardware_uuid`.
    #[serde(default)]
    pub osquery_identifier: String,
    #[serde(default)]
    pub computer_name: String,
    #[serde(default)]
    pub hardware_model: String,
    /// `/etc/machine-id`. Two devices that share a hardware UUID differ in it (ours, not Fleet's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// Human-readable, e.g. `Debian GNU/Linux 12 (bookworm)` (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// e.g. `x86_64` (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_type: Option<String>,
    /// Version of the agent, e.g. `1.2.3` (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orbit_version: Option<String>,
    /// Who uses the device, from `--end-user-email` (ours; Fleet sends it separately).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_user_email: Option<String>,
}

/// Reply to `POST enroll`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollReply {
    pub orbit_node_key: NodeKey,
}

/// Body of `POST config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfigRequest {
    pub orbit_node_key: NodeKey,
    /// Version of the agent that asks (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orbit_version: Option<String>,
    /// Chosen at random when the agent started. Two that take turns are two agents with one key (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Whether the agent puts [`AgentConfig::orbit_node_key`] in the place of its key (ours).
    #[serde(default)]
    pub takes_node_key: bool,
    /// Whether the device's osqueryd runs with this very node key as what it enrolls with (ours).
    #[serde(default)]
    pub osqueryd_renews: bool,
}

/// Reply to `POST config`: what the server wants of this agent. Unknown fields are ignored, so
/// that an old agent can talk to a newer server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentConfig {
    /// osqueryd flags by name, without dashes; values are strings, numbers or booleans.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, Object>))]
    pub command_line_startup_flags: BTreeMap<String, serde_json::Value>,
    /// The channels that components are updated from, where they are others than the package says.
    #[serde(default, skip_serializing_if = "UpdateChannels::is_empty")]
    pub update_channels: UpdateChannels,
    /// The key to use from here on. The one before is good until this one is first used (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orbit_node_key: Option<NodeKey>,
    /// Whether osqueryd may enroll with orbit's node key instead of the enroll secret (ours).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub osqueryd_enrolls_with_node_key: bool,
    /// For how many seconds from now to log more than the settings say; none: as they say (ours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debug_for_seconds: Option<u32>,
    /// osquery's extensions to run, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<String, Extension>,
}

/// The longest that an agent is to log more at a stretch, in seconds.
pub const MAX_DEBUG_SECONDS: u32 = 24 * 60 * 60;

/// Which build of an extension of osquery an agent is to run: the target
/// `extensions/<name>/<platform>/<channel>/<name>.ext`, `.ext.exe` for Windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Extension {
    /// `linux`, `linux-arm64`, `macos`, `windows` or `windows-arm64`; agents of others pass it over.
    pub platform: String,
    pub channel: String,
}

/// Channels by component: `stable`, `edge`, or a version. None: as the package says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateChannels {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orbit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub osqueryd: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desktop: Option<String>,
}

impl UpdateChannels {
    /// Whether nothing differs from what the package says.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Body of `POST updates` (ours, not Fleet's): how a device's components stand. Sent when something
/// has changed, and before the device begins with a release, in order to hear how others fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateReport {
    pub orbit_node_key: NodeKey,
    pub components: Vec<ComponentUpdate>,
    /// What of it ends again and again; none: nothing is known, and what was told before holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_loops: Option<Vec<CrashLoop>>,
}

/// A component that ends by itself as often as it is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CrashLoop {
    /// `osqueryd` or `desktop`.
    pub component: String,
    /// When this was noticed, by the device's clock.
    pub since: jiff::Timestamp,
    /// For people: how it ended, e.g. `exit status: 78`.
    pub detail: String,
}

/// How one component of a device stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ComponentUpdate {
    /// `orbit`, `osqueryd` or `desktop`.
    pub component: String,
    pub channel: String,
    /// The version that runs; none: nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub state: UpdateState,
    /// The version that the channel offers, as far as the device has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered_version: Option<String>,
    /// When the device's wave starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<jiff::Timestamp>,
    /// The version that failed on this device and is not tried again until another is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_version: Option<String>,
    /// SHA-256 of its file, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_sha256: Option<String>,
    /// How often in a row what is offered could not be had.
    #[serde(default)]
    pub failures: u32,
    /// For people: why it stands like that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// How a component stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum UpdateState {
    /// What the channel offers runs.
    Current,
    /// Something else is offered, and it is not this device's turn, or it is not meant for it.
    Waiting,
    /// Something else is here and has yet to prove itself.
    Trying,
    /// What is offered has failed here; the version before it runs.
    RolledBack,
    /// What is offered could not be had; it is tried again.
    Failing,
    /// The repository's metadata has expired: nobody can tell what is current.
    Expired,
    /// The repository could not be asked, or is not to be trusted.
    Unreachable,
}

impl UpdateState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Current,
        Self::Waiting,
        Self::Trying,
        Self::RolledBack,
        Self::Failing,
        Self::Expired,
        Self::Unreachable,
    ];

    /// As JSON and tables have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Waiting => "waiting",
            Self::Trying => "trying",
            Self::RolledBack => "rolled_back",
            Self::Failing => "failing",
            Self::Expired => "expired",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Reply to `POST updates`: how what is offered to the device fared on others, by component. A
/// release says what rate of failures keeps devices from beginning with it; they decide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateReportReply {
    #[serde(default)]
    pub tallies: BTreeMap<String, Tally>,
}

/// How many devices of an organization have tried a version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Tally {
    /// Those that run it, are trying it, or have gone back.
    pub attempts: u64,
    /// Those that have gone back.
    pub failures: u64,
}

/// Body of `POST token`: the agent asks for a short proof of which device it is, to show to others than
/// the server (ours, not Fleet's).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenRequest {
    pub orbit_node_key: NodeKey,
}

/// Reply to `POST token`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenReply {
    /// A JSON Web Token, signed with a key of `/.well-known/jwks.json`. Its audience is not the
    /// server's own: it opens no route for people.
    pub token: crate::api::Hidden,
    /// Seconds.
    pub expires_in: u64,
}

/// Body of `POST device_token`: the agent tells which token its user's "My device" page carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DesktopTokenRequest {
    pub orbit_node_key: NodeKey,
    pub device_auth_token: DesktopToken,
}

/// Where a device's user asks about it, the token in the path as Fleet has it: `GET {token}/desktop`.
pub const DEVICE_PREFIX: &str = "/api/latest/fleet/device";

/// Where a device's user looks at it in a browser: `GET {token}`.
pub const DEVICE_PAGE: &str = "/device";

/// Reply to `GET {token}/desktop`: what a device's user may know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceSummary {
    pub hostname: String,
    pub computer_name: String,
    pub platform: String,
    pub os_version: String,
    pub hardware_serial: String,
    pub hardware_model: String,
    pub orbit_version: String,
    pub osquery_version: String,
    pub status: crate::api::DeviceStatus,
    pub enrolled_at: jiff::Timestamp,
    pub last_seen_at: jiff::Timestamp,
}

/// Reply where there is nothing to say: `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Empty {}

/// What an agent endpoint answers when it refuses. 401 means: the secret or node key is not (or no
/// longer) good; an agent then forgets its node key and enrolls again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentError {
    pub error: String,
    /// Present and true where osqueryd must enroll again; never on orbit's own endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_invalid: Option<bool>,
}
