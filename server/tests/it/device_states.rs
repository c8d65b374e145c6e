//! Devices that wait for approval, are rejected or decommissioned, one by one and many at once.

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::{Connection as _, Row as _};
use wire::Role;

use crate::{
    harness::{Call, Engine, Person, Reply, TestServer, machine, runtime, text},
    postgres::Cluster,
};

crate::on_both_databases! {
    a_device_waits_until_somebody_approves_of_it,
    a_rejected_device_stays_outside_until_somebody_thinks_again,
    a_decommissioned_device_loses_its_keys_at_once,
    many_devices_lose_their_keys_in_one_call,
    tags_are_short_sorted_and_configured,
    states_change_as_the_diagram_says,
    fifty_parallel_enrollments_that_wait_make_one_row,
    a_secret_with_three_uses_lets_three_devices_wait,
    devices_that_wait_are_limited_as_those_that_are_refused,
    a_bad_secret_tells_nothing_of_the_device_that_shows_it,
    osquery_may_wait_first_and_still_count_once,
    a_group_loses_its_keys_as_far_as_it_was_accepted,
    a_made_secret_has_its_form,
}

async fn change(server: &TestServer, by: &Person, id: &str, change: Value) -> Reply {
    server.call("PATCH", &format!("/devices/{id}")).by(by).json(change).await
}

async fn states(server: &TestServer, by: &Person) -> Vec<(String, String)> {
    let devices = server.devices(by).await;
    devices.iter().map(|it| (text(it, "hardware_uuid"), text(it, "state"))).collect()
}

/// Rows: V2
async fn a_device_waits_until_somebody_approves_of_it(server: TestServer) {
    let owner = server.owner().await;
    let (id, secret) = server.secret(&owner, json!({"needs_approval": true, "max_uses": 1})).await;
    let told = server.enroll(&secret, machine("a")).await;
    assert!(told.expect(401).text("error").contains("waits for approval"), "{told:?}");
    server.enroll_osquery(&secret, "a").await.expect(401);
    server.enroll(&secret, machine("a")).await.expect(401);
    let pending = server.get("/devices?state=pending").by(&owner).await.json();
    assert_eq!(pending["items"].as_array().unwrap().len(), 1);
    let used = server.get(&format!("/enroll-secrets/{id}")).by(&owner).await.json();
    assert_eq!((&used["use_count"], &used["needs_approval"]), (&json!(1), &json!(true)));
    let events = server.get("/audit?event=device.enrollment").by(&owner).await.json();
    let outcomes: Vec<_> =
        events["items"].as_array().unwrap().iter().map(|it| text(it, "outcome")).collect();
    assert_eq!(outcomes, ["waits for approval"], "asking again says nothing new");
    let device = text(&pending["items"][0], "id");
    let operator = server.person(&owner, Role::Operator).await;
    let accept = json!({"state": "accepted"});
    change(&server, &operator, &device, accept.clone()).await.expect(403).problem("forbidden");
    change(&server, &owner, &device, accept).await.expect(200);
    let key = server.enroll(&secret, machine("a")).await.expect(200).text("orbit_node_key");
    server.enroll_osquery(&secret, "a").await.expect(200);
    assert!(server.orbit_works(&key).await);
    server.enroll(&secret, machine("b")).await.expect(401);
    assert_eq!(states(&server, &owner).await, [("a".to_owned(), "accepted".to_owned())]);
    let used = server.get(&format!("/enroll-secrets/{id}")).by(&owner).await.json();
    assert_eq!(used["use_count"], 1, "the use that was counted when it began to wait");
    server.enroll(&secret, machine("a")).await.expect(401);
    let bad = server.get("/devices?state=lost").by(&owner).await;
    bad.expect(400).problem("invalid-parameter");
}

/// Rows: V2
async fn a_rejected_device_stays_outside_until_somebody_thinks_again(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({"needs_approval": true})).await;
    server.enroll(&secret, machine("a")).await.expect(401);
    let device = text(&server.devices(&owner).await[0], "id");
    change(&server, &owner, &device, json!({"state": "rejected"})).await.expect(200);
    let (_, open) = server.secret(&owner, json!({})).await;
    server.enroll(&open, machine("a")).await.expect(401);
    change(&server, &owner, &device, json!({"state": "accepted"})).await.expect(200);
    server.enroll(&open, machine("a")).await.expect(200);
}

/// Rows: V2
async fn a_decommissioned_device_loses_its_keys_at_once(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let key = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    let osquery = server.enroll_osquery(&secret, "a").await.text("node_key");
    let other = server.enroll(&secret, machine("b")).await.text("orbit_node_key");
    let device = text(&server.devices(&owner).await[0], "id");
    change(&server, &owner, &device, json!({"state": "decommissioned"})).await.expect(200);
    assert!(!server.orbit_works(&key).await && server.orbit_works(&other).await);
    let config = json!({"node_key": osquery});
    server.post("/api/osquery/config").json(config).await.expect(401);
    server.enroll(&secret, machine("a")).await.expect(401);
    server.enroll_osquery(&secret, "a").await.expect(401);
    change(&server, &owner, &device, json!({"state": "accepted"})).await.expect(200);
    assert!(!server.orbit_works(&key).await, "the old key stays gone");
    server.enroll(&secret, machine("a")).await.expect(200);
}

/// Rows in part: V4
async fn many_devices_lose_their_keys_in_one_call(server: TestServer) {
    let owner = server.owner().await;
    let team = server.post("/teams").by(&owner).json(json!({"name": "T"})).await.text("id");
    let (first_id, first) = server.secret(&owner, json!({"team_id": team})).await;
    let (_, second) = server.secret(&owner, json!({})).await;
    let mut keys = Vec::new();
    for (name, secret) in [("a", &first), ("b", &first), ("c", &second), ("d", &second)] {
        keys.push(server.enroll(secret, machine(name)).await.text("orbit_node_key"));
    }
    let devices = server.devices(&owner).await;
    for (device, tag) in [(2, "old_kiosk"), (3, "oldxkiosk")] {
        let tags = json!({"tags": [tag, "other"]});
        change(&server, &owner, &text(&devices[device], "id"), tags).await.expect(200);
    }
    let revoke = async |which: Value| {
        let reply = server.post("/devices/decommission").by(&owner).json(which).await;
        reply.expect(200).json()["devices"].as_u64().unwrap()
    };
    let works = async || {
        let mut works = Vec::new();
        for key in &keys {
            works.push(server.orbit_works(key).await);
        }
        works
    };
    assert_eq!(revoke(json!({"tag": "old_kiosk"})).await, 1);
    assert_eq!(works().await, [true, true, false, true]);
    assert_eq!(revoke(json!({"enroll_secret_id": first_id})).await, 2);
    assert_eq!(works().await, [false, false, false, true]);
    assert_eq!(revoke(json!({"team_id": team})).await, 0, "they are decommissioned already");
    let events = server.get("/audit?event=device.decommissioned").by(&owner).await.json();
    assert_eq!(events["items"].as_array().unwrap().len(), 3, "one for each call");
    for bad in [json!({}), json!({"tag": "a b"}), json!({"tag": "a", "team_id": team})] {
        server.post("/devices/decommission").by(&owner).json(bad).await.expect(422);
    }
    let operator = server.person(&owner, Role::Operator).await;
    let all = json!({"tag": "other"});
    server.post("/devices/decommission").by(&operator).json(all).await.expect(403);
}

/// Rows: R10, R15
async fn tags_are_short_sorted_and_configured(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    server.enroll(&secret, machine("a")).await.expect(200);
    let device = text(&server.devices(&owner).await[0], "id");
    let operator = server.person(&owner, Role::Operator).await;
    let viewer = server.person(&owner, Role::Viewer).await;
    let tags = json!({"tags": ["lab", "kiosk", "lab"]});
    let tagged = change(&server, &operator, &device, tags.clone()).await.expect(200).json();
    assert_eq!(tagged["tags"], json!(["kiosk", "lab"]));
    change(&server, &viewer, &device, tags).await.expect(403).problem("forbidden");
    for bad in [json!(["a,b"]), json!([""]), json!(["x".repeat(41)]), json!(vec!["ü"; 1])] {
        change(&server, &operator, &device, json!({"tags": bad})).await.expect(422);
    }
    let none = change(&server, &operator, &device, json!({"tags": []})).await.expect(200).json();
    assert_eq!(none["tags"], json!([]));
    let one = server.post("/teams").by(&owner).json(json!({"name": "one"})).await.text("id");
    let member = format!("/teams/{one}/members/{}", viewer.id);
    server.call("PUT", &member).by(&owner).json(json!({"role": "operator"})).await.expect(200);
    let tags = json!({"tags": ["mine"]});
    change(&server, &viewer, &device, tags).await.expect(403).problem("forbidden");
}

async fn states_change_as_the_diagram_says(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({"needs_approval": true})).await;
    server.enroll(&secret, machine("a")).await.expect(401);
    let device = text(&server.devices(&owner).await[0], "id");
    let go = async |state: &str| {
        change(&server, &owner, &device, json!({"state": state})).await.status.as_u16()
    };
    assert_eq!((go("pending").await, go("decommissioned").await), (409, 409));
    assert_eq!((go("accepted").await, go("rejected").await, go("accepted").await), (200, 409, 409));
    assert_eq!((go("decommissioned").await, go("rejected").await), (200, 409));
    assert_eq!((go("accepted").await, go("unheard-of").await), (200, 422));
}

async fn fifty_parallel_enrollments_that_wait_make_one_row(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({"needs_approval": true})).await;
    let replies = join_all((0..50).map(|_| server.enroll(&secret, machine("a")))).await;
    assert!(replies.iter().all(|reply| reply.status == 401));
    assert_eq!(server.devices(&owner).await.len(), 1);
}

async fn a_secret_with_three_uses_lets_three_devices_wait(server: TestServer) {
    let owner = server.owner().await;
    let more = json!({"needs_approval": true, "max_uses": 3});
    let (_, secret) = server.secret(&owner, more).await;
    let machines: Vec<_> = (0..20).map(|n| machine(&format!("m{n}"))).collect();
    let ask = machines.iter().map(|machine| server.enroll(&secret, machine.clone()));
    let replies = join_all(ask).await;
    let waits = |reply: &&Reply| reply.expect(401).text("error").contains("waits for approval");
    assert_eq!(replies.iter().filter(waits).count(), 3);
    assert_eq!(server.devices(&owner).await.len(), 3);
}

async fn devices_that_wait_are_limited_as_those_that_are_refused(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({"needs_approval": true})).await;
    for n in 0..60 {
        server.enroll(&secret, machine(&format!("m{n}"))).await.expect(401);
    }
    server.enroll(&secret, machine("one more")).await.expect(429);
    assert_eq!(server.devices(&owner).await.len(), 60);
    server.pass(60);
    server.enroll(&secret, machine("one more")).await.expect(401);
}

async fn a_bad_secret_tells_nothing_of_the_device_that_shows_it(server: TestServer) {
    let owner = server.owner().await;
    let (id, secret) = server.secret(&owner, json!({"needs_approval": true})).await;
    server.enroll(&secret, machine("a")).await.expect(401);
    server.delete(&format!("/enroll-secrets/{id}")).by(&owner).await.expect(204);
    let known = server.enroll(&secret, machine("a")).await;
    let unknown = server.enroll("never heard of", machine("b")).await;
    assert_eq!(known.expect(401).body, unknown.expect(401).body);
}

async fn osquery_may_wait_first_and_still_count_once(server: TestServer) {
    let owner = server.owner().await;
    let more = json!({"needs_approval": true, "max_uses": 1});
    let (_, secret) = server.secret(&owner, more).await;
    server.enroll_osquery(&secret, "a").await.expect(401);
    let device = text(&server.devices(&owner).await[0], "id");
    change(&server, &owner, &device, json!({"state": "accepted"})).await.expect(200);
    server.enroll_osquery(&secret, "a").await.expect(200);
    server.enroll(&secret, machine("a")).await.expect(200);
    server.enroll(&secret, machine("a")).await.expect(401);
}

async fn a_group_loses_its_keys_as_far_as_it_was_accepted(server: TestServer) {
    let owner = server.owner().await;
    let team = server.post("/teams").by(&owner).json(json!({"name": "T"})).await.text("id");
    let (_, open) = server.secret(&owner, json!({"team_id": team})).await;
    let (_, closed) = server.secret(&owner, json!({"team_id": team, "needs_approval": true})).await;
    server.enroll(&open, machine("a")).await.expect(200);
    server.enroll(&closed, machine("b")).await.expect(401);
    server.enroll(&closed, machine("c")).await.expect(401);
    let rejected = text(&server.devices(&owner).await[2], "id");
    change(&server, &owner, &rejected, json!({"state": "rejected"})).await.expect(200);
    let all = json!({"team_id": team});
    let reply = server.post("/devices/decommission").by(&owner).json(all).await;
    assert_eq!(reply.expect(200).json()["devices"], 1);
    let mut states = states(&server, &owner).await;
    states.sort();
    let states: Vec<_> = states.iter().map(|(_, state)| state.as_str()).collect();
    assert_eq!(states, ["decommissioned", "pending", "rejected"]);
}

/// Does `decide` to the database's rows while `call` waits for it, and gives what `call` then says.
async fn while_it_waits(server: &TestServer, decide: &str, call: Call) -> Reply {
    let name = server.database.split(['/', '?']).nth(3).unwrap();
    let mut held = Cluster::shared().admin(name).await;
    let mut watch = Cluster::shared().admin(name).await;
    let mut tx = held.begin().await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(decide.to_owned())).execute(&mut *tx).await.unwrap();
    let reply = tokio::spawn(call.into_future());
    let waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()
                   AND wait_event_type = 'Lock'";
    while sqlx::query(waiting).fetch_all(&mut watch).await.unwrap().is_empty() {
        assert!(!reply.is_finished(), "it did not wait: {:?}", reply.await);
        tokio::task::yield_now().await;
    }
    tx.commit().await.unwrap();
    reply.await.unwrap()
}

/// Rows: V2
#[test]
fn a_device_that_is_decommissioned_while_it_enrolls_gets_no_key() {
    runtime().block_on(async {
        let server = TestServer::start(Engine::Postgres).await;
        let owner = server.owner().await;
        let (_, secret) = server.secret(&owner, json!({})).await;
        server.enroll(&secret, machine("a")).await.expect(200);
        let mut again = machine("a");
        again["enroll_secret"] = secret.into();
        let call = server.post("/api/fleet/orbit/enroll").json(again);
        let decide = "UPDATE devices SET state = 'decommissioned', orbit_key_hash = NULL";
        while_it_waits(&server, decide, call).await.expect(401);
        let keys = server.sql("SELECT orbit_key_hash AS hash FROM devices").await;
        assert_eq!(keys[0].get::<Option<String>, _>("hash"), None);
    });
}

/// Rows: V2
#[test]
fn a_decision_counts_from_the_state_that_the_one_before_left() {
    runtime().block_on(async {
        let server = TestServer::start(Engine::Postgres).await;
        let owner = server.owner().await;
        let (_, secret) = server.secret(&owner, json!({"needs_approval": true})).await;
        server.enroll(&secret, machine("a")).await.expect(401);
        let path = format!("/devices/{}", text(&server.devices(&owner).await[0], "id"));
        let reject = server.call("PATCH", &path).by(&owner).json(json!({"state": "rejected"}));
        let decide = "UPDATE devices SET state = 'accepted'";
        while_it_waits(&server, decide, reject).await.expect(409);
        assert_eq!(states(&server, &owner).await[0].1, "accepted");
    });
}

/// A key that stayed behind, however that came about, opens nothing.
///
/// Rows: V2
#[test]
fn a_key_of_a_device_that_is_not_accepted_is_refused() {
    runtime().block_on(async {
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let server = TestServer::start(engine).await;
            let owner = server.owner().await;
            let (_, secret) = server.secret(&owner, json!({})).await;
            let key = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
            assert!(server.orbit_works(&key).await);
            server.sql("UPDATE devices SET state = 'rejected'").await;
            assert!(!server.orbit_works(&key).await);
        }
    });
}

/// Rows: K7
async fn a_made_secret_has_its_form(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    assert!(secret.starts_with("fleetd_ek_live_") && secret.len() == 47, "{secret}");
    server.get("/devices").bearer(&secret).await.expect(403).problem("wrong-key");
    let (_, limited) = server.secret(&owner, json!({"max_uses": 3})).await;
    let replies =
        join_all((0..20).map(|n| server.enroll(&limited, machine(&format!("m{n}"))))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 3);
}
