//! The life of a session as its person sees it: states, several at once, moving, stepping up.

use futures_util::future::join_all;
use serde_json::{Value, json};
use server::{Config, config::auth::OnLimit};
use wire::Role;

use crate::harness::{PASSWORD, Person, Reply, TestServer, text};

crate::on_both_databases! {
    a_session_idles_warns_and_runs_out,
    a_visitor_has_no_session_and_a_planted_cookie_is_none,
    who_asks_is_told_who_they_are_and_nothing_secret,
    an_action_wakes_a_session_and_a_poll_does_not,
    a_session_that_ran_out_stays_so,
    the_sixth_session_ends_the_oldest,
    where_it_is_configured_the_sixth_is_refused,
    of_twenty_sign_ins_at_once_five_sessions_remain,
    sessions_are_listed_and_ended,
    who_may_see_people_sees_their_sessions,
    an_organization_lets_nobody_in_from_other_networks,
    a_switch_prolongs_nothing_and_keeps_the_cookie_rules,
    nobody_signs_out_whoever_may_do_more,
    a_token_is_revoked_however_its_id_is_typed,
    another_program_is_noted_and_in_another_network_ends_the_session,
    a_sign_in_from_another_site_is_refused,
    a_sign_in_that_is_not_finished_grants_nothing,
    a_sign_in_that_fails_leaves_rows_in_the_trail_and_no_session,
}

async fn state(server: &TestServer, person: &Person) -> Value {
    let call = server.get("/auth/user").by(person).header("x-fleetd-activity", "background");
    call.await.expect(200).json()["session"].clone()
}

pub(crate) async fn renew(server: &TestServer, person: &Person) -> Person {
    let refresh = json!({"refresh_token": person.refresh});
    Person::from(&server.post("/auth/refresh").json(refresh).await.expect(200).json())
}

/// Rows: S5, S7, S11, P6
/// Rows in part: E4, S3, S9, S12
async fn a_session_idles_warns_and_runs_out(server: TestServer) {
    let owner = server.owner().await;
    let begun = state(&server, &owner).await;
    assert_eq!(begun["state"], "authenticated");
    assert_eq!(begun["idle_at"], "2026-03-01T12:05:00Z");
    assert_eq!(begun["warn_at"], "2026-03-01T12:25:00Z");
    assert_eq!(begun["expires_at"], "2026-03-01T12:30:00Z");
    server.get("/devices").by(&owner).await.expect(200);
    assert_eq!(state(&server, &owner).await["state"], "active");
    server.pass(300);
    assert_eq!(state(&server, &owner).await["state"], "idle");
    server.pass(599);
    let owner = renew(&server, &owner).await;
    server.pass(601);
    let owner = renew(&server, &owner).await;
    assert_eq!(state(&server, &owner).await["state"], "warning");
    server.pass(300);
    server.get("/auth/user").by(&owner).await.expect(401).problem("session-expired");
    let refresh = json!({"refresh_token": owner.refresh});
    server.post("/auth/refresh").json(refresh).await.expect(401).problem("session-expired");
    let again = server.login(&owner.email).await;
    assert_eq!(state(&server, &again).await["state"], "authenticated");
}

/// Rows: S1, S3
async fn a_visitor_has_no_session_and_a_planted_cookie_is_none(server: TestServer) {
    let owner = server.owner().await;
    let viewer = server.person(&owner, Role::Viewer).await;
    let sessions = async || server.sql("SELECT id FROM sessions").await.len();
    let before = sessions().await;
    for path in ["/device", "/devices", "/auth/user", "/auth/sessions", "/health/live"] {
        assert_eq!(server.get(path).await.header("set-cookie"), None, "{path}");
    }
    assert_eq!(sessions().await, before);
    let login = async |person: &Person, cookie: Option<&str>| {
        let call = server.post("/auth/login");
        let call = cookie.into_iter().fold(call, |call, cookie| call.header("cookie", cookie));
        let reply = call.json(json!({"email": person.email, "password": PASSWORD})).await;
        let given = reply.expect(200).header("set-cookie").unwrap().split(';').next().unwrap();
        let claims = crate::tokens::part(&reply.text("access_token"), 1);
        (given.to_owned(), text(&claims, "sid"))
    };
    // Somebody who wants the owner's session plants the cookie of one of theirs, or any.
    let (theirs, their_session) = login(&viewer, None).await;
    let made_up = "__Host-fleetd_rt=of-nobody".to_owned();
    let mut seen = std::collections::BTreeSet::from([theirs.clone(), their_session]);
    for planted in [&theirs, &made_up] {
        let (given, session) = login(&owner, Some(planted)).await;
        assert_ne!(given, made_up);
        assert!(seen.insert(given) && seen.insert(session));
    }
    assert_eq!(sessions().await, before + 3);
    let refresh = async |cookie: &str| {
        server.post("/auth/refresh").header("cookie", cookie).json(json!({})).await
    };
    refresh(&made_up).await.expect(401).problem("wrong-refresh-token");
    let renewed = refresh(&theirs).await.expect(200).json();
    assert_eq!(renewed["user"]["id"], viewer.id.as_str());
}

/// Rows: E4
async fn who_asks_is_told_who_they_are_and_nothing_secret(server: TestServer) {
    let owner = server.owner().await;
    let told = async || server.get("/auth/user").by(&owner).await.expect(200).json();
    let user = told().await;
    let names: Vec<_> = user.as_object().unwrap().keys().cloned().collect();
    let known = [
        "email",
        "email_verified",
        "id",
        "mfa",
        "name",
        "org_id",
        "organization",
        "permissions",
        "role",
        "session",
    ];
    let sorted = std::collections::BTreeSet::from_iter(names);
    assert_eq!(sorted.iter().map(String::as_str).collect::<Vec<_>>(), known);
    assert_eq!((&user["id"], &user["role"]), (&json!(owner.id), &json!("owner")));
    let times = std::collections::BTreeSet::from_iter(user["session"].as_object().unwrap().keys());
    assert_eq!(Vec::from_iter(times), ["expires_at", "idle_at", "state", "warn_at"]);
    let permissions = Role::Owner.permissions().map(|permission| json!(permission));
    assert_eq!(user["permissions"], Value::from_iter(permissions));
    let text = user.to_string();
    assert!(!text.contains(&owner.access) && !text.contains(&owner.refresh), "{text}");
    assert!(!text.contains('$') && !text.contains(PASSWORD), "{text}");
    // Whoever showed a second factor, whichever it was: the session and its tokens say so.
    assert_eq!(user["mfa"], false);
    server.sql("UPDATE sessions SET methods = 'pwd otp mfa'").await;
    server.pass(2);
    assert_eq!(told().await["mfa"], true);
    let renewed = renew(&server, &owner).await;
    assert_eq!(crate::tokens::part(&renewed.access, 1)["amr"], json!(["pwd", "otp", "mfa"]));
}

/// Rows: S6, S8
/// Rows in part: S10
async fn an_action_wakes_a_session_and_a_poll_does_not(server: TestServer) {
    let owner = server.owner().await;
    for (seconds, before) in [(10, "active"), (400, "idle"), (880, "idle"), (1500, "warning")] {
        server
            .get("/devices")
            .by(&renew(&server, &server.login(&owner.email).await).await)
            .await
            .expect(200);
        let mut person = server.login(&owner.email).await;
        server.get("/devices").by(&person).await.expect(200);
        let begun = state(&server, &person).await;
        server.pass(seconds / 2);
        person = renew(&server, &person).await;
        server
            .get("/devices")
            .by(&person)
            .header("x-fleetd-activity", "background")
            .await
            .expect(200);
        server.pass(seconds - seconds / 2);
        person = renew(&server, &person).await;
        let seen = state(&server, &person).await;
        assert_eq!((&seen["state"], &seen["expires_at"]), (&json!(before), &begun["expires_at"]));
        server.get("/devices").by(&person).await.expect(200);
        let woken = state(&server, &person).await;
        assert_eq!(woken["state"], "active");
        assert!(text(&woken, "idle_at") > text(&begun, "idle_at"));
    }
}

async fn a_session_that_ran_out_stays_so(server: TestServer) {
    let owner = server.owner().await;
    let other = server.second_node().await;
    server.pass(890);
    let owner = renew(&server, &owner).await;
    other.get("/auth/user").by(&owner).header("x-fleetd-activity", "background").await.expect(200);
    server.pass(1800 - 890);
    for node in [&server, &other] {
        node.get("/devices").by(&owner).await.expect(401);
        node.get("/devices").by(&owner).await.expect(401);
    }
}

/// Rows: P7, S17
async fn the_sixth_session_ends_the_oldest(server: TestServer) {
    let mut people = vec![server.owner().await];
    for _ in 0..5 {
        server.pass(1);
        people.push(server.login(&people[0].email).await);
    }
    for (number, person) in people.iter().enumerate() {
        let expected = if number == 0 { 401 } else { 200 };
        server.get("/auth/user").by(person).await.expect(expected);
    }
}

/// Rows: P7
async fn where_it_is_configured_the_sixth_is_refused(server: TestServer) {
    let reject = |config: &mut Config| {
        config.auth.session.on_limit = OnLimit::Reject;
        config.auth.session.max_concurrent = 2;
    };
    let server = TestServer::start_with(server.engine, reject).await;
    let owner = server.owner().await;
    server.login(&owner.email).await;
    let login = json!({"email": owner.email, "password": PASSWORD});
    server.post("/auth/login").json(login).await.expect(403).problem("too-many-sessions");
    server.post("/auth/logout").by(&owner).await.expect(204);
    server.login(&owner.email).await;
    server.pass(1800);
    server.login(&owner.email).await;
}

/// Rows: P7, S17
async fn of_twenty_sign_ins_at_once_five_sessions_remain(server: TestServer) {
    let many = |config: &mut Config| config.limits.login_attempts = 20;
    let server = TestServer::start_with(server.engine, many).await;
    let owner = server.owner().await;
    let login = json!({"email": owner.email, "password": PASSWORD, "client": "cli"});
    let calls = (0..20).map(|_| server.post("/auth/login").json(login.clone()).into_future());
    let people: Vec<_> = join_all(calls)
        .await
        .iter()
        .map(|reply: &Reply| Person::from(&reply.expect(200).json()))
        .collect();
    let mut alive = 0;
    for person in &people {
        alive += usize::from(server.get("/auth/user").by(person).await.status == 200);
    }
    assert_eq!(alive, 5);
}

/// Rows: E13, F5
async fn sessions_are_listed_and_ended(server: TestServer) {
    let owner = server.owner().await;
    let login = json!({"email": owner.email, "password": PASSWORD, "client": "cli"});
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let call = server.post("/auth/login").json(login).from("198.51.100.7");
    let other = Person::from(&call.header("user-agent", agent).await.expect(200).json());
    let listed = server.get("/auth/sessions").by(&owner).await.expect(200).json();
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!((&items[0]["current"], &items[1]["current"]), (&json!(true), &json!(false)));
    assert_eq!(
        (&items[1]["device"], &items[1]["address"]),
        (&json!("Firefox on Linux"), &json!("198.51.100.7"))
    );
    let path = format!("/auth/sessions/{}", text(&items[1], "id"));
    let stranger = server.other_organization().await;
    server.delete(&path).by(&stranger).await.expect(404);
    server.get("/auth/user").by(&other).await.expect(200);
    server.delete(&path).by(&owner).await.expect(204);
    server.get("/auth/user").by(&other).await.expect(401);
    server.delete(&path).by(&owner).await.expect(404);
    let third = server.login(&owner.email).await;
    server.delete("/auth/sessions").by(&owner).await.expect(204);
    for person in [&owner, &third] {
        server.get("/auth/user").by(person).await.expect(401);
    }
    server.get("/auth/user").by(&stranger).await.expect(200);
}

/// Rows: E13
async fn who_may_see_people_sees_their_sessions(server: TestServer) {
    let owner = server.owner().await;
    let admin = server.person(&owner, Role::Admin).await;
    let viewer = server.person(&owner, Role::Viewer).await;
    let stranger = server.other_organization().await;
    let path = format!("/users/{}/sessions", viewer.id);
    let key = json!({"name": "k", "scopes": ["users:read"]});
    let key = server.post("/api-keys").by(&owner).json(key).await.text("key");
    let own = server.get("/auth/sessions").by(&viewer).await.json();
    for token in [&admin.access, &key] {
        let mut seen = server.get(&path).bearer(token).await.expect(200).json();
        assert_eq!(seen["items"][0]["current"], false);
        seen["items"][0]["current"] = true.into();
        assert_eq!(seen, own);
    }
    server.get(&path).by(&viewer).await.expect(403).problem("forbidden");
    server.get(&path).by(&stranger).await.expect(404);
    let admins = server.get(&format!("/users/{}/sessions", admin.id)).by(&admin).await.json();
    assert_eq!(admins["items"][0]["current"], true);
    server.pass(1800);
    let owner = server.login(&owner.email).await;
    let none = server.get(&path).by(&owner).await.expect(200).json();
    assert_eq!(none["items"], json!([]), "it ran out");
}

/// Rows: T9
async fn an_organization_lets_nobody_in_from_other_networks(server: TestServer) {
    let owner = server.owner().await;
    let admin = server.person(&owner, Role::Admin).await;
    let key = json!({"name": "k", "scopes": ["devices:read"]});
    let key = server.post("/api-keys").by(&owner).json(key).await.text("key");
    let allow = async |by: &Person, networks: Value, from: &str| {
        let change = json!({"allowed_networks": networks});
        server.call("PATCH", "/organization").by(by).from(from).json(change).await
    };
    let inside = "203.0.113.9";
    allow(&admin, json!(["203.0.113.0/24"]), inside).await.expect(403).problem("forbidden");
    allow(&owner, json!(["203.0.113.0/33"]), inside).await.expect(422);
    allow(&owner, json!(["198.51.100.0/24"]), inside).await.expect(422).problem("invalid-fields");
    let set = allow(&owner, json!(["203.0.113.0/24"]), inside).await.expect(200).json();
    assert_eq!(set["allowed_networks"], json!(["203.0.113.0/24"]));
    for token in [&admin.access, &key] {
        server.get("/devices").bearer(token).from(inside).await.expect(200);
        let outside = server.get("/devices").bearer(token).from("198.51.100.7");
        let forged = outside.header("x-forwarded-for", inside).await;
        forged.expect(403).problem("ip-not-allowed");
        assert!(forged.header("ratelimit").is_some(), "the request counted before");
    }
    let all = json!({"what": "user", "id": admin.id});
    let revoke = server.post("/auth/revocations").by(&owner).from("198.51.100.7");
    revoke.json(all).await.expect(403).problem("ip-not-allowed");
    server.get("/auth/user").by(&admin).from("198.51.100.7").await.expect(200);
    server.post("/auth/logout").by(&admin).from("198.51.100.7").await.expect(204);
    let other = server.other_organization().await;
    server.get("/devices").by(&other).from("198.51.100.7").await.expect(200);
    allow(&owner, json!([]), inside).await.expect(200);
    server.get("/devices").bearer(&key).from("198.51.100.7").await.expect(200);
}

/// Rows: T2
/// Rows in part: T5, M4
async fn a_switch_prolongs_nothing_and_keeps_the_cookie_rules(server: TestServer) {
    let short = |config: &mut Config| {
        config.auth.jwt.refresh_ttl = "20m".parse().unwrap();
    };
    let server = TestServer::start_with(server.engine, short).await;
    let owner = server.owner().await;
    let acme = server.get("/organization").by(&owner).await.text("id");
    let other = server.other_organization().await;
    let home = server.get("/organization").by(&other).await.text("id");
    let invitation = json!({"email": other.email, "role": "viewer"});
    // What one belongs to longest comes first.
    server.pass(1);
    let token = server.post("/invitations").by(&owner).json(invitation.clone()).await.text("token");
    let accept = json!({"token": token, "password": PASSWORD});
    server.post("/auth/accept-invitation").json(accept).await.expect(204);
    let login = json!({"email": other.email, "password": PASSWORD});
    let browser = server.post("/auth/login").json(login).await.expect(200).text("access_token");
    server.pass(840);
    let switch = server.post("/auth/org/switch").bearer(&browser).from("198.51.100.7");
    let switched = switch.json(json!({"org_id": acme})).await;
    assert!(switched.expect(200).json().get("refresh_token").is_none());
    let cookie = switched.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-fleetd_rt=") && cookie.contains("Max-Age=360"), "{cookie}");
    let there = switched.text("access_token");
    let switch = server.post("/auth/org/switch").bearer(&there).from("198.51.100.7");
    let back = switch.json(json!({"org_id": home})).await.expect(200).text("access_token");
    let call = server.post("/invitations").bearer(&back).from("198.51.100.7");
    call.json(invitation).await.expect(403).problem("step-up-required");
    server.pass(360);
    server.get("/auth/user").bearer(&back).await.expect(401).problem("session-expired");
}

/// Rows: R7, R19
/// Rows in part: B2
async fn nobody_signs_out_whoever_may_do_more(server: TestServer) {
    let owner = server.owner().await;
    let admin = server.person(&owner, Role::Admin).await;
    let viewer = server.person(&owner, Role::Viewer).await;
    let session = async |person: &Person| {
        let sessions = server.get("/auth/sessions").by(person).await.json();
        text(&sessions["items"][0], "id")
    };
    let revoke =
        async |by: &str, what: Value| server.post("/auth/revocations").bearer(by).json(what).await;
    let key = json!({"name": "k", "scopes": ["users:read", "users:write"]});
    let key = server.post("/api-keys").by(&owner).json(key).await.text("key");
    for by in [&admin.access, &key] {
        let user = json!({"what": "user", "id": owner.id});
        revoke(by, user).await.expect(403).problem("forbidden");
        let one = json!({"what": "session", "id": session(&owner).await});
        revoke(by, one).await.expect(403).problem("forbidden");
        let all = json!({"what": "organization"});
        revoke(by, all).await.expect(403).problem("forbidden");
    }
    server.get("/auth/user").by(&owner).await.expect(200);
    let one = json!({"what": "session", "id": session(&viewer).await});
    revoke(&admin.access, one).await.expect(204);
    server.get("/auth/user").by(&viewer).await.expect(401);
    revoke(&owner.access, json!({"what": "organization"})).await.expect(204);
    server.get("/auth/user").by(&owner).await.expect(401);
}

/// Rows in part: B2
async fn a_token_is_revoked_however_its_id_is_typed(server: TestServer) {
    let owner = server.owner().await;
    let jti = text(&crate::tokens::part(&owner.access, 1), "jti");
    let typed = jti.to_uppercase().replace('-', "");
    let what = json!({"what": "token", "jti": typed});
    server.post("/auth/revocations").by(&owner).json(what).await.expect(204);
    server.get("/auth/user").by(&owner).await.expect(401);
}

/// Rows: M5
/// Rows in part: M3
async fn another_program_is_noted_and_in_another_network_ends_the_session(server: TestServer) {
    let refresh = async |person: &Person, agent: &str, from: &str| {
        let call = server.post("/auth/refresh").json(json!({"refresh_token": person.refresh}));
        call.header("user-agent", agent).from(from).await
    };
    let owner = server.owner().await;
    let moved = refresh(&owner, "", "198.51.100.7").await;
    let moved = Person::from(&moved.expect(200).json());
    let changed = refresh(&moved, "curl/8.1", "192.0.2.99").await;
    changed.expect(401).problem("wrong-refresh-token");
    server.get("/auth/user").by(&moved).await.expect(401);
    let owner = server.login(&owner.email).await;
    let changed = refresh(&owner, "curl/8.1", "192.0.2.1").await;
    let changed = Person::from(&changed.expect(200).json());
    let listed = server.get("/auth/sessions").by(&changed).await.json();
    assert_eq!(listed["items"][0]["device"], "curl");
}

/// Rows: B6
async fn a_sign_in_from_another_site_is_refused(server: TestServer) {
    let owner = server.owner().await;
    let login = json!({"email": owner.email, "password": PASSWORD});
    let call = || server.post("/auth/login").header("host", "fleet.example.com");
    let other = call().header("origin", "https://evil.test").json(login.clone()).await;
    other.expect(403).problem("cross-site");
    call().header("sec-fetch-site", "same-site").json(login.clone()).await.expect(403);
    call().header("origin", "https://fleet.example.com").json(login).await.expect(200);
    let form = format!("email={}&password={PASSWORD}", owner.email);
    for path in ["/auth/login", "/auth/refresh"] {
        let call = server.post(path).header("content-type", "application/x-www-form-urlencoded");
        call.bytes(form.clone()).await.expect(415);
    }
    server.post("/auth/logout").header("cookie", "__Host-fleetd_rt=x").await.expect(401);
}

/// Rows in part: S2
async fn a_sign_in_that_is_not_finished_grants_nothing(server: TestServer) {
    let owner = server.owner().await;
    server.pass(90 * 86_400);
    server.fleet.sweep().await.unwrap();
    let sessions = async || server.sql("SELECT id FROM sessions").await.len();
    assert_eq!(sessions().await, 0);
    let asked = server.post("/auth/device/code").json(json!({"client": "c"})).await;
    let login = json!({"email": owner.email, "password": PASSWORD, "client": "cli"});
    let old = server.post("/auth/login").json(login).await;
    let change = text(&old.expect(403).problem("password-expired").json(), "change_token");
    for (attempt, lasting) in
        [(change.clone(), None), (asked.text("device_code"), Some("authorization_pending"))]
    {
        server.get("/auth/user").bearer(&attempt).await.expect(401);
        server.get("/devices").header("x-api-key", &attempt).await.expect(401);
        let refresh = json!({"refresh_token": attempt});
        server.post("/auth/refresh").json(refresh).await.expect(401);
        server.post("/auth/verify-email").json(json!({"token": attempt})).await.expect(400);
        let poll = server.post("/auth/device/token").json(json!({"device_code": attempt})).await;
        assert_eq!(poll.expect(400).text("error"), lasting.unwrap_or("invalid_grant"));
    }
    assert_eq!(sessions().await, 0, "there is an attempt and no session");
    let other = json!({"token": change, "new_password": "Another walrus, 8 ledgers"});
    server.post("/auth/reset-password").json(other).await.expect(204);
    assert_eq!(sessions().await, 0, "it ends where signing in begins");
}

/// Rows in part: S4
async fn a_sign_in_that_fails_leaves_rows_in_the_trail_and_no_session(server: TestServer) {
    let owner = server.owner().await;
    let sessions = async || server.sql("SELECT id FROM sessions").await.len();
    let before = sessions().await;
    let login = |password: &str| {
        let login = json!({"email": owner.email, "password": password});
        server.post("/auth/login").from("198.51.100.7").json(login).into_future()
    };
    for _ in 0..5 {
        let reply = login("wrong").await;
        assert_eq!(reply.expect(401).problem("wrong-login").header("set-cookie"), None);
    }
    let ended = login(PASSWORD).await;
    ended.expect(429).problem("too-many-attempts");
    let events = server.get("/audit?event=session.login").by(&owner).await.json();
    let refused: Vec<_> = events["items"].as_array().unwrap().iter().collect();
    assert_eq!(refused.len(), 5);
    for event in refused {
        assert_eq!((&event["outcome"], &event["actor"]), (&json!("refused"), &json!(owner.email)));
        assert_eq!(event["address"], "198.51.100.7");
    }
    let issued = server.get("/audit?event=session.tokens_issued").by(&owner).await.json();
    assert_eq!(issued["items"].as_array().unwrap().len(), 1, "the owner's, at the beginning");
    assert_eq!(sessions().await, before);
}
