//! API keys of one organization: their form, what they may do, rotation, revocation, use.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wire::Role;

use crate::harness::{Engine, Person, Reply, TestServer, machine, runtime, text};

crate::on_both_databases! {
    a_key_has_its_form_and_is_shown_once,
    keys_are_listed_page_by_page_and_each_says_the_same,
    a_key_is_presented_in_either_header_and_never_in_the_url,
    a_wrong_checksum_costs_no_query,
    a_revoked_key_stops_at_once,
    an_expired_key_stops_and_one_without_expiry_lasts,
    rotation_keeps_the_id_and_the_old_value_for_the_overlap,
    a_revoked_key_cannot_be_rotated,
    scopes_are_part_of_the_creators_permissions_at_mint_and_at_use,
    a_key_cannot_manage_keys_even_with_every_scope,
    a_key_never_makes_somebody_who_may_manage_keys,
    keys_of_a_deleted_creator_stop,
    a_key_shrinks_with_its_creators_role,
    nobody_rotates_a_key_that_may_do_more_than_they,
    two_proofs_at_once_are_refused,
    use_is_noted_once_a_minute,
    a_second_node_refuses_a_revoked_key,
    a_services_key_outlives_its_creator,
    a_key_is_made_once_however_often_it_is_asked_for,
    keys_of_other_kinds_and_environments_are_refused_by_name,
    an_organization_for_trials_has_keys_of_its_own_until_it_goes_live,
    an_organization_bounds_how_long_its_keys_last,
}

async fn mint(server: &TestServer, by: &Person, more: Value) -> Reply {
    let mut new = json!({"name": "ci", "scopes": ["devices:read"]});
    for (name, value) in more.as_object().unwrap() {
        new[name] = value.clone();
    }
    server.post("/api-keys").by(by).json(new).await
}

/// Rows: K1, K2, K5, K7
async fn a_key_has_its_form_and_is_shown_once(server: TestServer) {
    let owner = server.owner().await;
    let made = mint(&server, &owner, json!({})).await.expect(201).json();
    let key = text(&made, "key");
    let (prefix, random) = key.split_at("fleetd_pk_live_".len());
    assert_eq!(prefix, "fleetd_pk_live_");
    assert!(random.len() == 32 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(made["last4"], key[key.len() - 4..]);
    assert_eq!(made["created_by"], owner.id.as_str());
    let listed = server.get("/api-keys").by(&owner).await.json();
    assert_eq!(listed["items"][0]["id"], made["id"]);
    assert!(!listed.to_string().contains(random));
    let shown = server.get(&format!("/api-keys/{}", text(&made, "id"))).by(&owner).await;
    assert!(shown.expect(200).json().get("key").is_none());
}

/// Rows: K1
async fn keys_are_listed_page_by_page_and_each_says_the_same(server: TestServer) {
    let owner = server.owner().await;
    let other = server.other_organization().await;
    mint(&server, &other, json!({})).await.expect(201);
    let mut made = Vec::new();
    for number in 0..5 {
        let new = json!({"name": format!("k{number}")});
        made.push(mint(&server, &owner, new).await.expect(201).json());
    }
    let used = server.get("/devices").bearer(&text(&made[0], "key")).from("198.51.100.7");
    used.await.expect(200);
    let revoked = server.delete(&format!("/api-keys/{}", text(&made[1], "id")));
    revoked.by(&owner).await.expect(204);
    let lasting = json!({"name": "k5", "expires_at": "2026-04-01T00:00:00Z"});
    made.push(mint(&server, &owner, lasting).await.expect(201).json());
    let (mut listed, mut path) = (Vec::new(), "/api-keys?limit=4".to_owned());
    loop {
        let page = server.get(&path).by(&owner).await.expect(200).json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 4);
        listed.extend(items.iter().cloned());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api-keys?limit=4&after={next}");
    }
    let names: BTreeSet<_> = listed.iter().map(|key| text(key, "name")).collect();
    assert_eq!((listed.len(), names.len()), (6, 6));
    let always = ["id", "name", "kind", "prefix", "last4", "scopes", "created_by", "created_at"];
    for key in &listed {
        let more: &[&str] = match key["name"].as_str().unwrap() {
            "k0" => &["last_used_at", "last_used_ip"],
            "k1" => &["revoked_at"],
            "k5" => &["expires_at"],
            _ => &[],
        };
        let fields: BTreeSet<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, always.iter().chain(more).copied().collect::<BTreeSet<_>>(), "{key}");
    }
    let whole = Value::from(listed).to_string();
    for key in &made {
        assert!(!whole.contains(&text(key, "key")[15..]));
    }
}

/// Rows: K12
async fn a_key_is_presented_in_either_header_and_never_in_the_url(server: TestServer) {
    let owner = server.owner().await;
    let key = mint(&server, &owner, json!({})).await.text("key");
    server.get("/devices").bearer(&key).await.expect(200);
    server.get("/devices").header("x-api-key", &key).await.expect(200);
    for name in ["api_key", "access_token", "x-api-key"] {
        server.get(&format!("/devices?{name}={key}")).await.expect(401);
    }
    let me = server.get("/auth/user").bearer(&key).await.json();
    assert_eq!(me["permissions"], json!(["devices:read"]));
    assert!(me["api_key_id"].is_string());
    server.post("/auth/logout").bearer(&key).await.expect(403);
}

/// Rows: K9
async fn a_wrong_checksum_costs_no_query(server: TestServer) {
    let owner = server.owner().await;
    let key = mint(&server, &owner, json!({})).await.text("key");
    let last = if key.ends_with('a') { "b" } else { "a" };
    let wrong = format!("{}{last}", &key[..key.len() - 1]);
    server.fleet.close().await;
    server.get("/devices").bearer(&wrong).await.expect(401).problem("unauthenticated");
    server.get("/devices").bearer(&key).await.expect(503).problem("unavailable");
}

/// Rows: K3
async fn a_revoked_key_stops_at_once(server: TestServer) {
    let owner = server.owner().await;
    let made = mint(&server, &owner, json!({})).await.json();
    let key = text(&made, "key");
    server.get("/devices").bearer(&key).await.expect(200);
    let path = format!("/api-keys/{}", text(&made, "id"));
    server.delete(&path).by(&owner).await.expect(204);
    server.get("/devices").bearer(&key).await.expect(401).problem("key-revoked");
    server.delete(&path).by(&owner).await.expect(204);
    assert!(server.get(&path).by(&owner).await.json()["revoked_at"].is_string());
}

/// Rows: K11, T3
async fn an_expired_key_stops_and_one_without_expiry_lasts(server: TestServer) {
    let owner = server.owner().await;
    let lasting = mint(&server, &owner, json!({})).await.text("key");
    let short =
        mint(&server, &owner, json!({"expires_at": "2026-03-02T12:00:00Z"})).await.text("key");
    mint(&server, &owner, json!({"expires_at": "2026-03-01T12:00:00Z"})).await.expect(422);
    server.pass(86_399);
    server.get("/devices").bearer(&short).await.expect(200);
    server.pass(1);
    server.get("/devices").bearer(&short).await.expect(401).problem("key-expired");
    server.pass(10 * 366 * 86_400);
    server.get("/devices").bearer(&lasting).await.expect(200);
}

/// Rows: K4
async fn rotation_keeps_the_id_and_the_old_value_for_the_overlap(server: TestServer) {
    let owner = server.owner().await;
    let made = mint(&server, &owner, json!({})).await.json();
    let path = format!("/api-keys/{}/rotate", text(&made, "id"));
    let rotate = async |overlap: u32| {
        server.post(&path).by(&owner).json(json!({"overlap_seconds": overlap})).await
    };
    rotate(86_401).await.expect(422);
    let rotated = rotate(60).await.expect(200).json();
    assert_eq!(
        (&rotated["id"], &rotated["name"], &rotated["scopes"]),
        (&made["id"], &made["name"], &made["scopes"])
    );
    let (old, new) = (text(&made, "key"), text(&rotated, "key"));
    assert_ne!(old, new);
    server.get("/devices").bearer(&new).await.expect(200);
    server.pass(59);
    server.get("/devices").bearer(&old).await.expect(200);
    server.pass(1);
    server.get("/devices").bearer(&old).await.expect(401);
    let newest = rotate(0).await.text("key");
    server.get("/devices").bearer(&new).await.expect(401);
    server.get("/devices").bearer(&old).await.expect(401);
    server.get("/devices").bearer(&newest).await.expect(200);
}

/// Rows: K4
async fn a_revoked_key_cannot_be_rotated(server: TestServer) {
    let owner = server.owner().await;
    let id = mint(&server, &owner, json!({})).await.text("id");
    server.delete(&format!("/api-keys/{id}")).by(&owner).await.expect(204);
    let reply = server.post(&format!("/api-keys/{id}/rotate")).by(&owner).json(json!({})).await;
    reply.expect(409).problem("key-is-revoked");
}

/// Rows: K2
async fn scopes_are_part_of_the_creators_permissions_at_mint_and_at_use(server: TestServer) {
    let owner = server.owner().await;
    let admin = server.person(&owner, Role::Admin).await;
    let reply = mint(&server, &admin, json!({"scopes": ["organization:write"]})).await;
    reply.expect(422).problem("scope-too-wide");
    mint(&server, &owner, json!({"scopes": ["api_keys:write"]})).await.expect(422);
    mint(&server, &owner, json!({"scopes": []})).await.expect(422);
    mint(&server, &owner, json!({"scopes": ["devices:fly"]})).await.expect(422);
    let key = mint(&server, &admin, json!({"scopes": ["devices:read"]})).await.text("key");
    server.get("/devices").bearer(&key).await.expect(200);
    server.get("/teams").bearer(&key).await.expect(403).problem("forbidden");
}

/// Rows: K14
async fn a_key_cannot_manage_keys_even_with_every_scope(server: TestServer) {
    let owner = server.owner().await;
    let every: Vec<_> =
        Role::Owner.permissions().filter(|scope| scope.as_str() != "api_keys:write").collect();
    let made = mint(&server, &owner, json!({"scopes": every})).await.expect(201).json();
    let (id, key) = (text(&made, "id"), text(&made, "key"));
    let new = json!({"name": "more", "scopes": ["devices:read"]});
    server.get("/api-keys").bearer(&key).await.expect(403).problem("forbidden");
    server.get(&format!("/api-keys/{id}")).bearer(&key).await.expect(403);
    server.post("/api-keys").bearer(&key).json(new).await.expect(403);
    server.post(&format!("/api-keys/{id}/rotate")).bearer(&key).json(json!({})).await.expect(403);
    server.delete(&format!("/api-keys/{id}")).bearer(&key).await.expect(403);
    server.get("/users").bearer(&key).await.expect(200);
}

/// Rows: R19
async fn a_key_never_makes_somebody_who_may_manage_keys(server: TestServer) {
    let owner = server.owner().await;
    let narrow =
        mint(&server, &owner, json!({"scopes": ["users:read", "users:write"]})).await.text("key");
    let every: Vec<_> =
        Role::Owner.permissions().filter(|scope| scope.as_str() != "api_keys:write").collect();
    let wide = mint(&server, &owner, json!({"scopes": every})).await.text("key");
    let new = |role: &str| {
        json!({"email": format!("{role}@x.org"), "name": "X", "role": role,
                                  "password": crate::harness::PASSWORD})
    };
    server.post("/users").bearer(&wide).json(new("owner")).await.expect(403);
    server.post("/users").bearer(&wide).json(new("admin")).await.expect(403).problem("forbidden");
    server.post("/users").bearer(&wide).json(new("operator")).await.expect(201);
    server.post("/users").bearer(&narrow).json(new("viewer")).await.expect(403);
    server.delete(&format!("/users/{}", owner.id)).bearer(&wide).await.expect(403);
}

async fn keys_of_a_deleted_creator_stop(server: TestServer) {
    let owner = server.owner().await;
    let admin = server.person(&owner, Role::Admin).await;
    let key = mint(&server, &admin, json!({})).await.text("key");
    server.get("/devices").bearer(&key).await.expect(200);
    server.delete(&format!("/users/{}", admin.id)).by(&owner).await.expect(204);
    server.get("/devices").bearer(&key).await.expect(401).problem("key-revoked");
    let listed = server.get("/api-keys").by(&owner).await.expect(200).json();
    assert_eq!(listed["items"][0]["revoked_at"], "2026-03-01T12:00:00Z", "{listed}");
}

/// Rows: K13
async fn a_key_shrinks_with_its_creators_role(server: TestServer) {
    let owner = server.owner().await;
    let admin = server.person(&owner, Role::Admin).await;
    let scopes = json!(["devices:read", "enroll_secrets:write"]);
    let key = mint(&server, &admin, json!({"scopes": scopes})).await.text("key");
    let new = || server.post("/enroll-secrets").bearer(&key).json(json!({"name": "s"}));
    new().await.expect(201);
    server
        .sql(&format!("UPDATE memberships SET role = 'viewer' WHERE user_id = '{}'", admin.id))
        .await;
    new().await.expect(403).problem("forbidden");
    server.get("/devices").bearer(&key).await.expect(200);
    let me = server.get("/auth/user").bearer(&key).await.json();
    assert_eq!(me["permissions"], json!(["devices:read"]));
}

async fn nobody_rotates_a_key_that_may_do_more_than_they(server: TestServer) {
    let owner = server.owner().await;
    let admin = server.person(&owner, Role::Admin).await;
    let more = json!({"scopes": ["organization:write"]});
    let made = mint(&server, &owner, more).await.expect(201).json();
    let path = format!("/api-keys/{}", text(&made, "id"));
    let rotate = |by: &Person| server.post(&format!("{path}/rotate")).by(by).json(json!({}));
    rotate(&admin).await.expect(403).problem("forbidden");
    server.get("/auth/user").bearer(&text(&made, "key")).await.expect(200);
    rotate(&owner).await.expect(200);
    server.delete(&path).by(&admin).await.expect(204);
}

async fn two_proofs_at_once_are_refused(server: TestServer) {
    let owner = server.owner().await;
    let key = mint(&server, &owner, json!({})).await.text("key");
    let get = || server.get("/devices");
    let both = get().by(&owner).header("x-api-key", &key).await;
    assert!(both.expect(401).problem("unauthenticated").text("detail").contains("one proof"));
    get().bearer(&key).header("x-api-key", &key).await.expect(401);
    get().bearer(&key).bearer(&key).await.expect(401);
    get().header("x-api-key", &key).header("x-api-key", "x").await.expect(401);
    get().header("x-api-key", &owner.access).await.expect(401);
    let behind_basic = get().header("authorization", "Basic YTpi").header("x-api-key", &key);
    behind_basic.await.expect(200);
}

/// Rows: A4
async fn use_is_noted_once_a_minute(server: TestServer) {
    let owner = server.owner().await;
    let made = mint(&server, &owner, json!({})).await.json();
    let (id, key) = (text(&made, "id"), text(&made, "key"));
    let noted = async || {
        let shown = server.get(&format!("/api-keys/{id}")).by(&owner).await.json();
        (shown["last_used_at"].clone(), shown["last_used_ip"].clone())
    };
    assert_eq!(noted().await, (Value::Null, Value::Null));
    server.get("/devices").bearer(&key).from("198.51.100.3").await.expect(200);
    assert_eq!(noted().await, ("2026-03-01T12:00:00Z".into(), "198.51.100.3".into()));
    server.pass(59);
    server.get("/devices").bearer(&key).from("198.51.100.4").await.expect(200);
    assert_eq!(noted().await.0, "2026-03-01T12:00:00Z");
    server.pass(1);
    server.get("/devices").bearer(&key).from("198.51.100.4").await.expect(200);
    assert_eq!(noted().await, ("2026-03-01T12:01:00Z".into(), "198.51.100.4".into()));
}

/// Rows: K3
async fn a_second_node_refuses_a_revoked_key(server: TestServer) {
    let owner = server.owner().await;
    let other = server.second_node().await;
    let made = mint(&server, &owner, json!({})).await.json();
    let key = text(&made, "key");
    other.get("/devices").bearer(&key).await.expect(200);
    server.delete(&format!("/api-keys/{}", text(&made, "id"))).by(&owner).await.expect(204);
    server.pass(1);
    other.get("/devices").bearer(&key).await.expect(401).problem("key-revoked");
}

/// Rows: K7, K13
/// Rows in part: R18
async fn a_services_key_outlives_its_creator(server: TestServer) {
    let owner = server.owner().await;
    let admin = server.person(&owner, Role::Admin).await;
    let both = ["person", "service"].map(|kind| json!({"kind": kind, "scopes": ["teams:write"]}));
    let [person, service] = [
        mint(&server, &admin, both[0].clone()).await.expect(201).text("key"),
        mint(&server, &admin, both[1].clone()).await.expect(201).text("key"),
    ];
    assert!(service.starts_with("fleetd_sk_live_") && person.starts_with("fleetd_pk_live_"));
    let demote = json!({"role": "viewer"});
    server.call("PATCH", &format!("/users/{}", admin.id)).by(&owner).json(demote).await.expect(200);
    let team = |name: &str| json!({"name": name});
    server.post("/teams").bearer(&person).json(team("a")).await.expect(403);
    server.post("/teams").bearer(&service).json(team("b")).await.expect(201);
    server.delete(&format!("/users/{}", admin.id)).by(&owner).await.expect(204);
    server.post("/teams").bearer(&person).json(team("c")).await.expect(401).problem("key-revoked");
    server.post("/teams").bearer(&service).json(team("d")).await.expect(201);
    let me = server.get("/auth/user").bearer(&service).await.expect(200).json();
    assert_eq!((&me["role"], &me["permissions"]), (&json!("service"), &json!(["teams:write"])));
    server.get("/users").bearer(&service).await.expect(403);
    let events = server.get("/audit?event=team.created").by(&owner).await.json();
    let made = &events["items"][0];
    assert!(text(made, "actor").starts_with("service key "), "{made}");
}

async fn a_key_is_made_once_however_often_it_is_asked_for(server: TestServer) {
    let owner = server.owner().await;
    let ask = || {
        let new = json!({"name": "ci", "scopes": ["devices:read"], "if_absent": true});
        server.post("/api-keys").by(&owner).json(new).into_future()
    };
    let replies = futures_util::future::join_all((0..10).map(|_| ask())).await;
    let made: Vec<_> = replies.iter().filter(|reply| reply.status == 201).collect();
    assert_eq!(made.len(), 1);
    let id = made[0].text("id");
    for reply in replies.iter().filter(|reply| reply.status != 201) {
        let shown = reply.expect(200).json();
        assert_eq!((&shown["id"], shown.get("key")), (&json!(id), None));
    }
    server.delete(&format!("/api-keys/{id}")).by(&owner).await.expect(204);
    assert_ne!(ask().await.expect(201).text("id"), id, "a revoked key is none");
}

/// Rows: K7, K8
async fn keys_of_other_kinds_and_environments_are_refused_by_name(server: TestServer) {
    let owner = server.owner().await;
    let trial = TestServer::start_with(server.engine, |config| {
        config.api_keys.environment = wire::api::KeyEnvironment::Test;
    })
    .await;
    let key = mint(&trial, &trial.owner().await, json!({})).await.text("key");
    assert!(key.starts_with("fleetd_pk_test_"), "{key}");
    trial.get("/devices").bearer(&key).await.expect(200);
    server.get("/devices").bearer(&key).await.expect(403).problem("wrong-key");
    let live = mint(&server, &owner, json!({})).await.text("key");
    trial.get("/devices").bearer(&live).await.expect(403).problem("wrong-key");
    for kind in ["dk", "ek"] {
        let key = format!("fleetd_{kind}_live_{}", "0".repeat(26));
        let checksum = base62(crc32fast::hash(key.as_bytes()));
        let reply = server.get("/devices").bearer(&format!("{key}{checksum}")).await;
        reply.expect(403).problem("wrong-key");
        server.get("/devices").bearer(&format!("{key}000000")).await.expect(401);
    }
}

/// Rows: K8
async fn an_organization_for_trials_has_keys_of_its_own_until_it_goes_live(server: TestServer) {
    let live = server.owner().await;
    let trial = server.other_organization().await;
    let node = server.second_node().await;
    let set = async |by: &Person, environment: &str| {
        let change = json!({"key_environment": environment});
        server.call("PATCH", "/organization").by(by).json(change).await
    };
    let admin = server.person(&live, Role::Admin).await;
    set(&admin, "test").await.expect(403).problem("forbidden");
    set(&live, "other").await.expect(422);
    let early = mint(&server, &trial, json!({})).await.text("key");
    assert_eq!(set(&trial, "test").await.expect(200).json()["key_environment"], "test");
    let made = mint(&server, &trial, json!({})).await.json();
    let (id, test) = (text(&made, "id"), text(&made, "key"));
    assert!(test.starts_with("fleetd_pk_test_") && made["prefix"] == "fleetd_pk_test_", "{made}");
    let ours = mint(&server, &live, json!({})).await.text("key");
    for (by, name) in [(&live, "ours"), (&trial, "theirs")] {
        let (_, secret) = server.secret(by, json!({})).await;
        assert_eq!(secret.starts_with("fleetd_ek_test_"), name == "theirs", "{secret}");
        server.enroll(&secret, machine(name)).await.expect(200);
    }
    let seen = async |key: &str| {
        let listed = server.get("/devices").bearer(key).await.expect(200).json();
        let items = listed["items"].as_array().unwrap().clone();
        items.iter().map(|it| text(it, "hardware_uuid")).collect::<Vec<_>>()
    };
    assert_eq!(
        (seen(&test).await, seen(&ours).await),
        (vec!["theirs".into()], vec!["ours".into()])
    );
    for server in [&server, &node] {
        server.get("/devices").bearer(&early).await.expect(403).problem("wrong-key");
    }
    set(&trial, "live").await.expect(200);
    // Another server counts on what it read for a second.
    server.pass(2);
    for server in [&server, &node] {
        server.get("/devices").bearer(&test).await.expect(403).problem("wrong-key");
        server.get("/devices").bearer(&early).await.expect(200);
    }
    let rotate = server.post(&format!("/api-keys/{id}/rotate")).by(&trial).json(json!({})).await;
    let rotated = rotate.expect(200).json();
    assert_eq!(rotated["prefix"], "fleetd_pk_live_");
    server.get("/devices").bearer(&text(&rotated, "key")).await.expect(200);
}

async fn an_organization_bounds_how_long_its_keys_last(server: TestServer) {
    let month = |config: &mut server::Config| {
        config.api_keys.max_ttl = server::config::Lifetime(Some("30d".parse().unwrap()));
    };
    let server = TestServer::start_with(server.engine, month).await;
    let owner = server.owner().await;
    let set = async |seconds: u64| {
        let change = json!({"key_max_ttl_seconds": seconds});
        server.call("PATCH", "/organization").by(&owner).json(change).await.expect(200).json()
    };
    let until = async |end: &str, status: u16| {
        mint(&server, &owner, json!({"expires_at": end})).await.expect(status);
    };
    assert_eq!(set(7 * 86_400).await["key_max_ttl_seconds"], 7 * 86_400);
    until("2026-03-08T12:00:01Z", 422).await;
    until("2026-03-08T12:00:00Z", 201).await;
    mint(&server, &owner, json!({})).await.expect(422).problem("invalid-fields");
    set(365 * 86_400).await;
    until("2026-03-31T12:00:01Z", 422).await;
    assert_eq!(set(0).await.get("key_max_ttl_seconds"), None);
    until("2026-03-31T12:00:00Z", 201).await;
    let change = json!({"key_max_ttl_seconds": 3651 * 86_400});
    server.call("PATCH", "/organization").by(&owner).json(change).await.expect(422);
}

/// The checksum of a key as GitHub's tokens have it: CRC32 in base62, six digits.
fn base62(mut number: u32) -> String {
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = Vec::new();
    for _ in 0..6 {
        text.push(char::from(digits[(number % 62) as usize]));
        number /= 62;
    }
    text.iter().rev().collect()
}

#[test]
fn a_policy_bounds_how_long_keys_last() {
    runtime().block_on(async {
        let server = TestServer::start_with(Engine::Sqlite, |config| {
            config.api_keys.max_ttl = server::config::Lifetime(Some("30d".parse().unwrap()));
        })
        .await;
        let owner = server.owner().await;
        mint(&server, &owner, json!({})).await.expect(422).problem("invalid-fields");
        let late = json!({"expires_at": "2026-04-01T00:00:00Z"});
        mint(&server, &owner, late).await.expect(422);
        mint(&server, &owner, json!({"expires_at": "2026-03-31T00:00:00Z"})).await.expect(201);
    });
}
