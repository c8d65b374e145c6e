//! What the server counts of itself: who may read it, that it is right, and that nobody outside makes
//! it grow. Prometheus' own parser reads it.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use serde::Deserialize;
use serde_json::{Value, json};
use server::{
    Config,
    config::{Metrics, Secret},
};

use crate::{
    accounts,
    harness::{PASSWORD, Reply, TestServer, machine},
};

crate::on_both_databases! {
    metrics_are_for_whoever_has_the_token,
    what_happens_is_counted,
    nobody_outside_makes_series,
    without_the_database_the_rest_is_told,
}

const TOKEN: &str = "a token for Prometheus alone";

#[derive(Debug, Deserialize)]
struct Page {
    families: BTreeMap<String, Family>,
    samples: BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize)]
struct Family {
    #[serde(rename = "type")]
    kind: String,
    help: String,
}

fn monitored(config: &mut Config) {
    config.metrics = Metrics { token: Some(Secret::new(TOKEN)) };
}

async fn scrape(server: &TestServer) -> Page {
    let reply = server.get("/metrics").bearer(TOKEN).await;
    let kind = reply.expect(200).header("content-type");
    assert_eq!(kind, Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    parse(&reply)
}

#[expect(clippy::disallowed_methods, reason = "the parser is a Python program")]
fn parse(reply: &Reply) -> Page {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/metrics.py");
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut parser = command.spawn().unwrap();
    parser.stdin.take().unwrap().write_all(&reply.body).unwrap();
    let output = parser.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "is python3-prometheus-client installed? {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

impl Page {
    #[track_caller]
    fn value(&self, sample: &str) -> f64 {
        *self.samples.get(sample).unwrap_or_else(|| panic!("no {sample} in {self:#?}"))
    }
}

/// Rows: E16
async fn metrics_are_for_whoever_has_the_token(server: TestServer) {
    server.get("/metrics").await.expect(404).problem("not-found");
    server.get("/metrics").bearer("").await.expect(404);
    let limited = |config: &mut Config| {
        monitored(config);
        config.limits.anonymous_requests_per_minute = 6;
    };
    let server = TestServer::start_with(server.engine, limited).await;
    let owner = server.owner().await;
    let key = json!({"name": "k", "scopes": ["devices:read"]});
    let key = server.post("/api-keys").by(&owner).json(key).await.text("key");
    server.get("/metrics").await.expect(401).problem("unauthenticated");
    server.get("/metrics").header("x-api-key", TOKEN).await.expect(401);
    for wrong in ["", "wrong", owner.access.as_str(), &key] {
        server.get("/metrics").bearer(wrong).await.expect(401).problem("unauthenticated");
    }
    let guess = server.get("/metrics").bearer("wrong").await;
    guess.expect(429).problem("too-many-attempts");
    for _ in 0..20 {
        server.get("/metrics").bearer(TOKEN).await.expect(200);
    }
    server.get("/devices").bearer(TOKEN).await.expect(429);
}

/// Rows: E16
async fn what_happens_is_counted(server: TestServer) {
    let server = accounts::mailing(&server, |config| {
        monitored(config);
        config.limits.login_attempts = 1;
    })
    .await;
    let owner = server.owner().await;
    let before = scrape(&server).await;
    let login = |password: &str| json!({"email": owner.email, "password": password});
    server.post("/auth/login").json(login(PASSWORD)).await.expect(200);
    server.post("/auth/login").json(login("wrong")).await.expect(401);
    server.post("/auth/login").json(login("wrong")).await.expect(429);
    let refresh = json!({"refresh_token": owner.refresh});
    server.post("/auth/refresh").json(refresh.clone()).await.expect(200);
    server.pass(60);
    server.post("/auth/refresh").json(refresh).await.expect(401);
    server.other_organization().await;
    let (_, secret) =
        server.secret(&server.login("other@example.org").await, json!({"max_uses": 1})).await;
    server.enroll(&secret, machine("a")).await.expect(200);
    server.enroll(&secret, machine("b")).await.expect(401);
    let forgot = json!({"email": owner.email});
    server.post("/auth/forgot-password").json(forgot).await.expect(202);
    server.get("/nothing/here").await.expect(404);
    let after = scrape(&server).await;
    let rose = |sample: &str| {
        after.value(sample) - before.samples.get(sample).copied().unwrap_or_default()
    };
    for (sample, by) in [
        ("fleetd_auth_logins_total{outcome=ok}", 3.0),
        ("fleetd_auth_logins_total{outcome=refused}", 1.0),
        ("fleetd_auth_logins_total{outcome=limited}", 1.0),
        ("fleetd_auth_refresh_total{outcome=ok}", 1.0),
        ("fleetd_auth_refresh_total{outcome=refused}", 1.0),
        ("fleetd_auth_suspicious_total{kind=refresh_token_reused}", 1.0),
        ("fleetd_auth_token_seconds_count{operation=issue}", 4.0),
        ("fleetd_limit_refusals_total{limit=login}", 1.0),
        ("fleetd_http_refusals_total{problem=wrong-login}", 1.0),
        ("fleetd_http_refusals_total{problem=not-found}", 1.0),
        ("fleetd_http_requests_total{method=GET,route=none,status=404}", 1.0),
        ("fleetd_http_requests_total{method=POST,route=/auth/login,status=200}", 3.0),
        ("fleetd_http_request_duration_seconds_count{method=POST,route=/auth/login}", 5.0),
        ("fleetd_password_hash_duration_seconds_count{}", 5.0),
        ("fleetd_enrollments_total{outcome=ok,program=orbit}", 1.0),
        ("fleetd_enrollments_total{outcome=refused,program=orbit}", 1.0),
    ] {
        assert_eq!(rose(sample), by, "{sample}");
    }
    for (sample, value) in [
        ("fleetd_http_requests_in_flight{}", 1.0),
        ("fleetd_organizations{}", 2.0),
        ("fleetd_people{}", 2.0),
        ("fleetd_devices{state=accepted}", 1.0),
        ("fleetd_devices{state=pending}", 0.0),
        ("fleetd_mails_queued{}", 2.0),
        ("fleetd_database_up{}", 1.0),
        ("fleetd_database_connections_max{}", 10.0),
        ("fleetd_password_jobs{}", 0.0),
        ("fleetd_auth_revoked_tokens{}", 0.0),
    ] {
        assert_eq!(after.value(sample), value, "{sample}");
    }
    accounts::mails(&server).await;
    let sent = scrape(&server).await;
    assert_eq!(
        (sent.value("fleetd_mails_queued{}"), sent.value("fleetd_mails_total{outcome=sent}")),
        (0.0, 2.0)
    );
    sessions_are_counted_by_state(&server).await;
}

async fn sessions_are_counted_by_state(server: &TestServer) {
    let count = async |state: &str| {
        scrape(server).await.value(&format!("fleetd_auth_sessions{{state={state}}}"))
    };
    server.pass(1800);
    for state in ["authenticated", "active", "idle", "warning"] {
        assert_eq!(count(state).await, 0.0, "those that have run out are not counted");
    }
    let first = server.login("owner@example.com").await;
    let second = server.login("other@example.org").await;
    server.get("/auth/user").by(&second).await.expect(200);
    assert_eq!((count("authenticated").await, count("active").await), (1.0, 1.0));
    server.pass(300);
    server.get("/auth/user").by(&second).await.expect(200);
    assert_eq!((count("idle").await, count("active").await), (1.0, 1.0));
    server.pass(1200);
    assert_eq!((count("warning").await, count("idle").await), (1.0, 1.0));
    let claims = crate::tokens::part(&first.access, 1);
    let again = server.login("owner@example.com").await;
    let revoke = async |what: Value| {
        server.post("/auth/revocations").by(&again).json(what).await.expect(204);
    };
    revoke(json!({"what": "session", "id": claims["sid"]})).await;
    assert_eq!(count("warning").await, 0.0);
    revoke(json!({"what": "token", "jti": claims["jti"]})).await;
    assert_eq!(scrape(server).await.value("fleetd_auth_revoked_tokens{}"), 1.0);
}

/// Rows: E16
async fn nobody_outside_makes_series(server: TestServer) {
    let server = TestServer::start_with(server.engine, monitored).await;
    let strange = async |n: u32| {
        let marker = format!("strange{n}");
        server.get(&format!("/{marker}")).from(&format!("198.51.100.{n}")).await.expect(404);
        server.get(&format!("/devices/{marker}")).await.expect(401);
        server.get(&format!("/device/{marker}")).await.expect(401);
        server.get(&format!("/updates/{marker}/{marker}.json")).await.expect(404);
        server.call(&format!("STRANGE{n}"), "/devices").await.expect(405);
        let login = json!({"email": format!("{marker}@x.org"), "password": marker});
        let login = server.post("/auth/login").header("user-agent", &marker).json(login);
        login.await.expect(401);
        let enroll = machine(&marker);
        server.enroll(&marker, enroll).await.expect(401);
    };
    strange(1).await;
    let before: Vec<_> = scrape(&server).await.samples.into_keys().collect();
    for n in 2..20 {
        strange(n).await;
    }
    let reply = server.get("/metrics").bearer(TOKEN).await;
    let page = String::from_utf8(reply.body.clone()).unwrap();
    assert!(!page.to_lowercase().contains("strange"), "{page}");
    let own = |sample: &String| !sample.contains("/metrics");
    let after: Vec<_> = parse(&reply).samples.into_keys().filter(own).collect();
    let before: Vec<_> = before.into_iter().filter(own).collect();
    assert_eq!(after, before);
    for route in ["/devices/{id}", "/device/{token}", "/updates/{path}"] {
        assert!(before.iter().any(|sample| sample.contains(&format!("route={route},"))), "{route}");
    }
    assert!(before.iter().any(|sample| sample.contains("{method=other,route=/devices,")));
}

/// Rows: E16
async fn without_the_database_the_rest_is_told(server: TestServer) {
    let server = TestServer::start_with(server.engine, monitored).await;
    let up = scrape(&server).await;
    assert!(up.samples.contains_key("fleetd_people{}"));
    server.fleet.close().await;
    server.get("/health/ready").await.expect(503);
    let down = scrape(&server).await;
    assert_eq!(down.value("fleetd_database_up{}"), 0.0);
    assert!(!down.families.contains_key("fleetd_people"), "{down:?}");
    let refused = "fleetd_http_requests_total{method=GET,route=/health/ready,status=503}";
    assert_eq!(down.value(refused), 1.0);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/server.md");
    let guide = fs::read_to_string(path).unwrap();
    for (name, family) in &up.families {
        let total = if family.kind == "counter" { "_total" } else { "" };
        assert!(guide.contains(&format!("`{name}{total}")), "{name} is not in the guide");
        assert!(family.help.ends_with('.') && family.kind != "unknown", "{name}: {family:?}");
    }
}
