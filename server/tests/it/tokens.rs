//! Access tokens: what they say, which are refused, the keys that sign them, and what counts beside
//! them.

use axum::response::Response;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use server::{
    Config,
    config::{
        Period, Secret,
        auth::{Algorithm, TokenType},
    },
    fleet::keys::KeyState,
};
use wire::Role;

use crate::harness::{Engine, PASSWORD, Person, TestServer, machine, runtime, text};

crate::on_both_databases! {
    a_token_says_what_the_table_says,
    each_algorithm_signs_tokens_that_are_accepted,
    a_token_with_anything_changed_is_refused,
    keys_come_and_go_and_nobody_is_signed_out,
    a_key_dropped_at_once_takes_its_tokens_with_it,
    what_is_revoked_is_refused_with_the_next_request,
    what_is_revoked_stays_so_over_a_restart,
    another_server_notices_within_a_second,
    two_servers_with_one_database_sign_with_one_key,
    a_lost_master_key_costs_a_new_signing_key_and_nothing_else,
    a_check_asks_the_database_once_a_second,
    what_is_known_of_others_outlasts_a_sign_in,
    a_device_gets_a_short_token_for_others,
    a_devices_key_speaks_for_its_device_alone,
    a_device_keeps_a_connection_as_long_as_its_key_is_good,
}

/// The JSON of one part of a token.
pub(crate) fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// `token` with another header or other claims, and the signature that it had.
fn with_part(token: &str, index: usize, json: &Value) -> String {
    let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    parts[index] = URL_SAFE_NO_PAD.encode(json.to_string());
    parts.join(".")
}

/// Rows: F5, C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C14, T1
/// Rows in part: E16
async fn a_token_says_what_the_table_says(server: TestServer) {
    let rsa = |config: &mut Config| config.auth.jwt = server::config::auth::Jwt::default();
    let server = TestServer::start_with(server.engine, rsa).await;
    let owner = server.owner().await;
    let header = part(&owner.access, 0);
    let reply = server.get("/.well-known/jwks.json").await;
    assert_eq!(reply.expect(200).header("cache-control"), Some("public, max-age=300"));
    let keys = reply.json()["keys"].as_array().unwrap().clone();
    assert_eq!(keys.len(), 1);
    let names: Vec<_> = keys[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["use", "alg", "kid", "kty", "n", "e"], "nothing private");
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": keys[0]["kid"]}));

    let claims = part(&owner.access, 1);
    let user = server.get("/auth/user").by(&owner).await.json();
    let number = |name: &str| claims[name].as_i64().unwrap();
    assert_eq!(claims["sub"], format!("user_{}", owner.id));
    assert_eq!(claims["email"], owner.email);
    assert_eq!(claims["org_id"], format!("org_{}", text(&user, "org_id")));
    assert_eq!((&claims["role"], &claims["permissions"]), (&json!("owner"), &user["permissions"]));
    assert!(
        claims["permissions"]
            .as_array()
            .unwrap()
            .is_sorted_by_key(|it| it.as_str().unwrap().to_owned())
    );
    assert_eq!(number("exp") - number("iat"), 900);
    assert_eq!((number("nbf"), number("auth_time")), (number("iat"), number("iat")));
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("fleetd.sh"), &json!("fleetd-api")));
    assert_eq!(claims["amr"], json!(["pwd"]));
    assert!(owner.access.len() < 4096, "{}", owner.access.len());
    let sessions = server.get("/auth/sessions").by(&owner).await.json();
    assert_eq!(sessions["items"][0]["id"], claims["sid"]);
    let again = server.login(&owner.email).await;
    assert_ne!(part(&again.access, 1)["jti"], claims["jti"]);
}

/// Rows: C1, C2, C11, C12, T10
async fn each_algorithm_signs_tokens_that_are_accepted(server: TestServer) {
    for (alg, keys) in [(Algorithm::ES256, 1), (Algorithm::EdDSA, 1), (Algorithm::HS256, 0)] {
        let change = |config: &mut Config| {
            config.auth.jwt.alg = alg;
            config.auth.jwt.secret = Some(Secret::new("a secret of more than thirty-two bytes"));
            config.auth.jwt.typ = TokenType::AccessToken;
            config.auth.jwt.issuer = "https://fleet.example.com".to_owned();
            config.auth.jwt.audience = "my-api".to_owned();
        };
        let server = TestServer::start_with(server.engine, change).await;
        let owner = server.owner().await;
        server.get("/devices").by(&owner).await.expect(200);
        let header = part(&owner.access, 0);
        assert_eq!((&header["alg"], &header["typ"]), (&json!(alg.as_str()), &json!("at+jwt")));
        let published = server.get("/.well-known/jwks.json").await.json();
        assert_eq!(published["keys"].as_array().unwrap().len(), keys, "{alg:?}");
        let as_jwt = json!({"alg": alg.as_str(), "typ": "JWT", "kid": header["kid"]});
        server.get("/devices").bearer(&with_part(&owner.access, 0, &as_jwt)).await.expect(401);
    }
}

/// Rows: C1, C2, C3, C13, B3, B4, T7
async fn a_token_with_anything_changed_is_refused(server: TestServer) {
    let owner = server.owner().await;
    let token = owner.access.as_str();
    let header = part(token, 0);
    let refused = async |token: &str| server.get("/devices").bearer(token).await;
    for (name, value) in [
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("eddsa")),
        ("alg", json!("RS512")),
        ("typ", json!("at+jwt")),
        ("typ", json!("jwt")),
        ("typ", Value::Null),
        ("kid", Value::Null),
        ("kid", json!("unknown")),
        ("kid", json!("../../etc/passwd")),
        ("kid", json!("' OR 1=1 --")),
        ("crit", json!(["b64"])),
    ] {
        let mut changed = header.clone();
        changed[name] = value;
        let reply = refused(&with_part(token, 0, &changed)).await;
        reply.expect(401).problem("unauthenticated");
    }
    let mut claims = part(token, 1);
    claims["role"] = json!("admin");
    refused(&with_part(token, 1, &claims)).await.expect(401).problem("invalid-signature");
    let (unsigned, _) = token.rsplit_once('.').unwrap();
    for bad in
        [unsigned.to_owned(), format!("{unsigned}."), format!("{token}.{token}"), ".".repeat(2)]
    {
        refused(&bad).await.expect(401);
    }
    let signature = URL_SAFE_NO_PAD.decode(token.rsplit('.').next().unwrap()).unwrap();
    for bit in [0, 100, signature.len() * 8 - 1] {
        let mut flipped = signature.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let flipped = format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(flipped));
        refused(&flipped).await.expect(401).problem("invalid-signature");
    }
    refused(token).await.expect(200);
}

async fn published(server: &TestServer) -> Vec<Value> {
    let reply = server.get("/.well-known/jwks.json").await;
    reply.expect(200).json()["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kid"].clone())
        .collect()
}

/// Rows in part: E16
async fn keys_come_and_go_and_nobody_is_signed_out(server: TestServer) {
    let patient = |config: &mut Config| {
        config.auth.jwt.alg = Algorithm::EdDSA;
        config.auth.jwt.rotation = Period::seconds(7200);
        config.auth.session.timeout = Period::seconds(86_400);
    };
    let server = TestServer::start_with(server.engine, patient).await;
    let mut person = server.owner().await;
    let (mut seen, mut signed_with) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        server.pass(600);
        let before = person.clone();
        let reply =
            server.post("/auth/refresh").json(json!({"refresh_token": person.refresh})).await;
        person = Person::from(&reply.expect(200).json());
        let keys = published(&server).await;
        let kid = part(&person.access, 0)["kid"].clone();
        assert!(keys.contains(&kid));
        assert!(seen.is_empty() || seen.contains(&kid), "a key is published before it signs");
        seen.extend(keys);
        if signed_with.last() != Some(&kid) {
            signed_with.push(kid);
        }
        server.get("/auth/user").by(&before).await.expect(200);
        server.get("/auth/user").by(&person).await.expect(200);
    }
    assert_eq!(signed_with.len(), 4, "400 minutes are three rotations");
    let keys = server.fleet.signing_keys().await.unwrap();
    assert!(
        keys.iter().filter(|key| key.state == KeyState::Active).count() == 1 && keys.len() <= 3
    );
    server.fleet.rotate_signing_key(false).await.unwrap();
    let states: Vec<_> =
        server.fleet.signing_keys().await.unwrap().iter().map(|key| key.state).collect();
    assert_eq!(states.last(), Some(&KeyState::Next));
    server.pass(301);
    let next = server.login(&person.email).await;
    assert_ne!(part(&next.access, 0)["kid"], *signed_with.last().unwrap());
    server.get("/auth/user").by(&person).await.expect(200);
}

async fn a_key_dropped_at_once_takes_its_tokens_with_it(server: TestServer) {
    let owner = server.owner().await;
    let before = published(&server).await;
    server.fleet.rotate_signing_key(true).await.unwrap();
    server.get("/auth/user").by(&owner).await.expect(401).problem("unauthenticated");
    let after = published(&server).await;
    assert_eq!(after.len(), 1);
    assert_ne!(after, before);
    let reply = server.post("/auth/refresh").json(json!({"refresh_token": owner.refresh})).await;
    let renewed = Person::from(&reply.expect(200).json());
    server.get("/auth/user").by(&renewed).await.expect(200);
    server.pass(90_000);
    server.fleet.sweep().await.unwrap();
    assert_eq!(server.sql("SELECT kid FROM signing_keys").await.len(), 1);
}

/// Rows: E13
/// Rows in part: B2
async fn what_is_revoked_is_refused_with_the_next_request(server: TestServer) {
    let owner = server.owner().await;
    let victim = server.person(&owner, Role::Viewer).await;
    let revoke = async |what: Value| server.post("/auth/revocations").by(&owner).json(what).await;
    let token = async |person: &Person| server.get("/auth/user").by(person).await.status.as_u16();
    let sid = |person: &Person| part(&person.access, 1)["sid"].clone();

    let other = server.login(&victim.email).await;
    assert_eq!((token(&victim).await, token(&other).await), (200, 200));
    let jti = part(&victim.access, 1)["jti"].clone();
    revoke(json!({"what": "token", "jti": jti})).await.expect(204);
    assert_eq!((token(&victim).await, token(&other).await), (401, 200));
    revoke(json!({"what": "session", "id": sid(&other)})).await.expect(204);
    assert_eq!(token(&other).await, 401);
    let refresh = json!({"refresh_token": other.refresh});
    server.post("/auth/refresh").json(refresh).await.expect(401);
    let other = server.login(&victim.email).await;
    assert_eq!(token(&other).await, 200);
    revoke(json!({"what": "user", "id": victim.id})).await.expect(204);
    assert_eq!((token(&other).await, token(&owner).await), (401, 200));

    let stranger = server.other_organization().await;
    for what in
        [json!({"what": "session", "id": sid(&owner)}), json!({"what": "user", "id": owner.id})]
    {
        server.post("/auth/revocations").by(&stranger).json(what).await.expect(404);
    }
    revoke(json!({"what": "token", "jti": "x"})).await.expect(422);
    revoke(json!({"what": "organization"})).await.expect(204);
    assert_eq!((token(&owner).await, token(&stranger).await), (401, 200));

    assert_eq!(server.sql("SELECT jti FROM revoked_tokens").await.len(), 1);
    server.pass(901);
    server.fleet.sweep().await.unwrap();
    assert_eq!(server.sql("SELECT jti FROM revoked_tokens").await.len(), 0);
}

/// Rows: B2
async fn what_is_revoked_stays_so_over_a_restart(server: TestServer) {
    let owner = server.owner().await;
    let stranger = server.other_organization().await;
    let [one, two, three, stays] = [
        server.person(&owner, Role::Viewer).await,
        server.person(&owner, Role::Viewer).await,
        server.person(&owner, Role::Viewer).await,
        server.person(&owner, Role::Viewer).await,
    ];
    let claim = |person: &Person, name: &str| part(&person.access, 1)[name].clone();
    for (by, what) in [
        (&owner, json!({"what": "token", "jti": claim(&one, "jti")})),
        (&owner, json!({"what": "session", "id": claim(&two, "sid")})),
        (&owner, json!({"what": "user", "id": three.id})),
        (&stranger, json!({"what": "organization"})),
    ] {
        server.post("/auth/revocations").by(by).json(what).await.expect(204);
    }
    server.fleet.close().await;
    let again = server.second_node().await;
    for gone in [&one, &two, &three, &stranger] {
        again.get("/auth/user").by(gone).await.expect(401);
    }
    again.get("/auth/user").by(&stays).await.expect(200);
    for (person, status) in [(&one, 200), (&two, 401), (&three, 401), (&stranger, 401)] {
        let refresh = json!({"refresh_token": person.refresh});
        again.post("/auth/refresh").json(refresh).await.expect(status);
    }
    assert_eq!(again.sql("SELECT jti FROM revoked_tokens").await.len(), 1);
    again.pass(901);
    again.fleet.sweep().await.unwrap();
    assert_eq!(again.sql("SELECT jti FROM revoked_tokens").await.len(), 0);
    again.get("/auth/user").by(&one).await.expect(401).problem("token-expired");
}

/// Rows: C15
/// Rows in part: B2
async fn another_server_notices_within_a_second(server: TestServer) {
    let owner = server.owner().await;
    let viewer = server.person(&owner, Role::Viewer).await;
    let other = server.second_node().await;
    other.get("/auth/user").by(&viewer).await.expect(200);
    other.get("/users").by(&owner).await.expect(200);
    server.post("/auth/logout").by(&viewer).await.expect(204);
    server.get("/auth/user").by(&viewer).await.expect(401);
    let demote = format!("UPDATE memberships SET role = 'viewer' WHERE user_id = '{}'", owner.id);
    server.sql(&demote).await;
    server.pass(1);
    other.get("/auth/user").by(&viewer).await.expect(401);
    other.get("/users").by(&owner).await.expect(403).problem("forbidden");
    server.get("/users").by(&owner).await.expect(403).problem("forbidden");
}

async fn two_servers_with_one_database_sign_with_one_key(server: TestServer) {
    let owner = server.owner().await;
    let other = server.second_node().await;
    let login = json!({"email": owner.email, "password": PASSWORD, "client": "cli"});
    let there = Person::from(&other.post("/auth/login").json(login).await.expect(200).json());
    assert_eq!(part(&there.access, 0)["kid"], part(&owner.access, 0)["kid"]);
    server.get("/auth/user").by(&there).await.expect(200);
    server.fleet.rotate_signing_key(true).await.unwrap();
    server.pass(1);
    other.get("/auth/user").by(&there).await.expect(401);
}

async fn a_lost_master_key_costs_a_new_signing_key_and_nothing_else(server: TestServer) {
    let owner = server.owner().await;
    let elsewhere = |config: &mut Config| config.data_dir = config.data_dir.join("another");
    let other = server.second_node_with(elsewhere).await;
    other.get("/auth/user").by(&owner).await.expect(200);
    let renewed = json!({"refresh_token": owner.refresh});
    let reply = other.post("/auth/refresh").json(renewed).await;
    let renewed = Person::from(&reply.expect(200).json());
    assert_ne!(part(&renewed.access, 0)["kid"], part(&owner.access, 0)["kid"]);
    server.pass(1);
    server.get("/auth/user").by(&renewed).await.expect(200);
}

async fn a_check_asks_the_database_once_a_second(server: TestServer) {
    let owner = server.owner().await;
    let new = json!({"name": "proxy", "scopes": ["devices:read"]});
    let key = server.post("/api-keys").by(&owner).json(new).await.expect(201).json();
    let check = |proof: &str| {
        server.get("/check").bearer(proof).header("x-fleetd-activity", "background").into_future()
    };
    let of_key = check(&text(&key, "key")).await.expect(200).json();
    assert_eq!(of_key["permissions"], json!(["devices:read"]));
    assert_eq!((&of_key["id"], &of_key["api_key_id"]), (&json!(owner.id), &key["id"]));
    let of_token = check(&owner.access).await.expect(200).json();
    let everything = server.get("/auth/user").by(&owner).await.json();
    assert_eq!(of_token["permissions"], everything["permissions"]);
    assert_eq!((&of_token["id"], of_token.get("api_key_id")), (&json!(owner.id), None));
    server.fleet.close().await;
    assert_eq!(check(&text(&key, "key")).await.expect(200).json(), of_key);
    assert_eq!(check(&owner.access).await.expect(200).json(), of_token);
    server.pass(1);
    check(&owner.access).await.expect(503);
}

/// Signing in changes nobody's rights: others are not looked up again for it.
async fn what_is_known_of_others_outlasts_a_sign_in(server: TestServer) {
    let owner = server.owner().await;
    let viewer = server.person(&owner, Role::Viewer).await;
    server.get("/check").by(&viewer).await.expect(200);
    server.login(&owner.email).await;
    server
        .sql(&format!("UPDATE memberships SET role = 'operator' WHERE user_id = '{}'", viewer.id))
        .await;
    let permissions = async || server.get("/check").by(&viewer).await.json()["permissions"].clone();
    let before = permissions().await;
    assert!(!before.to_string().contains("updates:deploy"), "{before}");
    server.post("/auth/logout").by(&server.login(&owner.email).await).await.expect(204);
    assert!(permissions().await.to_string().contains("updates:deploy"));
}

/// Rows: V6
/// Rows in part: R18
async fn a_device_gets_a_short_token_for_others(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let key = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    let id = text(&server.devices(&owner).await[0], "id");
    let request = json!({"orbit_node_key": key});
    let reply = server.post("/api/fleet/orbit/token").json(request.clone()).await;
    assert_eq!(reply.expect(200).json()["expires_in"], 3600);
    let token = reply.text("token");
    let claims = part(&token, 1);
    let time = |name: &str| claims[name].as_i64().unwrap();
    assert_eq!(
        (&claims["sub"], &claims["role"]),
        (&json!(format!("device_{id}")), &json!("device"))
    );
    assert_eq!((&claims["aud"], &claims["permissions"]), (&json!("fleetd-device"), &json!([])));
    assert_eq!((time("exp") - time("iat"), time("iat") - time("nbf")), (3600, 300));
    assert!(published(&server).await.contains(&part(&token, 0)["kid"]));
    for path in ["/devices", "/auth/user", "/users"] {
        server.get(path).bearer(&token).await.expect(401);
    }
    server.delete(&format!("/devices/{id}")).by(&owner).await.expect(204);
    server.post("/api/fleet/orbit/token").json(request).await.expect(401);
}

/// Rows in part: F12
async fn a_devices_key_speaks_for_its_device_alone(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let mut keys = Vec::new();
    for name in ["a", "b"] {
        keys.push(server.enroll(&secret, machine(name)).await.text("orbit_node_key"));
    }
    let devices = server.devices(&owner).await;
    let id_of =
        |name: &str| text(devices.iter().find(|it| it["hardware_uuid"] == name).unwrap(), "id");
    for (name, key) in ["a", "b"].into_iter().zip(&keys) {
        assert!(server.orbit_works(key).await);
        let request = json!({"orbit_node_key": key});
        let token = server.post("/api/fleet/orbit/token").json(request).await.text("token");
        assert_eq!(part(&token, 1)["sub"], format!("device_{}", id_of(name)));
    }
    let show = async |key: &str| {
        let request = json!({"orbit_node_key": key, "device_auth_token": "desktop-token-9f8e7d"});
        server.post("/api/fleet/orbit/device_token").json(request).await
    };
    show(&keys[0]).await.expect(200);
    show(&keys[1]).await.expect(409);
    server.post("/api/osquery/config").json(json!({"node_key": keys[0]})).await.expect(401);
    let gone = json!({"state": "decommissioned"});
    let path = format!("/devices/{}", id_of("a"));
    server.call("PATCH", &path).by(&owner).json(gone).await.expect(200);
    assert!(!server.orbit_works(&keys[0]).await && server.orbit_works(&keys[1]).await);
}

/// Rows: F12
async fn a_device_keeps_a_connection_as_long_as_its_key_is_good(server: TestServer) {
    let often = |config: &mut Config| config.orbit.connection_check = "10ms".parse().unwrap();
    let server = TestServer::start_with(server.engine, often).await;
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let one = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    let id = text(&server.devices(&owner).await[0], "id");
    let other = server.enroll(&secret, machine("b")).await.text("orbit_node_key");
    let path = format!("/api/device/connect?device_id={id}");
    let refused = server.get(&path).bearer(&other).await.expect(403).json();
    assert_eq!(refused["error"], "a device's key speaks for that device alone");
    for wrong in [secret.as_str(), &owner.access, "unknown"] {
        server.get(&path).bearer(wrong).await.expect(401);
    }
    let mut kept = server.get(&path).bearer(&one).open().await;
    assert_eq!(
        (kept.status().as_u16(), &kept.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    let connected = format!("event: connected\ndata: {{\"device_id\":\"{id}\"}}\n\n");
    assert_eq!(next(&mut kept).await, Some(connected));
    // A device that has moved on says so with its other requests, and nobody takes it for two.
    for _ in 0..6 {
        assert_eq!(next(&mut kept).await.as_deref(), Some(": alive\n\n"));
        let poll = json!({"orbit_node_key": one});
        let elsewhere = server.post("/api/fleet/orbit/config").from("198.51.100.9");
        elsewhere.json(poll).await.expect(200);
    }
    let devices = server.devices(&owner).await;
    let device = devices.iter().find(|device| device["id"] == id.as_str()).unwrap();
    assert_eq!(device.get("clone_suspected_at"), None);
    let mut newer = server.get(&path).bearer(&one).open().await;
    assert!(next(&mut newer).await.unwrap().contains("connected"));
    while next(&mut kept).await.is_some() {}
    let mut kept = newer;
    assert_eq!(next(&mut kept).await.as_deref(), Some(": alive\n\n"));
    let mut elsewhere = server.get("/api/device/connect").bearer(&other).open().await;
    let gone = json!({"state": "decommissioned"});
    server.call("PATCH", &format!("/devices/{id}")).by(&owner).json(gone).await.expect(200);
    while let Some(more) = next(&mut kept).await {
        assert_eq!(more, ": alive\n\n");
    }
    server.get(&path).bearer(&one).await.expect(401);
    // The other one's ends with the server.
    assert!(next(&mut elsewhere).await.unwrap().contains("connected"));
    assert!(next(&mut elsewhere).await.unwrap().contains("alive"));
    server.fleet.end_connections();
    while next(&mut elsewhere).await.is_some() {}
}

/// The next event of a connection; none once it has ended.
async fn next(kept: &mut Response) -> Option<String> {
    let frame = kept.body_mut().frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}

/// Rows: P2
#[test]
fn private_keys_are_encrypted_in_the_database() {
    runtime().block_on(async {
        let server = TestServer::start(Engine::Sqlite).await;
        server.owner().await;
        let key = server.sql("SELECT sealed_key FROM signing_keys").await;
        let sealed: String = sqlx::Row::get(&key[0], "sealed_key");
        let bytes = base64::engine::general_purpose::STANDARD.decode(sealed).unwrap();
        // The OID of Ed25519, which every PKCS #8 of such a key holds.
        assert!(!bytes.windows(3).any(|window| window == [0x2b, 0x65, 0x70]));
        assert!(server.fleet.rotate_signing_key(false).await.is_ok());
    });
}
