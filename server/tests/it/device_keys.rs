//! What admits devices and what they are known by after that: hardware that a secret is for, keys that
//! are replaced, keys that two machines use, and taking those of ten thousand at once.

use serde_json::{Value, json};
use sqlx::Row as _;

use crate::harness::{Person, Reply, TestServer, machine, text};

crate::on_both_databases! {
    a_secret_is_for_a_team_a_time_so_many_devices_and_some_hardware,
    a_key_is_replaced_while_its_device_goes_on,
    an_osqueryds_key_is_replaced_after_its_orbits,
    a_key_that_never_arrived_costs_nothing,
    of_requests_that_show_a_new_key_at_once_none_is_refused,
    an_agent_that_does_not_ask_keeps_its_key,
    two_machines_with_one_key_are_told,
    keys_from_two_networks_in_turns_are_told_and_a_journey_is_not,
    ten_thousand_devices_lose_their_keys_in_one_call,
}

const A_MONTH: i64 = 30 * 24 * 60 * 60;

async fn poll(server: &TestServer, key: &str, instance: &str, from: &str) -> Reply {
    let poll = json!({"orbit_node_key": key, "instance": instance, "takes_node_key": true});
    server.post("/api/fleet/orbit/config").from(from).json(poll).await
}

/// The key that orbit is told with its configuration, if it is told one.
async fn told(server: &TestServer, key: &str) -> Option<String> {
    let config = poll(server, key, "one", "192.0.2.1").await.expect(200).json();
    config.get("orbit_node_key").map(|key| key.as_str().unwrap().to_owned())
}

async fn events(server: &TestServer, name: &str) -> Vec<Value> {
    let owner = server.login("owner@example.com").await;
    let events = server.get(&format!("/audit?event={name}")).by(&owner).await.expect(200).json();
    events["items"].as_array().unwrap().clone()
}

/// Rows: V1
async fn a_secret_is_for_a_team_a_time_so_many_devices_and_some_hardware(server: TestServer) {
    let owner = server.owner().await;
    let team = server.post("/teams").by(&owner).json(json!({"name": "T"})).await.text("id");
    let listed = json!({
        "team_id": team, "max_uses": 2, "expires_at": "2026-03-01T13:00:00Z",
        "hardware_ids": ["UUID-1", " serial-2 ", "uuid-1", "uuid-3"],
    });
    let (id, secret) = server.secret(&owner, listed).await;
    assert!(secret.starts_with("fleetd_ek_live_"), "{secret}");
    let shown = server.get(&format!("/enroll-secrets/{id}")).by(&owner).await.json();
    assert_eq!(shown["hardware_ids"], json!(["serial-2", "uuid-1", "uuid-3"]));
    server.enroll(&secret, machine("uuid-9")).await.expect(401);
    server.enroll_osquery(&secret, "uuid-9").await.expect(401);
    server.enroll(&secret, machine("uuid-1")).await.expect(200);
    server.enroll_osquery(&secret, "uuid-1").await.expect(200);
    // An osqueryd that goes by another name follows the orbit which told of it.
    let mut by_serial = machine("uuid-2");
    by_serial["hardware_serial"] = "SERIAL-2".into();
    by_serial["osquery_identifier"] = "instance-2".into();
    server.enroll(&secret, by_serial).await.expect(200);
    server.enroll_osquery(&secret, "instance-2").await.expect(200);
    server.enroll(&secret, machine("uuid-3")).await.expect(401);
    let devices = server.devices(&owner).await;
    assert!(devices.len() == 2 && devices.iter().all(|it| it["team_id"] == team.as_str()));
    let outcomes = events(&server, "device.enrollment").await;
    let outcomes: Vec<_> = outcomes.iter().map(|it| text(it, "outcome")).collect();
    let refused = "hardware that the secret is not for".to_owned();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == refused).count(), 2);
    assert!(outcomes.contains(&"used-up secret".to_owned()), "{outcomes:?}");
    for bad in [json!([""]), json!(["a\u{0}"]), json!(vec!["x"; 1001])] {
        let new = json!({"name": "bad", "hardware_ids": bad});
        server.post("/enroll-secrets").by(&owner).json(new).await.expect(422);
    }
}

/// Rows: V3
async fn a_key_is_replaced_while_its_device_goes_on(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let old = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    let other = server.enroll(&secret, machine("b")).await.text("orbit_node_key");
    server.pass(A_MONTH - 1);
    assert_eq!(told(&server, &old).await, None);
    server.pass(1);
    let new = told(&server, &old).await.expect("it is a month old");
    assert!(server.orbit_works(&old).await, "until the new one is used");
    let node = server.second_node().await;
    assert!(node.orbit_works(&new).await);
    assert!(!server.orbit_works(&old).await && server.orbit_works(&new).await);
    assert!(server.orbit_works(&other).await, "another device's key is its own");
    assert_eq!(told(&server, &new).await, None, "for a month");
    assert_eq!(events(&server, "device.key_replaced").await.len(), 1);
    let rows = server.sql("SELECT orbit_key_hash AS hash FROM devices").await;
    assert!(rows.iter().all(|row| row.get::<String, _>("hash") != new));
    server.pass(A_MONTH);
    let next = told(&server, &new).await.unwrap();
    let owner = login(&server).await;
    let devices = server.devices(&owner).await;
    let path = format!("/devices/{}", text(&devices[0], "id"));
    let state = json!({"state": "decommissioned"});
    server.call("PATCH", &path).by(&owner).json(state).await.expect(200);
    assert!(!server.orbit_works(&new).await && !server.orbit_works(&next).await);
}

async fn login(server: &TestServer) -> Person {
    server.login("owner@example.com").await
}

/// Rows: V3
async fn an_osqueryds_key_is_replaced_after_its_orbits(server: TestServer) {
    let owner = server.owner().await;
    let (id, secret) = server.secret(&owner, json!({"max_uses": 2})).await;
    let old = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    let other = server.enroll(&secret, machine("b")).await.text("orbit_node_key");
    let tell = async |key: &str, renews: bool| {
        let poll =
            json!({"orbit_node_key": key, "takes_node_key": true, "osqueryd_renews": renews});
        server.post("/api/fleet/orbit/config").json(poll).await.expect(200).json()
    };
    let ask = async |what: &str, key: &str| {
        server.post(&format!("/api/osquery/{what}")).json(json!({"node_key": key})).await
    };
    assert_eq!(tell(&old, false).await["osqueryd_enrolls_with_node_key"], true);
    // orbit's key admits its own osqueryd, whatever has become of the secret.
    server.delete(&format!("/enroll-secrets/{id}")).by(&owner).await.expect(204);
    server.enroll_osquery(&secret, "a").await.expect(401);
    server.enroll_osquery(&old, "b").await.expect(401);
    server.enroll_osquery(&other, "a").await.expect(401);
    server.enroll(&old, machine("a")).await.expect(401);
    let first = server.enroll_osquery(&old, "A").await.expect(200).text("node_key");
    tell(&old, true).await;
    ask("config", &first).await.expect(200);
    server.pass(A_MONTH);
    let new = text(&tell(&old, true).await, "orbit_node_key");
    tell(&new, false).await;
    ask("config", &first).await.expect(200);
    // Its orbit has started it with the new key.
    tell(&new, true).await;
    let told = ask("config", &first).await.expect(401).json();
    assert_eq!(told["node_invalid"], true);
    ask("distributed/read", &first).await.expect(200);
    server.enroll_osquery(&old, "a").await.expect(401);
    let second = server.enroll_osquery(&new, "a").await.expect(200).text("node_key");
    ask("config", &second).await.expect(200);
    ask("distributed/read", &first).await.expect(401);
    assert!(server.orbit_works(&new).await);
    let replaced = events(&server, "device.key_replaced").await;
    let actors: Vec<_> = replaced.iter().map(|event| text(event, "actor")).collect();
    assert_eq!(actors, ["orbit", "osqueryd"]);
    assert_eq!(server.devices(&login(&server).await).await.len(), 2);
}

/// Rows: V3
async fn a_key_that_never_arrived_costs_nothing(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let old = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    server.pass(A_MONTH);
    let lost = told(&server, &old).await.unwrap();
    assert_eq!(told(&server, &old).await, None, "one is on its way");
    server.pass(600);
    let arrived = told(&server, &old).await.unwrap();
    assert!(!server.orbit_works(&lost).await && server.orbit_works(&old).await);
    assert!(server.orbit_works(&arrived).await && !server.orbit_works(&old).await);
    server.pass(A_MONTH);
    let unused = told(&server, &arrived).await.unwrap();
    let again = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    assert!(!server.orbit_works(&unused).await && !server.orbit_works(&arrived).await);
    assert!(server.orbit_works(&again).await);
}

async fn of_requests_that_show_a_new_key_at_once_none_is_refused(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let old = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    server.pass(A_MONTH);
    let new = told(&server, &old).await.unwrap();
    let polls = (0..20).map(|_| poll(&server, &new, "one", "192.0.2.1"));
    for reply in futures_util::future::join_all(polls).await {
        reply.expect(200);
    }
    assert_eq!(events(&server, "device.key_replaced").await.len(), 1);
}

async fn an_agent_that_does_not_ask_keeps_its_key(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let key = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    server.pass(A_MONTH);
    let poll = json!({"orbit_node_key": key});
    let config = server.post("/api/fleet/orbit/config").json(poll).await.expect(200).json();
    assert_eq!(config.get("orbit_node_key"), None);
}

async fn suspected(server: &TestServer) -> Vec<String> {
    let events = events(server, "device.clone_suspected").await;
    events.iter().map(|event| text(event, "outcome")).collect()
}

/// Rows: V5
async fn two_machines_with_one_key_are_told(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let key = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    let node = server.second_node().await;
    // A restart, and a restart elsewhere.
    for (instance, from) in [("one", "192.0.2.1"), ("two", "192.0.2.1"), ("three", "198.51.100.7")]
    {
        poll(&server, &key, instance, from).await.expect(200);
    }
    assert_eq!(suspected(&server).await, [""; 0]);
    assert_eq!(server.devices(&owner).await[0].get("clone_suspected_at"), None);
    // The one before is back: it had never stopped.
    poll(&node, &key, "two", "192.0.2.1").await.expect(200);
    poll(&server, &key, "three", "192.0.2.1").await.expect(200);
    assert_eq!(suspected(&server).await, ["two agents take turns"], "once an hour");
    let told = server.get("/devices").by(&owner).await.json();
    assert_eq!(told["items"][0]["clone_suspected_at"], "2026-03-01T12:00:00Z");
    let metrics = server.get("/devices/metrics").by(&owner).await;
    let metrics = String::from_utf8(metrics.expect(200).body.clone()).unwrap();
    assert!(metrics.contains("\nfleet_device_clones_suspected 1\n"), "{metrics}");
    server.pass(3600);
    poll(&server, &key, "two", "192.0.2.1").await.expect(200);
    assert_eq!(suspected(&server).await.len(), 2);
}

/// Rows: V5
async fn keys_from_two_networks_in_turns_are_told_and_a_journey_is_not(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    server.enroll(&secret, machine("a")).await.expect(200);
    let key = server.enroll_osquery(&secret, "a").await.text("node_key");
    let ask = async |from: &str| {
        let call = server.post("/api/osquery/config").from(from).json(json!({"node_key": key}));
        call.await.expect(200);
    };
    for stop in 1..10 {
        server.pass(301);
        ask(&format!("198.51.100.{stop}")).await;
    }
    assert_eq!(suspected(&server).await, [""; 0]);
    for _ in 0..2 {
        ask("192.0.2.1").await;
        ask("198.51.100.9").await;
    }
    assert_eq!(suspected(&server).await, ["two networks take turns"]);
    let device = &server.devices(&login(&server).await).await[0];
    assert!(device["clone_suspected_at"].is_string());
}

/// Rows: V4
async fn ten_thousand_devices_lose_their_keys_in_one_call(server: TestServer) {
    let owner = server.owner().await;
    let (secret_id, secret) = server.secret(&owner, json!({})).await;
    let first = server.enroll(&secret, machine("first")).await.text("orbit_node_key");
    let (_, elsewhere) = server.secret(&owner, json!({})).await;
    let kept = server.enroll(&elsewhere, machine("kept")).await.text("orbit_node_key");
    // As enrolling writes them, save that nobody has their keys.
    let columns = "hostname, computer_name, platform, platform_like, os_version, cpu_type,
                   hardware_serial, hardware_model, orbit_version, osquery_version,
                   osquery_identifier, enrolled_at, last_seen_at, state, orbit_secret_id";
    server
        .sql(&format!(
            "INSERT INTO devices (org_id, id, hardware_uuid, orbit_key_hash, {columns})
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
             SELECT org_id, '01a00000-0000-7000-8000-' || CAST(100000000000 + i AS TEXT),
             'made-' || CAST(i AS TEXT), 'hash-' || CAST(i AS TEXT), {columns}
             FROM devices, n WHERE orbit_secret_id = '{secret_id}'"
        ))
        .await;
    let keys = "SELECT org_id, orbit_key_hash, 'node_key', id FROM devices
                WHERE orbit_key_hash LIKE 'hash-%'";
    server.sql(&format!("INSERT INTO credentials (org_id, hash, kind, subject_id) {keys}")).await;
    let count = async |what: &str| {
        let rows = server.sql(&format!("SELECT COUNT(*) AS n FROM {what}")).await;
        rows[0].get::<i64, _>("n")
    };
    assert_eq!(count("credentials WHERE kind = 'node_key'").await, 10_001);
    let which = json!({"enroll_secret_id": secret_id});
    let reply = server.post("/devices/decommission").by(&owner).json(which).await;
    assert_eq!(reply.expect(200).json()["devices"], 10_000);
    assert_eq!(count("credentials WHERE kind = 'node_key'").await, 1);
    assert!(!server.orbit_works(&first).await && server.orbit_works(&kept).await);
    let events = events(&server, "device.decommissioned").await;
    assert_eq!((events.len(), &events[0]["changes"]["devices"]), (1, &json!(10_000)));
    let rows = "devices WHERE state = 'decommissioned' AND orbit_key_hash IS NULL";
    assert_eq!(count(&format!("{rows} AND state_changed_at IS NOT NULL")).await, 10_000);
    let shown = server.get("/devices?state=decommissioned&limit=500").by(&owner).await.json();
    for device in shown["items"].as_array().unwrap() {
        assert_eq!(device["state_changed_by"], format!("user {}", owner.id));
        assert_eq!(device["state_changed_at"], "2026-03-01T12:00:00Z");
    }
}
