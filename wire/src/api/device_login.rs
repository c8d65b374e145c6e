//! Signing in where there is no browser (RFC 8628).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Hidden;

/// `POST /auth/device/code`: a program asks for a code to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DeviceCodeRequest {
    /// What the program calls itself; shown to whoever approves. 1 to 100 characters.
    pub client: String,
}

/// The reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceCode {
    /// For the program alone.
    pub device_code: Hidden,
    /// To be shown, e.g. `WDJB-MJHT`.
    pub user_code: String,
    /// Where a person types it.
    pub verification_uri: String,
    /// The same with the code filled in.
    pub verification_uri_complete: String,
    /// Seconds.
    pub expires_in: u64,
    /// Seconds between two polls.
    pub interval: u64,
}

/// `POST /auth/device/token`: a program asks whether the code was approved.
///
/// Refusals carry `error` as RFC 8628 has it: `authorization_pending`, `slow_down`,
/// `access_denied`, `expired_token`, `invalid_grant`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DeviceTokenRequest {
    pub device_code: Hidden,
}

/// `POST /auth/device/approval`: a person who is signed in decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DeviceApproval {
    pub user_code: String,
    pub approve: bool,
}

/// `GET /auth/device/{user_code}`: what asks, to be shown before it is approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PendingDeviceLogin {
    pub client: String,
    /// Program and system, as far as the request told.
    pub device: String,
    pub address: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}
