//! `/api-keys`: for people alone; a key cannot manage keys.

use axum::{Json, extract::State, http::StatusCode};
use wire::{
    ApiKeyId,
    api::{ApiKey, CreatedApiKey, NewApiKey, Page as ListPage, RotateApiKey},
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

/// Lists API keys, revoked ones too, without their values.
#[utoipa::path(get, path = "/api-keys", tag = "API keys", params(PageQuery),
    security(("access_token" = [])),
    responses((status = 200, body = ListPage<ApiKey>)))]
pub async fn list(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    page: Page,
) -> Result<Json<ListPage<ApiKey>>, ApiError> {
    Ok(Json(fleet.api_keys(&actor, page).await?))
}

/// Makes an API key; the reply alone tells its value.
#[utoipa::path(post, path = "/api-keys", tag = "API keys", request_body = NewApiKey,
    security(("access_token" = [])),
    responses((status = 201, body = CreatedApiKey),
        (status = 200, description = "There is such a key.", body = CreatedApiKey)))]
pub async fn create(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    ApiJson(new): ApiJson<NewApiKey>,
) -> Result<(StatusCode, Json<CreatedApiKey>), ApiError> {
    let made = fleet.add_api_key(&actor, new).await?;
    let status = if made.key.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(made)))
}

/// Shows one.
#[utoipa::path(get, path = "/api-keys/{id}", tag = "API keys", params(("id" = ApiKeyId, Path)),
    security(("access_token" = [])),
    responses((status = 200, body = ApiKey)))]
pub async fn show(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<ApiKeyId>,
) -> Result<Json<ApiKey>, ApiError> {
    Ok(Json(fleet.api_key(&actor, id).await?))
}

/// Refuses a key from here on.
#[utoipa::path(delete, path = "/api-keys/{id}", tag = "API keys", params(("id" = ApiKeyId, Path)),
    security(("access_token" = [])),
    responses((status = 204, description = "Done.")))]
pub async fn revoke(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<ApiKeyId>,
) -> Result<StatusCode, ApiError> {
    fleet.revoke_api_key(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a key a new value. Id, name and scopes stay.
#[utoipa::path(post, path = "/api-keys/{id}/rotate", tag = "API keys", params(("id" = ApiKeyId, Path)),
    request_body = RotateApiKey, security(("access_token" = [])),
    responses((status = 200, body = CreatedApiKey), (status = 409, body = wire::api::Problem)))]
pub async fn rotate(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Id(id): Id<ApiKeyId>,
    ApiJson(request): ApiJson<RotateApiKey>,
) -> Result<Json<CreatedApiKey>, ApiError> {
    Ok(Json(fleet.rotate_api_key(&actor, id, request).await?))
}
