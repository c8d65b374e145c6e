//! What takes the password once more, and from where.

use serde_json::json;
use server::{Config, config::auth::IpBinding};
use wire::Role;

use crate::{
    accounts::mailing,
    harness::{PASSWORD, Person, TestServer, text},
    session_life::renew,
};

crate::on_both_databases! {
    what_is_sensitive_needs_a_recent_password_from_the_same_network,
    adding_people_needs_a_recent_password,
    granting_roles_needs_a_recent_password,
    credentials_change_from_the_network_of_the_sign_in_alone,
    ending_other_sessions_needs_a_recent_password,
}

/// Rows: K2
/// Rows in part: M4
async fn what_is_sensitive_needs_a_recent_password_from_the_same_network(server: TestServer) {
    let owner = server.owner().await;
    let make = |person: &Person, from: &str| {
        let new = json!({"name": "k", "scopes": ["devices:read"]});
        server.post("/api-keys").by(person).json(new).from(from).into_future()
    };
    make(&owner, "192.0.2.1").await.expect(201);
    make(&owner, "198.51.100.7").await.expect(403).problem("step-up-required");
    let step_up = |person: &Person, password: &str, from: &str| {
        let call = server.post("/auth/step-up").by(person).from(from);
        call.json(json!({"password": password})).into_future()
    };
    step_up(&owner, "wrong", "198.51.100.7").await.expect(401);
    make(&owner, "198.51.100.7").await.expect(403);
    step_up(&owner, PASSWORD, "198.51.100.7").await.expect(200);
    make(&owner, "198.51.100.7").await.expect(201);
    server.pass(890);
    let owner = renew(&server, &owner).await;
    server.pass(11);
    make(&owner, "198.51.100.7").await.expect(403).problem("step-up-required");
    let stepped = step_up(&owner, PASSWORD, "198.51.100.7").await;
    let claims = crate::tokens::part(&stepped.expect(200).text("access_token"), 1);
    assert_eq!(claims["auth_time"], claims["iat"]);
    make(&owner, "198.51.100.7").await.expect(201);
    assert!(stepped.json().get("refresh_token").is_none(), "the refresh token stays as it is");

    let bound = |config: &mut Config| config.auth.session.ip_binding = IpBinding::Always;
    let server = TestServer::start_with(server.engine, bound).await;
    let owner = server.owner().await;
    server.get("/devices").by(&owner).await.expect(200);
    server.get("/devices").by(&owner).from("198.51.100.7").await.expect(401);
}

/// Rows in part: M4
async fn adding_people_needs_a_recent_password(server: TestServer) {
    let owner = server.owner().await;
    let scopes = ["users:write", "users:invite", "devices:read", "teams:read", "telemetry:read"];
    let key = json!({"name": "k", "scopes": scopes});
    let key = server.post("/api-keys").by(&owner).json(key).await;
    let person = json!({"email": "ann@x.org", "name": "Ann", "role": "viewer",
                        "password": PASSWORD});
    let invitation = json!({"email": "bob@x.org", "role": "viewer"});
    for (path, body) in [("/users", &person), ("/invitations", &invitation)] {
        let elsewhere = server.post(path).by(&owner).from("198.51.100.7").json(body.clone()).await;
        elsewhere.expect(403).problem("step-up-required");
    }
    server.pass(890);
    let owner = renew(&server, &owner).await;
    server.pass(10);
    for (path, body) in [("/users", person), ("/invitations", invitation)] {
        let late = server.post(path).by(&owner).json(body.clone()).await;
        late.expect(403).problem("step-up-required");
        let key = key.expect(201).text("key");
        server.post(path).bearer(&key).from("198.51.100.7").json(body).await.expect(201);
    }
}

/// Rows in part: M4
async fn granting_roles_needs_a_recent_password(server: TestServer) {
    let owner = server.owner().await;
    let viewer = server.person(&owner, Role::Viewer).await;
    let team = server.post("/teams").by(&owner).json(json!({"name": "t"})).await.text("id");
    let role = json!({"name": "r", "permissions": []});
    server.post("/roles").by(&owner).json(role).await.expect(201);
    let grants = [
        ("PATCH", "/roles/r".to_owned(), json!({"permissions": ["devices:read"]})),
        ("PATCH", format!("/users/{}", viewer.id), json!({"role": "operator"})),
        ("PUT", format!("/teams/{team}/members/{}", viewer.id), json!({"role": "operator"})),
    ];
    let mut scopes = server.get("/auth/user").by(&owner).await.json()["permissions"].clone();
    scopes.as_array_mut().unwrap().retain(|scope| scope != "api_keys:write");
    let key = json!({"name": "k", "scopes": scopes});
    let key = server.post("/api-keys").by(&owner).json(key).await.expect(201).text("key");
    server.pass(890);
    let owner = renew(&server, &owner).await;
    server.pass(10);
    for (method, path, body) in &grants {
        let call = server.call(method, path).by(&owner).json(body.clone()).await;
        call.expect(403).problem("step-up-required");
        server.call(method, path).bearer(&key).json(body.clone()).await.expect(200);
    }
    let password = json!({"password": PASSWORD});
    server.post("/auth/step-up").by(&owner).json(password).await.expect(200);
    for (method, path, body) in &grants {
        server.call(method, path).by(&owner).json(body.clone()).await.expect(200);
    }
}

/// Rows in part: M4
async fn credentials_change_from_the_network_of_the_sign_in_alone(server: TestServer) {
    let server = mailing(&server, |_| {}).await;
    let owner = server.owner().await;
    let other = "Quiet lantern, 9 harbors";
    let changes = [
        ("/auth/email", json!({"current_password": PASSWORD, "email": "new@example.com"})),
        ("/auth/password", json!({"current_password": PASSWORD, "new_password": other})),
    ];
    for (path, body) in &changes {
        let elsewhere = server.post(path).by(&owner).from("198.51.100.7").json(body.clone()).await;
        elsewhere.expect(403).problem("step-up-required");
    }
    let step_up = server.post("/auth/step-up").by(&owner).from("198.51.100.7");
    step_up.json(json!({"password": PASSWORD})).await.expect(200);
    for (path, body) in &changes {
        let call = server.post(path).by(&owner).from("198.51.100.7").json(body.clone()).await;
        assert!([202, 204].contains(&call.status.as_u16()), "{call:?}");
    }
}

async fn ending_other_sessions_needs_a_recent_password(server: TestServer) {
    let owner = server.owner().await;
    server.pass(890);
    let owner = renew(&server, &owner).await;
    let other = server.login(&owner.email).await;
    server.pass(10);
    let listed = server.get("/auth/sessions").by(&owner).await.json();
    let path = |number: usize| format!("/auth/sessions/{}", text(&listed["items"][number], "id"));
    for path in ["/auth/sessions", &path(1)] {
        server.delete(path).by(&owner).await.expect(403).problem("step-up-required");
    }
    let elsewhere = server.delete("/auth/sessions").by(&other).from("198.51.100.7").await;
    elsewhere.expect(403).problem("step-up-required");
    server.delete(&path(0)).by(&owner).await.expect(204);
    server.get("/auth/user").by(&owner).await.expect(401);
    server.delete("/auth/sessions").by(&other).await.expect(204);
}
