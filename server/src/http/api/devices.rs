//! `/devices`: enrolled machines.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;
use wire::{
    DeviceId, TeamId,
    api::{Device, Page as ListPage},
};

use crate::{
    Fleet,
    fleet::page::Page,
    http::{
        auth::SignedIn,
        error::ApiError,
        pagination::{Id, PageQuery, Parameters},
    },
};

/// Which devices a list shows.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeviceQuery {
    /// Part of the host name, serial number or hardware UUID, in any case.
    #[param(max_length = 255)]
    query: Option<String>,
    /// Only members of this team.
    team_id: Option<TeamId>,
}

/// Lists devices.
#[utoipa::path(get, path = "/devices", tag = "devices", params(PageQuery, DeviceQuery),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = ListPage<Device>), (status = 422, body = wire::api::Problem)))]
pub async fn list(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Parameters(filter): Parameters<DeviceQuery>,
    page: Page,
) -> Result<Json<ListPage<Device>>, ApiError> {
    Ok(Json(fleet.devices(&actor, (filter.query, filter.team_id), page).await?))
}

/// Shows a device.
#[utoipa::path(get, path = "/devices/{id}", tag = "devices", params(("id" = DeviceId, Path)),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = Device)))]
pub async fn show(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<DeviceId>,
) -> Result<Json<Device>, ApiError> {
    Ok(Json(fleet.device(&actor, id).await?))
}

/// Deletes a device; its keys are refused at once.
#[utoipa::path(delete, path = "/devices/{id}", tag = "devices", params(("id" = DeviceId, Path)),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 204, description = "Done.")))]
pub async fn delete(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<DeviceId>,
) -> Result<StatusCode, ApiError> {
    fleet.remove_device(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
