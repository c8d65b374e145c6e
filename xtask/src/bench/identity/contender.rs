//! Who meets, how each is started, and what each is asked.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    database::Database,
    node::Node,
    station::{Device, Exchange, Person, Station},
};
use crate::{cleanup::TemporaryDir, process::Daemon};

const PASSWORD: &str = "Copper walrus, 7 ledgers";

/// The route of ours that does nothing but find out who asks and what they may do.
const CHECKED: &str = "/check";

/// Where agents ask every half minute what is wanted of them.
const POLL: &str = "/api/fleet/orbit/config";

/// What is asked of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Deed {
    /// Whose token or session is it?
    TokenCheck,
    /// Whose API key is it, asked again and again.
    KeyCheck,
    /// The same of a key that was not seen for a second.
    RareKeyCheck,
    /// Another token for a session: a refresh, where there is such a thing.
    TokenIssue,
    /// An agent asks, and signs nothing.
    Poll,
    /// The same, signed by the device's key.
    PollEd25519,
    /// The same, signed as TPMs can.
    PollP256,
}

/// A server that is started and knows people.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) station: Station,
    pub(super) deeds: Vec<(Deed, Exchange)>,
    /// Where people sign in, who do so with passwords.
    pub(super) login: Option<Exchange>,
    /// For the client's task `sessions`, where they are not there already.
    pub(super) sessions: Option<Value>,
}

/// How large a world a server is started with.
#[derive(Debug, Clone, Copy)]
pub(super) struct World {
    /// Of bcrypt.
    pub(super) cost: u32,
    pub(super) people: usize,
    pub(super) keys: usize,
    /// Of who begins with sessions.
    pub(super) sessions: usize,
}

/// What servers are started with.
#[derive(Debug)]
pub(super) struct Site<'a> {
    pub(super) node: &'a Node,
    pub(super) database: &'a Database,
    pub(super) server: PathBuf,
    pub(super) dir: TemporaryDir,
}

/// What a peer, or the client's `setup`, says.
#[derive(Debug, Deserialize)]
struct Ready {
    people: Vec<Person>,
    keys: Vec<String>,
    #[serde(default)]
    devices: Vec<Device>,
}

impl Site<'_> {
    /// fleet-server on PostgreSQL, without limits that the load would meet.
    pub(super) fn ours(&self, name: &str, world: World) -> anyhow::Result<(Contender, u64)> {
        self.database.make(name)?;
        let home = self.dir.path().join(name);
        fs::create_dir_all(&home).context("could not make the server's directory")?;
        fs::write(home.join("server.yaml"), self.config(name, world.cost))
            .context("could not configure the server")?;
        let daemon = serve(&self.server, &home)?;
        let after = |word: &'static str| {
            daemon.wait_for(word, |log| {
                let (_, rest) = log.split_once(word)?;
                rest.split_once(char::is_whitespace).map(|(word, _)| word.to_owned())
            })
        };
        let (url, code) = (after("listening on ")?, after("--code ")?);
        let station = Station::new(daemon, url);
        let idle = station.memory()?;
        let settings =
            json!({"url": station.url, "code": code, "people": world.people, "keys": world.keys});
        let ready: Ready = serde_json::from_value(self.node.client("setup", &settings)?)
            .context("the client reported something else")?;
        let station = Station { people: ready.people, keys: ready.keys, ..station };
        let mut deeds = vec![
            (Deed::TokenCheck, with_tokens(CHECKED, &station)),
            (Deed::KeyCheck, with_keys(&station.keys[..1])),
            (Deed::RareKeyCheck, with_keys(&station.keys)),
            (Deed::TokenIssue, refresh(&station)),
        ];
        let polls = [Deed::Poll, Deed::PollEd25519, Deed::PollP256];
        deeds.extend(polls.into_iter().zip(ready.devices.into_iter().map(poll)));
        let login = Some(login("/auth/login", &station));
        let sessions =
            json!({"login": "/auth/login", "use": "/auth/user", "token": "access_token"});
        Ok((
            Contender { name: "fleet-server", station, deeds, login, sessions: Some(sessions) },
            idle,
        ))
    }

    fn config(&self, name: &str, cost: u32) -> String {
        let limits = [
            "requests_per_minute",
            "anonymous_requests_per_minute",
            "sign_in_requests_per_minute",
            "refreshes_per_minute",
            "login_attempts",
            "login_attempts_per_network",
            "login_attempts_per_account",
        ];
        let limits: String = limits.iter().map(|limit| format!("  {limit}: 1000000\n")).collect();
        format!(
            "auth:\n  password: {{bcrypt_cost: {cost}}}\n  session: {{max_concurrent: 1000000}}\nlimits:\n{limits}database:\n  url: {}\n  migrate_url: {}\n",
            self.database.url(name, name),
            self.database.url(&format!("{name}_owner"), name),
        )
    }

    /// better-auth on the same PostgreSQL, with bcrypt of the same cost.
    pub(super) fn better_auth(&self, name: &str, world: World) -> anyhow::Result<(Contender, u64)> {
        self.database.make(name)?;
        let settings = json!({"socket": self.database.socket(), "database": name, "cost": world.cost,
                              "people": world.people, "keys": world.keys});
        let (station, ready) = self.node.peer("better-auth", &settings, &self.log(name))?;
        let idle = station.memory()?;
        let ready: Ready =
            serde_json::from_value(ready).context("better-auth reported something else")?;
        let station = Station { people: ready.people, keys: ready.keys, ..station };
        let key = Exchange {
            method: "POST",
            body: Some(r#"{"key":"$"}"#.to_owned()),
            ..exchange("/verify-key", json!({}), station.keys[..1].to_vec())
        };
        let deeds = vec![
            (Deed::TokenCheck, with_tokens("/api/auth/get-session", &station)),
            (Deed::KeyCheck, key),
            (Deed::TokenIssue, with_tokens("/api/auth/token", &station)),
        ];
        let mut login = login("/api/auth/sign-in/email", &station);
        login.headers = json!({"origin": station.url});
        let sessions = json!({"login": "/api/auth/sign-in/email", "use": "/api/auth/get-session", "token": "token"});
        Ok((
            Contender {
                name: "better-auth",
                station,
                deeds,
                login: Some(login),
                sessions: Some(sessions),
            },
            idle,
        ))
    }

    /// oidc-provider, which keeps everything in its own memory.
    pub(super) fn oidc_provider(
        &self,
        name: &str,
        world: World,
    ) -> anyhow::Result<(Contender, u64)> {
        let settings = json!({"sessions": world.sessions, "people": world.people});
        let (station, ready) = self.node.peer("oidc-provider", &settings, &self.log(name))?;
        let tokens = |kind: &str| serde_json::from_value(ready[kind].clone());
        let problem = "oidc-provider reported something else";
        let form = |path, body: &str, carried| Exchange {
            method: "POST",
            body: Some(body.to_owned()),
            ..exchange(
                path,
                json!({"content-type": "application/x-www-form-urlencoded",
                       "authorization": "Basic YmVuY2g6YmVuY2gtc2VjcmV0LW9mLXRoZS1iZW5jaG1hcms="}),
                carried,
            )
        };
        let check = form("/token/introspection", "token=$", tokens("access").context(problem)?);
        let refresh = form(
            "/token",
            "grant_type=refresh_token&refresh_token=$",
            tokens("refresh").context(problem)?,
        );
        let refresh = Exchange { carries: Some("refresh_token"), ..refresh };
        let deeds = vec![(Deed::TokenCheck, check), (Deed::TokenIssue, refresh)];
        let memory = station.memory()?;
        Ok((
            Contender { name: "oidc-provider", station, deeds, login: None, sessions: None },
            memory,
        ))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.log"))
    }
}

#[expect(clippy::disallowed_methods, reason = "it starts the server that is measured")]
fn serve(program: &Path, home: &Path) -> anyhow::Result<Daemon> {
    let mut command = Command::new(program);
    command.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        "data",
        "--config",
        "server.yaml",
    ]);
    command.current_dir(home);
    Daemon::start("fleet-server", command, &home.join("fleet-server.log"))
}

fn exchange(path: &'static str, headers: Value, carried: Vec<String>) -> Exchange {
    Exchange { method: "GET", path, headers, body: None, signer: None, carries: None, carried }
}

fn with_tokens(path: &'static str, station: &Station) -> Exchange {
    let tokens = station.people.iter().map(|person| person.token.clone()).collect();
    exchange(path, json!({"authorization": "Bearer $"}), tokens)
}

fn with_keys(keys: &[String]) -> Exchange {
    exchange(CHECKED, json!({"x-api-key": "$"}), keys.to_vec())
}

fn poll(device: Device) -> Exchange {
    Exchange {
        method: "POST",
        body: Some(r#"{"orbit_node_key":"$"}"#.to_owned()),
        signer: device.signer,
        ..exchange(POLL, json!({}), vec![device.node_key])
    }
}

fn refresh(station: &Station) -> Exchange {
    let tokens = station.people.iter().map(|person| person.refresh.clone()).collect();
    Exchange {
        method: "POST",
        body: Some(r#"{"refresh_token":"$"}"#.to_owned()),
        carries: Some("refresh_token"),
        ..exchange("/auth/refresh", json!({}), tokens)
    }
}

fn login(path: &'static str, station: &Station) -> Exchange {
    let emails = station.people.iter().map(|person| person.email.clone()).collect();
    let body = json!({"email": "$", "password": PASSWORD, "client": "cli"}).to_string();
    Exchange { method: "POST", body: Some(body), ..exchange(path, json!({}), emails) }
}
