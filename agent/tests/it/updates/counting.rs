//! The real `fleet-server`, for what it counts of devices' reports.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Stdio},
};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use wire::orbit::{ComponentUpdate, PREFIX, Tally, UpdateReportReply};

use crate::beside;

/// A server, and the devices that it has admitted.
pub(super) struct Server {
    url: String,
    client: Client,
    runtime: Runtime,
    secret: String,
    /// The owner's.
    token: String,
    node_keys: RefCell<BTreeMap<usize, String>>,
    process: Child,
    _dir: tempfile::TempDir,
}

impl Server {
    pub(super) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.yaml");
        fs::write(&config, "limits: {anonymous_requests_per_minute: 1000000}\n").unwrap();
        let mut command = beside::command(program());
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&config);
        command.arg("--data-dir").arg(dir.path().join("data"));
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut line_with = |mark: &str| {
            let line =
                lines.find_map(|line| line.unwrap().split_once(mark).map(|it| it.1.to_owned()));
            line.unwrap_or_else(|| panic!("the server ended before it said `{mark}`"))
        };
        let url = line_with("listening on ");
        let code = line_with(" --code ");
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (client, node_keys) = (Client::new(), RefCell::default());
        let (secret, token) = (String::new(), String::new());
        let mut server =
            Self { url, client, runtime, secret, token, node_keys, process, _dir: dir };
        let owner = server.post(
            "/auth/register",
            None,
            json!({
                "setup_code": code, "email": "owner@example.com", "name": "Owner",
                "password": "9 Correct horses and staples", "organization": "Acme", "client": "cli"
            }),
        );
        server.token = owner["access_token"].as_str().unwrap().to_owned();
        let secret = server.post("/enroll-secrets", Some(&server.token), json!({"name": "all"}));
        server.secret = secret["secret"].as_str().unwrap().to_owned();
        server
    }

    /// The key of a device, which enrolls when it first needs one.
    fn node_key(&self, device: usize) -> String {
        if let Some(key) = self.node_keys.borrow().get(&device) {
            return key.clone();
        }
        let uuid = uuid::Uuid::from_u128(device as u128 + 1);
        let request = json!({"enroll_secret": self.secret, "hardware_uuid": uuid});
        let admitted = self.post(&format!("{PREFIX}/enroll"), None, request);
        let key = admitted["orbit_node_key"].as_str().unwrap().to_owned();
        self.node_keys.borrow_mut().insert(device, key.clone());
        key
    }

    /// Takes a device's report; tells what it has counted of the version that the device is offered.
    pub(super) fn tell(&self, device: usize, standing: &ComponentUpdate) -> Tally {
        let report = json!({"orbit_node_key": self.node_key(device), "components": [standing]});
        let reply = self.post(&format!("{PREFIX}/updates"), None, report);
        let reply: UpdateReportReply = serde_json::from_value(reply).unwrap();
        reply.tallies[&standing.component]
    }

    /// What it tells Prometheus of the devices.
    pub(super) fn report(&self) -> String {
        let url = format!("{}/devices/metrics", self.url);
        let request = self.client.get(url).bearer_auth(&self.token);
        self.runtime.block_on(async {
            let reply = request.send().await.unwrap().error_for_status().unwrap();
            reply.text().await.unwrap()
        })
    }

    fn post(&self, path: &str, token: Option<&str>, body: Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.url)).json(&body);
        let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
        self.runtime.block_on(async {
            let reply = request.send().await.unwrap();
            assert!(reply.status().is_success(), "{path}: {}", reply.text().await.unwrap());
            reply.json().await.unwrap()
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> PathBuf {
    beside::program(env!("CARGO_BIN_EXE_orbit"), ("fleet-server", "fleetd-server"))
}
