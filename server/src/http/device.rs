//! What a device's user asks, with the token that the agent has set: a summary for `fleet-desktop`,
//! and the page that it opens in a browser. The token is in the path, as Fleet has it.

use askama::Template;
use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    response::Response,
};
use wire::{DesktopToken, orbit::DeviceSummary};

use super::{envelope::ClientAddress, error::ApiError, page::render, problems};
use crate::{Fleet, fleet::nodes::NodeError};

/// Tells a device's user how it stands.
#[utoipa::path(get, path = "/{token}/desktop", tag = "agents", params(("token" = String, Path)),
    responses((status = 200, body = DeviceSummary), (status = 401, body = wire::orbit::AgentError),
              (status = 429, body = wire::orbit::AgentError)))]
pub async fn summary(
    State(fleet): State<Fleet>,
    ClientAddress(address): ClientAddress,
    token: Result<Path<DesktopToken>, PathRejection>,
) -> Result<Json<DeviceSummary>, ApiError> {
    let Path(token) = token.map_err(|_| ApiError::of(problems::UNAUTHENTICATED))?;
    Ok(Json(fleet.device_summary(&token, address).await?))
}

/// Shows a device to its user.
#[utoipa::path(get, path = "/{token}", tag = "agents", params(("token" = String, Path)),
    responses((status = 200, body = String, content_type = "text/html", description = "The page."),
              (status = 401, body = String, content_type = "text/html", description = "Too old.")))]
pub async fn page(
    State(fleet): State<Fleet>,
    ClientAddress(address): ClientAddress,
    token: Result<Path<DesktopToken>, PathRejection>,
) -> Result<Response, ApiError> {
    let device = match token {
        Ok(Path(token)) => fleet.device_summary(&token, address).await,
        Err(_) => Err(NodeError::UnknownToken),
    };
    let (status, device) = match device {
        Ok(device) => (StatusCode::OK, Some(device)),
        Err(NodeError::UnknownToken) => (StatusCode::UNAUTHORIZED, None),
        Err(error) => return Err(error.into()),
    };
    render(status, &Page { device })
}

/// Without a device: the link that brought the user here is too old.
#[derive(Template)]
#[template(path = "device.html")]
struct Page {
    device: Option<DeviceSummary>,
}

impl Page {
    fn rows(device: &DeviceSummary) -> [(&'static str, String); 8] {
        [
            ("Status", device.status.as_str().to_owned()),
            ("Last seen", device.last_seen_at.strftime("%F %T UTC").to_string()),
            ("Enrolled", device.enrolled_at.strftime("%F %T UTC").to_string()),
            ("System", device.os_version.clone()),
            ("Model", device.hardware_model.clone()),
            ("Serial number", device.hardware_serial.clone()),
            ("Agent", device.orbit_version.clone()),
            ("osquery", device.osquery_version.clone()),
        ]
    }
}
