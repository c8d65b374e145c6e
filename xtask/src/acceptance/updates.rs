//! The agent under systemd updates itself from its server: a good release, one that does not run, and an
//! end by force in between; and brings an extension that was published there.

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::{
    suite::{SOON, Stage, Suite},
    together,
};
use crate::process::wait_until;

/// More lines of the server's configuration.
const SERVED: &str = r"updates:\n  dir: /srv/tuf/repository\norbit:\n  extensions:\n    hello_world: {platform: linux, channel: stable}\n";

/// The agent looks more often than once in a quarter of an hour.
const SETTINGS: &str = "ORBIT_UPDATE_INTERVAL=2s\nORBIT_DISABLE_KEYSTORE=true\n";

const REPOSITORY: &str = "head -c 18 /dev/urandom | base64 > /srv/passphrase && \
    fleetctl updates init --path /srv/tuf --passphrase-file /srv/passphrase";

/// Another build of the agent.
const NEWER: &str = "{ cat /opt/orbit/bin/orbit/packaged/orbit; echo newer; }";

/// Answers every question well, and cannot be the agent.
const USELESS: &str = r#"printf '#!/bin/sh\ntest $# -gt 0 || exit 1\nexec /opt/orbit/bin/orbit/packaged/orbit "$@"\n'"#;

#[derive(Debug, Deserialize)]
struct Row {
    id: String,
    status: String,
    #[serde(default)]
    updates: Vec<Update>,
}

/// How a component stands, as its agent has told the server.
#[derive(Debug, Clone, Deserialize)]
struct Update {
    component: String,
    version: Option<String>,
    state: String,
    blocked_version: Option<String>,
}

pub(super) fn run(suite: &mut Suite<'_>) -> anyhow::Result<()> {
    suite.check("a server has a repository, and an agent that looks there", set_up);
    let (before, process) = (row(&suite.stage)?, suite.stage.main_pid()?);
    suite.check("what is published takes over", |stage| {
        publish(stage, NEWER, "90.0.0")?;
        runs(stage, "90.0.0")?;
        reported(stage, "90.0.0", "current").map(drop)
    });
    suite.check("it is the same process to systemd", |stage| {
        if stage.main_pid()? == process { Ok(()) } else { bail!("it is another") }
    });
    suite.check("the service starts again as what was published", |stage| {
        stage.run("systemctl restart orbit")?;
        runs(stage, "90.0.0")
    });
    suite.check("a release that does not run is given up after three starts", |stage| {
        let starts = restarts(stage)?;
        publish(stage, USELESS, "91.0.0")?;
        let update = reported(stage, "90.0.0", "rolled_back")?;
        if update.blocked_version.as_deref() != Some("91.0.0") {
            bail!("the server is told {update:?}");
        }
        runs(stage, "90.0.0")?;
        match restarts(stage)?.checked_sub(starts) {
            Some(3) => Ok(()),
            more => bail!("systemd has started it {more:?} times more"),
        }
    });
    suite.check("its service has not failed, and it is not tried again", |stage| {
        let starts = restarts(stage)?;
        stage.run("sleep 6")?;
        stage.expect_service("active")?;
        if restarts(stage)? == starts { Ok(()) } else { bail!("it was started again") }
    });
    suite.check("the next release that runs takes over", |stage| {
        publish(stage, NEWER, "92.0.0")?;
        runs(stage, "92.0.0")
    });
    suite.check("killed the moment that it runs, a release is there again", |stage| {
        publish(stage, NEWER, "93.0.0")?;
        runs(stage, "93.0.0")?;
        let killed = stage.main_pid()?;
        stage.run(&format!("kill -KILL {killed}"))?;
        stage.expect_other_process(&killed)?;
        runs(stage, "93.0.0")?;
        reported(stage, "93.0.0", "current").map(drop)
    });
    suite.check("an extension that is published comes to where osqueryd looks for it", |stage| {
        stage.run("printf 'an extension' > /srv/hello_world.ext")?;
        add(stage, "/srv/hello_world.ext", "--name extensions/hello_world --version 1.0.0")?;
        let loaded = r#"cmp /srv/hello_world.ext "$(cat /opt/orbit/extensions.load)""#;
        let is_loaded = wait_until(SOON, || Ok(stage.container.succeeds(loaded)?.then_some(())))?;
        is_loaded.context("the agent has not brought it")
    });
    suite.check("a package goes over it, and the newer program stays", |stage| {
        stage.install("dpkg --install {}", "unconfigured", "deb")?;
        runs(stage, "93.0.0")
    });
    suite.check("it was one device all the while, which is online", |stage| {
        let after = row(stage)?;
        if after.id != before.id || after.status != "online" {
            bail!("the server lists {after:?}");
        }
        Ok(())
    });
    suite.check("it stops in order", |stage| {
        stage.run("systemctl stop orbit")?;
        stage.expect_no_process()
    });
    Ok(())
}

fn set_up(stage: &Stage<'_>) -> anyhow::Result<()> {
    together::serve(stage)?;
    stage.run(REPOSITORY)?;
    stage.run(&format!(
        "printf '{SERVED}' >> /etc/fleet-server/config.yaml && systemctl restart fleet-server"
    ))?;
    stage.run(&format!(
        "mkdir --parents /opt/orbit /etc/orbit/conf.d && \
         fleetctl updates roots --path /srv/tuf > /opt/orbit/update-root.json && \
         printf '{SETTINGS}' > /etc/orbit/conf.d/20-updates.conf"
    ))?;
    together::enroll(stage, "unconfigured", "/srv/tls/ca.pem")?;
    let listed = wait_until(SOON, || Ok(row(stage).ok().map(drop)))?;
    listed.context("the device did not enroll")
}

/// Publishes what the line of shell `program` prints as the agent.
fn publish(stage: &Stage<'_>, program: &str, version: &str) -> anyhow::Result<()> {
    stage.run(&format!("{program} > /srv/orbit-next && chmod 755 /srv/orbit-next"))?;
    let named = format!("--name orbit --version {version} --no-compression");
    add(stage, "/srv/orbit-next", &named)
}

/// Publishes the file at `path` as stable, as what the flags in `named` say.
fn add(stage: &Stage<'_>, path: &str, named: &str) -> anyhow::Result<()> {
    let to = "--path /srv/tuf --passphrase-file /srv/passphrase --platform linux --tag stable";
    stage.run(&format!("fleetctl updates add {to} --target {path} {named}")).map(drop)
}

/// Waits until the service is the program of `version`, in contact.
fn runs(stage: &Stage<'_>, version: &str) -> anyhow::Result<()> {
    let expected = format!("/opt/orbit/bin/orbit/{version}/orbit");
    let mut seen = String::new();
    let runs = wait_until(SOON, || {
        let pid = stage.main_pid()?;
        seen = stage.run(&format!("readlink /proc/{pid}/exe || true"))?;
        Ok((seen.trim() == expected && in_contact(stage, &pid)?).then_some(()))
    })?;
    runs.with_context(|| format!("the service is `{}`, or not in contact", seen.trim()))
}

/// Tells whether the process `pid` has been in contact since it became what it is.
fn in_contact(stage: &Stage<'_>, pid: &str) -> anyhow::Result<bool> {
    let line = format!("grep '\"process_id\": *{pid}\\b' /opt/orbit/status.json && orbit status");
    stage.container.succeeds(&line)
}

/// Waits until the server lists the agent's update as in this state, with `version` running.
fn reported(stage: &Stage<'_>, version: &str, state: &str) -> anyhow::Result<Update> {
    let mut last = None;
    let seen = wait_until(3 * SOON, || {
        // An API key may ask a hundred times a minute.
        stage.run("sleep 1")?;
        let updates = row(stage)?.updates;
        last = updates.into_iter().find(|update| update.component == "orbit");
        Ok(last.clone().filter(|it| it.state == state && it.version.as_deref() == Some(version)))
    })?;
    seen.with_context(|| format!("the server was told {last:?}"))
}

/// How often systemd has started the service again by itself.
fn restarts(stage: &Stage<'_>) -> anyhow::Result<u32> {
    let told = stage.run("systemctl show --property NRestarts --value orbit")?;
    told.trim().parse().with_context(|| format!("systemd tells `{}`", told.trim()))
}

fn row(stage: &Stage<'_>) -> anyhow::Result<Row> {
    let rows: Vec<Row> = together::devices(stage)?;
    let [row] = rows.try_into().ok().context("there is not one device")?;
    Ok(row)
}
