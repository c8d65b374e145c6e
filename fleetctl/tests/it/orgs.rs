//! `fleetctl orgs`: what it asks the server for.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};

use crate::{
    run::Home,
    server::{Server, problem},
    session::signed_in,
};

/// A server that keeps what an organization is changed to, and refuses one network.
fn server() -> (Server, Home) {
    let org = Arc::new(Mutex::new(json!({
        "id": "01900000-0000-7000-8000-000000000000", "name": "Example",
        "created_at": "2026-01-01T00:00:00Z",
    })));
    let kept = Arc::clone(&org);
    let show = move || async move { Json(kept.lock().unwrap().clone()) };
    let change = move |Json(change): Json<Value>| async move {
        if change["allowed_networks"] == json!(["198.51.100.0/24"]) {
            return Err(problem(422, "/allowed_networks: must have the one that you ask from"));
        }
        let mut org = org.lock().unwrap();
        let changes = change.as_object().unwrap().clone();
        org.as_object_mut().unwrap().extend(changes);
        Ok(Json(org.clone()))
    };
    let server = Server::serving(Router::new().route("/organization", get(show).patch(change)));
    let home = signed_in(&server);
    (server, home)
}

#[test]
fn networks_are_shown_set_and_taken_away() {
    let (_server, home) = server();
    let none = home.fleetctl(["orgs", "networks"]);
    assert!(none.stderr.contains("may ask from anywhere"), "{}", none.stderr);
    assert_eq!(none.ok(), "NETWORK\n");
    let allow = ["orgs", "networks", "--allow", "203.0.113.0/24,192.0.2.1", "--allow", "::1"];
    let set = home.fleetctl(allow);
    assert_eq!(set.ok(), "NETWORK\n203.0.113.0/24\n192.0.2.1\n::1\n");
    let json = home.fleetctl(["orgs", "networks", "-o", "json"]).ok();
    let listed: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(listed, json!(["203.0.113.0/24", "192.0.2.1", "::1"]));
    let shown = home.fleetctl(["orgs", "show"]).ok();
    assert!(shown.contains("Networks:  203.0.113.0/24, 192.0.2.1, ::1"), "{shown}");
    let refused = home.fleetctl(["orgs", "networks", "--allow", "198.51.100.0/24"]).fails(1);
    assert!(refused.contains("must have the one that you ask from"), "{refused}");
    home.fleetctl(["orgs", "networks", "--allow", "192.0.2.1", "--anywhere"]).fails(2);
    home.fleetctl(["orgs", "rename", "Other"]).ok();
    assert!(
        home.fleetctl(["orgs", "show"]).ok().contains("Networks:"),
        "a name changes no network"
    );
    home.fleetctl(["orgs", "networks", "--anywhere"]).ok();
    assert_eq!(home.fleetctl(["orgs", "networks", "-o", "json"]).ok(), "[]\n");
}

#[test]
fn what_holds_for_api_keys_is_shown_and_set() {
    let (_server, home) = server();
    let shown = home.fleetctl(["orgs", "key-rules"]).ok();
    assert!(shown.contains("API keys:  live") && !shown.contains("at most"), "{shown}");
    let set = ["orgs", "key-rules", "--environment", "test", "--max-ttl", "90d"];
    let shown = home.fleetctl(set).ok();
    assert!(shown.contains("test") && shown.contains("at most 90d"), "{shown}");
    let json = home.fleetctl(["orgs", "key-rules", "--max-ttl", "36h", "-o", "json"]).ok();
    let rules: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&rules["key_environment"], &rules["key_max_ttl_seconds"]),
        (&json!("test"), &json!(129_600))
    );
    home.fleetctl(["orgs", "key-rules", "--environment", "trial"]).fails(2);
    home.fleetctl(["orgs", "key-rules", "--max-ttl", "soon"]).fails(2);
}
