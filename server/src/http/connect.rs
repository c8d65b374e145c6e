//! `GET /api/device/connect`: the connection that a device may keep, as server-sent events. The key is in
//! a header, since there is no body.

use std::{convert::Infallible, future::ready};

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{Sse, sse::Event},
};
use futures_util::stream::{self, Stream, StreamExt as _};
use serde::Deserialize;
use serde_json::json;
use wire::{DeviceId, NodeKey};

use super::{auth::bearer, body::AgentCall, error::ApiError, pagination::Parameters, problems};
use crate::{Fleet, fleet::connections::Connection};

/// Which device asks, if it says so.
#[derive(Debug, Deserialize)]
pub struct ConnectQuery {
    device_id: Option<DeviceId>,
}

/// Keeps a connection with the device whose node key is shown (`Authorization: Bearer …`): the event
/// `connected` with `device_id`, and then a comment once in a while, until the key is no good any more.
#[utoipa::path(get, path = "/api/device/connect", tag = "agents",
    params(("device_id" = Option<DeviceId>, Query, description = "Has to be the key's.")),
    responses((status = 200, body = String, content_type = "text/event-stream", description = "Events."),
        (status = 401, body = wire::orbit::AgentError), (status = 403, body = wire::orbit::AgentError)))]
pub async fn connect(
    State(fleet): State<Fleet>,
    AgentCall(origin): AgentCall,
    Parameters(query): Parameters<ConnectQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let key = shown(&headers).ok_or_else(|| ApiError::of(problems::UNAUTHENTICATED))?;
    let connection = fleet.connect(key, query.device_id, origin).await?;
    Ok(Sse::new(events(connection).map(Ok)))
}

fn shown(headers: &HeaderMap) -> Option<NodeKey> {
    let mut keys = headers.get_all(header::AUTHORIZATION).iter().filter_map(bearer);
    let (Some(key), None) = (keys.next(), keys.next()) else { return None };
    NodeKey::new(key).ok()
}

fn events(connection: Connection) -> impl Stream<Item = Event> {
    let data = json!({"device_id": connection.device_id()}).to_string();
    let connected = Event::default().event("connected").data(data);
    let alive = stream::unfold(connection, async |mut connection: Connection| {
        let goes_on = connection.goes_on().await;
        goes_on.then(|| (Event::default().comment("alive"), connection))
    });
    stream::once(ready(connected)).chain(alive)
}
