//! `fleetctl audit verify`.

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};
use wire::audit::{AuditEvent, AuditHead};

use crate::{
    run::Home,
    server::{API_KEY, Server},
};

/// Events 1 to `length`, as the server had them.
fn trail(length: u64) -> Vec<AuditEvent> {
    let mut events: Vec<AuditEvent> = Vec::new();
    for seq in 1..=length {
        let mut event: AuditEvent = serde_json::from_value(json!({
            "seq": seq, "at": "2026-03-01T12:00:00Z", "event": "team.created", "actor": "user 1",
            "subject": format!("team {seq}"), "outcome": "ok", "address": "192.0.2.1",
            "user_agent": "", "route": "POST /teams", "request_id": "", "changes": null,
            "previous": events.last().map_or("", |event| &event.hash), "hash": "",
        }))
        .unwrap();
        event.hash = event.digest();
        events.push(event);
    }
    events
}

/// A server that keeps `events`, and somebody who may read them.
fn keeping(events: &[AuditEvent]) -> (Server, Home) {
    let last = events.last().unwrap();
    let head = json!(AuditHead { seq: last.seq, hash: last.hash.clone() });
    let page = json!({"items": events, "next": Value::Null});
    let routes = Router::new()
        .route("/audit", get(|| async { Json(page) }))
        .route("/audit/head", get(|| async { Json(head) }));
    let server = Server::serving(routes);
    let home = Home::new().with("FLEET_URL", &server.url).with("FLEET_API_KEY", API_KEY);
    (server, home)
}

#[test]
fn an_earlier_end_is_found_replaced_or_said_to_be_gone() {
    let whole = trail(6);
    let (_server, home) = keeping(&whole[2..]);
    let verify = |event: &AuditEvent, hash: &str| {
        home.fleetctl(["audit", "verify", "--head", &format!("{}:{hash}", event.seq)])
    };
    let printed = home.fleetctl(["audit", "verify"]).ok();
    assert_eq!(printed.trim(), format!("6:{}", whole[5].hash));
    for event in &whole[1..] {
        verify(event, &event.hash).ok();
        let said = verify(event, &whole[0].hash).fails(1);
        assert!(said.contains("is not the one that the trail had"), "{said}");
    }
    let said = verify(&whole[0], &whole[0].hash).fails(1);
    assert!(said.contains("event 1 of --head is not in the trail any more"), "{said}");
    let (_server, home) = keeping(&whole[..4]);
    let head = format!("6:{}", whole[5].hash);
    let said = home.fleetctl(["audit", "verify", "--head", &head]).fails(1);
    assert!(said.contains("the trail ends at event 4, but went on to event 6"), "{said}");
    home.fleetctl(["audit", "verify", "--head", "6:"]).fails(2);
}
