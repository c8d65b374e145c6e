//! A copy of the database tells no secret.

use std::process::Command;

use serde_json::json;

use crate::{
    harness::{Engine, PASSWORD, TestServer, machine},
    postgres::Cluster,
};

crate::on_both_databases! { a_dump_of_the_database_holds_no_secret }

/// Rows: F3, K10, T6
async fn a_dump_of_the_database_holds_no_secret(server: TestServer) {
    let code = server.fleet.new_setup_code().await.unwrap().unwrap().0.clone();
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let (_, given) = server.secret(&owner, json!({"secret": "a secret somebody chose"})).await;
    let node_key = server.enroll(&secret, machine("the-marker")).await.text("orbit_node_key");
    let osquery_key = server.enroll_osquery(&secret, "the-marker").await.text("node_key");
    let token = "desktop-token-9f8e7d";
    let request = json!({"orbit_node_key": node_key, "device_auth_token": token});
    server.post("/api/fleet/orbit/device_token").json(request).await.expect(200);
    let api_key = json!({"name": "k", "scopes": ["devices:read"]});
    let api_key = server.post("/api-keys").by(&owner).json(api_key).await.text("key");
    let dump = dump(&server);
    let holds = |text: &str| dump.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("the-marker"), "the dump is one of this database");
    for value in [
        &code,
        &owner.access,
        &owner.refresh,
        &secret,
        &given,
        &node_key,
        &osquery_key,
        token,
        &api_key,
        PASSWORD,
    ] {
        assert!(!holds(value), "{value}");
    }
}

fn dump(server: &TestServer) -> Vec<u8> {
    match server.engine {
        Engine::Sqlite => ["fleet.db", "fleet.db-wal"]
            .iter()
            .flat_map(|name| std::fs::read(server.dir.path().join("data").join(name)).unwrap())
            .collect(),
        Engine::Postgres => pg_dump(server.database.split(['/', '?']).nth(3).unwrap()),
    }
}

#[expect(clippy::disallowed_methods, reason = "tests start programs")]
fn pg_dump(database: &str) -> Vec<u8> {
    let output = Command::new("/usr/lib/postgresql/15/bin/pg_dump")
        .args(["-h", Cluster::shared().socket_dir(), "-U", "postgres", database])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}
