//! `/enroll-secrets`: what admits devices.

use axum::{Json, extract::State, http::StatusCode};
use wire::{
    EnrollSecretId,
    api::{CreatedEnrollSecret, EnrollSecretInfo, NewEnrollSecret, Page as ListPage},
};

use crate::{
    Fleet,
    fleet::page::Page,
    http::{
        auth::SignedIn,
        body::ApiJson,
        error::ApiError,
        pagination::{Id, PageQuery},
    },
};

/// Lists enroll secrets, revoked ones too, without their values.
#[utoipa::path(get, path = "/enroll-secrets", tag = "enroll secrets", params(PageQuery),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = ListPage<EnrollSecretInfo>)))]
pub async fn list(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    page: Page,
) -> Result<Json<ListPage<EnrollSecretInfo>>, ApiError> {
    Ok(Json(fleet.enroll_secrets(&actor, page).await?))
}

/// Makes an enroll secret; the reply alone tells its value.
#[utoipa::path(post, path = "/enroll-secrets", tag = "enroll secrets", request_body = NewEnrollSecret,
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 201, body = CreatedEnrollSecret), (status = 409, body = wire::api::Problem), (status = 404, body = wire::api::Problem)))]
pub async fn create(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    ApiJson(new): ApiJson<NewEnrollSecret>,
) -> Result<(StatusCode, Json<CreatedEnrollSecret>), ApiError> {
    Ok((StatusCode::CREATED, Json(fleet.add_enroll_secret(&actor, new).await?)))
}

/// Shows one.
#[utoipa::path(get, path = "/enroll-secrets/{id}", tag = "enroll secrets", params(("id" = EnrollSecretId, Path)),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = EnrollSecretInfo)))]
pub async fn show(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<EnrollSecretId>,
) -> Result<Json<EnrollSecretInfo>, ApiError> {
    Ok(Json(fleet.enroll_secret(&actor, id).await?))
}

/// Refuses an enroll secret from here on. Devices that enrolled by it stay.
#[utoipa::path(delete, path = "/enroll-secrets/{id}", tag = "enroll secrets", params(("id" = EnrollSecretId, Path)),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 204, description = "Done.")))]
pub async fn revoke(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<EnrollSecretId>,
) -> Result<StatusCode, ApiError> {
    fleet.revoke_enroll_secret(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
