//! Enrolling: every acknowledged device is there once, and secrets admit exactly whom they should.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;
use wire::Role;

use crate::harness::{TestServer, machine, text};

crate::on_both_databases! {
    two_hundred_parallel_enrollments_are_all_there_once,
    a_secret_with_ten_uses_admits_exactly_ten_of_fifty,
    fifty_parallel_enrollments_of_one_device_make_one_row,
    a_team_secret_makes_members_of_the_team,
    an_expired_secret_admits_nobody,
    a_revoked_secret_admits_nobody_and_its_devices_stay,
    orbit_and_osquery_of_one_device_count_one_use,
    osquery_may_come_first_and_still_count_once,
    a_secret_that_was_given_is_accepted_once_and_must_be_long,
    refused_enrollments_are_limited_by_network_and_good_ones_are_not,
    refused_enrollments_count_on_every_server_and_over_a_restart,
    of_many_refused_at_once_on_two_servers_as_many_are_looked_at_as_may,
    an_enrollment_from_a_known_device_ends_the_old_key,
    every_refusal_looks_the_same,
    a_device_deleted_while_it_enrolls_is_there_whole_or_not_at_all,
}

async fn two_hundred_parallel_enrollments_are_all_there_once(server: TestServer) {
    let owner = server.owner().await;
    let (id, secret) = server.secret(&owner, json!({})).await;
    let replies =
        join_all((0..200).map(|n| server.enroll(&secret, machine(&format!("device-{n}"))))).await;
    let keys: BTreeSet<_> =
        replies.iter().map(|reply| reply.expect(200).text("orbit_node_key")).collect();
    assert_eq!(keys.len(), 200);
    let devices = server.devices(&owner).await;
    let uuids: BTreeSet<_> = devices.iter().map(|device| text(device, "hardware_uuid")).collect();
    assert_eq!((devices.len(), uuids.len()), (200, 200));
    for key in &keys {
        assert!(server.orbit_works(key).await);
    }
    let shown = server.get(&format!("/enroll-secrets/{id}")).by(&owner).await.json();
    assert_eq!(shown["use_count"], 200);
}

/// Rows in part: V1
async fn a_secret_with_ten_uses_admits_exactly_ten_of_fifty(server: TestServer) {
    let owner = server.owner().await;
    let (id, secret) = server.secret(&owner, json!({"max_uses": 10})).await;
    let replies =
        join_all((0..50).map(|n| server.enroll(&secret, machine(&format!("device-{n}"))))).await;
    let admitted = replies.iter().filter(|reply| reply.status == 200).count();
    let refused = replies.iter().filter(|reply| reply.status == 401).count();
    assert_eq!((admitted, refused), (10, 40));
    assert_eq!(server.devices(&owner).await.len(), 10);
    let shown = server.get(&format!("/enroll-secrets/{id}")).by(&owner).await.json();
    assert_eq!(shown["use_count"], 10);
    assert!(shown["last_used_at"].is_string());
}

async fn fifty_parallel_enrollments_of_one_device_make_one_row(server: TestServer) {
    let owner = server.owner().await;
    let (_, one) = server.secret(&owner, json!({})).await;
    let (_, two) = server.secret(&owner, json!({})).await;
    let secrets = [one, two];
    let replies = join_all((0..50).map(|n| server.enroll(&secrets[n % 2], machine("same")))).await;
    let mut good = 0;
    for reply in &replies {
        good += usize::from(server.orbit_works(&reply.expect(200).text("orbit_node_key")).await);
    }
    assert_eq!(good, 1, "only the last key of a device is good");
    assert_eq!(server.devices(&owner).await.len(), 1);
}

/// Rows in part: V1
async fn a_team_secret_makes_members_of_the_team(server: TestServer) {
    let owner = server.owner().await;
    let team = server.post("/teams").by(&owner).json(json!({"name": "Lab"})).await;
    let team = team.expect(201).text("id");
    let (_, secret) = server.secret(&owner, json!({"team_id": team})).await;
    let (_, general) = server.secret(&owner, json!({})).await;
    server.enroll(&secret, machine("in-team")).await.expect(200);
    server.enroll(&general, machine("outside")).await.expect(200);
    let listed = server.get(&format!("/devices?team_id={team}")).by(&owner).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["hardware_uuid"], "in-team");
    assert_eq!(listed["items"][0]["team_id"], team.as_str());
    let teams = server.get("/teams").by(&owner).await.json();
    assert_eq!(teams["items"][0]["device_count"], 1);
    server.delete(&format!("/teams/{team}")).by(&owner).await.expect(409).problem("team-in-use");
    server.enroll(&secret, machine("second")).await.expect(200);
    for device in server.devices(&owner).await {
        server.delete(&format!("/devices/{}", text(&device, "id"))).by(&owner).await.expect(204);
    }
    server.delete(&format!("/teams/{team}")).by(&owner).await.expect(204);
    server.enroll(&secret, machine("third")).await.expect(401);
}

/// Rows in part: V1
async fn an_expired_secret_admits_nobody(server: TestServer) {
    let owner = server.owner().await;
    let more = json!({"expires_at": "2026-03-01T12:10:00Z"});
    let (_, secret) = server.secret(&owner, more).await;
    server.enroll(&secret, machine("early")).await.expect(200);
    server.pass(600);
    server.enroll(&secret, machine("late")).await.expect(401);
    server.enroll_osquery(&secret, "early").await.expect(401);
    let past = json!({"name": "x", "expires_at": "2026-03-01T12:00:00Z"});
    let reply = server.post("/enroll-secrets").by(&owner).json(past).await;
    assert_eq!(reply.expect(422).json()["errors"][0]["pointer"], "/expires_at");
}

async fn a_revoked_secret_admits_nobody_and_its_devices_stay(server: TestServer) {
    let owner = server.owner().await;
    let (id, secret) = server.secret(&owner, json!({})).await;
    let key = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    server.delete(&format!("/enroll-secrets/{id}")).by(&owner).await.expect(204);
    server.enroll(&secret, machine("b")).await.expect(401);
    server.enroll_osquery(&secret, "a").await.expect(401);
    assert!(server.orbit_works(&key).await);
    let shown = server.get(&format!("/enroll-secrets/{id}")).by(&owner).await.json();
    assert!(shown["revoked_at"].is_string());
    assert!(shown.get("secret").is_none());
}

async fn orbit_and_osquery_of_one_device_count_one_use(server: TestServer) {
    let owner = server.owner().await;
    let (id, secret) = server.secret(&owner, json!({"max_uses": 1})).await;
    server.enroll(&secret, machine("ABC-1")).await.expect(200);
    server.enroll_osquery(&secret, "abc-1").await.expect(200);
    server.enroll_osquery(&secret, "another").await.expect(401);
    let shown = server.get(&format!("/enroll-secrets/{id}")).by(&owner).await.json();
    assert_eq!(shown["use_count"], 1);
    assert_eq!(server.devices(&owner).await.len(), 1);
}

async fn osquery_may_come_first_and_still_count_once(server: TestServer) {
    let owner = server.owner().await;
    let (id, secret) = server.secret(&owner, json!({"max_uses": 1})).await;
    server.enroll_osquery(&secret, "abc-1").await.expect(200);
    server.enroll(&secret, machine("ABC-1")).await.expect(200);
    server.enroll(&secret, machine("ABC-1")).await.expect(401);
    let shown = server.get(&format!("/enroll-secrets/{id}")).by(&owner).await.json();
    assert_eq!(shown["use_count"], 1);
    assert_eq!(server.devices(&owner).await.len(), 1);
}

async fn a_secret_that_was_given_is_accepted_once_and_must_be_long(server: TestServer) {
    let owner = server.owner().await;
    let given = "pass \"word\" with $pecial ünïcode";
    let (id, told) = server.secret(&owner, json!({"secret": given})).await;
    assert_eq!(told, given);
    server.enroll(given, machine("a")).await.expect(200);
    let again = json!({"name": "again", "secret": given});
    let reply = server.post("/enroll-secrets").by(&owner).json(again.clone()).await;
    reply.expect(409).problem("conflict");
    server.delete(&format!("/enroll-secrets/{id}")).by(&owner).await.expect(204);
    server.post("/enroll-secrets").by(&owner).json(again).await.expect(409);
    let short = json!({"name": "short", "secret": "fifteen bytes.."});
    server.post("/enroll-secrets").by(&owner).json(short).await.expect(422);
    let (_, made) = server.secret(&owner, json!({})).await;
    assert!(made.starts_with("fleetd_ek_live_"), "{made}");
}

async fn refused_enrollments_are_limited_by_network_and_good_ones_are_not(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let wrong = json!({"enroll_secret": "wrong", "hardware_uuid": "x"});
    let attempt = |from: &'static str, body: &serde_json::Value| {
        server.post("/api/fleet/orbit/enroll").json(body.clone()).from(from)
    };
    for n in 0..60 {
        let from = if n % 2 == 0 { "2001:db8::1" } else { "2001:db8::ffff" };
        attempt(from, &wrong).await.expect(401);
    }
    let reply = attempt("2001:db8::2", &wrong).await;
    assert_eq!(reply.expect(429).header("retry-after"), Some("60"));
    assert!(reply.json()["error"].is_string());
    let good = json!({"enroll_secret": secret, "hardware_uuid": "good"});
    attempt("2001:db8::2", &good).await.expect(429);
    attempt("2001:db8:0:1::1", &good).await.expect(200);
    server.pass(60);
    attempt("2001:db8::2", &good).await.expect(200);
}

const ENROLL: &str = "/api/fleet/orbit/enroll";

async fn refused_enrollments_count_on_every_server_and_over_a_restart(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let other = server.second_node().await;
    let ask = async |node: &TestServer, secret: &str, from: &str| {
        let body = json!({"enroll_secret": secret, "hardware_uuid": "x"});
        node.post(ENROLL).json(body).from(from).await
    };
    for n in 0..60_u32 {
        let node = if n.is_multiple_of(2) { &server } else { &other };
        ask(node, "wrong", "198.51.100.7").await.expect(401);
    }
    server.pass(20);
    let restarted = server.second_node().await;
    for node in [&restarted, &server, &other] {
        // The first is refused by the database, and the others by what is known here by now.
        for secret in [&*secret, "wrong", &*secret] {
            let reply = ask(node, secret, "198.51.100.7").await;
            assert_eq!(reply.expect(429).header("retry-after"), Some("40"));
        }
    }
    assert!(server.devices(&owner).await.is_empty(), "nothing is kept of who was refused");
    ask(&restarted, &secret, "203.0.113.9").await.expect(200);
    server.pass(40);
    for node in [&restarted, &server, &other] {
        ask(node, &secret, "198.51.100.7").await.expect(200);
    }
}

async fn of_many_refused_at_once_on_two_servers_as_many_are_looked_at_as_may(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let other = server.second_node().await;
    let ask = |n: usize, secret: &str| {
        let node = if n.is_multiple_of(2) { &server } else { &other };
        let body = json!({"enroll_secret": secret, "hardware_uuid": format!("m{n}")});
        node.post(ENROLL).json(body).into_future()
    };
    let good = join_all((0..100).map(|n| ask(n, &secret))).await;
    assert!(good.iter().all(|reply| reply.status == 200), "who succeeds is not counted");
    let refused = join_all((0..150).map(|n| ask(n, "wrong"))).await;
    let count = |status: u16| refused.iter().filter(|reply| reply.status == status).count();
    assert_eq!((count(401), count(429)), (60, 90));
}

/// Rows in part: V3
async fn an_enrollment_from_a_known_device_ends_the_old_key(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let old = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    let new = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    assert!(!server.orbit_works(&old).await);
    assert!(server.orbit_works(&new).await);
    let osquery = server.enroll_osquery(&secret, "a").await.text("node_key");
    assert!(!server.orbit_works(&osquery).await, "osqueryd's key is not orbit's");
    assert!(server.orbit_works(&new).await, "osqueryd's enrollment leaves orbit's key alone");
    let id = text(&server.devices(&owner).await[0], "id");
    let viewer = server.person(&owner, Role::Viewer).await;
    server.delete(&format!("/devices/{id}")).by(&viewer).await.expect(403);
    server.delete(&format!("/devices/{id}")).by(&owner).await.expect(204);
    assert!(!server.orbit_works(&new).await, "a deleted device's key ends at once");
    let read = server.post("/api/osquery/config").json(json!({"node_key": osquery})).await;
    read.expect(401);
}

async fn every_refusal_looks_the_same(server: TestServer) {
    let owner = server.owner().await;
    let (revoked_id, revoked) = server.secret(&owner, json!({})).await;
    server.delete(&format!("/enroll-secrets/{revoked_id}")).by(&owner).await.expect(204);
    let (_, used_up) = server.secret(&owner, json!({"max_uses": 1})).await;
    server.enroll(&used_up, machine("first")).await.expect(200);
    let bodies: BTreeSet<_> = join_all(
        [revoked.as_str(), used_up.as_str(), "never heard of"]
            .map(|secret| server.enroll(secret, machine("x"))),
    )
    .await
    .into_iter()
    .map(|reply| String::from_utf8(reply.expect(401).body.clone()).unwrap())
    .collect();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let orbit: serde_json::Value = serde_json::from_str(bodies.first().unwrap()).unwrap();
    assert!(orbit.get("node_invalid").is_none(), "orbit's errors do not carry it");
    let osquery = server.enroll_osquery("never heard of", "x").await;
    assert_eq!(osquery.expect(401).json()["node_invalid"], true);
}

async fn a_device_deleted_while_it_enrolls_is_there_whole_or_not_at_all(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    for _ in 0..20 {
        server.enroll(&secret, machine("m")).await.expect(200);
        let path = format!("/devices/{}", text(&server.devices(&owner).await[0], "id"));
        let enrollments = (0..4).map(|_| server.enroll(&secret, machine("m")));
        let (enrolled, deleted) =
            tokio::join!(join_all(enrollments), server.delete(&path).by(&owner).into_future());
        deleted.expect(204);
        for reply in &enrolled {
            reply.expect(200);
        }
        let strays = "SELECT hash FROM credentials WHERE kind = 'node_key'
                      AND subject_id NOT IN (SELECT id FROM devices)";
        assert_eq!(server.sql(strays).await.len(), 0, "a key that leads to no device");
    }
}
