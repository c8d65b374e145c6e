//! Which row a device lands on, and how devices are listed.

use serde_json::{Value, json};

use crate::harness::{TestServer, machine, text};

crate::on_both_databases! {
    a_copied_disk_with_another_machine_id_is_another_device,
    hardware_without_a_machine_id_matches_any,
    instance_identifiers_decide_in_instance_mode,
    osquery_lands_on_the_device_that_orbit_enrolled_last,
    osquery_without_orbit_makes_a_device,
    lists_are_paged_by_id_without_gaps,
    searching_looks_at_name_serial_and_uuid,
    wildcards_in_a_search_stand_for_themselves,
    an_unknown_or_malformed_id_is_not_found,
    a_device_that_is_silent_goes_offline,
    sightings_are_written_twice_a_minute_at_most,
    texts_that_are_too_long_are_cut_and_identifiers_refused,
}

async fn enroll(server: &TestServer, secret: &str, device: Value) -> String {
    server.enroll(secret, device).await.expect(200).text("orbit_node_key")
}

async fn a_copied_disk_with_another_machine_id_is_another_device(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let one = json!({"hardware_uuid": "u", "machine_id": "one"});
    let two = json!({"hardware_uuid": "u", "machine_id": "two"});
    let first = enroll(&server, &secret, one.clone()).await;
    let second = enroll(&server, &secret, two).await;
    assert_eq!(server.devices(&owner).await.len(), 2);
    assert!(server.orbit_works(&first).await && server.orbit_works(&second).await);
    enroll(&server, &secret, one).await;
    assert_eq!(server.devices(&owner).await.len(), 2);
    assert!(!server.orbit_works(&first).await, "the same machine replaced its own key");
    assert!(server.orbit_works(&second).await);
}

async fn hardware_without_a_machine_id_matches_any(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let device = |machine_id: Value| json!({"hardware_uuid": "U-1", "machine_id": machine_id});
    enroll(&server, &secret, machine("u-1")).await;
    enroll(&server, &secret, device("m".into())).await;
    assert_eq!(server.devices(&owner).await.len(), 1, "a row without one takes it on");
    enroll(&server, &secret, machine("U-1")).await;
    assert_eq!(server.devices(&owner).await.len(), 1, "a request without one matches");
    enroll(&server, &secret, device("other".into())).await;
    assert_eq!(server.devices(&owner).await.len(), 2, "the row remembered `m`");
}

async fn instance_identifiers_decide_in_instance_mode(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let device =
        |identifier: &str| json!({"hardware_uuid": "same", "osquery_identifier": identifier});
    enroll(&server, &secret, device("instance-1")).await;
    enroll(&server, &secret, device("instance-2")).await;
    enroll(&server, &secret, device("instance-1")).await;
    assert_eq!(server.devices(&owner).await.len(), 2);
    server.enroll_osquery(&secret, "instance-2").await.expect(200);
    let devices = server.devices(&owner).await;
    assert_eq!(devices.len(), 2);
    assert!(devices[1]["osquery_enrolled_at"].is_string());
    assert!(devices[0].get("osquery_enrolled_at").is_none());
}

async fn osquery_lands_on_the_device_that_orbit_enrolled_last(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    enroll(&server, &secret, json!({"hardware_uuid": "u", "machine_id": "one"})).await;
    server.pass(1);
    enroll(&server, &secret, json!({"hardware_uuid": "u", "machine_id": "two"})).await;
    server.pass(1);
    enroll(&server, &secret, json!({"hardware_uuid": "u", "machine_id": "one"})).await;
    server.enroll_osquery(&secret, "U").await.expect(200);
    let devices = server.devices(&owner).await;
    assert_eq!(devices.len(), 2);
    assert!(devices[0]["osquery_enrolled_at"].is_string(), "`one` enrolled last");
    assert!(devices[1].get("osquery_enrolled_at").is_none());
}

async fn osquery_without_orbit_makes_a_device(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let request = json!({
        "enroll_secret": secret, "host_identifier": "lone-wolf", "platform_type": "9",
        "host_details": {
            "os_version": {"name": "Debian GNU/Linux", "version": "12 (bookworm)", "platform": "debian"},
            "osquery_info": {"version": "5.19.0"},
            "system_info": {"uuid": "hw-uuid", "hostname": "wolf", "hardware_serial": "S1"},
            "platform_info": {}
        }
    });
    server.post("/api/v1/osquery/enroll").json(request).await.expect(200);
    let devices = server.devices(&owner).await;
    assert_eq!(devices.len(), 1);
    assert_eq!(devices[0]["hardware_uuid"], "hw-uuid");
    assert_eq!(devices[0]["hostname"], "wolf");
    assert_eq!(devices[0]["os_version"], "Debian GNU/Linux 12 (bookworm)");
    assert!(devices[0].get("orbit_enrolled_at").is_none());
}

async fn lists_are_paged_by_id_without_gaps(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    for n in 0..7 {
        enroll(&server, &secret, machine(&format!("d{n}"))).await;
    }
    let mut seen = Vec::new();
    let mut path = "/devices?limit=3".to_owned();
    loop {
        let page = server.get(&path).by(&owner).await.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        seen.extend(items.iter().map(|device| text(device, "hardware_uuid")));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/devices?limit=3&after={next}");
    }
    assert_eq!(seen, ["d0", "d1", "d2", "d3", "d4", "d5", "d6"]);
    for bad in ["limit=0", "limit=501", "limit=-1", "limit=x", "after=x", "after=%00", "team_id=1"]
    {
        let reply = server.get(&format!("/devices?{bad}")).by(&owner).await;
        reply.expect(400).problem("invalid-parameter");
    }
}

async fn searching_looks_at_name_serial_and_uuid(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let device =
        json!({"hardware_uuid": "UUID-77", "hostname": "Kiosk", "hardware_serial": "SN-42"});
    enroll(&server, &secret, device).await;
    enroll(&server, &secret, machine("else")).await;
    for text in ["kios", "sn-4", "uuid-7", "KIOSK"] {
        let found = server.get(&format!("/devices?query={text}")).by(&owner).await.json();
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{text}");
    }
    let umlaut = json!({"hardware_uuid": "UUID-78", "hostname": "ÄRZTEHAUS-ÉTÉ"});
    enroll(&server, &secret, umlaut).await;
    for text in ["%C3%A4rzteh", "%C3%84RZTE", "haus-%C3%A9t%C3%A9", "uuid-78"] {
        let found = server.get(&format!("/devices?query={text}")).by(&owner).await.json();
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{text}");
    }
    let all = server.get("/devices?query=").by(&owner).await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 3);
    server.get("/devices?query=%00").by(&owner).await.expect(422);
}

async fn wildcards_in_a_search_stand_for_themselves(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    enroll(&server, &secret, json!({"hardware_uuid": "1", "hostname": "100%_a\\b"})).await;
    enroll(&server, &secret, json!({"hardware_uuid": "2", "hostname": "1000-ab"})).await;
    for (query, count) in
        [("0%25", 1), ("%25_", 1), ("a%5Cb", 1), ("_", 1), ("%25%25", 0), ("0", 2)]
    {
        let found = server.get(&format!("/devices?query={query}")).by(&owner).await.json();
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{query}");
    }
}

async fn an_unknown_or_malformed_id_is_not_found(server: TestServer) {
    let owner = server.owner().await;
    for id in ["01a00000-0000-7000-8000-000000000000", "x", "%00", "..%2f", "%ff"] {
        let reply = server.get(&format!("/devices/{id}")).by(&owner).await;
        reply.expect(404).problem("not-found");
        server.delete(&format!("/devices/{id}")).by(&owner).await.expect(404);
    }
}

async fn a_device_that_is_silent_goes_offline(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let key = enroll(&server, &secret, machine("a")).await;
    let status = async || text(&server.devices(&owner).await[0], "status");
    assert_eq!(status().await, "online");
    server.pass(150);
    assert_eq!(status().await, "online");
    server.pass(1);
    assert_eq!(status().await, "offline");
    assert!(server.orbit_works(&key).await);
    assert_eq!(status().await, "online");
}

async fn sightings_are_written_twice_a_minute_at_most(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let key = enroll(&server, &secret, machine("a")).await;
    let seen = async || text(&server.devices(&owner).await[0], "last_seen_at");
    let enrolled = seen().await;
    server.pass(29);
    assert!(server.orbit_works(&key).await);
    assert_eq!(seen().await, enrolled);
    server.pass(1);
    assert!(server.orbit_works(&key).await);
    assert_eq!(seen().await, "2026-03-01T12:00:30Z");
}

async fn texts_that_are_too_long_are_cut_and_identifiers_refused(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let long = "ä".repeat(300);
    let device = json!({"hardware_uuid": "a", "hostname": long, "computer_name": "tab\there\u{0}"});
    enroll(&server, &secret, device).await;
    let shown = &server.devices(&owner).await[0];
    assert_eq!(text(shown, "hostname"), "ä".repeat(127));
    assert_eq!(text(shown, "computer_name"), "tabhere");
    for uuid in ["", "  ", "a\u{0}b", long.as_str()] {
        let reply = server.enroll(&secret, json!({"hardware_uuid": uuid})).await;
        assert!(reply.expect(422).json()["error"].is_string());
    }
}
