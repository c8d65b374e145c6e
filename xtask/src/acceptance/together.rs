//! A server and an agent in one system, which has no network but its own.

use anyhow::Context as _;
use serde::de::DeserializeOwned;

use super::{
    packages::{COMMAND, SERVERS},
    suite::Stage,
};

/// Where the server is.
const URL: &str = "https://127.0.0.1:8080";

/// How `fleetctl` is told of it, for whoever only reads.
const READING: &str = "FLEET_URL=https://127.0.0.1:8080 FLEET_API_KEY=$(cat /srv/api-key) FLEET_CERTIFICATE=/srv/tls/ca.pem";

/// Installs `fleetctl` and a server with its own certificate, and signs its owner in. Leaves `/srv/tls/ca.pem`, an enroll secret in `/srv/secret` and an API key that reads devices in
/// `/srv/api-key`.
pub(super) fn serve(stage: &Stage<'_>) -> anyhow::Result<()> {
    for name in [COMMAND, SERVERS[0]] {
        stage.install("dpkg --install {}", name, "deb")?;
    }
    stage.run(
        "fleet-server cert --out-dir /srv/tls --host 127.0.0.1 && \
         install --group fleet-server --mode 640 /srv/tls/server.pem /srv/tls/server.key /etc/fleet-server/ && \
         printf 'tls:\\n  certificate: /etc/fleet-server/server.pem\\n  key: /etc/fleet-server/server.key\\n' \
         >> /etc/fleet-server/config.yaml && systemctl restart fleet-server",
    )?;
    let log = stage.run("journalctl --unit fleet-server --output cat")?;
    let (_, code) = log.rsplit_once("--code ").context("the log has no set-up code")?;
    let code = code.split_whitespace().next().unwrap_or_default();
    stage.run(&format!(
        "echo Copper-walrus-7-ledgers | fleetctl setup --url {URL} --fleet-certificate /srv/tls/ca.pem --code {code} \
         --email ann@example.com --name Ann --organization Example --password-stdin"
    ))?;
    stage
        .run(
            "fleetctl enroll-secrets create --name all --quiet > /srv/secret && \
             fleetctl api-keys create --name list --scope devices:read --quiet > /srv/api-key",
        )
        .map(drop)
}

/// Installs `package`, an agent without configuration, and has it enroll; `trusted` are the certificates that
/// it believes the server by.
pub(super) fn enroll(stage: &Stage<'_>, package: &str, trusted: &str) -> anyhow::Result<()> {
    stage.install("dpkg --install {}", package, "deb")?;
    stage.run(&format!(
        "orbit enroll --fleet-url {URL} --fleet-certificate {trusted} --enroll-secret-file /srv/secret"
    ))?;
    stage.expect_service("active")
}

/// The devices as the server lists them.
pub(super) fn devices<T: DeserializeOwned>(stage: &Stage<'_>) -> anyhow::Result<Vec<T>> {
    let json = stage.run(&format!("{READING} fleetctl devices list --output json"))?;
    serde_json::from_str(&json).context("could not read the list of devices")
}
