//! What the agent says to the server and hears back, under [`PREFIX`].
//!
//! Field names are Fleet's, so that either side can be replaced by Fleet's own. Fields of ours are
//! optional for the same reason. The node key travels inside the JSON body.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{DesktopToken, EnrollSecret, NodeKey};

/// Where these endpoints live: `HEAD ping`, `POST enroll`, `POST config`, `POST device_token`.
pub const PREFIX: &str = "/api/fleet/orbit";

/// Body of `POST enroll`: who asks, and the secret that admits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrollRequest {
    pub enroll_secret: EnrollSecret,
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
