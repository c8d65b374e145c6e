//! Pages for people, made from templates. They need no script.

use askama::Template;
use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse as _, Response},
};

use super::{error::ApiError, problems};

/// The page runs nothing, loads nothing, sends forms here alone, and cannot be framed; its address,
/// which may hold a token, goes to nobody else. To ourselves it may: with none at all browsers hide
/// from us, too, which site a form was sent from.
const SAFETY: [(HeaderName, HeaderValue); 3] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

/// Answers with `page`. Fails if its template does.
pub(super) fn render(status: StatusCode, page: &impl Template) -> Result<Response, ApiError> {
    let html = page.render().map_err(|error| ApiError::failed(problems::INTERNAL, error))?;
    Ok((status, SAFETY, Html(html)).into_response())
}

/// Answers with `page`, which says what is wrong: with the status of `error`, when to try again, and
/// counted as that refusal.
pub(super) fn refuse(error: ApiError, page: &impl Template) -> Result<Response, ApiError> {
    let mut response = error.add_retry_after(render(error.status(), page)?);
    response.extensions_mut().insert(Shown(error));
    Ok(response)
}

/// A refusal that its page tells already.
#[derive(Debug, Clone)]
pub(super) struct Shown(pub(super) ApiError);
