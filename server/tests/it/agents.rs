//! What agents ask once they are enrolled, in Fleet's shapes.

use serde_json::{Value, json};
use wire::Role;

use crate::harness::{Person, Reply, TestServer, machine, text};

crate::on_both_databases! {
    ping_answers_get_and_head_with_capabilities,
    orbit_config_tells_the_configured_flags_and_notes_the_version,
    a_new_device_is_asked_about_its_system_and_then_left_alone,
    failed_and_foreign_results_change_nothing,
    osquery_config_is_what_the_operator_set,
    log_lines_are_kept_in_files,
    a_log_of_countless_lines_is_refused,
    updates_are_shown_and_counted_where_they_belong,
    telemetry_is_read_by_whoever_may_and_told_by_devices_alone,
    components_that_crash_are_shown_counted_and_on_record,
    an_agent_logs_more_for_as_long_as_somebody_says,
    a_desktop_token_belongs_to_one_device,
    a_desktop_token_shows_its_device_until_it_is_replaced_or_old,
    guessing_desktop_tokens_is_slowed_down,
    refusals_have_the_agents_shapes,
}

/// Where Fleet's agents look for what their users may know.
const DEVICES: &str = "/api/latest/fleet/device";

/// A device with both of its keys.
async fn enrolled(server: &TestServer) -> (Person, String, String) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let orbit = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    let osquery = server.enroll_osquery(&secret, "a").await.text("node_key");
    (owner, orbit, osquery)
}

async fn ping_answers_get_and_head_with_capabilities(server: TestServer) {
    for method in ["GET", "HEAD"] {
        let reply = server.call(method, "/api/fleet/orbit/ping").await;
        let capabilities = reply.expect(200).header("x-fleet-capabilities").unwrap();
        assert!(capabilities.contains("token_rotation"), "{capabilities}");
        assert_eq!(reply.body, b"");
    }
}

async fn orbit_config_tells_the_configured_flags_and_notes_the_version(server: TestServer) {
    let (owner, orbit, _) = enrolled(&server).await;
    let ask = json!({"orbit_node_key": orbit, "orbit_version": "9.9.9"});
    let reply = server.post("/api/fleet/orbit/config").json(ask).await;
    let usual = json!({"osqueryd_enrolls_with_node_key": true});
    assert_eq!(reply.expect(200).json(), usual);
    assert_eq!(server.devices(&owner).await[0]["orbit_version"], "9.9.9");

    let with_flags = TestServer::start_with(server.engine, |config| {
        config.orbit.command_line_startup_flags.insert("verbose".to_owned(), true.into());
    })
    .await;
    let (_, orbit, _) = enrolled(&with_flags).await;
    let reply =
        with_flags.post("/api/fleet/orbit/config").json(json!({"orbit_node_key": orbit})).await;
    assert_eq!(reply.json()["command_line_startup_flags"], json!({"verbose": true}));
}

async fn a_new_device_is_asked_about_its_system_and_then_left_alone(server: TestServer) {
    let (owner, _, osquery) = enrolled(&server).await;
    let read = async || {
        let ask = json!({"node_key": osquery});
        server.post("/api/v1/osquery/distributed/read").json(ask).await.expect(200).json()
    };
    let asked = read().await;
    let queries = asked["queries"].as_object().unwrap();
    assert_eq!(queries.len(), 3);
    assert!(queries.keys().all(|name| name.starts_with("fleet_detail_query_")));
    assert!(queries.keys().eq(asked["discovery"].as_object().unwrap().keys()));
    assert_eq!(asked["accelerate"], 10);
    let write = json!({
        "node_key": osquery,
        "queries": {
            "fleet_detail_query_os_version": [{"name": "Ubuntu", "version": "24.04", "platform": "ubuntu",
                                               "platform_like": "debian"}],
            "fleet_detail_query_osquery_info": [{"version": "5.19.0"}],
            "fleet_detail_query_system_info": [{"hostname": "kiosk", "hardware_serial": "S", "cpu_type": "x86_64"}]
        },
        "statuses": {"fleet_detail_query_os_version": 0, "fleet_detail_query_osquery_info": "0"},
        "messages": {}
    });
    let reply = server.post("/api/osquery/distributed/write").json(write).await;
    assert_eq!(reply.expect(200).json(), json!({}));
    let device = &server.devices(&owner).await[0];
    assert_eq!(device["os_version"], "Ubuntu 24.04");
    assert_eq!(device["osquery_version"], "5.19.0");
    assert_eq!(device["hostname"], "kiosk");
    assert_eq!(read().await, json!({"queries": {}, "discovery": {}}));
    server.pass(3600);
    assert_eq!(read().await["queries"].as_object().unwrap().len(), 3);
}

async fn failed_and_foreign_results_change_nothing(server: TestServer) {
    let (owner, _, osquery) = enrolled(&server).await;
    let before = text(&server.devices(&owner).await[0], "hostname");
    for queries in [
        json!({"fleet_detail_query_system_info": ""}),
        json!({"fleet_detail_query_system_info": [{"hostname": 7}]}),
        json!({"fleet_detail_query_system_info": [["hostname"]]}),
        json!({"somebody_elses": [{"hostname": "evil"}]}),
        json!({}),
    ] {
        let write = json!({"node_key": osquery, "queries": queries});
        server.post("/api/osquery/distributed/write").json(write).await.expect(200);
    }
    let failed = json!({
        "node_key": osquery, "statuses": {"fleet_detail_query_system_info": "1"},
        "queries": {"fleet_detail_query_system_info": [{"hostname": "evil"}]},
        "messages": {"fleet_detail_query_system_info": "no such table"}
    });
    server.post("/api/osquery/distributed/write").json(failed).await.expect(200);
    assert_eq!(text(&server.devices(&owner).await[0], "hostname"), before);
}

async fn osquery_config_is_what_the_operator_set(server: TestServer) {
    let (_, _, osquery) = enrolled(&server).await;
    for prefix in wire::osquery::PREFIXES {
        let ask = json!({"node_key": osquery});
        let config = server.post(&format!("{prefix}/config")).json(ask).await.expect(200).json();
        assert_eq!(config["options"]["logger_tls_period"], 10);
        assert!(config["decorators"]["load"].is_array());
    }
}

async fn log_lines_are_kept_in_files(server: TestServer) {
    let (_, _, osquery) = enrolled(&server).await;
    for (log_type, line) in [
        ("status", json!({"message": "hällo\u{0}\nworld"})),
        ("result", json!({"name": "q", "columns": {"a": "1"}})),
    ] {
        let log = json!({"node_key": osquery, "log_type": log_type, "data": [line, line]});
        let reply = server.post("/api/osquery/log").json(log).await;
        assert_eq!(reply.expect(200).json(), json!({}));
        let path = server.dir.path().join(format!("data/osquery-logs/{log_type}.log"));
        let lines = std::fs::read_to_string(path).unwrap();
        let lines: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["line"], line);
        assert!(lines[0]["device_id"].is_string());
    }
    let unknown = json!({"node_key": osquery, "log_type": "gossip", "data": []});
    server.post("/api/osquery/log").json(unknown).await.expect(422);
}

async fn a_log_of_countless_lines_is_refused(server: TestServer) {
    let (_, _, osquery) = enrolled(&server).await;
    let log = async |count: usize| {
        let log = json!({"node_key": osquery, "log_type": "status", "data": vec![0; count]});
        server.post("/api/osquery/log").json(log).await
    };
    log(10_001).await.expect(413);
    assert!(!server.dir.path().join("data/osquery-logs").exists());
    log(10_000).await.expect(200);
}

async fn updates_are_shown_and_counted_where_they_belong(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let key = async |name: &str| server.enroll(&secret, machine(name)).await.text("orbit_node_key");
    let (one, two, three) = (key("one").await, key("two").await, key("three").await);
    let tell = async |key: &str, component: Value| {
        let request = json!({"orbit_node_key": key, "components": [component]});
        let reply = server.post("/api/fleet/orbit/updates").json(request).await;
        reply.expect(200).json()["tallies"]["orbit"].clone()
    };
    let offered = |state: &str, version: &str| {
        json!({"component": "orbit", "channel": "stable", "state": state, "version": version,
            "offered_version": "1.1.0", "failures": 0})
    };
    let mut failed = offered("rolled_back", "1.0.0");
    failed["blocked_version"] = "1.1.0".into();
    failed["detail"] = "it ended\nthree times".into();
    assert_eq!(
        tell(&one, offered("waiting", "1.0.0")).await,
        json!({"attempts": 0, "failures": 0})
    );
    assert_eq!(tell(&one, offered("trying", "1.0.0")).await, json!({"attempts": 1, "failures": 0}));
    assert_eq!(
        tell(&two, offered("current", "1.1.0")).await,
        json!({"attempts": 2, "failures": 0})
    );
    assert_eq!(tell(&one, failed).await, json!({"attempts": 2, "failures": 1}));
    assert_eq!(
        tell(&three, offered("waiting", "1.0.0")).await,
        json!({"attempts": 2, "failures": 1})
    );
    let other = json!({"component": "other", "channel": "", "state": "current"});
    assert_eq!(tell(&three, other).await, Value::Null);

    let devices = server.devices(&owner).await;
    let shown = |name: &str| {
        let wanted = &machine(name)["hardware_uuid"];
        devices.iter().find(|it| it["hardware_uuid"] == *wanted).unwrap()
    };
    assert_eq!(shown("one")["updates"][0]["state"], "rolled_back");
    assert_eq!(shown("one")["updates"][0]["detail"], "it endedthree times");
    assert_eq!(shown("two")["updates"][0]["version"], "1.1.0");
    assert!(shown("three").get("updates").is_none());

    let mut waits = offered("waiting", "1.0.0");
    waits["due_at"] = "2999-01-01T00:00:00Z".into();
    waits["failures"] = 3.into();
    tell(&three, waits).await;
    let metrics = server.get("/devices/metrics").by(&owner).await;
    let kind = metrics.expect(200).header("content-type");
    assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    let gauges: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let of = "component=\"orbit\",channel=\"stable\"";
    assert_eq!(
        gauges,
        [
            format!("fleet_update_devices{{{of},version=\"1.0.0\",state=\"rolled_back\"}} 1"),
            format!("fleet_update_devices{{{of},version=\"1.0.0\",state=\"waiting\"}} 1"),
            format!("fleet_update_devices{{{of},version=\"1.1.0\",state=\"current\"}} 1"),
            format!("fleet_update_wave_pending_devices{{{of},version=\"1.1.0\"}} 1"),
            format!("fleet_update_rolled_back_devices{{{of},version=\"1.1.0\"}} 1"),
            "fleet_device_clones_suspected 0".to_owned(),
            format!("fleet_update_failures{{{of}}} 3"),
        ]
    );
    server.get("/devices/metrics").await.expect(401);

    let id = shown("one")["id"].as_str().unwrap().to_owned();
    server.delete(&format!("/devices/{id}")).by(&owner).await.expect(204);
    assert_eq!(
        tell(&three, offered("waiting", "1.0.0")).await,
        json!({"attempts": 1, "failures": 0})
    );
}

/// Rows: R11, R16
async fn telemetry_is_read_by_whoever_may_and_told_by_devices_alone(server: TestServer) {
    let (owner, orbit, osquery) = enrolled(&server).await;
    let report = |key: &str, state: &str| {
        let component = json!({"component": "orbit", "channel": "stable", "state": state});
        json!({"orbit_node_key": key, "components": [component]})
    };
    let tell = async |report: Value| server.post("/api/fleet/orbit/updates").json(report).await;
    tell(report(&orbit, "current")).await.expect(200);
    let read = async |token: &str| server.get("/devices/metrics").bearer(token).await;
    let count = |reply: &Reply| {
        let text = String::from_utf8(reply.expect(200).body.clone()).unwrap();
        text.lines().filter(|line| line.starts_with("fleet_update_devices{")).count()
    };
    let viewer = server.person(&owner, Role::Viewer).await;
    assert_eq!(count(&read(&viewer.access).await), 1);
    let key = async |scope: &str| {
        let new = json!({"name": "k", "scopes": [scope]});
        server.post("/api-keys").by(&owner).json(new).await.expect(201).text("key")
    };
    assert_eq!(count(&read(&key("telemetry:read").await).await), 1);
    let blind = read(&key("devices:read").await).await;
    let detail = blind.expect(403).problem("forbidden").text("detail");
    assert!(detail.contains("`telemetry:read`"), "{detail}");

    let id = text(&server.devices(&owner).await[0], "id");
    let refetch = async |by: &Person| server.post(&format!("/devices/{id}/refetch")).by(by).await;
    refetch(&viewer).await.expect(403).problem("forbidden");
    for token in [&viewer.access, &owner.access] {
        let told = tell(report(token, "failing")).await.status.as_u16();
        assert!([401, 422].contains(&told), "nobody tells it in the place of a device: {told}");
    }
    let asked = async || {
        let ask = json!({"node_key": osquery});
        let asked = server.post("/api/osquery/distributed/read").json(ask).await.expect(200).json();
        asked["queries"].as_object().unwrap().len()
    };
    assert_eq!(asked().await, 3);
    let system = json!({"fleet_detail_query_system_info": [{"hostname": "kiosk"}]});
    let write = json!({"node_key": osquery, "queries": system, "messages": {},
                       "statuses": {"fleet_detail_query_system_info": "0"}});
    server.post("/api/osquery/distributed/write").json(write).await.expect(200);
    assert_eq!(asked().await, 0);
    let stranger = server.other_organization().await;
    refetch(&stranger).await.expect(404);
    assert_eq!((asked().await, count(&read(&stranger.access).await)), (0, 0));
    let operator = server.person(&owner, Role::Operator).await;
    refetch(&operator).await.expect(204);
    assert_eq!(asked().await, 3, "it is asked anew");
}

async fn components_that_crash_are_shown_counted_and_on_record(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let key = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    let crash = |component: &str| json!({"component": component, "since": "2026-03-01T12:00:00Z", "detail": "exit status: 78"});
    let tell = async |loops: Option<Value>| {
        let mut report = json!({"orbit_node_key": key, "components": []});
        if let Some(loops) = loops {
            report["crash_loops"] = loops;
        }
        server.post("/api/fleet/orbit/updates").json(report).await.expect(200);
    };
    let shown = async || server.devices(&owner).await[0]["crash_loops"].clone();
    let recorded = async || {
        let events = server.get("/audit?event=device.crash_looped").by(&owner).await.json();
        events["items"].as_array().unwrap().len()
    };
    let counted = async || {
        let metrics = server.get("/devices/metrics").by(&owner).await;
        let text = String::from_utf8(metrics.expect(200).body.clone()).unwrap();
        text.contains("fleet_device_crash_loops{component=\"osqueryd\"} 1\n")
    };
    tell(None).await;
    assert_eq!((shown().await, counted().await, recorded().await), (Value::Null, false, 0));
    tell(Some(json!([crash("osqueryd"), crash("osqueryd"), crash("kernel")]))).await;
    assert_eq!(shown().await, json!([crash("osqueryd")]), "each that is known, once");
    tell(Some(json!([crash("osqueryd")]))).await;
    tell(None).await;
    assert_eq!((counted().await, recorded().await), (true, 1), "still the same crashes");
    tell(Some(json!([]))).await;
    assert_eq!((shown().await, counted().await), (Value::Null, false));
    tell(Some(json!([crash("osqueryd")]))).await;
    assert_eq!(recorded().await, 2, "others");
}

async fn an_agent_logs_more_for_as_long_as_somebody_says(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let key = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    let path = format!("/devices/{}", text(&server.devices(&owner).await[0], "id"));
    let wish = async |by: &Person, seconds: u64| {
        let change = json!({"debug_for_seconds": seconds});
        server.call("PATCH", &path).by(by).json(change).await
    };
    let told = async || {
        let ask = json!({"orbit_node_key": key});
        let config = server.post("/api/fleet/orbit/config").json(ask).await.expect(200).json();
        config["debug_for_seconds"].clone()
    };
    let viewer = server.person(&owner, Role::Viewer).await;
    wish(&viewer, 60).await.expect(403).problem("forbidden");
    wish(&owner, 86_401).await.expect(422).problem("invalid-fields");
    assert_eq!(told().await, Value::Null);
    let operator = server.person(&owner, Role::Operator).await;
    let shown = wish(&operator, 100).await.expect(200).json();
    assert!(shown["debug_until"].is_string(), "{shown}");
    assert_eq!(told().await, json!(100));
    server.pass(60);
    assert_eq!(told().await, json!(40));
    server.pass(40);
    assert_eq!(told().await, Value::Null);
    let device = server.get(&path).by(&owner).await.expect(200).json();
    assert_eq!(device["debug_until"], Value::Null, "it is over");
    wish(&operator, 3600).await.expect(200);
    wish(&operator, 0).await.expect(200);
    assert_eq!(told().await, Value::Null);
    let events = server.get("/audit?event=device.debug_changed").by(&owner).await.json();
    assert_eq!(events["items"].as_array().unwrap().len(), 3);
}

async fn a_desktop_token_belongs_to_one_device(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let one = server.enroll(&secret, machine("one")).await.text("orbit_node_key");
    let two = server.enroll(&secret, machine("two")).await.text("orbit_node_key");
    let set = async |key: &str, token: &str| {
        let request = json!({"orbit_node_key": key, "device_auth_token": token});
        server.post("/api/fleet/orbit/device_token").json(request).await
    };
    assert_eq!(set(&one, "token-1").await.expect(200).json(), json!({}));
    set(&one, "token-1").await.expect(200);
    set(&two, "token-1").await.expect(409);
    set(&one, "token-2").await.expect(200);
    set(&two, "token-1").await.expect(200);
    set("wrong", "token-3").await.expect(401);
}

async fn a_desktop_token_shows_its_device_until_it_is_replaced_or_old(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let mut device = machine("a");
    device["hostname"] = json!("ann's <laptop>");
    let key = server.enroll(&secret, device).await.text("orbit_node_key");
    let set = async |token: &str| {
        let request = json!({"orbit_node_key": key, "device_auth_token": token});
        server.post("/api/fleet/orbit/device_token").json(request).await.expect(200);
    };
    let summary = |token: &str| server.get(&format!("{DEVICES}/{token}/desktop"));
    let page = |token: &str| server.get(&format!("/device/{token}"));
    set("token-1").await;
    let told = summary("token-1").await.expect(200).json();
    assert_eq!(told["hostname"], "ann's <laptop>");
    assert_eq!(told["status"], "online");
    let html = String::from_utf8(page("token-1").await.expect(200).body.clone()).unwrap();
    assert!(html.contains("&#60;laptop&#62;"), "{html}");
    assert!(!html.contains("token-1"));

    set("token-2").await;
    let refused = summary("token-1").await.expect(401).json();
    assert!(refused["error"].is_string(), "{refused}");
    page("token-1").await.expect(401);
    summary("token-2").await.expect(200);
    server.pass(76 * 60);
    summary("token-2").await.expect(401);
    summary(&key.replace('/', "%2F")).await.expect(401);
    summary(&"x".repeat(300)).await.expect(401);
}

async fn guessing_desktop_tokens_is_slowed_down(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let key = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    let request = json!({"orbit_node_key": key, "device_auth_token": "token"});
    server.post("/api/fleet/orbit/device_token").json(request).await.expect(200);
    let mut status = 401;
    for guess in 0..1_000 {
        status = server.get(&format!("{DEVICES}/guess-{guess}/desktop")).await.status.as_u16();
        if status != 401 {
            break;
        }
    }
    assert_eq!(status, 429, "no end to the guessing");
    let other = server.second_node().await;
    for token in ["token", "guess", "token"] {
        other.get(&format!("{DEVICES}/{token}/desktop")).await.expect(429);
    }
    server.pass(120);
    for node in [&other, &server] {
        node.get(&format!("{DEVICES}/token/desktop")).await.expect(200);
    }
    let failures = async || {
        server.sql("SELECT at FROM attempts WHERE bucket LIKE 'desktop-token %'").await.len()
    };
    assert_eq!(failures().await, 60);
    server.fleet.sweep_leases().await.unwrap();
    assert_eq!(failures().await, 0);
}

async fn refusals_have_the_agents_shapes(server: TestServer) {
    let (_, orbit, osquery) = enrolled(&server).await;
    let cases = [
        ("POST", "/api/fleet/orbit/config", "{", 400),
        ("POST", "/api/fleet/orbit/config", "{}", 422),
        ("GET", "/api/fleet/orbit/config", "", 405),
        ("POST", "/api/fleet/orbit/nothing", "{}", 404),
        ("POST", "/api/osquery/config", "[]", 422),
        ("POST", "/api/v1/osquery/nothing", "{}", 404),
    ];
    for (method, path, body, status) in cases {
        let reply = server.call(method, path).bytes(body).await;
        let error = reply.expect(status).json();
        assert!(error["error"].is_string(), "{path}: {error}");
        assert!(error.get("node_invalid").is_none(), "only 401 makes osqueryd enroll again");
    }
    for (path, key) in [("/api/fleet/orbit/config", &osquery), ("/api/osquery/config", &orbit)] {
        let field = if path.contains("orbit") { "orbit_node_key" } else { "node_key" };
        server.post(path).json(json!({field: key})).await.expect(401);
    }
    server.fleet.close().await;
    let reply = server.post("/api/osquery/config").json(json!({"node_key": osquery})).await;
    assert!(
        reply.expect(503).json().get("node_invalid").is_none(),
        "an outage is no reason to enroll"
    );
    assert_eq!(reply.header("retry-after"), Some("1"));
}
