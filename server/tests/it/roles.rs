//! The table of routes: which proof each demands, and which role may use it. A route that OpenAPI
//! knows and the table does not fails the test, so none can be forgotten.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use server::http::{
    access::{
        self,
        Access::{self, Agent, Link, Monitoring, Public},
        ROUTES,
    },
    openapi,
};
use snapbox::{Data, assert_data_eq};
use wire::{Permission, Role};

use crate::{
    harness::{PASSWORD, Person, Reply, TestServer, machine, text},
    session_life::renew,
    tokens,
};

crate::on_both_databases! {
    every_route_asks_for_its_proof,
    each_role_may_do_exactly_what_the_table_says,
    an_owner_is_told_every_permission_by_name,
    billing_is_for_those_who_may_see_it,
    nobody_lifts_anybody_above_themselves,
    a_changed_role_is_recorded_before_and_after,
    whoever_is_disabled_is_out_at_once_and_may_come_back,
    an_organization_makes_roles_of_its_own,
    a_role_that_is_changed_counts_at_once_for_whoever_has_it,
    a_role_that_is_renamed_stays_with_whoever_has_it,
    nobody_changes_a_role_above_their_own,
    permissions_that_are_added_at_once_are_all_there,
    who_may_not_read_devices_is_told_which_permission_is_missing,
    a_role_in_a_team_reaches_what_the_team_has,
    an_organization_is_renamed_by_its_owner_alone,
}

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[test]
fn the_page_of_permissions_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/permissions.md");
    assert_data_eq!(access::markdown(), Data::read_from(path.as_ref(), None).raw());
}

/// Rows: R17
#[test]
fn the_table_lists_every_route_and_openapi_says_what_each_takes() {
    let document = serde_json::to_value(openapi::document()).unwrap();
    let mut documented = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(METHODS.contains(&method.as_str()), "{method} {path}");
            let proofs = operation.get("security").and_then(Value::as_array);
            let proofs = proofs.into_iter().flatten().flat_map(|it| it.as_object().unwrap().keys());
            let proofs: Vec<String> = proofs.cloned().collect();
            documented.insert((method.to_uppercase(), path.clone()), proofs);
        }
    }
    let listed: BTreeMap<_, _> = ROUTES
        .iter()
        .map(|(method, path, proof)| {
            let proofs: &[&str] = match proof {
                Public | Agent | Link => &[],
                Monitoring => &["metrics_token"],
                Access::Session | Access::InPerson(_) => &["access_token"],
                Access::SignedIn | Access::Needs(_) | Access::InTeam(_) => {
                    &["access_token", "api_key"]
                }
            };
            let proofs = proofs.iter().map(|it| (*it).to_owned()).collect();
            (((*method).to_owned(), (*path).to_owned()), proofs)
        })
        .collect();
    assert_eq!(documented, listed);
}

/// A body that the route would accept, as far as the proof is concerned.
pub(crate) fn body(path: &str) -> Value {
    match path {
        "/auth/login" => json!({"email": "nobody@x.org", "password": "nothing"}),
        "/auth/register" => json!({"setup_code": "x", "email": "x", "name": "x", "password": "x",
                                   "organization": "x"}),
        "/users" => {
            json!({"email": "new@x.org", "name": "N", "role": "viewer", "password": PASSWORD})
        }
        "/auth/step-up" => json!({"password": PASSWORD}),
        "/auth/device/code" => json!({"client": "a test"}),
        "/auth/device/token" => json!({"device_code": "unknown"}),
        "/auth/device/approval" => json!({"user_code": "unknown", "approve": true}),
        "/auth/revocations" => {
            json!({"what": "token", "jti": "01a00000-0000-7000-8000-000000000000"})
        }
        "/teams" => json!({"name": "New"}),
        "/invitations" => json!({"email": "new@x.org", "role": "viewer"}),
        "/auth/verify-email" => json!({"token": "x"}),
        "/auth/reset-password" => json!({"token": "x", "new_password": "x"}),
        "/auth/accept-invitation" => json!({"token": "x"}),
        "/auth/forgot-password" | "/auth/verify-email/resend" => json!({"email": "n@x.org"}),
        "/auth/org/switch" => json!({"org_id": "01a00000-0000-7000-8000-000000000000"}),
        "/auth/password" => json!({"current_password": "x", "new_password": "x"}),
        "/auth/email" => json!({"current_password": "x", "email": "n@x.org"}),
        "/devices/decommission" => json!({"tag": "kiosk"}),
        "/devices/update-channels" => json!({"tag": "kiosk", "update_channels": {"orbit": "edge"}}),
        _ if path.starts_with("/devices/{") => json!({"tags": ["kiosk"]}),
        "/roles" => json!({"name": "new", "permissions": ["devices:read"]}),
        _ if path.starts_with("/roles/") => json!({"remove_permissions": ["devices:read"]}),
        "/organization" => json!({"name": "Renamed"}),
        _ if path.contains("/members/") => json!({"role": "viewer"}),
        "/api-keys" => json!({"name": "new", "scopes": ["devices:read"]}),
        "/enroll-secrets" => json!({"name": "new"}),
        "/api/fleet/orbit/enroll" => json!({"enroll_secret": "wrong", "hardware_uuid": "u"}),
        "/api/fleet/orbit/device_token" => {
            json!({"orbit_node_key": "wrong", "device_auth_token": "t"})
        }
        "/api/fleet/orbit/updates" => json!({"orbit_node_key": "wrong", "components": []}),
        "/api/fleet/orbit/token" => json!({"orbit_node_key": "wrong"}),
        "/api/fleet/orbit/config" => json!({"orbit_node_key": "wrong"}),
        _ if path.ends_with("osquery/enroll") => {
            json!({"enroll_secret": "wrong", "host_identifier": "u"})
        }
        _ if path.ends_with("/log") => {
            json!({"node_key": "wrong", "log_type": "status", "data": []})
        }
        _ if path.starts_with("/api/") => json!({"node_key": "wrong"}),
        _ => json!({}),
    }
}

/// Rows in part: F1
async fn every_route_asks_for_its_proof(server: TestServer) {
    server.owner().await;
    for (method, path, proof) in ROUTES {
        let concrete = path.replace("{id}", "01a00000-0000-7000-8000-000000000000");
        let concrete = concrete.replace("{user_id}", "01a00000-0000-7000-8000-000000000000");
        let concrete = concrete.replace("{name}", "not-found").replace("{user_code}", "BBBB-BBBB");
        let reply = server.call(method, &concrete).json(body(path)).await;
        match proof {
            Public if path.starts_with("/auth/device") => {
                assert!([200, 400, 415].contains(&reply.status.as_u16()), "{path}: {reply:?}");
            }
            Public if path.starts_with("/auth") => {
                let expected = [202, 400, 401, 404];
                assert!(expected.contains(&reply.status.as_u16()), "{path}: {reply:?}");
            }
            Public if path.starts_with("/updates") => drop(reply.expect(404)),
            Public => drop(reply.expect(200)),
            Agent => {
                let error = reply.expect(401).json();
                assert!(error["error"].is_string(), "{path}");
                let osquery = path.contains("osquery");
                assert_eq!(
                    error.get("node_invalid"),
                    osquery.then_some(&Value::Bool(true)),
                    "{path}"
                );
            }
            Monitoring => drop(reply.expect(404).problem("not-found")),
            Link => {
                let kind = reply.expect(401).header("content-type");
                assert_eq!(kind, Some("text/html; charset=utf-8"), "{path}");
            }
            Access::SignedIn
            | Access::Session
            | Access::Needs(_)
            | Access::InTeam(_)
            | Access::InPerson(_) => {
                let reply = reply.expect(401).problem("unauthenticated");
                assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{path}");
            }
        }
    }
}

/// Something of each kind, made anew, because routes delete it.
pub(crate) async fn make(server: &TestServer, owner: &Person, path: &str, n: usize) -> String {
    match path.split('/').nth(1).unwrap() {
        "users" => {
            let email = format!("made{n}@x.org");
            server.add_user(owner, &email, Role::Viewer).await;
            let people = server.get("/users?limit=500").by(owner).await.json();
            let made = people["items"].as_array().unwrap().iter().find(|it| it["email"] == *email);
            text(made.unwrap(), "id")
        }
        "teams" => {
            let new = json!({"name": format!("made {n}")});
            server.post("/teams").by(owner).json(new).await.expect(201).text("id")
        }
        "api-keys" => {
            let new = json!({"name": "made", "scopes": ["devices:read"]});
            server.post("/api-keys").by(owner).json(new).await.expect(201).text("id")
        }
        "invitations" => {
            let new = json!({"email": format!("invited{n}@x.org"), "role": "viewer"});
            server.post("/invitations").by(owner).json(new).await.expect(201).text("id")
        }
        "roles" => {
            let new = json!({"name": format!("made-{n}"), "permissions": ["devices:read"]});
            server.post("/roles").by(owner).json(new).await.expect(201).text("name")
        }
        "enroll-secrets" => server.secret(owner, json!({})).await.0,
        "devices" => {
            let (_, secret) = server.secret(owner, json!({})).await;
            server.enroll(&secret, machine(&format!("made-{n}"))).await.expect(200);
            text(server.devices(owner).await.last().unwrap(), "id")
        }
        "auth" => {
            let sessions = server.get("/auth/sessions").by(owner).await.expect(200).json();
            text(&sessions["items"][0], "id")
        }
        other => panic!("what is in {other}?"),
    }
}

/// Rows: R1, R2, R3, R4, R6, R7, R8, R12, R13, R14, R17
async fn each_role_may_do_exactly_what_the_table_says(server: TestServer) {
    let owner = server.owner().await;
    let mut seen = BTreeSet::new();
    for (n, role) in Role::ALL.into_iter().enumerate() {
        let person = server.person(&owner, role).await;
        for (m, (method, path, access)) in ROUTES.iter().enumerate() {
            let Some(admitted) = access.admits(role) else { continue };
            if ends_something((*method, *path)) && admitted {
                continue;
            }
            let number = n * 100 + m;
            let reply = attempt(&server, (&owner, &person), (method, path), number).await;
            if admitted {
                assert!(reply.status.is_success(), "{role} {method} {path}: {reply:?}");
            } else {
                reply.expect(403).problem("forbidden");
            }
            seen.insert((role, *method, *path));
        }
        server.post("/auth/logout").by(&person).await.expect(204);
    }
    let people = ROUTES.iter().filter(|(_, _, access)| access.admits(Role::Owner).is_some());
    let once = ONCE.len() - 1;
    let expected = 4 * (people.count() - once) - 1;
    assert_eq!(seen.len(), expected, "no route was left out by mistake");
    server.delete("/organization").by(&owner).await.expect(204);
    server.get("/auth/user").by(&owner).await.expect(401);
}

/// Routes that are tried where they are at home: logging out and deleting the organization take away
/// what the others are tried with, a password is proved only once it is known, and a code only once
/// it was asked for.
const ONCE: [(&str, &str); 9] = [
    ("POST", "/auth/device/approval"),
    ("GET", "/auth/device/{user_code}"),
    ("DELETE", "/auth/sessions"),
    ("DELETE", "/auth/sessions/{id}"),
    ("POST", "/auth/org/switch"),
    ("POST", "/auth/logout"),
    ("POST", "/auth/password"),
    ("POST", "/auth/email"),
    ("DELETE", "/organization"),
];

/// Whether a route takes away what the others are tried with: those come last.
fn ends_something(route: (&str, &str)) -> bool {
    ONCE.contains(&route)
}

async fn attempt(
    server: &TestServer,
    (owner, person): (&Person, &Person),
    (method, path): (&str, &str),
    number: usize,
) -> Reply {
    let mut concrete = path.to_owned();
    for name in ["{id}", "{name}"] {
        if path.contains(name) {
            concrete = concrete.replace(name, &make(server, owner, path, number).await);
        }
    }
    if path.contains("{user_id}") {
        let user = make(server, owner, "/users", number).await;
        concrete = concrete.replace("{user_id}", &user);
        if method == "DELETE" {
            let role = json!({"role": "viewer"});
            server.call("PUT", &concrete).by(owner).json(role).await.expect(200);
        }
    }
    let mut body = body(path);
    if path == "/users" {
        body["email"] = format!("new{number}@x.org").into();
    }
    if path == "/teams" {
        body["name"] = format!("new {number}").into();
    }
    if path == "/roles" {
        body["name"] = format!("new-{number}").into();
    }
    server.call(method, &concrete).by(person).json(body).await
}

/// Rows: R1, R5
async fn an_owner_is_told_every_permission_by_name(server: TestServer) {
    let owner = server.owner().await;
    let me = server.get("/auth/user").by(&owner).await.json();
    let all: Vec<_> = Permission::ALL.iter().map(|permission| permission.as_str()).collect();
    assert_eq!(me["permissions"], json!(all));
}

/// Rows: R8
async fn billing_is_for_those_who_may_see_it(server: TestServer) {
    let owner = server.owner().await;
    server.person(&owner, Role::Viewer).await;
    let bill = server.get("/billing").by(&owner).await.expect(200).json();
    assert_eq!(bill, json!({"plan": "self-hosted", "devices": 0, "users": 2}));
    let operator = server.person(&owner, Role::Operator).await;
    server.get("/billing").by(&operator).await.expect(403).problem("forbidden");
}

async fn change(server: &TestServer, by: &Person, whom: &Person, change: Value) -> Reply {
    server.call("PATCH", &format!("/users/{}", whom.id)).by(by).json(change).await
}

/// Rows: R1, R7, R19
async fn nobody_lifts_anybody_above_themselves(server: TestServer) {
    let owner = server.owner().await;
    let admin = server.person(&owner, Role::Admin).await;
    let viewer = server.person(&owner, Role::Viewer).await;
    change(&server, &admin, &admin, json!({"role": "owner"}))
        .await
        .expect(403)
        .problem("forbidden");
    change(&server, &admin, &viewer, json!({"role": "owner"})).await.expect(403);
    change(&server, &admin, &owner, json!({"role": "viewer"})).await.expect(403);
    change(&server, &admin, &owner, json!({"disabled": true})).await.expect(403);
    let changed = change(&server, &admin, &viewer, json!({"role": "admin"})).await;
    assert_eq!(changed.expect(200).json()["role"], "admin");
    server.get("/users").by(&viewer).await.expect(200);
    let key = json!({"name": "k", "scopes": ["users:read", "users:write"]});
    let key = server.post("/api-keys").by(&owner).json(key).await.text("key");
    let new = json!({"email": "o@x.org", "name": "O", "role": "owner", "password": PASSWORD});
    server.post("/users").bearer(&key).json(new).await.expect(403).problem("forbidden");
    change(&server, &owner, &viewer, json!({"role": "emperor"})).await.expect(422);
    change(&server, &owner, &owner, json!({"role": "admin"}))
        .await
        .expect(409)
        .problem("last-owner");
    change(&server, &owner, &owner, json!({"disabled": true}))
        .await
        .expect(409)
        .problem("last-owner");
}

/// Rows: A3
async fn a_changed_role_is_recorded_before_and_after(server: TestServer) {
    let owner = server.owner().await;
    let person = server.person(&owner, Role::Viewer).await;
    change(&server, &owner, &person, json!({"role": "operator"})).await.expect(200);
    let events = server.get("/audit?event=user.role_changed").by(&owner).await.json();
    assert_eq!(events["items"][0]["changes"], json!({"before": "viewer", "after": "operator"}));
    assert_eq!(events["items"][0]["actor"], format!("user {}", owner.id));
}

/// Rows: K13
async fn whoever_is_disabled_is_out_at_once_and_may_come_back(server: TestServer) {
    let owner = server.owner().await;
    let admin = server.person(&owner, Role::Admin).await;
    let key = json!({"name": "k", "scopes": ["devices:read"]});
    let key = server.post("/api-keys").by(&admin).json(key).await.text("key");
    change(&server, &owner, &admin, json!({"disabled": true})).await.expect(200);
    server.get("/auth/user").by(&admin).await.expect(401);
    server.get("/devices").bearer(&key).await.expect(401);
    let refresh = json!({"refresh_token": admin.refresh});
    server.post("/auth/refresh").json(refresh).await.expect(401);
    let login = json!({"email": admin.email, "password": PASSWORD});
    server.post("/auth/login").json(login).await.expect(401).problem("wrong-login");
    let back = change(&server, &owner, &admin, json!({"disabled": false})).await;
    assert!(back.expect(200).json().get("disabled_at").is_none());
    server.get("/auth/user").by(&server.login(&admin.email).await).await.expect(200);
    server.get("/devices").bearer(&key).await.expect(200);
}

/// Rows: R20
async fn an_organization_makes_roles_of_its_own(server: TestServer) {
    let owner = server.owner().await;
    let make = async |by: &Person, name: &str, permissions: Value| {
        let new = json!({"name": name, "permissions": permissions});
        server.post("/roles").by(by).json(new).await
    };
    make(&owner, "help-desk", json!(["devices:fly"])).await.expect(422).problem("invalid-fields");
    make(&owner, "Help Desk", json!([])).await.expect(422);
    make(&owner, "admin", json!([])).await.expect(409);
    let made = make(&owner, "help-desk", json!(["users:read", "devices:read"])).await;
    assert_eq!(made.expect(201).json()["permissions"], json!(["devices:read", "users:read"]));
    make(&owner, "help-desk", json!([])).await.expect(409).problem("conflict");
    let person = server.person(&owner, Role::Viewer).await;
    change(&server, &owner, &person, json!({"role": "help-desk"})).await.expect(200);
    server.get("/users").by(&person).await.expect(200);
    server.get("/teams").by(&person).await.expect(403);
    let me = server.get("/auth/user").by(&person).await.json();
    assert_eq!(me["role"], "help-desk");
    let admin = server.person(&owner, Role::Admin).await;
    make(&admin, "boss", json!(["organization:write"])).await.expect(403).problem("forbidden");
    let path = "/roles/help-desk";
    server.delete(path).by(&owner).await.expect(409).problem("role-in-use");
    change(&server, &owner, &person, json!({"role": "viewer"})).await.expect(200);
    let invitation = json!({"email": "ann@x.org", "role": "help-desk"});
    let invited =
        server.post("/invitations").by(&owner).json(invitation).await.expect(201).text("id");
    server.delete(path).by(&owner).await.expect(409).problem("role-in-use");
    server.delete(&format!("/invitations/{invited}")).by(&owner).await.expect(204);
    server.delete(path).by(&owner).await.expect(204);
    server.delete(path).by(&owner).await.expect(404);
    server.delete("/roles/viewer").by(&owner).await.expect(409);
    let listed = server.get("/roles").by(&owner).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 4);
}

async fn make_role(server: &TestServer, by: &Person, name: &str, permissions: Value) {
    let new = json!({"name": name, "permissions": permissions});
    server.post("/roles").by(by).json(new).await.expect(201);
}

async fn alter(server: &TestServer, by: &Person, name: &str, change: Value) -> Reply {
    server.call("PATCH", &format!("/roles/{name}")).by(by).json(change).await
}

/// Rows in part: R20, A3
async fn a_role_that_is_renamed_stays_with_whoever_has_it(server: TestServer) {
    let owner = server.owner().await;
    make_role(&server, &owner, "help-desk", json!(["devices:read", "teams:read"])).await;
    make_role(&server, &owner, "other", json!([])).await;
    let (person, member) =
        (server.person(&owner, Role::Viewer).await, server.person(&owner, Role::Viewer).await);
    change(&server, &owner, &person, json!({"role": "help-desk"})).await.expect(200);
    let team = server.post("/teams").by(&owner).json(json!({"name": "t"})).await.text("id");
    let in_team = format!("/teams/{team}/members/{}", member.id);
    let role = json!({"role": "help-desk"});
    server.call("PUT", &in_team).by(&owner).json(role.clone()).await.expect(200);
    let invited = json!({"email": "new@example.com", "role": "help-desk"});
    server.post("/invitations").by(&owner).json(invited).await.expect(201);

    for taken in ["other", "viewer", "owner", "service", "device"] {
        let refused = alter(&server, &owner, "help-desk", json!({"name": taken})).await;
        refused.expect(409).problem("conflict");
    }
    let same = alter(&server, &owner, "help-desk", json!({"name": "help-desk"})).await;
    same.expect(200);
    let change = json!({"name": "support", "remove_permissions": ["teams:read"]});
    let renamed = alter(&server, &owner, "help-desk", change).await.expect(200).json();
    assert_eq!(
        (&renamed["name"], &renamed["permissions"]),
        (&json!("support"), &json!(["devices:read"]))
    );
    alter(&server, &owner, "help-desk", json!({"description": "d"})).await.expect(404);
    server.get("/devices").by(&person).await.expect(200);
    let me = server.get("/auth/user").by(&person).await.json();
    assert_eq!(me["role"], "support");
    let members = server.get(&format!("/teams/{team}/members")).by(&owner).await.json();
    assert!(members.to_string().contains("\"role\":\"support\""), "{members}");
    let invitations = server.get("/invitations").by(&owner).await.json();
    assert_eq!(invitations["items"][0]["role"], "support");
    server.delete("/roles/support").by(&owner).await.expect(409).problem("role-in-use");
    let events = server.get("/audit?event=role.changed").by(&owner).await.json();
    let event = &events["items"][0];
    assert_eq!(
        (&event["subject"], &event["changes"]["before"]["name"]),
        (&json!("role support"), &json!("help-desk"))
    );
    assert_eq!(events["items"].as_array().unwrap().len(), 1);
    // The name is free again.
    make_role(&server, &owner, "help-desk", json!([])).await;
    server.delete("/roles/help-desk").by(&owner).await.expect(204);
    let events = server.get("/audit?event=role.deleted").by(&owner).await.json();
    let before = json!({"name": "help-desk", "description": "", "permissions": []});
    assert_eq!(events["items"][0]["changes"], json!({"before": before, "after": null}));
}

/// Rows in part: R20, K13, A3
async fn a_role_that_is_changed_counts_at_once_for_whoever_has_it(server: TestServer) {
    let owner = server.owner().await;
    make_role(&server, &owner, "help-desk", json!(["api_keys:write", "devices:read"])).await;
    let person = server.person(&owner, Role::Viewer).await;
    change(&server, &owner, &person, json!({"role": "help-desk"})).await.expect(200);
    let key = json!({"name": "k", "scopes": ["devices:read"]});
    let key = server.post("/api-keys").by(&person).json(key).await.expect(201).text("key");
    server.get("/devices").by(&person).await.expect(200);
    server.get("/devices").bearer(&key).await.expect(200);
    server.get("/users").by(&person).await.expect(403);
    let other = json!({"description": "First line", "add_permissions": ["users:read"],
                       "remove_permissions": ["devices:read"]});
    let changed = alter(&server, &owner, "help-desk", other).await.expect(200).json();
    let permissions = json!(["api_keys:write", "users:read"]);
    let shown = json!({"name": "help-desk", "description": "First line",
                       "permissions": permissions, "built_in": false});
    assert_eq!(changed, shown);
    server.get("/users").by(&person).await.expect(200);
    server.get("/devices").by(&person).await.expect(403).problem("forbidden");
    server.get("/devices").bearer(&key).await.expect(403);
    let me = server.get("/auth/user").by(&person).await.json();
    assert_eq!(me["permissions"], permissions);
    let claims = tokens::part(&renew(&server, &person).await.access, 1);
    assert_eq!(claims["permissions"], permissions);
    let listed = server.get("/roles").by(&owner).await.json();
    assert_eq!(listed["items"][4], shown);
    // What changes nothing is no event.
    alter(&server, &owner, "help-desk", json!({})).await.expect(200);
    alter(&server, &owner, "help-desk", json!({"permissions": permissions})).await.expect(200);
    let events = server.get("/audit?event=role.changed").by(&owner).await.json();
    assert_eq!(events["items"].as_array().unwrap().len(), 1);
    let before = json!({"name": "help-desk", "description": "",
                        "permissions": ["api_keys:write", "devices:read"]});
    let after =
        json!({"name": "help-desk", "description": "First line", "permissions": permissions});
    assert_eq!(events["items"][0]["changes"], json!({"before": before, "after": after}));
    assert_eq!(events["items"][0]["subject"], "role help-desk");
    assert_eq!(events["items"][0]["actor"], format!("user {}", owner.id));
}

/// Rows in part: R7, R19, R20, O5
async fn nobody_changes_a_role_above_their_own(server: TestServer) {
    let owner = server.owner().await;
    let admin = server.person(&owner, Role::Admin).await;
    make_role(&server, &owner, "boss", json!(["devices:read", "organization:write"])).await;
    make_role(&server, &owner, "low", json!(["devices:read"])).await;
    let above = [
        ("boss", json!({"description": "mine"})),
        ("boss", json!({"permissions": []})),
        ("boss", json!({"remove_permissions": ["organization:write"]})),
        ("low", json!({"add_permissions": ["organization:write"]})),
        ("low", json!({"permissions": ["devices:read", "organization:write"]})),
    ];
    for (name, change) in above {
        alter(&server, &admin, name, change).await.expect(403).problem("forbidden");
    }
    alter(&server, &admin, "low", json!({"add_permissions": ["users:read"]})).await.expect(200);
    let key = json!({"name": "k", "scopes": ["roles:write", "devices:read", "users:read"]});
    let key = server.post("/api-keys").by(&owner).json(key).await.text("key");
    let by_key = |change: Value| server.call("PATCH", "/roles/low").bearer(&key).json(change);
    by_key(json!({"add_permissions": ["teams:read"]})).await.expect(403).problem("forbidden");
    by_key(json!({"remove_permissions": ["users:read"]})).await.expect(200);
    for wrong in [
        json!({"permissions": [], "add_permissions": ["devices:read"]}),
        json!({"add_permissions": ["users:read"], "remove_permissions": ["users:read"]}),
        json!({"permissions": ["devices:fly"]}),
        json!({"description": "x".repeat(201)}),
        json!({"description": "a\u{0}b"}),
        json!({"name": "High Desk"}),
    ] {
        alter(&server, &owner, "low", wrong).await.expect(422).problem("invalid-fields");
    }
    for role in Role::ALL {
        let name = role.as_str();
        let built_in = alter(&server, &owner, name, json!({"permissions": []})).await;
        built_in.expect(409).problem("role-in-use");
    }
    alter(&server, &owner, "none", json!({"permissions": []})).await.expect(404);
    let other = server.other_organization().await;
    alter(&server, &other, "low", json!({"permissions": []})).await.expect(404);
    let listed = server.get("/roles").by(&owner).await.json();
    assert_eq!(listed["items"][5]["permissions"], json!(["devices:read"]));
}

async fn permissions_that_are_added_at_once_are_all_there(server: TestServer) {
    let owner = server.owner().await;
    make_role(&server, &owner, "all", json!([])).await;
    let adding = Permission::ALL
        .iter()
        .map(|permission| alter(&server, &owner, "all", json!({"add_permissions": [permission]})));
    for reply in futures_util::future::join_all(adding).await {
        reply.expect(200);
    }
    let listed = server.get("/roles").by(&owner).await.json();
    assert_eq!(listed["items"][4]["permissions"], json!(Permission::ALL));
}

async fn team_with_device(server: &TestServer, owner: &Person, name: &str) -> (String, String) {
    let team = server.post("/teams").by(owner).json(json!({"name": name})).await.text("id");
    let (_, secret) = server.secret(owner, json!({"name": name, "team_id": team})).await;
    server.enroll(&secret, machine(name)).await.expect(200);
    let devices = server.devices(owner).await;
    let device = devices.iter().find(|device| device["hardware_uuid"] == name).unwrap();
    (team, text(device, "id"))
}

/// Rows: F10
async fn who_may_not_read_devices_is_told_which_permission_is_missing(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    server.enroll(&secret, machine("ours")).await.expect(200);
    let viewer = server.person(&owner, Role::Viewer).await;
    assert_eq!(server.devices(&viewer).await.len(), 1);
    let none = json!({"name": "member", "permissions": []});
    server.post("/roles").by(&owner).json(none).await.expect(201);
    change(&server, &owner, &viewer, json!({"role": "member"})).await.expect(200);
    let refused = server.get("/devices").by(&viewer).await;
    let detail = refused.expect(403).problem("forbidden").text("detail");
    assert!(detail.contains("`devices:read`"), "{detail}");
    let other = server.other_organization().await;
    assert!(server.devices(&other).await.is_empty());
}

/// Rows: R14, R15
async fn a_role_in_a_team_reaches_what_the_team_has(server: TestServer) {
    let owner = server.owner().await;
    let (one, device_one) = team_with_device(&server, &owner, "one").await;
    let (two, device_two) = team_with_device(&server, &owner, "two").await;
    let nothing = json!({"name": "member", "permissions": []});
    server.post("/roles").by(&owner).json(nothing).await.expect(201);
    let person = server.person(&owner, Role::Viewer).await;
    change(&server, &owner, &person, json!({"role": "member"})).await.expect(200);
    server.get("/devices").by(&person).await.expect(403);
    let member = format!("/teams/{one}/members/{}", person.id);
    let put = server.call("PUT", &member).by(&owner).json(json!({"role": "admin"})).await;
    assert_eq!(put.expect(200).json()["role"], "admin");
    let seen = server.devices(&person).await;
    assert_eq!((seen.len(), text(&seen[0], "id")), (1, device_one.clone()));
    let teams = server.get("/teams").by(&person).await.expect(200).json();
    assert_eq!(teams["items"].as_array().unwrap().len(), 1);
    server.get(&format!("/teams/{two}")).by(&person).await.expect(404);
    server.get(&format!("/devices/{device_two}")).by(&person).await.expect(404);
    server.delete(&format!("/devices/{device_two}")).by(&person).await.expect(404);
    let new = |team: &str| json!({"name": "theirs", "team_id": team});
    server.post("/enroll-secrets").by(&person).json(new(&one)).await.expect(201);
    server.post("/enroll-secrets").by(&person).json(new(&two)).await.expect(403);
    server.post("/enroll-secrets").by(&person).json(json!({"name": "all"})).await.expect(403);
    let secrets = server.get("/enroll-secrets").by(&person).await.json();
    assert_eq!(secrets["items"].as_array().unwrap().len(), 2);
    server.get("/users").by(&person).await.expect(403);
    change(&server, &owner, &person, json!({"role": "viewer"})).await.expect(200);
    assert_eq!(server.devices(&person).await.len(), 2, "a viewer of the organization sees all");
    let reply = server.delete(&format!("/devices/{device_two}")).by(&person).await;
    reply.expect(403).problem("forbidden");
    server.delete(&format!("/devices/{device_one}")).by(&person).await.expect(204);
    server.delete(&member).by(&owner).await.expect(204);
    server.delete(&member).by(&owner).await.expect(404);
    server.post("/enroll-secrets").by(&person).json(new(&one)).await.expect(403);
}

async fn an_organization_is_renamed_by_its_owner_alone(server: TestServer) {
    let owner = server.owner().await;
    let admin = server.person(&owner, Role::Admin).await;
    let rename = json!({"name": "Acme Ltd"});
    server.call("PATCH", "/organization").by(&admin).json(rename.clone()).await.expect(403);
    let renamed =
        server.call("PATCH", "/organization").by(&owner).json(rename).await.expect(200).json();
    assert_eq!(renamed["name"], "Acme Ltd");
    assert_eq!(server.get("/organization").by(&admin).await.json(), renamed);
    let bad = json!({"name": " "});
    server.call("PATCH", "/organization").by(&owner).json(bad).await.expect(422);
}
