//! Request bodies: JSON, of bounded size, arriving in bounded time.

use std::collections::BTreeMap;

use axum::{
    Extension,
    body::{Body, Bytes, to_bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use wire::{
    OsqueryNodeKey,
    api::Hidden,
    signature::{
        self, CONTENT_DIGEST, Message, Received, SIGNATURE, SIGNATURE_INPUT, SignatureError,
    },
};

use super::{envelope::WholePath, error::ApiError, problems};
use crate::{Fleet, fleet::origin::Origin};

/// What most routes take, in bytes.
pub const SMALL: usize = 64 << 10;
/// What an enrollment may take.
pub const ENROLLMENT: usize = 1 << 20;
/// What osquery's results and log lines may take at once.
pub const BULK: usize = 10 << 20;

/// A JSON body from people and scripts; its content type must say so.
#[derive(Debug)]
pub struct ApiJson<T>(pub T);

/// A JSON body from an agent, at most `LIMIT` bytes, and where it comes from: with the signature that
/// it came with, if it has one. Fleet's agents do not all send a content type, so none is asked for.
#[derive(Debug)]
pub struct AgentJson<T, const LIMIT: usize = SMALL>(pub T, pub Origin);

/// Where a request from an agent without a body comes from, as with [`AgentJson`].
#[derive(Debug)]
pub struct AgentCall(pub Origin);

impl<T: DeserializeOwned> FromRequest<Fleet> for ApiJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, fleet: &Fleet) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::of(problems::UNSUPPORTED_MEDIA_TYPE));
        }
        parse(&read(request.into_body(), fleet, SMALL).await?).map(Self)
    }
}

impl<T: DeserializeOwned, const LIMIT: usize> FromRequest<Fleet> for AgentJson<T, LIMIT> {
    type Rejection = ApiError;

    async fn from_request(request: Request, fleet: &Fleet) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let bytes = read(body, fleet, LIMIT).await?;
        if LIMIT == BULK && bytes.len() > SMALL {
            // The key is in the body, and a parsed body takes many times its bytes: what nobody
            // known sent is skimmed for the key and nothing else.
            let Keyed { node_key } = parse(&bytes)?;
            fleet.check_osquery_key(&node_key).await?;
        }
        let origin = origin_of(&mut parts, &bytes, fleet).await?;
        Ok(Self(parse(&bytes)?, origin))
    }
}

impl FromRequestParts<Fleet> for AgentCall {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, fleet: &Fleet) -> Result<Self, ApiError> {
        origin_of(parts, b"", fleet).await.map(Self)
    }
}

async fn origin_of(parts: &mut Parts, body: &[u8], fleet: &Fleet) -> Result<Origin, ApiError> {
    let origin = Extension::<Origin>::from_request_parts(parts, fleet).await;
    let Extension(origin) = origin.map_err(|error| ApiError::failed(problems::INTERNAL, error))?;
    Ok(Origin { signature: received(parts, body, fleet), ..origin })
}

/// The device's signature of a request, if there is one, or why nothing can be made of it.
fn received(parts: &Parts, body: &[u8], fleet: &Fleet) -> Option<Result<Received, SignatureError>> {
    let names = [SIGNATURE_INPUT, SIGNATURE, CONTENT_DIGEST];
    let values = names.map(|name| (name, whole(&parts.headers, name)));
    let header = |name| {
        let (_, value) = values.iter().find(|(it, _)| *it == name)?;
        value.as_deref()
    };
    let (method, path) = (parts.method.as_str(), &signed_path(parts, fleet));
    match signature::receive(&Message { method, path, body }, header) {
        Err(SignatureError::Missing(SIGNATURE_INPUT) | SignatureError::NotOurs) => None,
        received => Some(received),
    }
}

/// A header's value: those who add another signature on the way may add another line.
fn whole(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines: Option<Vec<_>> =
        headers.get_all(name).iter().map(|value| value.to_str().ok()).collect();
    lines.filter(|lines| !lines.is_empty()).map(|lines| lines.join(", "))
}

/// The path as the agent has it: proxies may have taken away what leads to this server.
fn signed_path(parts: &Parts, fleet: &Fleet) -> String {
    let url = fleet.config().server.url.as_ref();
    let before = url.map_or("", |url| url.path().trim_end_matches('/'));
    let whole = parts.extensions.get::<WholePath>();
    format!("{before}{}", whole.map_or(parts.uri.path(), |WholePath(path)| path))
}

/// What of a large body is read first.
#[derive(serde::Deserialize)]
struct Keyed {
    node_key: OsqueryNodeKey,
}

/// The fields of an HTML form; of one that comes twice, the last.
#[derive(Debug)]
pub struct FormFields(BTreeMap<String, Hidden>);

impl FormFields {
    /// Takes a field out, or refuses when it is not there.
    pub(super) fn take(&mut self, name: &str) -> Result<Hidden, ApiError> {
        let missing =
            || ApiError::because(problems::INVALID_FIELDS, format_args!("{name}: missing"));
        self.0.remove(name).ok_or_else(missing)
    }
}

impl FromRequest<Fleet> for FormFields {
    type Rejection = ApiError;

    async fn from_request(request: Request, fleet: &Fleet) -> Result<Self, ApiError> {
        if !is_of_type(request.headers(), "application/x-www-form-urlencoded") {
            return Err(ApiError::of(problems::UNSUPPORTED_MEDIA_TYPE));
        }
        let bytes = read(request.into_body(), fleet, SMALL).await?;
        let fields = url::form_urlencoded::parse(&bytes);
        Ok(Self(
            fields.map(|(name, text)| (name.into_owned(), Hidden(text.into_owned()))).collect(),
        ))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    is_of_type(headers, "application/json")
}

fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(wanted)
}

async fn read(body: Body, fleet: &Fleet, limit: usize) -> Result<Bytes, ApiError> {
    let deadline = fleet.config().limits.body_timeout.as_duration();
    match tokio::time::timeout(deadline, to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_large(&error) => Err(ApiError::because(
            problems::BODY_TOO_LARGE,
            format_args!("this route takes {limit} bytes"),
        )),
        Ok(Err(_)) => Err(ApiError::because(problems::MALFORMED_BODY, "the body was cut short")),
        Err(_) => Err(ApiError::of(problems::BODY_TIMEOUT)),
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        if error.to_string() == "length limit exceeded" {
            return true;
        }
        next = error.source();
    }
    false
}

/// Broken JSON is 400; JSON of another shape is 422. Bodies are objects: an array whose items would
/// fit the fields in order is refused, though serde would take it.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let body = serde_json::from_slice(bytes).map_err(|error| {
        let kind = match error.classify() {
            Category::Data => problems::INVALID_FIELDS,
            Category::Io | Category::Syntax | Category::Eof => problems::MALFORMED_BODY,
        };
        ApiError::because(kind, error)
    })?;
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::because(problems::INVALID_FIELDS, "the body must be an object"));
    }
    Ok(body)
}
