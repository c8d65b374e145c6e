//! kill -9 in the middle of enrollments: after a restart, every device that was told a key is
//! there, and its key is good.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};

use crate::{
    binary::Running,
    harness::{Engine, PASSWORD, runtime},
    postgres::{Cluster, owner_of},
};

const WORKERS: usize = 16;
const ENOUGH: usize = 150;

#[test]
fn acknowledged_enrollments_survive_kill_9_on_sqlite() {
    runtime().block_on(survive(Engine::Sqlite));
}

#[test]
fn acknowledged_enrollments_survive_kill_9_on_postgres() {
    runtime().block_on(survive(Engine::Postgres));
}

async fn survive(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let database = match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(Cluster::shared().new_database().await),
    };
    let owner = database.as_deref().map(owner_of);
    let more: Vec<&str> = [("--database", &database), ("--migrate-database", &owner)]
        .iter()
        .filter_map(|(flag, url)| Some([*flag, url.as_deref()?]))
        .flatten()
        .collect();
    let client = reqwest::Client::new();

    let mut server = Running::start(&data, &more);
    let secret = set_up(&client, &server).await;
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let started = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (client, url, secret) = (client.clone(), server.url.clone(), secret.clone());
            let (acknowledged, started) = (Arc::clone(&acknowledged), Arc::clone(&started));
            tokio::spawn(async move {
                loop {
                    let uuid = format!("device-{}", started.fetch_add(1, Ordering::SeqCst));
                    let body = json!({"enroll_secret": secret, "hardware_uuid": uuid});
                    let Some(reply) = post(&client, &url, "/api/fleet/orbit/enroll", &body).await
                    else {
                        return;
                    };
                    let key = reply["orbit_node_key"].as_str().unwrap().to_owned();
                    acknowledged.lock().unwrap().push((uuid, key));
                }
            })
        })
        .collect();
    while acknowledged.lock().unwrap().len() < ENOUGH {
        tokio::task::yield_now().await;
    }
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    for worker in workers {
        worker.await.unwrap();
    }

    let server = Running::start(&data, &more);
    assert_eq!(server.code, None, "it is set up already");
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() >= ENOUGH);
    for (uuid, key) in &acknowledged {
        let body = json!({"orbit_node_key": key});
        let known = post(&client, &server.url, "/api/fleet/orbit/config", &body).await;
        assert!(known.is_some(), "{uuid} was told a key that is not good");
    }
    let listed = list(&client, &server).await;
    assert!(acknowledged.iter().all(|(uuid, _)| listed.contains(uuid)));
}

async fn set_up(client: &reqwest::Client, server: &Running) -> String {
    let code = server.code.as_ref().unwrap();
    let body = json!({"setup_code": code, "email": "o@x.org", "name": "O", "password": PASSWORD,
                      "organization": "Acme", "client": "cli"});
    let tokens = post(client, &server.url, "/auth/register", &body).await.unwrap();
    let made = client
        .post(format!("{}/enroll-secrets", server.url))
        .bearer_auth(tokens["access_token"].as_str().unwrap())
        .json(&json!({"name": "load"}))
        .send()
        .await
        .unwrap();
    made.json::<Value>().await.unwrap()["secret"].as_str().unwrap().to_owned()
}

/// Every device's hardware UUID, each once.
async fn list(client: &reqwest::Client, server: &Running) -> BTreeSet<String> {
    let body = json!({"email": "o@x.org", "password": PASSWORD, "client": "cli"});
    let tokens = post(client, &server.url, "/auth/login", &body).await.unwrap();
    let (mut seen, mut after) = (BTreeSet::new(), String::new());
    loop {
        let url = format!("{}/devices?limit=500{after}", server.url);
        let token = tokens["access_token"].as_str().unwrap();
        let page = client.get(url).bearer_auth(token).send().await.unwrap();
        let page: Value = page.json().await.unwrap();
        for device in page["items"].as_array().unwrap() {
            let uuid = device["hardware_uuid"].as_str().unwrap().to_owned();
            assert!(seen.insert(uuid), "a device is there twice");
        }
        let Some(next) = page["next"].as_str() else { return seen };
        after = format!("&after={next}");
    }
}

/// The reply, or nothing when the server went away before it was whole, or refused.
async fn post(client: &reqwest::Client, url: &str, path: &str, body: &Value) -> Option<Value> {
    let reply = client.post(format!("{url}{path}")).json(body).send().await.ok()?;
    if !reply.status().is_success() {
        return None;
    }
    reply.json().await.ok()
}
