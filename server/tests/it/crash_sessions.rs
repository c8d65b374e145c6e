//! kill -9 of one of two servers in the middle of refreshes, and of keys made and revoked: what was
//! acknowledged is there, what was revoked stays revoked, and the audit trail is whole.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use wire::audit::{AuditEvent, TrailCheck};

use crate::{
    binary::Running,
    harness::{Engine, PASSWORD, runtime, text},
    postgres::{Cluster, owner_of},
};

const WORKERS: usize = 4;
const ENOUGH: usize = 120;

const CONFIG: &str = "\
auth: {jwt: {alg: ES256, secret: 0123456789abcdef0123456789abcdef}}
limits: {requests_per_minute: 100000, refreshes_per_minute: 100000,
    sign_in_requests_per_minute: 100000}
";

/// What the workers were told.
#[derive(Debug, Default)]
struct Told {
    /// Refresh tokens that no request under way could have replaced.
    refresh: Vec<String>,
    good: Vec<String>,
    revoked: Vec<String>,
}

#[test]
fn acknowledged_changes_survive_kill_9_on_sqlite() {
    runtime().block_on(survive(Engine::Sqlite));
}

/// Rows in part: B2
#[test]
fn acknowledged_changes_survive_kill_9_of_one_of_two_servers_on_postgres() {
    runtime().block_on(survive(Engine::Postgres));
}

fn start(dir: &Path, name: &str, database: Option<&str>) -> Running {
    let config = dir.join("config.yaml");
    std::fs::write(&config, CONFIG).unwrap();
    let mut more = vec!["--config", config.to_str().unwrap()];
    let owner = database.map(owner_of);
    more.extend(database.iter().flat_map(|url| ["--database", *url]));
    more.extend(owner.iter().flat_map(|url| ["--migrate-database", url.as_str()]));
    Running::start(&dir.join(name), &more)
}

async fn survive(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let database = match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(Cluster::shared().new_database().await),
    };
    let client = Client::new();
    let mut first = start(dir.path(), "data", database.as_deref());
    let setup = json!({"setup_code": first.code, "email": "o@x.org", "name": "O",
        "password": PASSWORD, "organization": "Acme", "client": "cli"});
    send(&client, (&first.url, "/auth/register"), None, &setup).await.unwrap();
    let second = database.as_deref().map(|url| {
        std::fs::create_dir_all(dir.path().join("second")).unwrap();
        // So that no set-up code is waited for.
        std::fs::write(dir.path().join("second/set-up"), "").unwrap();
        start(dir.path(), "second", Some(url))
    });
    let other = second.as_ref().map_or_else(|| first.url.clone(), |it| it.url.clone());
    let told = Arc::new(Mutex::new(Told::default()));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (urls, told) = ([first.url.clone(), other.clone()], Arc::clone(&told));
            tokio::spawn(work(client.clone(), urls, told))
        })
        .collect();
    while told.lock().unwrap().revoked.len() < ENOUGH {
        tokio::task::yield_now().await;
    }
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    for worker in workers {
        worker.await.unwrap();
    }
    drop(first);
    let again = start(dir.path(), "data", database.as_deref());
    let url = second.as_ref().map_or(&again.url, |it| &it.url);
    let told = std::mem::take(&mut *told.lock().unwrap());
    for server in [&again.url, url] {
        for (keys, good) in [(&told.good, true), (&told.revoked, false)] {
            for key in keys {
                let list = client.get(format!("{server}/devices")).bearer_auth(key);
                assert_eq!(list.send().await.unwrap().status().is_success(), good, "{key}");
            }
        }
    }
    for token in &told.refresh {
        let refresh = json!({"refresh_token": token});
        assert!(send(&client, (url, "/auth/refresh"), None, &refresh).await.is_some(), "{token}");
    }
    trail_is_whole(&client, &again.url).await;
}

/// Refreshes, makes a key on one server, and revokes it on the other, until one is gone.
async fn work(client: Client, urls: [String; 2], told: Arc<Mutex<Told>>) {
    let login = json!({"email": "o@x.org", "password": PASSWORD, "client": "cli"});
    let Some(mut session) = send(&client, (&urls[1], "/auth/login"), None, &login).await else {
        return;
    };
    for turn in 0.. {
        let (here, there) = (&urls[turn % 2], &urls[(turn + 1) % 2]);
        let refresh = json!({"refresh_token": session["refresh_token"]});
        let Some(renewed) = send(&client, (here, "/auth/refresh"), None, &refresh).await else {
            return;
        };
        session = renewed;
        let access = text(&session, "access_token");
        let new = json!({"name": "k", "scopes": ["devices:read"]});
        let made = send(&client, (there, "/api-keys"), Some(&access), &new).await;
        let Some(made) = made else { break };
        let (id, key) = (text(&made, "id"), text(&made, "key"));
        if turn % 3 == 0 {
            told.lock().unwrap().good.push(key);
            continue;
        }
        let call = client.request(Method::DELETE, format!("{here}/api-keys/{id}"));
        let Ok(reply) = call.bearer_auth(&access).send().await else { break };
        assert_eq!(reply.status(), 204);
        told.lock().unwrap().revoked.push(key);
    }
    told.lock().unwrap().refresh.push(text(&session, "refresh_token"));
}

async fn trail_is_whole(client: &Client, url: &str) {
    let login = json!({"email": "o@x.org", "password": PASSWORD, "client": "cli"});
    let tokens = send(client, (url, "/auth/login"), None, &login).await.unwrap();
    let export =
        client.get(format!("{url}/audit/export")).bearer_auth(text(&tokens, "access_token"));
    let lines = export.send().await.unwrap().text().await.unwrap();
    let events = lines.lines().map(|line| serde_json::from_str::<AuditEvent>(line).unwrap());
    let (mut check, mut revoked) = (TrailCheck::default(), 0);
    for event in events {
        check.take(&event).unwrap();
        revoked += usize::from(event.event == "api_key.revoked");
    }
    assert!(revoked >= ENOUGH, "{revoked}");
}

/// What a `POST` gives, or nothing when the server went away before it was whole.
async fn send(
    client: &Client,
    (url, path): (&str, &str),
    access: Option<&str>,
    body: &Value,
) -> Option<Value> {
    let call = client.post(format!("{url}{path}")).json(body);
    let call = match access {
        Some(access) => call.bearer_auth(access),
        None => call,
    };
    let reply = call.send().await.ok()?;
    assert!(reply.status().is_success() || reply.status().as_u16() == 503, "{path}: {reply:?}");
    reply.json().await.ok()
}
