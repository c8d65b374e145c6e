//! Which channels devices are updated from, and who may say so.

use serde_json::{Value, json};
use wire::Role;

use crate::harness::{Person, Reply, TestServer, machine, text};

crate::on_both_databases! {
    updates_are_deployed_by_whoever_may,
    a_group_is_deployed_to_in_one_call,
}

async fn followed(server: &TestServer, key: &str) -> Value {
    let ask = json!({"orbit_node_key": key});
    let told = server.post("/api/fleet/orbit/config").json(ask).await.expect(200).json();
    told["update_channels"].clone()
}

/// Rows: R9
async fn updates_are_deployed_by_whoever_may(server: TestServer) {
    let server = TestServer::start_with(server.engine, |config| {
        let channels = &mut config.orbit.update_channels;
        channels.osqueryd = Some("stable".to_owned());
        channels.desktop = Some("edge".to_owned());
    })
    .await;
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let device = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    let configured = json!({"osqueryd": "stable", "desktop": "edge"});
    assert_eq!(followed(&server, &device).await, configured);
    let path = format!("/devices/{}", text(&server.devices(&owner).await[0], "id"));
    let deploy = async |token: &str, channels: Value| {
        let change = json!({"update_channels": channels});
        server.call("PATCH", &path).bearer(token).json(change).await
    };
    let viewer = server.person(&owner, Role::Viewer).await;
    let edge = json!({"orbit": "edge"});
    let refused = deploy(&viewer.access, edge.clone()).await;
    let detail = refused.expect(403).problem("forbidden").text("detail");
    assert!(detail.contains("`updates:deploy`"), "{detail}");
    let key = async |scopes: Value| {
        let new = json!({"name": "k", "scopes": scopes});
        server.post("/api-keys").by(&owner).json(new).await.expect(201).text("key")
    };
    let configures = key(json!(["devices:read", "devices:configure", "devices:write"])).await;
    deploy(&configures, edge.clone()).await.expect(403).problem("forbidden");
    assert_eq!(followed(&server, &device).await, configured, "nothing was deployed");

    let operator = server.person(&owner, Role::Operator).await;
    let wanted = json!({"orbit": "1.2", "osqueryd": "edge"});
    let shown = deploy(&operator.access, wanted.clone()).await.expect(200).json();
    assert_eq!(shown["update_channels"], wanted);
    let merged = json!({"orbit": "1.2", "osqueryd": "edge", "desktop": "edge"});
    assert_eq!(followed(&server, &device).await, merged);
    for bad in [json!({"orbit": "beta"}), json!({"osquery": "edge"}), json!({"orbit": "../edge"})] {
        deploy(&operator.access, bad).await.expect(422).problem("invalid-fields");
    }
    let deploys = key(json!(["devices:read", "updates:deploy"])).await;
    deploy(&deploys, edge.clone()).await.expect(200);
    let tags = json!({"tags": ["kiosk"]});
    server.call("PATCH", &path).bearer(&deploys).json(tags).await.expect(403);
    deploy(&operator.access, json!({})).await.expect(200);
    assert_eq!(followed(&server, &device).await, configured, "the server's own hold again");
    let events = server.get("/audit?event=device.update_channels_changed").by(&owner).await.json();
    let changes: Vec<_> =
        events["items"].as_array().unwrap().iter().map(|it| it["changes"].clone()).collect();
    assert_eq!(
        changes,
        [
            json!({"before": {}, "after": wanted}),
            json!({"before": wanted, "after": edge}),
            json!({"before": edge, "after": {}}),
        ]
    );
}

/// Rows: R9
async fn a_group_is_deployed_to_in_one_call(server: TestServer) {
    let owner = server.owner().await;
    let (mut teams, mut keys, mut secrets) = (Vec::new(), Vec::new(), Vec::new());
    for name in ["one", "two"] {
        let team = server.post("/teams").by(&owner).json(json!({"name": name})).await.text("id");
        let (id, secret) = server.secret(&owner, json!({"team_id": team})).await;
        keys.push(server.enroll(&secret, machine(name)).await.text("orbit_node_key"));
        teams.push(team);
        secrets.push(id);
    }
    let deploy = async |by: &Person, which: Value| -> Reply {
        server.post("/devices/update-channels").by(by).json(which).await
    };
    let count = |reply: &Reply| reply.expect(200).json()["devices"].as_u64().unwrap();
    let both = async || (followed(&server, &keys[0]).await, followed(&server, &keys[1]).await);
    let edge = json!({"orbit": "edge"});
    let reply = deploy(&owner, json!({"team_id": teams[0], "update_channels": edge})).await;
    assert_eq!((count(&reply), both().await), (1, (edge.clone(), Value::Null)));
    for device in server.devices(&owner).await {
        let path = format!("/devices/{}", text(&device, "id"));
        let tags = json!({"tags": ["lab"]});
        server.call("PATCH", &path).by(&owner).json(tags).await.expect(200);
    }

    let nothing = json!({"name": "member", "permissions": []});
    server.post("/roles").by(&owner).json(nothing).await.expect(201);
    let person = server.person(&owner, Role::Viewer).await;
    let lab = json!({"tag": "lab", "update_channels": {"orbit": "2"}});
    deploy(&person, lab.clone()).await.expect(403).problem("forbidden");
    let member = json!({"role": "member"});
    server
        .call("PATCH", &format!("/users/{}", person.id))
        .by(&owner)
        .json(member)
        .await
        .expect(200);
    let of_one = format!("/teams/{}/members/{}", teams[0], person.id);
    let operator = json!({"role": "operator"});
    server.call("PUT", &of_one).by(&owner).json(operator).await.expect(200);
    let version = json!({"orbit": "2"});
    let reply = deploy(&person, lab.clone()).await;
    assert_eq!((count(&reply), both().await), (1, (version.clone(), Value::Null)));
    let others = json!({"team_id": teams[1], "update_channels": {"orbit": "2"}});
    assert_eq!(count(&deploy(&person, others).await), 0, "the other team is not theirs");
    assert_eq!(count(&deploy(&owner, lab.clone()).await), 2);
    let back = json!({"enroll_secret_id": secrets[1], "update_channels": {}});
    let reply = deploy(&owner, back).await;
    assert_eq!((count(&reply), both().await), (1, (version, Value::Null)));
    for bad in [
        json!({"update_channels": {"orbit": "2"}}),
        json!({"tag": "lab", "team_id": teams[0], "update_channels": {"orbit": "2"}}),
        json!({"tag": "lab", "update_channels": {"orbit": "newest"}}),
        json!({"tag": "lab"}),
    ] {
        deploy(&owner, bad).await.expect(422).problem("invalid-fields");
    }
    let stranger = server.other_organization().await;
    assert_eq!(count(&deploy(&stranger, lab).await), 0);
    let events = server.get("/audit?event=device.update_channels_changed").by(&owner).await.json();
    assert_eq!(events["items"].as_array().unwrap().len(), 5, "one for each call");
}
