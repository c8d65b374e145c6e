//! `/audit`: the trail of what happened.

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::IntoResponse,
};
use futures_util::stream;
use serde::Deserialize;
use utoipa::IntoParams;
use wire::{
    api::{MAX_PAGE, Page as ListPage},
    audit::{AuditEvent, AuditHead},
};

use crate::{
    Fleet,
    fleet::Actor,
    http::{
        auth::SignedIn,
        error::ApiError,
        pagination::{Parameters, limit_of},
    },
};

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// How many.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u32>,
    /// The number after which the page begins: `next` of the page before.
    after: Option<u64>,
    /// One kind of event alone, e.g. `api_key.created`.
    event: Option<String>,
}

/// Where an export begins.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// The number after which it begins.
    after: Option<u64>,
}

/// Lists events, oldest first.
#[utoipa::path(get, path = "/audit", tag = "audit", params(EventQuery),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = ListPage<AuditEvent>)))]
pub async fn list(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Parameters(query): Parameters<EventQuery>,
) -> Result<Json<ListPage<AuditEvent>>, ApiError> {
    let limit = limit_of(query.limit)?;
    let after = query.after.unwrap_or_default();
    let items = fleet.audit_events(&actor, (after, limit), query.event).await?;
    let full = u32::try_from(items.len()).is_ok_and(|length| length == limit);
    let next = items.last().filter(|_| full).map(|event| event.seq.to_string());
    Ok(Json(ListPage { items, next }))
}

/// Where the trail ends at this moment.
#[utoipa::path(get, path = "/audit/head", tag = "audit",
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, body = AuditHead)))]
pub async fn head(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
) -> Result<Json<AuditHead>, ApiError> {
    Ok(Json(fleet.audit_head(&actor).await?))
}

/// Every event, one JSON object a line.
#[utoipa::path(get, path = "/audit/export", tag = "audit", params(ExportQuery),
    security(("access_token" = []), ("api_key" = [])),
    responses((status = 200, description = "One event a line.", body = String, content_type = "application/x-ndjson")))]
pub async fn export(
    State(fleet): State<Fleet>,
    SignedIn(actor): SignedIn,
    Parameters(query): Parameters<ExportQuery>,
) -> Result<impl IntoResponse, ApiError> {
    let first = lines(&fleet, &actor, query.after.unwrap_or_default()).await?;
    let pages = stream::unfold((fleet, actor, Some(first)), |(fleet, actor, page)| async move {
        let (bytes, last) = page?;
        let next = match last {
            Some(last) => lines(&fleet, &actor, last).await,
            None => return Some((Ok(bytes), (fleet, actor, None))),
        };
        // A trail that is cut short in the middle of a reply ends the connection, so that nobody
        // takes it for the whole.
        Some(match next {
            Ok(next) => (Ok(bytes), (fleet, actor, Some(next))),
            Err(_) => (Err(CutShort), (fleet, actor, None)),
        })
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(pages)))
}

/// The database went away in the middle of an export.
#[derive(Debug, thiserror::Error)]
#[error("the export could not be completed")]
struct CutShort;

/// A page of events as lines, and the number that the next follows, if there may be one.
async fn lines(fleet: &Fleet, actor: &Actor, after: u64) -> Result<(Bytes, Option<u64>), ApiError> {
    let events = fleet.audit_events(actor, (after, MAX_PAGE), None).await?;
    let mut text = Vec::new();
    for event in &events {
        serde_json::to_writer(&mut text, event).expect("texts and numbers are JSON");
        text.push(b'\n');
    }
    Ok((text.into(), events.last().map(|event| event.seq)))
}
