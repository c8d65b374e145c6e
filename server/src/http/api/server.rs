//! About the server itself: health, its description, its problems.

use std::sync::LazyLock;

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use jsonwebtoken::jwk::JwkSet;

use crate::{
    Fleet,
    fleet::keys::JWKS_MAX_AGE,
    http::{auth::Monitoring, error::ApiError, openapi::document, pagination::Id, problems},
};

/// The process answers.
#[utoipa::path(get, path = "/health/live", tag = "server",
    responses((status = 200, description = "It does.", body = String, content_type = "text/plain")))]
pub async fn live() -> &'static str {
    "ok\n"
}

/// The server can do its work: the database answers.
#[utoipa::path(get, path = "/health/ready", tag = "server",
    responses((status = 200, description = "It can.", body = String, content_type = "text/plain")))]
pub async fn ready(State(fleet): State<Fleet>) -> Result<&'static str, ApiError> {
    fleet.ready().await?;
    Ok("ok\n")
}

/// What the server counts of itself, for Prometheus. There is nothing without `metrics.token`.
#[utoipa::path(get, path = "/metrics", tag = "server", security(("metrics_token" = [])),
    responses((status = 200, description = "OpenMetrics 1.0.", body = String, content_type = "application/openmetrics-text"),
              (status = 404, body = wire::api::Problem)))]
pub async fn metrics(State(fleet): State<Fleet>, _monitoring: Monitoring) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], fleet.metrics().await)
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "server",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub async fn openapi() -> impl IntoResponse {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
        serde_json::to_vec(&document()).expect("the document is made of texts and lists").into()
    });
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.clone())
}

/// The public keys that access tokens are signed with (RFC 7517), for whoever checks them.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "server",
    responses((status = 200, description = "A JWK set.", body = Object)))]
pub async fn jwks(State(fleet): State<Fleet>) -> Result<impl IntoResponse, ApiError> {
    let keys = JwkSet { keys: fleet.jwks().await? };
    let seconds = JWKS_MAX_AGE.as_secs();
    Ok(([(header::CACHE_CONTROL, format!("public, max-age={seconds}"))], Json(keys)))
}

/// Explains a kind of problem.
#[utoipa::path(get, path = "/problems/{name}", tag = "server", params(("name" = String, Path)),
    responses((status = 200, description = "What it means.", body = String, content_type = "text/markdown")))]
pub async fn problem(Id(name): Id<String>) -> Result<impl IntoResponse, ApiError> {
    let kind = problems::ALL.iter().find(|kind| kind.name == name);
    let kind = kind.ok_or_else(|| ApiError::of(problems::NOT_FOUND))?;
    let content_type = [(header::CONTENT_TYPE, "text/markdown; charset=utf-8")];
    Ok((StatusCode::OK, content_type, kind.page()))
}
