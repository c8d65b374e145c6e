//! The repository of updates, as files. Of a folder, conditions, ranges and entity tags are
//! tower-http's; of a bucket they are its own, and passed on.

use axum::{
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::Response,
};
use tower::ServiceExt as _;
use tower_http::services::ServeFile;
use wire::updates::Keeping;

use super::{error::ApiError, problems};
use crate::{
    Fleet,
    bucket::{Bucket, BucketError},
};

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
    if let Some(bucket) = fleet.update_bucket() {
        let (asked, _) = request.into_parts();
        return from_bucket(bucket, &path, asked).await;
    }
    let (file, keeping) = fleet.update_file(&path).await.ok_or_else(not_found)?;
    let Ok(response) = ServeFile::new(file).oneshot(request).await;
    let mut response = response.map(Body::new);
    match response.status() {
        StatusCode::NOT_FOUND => return Err(not_found()),
        status if status.is_server_error() => return Err(ApiError::of(problems::INTERNAL)),
        _ => {}
    }
    let headers = response.headers_mut();
    if headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, kind_of(&path));
    }
    if !response.status().is_client_error() {
        let value = HeaderValue::from_static(keeping.cache_control());
        response.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    Ok(response)
}

/// What the bucket says of a file that is the same for whoever asks.
const PASSED_ON: [HeaderName; 5] = [
    header::ACCEPT_RANGES,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::ETAG,
    header::LAST_MODIFIED,
];

async fn from_bucket(bucket: &Bucket, path: &str, asked: Parts) -> Result<Response, ApiError> {
    let not_found = || ApiError::of(problems::NOT_FOUND);
    let failed = |error: BucketError| {
        let is_busy = matches!(error, BucketError::Busy);
        ApiError::failed(if is_busy { problems::BUSY } else { problems::INTERNAL }, error)
    };
    let keeping = Keeping::of(path).ok_or_else(not_found)?;
    let Parts { method, headers: mut asked, .. } = asked;
    // Buckets know no If-Range: what may be another file by now comes whole.
    if keeping == Keeping::Not && asked.remove(header::IF_RANGE).is_some() {
        asked.remove(header::RANGE);
    }
    let passing = bucket.open(path, (&method, &asked)).await.map_err(failed)?;
    let status = passing.answer.status();
    let is_whole = matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
    match status {
        StatusCode::OK
        | StatusCode::PARTIAL_CONTENT
        | StatusCode::NOT_MODIFIED
        | StatusCode::PRECONDITION_FAILED
        | StatusCode::RANGE_NOT_SATISFIABLE => {}
        StatusCode::NOT_FOUND => return Err(not_found()),
        StatusCode::FORBIDDEN => {
            let refusal = passing.refusal().await;
            return Err(refusal.map_or_else(not_found, failed));
        }
        other => return Err(failed(BucketError::Answer(other))),
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for name in PASSED_ON {
        let is_length = name == header::CONTENT_LENGTH;
        // What a bucket says beside a refusal is not for others.
        if let Some(value) = passing.answer.headers().get(&name).filter(|_| is_whole || !is_length)
        {
            headers.insert(name, value.clone());
        }
    }
    if is_whole {
        headers.insert(header::CONTENT_TYPE, kind_of(path));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    if !status.is_client_error() {
        let value = HeaderValue::from_static(keeping.cache_control());
        headers.insert(header::CACHE_CONTROL, value);
    }
    if is_whole && method != Method::HEAD {
        *response.body_mut() = Body::from_stream(passing.into_stream());
    }
    Ok(response)
}

fn kind_of(path: &str) -> HeaderValue {
    let is_json = path.ends_with(".json");
    HeaderValue::from_static(if is_json { "application/json" } else { "application/octet-stream" })
}
