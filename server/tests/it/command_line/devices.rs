//! `fleetctl enroll-secrets` and `fleetctl devices`, with devices that ask as orbit does.

use serde_json::{Value, json};

use super::{Site, each, on_both};
use crate::harness::{machine, runtime, text};

/// What a device is answered.
fn ask(site: &Site, path: &str, body: Value) -> (u16, Value) {
    runtime().block_on(async {
        let url = format!("{}/api/fleet/orbit/{path}", site.server.url);
        let reply = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
        (reply.status().as_u16(), reply.json().await.unwrap())
    })
}

fn enroll(site: &Site, secret: &str, uuid: &str) -> (u16, Value) {
    let mut device = machine(uuid);
    device["enroll_secret"] = secret.into();
    ask(site, "enroll", device)
}

/// The key of a device that is let in.
#[track_caller]
fn enrolled(site: &Site, secret: &str, uuid: &str) -> String {
    let (status, reply) = enroll(site, secret, uuid);
    assert_eq!(status, 200, "{reply}");
    text(&reply, "orbit_node_key")
}

fn works(site: &Site, node_key: &str) -> bool {
    ask(site, "config", json!({"orbit_node_key": node_key})).0 == 200
}

fn in_state(site: &Site, state: &str) -> Vec<String> {
    each(&site.ann.json(&["devices", "list", "--state", state]), "hostname")
}

#[test]
fn enroll_secrets_are_made_listed_and_revoked() {
    on_both(false, |site| {
        let ann = &site.ann;
        ann.run(&["teams", "create", "Lab"]).ok();
        let create = ["enroll-secrets", "create", "--name", "laptops"];
        let more = ["--team", "Lab", "--max-uses", "2", "--expires-in", "30d", "--quiet"];
        let secret = ann.run(&[&create[..], &more[..]].concat()).line();
        assert!(secret.starts_with("fleetd_ek_live_"), "{secret}");
        enrolled(site, &secret, "a");
        let listed = ann.run(&["enroll-secrets", "list", "--output", "json"]).ok();
        assert!(!listed.contains(&secret));
        let listed = ann.json(&["enroll-secrets", "list"]);
        assert_eq!((&listed[0]["use_count"], &listed[0]["max_uses"]), (&json!(1), &json!(2)));
        let devices = ann.json(&["devices", "list", "--team", "Lab"]);
        assert_eq!(each(&devices, "hostname"), ["host-a"]);

        let own = ["enroll-secrets", "create", "--name", "own", "--secret-stdin", "--quiet"];
        let chosen = "a secret that Ann chose";
        assert_eq!(ann.reading(chosen, &own).line(), chosen);
        ann.reading("", &own).fails(2);
        assert!(ann.reading("short\n", &own).fails(1).contains("at least 16 bytes"));
        ann.run(&["enroll-secrets", "create", "--name", "no", "--team", "Attic"]).fails(1);

        ann.run(&["enroll-secrets", "revoke", "laptops"]).ok();
        assert_eq!(enroll(site, &secret, "b").0, 401);
        ann.run(&["enroll-secrets", "revoke", "laptops"]).fails(1);
        let listed = ann.json(&["enroll-secrets", "list"]);
        assert!(listed[0]["revoked_at"].is_string(), "{listed}");
    });
}

/// Rows in part: V2, V4
#[test]
fn devices_are_approved_rejected_tagged_and_decommissioned() {
    on_both(false, |site| {
        let ann = &site.ann;
        let create = ["enroll-secrets", "create", "--name", "laptops", "--needs-approval"];
        let secret = ann.run(&[&create[..], &["--quiet"]].concat()).line();
        let (status, reply) = enroll(site, &secret, "a");
        assert_eq!(status, 401, "{reply}");
        enroll(site, &secret, "b");
        assert_eq!(in_state(site, "pending"), ["host-a", "host-b"]);
        ann.run(&["devices", "approve", "host-a"]).ok();
        let key = enrolled(site, &secret, "a");
        assert!(works(site, &key));
        ann.run(&["devices", "reject", "host-b"]).ok();
        assert_eq!(enroll(site, &secret, "b").0, 401);
        assert_eq!(in_state(site, "rejected"), ["host-b"]);
        ann.run(&["devices", "reject", "host-a"]).fails(1);
        let said = ann.run(&["devices", "approve", "host-z"]).fails(1);
        assert!(said.contains("there is no device `host-z`"), "{said}");
        ann.run(&["devices", "list", "--state", "lost"]).fails(2);

        ann.run(&["devices", "tag", "host-a", "lab", "kiosk"]).ok();
        let shown = ann.json(&["devices", "show", "host-a"]);
        assert_eq!(shown["tags"], json!(["kiosk", "lab"]));
        assert_eq!(shown["state"], "accepted");
        ann.run(&["devices", "tag", "host-a", "no spaces"]).fails(1);

        ann.run(&["devices", "decommission", "host-a"]).fails(2);
        assert!(works(site, &key));
        ann.run(&["devices", "decommission", "host-a", "--yes"]).ok();
        assert!(!works(site, &key));
        assert_eq!(enroll(site, &secret, "a").0, 401);
        let keys = ["a", "b"].map(|uuid| {
            ann.run(&["devices", "approve", &format!("host-{uuid}")]).ok();
            enrolled(site, &secret, uuid)
        });
        let many = ann.run(&["devices", "decommission", "--tag", "kiosk", "--yes"]);
        assert!(many.stderr.contains("1 devices are decommissioned"), "{many:?}");
        assert_eq!(keys.each_ref().map(|key| works(site, key)), [false, true]);
        ann.run(&["devices", "decommission", "--enroll-secret", "laptops", "--yes"]).ok();
        assert!(!works(site, &keys[1]));
        assert_eq!(in_state(site, "decommissioned"), ["host-a", "host-b"]);

        let bob = site.person("bob", "viewer");
        bob.run(&["devices", "approve", "host-a"]).fails(1);
        ann.run(&["devices", "delete", "host-a", "--yes"]).ok();
        assert_eq!(each(&bob.json(&["devices", "list"]), "hostname"), ["host-b"]);
    });
}
