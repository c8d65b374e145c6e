//! What no client of ours sends, to every route that takes a body: the right refusal, never a
//! panic, never a 5xx, and no more memory than the route's limit.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::body::{Body, Bytes};
use serde_json::{Value, json};

use crate::harness::{Call, Person, Reply, TestServer, machine};

crate::on_both_databases! {
    broken_bodies_get_the_right_refusal_on_every_route,
    wrong_fields_never_break_a_route,
    endless_bodies_are_read_no_further_than_the_limit,
    awkward_urls_and_headers_never_break_a_route,
}

const SMALL: usize = 64 << 10;
const ENROLLMENT: usize = 1 << 20;
const BULK: usize = 10 << 20;

struct Route {
    path: String,
    body: Value,
    limit: usize,
}

impl Route {
    fn is_agents(&self) -> bool {
        self.path.starts_with("/api/")
    }
}

/// A lenient server with one of everything, and every route that takes a body, with a good one.
async fn routes(server: &TestServer) -> (Person, Vec<Route>) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let orbit = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    let node = server.enroll_osquery(&secret, "a").await.text("node_key");
    let key = json!({"name": "k", "scopes": ["devices:read"]});
    let key = server.post("/api-keys").by(&owner).json(key).await.text("id");
    let team = server.post("/teams").by(&owner).json(json!({"name": "T"})).await.text("id");
    let mut routes = Vec::new();
    let mut add =
        |path: &str, limit, body| routes.push(Route { path: path.to_owned(), body, limit });
    add(
        "/auth/register",
        SMALL,
        json!({"setup_code": "AAAA-BBBB-CCCC", "email": "a@x.org", "name": "A",
        "password": "Long enough, 1 password", "organization": "O", "client": "cli"}),
    );
    add("/auth/login", SMALL, json!({"email": "a@x.org", "password": "p", "client": "cli"}));
    add("/auth/refresh", SMALL, json!({"refresh_token": "x"}));
    add(
        "/users",
        SMALL,
        json!({"email": "a@x.org", "name": "A", "role": "viewer", "password": "short"}),
    );
    add("/teams", SMALL, json!({"name": "Other"}));
    add("/api-keys", SMALL, json!({"name": "k", "scopes": ["devices:read"], "expires_at": null}));
    add(&format!("/api-keys/{key}/rotate"), SMALL, json!({"overlap_seconds": 5}));
    add(
        "/enroll-secrets",
        SMALL,
        json!({"name": "s", "team_id": team, "secret": "sixteen bytes or more",
        "expires_at": "2027-01-01T00:00:00Z", "max_uses": 3}),
    );
    let mut device = machine("b");
    for field in [
        "hardware_serial",
        "platform_like",
        "osquery_identifier",
        "computer_name",
        "hardware_model",
        "machine_id",
        "os_version",
        "cpu_type",
        "orbit_version",
        "end_user_email",
    ] {
        device[field] = "x".into();
    }
    device["enroll_secret"] = secret.clone().into();
    add("/api/fleet/orbit/enroll", ENROLLMENT, device);
    add("/api/fleet/orbit/config", SMALL, json!({"orbit_node_key": orbit, "orbit_version": "1"}));
    add(
        "/api/fleet/orbit/device_token",
        SMALL,
        json!({"orbit_node_key": orbit, "device_auth_token": "t"}),
    );
    add(
        "/api/fleet/orbit/updates",
        SMALL,
        json!({"orbit_node_key": orbit, "components": [
            {"component": "orbit", "channel": "stable", "state": "current"}
        ]}),
    );
    for prefix in wire::osquery::PREFIXES {
        let mut add = |path: &str, limit, body| add(&format!("{prefix}/{path}"), limit, body);
        add(
            "enroll",
            ENROLLMENT,
            json!({"enroll_secret": secret, "host_identifier": "a",
            "host_details": {"system_info": {"uuid": "a", "hostname": "h"}}}),
        );
        add("config", SMALL, json!({"node_key": node}));
        add("distributed/read", SMALL, json!({"node_key": node}));
        add(
            "distributed/write",
            BULK,
            json!({"node_key": node, "statuses": {"a": 0}, "messages": {},
            "queries": {"fleet_detail_query_system_info": [{"hostname": "h"}]}}),
        );
        add("log", BULK, json!({"node_key": node, "log_type": "status", "data": [{"a": 1}]}));
    }
    (owner, routes)
}

async fn lenient(server: &TestServer) -> TestServer {
    TestServer::start_with(server.engine, |config| {
        config.limits.enroll_failures_per_minute = 1_000_000;
        config.limits.login_attempts = 1_000_000;
    })
    .await
}

fn send(server: &TestServer, owner: &Person, route: &Route, body: impl Into<Body>) -> Call {
    server.post(&route.path).by(owner).header("content-type", "application/json").bytes(body)
}

#[track_caller]
fn check_refusal(route: &Route, reply: &Reply, status: u16) {
    assert_eq!(reply.status.as_u16(), status, "{}: {reply:?}", route.path);
    if route.is_agents() {
        assert!(reply.json()["error"].is_string());
    } else {
        assert!(reply.json()["type"].as_str().unwrap().starts_with("/problems/"));
    }
}

async fn broken_bodies_get_the_right_refusal_on_every_route(server: TestServer) {
    let server = lenient(&server).await;
    let (owner, routes) = routes(&server).await;
    for route in &routes {
        let good = route.body.to_string();
        let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        let mut not_utf8 = good.clone().into_bytes();
        not_utf8[2] = 0xff;
        let broken: [(Vec<u8>, u16); 9] = [
            (Vec::new(), 400),
            (good[..good.len() - 1].into(), 400),
            (b"{\"a\":".to_vec(), 400),
            (b"not json".to_vec(), 400),
            (deep.into_bytes(), 400),
            (not_utf8, 400),
            (b"{\"name\": \"\\ud800\"}".to_vec(), 400),
            (format!("{good} trailing").into_bytes(), 400),
            (vec![b' '; route.limit + 1], 413),
        ];
        for (body, status) in broken {
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            let reply = send(&server, &owner, route, body).await;
            // A parser may notice the wrong shape before it comes to what is broken.
            let shape = reply.status == 422 && status == 400;
            assert!(reply.status == status || shape, "{} {shown}: {reply:?}", route.path);
            check_refusal(route, &reply, reply.status.as_u16());
        }
        for body in ["null", "7", "\"text\"", "[]", "true"] {
            let reply = send(&server, &owner, route, body).await;
            check_refusal(route, &reply, 422);
        }
        if !route.is_agents() {
            for content_type in ["text/plain", "application/x-www-form-urlencoded", "", "json"] {
                let call = server.post(&route.path).by(&owner).header("content-type", content_type);
                let reply = call.bytes(good.clone()).await;
                check_refusal(route, &reply, 415);
            }
        }
    }
}

/// Values that a field may be replaced with.
fn strange_values() -> Vec<String> {
    let mut values: Vec<String> = [
        "null",
        "true",
        "-1",
        "0",
        "1e400",
        "18446744073709551616",
        "1.5",
        "[]",
        "{}",
        "[[[[]]]]",
        r#""""#,
        r#"" ""#,
        r#""\u0000""#,
        r#""a\u0000b""#,
        r#""\u202e\ufeff""#,
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""' OR 1=1; --""#,
        r#""%00%_\\""#,
        r#""../../etc/passwd""#,
        r#""\u001b[31m\r\n""#,
        r#"["\u0000"]"#,
        r#"{"\u0000":"\u0000"}"#,
    ]
    .map(str::to_owned)
    .to_vec();
    values.push(format!("\"{}\"", "x".repeat(50_000)));
    values.push(format!("\"{}\"", "🦀".repeat(300)));
    values.push(format!("{}{}", "[".repeat(126), "]".repeat(126)));
    values
}

async fn wrong_fields_never_break_a_route(server: TestServer) {
    let server = lenient(&server).await;
    let (owner, routes) = routes(&server).await;
    for route in &routes {
        let good = route.body.as_object().unwrap();
        for name in good.keys() {
            let mut without = good.clone();
            without.remove(name);
            let mut bodies = vec![Value::Object(without).to_string()];
            let hole = Value::Object({
                let mut hole = good.clone();
                hole[name] = "HOLE".into();
                hole
            })
            .to_string();
            bodies.extend(strange_values().iter().map(|value| hole.replace("\"HOLE\"", value)));
            for body in bodies {
                let shown: String = body.chars().take(200).collect();
                let reply = send(&server, &owner, route, body).await;
                assert!(reply.status.as_u16() < 500, "{} {name} {shown}: {reply:?}", route.path);
                if !reply.status.is_success() {
                    check_refusal(route, &reply, reply.status.as_u16());
                }
            }
        }
    }
}

async fn endless_bodies_are_read_no_further_than_the_limit(server: TestServer) {
    let server = lenient(&server).await;
    let (owner, routes) = routes(&server).await;
    for route in &routes {
        let read = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&read);
        let chunks = futures_util::stream::repeat_with(move || {
            counter.fetch_add(16 << 10, Ordering::SeqCst);
            Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 16 << 10]))
        });
        let reply = send(&server, &owner, route, Body::from_stream(chunks)).await;
        check_refusal(route, &reply, 413);
        let read = read.load(Ordering::SeqCst);
        assert!(read <= route.limit + (32 << 10), "{}: read {read}", route.path);
    }
}

async fn awkward_urls_and_headers_never_break_a_route(server: TestServer) {
    let owner = server.owner().await;
    let long = "x".repeat(8000);
    for path in [
        "/",
        "//",
        "/devices/",
        "/%00",
        "/devices?query=%ff",
        "/problems/%2e%2e%2f",
        "/api/osquery",
        "/devices?limit=1&limit=2",
        "/devices?after=%00",
        "/..%2f..%2fetc/passwd",
        "/users/%F0%9F%A6%80",
    ] {
        let reply = server.get(path).by(&owner).await;
        assert!(reply.status.as_u16() < 500, "{path}: {reply:?}");
    }
    let reply = server.get(&format!("/devices?query={long}")).by(&owner).await;
    reply.expect(422).problem("invalid-fields");
    for (name, value) in [
        ("authorization", long.as_str()),
        ("authorization", "Bearer"),
        ("x-api-key", &long),
        ("x-forwarded-for", "1.1.1.1,,,"),
        ("cookie", "__Host-fleetd_rt=%%%"),
        ("user-agent", &long),
    ] {
        let reply = server.get("/devices").header(name, value).await;
        reply.expect(401);
    }
    let login = json!({"email": owner.email, "password": crate::harness::PASSWORD});
    server.post("/auth/login").header("user-agent", &long).json(login).await.expect(200);
    for method in ["PUT", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let reply = server.call(method, "/devices").by(&owner).await;
        reply.expect(405).problem("method-not-allowed");
        assert_eq!(reply.header("allow"), Some("GET,HEAD"));
    }
}
