//! `/devices`: enrolled machines.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Deserialize;
use utoipa::IntoParams;
use wire::{
    DeviceId, TeamId,
    api::{
        ChangeDevice, DecommissionDevices, Decommissioned, DeployUpdates, Deployed, Device,
        DeviceState, Page as ListPage,
    },
};

use crate::{
    Fleet,
    fleet::page::Page,
    http::{
        auth::SignedIn,
        body::ApiJson,
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
    /// Only those in this state.
    state: Option<DeviceState>,
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
    let filter = (filter.query, filter.team_id, filter.state);
    Ok(Json(fleet.devices(&actor, filter, page).await?))
}

/// How updates stand on all devices, as gauges for Prometheus.
#[utoipa::path(get, path = "/devices/metrics", tag = "devices",
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, description = "Gauges in Prometheus' text format.", body = String, content_type = "text/plain")))]
pub async fn metrics(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
) -> Result<impl IntoResponse, ApiError> {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], fleet.update_metrics(&actor).await?))
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

/// Has a device asked about its system the next time that its osqueryd comes.
#[utoipa::path(post, path = "/devices/{id}/refetch", tag = "devices", params(("id" = DeviceId, Path)),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 204, description = "It will be asked.")))]
pub async fn refetch(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<DeviceId>,
) -> Result<StatusCode, ApiError> {
    fleet.refetch_device(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Says which channels every device of a team, with a tag, or admitted by an enroll secret is updated from.
#[utoipa::path(post, path = "/devices/update-channels", tag = "devices", request_body = DeployUpdates,
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = Deployed)))]
pub async fn deploy(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    ApiJson(which): ApiJson<DeployUpdates>,
) -> Result<Json<Deployed>, ApiError> {
    Ok(Json(fleet.deploy_updates(&actor, which).await?))
}

/// Approves of a device or rejects it, decommissions or tags it, sets its channels, has its agent log more.
#[utoipa::path(patch, path = "/devices/{id}", tag = "devices", params(("id" = DeviceId, Path)),
    request_body = ChangeDevice, security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = Device), (status = 409, body = wire::api::Problem)))]
pub async fn change(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<DeviceId>,
    ApiJson(change): ApiJson<ChangeDevice>,
) -> Result<Json<Device>, ApiError> {
    Ok(Json(fleet.change_device(&actor, id, change).await?))
}

/// Takes the keys of every device of a team, with a tag, or admitted by an enroll secret.
#[utoipa::path(post, path = "/devices/decommission", tag = "devices", request_body = DecommissionDevices,
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = Decommissioned)))]
pub async fn decommission(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    ApiJson(which): ApiJson<DecommissionDevices>,
) -> Result<Json<Decommissioned>, ApiError> {
    Ok(Json(fleet.decommission_devices(&actor, which).await?))
}
