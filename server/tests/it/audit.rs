//! The audit trail: what is in it, that it cannot be changed unseen, and that every kind of event
//! is emitted by something.

use std::collections::BTreeSet;

use serde_json::json;
use server::fleet::audit::EventKind;
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;
use wire::{
    Role,
    audit::{AuditEvent, AuditHead, BrokenTrail, TrailCheck},
};

use crate::{
    accounts, addresses,
    harness::{PASSWORD, Person, Reply, TestServer, machine, text},
    tokens,
};

crate::on_both_databases! {
    every_kind_of_event_is_emitted,
    a_login_leaves_a_row_whether_it_succeeds_or_not,
    tokens_are_recorded_by_the_hash_of_their_ids,
    a_refusal_names_permission_route_and_principal,
    use_of_a_key_is_one_row_a_minute,
    a_changed_event_is_found,
    an_event_that_was_taken_away_is_found,
    organizations_have_trails_of_their_own,
    a_trail_is_for_admins,
    pages_and_export_show_the_same,
    old_events_go_and_the_rest_still_verifies,
    a_deleted_organizations_trail_can_be_read_until_it_is_old,
    events_at_once_form_one_chain,
    what_a_stranger_writes_stays_on_its_line,
    what_fails_leaves_no_event,
}

async fn trail(server: &TestServer, by: &Person) -> Vec<AuditEvent> {
    let reply = server.get("/audit/export").by(by).await;
    assert_eq!(reply.expect(200).header("content-type"), Some("application/x-ndjson"));
    String::from_utf8(reply.body)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn check(events: &[AuditEvent]) -> Result<AuditHead, BrokenTrail> {
    let mut check = TrailCheck::default();
    events.iter().try_for_each(|event| check.take(event))?;
    Ok(check.end())
}

fn last<'a>(events: &'a [AuditEvent], name: &str) -> &'a AuditEvent {
    events.iter().rev().find(|event| event.event == name).unwrap_or_else(|| panic!("no {name}"))
}

async fn login(server: &TestServer, email: &str, password: &str) -> Reply {
    let login = json!({"email": email, "password": password, "client": "cli"});
    server.post("/auth/login").header("user-agent", "curl/8").json(login).await
}

/// Does everything once that leaves an event.
///
/// Rows: A6
async fn every_kind_of_event_is_emitted(server: TestServer) {
    let server = accounts::mailing(&server, |_| {}).await;
    let owner = server.owner().await;
    // Before there is another organization, where whoever is added is invited.
    server.add_user(&owner, "first@example.com", Role::Viewer).await;
    emit_sessions(&server, &owner).await;
    emit_people(&server, &owner).await;
    addresses::store(&server, "first@example.com", "cafe\u{301}@example.com").await;
    server.second_node().await;
    emit_accounts(&server, &owner).await;
    emit_keys(&server, &owner).await;
    emit_devices(&server, &owner).await;
    let events = trail(&server, &server.login("owner@example.com").await).await;
    check(&events).unwrap();
    let owner = server.login("owner@example.com").await;
    server.delete("/organization").by(&owner).await.expect(204);
    let rows = server.sql("SELECT event FROM audit_events").await;
    let seen: BTreeSet<String> = rows.iter().map(|row| row.get("event")).collect();
    let known: BTreeSet<String> =
        EventKind::ALL.iter().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(seen, known);
}

async fn emit_sessions(server: &TestServer, owner: &Person) {
    let other = server.login(&owner.email).await;
    server.post("/auth/logout").by(&other).await.expect(204);
    let refresh = json!({"refresh_token": owner.refresh});
    server.post("/auth/refresh").json(refresh.clone()).await.expect(200);
    server.pass(60);
    server.post("/auth/refresh").json(refresh).await.expect(401);
    let other = server.login(&owner.email).await;
    let codes = server.post("/auth/device/code").json(json!({"client": "c"})).await;
    let approval = json!({"user_code": codes.text("user_code"), "approve": true});
    server.post("/auth/device/approval").by(&other).json(approval).await.expect(204);
    let password = json!({"password": PASSWORD});
    server.post("/auth/step-up").by(&other).json(password).await.expect(200);
    let token = json!({"what": "token", "jti": "01a00000-0000-7000-8000-000000000000"});
    server.post("/auth/revocations").by(&other).json(token).await.expect(204);
    let refresh = json!({"refresh_token": other.refresh});
    let refresh = server.post("/auth/refresh").header("user-agent", "curl/8").json(refresh).await;
    let refresh = json!({"refresh_token": refresh.text("refresh_token")});
    let elsewhere = server.post("/auth/refresh").from("198.51.100.9").json(refresh);
    elsewhere.header("user-agent", "Firefox/140.0").await.expect(401);
}

async fn emit_people(server: &TestServer, owner: &Person) {
    let owner = &server.login(&owner.email).await;
    let viewer = server.person(owner, Role::Viewer).await;
    server.get("/users").by(&viewer).await.expect(403);
    let path = format!("/users/{}", viewer.id);
    let role = json!({"name": "r", "permissions": []});
    server.post("/roles").by(owner).json(role).await.expect(201);
    let granted = json!({"add_permissions": ["devices:read"]});
    server.call("PATCH", "/roles/r").by(owner).json(granted).await.expect(200);
    server.delete("/roles/r").by(owner).await.expect(204);
    for change in [json!({"role": "admin"}), json!({"disabled": true}), json!({"disabled": false})]
    {
        server.call("PATCH", &path).by(owner).json(change).await.expect(200);
    }
    let team = server.post("/teams").by(owner).json(json!({"name": "T"})).await.text("id");
    let member = format!("/teams/{team}/members/{}", viewer.id);
    server.call("PUT", &member).by(owner).json(json!({"role": "viewer"})).await.expect(200);
    server.delete(&path).by(owner).await.expect(204);
    let rename = json!({"name": "Acme Ltd"});
    server.call("PATCH", "/organization").by(owner).json(rename).await.expect(200);
    let anywhere = json!({"allowed_networks": [], "key_max_ttl_seconds": 86_400});
    let for_ever = json!({"key_max_ttl_seconds": 0});
    for change in [anywhere, for_ever] {
        server.call("PATCH", "/organization").by(owner).json(change).await.expect(200);
    }
    let path = format!("/teams/{team}");
    server.call("PATCH", &path).by(owner).json(json!({"name": "U"})).await.expect(200);
    server.delete(&path).by(owner).await.expect(204);
}

async fn emit_accounts(server: &TestServer, owner: &Person) {
    let owner = &server.login(&owner.email).await;
    let sent = async || accounts::token(accounts::mails(server).await.last().unwrap());
    let verify = async |token: String| {
        server.post("/auth/verify-email").json(json!({"token": token})).await.expect(204);
    };
    let wish = json!({"email": "ann@x.org", "name": "Ann", "password": PASSWORD,
                      "organization": "Ours"});
    server.post("/auth/register").json(wish).await.expect(202);
    verify(sent().await).await;
    let forgot = json!({"email": "ann@x.org"});
    server.post("/auth/forgot-password").json(forgot).await.expect(202);
    let other = "Another walrus, 8 ledgers";
    let reset = json!({"token": sent().await, "new_password": other});
    server.post("/auth/reset-password").json(reset).await.expect(204);
    let person = server.person(owner, Role::Viewer).await;
    let email = json!({"email": "moved@x.org", "current_password": PASSWORD});
    server.post("/auth/email").by(&person).json(email).await.expect(202);
    verify(sent().await).await;
    let change = json!({"current_password": PASSWORD, "new_password": other});
    server.post("/auth/password").by(&person).json(change).await.expect(204);
    accounts::mails(server).await;
    let invite = |email: &str| json!({"email": email, "role": "viewer"});
    server.post("/invitations").by(owner).json(invite("bob@x.org")).await.expect(201);
    let accept = json!({"token": sent().await, "name": "Bob", "password": PASSWORD});
    server.post("/auth/accept-invitation").json(accept).await.expect(204);
    let ann = server.post("/auth/login").json(json!({
        "email": "ann@x.org", "password": other, "client": "cli"
    }));
    let ann = Person::from(&ann.await.expect(200).json());
    server.post("/invitations").by(owner).json(invite("ann@x.org")).await.expect(201);
    let join = json!({"token": sent().await, "password": other});
    server.post("/auth/accept-invitation").json(join).await.expect(204);
    let acme = server.get("/organization").by(owner).await.text("id");
    server.post("/auth/org/switch").by(&ann).json(json!({"org_id": acme})).await.expect(200);
    let second = server.post("/invitations").by(owner).json(invite("eve@x.org")).await.text("id");
    server.delete(&format!("/invitations/{second}")).by(owner).await.expect(204);
}

async fn emit_keys(server: &TestServer, owner: &Person) {
    let owner = &server.login(&owner.email).await;
    let new = json!({"name": "k", "scopes": ["devices:read"]});
    let made = server.post("/api-keys").by(owner).json(new).await.json();
    let path = format!("/api-keys/{}", text(&made, "id"));
    let key = text(&made, "key");
    server.get("/devices").bearer(&key).await.expect(200);
    server.pass(60);
    server.get("/devices").bearer(&key).from("198.51.100.4").await.expect(200);
    server.post(&format!("{path}/rotate")).by(owner).json(json!({})).await.expect(200);
    server.delete(&path).by(owner).await.expect(204);
}

async fn emit_devices(server: &TestServer, owner: &Person) {
    let owner = &server.login(&owner.email).await;
    let (id, secret) = server.secret(owner, json!({})).await;
    server.enroll(&secret, machine("m")).await.expect(200);
    let device = text(&server.devices(owner).await[0], "id");
    let path = format!("/devices/{device}");
    let change = async |change: serde_json::Value| {
        server.call("PATCH", &path).by(owner).json(change).await.expect(200);
    };
    change(json!({"update_channels": {"orbit": "edge"}})).await;
    change(json!({"debug_for_seconds": 60})).await;
    server.post(&format!("{path}/refetch")).by(owner).await.expect(204);
    change(json!({"tags": ["kiosk"], "state": "decommissioned"})).await;
    change(json!({"state": "accepted"})).await;
    let key = server.enroll(&secret, machine("m")).await.text("orbit_node_key");
    let crash = json!({"component": "osqueryd", "since": "2026-03-01T12:00:00Z", "detail": "1"});
    let report = json!({"orbit_node_key": key, "components": [], "crash_loops": [crash]});
    server.post("/api/fleet/orbit/updates").json(report).await.expect(200);
    let poll = async |key: &str, instance: &str| {
        let poll = json!({"orbit_node_key": key, "instance": instance, "takes_node_key": true});
        server.post("/api/fleet/orbit/config").json(poll).await.expect(200).json()
    };
    for instance in ["one", "two", "one"] {
        poll(&key, instance).await;
    }
    server.sql("UPDATE devices SET orbit_key_at = 0").await;
    poll(&text(&poll(&key, "one").await, "orbit_node_key"), "one").await;
    change(json!({"state": "decommissioned"})).await;
    change(json!({"state": "accepted"})).await;
    server.delete(&path).by(owner).await.expect(204);
    let (_, careful) = server.secret(owner, json!({"needs_approval": true})).await;
    server.enroll(&careful, machine("n")).await.expect(401);
    let device = text(&server.devices(owner).await[0], "id");
    let reject = json!({"state": "rejected"});
    server.call("PATCH", &format!("/devices/{device}")).by(owner).json(reject).await.expect(200);
    server.delete(&format!("/enroll-secrets/{id}")).by(owner).await.expect(204);
}

/// Rows: A1
async fn a_login_leaves_a_row_whether_it_succeeds_or_not(server: TestServer) {
    let owner = server.owner().await;
    login(&server, "OWNER@example.com", PASSWORD).await.expect(200);
    login(&server, "owner@example.com", "wrong").await.expect(401);
    let unknown = login(&server, "stranger@example.com", "wrong").await;
    let events = trail(&server, &owner).await;
    let logins: Vec<_> = events.iter().filter(|event| event.event == "session.login").collect();
    let told: Vec<_> =
        logins.iter().map(|event| (event.actor.as_str(), event.outcome.as_str())).collect();
    assert_eq!(
        told,
        [
            ("owner@example.com", "ok"),
            ("owner@example.com", "refused"),
            ("stranger@example.com", "refused")
        ]
    );
    assert_eq!(logins[2].request_id, unknown.header("x-request-id").unwrap());
    assert_eq!(logins[2].address, "192.0.2.1");
    assert_eq!(logins[2].user_agent, "curl/8");
    assert_eq!(logins[2].route, "POST /auth/login");
    assert_eq!(logins[2].at.to_string(), "2026-03-01T12:00:00Z");
}

/// Rows: A2
async fn tokens_are_recorded_by_the_hash_of_their_ids(server: TestServer) {
    let owner = server.owner().await;
    let first = server.login(&owner.email).await;
    let refresh = json!({"refresh_token": first.refresh});
    let reply = server.post("/auth/refresh").from("198.51.100.4").json(refresh).await;
    let second = Person::from(&reply.expect(200).json());
    let claims = [&first, &second].map(|person| tokens::part(&person.access, 1));
    assert_eq!(claims[0]["sid"], claims[1]["sid"], "a session is a family");
    let events = trail(&server, &owner).await;
    let issued: Vec<_> =
        events.iter().filter(|it| it.event == "session.tokens_issued").rev().take(2).collect();
    for (event, (claims, address)) in
        issued.iter().rev().zip(claims.iter().zip(["192.0.2.1", "198.51.100.4"]))
    {
        let jti = hex::encode(Sha256::digest(text(claims, "jti")));
        assert_eq!(event.changes, json!({"jti_sha256": jti}));
        assert_eq!(event.subject, format!("session {}", text(claims, "sid")));
        assert_eq!(
            (event.actor.clone(), event.address.as_str()),
            (format!("user {}", owner.id), address)
        );
    }
    let told: Vec<_> = issued.iter().map(|event| event.route.as_str()).collect();
    assert_eq!(told, ["POST /auth/refresh", "POST /auth/login"]);
    let written = serde_json::to_string(&events).unwrap();
    for secret in [&first.access, &first.refresh, &second.refresh, &text(&claims[0], "jti")] {
        assert!(!written.contains(secret), "{secret}");
    }
    server.post("/auth/refresh").json(json!({"refresh_token": "wrong"})).await.expect(401);
    assert_eq!(trail(&server, &owner).await.len(), events.len(), "where nothing is issued");
}

/// Rows: A5
async fn a_refusal_names_permission_route_and_principal(server: TestServer) {
    let owner = server.owner().await;
    let viewer = server.person(&owner, Role::Viewer).await;
    let id = "01a00000-0000-7000-8000-000000000000";
    server.delete(&format!("/devices/{id}")).by(&viewer).await.expect(403);
    let events = trail(&server, &owner).await;
    let refusal = last(&events, "access.refused");
    assert_eq!(refusal.outcome, "this needs the permission `devices:delete`");
    assert_eq!(refusal.subject, format!("DELETE /devices/{id}"));
    assert_eq!(refusal.actor, format!("user {}", viewer.id));
    let key = json!({"name": "k", "scopes": ["devices:read"]});
    let key = server.post("/api-keys").by(&owner).json(key).await.json();
    server.get("/teams").bearer(&text(&key, "key")).await.expect(403);
    let events = trail(&server, &owner).await;
    let actor = format!("api key {} of user {}", text(&key, "id"), owner.id);
    assert_eq!(last(&events, "access.refused").actor, actor);
}

/// Rows: A4
async fn use_of_a_key_is_one_row_a_minute(server: TestServer) {
    let owner = server.owner().await;
    let key = json!({"name": "k", "scopes": ["devices:read"]});
    let key = server.post("/api-keys").by(&owner).json(key).await.text("key");
    let call = async |from: &str| {
        server.get("/devices").bearer(&key).from(from).await.expect(200);
    };
    for _ in 0..5 {
        call("192.0.2.1").await;
    }
    server.pass(60);
    call("192.0.2.1").await;
    server.pass(60);
    call("198.51.100.4").await;
    let events = trail(&server, &owner).await;
    let uses: Vec<_> = events
        .iter()
        .filter(|event| event.event.starts_with("api_key.used"))
        .map(|event| (event.event.as_str(), &event.changes))
        .collect();
    assert_eq!(
        uses,
        [
            ("api_key.used", &json!({"calls": 1, "first": true})),
            ("api_key.used", &json!({"calls": 5, "first": false})),
            ("api_key.used_from_new_address", &json!({"calls": 1, "first": false})),
        ]
    );
}

/// Rows: A7
async fn a_changed_event_is_found(server: TestServer) {
    let owner = server.owner().await;
    for name in ["A", "B", "C"] {
        server.post("/teams").by(&owner).json(json!({"name": name})).await.expect(201);
    }
    let before = trail(&server, &owner).await;
    check(&before).unwrap();
    server.sql("UPDATE audit_events SET actor = 'user nobody' WHERE event = 'team.created'").await;
    let first = before.iter().find(|event| event.event == "team.created").unwrap();
    let after = trail(&server, &owner).await;
    assert_eq!(check(&after), Err(BrokenTrail::Changed(first.seq)));
}

/// Rows: A7
async fn an_event_that_was_taken_away_is_found(server: TestServer) {
    let owner = server.owner().await;
    for name in ["A", "B", "C"] {
        server.post("/teams").by(&owner).json(json!({"name": name})).await.expect(201);
    }
    let head: AuditHead =
        serde_json::from_value(server.get("/audit/head").by(&owner).await.json()).unwrap();
    let whole = trail(&server, &owner).await;
    assert_eq!(check(&whole).unwrap(), head);
    let newest = head.seq;
    server.sql(&format!("DELETE FROM audit_events WHERE seq = {newest}")).await;
    let mut taken = TrailCheck::default();
    for event in trail(&server, &owner).await {
        taken.take(&event).unwrap();
    }
    let cut = BrokenTrail::CutOff { last: newest - 1, head: newest };
    assert_eq!(taken.reaches(&head), Err(cut));
    server.sql(&format!("DELETE FROM audit_events WHERE seq = {}", newest - 2)).await;
    let gap = BrokenTrail::Gap { before: newest - 3, seq: newest - 1 };
    assert_eq!(check(&trail(&server, &owner).await), Err(gap));
}

async fn organizations_have_trails_of_their_own(server: TestServer) {
    let ours = server.owner().await;
    let theirs = server.other_organization().await;
    server.post("/teams").by(&theirs).json(json!({"name": "Theirs"})).await.expect(201);
    login(&server, "other@example.org", "wrong").await.expect(401);
    login(&server, "nobody@example.org", "wrong").await.expect(401);
    let [ours, theirs] = [trail(&server, &ours).await, trail(&server, &theirs).await];
    check(&ours).unwrap();
    check(&theirs).unwrap();
    assert!(!ours.iter().any(|event| event.event == "team.created"));
    assert_eq!(last(&theirs, "session.login").actor, "other@example.org");
    assert!(
        [&ours, &theirs]
            .iter()
            .all(|events| { !events.iter().any(|event| event.actor == "nobody@example.org") })
    );
    let rows = server.sql("SELECT seq FROM audit_events WHERE actor = 'nobody@example.org'").await;
    assert_eq!(rows.len(), 1, "in the server's own trail");
}

async fn a_trail_is_for_admins(server: TestServer) {
    let owner = server.owner().await;
    for (role, status) in [(Role::Viewer, 403), (Role::Operator, 403), (Role::Admin, 200)] {
        let person = server.person(&owner, role).await;
        for path in ["/audit", "/audit/head", "/audit/export"] {
            server.get(path).by(&person).await.expect(status);
        }
    }
}

async fn pages_and_export_show_the_same(server: TestServer) {
    let owner = server.owner().await;
    for n in 0..7 {
        server.post("/teams").by(&owner).json(json!({"name": format!("{n}")})).await.expect(201);
    }
    let whole = trail(&server, &owner).await;
    let mut paged: Vec<AuditEvent> = Vec::new();
    let mut after = String::from("0");
    loop {
        let page = server.get(&format!("/audit?limit=3&after={after}")).by(&owner).await.json();
        paged.extend(serde_json::from_value::<Vec<AuditEvent>>(page["items"].clone()).unwrap());
        let Some(next) = page["next"].as_str() else { break };
        next.clone_into(&mut after);
    }
    assert_eq!(paged, whole);
    let teams = server.get("/audit?event=team.created").by(&owner).await.json();
    assert_eq!(teams["items"].as_array().unwrap().len(), 7);
    let rest = server.get(&format!("/audit/export?after={}", whole.len() - 1)).by(&owner).await;
    assert_eq!(rest.body.iter().filter(|byte| **byte == b'\n').count(), 1);
    for bad in ["limit=0", "limit=501", "after=-1", "after=x"] {
        server.get(&format!("/audit?{bad}")).by(&owner).await.expect(400);
    }
}

async fn old_events_go_and_the_rest_still_verifies(server: TestServer) {
    let server = TestServer::start_with(server.engine, |config| {
        config.auth.password.max_age = server::config::Lifetime(None);
    })
    .await;
    let owner = server.owner().await;
    server.post("/teams").by(&owner).json(json!({"name": "old"})).await.expect(201);
    server.pass(399 * 86_400);
    let owner = server.login(&owner.email).await;
    server.post("/teams").by(&owner).json(json!({"name": "new"})).await.expect(201);
    server.pass(2 * 86_400);
    server.fleet.sweep().await.unwrap();
    let owner = server.login(&owner.email).await;
    let events = trail(&server, &owner).await;
    assert!(events[0].seq > 1, "{events:?}");
    assert_eq!(last(&events, "team.created").changes, json!({"name": "new"}));
    assert_eq!(check(&events).unwrap().seq, events.last().unwrap().seq);
}

/// Rows: A7
async fn a_deleted_organizations_trail_can_be_read_until_it_is_old(server: TestServer) {
    server.owner().await;
    let theirs = server.other_organization().await;
    let id = server.get("/organization").by(&theirs).await.text("id");
    login(&server, "nobody@example.org", "wrong").await.expect(401);
    server.delete("/organization").by(&theirs).await.expect(204);
    let trails = server.fleet.trails().await.unwrap();
    let of_theirs = trails.iter().find(|trail| trail.org_id.to_string() == id).unwrap();
    assert_eq!((trails.len(), of_theirs.name.as_str()), (3, "Other"));
    assert!(of_theirs.ended_at.is_some() && trails[0].ended_at.is_none());
    let left = server.fleet.trail_events(Some(of_theirs.org_id), (0, 500)).await.unwrap();
    check(&left).unwrap();
    assert_eq!(left.last().unwrap().event, "organization.deleted");
    let own = server.fleet.trail_events(None, (0, 500)).await.unwrap();
    assert_eq!(own[0].actor, "nobody@example.org");
    let rows = async |table: &str| server.sql(&format!("SELECT 1 FROM {table}")).await.len();
    server.pass(399 * 86_400);
    server.fleet.sweep().await.unwrap();
    assert_eq!((server.fleet.trails().await.unwrap().len(), rows("audit_heads").await), (3, 3));
    server.pass(2 * 86_400);
    server.fleet.sweep().await.unwrap();
    assert_eq!(rows("audit_events").await, 0);
    assert_eq!((rows("ended_organizations").await, rows("audit_heads").await), (0, 2));
    assert_eq!(server.fleet.trails().await.unwrap().len(), 2);
}

async fn events_at_once_form_one_chain(server: TestServer) {
    let owner = server.owner().await;
    let calls = (0..20).map(|n| {
        let name = json!({"name": format!("team {n}")});
        server.post("/teams").by(&owner).json(name).into_future()
    });
    for reply in futures_util::future::join_all(calls).await {
        reply.expect(201);
    }
    check(&trail(&server, &owner).await).unwrap();
}

/// Rows: A8
async fn what_a_stranger_writes_stays_on_its_line(server: TestServer) {
    let owner = server.owner().await;
    login(&server, "a\r\nADMIN logged in\u{1b}[2J@x.org", "wrong").await.expect(401);
    let events = trail(&server, &owner).await;
    assert_eq!(
        last(&events, "session.login").actor,
        "a\\u{d}\\u{a}admin logged in\\u{1b}[2j@x.org"
    );
}

async fn what_fails_leaves_no_event(server: TestServer) {
    let owner = server.owner().await;
    server.post("/teams").by(&owner).json(json!({"name": "Lab"})).await.expect(201);
    let before = trail(&server, &owner).await;
    server.post("/teams").by(&owner).json(json!({"name": "Lab"})).await.expect(409);
    assert_eq!(trail(&server, &owner).await, before);
}
