//! `fleetctl sessions`: which routes it asks for one's own sessions and for others', and what it
//! keeps afterwards.

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    body::Bytes,
    extract::Request,
    http::{Method, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{any, get},
};
use serde_json::{Value, json};

use crate::{
    run::Home,
    server::{Server, problem},
    session::signed_in,
};

const BOB: &str = "01900000-0000-7000-8000-00000000000b";
const HERE: &str = "01900000-0000-7000-8000-000000000001";
const THERE: &str = "01900000-0000-7000-8000-000000000002";
const BOBS: &str = "01900000-0000-7000-8000-000000000003";

/// What was asked that changes something: method, path and body.
type Changes = Arc<Mutex<Vec<String>>>;

/// A server where Ann has two sessions and Bob one, and its user signed in as Ann.
fn ann() -> (Server, Home, Changes) {
    let changes = Changes::default();
    let seen = Arc::clone(&changes);
    let change = move |request: Request| answer(Arc::clone(&seen), request);
    let more = Router::new()
        .route("/auth/sessions", any(change.clone()))
        .route("/auth/sessions/{id}", any(change.clone()))
        .route("/auth/revocations", any(change))
        .route("/users", get(|| async { Json(json!({ "items": [bob()] })) }))
        .route(
            &format!("/users/{BOB}/sessions"),
            get(|| async { Json(json!({ "items": [session(BOBS, "evil\u{1b}[31m", false)] })) }),
        );
    let server = Server::serving(more);
    let home = signed_in(&server);
    (server, home, changes)
}

async fn answer(seen: Changes, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if parts.method == Method::GET {
        let own = [session(HERE, "fleetctl", true), session(THERE, "Firefox on Linux", false)];
        return Json(json!({ "items": own })).into_response();
    }
    let body: Bytes = axum::body::to_bytes(body, 1 << 16).await.unwrap();
    let change = format!("{} {} {}", parts.method, parts.uri, String::from_utf8_lossy(&body));
    seen.lock().unwrap().push(change.trim_end().to_owned());
    if parts.uri.path().ends_with(THERE) {
        let mut refused = problem(403, "show your password once more");
        let body = json!({ "type": "/problems/step-up-required", "title": "No", "status": 403 });
        *refused.body_mut() = body.to_string().into();
        return refused;
    }
    StatusCode::NO_CONTENT.into_response()
}

fn bob() -> Value {
    json!({
        "id": BOB, "email": "bob@example.com", "name": "Bob", "role": "viewer",
        "created_at": "2026-01-01T00:00:00Z",
    })
}

fn session(id: &str, device: &str, current: bool) -> Value {
    json!({
        "id": id, "client": "cli", "device": device, "user_agent": "agent/1", "address": "192.0.2.1",
        "created_at": "2026-01-01T00:00:00Z", "last_action_at": "2026-01-01T00:01:00Z",
        "state": "idle", "expires_at": "2026-01-01T00:31:00Z", "current": current,
    })
}

fn is_signed_in(home: &Home) -> bool {
    std::fs::read_to_string(home.config()).unwrap().contains("access-")
}

#[test]
fn sessions_are_listed_and_shown_in_every_form() {
    let (_server, home, changes) = ann();
    let table = home.fleetctl(["sessions", "list"]).ok();
    assert!(table.contains("Firefox on Linux") && table.contains(THERE), "{table}");
    let json = home.fleetctl(["sessions", "ls", "--output", "json"]).ok();
    let listed: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(listed[0], session(HERE, "fleetctl", true));
    let theirs = home.fleetctl(["sessions", "list", "--user", "bob@example.com"]).ok();
    assert!(theirs.contains(BOBS) && !theirs.contains(HERE), "{theirs}");
    assert!(!theirs.contains('\u{1b}'), "a program's name steers no terminal");
    let shown = home.fleetctl(["sessions", "show", THERE]).ok();
    for line in ["Address:      192.0.2.1", "State:        idle", "User agent:   agent/1"] {
        assert!(shown.contains(line), "{shown}");
    }
    let yaml = home.fleetctl(["sessions", "show", BOBS, "--user", BOB, "-o", "yaml"]).ok();
    assert!(yaml.contains(&format!("id: {BOBS}")), "{yaml}");
    let said = home.fleetctl(["sessions", "show", BOBS]).fails(1);
    assert!(said.contains(&format!("there is no session `{BOBS}`")), "{said}");
    home.fleetctl(["sessions", "show", "laptop"]).fails(2);
    home.fleetctl(["sessions", "list", "--user", "nobody"]).fails(1);
    assert!(changes.lock().unwrap().is_empty());
}

#[test]
fn a_session_of_ones_own_is_ended_and_its_tokens_are_forgotten() {
    let (_server, home, changes) = ann();
    let said = home.fleetctl(["sessions", "revoke", THERE]).fails(1);
    assert!(said.contains("help: your password is asked for once more"), "{said}");
    assert!(is_signed_in(&home));
    home.fleetctl(["sessions", "revoke", HERE]).ok();
    assert!(!is_signed_in(&home), "the session that asked has ended");
    let asked = [format!("DELETE /auth/sessions/{THERE}"), format!("DELETE /auth/sessions/{HERE}")];
    assert_eq!(*changes.lock().unwrap(), asked);
    home.fleetctl(["devices", "list"]).fails(4);
}

#[test]
fn all_of_ones_sessions_end_after_a_question() {
    let (_server, home, changes) = ann();
    let said = home.fleetctl(["sessions", "revoke", "--all"]).fails(2);
    assert!(said.contains("give --yes"), "{said}");
    home.fleetctl(["sessions", "revoke"]).fails(2);
    home.fleetctl(["sessions", "revoke", HERE, "--all"]).fails(2);
    assert!(changes.lock().unwrap().is_empty() && is_signed_in(&home));
    home.fleetctl(["sessions", "revoke", "--all", "--yes"]).ok();
    assert_eq!(*changes.lock().unwrap(), ["DELETE /auth/sessions"]);
    assert!(!is_signed_in(&home));
}

#[test]
fn sessions_of_others_are_revoked_one_by_one_or_all() {
    let (_server, home, changes) = ann();
    home.fleetctl(["sessions", "revoke", BOBS, "--user", "bob@example.com"]).ok();
    home.fleetctl(["sessions", "revoke", HERE, "--user", "bob@example.com"]).fails(1);
    home.fleetctl(["sessions", "revoke", "--user", "bob@example.com", "--all", "--yes"]).ok();
    let path = "POST /auth/revocations ";
    let one = format!("{path}{}", json!({ "what": "session", "id": BOBS }));
    let all = format!("{path}{}", json!({ "what": "user", "id": BOB }));
    let asked = changes.lock().unwrap().clone();
    let same = |asked: &str, wanted: &str| {
        let body = |text: &str| -> Value { serde_json::from_str(&text[path.len()..]).unwrap() };
        asked.starts_with(path) && body(asked) == body(wanted)
    };
    assert!(asked.len() == 2 && same(&asked[0], &one) && same(&asked[1], &all), "{asked:?}");
    assert!(is_signed_in(&home), "one's own session goes on");
}

#[test]
fn everybodys_sessions_end_after_a_question_and_one_token_without() {
    let (_server, home, changes) = ann();
    let revoke = |more: &[&str]| home.fleetctl([&["sessions", "revoke"], more].concat());
    revoke(&["--token", "t-1"]).ok();
    assert!(is_signed_in(&home), "a session outlives its token");
    let said = revoke(&["--everybody"]).fails(2);
    assert!(said.contains("give --yes"), "{said}");
    for wrong in [["--everybody", "--all"], ["--everybody", HERE], ["--everybody", "--token=t"]] {
        revoke(&wrong).fails(2);
    }
    revoke(&["--everybody", "--yes"]).ok();
    assert!(!is_signed_in(&home));
    let asked = changes.lock().unwrap().clone();
    let asked = asked.iter().map(|it| it.strip_prefix("POST /auth/revocations ").unwrap());
    let asked: Vec<Value> = asked.map(|it| serde_json::from_str(it).unwrap()).collect();
    let wanted = [json!({ "what": "token", "jti": "t-1" }), json!({ "what": "organization" })];
    assert_eq!(asked, wanted);
}
