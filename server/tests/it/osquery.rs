//! A device's osqueryd, by a program that knows osquery's documentation and nothing of ours, over TLS
//! with the real server.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use reqwest::{Certificate, Client, Method};
use serde_json::{Value, json};

use crate::{
    binary::{Running, fleet_server},
    harness::{PASSWORD, runtime},
};

/// Ended when dropped.
struct Osqueryd {
    process: Child,
    dir: PathBuf,
}

impl Osqueryd {
    /// Starts one with its state in `dir`.
    #[expect(clippy::disallowed_methods, reason = "tests start programs")]
    fn start(dir: PathBuf, secret: &str, (server, ca): (&Running, &Path)) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/tests/osqueryd.py");
        let flag = |name: &str, value: &str| format!("--{name}={value}");
        let below = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let mut command = Command::new("python3");
        command.arg(script).env("ENROLL_SECRET", secret).stdout(Stdio::null());
        command.args([
            flag("tls_dump", "true"),
            flag("enroll_secret_env", "ENROLL_SECRET"),
            flag("tls_hostname", server.url.rsplit("//").next().unwrap()),
            flag("tls_server_certs", ca.to_str().unwrap()),
            flag("pidfile", &below("pid")),
            flag("database_path", &below("database")),
            flag("logger_path", &below("logs")),
            flag("enroll_tls_endpoint", "/api/v1/osquery/enroll"),
            flag("config_tls_endpoint", "/api/v1/osquery/config"),
            flag("distributed_tls_read_endpoint", "/api/v1/osquery/distributed/read"),
            flag("distributed_tls_write_endpoint", "/api/v1/osquery/distributed/write"),
            flag("logger_tls_endpoint", "/api/v1/osquery/log"),
        ]);
        for period in ["config_refresh", "distributed_interval", "logger_tls_period"] {
            command.arg(flag(period, "0.02"));
        }
        fs::create_dir(&dir).unwrap();
        Self { process: command.spawn().unwrap(), dir }
    }

    /// What it said and heard.
    fn exchanges(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.join("logs/exchanges.jsonl")).unwrap_or_default();
        // The last line may be on its way.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What came of the first exchange from `after` on, with that end of its path, that fits.
    async fn wait_for(&self, path: &str, after: usize, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let mut later = self.exchanges().into_iter().skip(after);
            let found = later.find(|it| it["path"].as_str().unwrap().ends_with(path) && fits(it));
            match found {
                Some(exchange) => return exchange,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }
}

impl Drop for Osqueryd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What osqueryd is told when it has to enroll again, byte for byte.
fn check_refusal(exchange: &Value, error: &str) {
    assert_eq!(exchange["status"], 401, "{exchange}");
    assert_eq!(exchange["type"], "application/json");
    assert_eq!(exchange["answer"], format!("{{\"error\":\"{error}\",\"node_invalid\":true}}"));
}

#[test]
fn an_osqueryd_by_the_book_enrolls_answers_logs_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let made = ["cert", "--out-dir", "tls", "--host", "127.0.0.1"];
    assert!(fleet_server().current_dir(dir.path()).args(made).output().unwrap().status.success());
    let tls = ["--tls-certificate", "tls/server.pem", "--tls-key", "tls/server.key"];
    let server = Running::start_in(dir.path(), &dir.path().join("data"), &tls);
    let ca = dir.path().join("tls/ca.pem");
    runtime().block_on(async {
        let story = story(dir.path(), &server, &ca);
        tokio::time::timeout(Duration::from_secs(60), story).await.expect("it goes on");
    });
}

async fn story(dir: &Path, server: &Running, ca: &Path) {
    let authority = Certificate::from_pem(&fs::read(ca).unwrap()).unwrap();
    let client = Client::builder().tls_certs_only([authority]).build().unwrap();
    let call = async |method: Method, path: &str, token: &str, body: Value| {
        let request = client.request(method, format!("{}{path}", server.url)).bearer_auth(token);
        let request = if body.is_null() { request } else { request.json(&body) };
        let reply = request.send().await.unwrap();
        assert!(reply.status().is_success(), "{path}: {}", reply.status());
        reply.json::<Value>().await.unwrap_or_default()
    };
    let registration = json!({
        "setup_code": server.code.as_ref().unwrap(), "email": "owner@example.com", "name": "Owner",
        "password": PASSWORD, "organization": "Acme", "client": "cli",
    });
    let owner = call(Method::POST, "/auth/register", "", registration).await;
    let access = owner["access_token"].as_str().unwrap();
    let new = json!({"name": "test"});
    let made = call(Method::POST, "/enroll-secrets", access, new).await;
    let secret = made["secret"].as_str().unwrap();

    let osqueryd = Osqueryd::start(dir.join("osqueryd"), secret, (server, ca));
    let good = |exchange: &Value| exchange["status"] == 200;
    osqueryd.wait_for("/distributed/write", 0, good).await;
    osqueryd.wait_for("/log", 0, good).await;
    osqueryd.wait_for("/config", 0, good).await;
    let devices = call(Method::GET, "/devices", access, Value::Null).await;
    let device = &devices["items"][0];
    assert_eq!(
        (&device["hostname"], &device["osquery_version"]),
        (&json!("stand-in"), &json!("5.9.1"))
    );
    assert_eq!(device["os_version"], "Stand-in 1");
    let logged = fs::read_to_string(dir.join("data/osquery-logs/status.log"));
    assert!(logged.unwrap_or_default().contains("stand-in"), "its log is kept");

    let before = osqueryd.exchanges().len();
    let path = format!("/devices/{}", device["id"].as_str().unwrap());
    call(Method::DELETE, &path, access, Value::Null).await;
    let refused = |exchange: &Value| exchange["status"] != 200;
    let refusal = osqueryd.wait_for("", before, refused).await;
    check_refusal(&refusal, "the node key is not valid; enroll again");
    osqueryd.wait_for("/enroll", before, good).await;
    osqueryd.wait_for("/distributed/write", before, good).await;

    let stranger = Osqueryd::start(dir.join("stranger"), "another secret", (server, ca));
    let refusal = stranger.wait_for("/enroll", 0, |_| true).await;
    check_refusal(
        &refusal,
        "the enroll secret is not valid (unknown, expired, revoked or used up)",
    );
}
