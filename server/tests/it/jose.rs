//! Our tokens before jose, the verifier of npm, which asks a running server for its keys; and tokens that are
//! forged with it, before that server.

use std::{collections::BTreeMap, sync::OnceLock};

use camino::Utf8PathBuf;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    binary::Running,
    harness::{PASSWORD, runtime, text},
    tokens::part,
    tools::{alone, node_project, start, told},
};

/// Forged tokens come faster than strangers may send some.
const LIMITS: &str =
    "limits: {anonymous_requests_per_minute: 1000, sign_in_requests_per_minute: 1000}";
const SCRIPT: &str = "judge.mjs";
const SECRET: &str = "a secret of more than thirty-two bytes";

/// A running server, and its owner's access token.
struct Site {
    server: Running,
    token: String,
    _dir: TempDir,
}

/// What the server said of a token.
#[derive(Debug, Deserialize)]
struct Outcome {
    status: u16,
    kind: String,
    problem: Option<String>,
}

/// What became of forged tokens.
#[derive(Debug, Deserialize)]
struct Forged {
    outcomes: BTreeMap<String, Outcome>,
    /// How often somebody asked where their headers say that their keys are.
    fetched: u32,
}

impl Site {
    /// With this `auth.jwt`.
    fn start(jwt: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!("auth: {{jwt: {{{jwt}}}}}\n{LIMITS}\n");
        let server = Running::start_on(None, (dir.path(), "data"), &config);
        let owner = json!({
            "setup_code": server.code, "email": "owner@example.com", "name": "Owner",
            "password": PASSWORD, "organization": "Acme", "client": "cli"
        });
        let token = runtime().block_on(async {
            let asked = reqwest::Client::new().post(format!("{}/auth/register", server.url));
            let reply = asked.json(&owner).send().await.unwrap();
            assert_eq!(reply.status().as_u16(), 201);
            text(&reply.json::<Value>().await.unwrap(), "access_token")
        });
        Self { server, token, _dir: dir }
    }

    /// What the script prints that does `task` with this server and token.
    fn judge(&self, task: &str, more: &[&str]) -> String {
        static MADE: OnceLock<(Utf8PathBuf, Utf8PathBuf)> = OnceLock::new();
        let (node, dir) = MADE.get_or_init(|| node_project("jose", &[SCRIPT]));
        let args = [&[task, &self.server.url, &self.token][..], more].concat();
        told(alone(start(node.as_str()).arg(dir.join(SCRIPT)).args(args)).output().unwrap())
            .unwrap()
    }

    /// Demands that what `task` forges is refused, but for the token as it was.
    fn refuses(&self, task: &str, more: &[&str], count: usize) {
        let Forged { mut outcomes, fetched } =
            serde_json::from_str(&self.judge(task, more)).unwrap();
        assert_eq!(outcomes.remove("as it was").unwrap().status, 200);
        assert_eq!(outcomes.len(), count, "{outcomes:?}");
        for (name, outcome) in &outcomes {
            assert_eq!(outcome.status, 401, "{name}: {outcome:?}");
            assert_eq!(outcome.kind, "application/problem+json", "{name}: {outcome:?}");
            let problem = outcome.problem.as_deref().unwrap_or_default();
            assert!(problem.starts_with("/problems/"), "{name}: {outcome:?}");
        }
        assert_eq!(fetched, 0, "the server asks nobody for keys");
    }
}

/// Rows: C11, C12, C13
#[test]
fn jose_verifies_our_tokens_with_the_keys_that_a_running_server_publishes() {
    for (alg, typ) in [("RS256", "JWT"), ("ES256", "at+jwt"), ("EdDSA", "JWT")] {
        let (issuer, audience) = ("https://fleet.example.com", "example-api");
        let jwt = format!("alg: {alg}, typ: {typ}, issuer: '{issuer}', audience: {audience}");
        let site = Site::start(&jwt);
        let judged = site.judge("check", &[alg, typ, issuer, audience]);
        let claims: Value = serde_json::from_str(&judged).unwrap();
        assert_eq!(claims, part(&site.token, 1), "{alg}");
    }
}

/// Rows: C1, C3, C13
#[test]
fn what_is_forged_with_jose_and_another_key_is_refused() {
    Site::start("alg: RS256").refuses("forge", &[], 14);
}

/// Rows: C4, C6, C9, C11, C12
#[test]
fn what_is_signed_with_jose_and_our_key_and_says_something_wrong_is_refused() {
    let jwt = format!("alg: HS256, secret: '{SECRET}'");
    Site::start(&jwt).refuses("missay", &[SECRET], 9);
}
