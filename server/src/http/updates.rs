//! The repository of updates, as files: conditions, ranges and entity tags are tower-http's.

use axum::{
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

use super::{error::ApiError, problems};
use crate::Fleet;

/// A file of the repository of updates.
///
/// Agents verify what they get, so anybody may ask. `timestamp.json` is never to be used again
/// without asking, which its entity tag makes cheap; what has a version or a hash in its name never
/// changes.
#[utoipa::path(get, path = "/updates/{*path}", tag = "agents",
    params(("path" = String, Path, description = "The file's name in the folder, slashes and all.")),
    responses(
        (status = 200, description = "The file.", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The part asked for with `Range`.", body = Vec<u8>, content_type = "application/octet-stream"),
    ))]
pub async fn file(
    State(fleet): State<Fleet>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let not_found = || ApiError::of(problems::NOT_FOUND);
    let Path(path) = path.map_err(|_| not_found())?;
    let (file, keeping) = fleet.update_file(&path).await.ok_or_else(not_found)?;
    let is_json = path.ends_with(".json");
    let Ok(response) = ServeFile::new(file).oneshot(request).await;
    let mut response = response.map(Body::new);
    match response.status() {
        StatusCode::NOT_FOUND => return Err(not_found()),
        status if status.is_server_error() => return Err(ApiError::of(problems::INTERNAL)),
        _ => {}
    }
    let kind = if is_json { "application/json" } else { "application/octet-stream" };
    let headers = response.headers_mut();
    if headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if !response.status().is_client_error() {
        let value = HeaderValue::from_static(keeping.cache_control());
        response.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    Ok(response)
}
