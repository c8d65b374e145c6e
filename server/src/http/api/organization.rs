//! `/organization`, the one that the request is for, and `/billing`.

use axum::{Json, extract::State, http::StatusCode};
use wire::api::{Billing, ChangeOrganization, Organization};

use crate::{
    Fleet,
    http::{auth::SignedIn, body::ApiJson, error::ApiError},
};

/// Shows the organization.
#[utoipa::path(get, path = "/organization", tag = "organization",
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = Organization)))]
pub async fn show(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
) -> Result<Json<Organization>, ApiError> {
    Ok(Json(fleet.organization(&actor).await?))
}

/// Renames it, or says where its people and keys may ask from, and what holds for its API keys.
#[utoipa::path(patch, path = "/organization", tag = "organization", request_body = ChangeOrganization,
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = Organization)))]
pub async fn change(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    ApiJson(change): ApiJson<ChangeOrganization>,
) -> Result<Json<Organization>, ApiError> {
    Ok(Json(fleet.change_organization(&actor, change).await?))
}

/// Deletes it with everything in it, and the people who are in no other.
#[utoipa::path(delete, path = "/organization", tag = "organization",
    security(("access_token" = [])),
    responses((status = 204, description = "Done.")))]
pub async fn delete(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
) -> Result<StatusCode, ApiError> {
    fleet.delete_organization(&actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the organization uses.
#[utoipa::path(get, path = "/billing", tag = "organization",
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = Billing)))]
pub async fn billing(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
) -> Result<Json<Billing>, ApiError> {
    Ok(Json(fleet.billing(&actor).await?))
}
