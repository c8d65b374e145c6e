//! Signing in, refreshing, signing out.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use server::{
    Config,
    config::{HashKind, Period},
};
use wire::Role;

use crate::{
    accounts,
    harness::{PASSWORD, Person, TestServer, text},
};

crate::on_both_databases! {
    an_access_token_ends_after_fifteen_minutes,
    an_access_token_lasts_as_long_as_is_configured,
    fifty_parallel_refreshes_get_the_same_token,
    a_refresh_token_used_again_ends_the_session,
    a_session_ends_after_seven_days_however_often_it_is_refreshed,
    logging_out_ends_both_tokens_at_once,
    browsers_get_a_cookie_and_other_sites_cannot_use_it,
    who_cannot_sign_in_hears_the_same_after_the_same_work,
    a_hash_from_before_takes_the_work_of_one_of_today_and_so_does_none,
    the_sixth_attempt_within_a_quarter_of_an_hour_waits,
    good_logins_are_not_counted,
    of_fifty_parallel_guesses_five_are_looked_at,
    a_password_is_taken_from_the_body_of_one_request_over_tls_or_loopback,
    a_deleted_user_is_signed_out,
    old_sessions_are_swept,
    tokens_of_the_wrong_kind_prove_nothing,
    nothing_that_holds_a_token_is_cached,
    a_person_deleted_while_they_refresh_leaves_no_token,
}

async fn refresh(server: &TestServer, token: &str) -> crate::harness::Reply {
    server.post("/auth/refresh").json(json!({"refresh_token": token})).await
}

/// Rows: M1, T1
/// Rows in part: F11, S13, S14
async fn an_access_token_ends_after_fifteen_minutes(server: TestServer) {
    let owner = server.owner().await;
    server.pass(899);
    server.get("/auth/user").by(&owner).await.expect(200);
    server.pass(1);
    let reply = server.get("/auth/user").by(&owner).await;
    assert_eq!(
        reply.expect(401).problem("token-expired").header("www-authenticate"),
        Some("Bearer error=\"invalid_token\"")
    );
    let renewed = refresh(&server, &owner.refresh).await;
    assert_eq!(renewed.expect(200).json()["expires_in"], 900);
    server.get("/auth/user").bearer(&renewed.text("access_token")).await.expect(200);
}

/// Rows: P3a, T1
async fn an_access_token_lasts_as_long_as_is_configured(server: TestServer) {
    for (ttl, seconds) in [("90s", 90), ("5m", 300), ("1h", 3600)] {
        let other = |config: &mut Config| {
            config.auth.jwt.access_ttl = ttl.parse().unwrap();
            config.auth.session.timeout = Period::seconds(86_400);
        };
        let server = TestServer::start_with(server.engine, other).await;
        let owner = server.owner().await;
        let login = json!({"email": owner.email, "password": PASSWORD});
        let reply = server.post("/auth/login").json(login).await;
        assert_eq!(reply.expect(200).json()["expires_in"], seconds);
        let access = reply.text("access_token");
        let claims = crate::tokens::part(&access, 1);
        let number = |name: &str| claims[name].as_i64().unwrap();
        assert_eq!(number("exp") - number("iat"), seconds);
        server.pass(seconds - 1);
        server.get("/auth/user").bearer(&access).await.expect(200);
        server.pass(1);
        server.get("/auth/user").bearer(&access).await.expect(401).problem("token-expired");
    }
}

/// Rows: B7
async fn fifty_parallel_refreshes_get_the_same_token(server: TestServer) {
    let owner = server.owner().await;
    let replies = join_all((0..50).map(|_| refresh(&server, &owner.refresh))).await;
    let texts: BTreeSet<_> = replies.iter().map(|reply| reply.text("refresh_token")).collect();
    assert_eq!(texts.len(), 1);
    for reply in &replies {
        server.get("/auth/user").bearer(&reply.text("access_token")).await.expect(200);
    }
}

/// Rows: E3, M2
/// Rows in part: S15
async fn a_refresh_token_used_again_ends_the_session(server: TestServer) {
    let owner = server.owner().await;
    let second = refresh(&server, &owner.refresh).await;
    server.pass(10);
    let repeated = refresh(&server, &owner.refresh).await;
    assert_eq!(repeated.expect(200).json()["expires_in"], 900);
    assert_eq!(repeated.text("refresh_token"), second.text("refresh_token"));
    server.pass(1);
    refresh(&server, &owner.refresh).await.expect(401).problem("wrong-refresh-token");
    server.get("/auth/user").bearer(&second.text("access_token")).await.expect(401);
    refresh(&server, &second.text("refresh_token")).await.expect(401);

    let again = server.login(&owner.email).await;
    let second = refresh(&server, &again.refresh).await.text("refresh_token");
    let third = refresh(&server, &second).await;
    refresh(&server, &again.refresh).await.expect(401);
    server.get("/auth/user").bearer(&third.text("access_token")).await.expect(401);
}

/// Rows: T2
async fn a_session_ends_after_seven_days_however_often_it_is_refreshed(server: TestServer) {
    let patient = |config: &mut Config| config.auth.session.timeout = Period::seconds(2 * 86_400);
    let server = TestServer::start_with(server.engine, patient).await;
    let mut person = server.owner().await;
    for _ in 0..7 {
        server.pass(86_400 - 1);
        person = Person::from(&refresh(&server, &person.refresh).await.expect(200).json());
        server.get("/auth/user").by(&person).await.expect(200);
    }
    server.pass(7);
    refresh(&server, &person.refresh).await.expect(401).problem("session-expired");
    server.get("/auth/user").by(&person).await.expect(401).problem("session-expired");
}

/// Rows: E2
/// Rows in part: S16
async fn logging_out_ends_both_tokens_at_once(server: TestServer) {
    let owner = server.owner().await;
    let reply = server.post("/auth/logout").by(&owner).await;
    let cookie = reply.expect(204).header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-fleetd_rt=;") && cookie.contains("Max-Age=0"), "{cookie}");
    server.post("/auth/logout").by(&owner).await.expect(401);
    refresh(&server, &owner.refresh).await.expect(401);
}

/// Rows: B6, E3, F7
/// Rows in part: T5
async fn browsers_get_a_cookie_and_other_sites_cannot_use_it(server: TestServer) {
    let owner = server.owner().await;
    let is_whole = |body: &Value, fields: &[&str]| {
        let names: BTreeSet<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from_iter(fields.iter().copied()));
        assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(900)));
    };
    let login = json!({"email": owner.email, "password": PASSWORD, "client": "cli"});
    let reply = server.post("/auth/login").json(login).await;
    let fields = ["access_token", "expires_in", "refresh_token", "token_type", "user"];
    is_whole(&reply.expect(200).json(), &fields);
    assert_eq!(reply.header("set-cookie"), None);
    let login = json!({"email": owner.email, "password": PASSWORD});
    let reply = server.post("/auth/login").json(login).await;
    let fields = ["access_token", "expires_in", "token_type", "user"];
    is_whole(&reply.expect(200).json(), &fields);
    let cookie = reply.header("set-cookie").unwrap();
    for attribute in ["HttpOnly", "Secure", "SameSite=Strict", "Path=/", "Max-Age=604800"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap();
    let call = || {
        let call = server.post("/auth/refresh").json(json!({}));
        call.header("cookie", cookie).header("host", "fleet.example.com")
    };
    call().header("origin", "https://evil.test").await.expect(403).problem("cross-site");
    call().header("origin", "null").await.expect(403);
    call().header("sec-fetch-site", "cross-site").await.expect(403);
    let renewed = call().header("origin", "https://fleet.example.com").await;
    is_whole(&renewed.expect(200).json(), &fields);
    let cookie = renewed.header("set-cookie").unwrap().split(';').next().unwrap();
    assert!(cookie.starts_with("__Host-fleetd_rt="));
    let over_http2 = server.post("https://fleet.example.com/auth/refresh").json(json!({}));
    let over_http2 = over_http2.header("origin", "https://fleet.example.com");
    over_http2.header("cookie", cookie).await.expect(200);
    server.post("/auth/refresh").json(json!({})).await.expect(401);
}

/// Rows: E1
async fn a_hash_from_before_takes_the_work_of_one_of_today_and_so_does_none(server: TestServer) {
    let cheap = |config: &mut Config, cost| {
        config.auth.password.hash = HashKind::Bcrypt;
        config.auth.password.bcrypt_cost = cost;
    };
    let server = TestServer::start_with(server.engine, |config| cheap(config, 4)).await;
    let owner = server.owner().await;
    let (before, after) = ("$2b$04", "$2b$05");
    let dearer = server.second_node_with(|config| cheap(config, 5)).await;
    let work = async |email: &str, password: &str, status: u16| {
        drop(dearer.fleet.password_work());
        let login = json!({"email": email, "password": password});
        dearer.post("/auth/login").json(login).await.expect(status);
        dearer.fleet.password_work()
    };
    let refused = |email| work(email, "wrong password", 401);
    dearer.add_user(&owner, "new@example.com", Role::Viewer).await;
    assert_eq!(refused(&owner.email).await, [before, after]);
    assert_eq!(refused("new@example.com").await, [before, after]);
    assert_eq!(refused("unknown@example.com").await, [before, after]);
    // The last one who had an old one.
    work(&owner.email, PASSWORD, 200).await;
    dearer.fleet.sweep().await.unwrap();
    assert_eq!(refused(&owner.email).await, [after]);
    assert_eq!(refused("unknown@example.com").await, [after]);
    // Another process makes them otherwise, and nobody has looked since.
    server.add_user(&owner, "there@example.com", Role::Viewer).await;
    assert_eq!(refused("there@example.com").await, [before, after]);
    assert_eq!(refused("unknown@example.com").await, [before, after]);
}

/// Rows: E1
async fn who_cannot_sign_in_hears_the_same_after_the_same_work(server: TestServer) {
    for work in ["$argon2id$v=19$m=19456,t=2,p=1", "$2b$04"] {
        let hashing: fn(&mut Config) = if work.starts_with("$2b") {
            |config| {
                config.auth.password.hash = HashKind::Bcrypt;
                config.auth.password.bcrypt_cost = 4;
            }
        } else {
            |_| {}
        };
        let server = accounts::mailing(&server, hashing).await;
        let owner = server.owner().await;
        let attempt = async |email: &str, password: &str, status: u16| {
            drop(server.fleet.password_work());
            let login = json!({"email": email, "password": password});
            let reply = server.post("/auth/login").json(login).await;
            reply.expect(status);
            assert_eq!(server.fleet.password_work(), [work], "{email:?}");
            reply
        };
        attempt(&owner.email, PASSWORD, 200).await;
        let refused = async |email: &str, password: &str| {
            let reply = attempt(email, password, 401).await;
            let mut problem = reply.problem("wrong-login").json();
            problem.as_object_mut().unwrap().remove("instance");
            let mut names: Vec<_> = reply.headers.keys().map(ToString::to_string).collect();
            names.sort();
            (problem, names)
        };
        let wrong = refused(&owner.email, "wrong password").await;
        assert_eq!(refused("unknown@example.com", "wrong password").await, wrong);
        assert_eq!(refused("nul\u{0}@example.com", "wrong password").await, wrong);
        assert_eq!(refused("", "").await, wrong);
        let disabled = server.person(&owner, Role::Viewer).await;
        let path = format!("/users/{}", disabled.id);
        server.call("PATCH", &path).by(&owner).json(json!({"disabled": true})).await.expect(200);
        assert_eq!(refused(&disabled.email, PASSWORD).await, wrong);
        let wish = json!({"email": "unverified@x.org", "name": "U", "password": PASSWORD,
                          "organization": "O"});
        server.post("/auth/register").json(wish).await.expect(202);
        assert_eq!(refused("unverified@x.org", PASSWORD).await, wrong);
    }
}

async fn the_sixth_attempt_within_a_quarter_of_an_hour_waits(server: TestServer) {
    let owner = server.owner().await;
    let attempt = async |password: &str, from: &str| {
        let login = json!({"email": owner.email.to_uppercase(), "password": password});
        server.post("/auth/login").json(login).from(from).await
    };
    for _ in 0..5 {
        attempt("wrong", "198.51.100.7").await.expect(401);
        server.pass(10);
    }
    let reply = attempt(PASSWORD, "198.51.100.7").await;
    assert_eq!(reply.expect(429).problem("too-many-attempts").header("retry-after"), Some("850"));
    attempt(PASSWORD, "198.51.100.8").await.expect(200);
    server.pass(849);
    attempt(PASSWORD, "198.51.100.7").await.expect(429);
    server.pass(1);
    attempt(PASSWORD, "198.51.100.7").await.expect(200);
}

async fn good_logins_are_not_counted(server: TestServer) {
    let owner = server.owner().await;
    for _ in 0..7 {
        server.login(&owner.email).await;
    }
}

/// Rows: L1
/// Rows in part: B8
async fn of_fifty_parallel_guesses_five_are_looked_at(server: TestServer) {
    let owner = server.owner().await;
    let login = json!({"email": owner.email, "password": "wrong password"});
    let replies =
        join_all((0..50).map(|_| server.post("/auth/login").json(login.clone()).into_future()))
            .await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 401).count(), 5);
    assert_eq!(replies.iter().filter(|reply| reply.status == 429).count(), 45);
}

async fn a_deleted_user_is_signed_out(server: TestServer) {
    let owner = server.owner().await;
    let viewer = server.person(&owner, Role::Viewer).await;
    server.delete(&format!("/users/{}", viewer.id)).by(&owner).await.expect(204);
    server.get("/auth/user").by(&viewer).await.expect(401);
    refresh(&server, &viewer.refresh).await.expect(401);
    let login = json!({"email": viewer.email, "password": PASSWORD});
    server.post("/auth/login").json(login).await.expect(401);
    let again =
        json!({"email": viewer.email, "name": "Back", "role": "viewer", "password": PASSWORD});
    server.post("/users").by(&owner).json(again).await.expect(201);
}

async fn old_sessions_are_swept(server: TestServer) {
    let owner = server.owner().await;
    server.pass(8 * 86_400);
    server.fleet.sweep().await.unwrap();
    refresh(&server, &owner.refresh).await.expect(401);
    let fresh = server.login(&owner.email).await;
    server.fleet.sweep().await.unwrap();
    server.get("/auth/user").by(&fresh).await.expect(200);
}

async fn tokens_of_the_wrong_kind_prove_nothing(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let node_key = server.enroll(&secret, crate::harness::machine("a")).await;
    let node_key = text(&node_key.json(), "orbit_node_key");
    server.get("/devices").bearer(&secret).await.expect(403).problem("wrong-key");
    for token in [owner.refresh.as_str(), &node_key, "", " ", "a b", &"x".repeat(9000)] {
        server.get("/devices").bearer(token).await.expect(401);
    }
    server.get(&format!("/devices?access_token={}", owner.access)).await.expect(401);
    server.get("/devices").header("authorization", "Basic YTpi").await.expect(401);
    let as_node_key = json!({"orbit_node_key": owner.access});
    let reply = server.post("/api/fleet/orbit/config").json(as_node_key).await;
    assert!([401, 422].contains(&reply.status.as_u16()), "{reply:?}");
    refresh(&server, &owner.access).await.expect(401);
}

async fn nothing_that_holds_a_token_is_cached(server: TestServer) {
    let owner = server.owner().await;
    let login = json!({"email": owner.email, "password": PASSWORD});
    let new = json!({"name": "n"});
    for call in [
        server.post("/auth/login").json(login),
        server.post("/auth/refresh").json(json!({"refresh_token": owner.refresh})),
        server.post("/enroll-secrets").by(&owner).json(new),
    ] {
        assert_eq!(call.await.header("cache-control"), Some("no-store"));
    }
}

async fn a_person_deleted_while_they_refresh_leaves_no_token(server: TestServer) {
    let owner = server.owner().await;
    for _ in 0..15 {
        let viewer = server.person(&owner, Role::Viewer).await;
        let path = format!("/users/{}", viewer.id);
        let (refreshed, deleted) = tokio::join!(
            refresh(&server, &viewer.refresh),
            server.delete(&path).by(&owner).into_future()
        );
        deleted.expect(204);
        assert!([200, 401].contains(&refreshed.status.as_u16()), "{refreshed:?}");
        let strays = "SELECT hash FROM credentials WHERE kind = 'refresh_token'
                      AND subject_id NOT IN (SELECT id FROM sessions)";
        assert_eq!(server.sql(strays).await.len(), 0, "a token that leads to no session");
    }
}

/// Rows in part: F2
async fn a_password_is_taken_from_the_body_of_one_request_over_tls_or_loopback(server: TestServer) {
    let server = TestServer::start_with(server.engine, |config| {
        config.tls = None;
        config.server.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    })
    .await;
    let code = server.fleet.new_setup_code().await.unwrap().unwrap();
    let first = json!({"setup_code": code.0, "email": "o@x.org", "name": "O", "client": "cli",
                       "password": PASSWORD, "organization": "A"});
    let owner = server.post("/auth/register").from("127.0.0.1").json(first).await;
    let owner = Person::from(&owner.expect(201).json());
    let sign_ins = async || {
        let call = server.get("/audit?event=session.login").from("127.0.0.1").by(&owner);
        call.await.expect(200).json()["items"].as_array().unwrap().len()
    };
    let login = json!({"email": owner.email, "password": PASSWORD});
    let in_the_open = server.post("/auth/login").from("192.0.2.1").json(login.clone());
    in_the_open.await.expect(403).problem("https-required");
    let query = "/auth/login?email=o%40x.org&password=Copper%20walrus%2C%207%20ledgers";
    server.get(query).from("127.0.0.1").await.expect(405);
    server.post(query).from("127.0.0.1").await.expect(415);
    server.post(query).from("127.0.0.1").json(json!({})).await.expect(422);
    let form = server.post("/auth/login").from("127.0.0.1");
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    let fields = query.split_once('?').unwrap().1;
    form.bytes(fields).await.expect(415).problem("unsupported-media-type");
    assert_eq!(sign_ins().await, 0, "none of these was an attempt");
    server.post("/auth/login").from("127.0.0.1").json(login.clone()).await.expect(200);
    server.post("/auth/login").from("10.1.2.3").json(login).await.expect(200);
    assert_eq!(sign_ins().await, 2, "one for each request");
    let trail = server.get("/audit/export").from("127.0.0.1").by(&owner).await;
    let trail = String::from_utf8(trail.expect(200).body.clone()).unwrap();
    for part in ["Copper walrus", "Copper%20walrus", "password="] {
        assert!(!trail.contains(part), "{part}");
    }
}
