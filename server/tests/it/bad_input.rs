//! What no client of ours sends, to every route that takes a body: the right refusal, never a
//! panic, never a 5xx, and no more memory than the route's limit.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::body::{Body, Bytes};
use serde_json::{Value, json};
use server::http::access::ROUTES;

use crate::{
    accounts,
    harness::{Call, PASSWORD, Person, Reply, TestServer, machine},
    roles,
};

crate::on_both_databases! {
    broken_bodies_get_the_right_refusal_on_every_route,
    wrong_fields_never_break_a_route,
    endless_bodies_are_read_no_further_than_the_limit,
    awkward_urls_and_headers_never_break_a_route,
}

const SMALL: usize = 64 << 10;
const ENROLLMENT: usize = 1 << 20;
const BULK: usize = 10 << 20;

/// Routes that change something and read no body.
const BODILESS: [(&str, &str); 2] = [("POST", "/auth/logout"), ("POST", "/devices/{id}/refetch")];

struct Route {
    method: &'static str,
    path: String,
    body: Value,
    limit: usize,
}

impl Route {
    fn is_agents(&self) -> bool {
        self.path.starts_with("/api/")
    }

    /// Whether a page sends it.
    fn is_form(&self) -> bool {
        self.path == "/auth/device" || self.path.starts_with("/auth/mailed/")
    }

    /// The body with this in the place of a field's value, as it is sent.
    fn with(&self, name: &str, value: &str) -> String {
        let mut changed = self.body.clone();
        if self.is_form() {
            changed[name] = value.into();
            return form(&changed);
        }
        changed[name] = "HOLE".into();
        changed.to_string().replace("\"HOLE\"", value)
    }

    /// The body, as it is sent.
    fn good(&self) -> String {
        if self.is_form() { form(&self.body) } else { self.body.to_string() }
    }
}

fn form(fields: &Value) -> String {
    let fields = fields.as_object().unwrap().iter();
    let fields = fields.map(|(name, value)| (name, value.as_str().unwrap()));
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// What bodies name.
struct Made {
    secret: String,
    orbit: String,
    node: String,
    team: String,
}

/// A lenient server with one of everything, and every route that takes a body, with a good one.
async fn routes(server: &TestServer) -> (Person, Vec<Route>) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let made = Made {
        orbit: server.enroll(&secret, machine("a")).await.text("orbit_node_key"),
        node: server.enroll_osquery(&secret, "a").await.text("node_key"),
        team: server.post("/teams").by(&owner).json(json!({"name": "T"})).await.text("id"),
        secret,
    };
    let mut routes = Vec::new();
    for (n, (method, path, _)) in ROUTES.iter().enumerate() {
        let takes_body = ["POST", "PUT", "PATCH"].contains(method);
        if !takes_body || BODILESS.contains(&(*method, *path)) {
            continue;
        }
        let mut concrete = path.replace("{user_id}", &owner.id);
        concrete = concrete.replace("{deed}", "accept-invitation");
        if path.contains("{id}") {
            concrete = concrete.replace("{id}", &roles::make(server, &owner, path, n).await);
        }
        if path.contains("{name}") {
            concrete = concrete.replace("{name}", &roles::make(server, &owner, path, n).await);
        }
        let body = match path.strip_prefix("/api/") {
            Some(rest) => agents_body(rest, &made),
            None => body(path, &made),
        };
        routes.push(Route { method, path: concrete, body, limit: limit(path) });
    }
    assert!(routes.len() > 40, "{}", routes.len());
    (owner, routes)
}

fn limit(path: &str) -> usize {
    let is_agents = path.starts_with("/api/");
    match path.rsplit('/').next() {
        Some("enroll") if is_agents => ENROLLMENT,
        Some("write" | "log") if is_agents => BULK,
        _ => SMALL,
    }
}

/// A body that people's routes understand, with every field that they know.
fn body(path: &str, made: &Made) -> Value {
    let random = "01a00000-0000-7000-8000-000000000000";
    let group = json!({"team_id": null, "tag": "kiosk", "enroll_secret_id": null});
    match path {
        "/auth/register" => json!({"setup_code": null, "email": "a@x.org", "name": "A",
            "password": PASSWORD, "organization": "O", "client": "cli"}),
        "/auth/login" => json!({"email": "a@x.org", "password": "p", "client": "cli"}),
        "/auth/refresh" => json!({"refresh_token": "x"}),
        "/auth/step-up" => json!({"password": "wrong"}),
        "/auth/revocations" => json!({"what": "token", "jti": random}),
        "/auth/device" => json!({"user_code": "BBBB-BBBB", "decision": "approve",
            "email": "a@x.org", "password": "p"}),
        "/auth/device/code" => json!({"client": "c"}),
        "/auth/device/token" => json!({"device_code": "x"}),
        "/auth/device/approval" => json!({"user_code": "BBBB-BBBB", "approve": true}),
        "/auth/org/switch" => json!({"org_id": random}),
        "/auth/verify-email" => json!({"token": "x"}),
        "/auth/forgot-password" | "/auth/verify-email/resend" => json!({"email": "a@x.org"}),
        "/auth/reset-password" => json!({"token": "x", "new_password": PASSWORD}),
        "/auth/accept-invitation" | "/auth/mailed/{deed}" => {
            json!({"token": "x", "name": "A", "password": PASSWORD})
        }
        "/auth/password" => json!({"current_password": "wrong", "new_password": PASSWORD,
            "end_other_sessions": false}),
        "/auth/email" => json!({"email": "a@x.org", "current_password": "wrong"}),
        "/invitations" => json!({"email": "b@x.org", "role": "viewer"}),
        "/users" => {
            json!({"email": "c@x.org", "name": "C", "role": "viewer", "password": PASSWORD})
        }
        "/users/{id}" => json!({"role": "viewer", "disabled": false}),
        "/roles" => json!({"name": "r", "description": "d", "permissions": ["devices:read"]}),
        "/roles/{name}" => json!({"description": "d", "permissions": ["devices:read"],
            "add_permissions": [], "remove_permissions": []}),
        "/teams" => json!({"name": "Other"}),
        "/teams/{id}" => json!({"name": "Renamed"}),
        "/teams/{id}/members/{user_id}" => json!({"role": "viewer"}),
        "/api-keys" => json!({"name": "k", "kind": "person", "scopes": ["devices:read"],
            "if_absent": false, "expires_at": null, "requests_per_minute": 5}),
        "/api-keys/{id}/rotate" => json!({"overlap_seconds": 5}),
        "/enroll-secrets" => json!({"name": "s", "team_id": made.team,
            "secret": "sixteen bytes or more", "expires_at": "2027-01-01T00:00:00Z",
            "max_uses": 3, "needs_approval": false, "hardware_ids": ["a"]}),
        "/devices/{id}" => json!({"state": null, "tags": ["kiosk"],
            "update_channels": {"orbit": "edge"}, "debug_for_seconds": 60}),
        "/devices/decommission" => group,
        "/devices/update-channels" => {
            let mut group = group;
            group["update_channels"] = json!({"orbit": "edge"});
            group
        }
        "/organization" => json!({"name": "Acme", "allowed_networks": ["192.0.2.0/24"],
            "key_environment": "live", "key_max_ttl_seconds": 0}),
        _ => panic!("what does {path} take?"),
    }
}

/// The same of agents' routes.
fn agents_body(path: &str, made: &Made) -> Value {
    match path.trim_start_matches("v1/") {
        "fleet/orbit/enroll" => {
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
            device["device_key"] = Value::Null;
            device["enroll_secret"] = made.secret.clone().into();
            device
        }
        "fleet/orbit/config" => json!({"orbit_node_key": made.orbit, "orbit_version": "1",
            "instance": "one", "takes_node_key": false, "osqueryd_renews": false}),
        "fleet/orbit/token" => json!({"orbit_node_key": made.orbit}),
        "fleet/orbit/device_token" => json!({"orbit_node_key": made.orbit,
            "device_auth_token": "0b2f1c1e-8a7e-4a53-9f4e-0d0c3f4b9a11"}),
        "fleet/orbit/updates" => json!({"orbit_node_key": made.orbit, "components": [
            {"component": "orbit", "channel": "stable", "state": "current"}
        ]}),
        "osquery/enroll" => json!({"enroll_secret": made.secret, "host_identifier": "c",
            "host_details": {"system_info": {"uuid": "c", "hostname": "h"}}}),
        "osquery/config" | "osquery/distributed/read" => json!({"node_key": made.node}),
        "osquery/distributed/write" => json!({"node_key": made.node, "statuses": {"a": 0},
            "messages": {}, "queries": {"fleet_detail_query_system_info": [{"hostname": "h"}]}}),
        "osquery/log" => {
            json!({"node_key": made.node, "log_type": "status", "data": [{"a": 1}]})
        }
        _ => panic!("what does {path} take?"),
    }
}

/// A server that lets everything be tried, where mail is written down and hashes are cheap.
async fn lenient(server: &TestServer) -> TestServer {
    accounts::mailing(server, |config| {
        config.limits.enroll_failures_per_minute = 1_000_000;
        config.limits.login_attempts = 1_000_000;
        accounts::cheap(config);
    })
    .await
}

fn send(server: &TestServer, owner: &Person, route: &Route, body: impl Into<Body>) -> Call {
    let of_form = "application/x-www-form-urlencoded";
    let kind = if route.is_form() { of_form } else { "application/json" };
    server.call(route.method, &route.path).by(owner).header("content-type", kind).bytes(body)
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
        for (body, status) in broken(route) {
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            let reply = send(&server, &owner, route, body).await;
            // A parser may notice the wrong shape before it comes to what is broken.
            let shape = reply.status == 422 && status == 400;
            assert!(reply.status == status || shape, "{} {shown}: {reply:?}", route.path);
            check_refusal(route, &reply, reply.status.as_u16());
        }
        if route.is_agents() {
            continue;
        }
        let json_or_form =
            if route.is_form() { "application/json" } else { "application/x-www-form-urlencoded" };
        for content_type in ["text/plain", json_or_form, "", "json"] {
            let call = server.call(route.method, &route.path).by(&owner);
            let reply = call.header("content-type", content_type).bytes(route.good()).await;
            check_refusal(route, &reply, 415);
        }
    }
}

/// Bodies that cannot be understood, and how they are refused.
fn broken(route: &Route) -> Vec<(Vec<u8>, u16)> {
    let good = route.good();
    let too_long = (vec![b' '; route.limit + 1], 413);
    if route.is_form() {
        let short = ["", "%", "=&=&=", "%00=%ff", "nothing=of+this"];
        return short.map(|body| (body.into(), 422)).into_iter().chain([too_long]).collect();
    }
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let mut not_utf8 = good.clone().into_bytes();
    not_utf8[2] = 0xff;
    let broken = [
        Vec::new(),
        good[..good.len() - 1].into(),
        b"{\"a\":".to_vec(),
        b"not json".to_vec(),
        deep.into_bytes(),
        not_utf8,
        b"{\"name\": \"\\ud800\"}".to_vec(),
        format!("{good} trailing").into_bytes(),
    ];
    let of_another_shape = ["null", "7", "\"text\"", "[]", "true"];
    let of_another_shape = of_another_shape.map(|body| (body.into(), 422));
    broken.map(|body| (body, 400)).into_iter().chain(of_another_shape).chain([too_long]).collect()
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
        check_understood(route, &send(&server, &owner, route, route.good()).await);
        for name in route.body.as_object().unwrap().keys() {
            let mut without =
                Route { body: route.body.clone(), path: route.path.clone(), ..*route };
            without.body.as_object_mut().unwrap().remove(name);
            let mut bodies = vec![without.good()];
            bodies.extend(strange_values().iter().map(|value| route.with(name, value)));
            for body in bodies {
                let shown: String = body.chars().take(200).collect();
                let reply = send(&server, &owner, route, body).await;
                assert!(reply.status.as_u16() < 500, "{} {name} {shown}: {reply:?}", route.path);
                if !reply.status.is_success() && !route.is_form() {
                    check_refusal(route, &reply, reply.status.as_u16());
                }
            }
        }
    }
}

/// Whether the good body of a route is one: what is wrong with the others is what was put into it.
#[track_caller]
fn check_understood(route: &Route, reply: &Reply) {
    if route.is_agents() {
        assert!(reply.status.is_success(), "{}: {reply:?}", route.path);
    }
    let told = String::from_utf8_lossy(&reply.body);
    for problem in ["malformed-body", "invalid-fields", "unsupported-media-type"] {
        assert!(!told.contains(problem), "{}: {told}", route.path);
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
    let login = json!({"email": owner.email, "password": PASSWORD});
    server.post("/auth/login").header("user-agent", &long).json(login).await.expect(200);
    for method in ["PUT", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let reply = server.call(method, "/devices").by(&owner).await;
        reply.expect(405).problem("method-not-allowed");
        assert_eq!(reply.header("allow"), Some("GET,HEAD"));
    }
}
