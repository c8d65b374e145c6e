//! What agents ask: orbit and osqueryd, with Fleet's names and shapes. Keys travel in the body.

use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue},
};
use serde_json::{Map, Value};
use wire::{
    orbit::{
        AgentConfig, ConfigRequest, DesktopTokenRequest, Empty, EnrollReply, EnrollRequest,
        TokenReply, TokenRequest, UpdateReport, UpdateReportReply,
    },
    osquery::{self, DistributedQueries, DistributedResults, LogRequest, NodeRequest},
};

use super::{
    body::{AgentJson, BULK, ENROLLMENT},
    error::ApiError,
};
use crate::Fleet;

/// What this server can do beyond the first orbit, in Fleet's words.
const CAPABILITIES: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-fleet-capabilities"),
    HeaderValue::from_static("orbit_endpoints,token_rotation"),
);

/// Tells an agent that the server is there and what it can do.
#[utoipa::path(get, path = "/ping", tag = "agents", responses((status = 200, description = "It is.")))]
pub async fn ping() -> [(HeaderName, HeaderValue); 1] {
    [CAPABILITIES]
}

/// Admits a device and gives its orbit a node key.
#[utoipa::path(post, path = "/enroll", tag = "agents", request_body = EnrollRequest,
    responses((status = 200, body = EnrollReply), (status = 429, body = wire::orbit::AgentError)))]
pub async fn orbit_enroll(
    State(fleet): State<Fleet>,
    AgentJson(request, origin): AgentJson<EnrollRequest, ENROLLMENT>,
) -> Result<([(HeaderName, HeaderValue); 1], Json<EnrollReply>), ApiError> {
    let key = request.device_key;
    let key = fleet.enroll(&request.enroll_secret, request.device, key.as_deref(), &origin).await?;
    Ok(([CAPABILITIES], Json(EnrollReply { orbit_node_key: key })))
}

/// Tells an orbit what is wanted of it.
#[utoipa::path(post, path = "/config", tag = "agents", request_body = ConfigRequest,
    responses((status = 200, body = AgentConfig)))]
pub async fn orbit_config(
    State(fleet): State<Fleet>,
    AgentJson(request, origin): AgentJson<ConfigRequest>,
) -> Result<Json<AgentConfig>, ApiError> {
    Ok(Json(fleet.agent_config(request, &origin).await?))
}

/// Gives a device a short proof of which one it is, for others than this server.
#[utoipa::path(post, path = "/token", tag = "agents", request_body = TokenRequest,
    responses((status = 200, body = TokenReply)))]
pub async fn token(
    State(fleet): State<Fleet>,
    AgentJson(request, origin): AgentJson<TokenRequest>,
) -> Result<Json<TokenReply>, ApiError> {
    let (token, lasts) = fleet.device_token(&request.orbit_node_key, &origin).await?;
    Ok(Json(TokenReply { token, expires_in: lasts.as_secs().unsigned_abs() }))
}

/// Takes the token that opens the end user's page of the device.
#[utoipa::path(post, path = "/device_token", tag = "agents", request_body = DesktopTokenRequest,
    responses((status = 200, body = Empty), (status = 409, body = wire::orbit::AgentError)))]
pub async fn device_token(
    State(fleet): State<Fleet>,
    AgentJson(request, origin): AgentJson<DesktopTokenRequest>,
) -> Result<Json<Empty>, ApiError> {
    let DesktopTokenRequest { orbit_node_key, device_auth_token } = request;
    fleet.set_desktop_token(&orbit_node_key, &device_auth_token, &origin).await?;
    Ok(Json(Empty {}))
}

/// Takes how updates of a device's components stand, and tells how what they are offered fares on
/// the organization's other devices.
#[utoipa::path(post, path = "/updates", tag = "agents", request_body = UpdateReport,
    responses((status = 200, body = UpdateReportReply)))]
pub async fn orbit_updates(
    State(fleet): State<Fleet>,
    AgentJson(report, origin): AgentJson<UpdateReport>,
) -> Result<Json<UpdateReportReply>, ApiError> {
    Ok(Json(fleet.take_updates(report, &origin).await?))
}

/// Admits a device's osqueryd and gives it a node key of its own.
#[utoipa::path(post, path = "/enroll", tag = "agents", request_body = osquery::EnrollRequest,
    responses((status = 200, body = osquery::EnrollReply), (status = 429, body = wire::orbit::AgentError)))]
pub async fn osquery_enroll(
    State(fleet): State<Fleet>,
    AgentJson(request, origin): AgentJson<osquery::EnrollRequest, ENROLLMENT>,
) -> Result<Json<osquery::EnrollReply>, ApiError> {
    let node_key = fleet.enroll_osquery(request, &origin).await?;
    Ok(Json(osquery::EnrollReply { node_key }))
}

/// osquery's configuration.
#[utoipa::path(post, path = "/config", tag = "agents", request_body = NodeRequest,
    responses((status = 200, body = Object)))]
pub async fn osquery_config(
    State(fleet): State<Fleet>,
    AgentJson(request, origin): AgentJson<NodeRequest>,
) -> Result<Json<Map<String, Value>>, ApiError> {
    Ok(Json(fleet.osquery_config(&request.node_key, &origin).await?))
}

/// The queries that a device is to answer.
#[utoipa::path(post, path = "/distributed/read", tag = "agents", request_body = NodeRequest,
    responses((status = 200, body = DistributedQueries)))]
pub async fn distributed_read(
    State(fleet): State<Fleet>,
    AgentJson(request, origin): AgentJson<NodeRequest>,
) -> Result<Json<DistributedQueries>, ApiError> {
    Ok(Json(fleet.queries_for(&request.node_key, &origin).await?))
}

/// Takes a device's answers.
#[utoipa::path(post, path = "/distributed/write", tag = "agents", request_body = DistributedResults,
    responses((status = 200, body = Empty)))]
pub async fn distributed_write(
    State(fleet): State<Fleet>,
    AgentJson(results, origin): AgentJson<DistributedResults, BULK>,
) -> Result<Json<Empty>, ApiError> {
    fleet.take_results(results, &origin).await?;
    Ok(Json(Empty {}))
}

/// Takes osqueryd's log lines.
#[utoipa::path(post, path = "/log", tag = "agents", request_body = LogRequest,
    responses((status = 200, body = Empty)))]
pub async fn log(
    State(fleet): State<Fleet>,
    AgentJson(request, origin): AgentJson<LogRequest, BULK>,
) -> Result<Json<Empty>, ApiError> {
    fleet.log(request, &origin).await?;
    Ok(Json(Empty {}))
}
