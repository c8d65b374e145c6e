//! kill -9 of one of two servers in the middle of sign-ins, refreshes, and sessions, tokens and keys made
//! and revoked: what was acknowledged is there, what was revoked stays revoked, and the audit trail is
//! whole.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use wire::audit::{AuditEvent, TrailCheck};

use crate::{
    binary::Running,
    harness::{Engine, PASSWORD, runtime, text},
    postgres::Cluster,
};

const WORKERS: usize = 4;
/// Keys, and sessions, that are revoked before the server is killed.
const ENOUGH: usize = 120;

const CONFIG: &str = "\
auth: {password: {bcrypt_cost: 4}, session: {max_concurrent: 100000},
    jwt: {alg: ES256, secret: 0123456789abcdef0123456789abcdef}}
limits: {requests_per_minute: 100000, refreshes_per_minute: 100000,
    anonymous_requests_per_minute: 100000, sign_in_requests_per_minute: 100000}
";

/// What the workers were told.
#[derive(Debug, Default)]
struct Told {
    /// Refresh tokens that no request under way could have replaced.
    refresh: Vec<String>,
    good: Vec<String>,
    revoked: Vec<String>,
    /// Tokens of whoever signed in and stayed.
    stayed: Vec<Value>,
    /// Tokens of sessions that were ended, by their person or by the owner.
    ended: Vec<Value>,
    /// Access tokens that were revoked by themselves.
    alone: Vec<String>,
}

/// Rows in part: B2
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
    Running::start_on(database, (dir, name), CONFIG)
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
    let owner = send(&client, (&first.url, "/auth/register"), None, &setup).await.unwrap();
    let owner = text(&owner, "access_token");
    let mut people = Vec::new();
    for name in 0..2 * WORKERS {
        let new = json!({"email": format!("person{name}@x.org"), "name": "P", "role": "viewer",
            "password": PASSWORD});
        let made = send(&client, (&first.url, "/users"), Some(&owner), &new).await.unwrap();
        people.push((text(&made, "id"), text(&made, "email")));
    }
    let second = database.as_deref().map(|url| {
        std::fs::create_dir_all(dir.path().join("second")).unwrap();
        // So that no set-up code is waited for.
        std::fs::write(dir.path().join("second/set-up"), "").unwrap();
        start(dir.path(), "second", Some(url))
    });
    let other = second.as_ref().map_or_else(|| first.url.clone(), |it| it.url.clone());
    let told = Arc::new(Mutex::new(Told::default()));
    let mut workers = Vec::new();
    for pair in people.chunks(2) {
        let visit = Visit {
            client: client.clone(),
            urls: [first.url.clone(), other.clone()],
            told: Arc::clone(&told),
            owner: owner.clone(),
            stays: pair[0].1.clone(),
            leaves: pair[1].clone(),
        };
        workers.push(tokio::spawn(visit.come_and_go()));
        let (urls, told) = ([first.url.clone(), other.clone()], Arc::clone(&told));
        workers.push(tokio::spawn(work(client.clone(), urls, told)));
    }
    let is_enough = |told: &Told| told.revoked.len().min(told.ended.len()) >= ENOUGH;
    while !is_enough(&told.lock().unwrap()) {
        let ended = workers.iter().filter(|worker| worker.is_finished()).count();
        assert!(ended < WORKERS, "{ended} stopped before the server did");
        tokio::time::sleep(Duration::from_millis(5)).await;
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
        assert_eq!(refreshed(&client, url, token).await, 200, "{token}");
    }
    sessions_are_as_told(&client, [&again.url, url], &told).await;
    trail_is_whole(&client, &again.url).await;
}

/// Who is signed in still is, and nobody else.
async fn sessions_are_as_told(client: &Client, servers: [&String; 2], told: &Told) {
    let asked = async |server: &String, access: &str| {
        let who = client.get(format!("{server}/auth/user")).bearer_auth(access);
        who.send().await.unwrap().status().as_u16()
    };
    assert!(!told.stayed.is_empty() && !told.alone.is_empty(), "{told:?}");
    for server in servers {
        for (sessions, status) in [(&told.stayed, 200), (&told.ended, 401)] {
            for tokens in sessions {
                assert_eq!(asked(server, &text(tokens, "access_token")).await, status, "{tokens}");
            }
        }
        for access in &told.alone {
            assert_eq!(asked(server, access).await, 401, "{access}");
        }
    }
    for (sessions, status) in [(&told.stayed, 200), (&told.ended, 401)] {
        for tokens in sessions {
            let token = text(tokens, "refresh_token");
            assert_eq!(refreshed(client, servers[1], &token).await, status, "{tokens}");
        }
    }
}

/// What a refresh token is answered.
async fn refreshed(client: &Client, url: &str, token: &str) -> u16 {
    let refresh = client.post(format!("{url}/auth/refresh")).json(&json!({"refresh_token": token}));
    refresh.send().await.unwrap().status().as_u16()
}

/// Two people who sign in again and again: one stays, the other's sessions end, one way or another.
struct Visit {
    client: Client,
    urls: [String; 2],
    told: Arc<Mutex<Told>>,
    /// The owner's access token.
    owner: String,
    stays: String,
    leaves: (String, String),
}

impl Visit {
    /// Until a server is gone.
    async fn come_and_go(self) {
        for turn in 0.. {
            let (here, there) = (&self.urls[turn % 2], &self.urls[(turn + 1) % 2]);
            let Some(stayed) = self.sign_in(here, &self.stays).await else { return };
            self.told.lock().unwrap().stayed.push(stayed);
            let Some(tokens) = self.sign_in(there, &self.leaves.1).await else { return };
            let access = text(&tokens, "access_token");
            let claims = crate::tokens::part(&access, 1);
            let what = match turn % 4 {
                0 => json!({"what": "token", "jti": claims["jti"]}),
                1 => json!({"what": "session", "id": claims["sid"]}),
                2 => json!({"what": "user", "id": self.leaves.0}),
                _ => Value::Null,
            };
            let (path, by) = if what.is_null() {
                ("/auth/logout", &access)
            } else {
                ("/auth/revocations", &self.owner)
            };
            let call = self.client.post(format!("{here}{path}")).bearer_auth(by).json(&what);
            let Ok(reply) = call.send().await else { return };
            if reply.status() == 503 {
                return;
            }
            assert_eq!(reply.status(), 204, "{path} {what}");
            let mut told = self.told.lock().unwrap();
            if turn % 4 == 0 {
                told.alone.push(access);
            } else {
                told.ended.push(tokens);
            }
        }
    }

    async fn sign_in(&self, url: &str, email: &str) -> Option<Value> {
        let login = json!({"email": email, "password": PASSWORD, "client": "cli"});
        send(&self.client, (url, "/auth/login"), None, &login).await
    }
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
