//! The table of routes: which proof each demands, and which role may use it. A route that OpenAPI
//! knows and this table does not fails the test, so none can be forgotten.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use server::http::openapi;
use wire::Role;

use crate::harness::{PASSWORD, Person, Reply, TestServer, machine, text};

crate::on_both_databases! {
    every_route_asks_for_its_proof,
    each_role_may_do_exactly_what_the_table_says,
}

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Public,
    /// A key in the body.
    Agent,
    /// The path itself, which a person opens.
    Link,
    /// An access token or API key of anybody.
    SignedIn,
    /// The least role.
    Role(Role),
}

use Proof::{Agent, Link, Public, SignedIn};

const ROUTES: &[(&str, &str, Proof)] = &[
    ("POST", "/auth/register", Public),
    ("POST", "/auth/login", Public),
    ("POST", "/auth/refresh", Public),
    ("POST", "/auth/logout", SignedIn),
    ("GET", "/auth/user", SignedIn),
    ("GET", "/users", Proof::Role(Role::Admin)),
    ("POST", "/users", Proof::Role(Role::Admin)),
    ("DELETE", "/users/{id}", Proof::Role(Role::Admin)),
    ("GET", "/teams", Proof::Role(Role::Viewer)),
    ("POST", "/teams", Proof::Role(Role::Admin)),
    ("GET", "/teams/{id}", Proof::Role(Role::Viewer)),
    ("DELETE", "/teams/{id}", Proof::Role(Role::Admin)),
    ("GET", "/api-keys", Proof::Role(Role::Admin)),
    ("POST", "/api-keys", Proof::Role(Role::Admin)),
    ("GET", "/api-keys/{id}", Proof::Role(Role::Admin)),
    ("DELETE", "/api-keys/{id}", Proof::Role(Role::Admin)),
    ("POST", "/api-keys/{id}/rotate", Proof::Role(Role::Admin)),
    ("GET", "/enroll-secrets", Proof::Role(Role::Operator)),
    ("POST", "/enroll-secrets", Proof::Role(Role::Admin)),
    ("GET", "/enroll-secrets/{id}", Proof::Role(Role::Operator)),
    ("DELETE", "/enroll-secrets/{id}", Proof::Role(Role::Admin)),
    ("GET", "/devices", Proof::Role(Role::Viewer)),
    ("GET", "/devices/{id}", Proof::Role(Role::Viewer)),
    ("DELETE", "/devices/{id}", Proof::Role(Role::Admin)),
    ("GET", "/health/live", Public),
    ("GET", "/health/ready", Public),
    ("GET", "/openapi.json", Public),
    ("GET", "/problems/{name}", Public),
    ("GET", "/api/latest/fleet/device/{token}/desktop", Agent),
    ("GET", "/device/{token}", Link),
    ("GET", "/api/fleet/orbit/ping", Public),
    ("POST", "/api/fleet/orbit/enroll", Agent),
    ("POST", "/api/fleet/orbit/config", Agent),
    ("POST", "/api/fleet/orbit/device_token", Agent),
    ("POST", "/api/osquery/enroll", Agent),
    ("POST", "/api/osquery/config", Agent),
    ("POST", "/api/osquery/distributed/read", Agent),
    ("POST", "/api/osquery/distributed/write", Agent),
    ("POST", "/api/osquery/log", Agent),
    ("POST", "/api/v1/osquery/enroll", Agent),
    ("POST", "/api/v1/osquery/config", Agent),
    ("POST", "/api/v1/osquery/distributed/read", Agent),
    ("POST", "/api/v1/osquery/distributed/write", Agent),
    ("POST", "/api/v1/osquery/log", Agent),
];

const METHODS: [&str; 4] = ["get", "post", "put", "delete"];

#[test]
fn the_table_lists_every_route_and_openapi_says_which_are_secured() {
    let document = serde_json::to_value(openapi::document()).unwrap();
    let mut documented = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(METHODS.contains(&method.as_str()), "{method} {path}");
            documented
                .insert((method.to_uppercase(), path.clone()), operation.get("security").is_some());
        }
    }
    let listed: BTreeMap<_, _> = ROUTES
        .iter()
        .map(|(method, path, proof)| {
            (((*method).to_owned(), (*path).to_owned()), !matches!(proof, Public | Agent | Link))
        })
        .collect();
    assert_eq!(documented, listed);
}

/// A body that the route would accept, as far as the proof is concerned.
fn body(path: &str) -> Value {
    match path {
        "/auth/login" => json!({"email": "nobody@x.org", "password": "nothing"}),
        "/auth/register" => json!({"setup_code": "x", "email": "x", "name": "x", "password": "x",
                                   "organization": "x"}),
        "/users" => {
            json!({"email": "new@x.org", "name": "N", "role": "viewer", "password": PASSWORD})
        }
        "/teams" => json!({"name": "New"}),
        "/api-keys" => json!({"name": "new", "scopes": ["devices:read"]}),
        "/enroll-secrets" => json!({"name": "new"}),
        "/api/fleet/orbit/enroll" => json!({"enroll_secret": "wrong", "hardware_uuid": "u"}),
        "/api/fleet/orbit/device_token" => {
            json!({"orbit_node_key": "wrong", "device_auth_token": "t"})
        }
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

async fn every_route_asks_for_its_proof(server: TestServer) {
    server.owner().await;
    for (method, path, proof) in ROUTES {
        let concrete = path.replace("{id}", "01a00000-0000-7000-8000-000000000000");
        let concrete = concrete.replace("{name}", "not-found");
        let reply = server.call(method, &concrete).json(body(path)).await;
        match proof {
            Public if path.starts_with("/auth") => {
                assert!([401, 404].contains(&reply.status.as_u16()), "{path}: {reply:?}");
            }
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
            Link => {
                let kind = reply.expect(401).header("content-type");
                assert_eq!(kind, Some("text/html; charset=utf-8"), "{path}");
            }
            SignedIn | Proof::Role(_) => {
                let reply = reply.expect(401).problem("unauthenticated");
                assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{path}");
            }
        }
    }
}

/// Something of each kind, made anew, because routes delete it.
async fn make(server: &TestServer, owner: &Person, path: &str, n: usize) -> String {
    match path.split('/').nth(1).unwrap() {
        "users" => {
            let new = json!({"email": format!("made{n}@x.org"), "name": "M", "role": "viewer",
                             "password": PASSWORD});
            server.post("/users").by(owner).json(new).await.expect(201).text("id")
        }
        "teams" => {
            let new = json!({"name": format!("made {n}")});
            server.post("/teams").by(owner).json(new).await.expect(201).text("id")
        }
        "api-keys" => {
            let new = json!({"name": "made", "scopes": ["devices:read"]});
            server.post("/api-keys").by(owner).json(new).await.expect(201).text("id")
        }
        "enroll-secrets" => server.secret(owner, json!({})).await.0,
        "devices" => {
            let (_, secret) = server.secret(owner, json!({})).await;
            server.enroll(&secret, machine(&format!("made-{n}"))).await.expect(200);
            text(server.devices(owner).await.last().unwrap(), "id")
        }
        other => panic!("what is in {other}?"),
    }
}

async fn each_role_may_do_exactly_what_the_table_says(server: TestServer) {
    let owner = server.owner().await;
    let mut seen = BTreeSet::new();
    for (n, role) in Role::ALL.into_iter().enumerate() {
        let person = server.person(&owner, role).await;
        for (m, (method, path, proof)) in ROUTES.iter().enumerate() {
            let least = match proof {
                Public | Agent | Link => continue,
                SignedIn if *path == "/auth/logout" => continue,
                SignedIn => Role::Viewer,
                Proof::Role(least) => *least,
            };
            let number = n * 100 + m;
            let reply = attempt(&server, (&owner, &person), (method, path), number).await;
            if role >= least {
                assert!(reply.status.is_success(), "{role} {method} {path}: {reply:?}");
            } else {
                reply.expect(403).problem("forbidden");
            }
            seen.insert((role, *method, *path));
        }
        server.post("/auth/logout").by(&person).await.expect(204);
    }
    assert_eq!(seen.len(), 4 * 20, "no route was left out by mistake");
}

async fn attempt(
    server: &TestServer,
    (owner, person): (&Person, &Person),
    (method, path): (&str, &str),
    number: usize,
) -> Reply {
    let concrete = if path.contains("{id}") {
        path.replace("{id}", &make(server, owner, path, number).await)
    } else {
        path.to_owned()
    };
    let mut body = body(path);
    if path == "/users" {
        body["email"] = format!("new{number}@x.org").into();
    }
    if path == "/teams" {
        body["name"] = format!("new {number}").into();
    }
    server.call(method, &concrete).by(person).json(body).await
}
