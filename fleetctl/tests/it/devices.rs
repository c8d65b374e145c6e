//! `fleetctl devices`: which routes it asks to say what devices are updated from, and to ask one anew.

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    extract::Request,
    http::{Method, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{any, get},
};
use serde_json::{Value, json};

use crate::{run::Home, server::Server, session::signed_in};

const DEVICE: &str = "01900000-0000-7000-8000-000000000001";
const SECRET: &str = "01900000-0000-7000-8000-00000000000a";

/// What was asked that changes something: method, path and body.
type Changes = Arc<Mutex<Vec<String>>>;

fn fleet() -> (Server, Home, Changes) {
    let changes = Changes::default();
    let seen = Arc::clone(&changes);
    let change = move |request: Request| answer(Arc::clone(&seen), request);
    let more = Router::new()
        .route(&format!("/devices/{DEVICE}"), any(change.clone()))
        .route("/devices/update-channels", any(change.clone()))
        .route(&format!("/devices/{DEVICE}/refetch"), any(change))
        .route("/enroll-secrets", get(|| async { Json(json!({ "items": [secret()] })) }));
    let server = Server::serving(more);
    let home = signed_in(&server);
    (server, home, changes)
}

async fn answer(seen: Changes, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 16).await.unwrap();
    if parts.method == Method::GET {
        return Json(device(&json!({ "osqueryd": "5.19" }))).into_response();
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    seen.lock().unwrap().push(format!("{} {} {text}", parts.method, parts.uri));
    match parts.uri.path() {
        "/devices/update-channels" => Json(json!({ "devices": 12 })).into_response(),
        path if path.ends_with("/refetch") => StatusCode::NO_CONTENT.into_response(),
        _ => {
            let body: Value = serde_json::from_str(&text).unwrap();
            Json(device(&body["update_channels"])).into_response()
        }
    }
}

fn secret() -> Value {
    json!({ "id": SECRET, "name": "kiosks", "created_at": "2026-01-01T00:00:00Z", "use_count": 12 })
}

fn device(channels: &Value) -> Value {
    json!({
        "id": DEVICE, "hostname": "laptop-1", "computer_name": "", "platform": "debian",
        "platform_like": "debian", "os_version": "Debian 12", "cpu_type": "x86_64",
        "hardware_uuid": "", "hardware_serial": "", "hardware_model": "", "orbit_version": "1.2.3",
        "osquery_version": "", "status": "online", "enrolled_at": "2026-01-01T00:00:00Z",
        "last_seen_at": "2026-01-01T00:00:00Z", "update_channels": channels,
    })
}

#[test]
fn channels_are_set_for_one_device_and_for_many() {
    let (_server, home, changes) = fleet();
    let set = |more: &[&str]| home.fleetctl([&["devices", "set-channels"], more].concat::<&str>());
    let one = set(&[DEVICE, "--orbit-channel", "edge", "--desktop-channel", "1.2"]);
    assert!(
        one.stderr.contains("`laptop-1` follows 1.2 of desktop, edge of orbit"),
        "{}",
        one.stderr
    );
    let none = set(&[DEVICE]);
    assert!(none.stderr.contains("follows the server, or their packages"), "{}", none.stderr);
    let many = set(&["--enroll-secret", "kiosks", "--osqueryd-channel", "5.19", "--yes"]);
    assert!(many.stderr.contains("12 devices follow 5.19 of osqueryd"), "{}", many.stderr);
    set(&["--tag", "lab", "--yes"]).ok();
    for wrong in [&["--yes"][..], &[DEVICE, "--tag", "lab"], &["--tag", "a", "--team", "b"]] {
        set(wrong).fails(2);
    }
    assert_eq!(
        *changes.lock().unwrap(),
        [
            format!(
                r#"PATCH /devices/{DEVICE} {{"update_channels":{{"desktop":"1.2","orbit":"edge"}}}}"#
            ),
            format!(r#"PATCH /devices/{DEVICE} {{"update_channels":{{}}}}"#),
            format!(
                r#"POST /devices/update-channels {{"enroll_secret_id":"{SECRET}","update_channels":{{"osqueryd":"5.19"}}}}"#
            ),
            r#"POST /devices/update-channels {"tag":"lab","update_channels":{}}"#.to_owned(),
        ]
    );
    let shown = home.fleetctl(["devices", "show", DEVICE]).ok();
    assert!(shown.contains("5.19 of osqueryd"), "{shown}");
}

/// A version that failed and was taken back, one whose wave is to come, and one that cannot be had.
#[test]
fn a_device_tells_how_its_updates_stand() {
    let orbit = json!({
        "component": "orbit", "channel": "stable", "version": "1.1.0", "state": "rolled_back",
        "offered_version": "1.2.0", "blocked_version": "1.2.0",
        "detail": "it did not reach the server",
    });
    let osqueryd = json!({
        "component": "osqueryd", "channel": "edge", "version": "5.18.0", "state": "waiting",
        "offered_version": "5.19.0", "due_at": "2026-03-02T12:00:00Z",
        "detail": "its wave starts at 2026-03-02T12:00:00Z",
    });
    let desktop = json!({
        "component": "desktop", "channel": "stable", "version": "1.1.0", "state": "failing",
        "offered_version": "1.2.0", "failures": 3, "detail": "could not bring 1.2.0",
    });
    let mut device = device(&json!({}));
    device["updates"] = json!([orbit, osqueryd, desktop]);
    let show = move || {
        let device = device.clone();
        async { Json(device) }
    };
    let more = Router::new().route(&format!("/devices/{DEVICE}"), get(show));
    let server = Server::serving(more);
    let home = signed_in(&server);
    let shown = home.fleetctl(["devices", "show", DEVICE]).ok();
    let lines: Vec<_> = shown.lines().filter(|it| it.contains("Updates of")).collect();
    for (line, stands) in lines.iter().zip([
        "rolled_back, runs 1.1.0, stable offers 1.2.0: it did not reach the server",
        "waiting, runs 5.18.0, edge offers 5.19.0: its wave starts at 2026-03-02T12:00:00Z",
        "failing, runs 1.1.0, stable offers 1.2.0, failed 3 times: could not bring 1.2.0",
    ]) {
        assert!(line.contains(stands), "{shown}");
    }
    assert_eq!(lines.len(), 3, "{shown}");
    let told = home.fleetctl(["devices", "show", DEVICE, "-o", "json"]).ok();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["updates"][0]["blocked_version"], "1.2.0");
    assert_eq!(told["updates"][2]["failures"], 3);
}

#[test]
fn a_device_is_asked_anew() {
    let (_server, home, changes) = fleet();
    let done = home.fleetctl(["devices", "refetch", DEVICE]);
    assert!(done.stderr.contains("`laptop-1` will be asked anew"), "{}", done.stderr);
    done.ok();
    let asked = format!("POST /devices/{DEVICE}/refetch ");
    assert!(changes.lock().unwrap()[0].starts_with(&asked), "{changes:?}");
}
