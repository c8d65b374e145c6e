//! What may go wrong between a device and its server in half an hour, one after the other: in a system that has
//! both and no network but its own, and in which time goes twenty times as fast for the agent.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{
    suite::{SOON, Stage, Suite},
    together,
};
use crate::process::wait_until;

/// Where Debian's faketime has the library that a program's time comes from.
const FAKETIME: &str = "usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// What the agent's clock is to the system's.
const FAST: &str = "+0 x20";
const FAST_AND_SIX_HOURS_ON: &str = "+21600 x20";

/// What the clock is set to where time goes as it does, in seconds: never to before the server's certificate.
const RIGHT: &str = "+0";
const SET_TO: [&str; 4] = ["+86400", RIGHT, "-21600", RIGHT];

/// How long all of it takes by that clock, the six hours included.
const ALL: SignedDuration = SignedDuration::from_mins(6 * 60 + 30);

/// How long an agent whose time goes as it does may take to ask the server again.
const A_POLL: Duration = Duration::from_secs(90);

/// Takes its arguments as osqueryd does, and does nothing.
const OSQUERYD: &str = r#"#!/bin/sh
trap 'kill $!; exit 0' TERM
for argument; do
    case $argument in --pidfile=*) echo $$ > "${argument#*=}" ;; esac
done
sleep 1000000 & wait
"#;

/// Has time go faster, for the agent and what it starts.
const DROP_IN: &str = "[Service]
Environment=LD_PRELOAD=/srv/faketime.so FAKETIME_TIMESTAMP_FILE=/srv/clock FAKETIME_NO_CACHE=1
Environment=ORBIT_DISABLE_KEYSTORE=true ORBIT_DISABLE_UPDATES=true ORBIT_FLEET_DESKTOP=true
";

/// Leaves the clock that nobody sets as it is.
const DROP_IN_FOR_THE_WALL: &str = "[Service]
Environment=FAKETIME_DONT_FAKE_MONOTONIC=1
";

/// The part of `status.json` that is looked at.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Seen {
    started_at: Timestamp,
    last_contact_at: Option<Timestamp>,
    last_error: Option<Complaint>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Complaint {
    message: String,
}

#[derive(Debug, Deserialize)]
struct Row {
    id: String,
    status: String,
}

pub(super) fn run(suite: &mut Suite<'_>) -> anyhow::Result<()> {
    suite.check("a server and an agent are installed in one system", set_up);
    suite.check("the device enrolls, and osqueryd runs", |stage| {
        back(stage, || Ok(()))?;
        osqueryd(stage).map(drop)
    });
    suite.check("the server takes the desktop token", |stage| desktop(stage).map(drop));
    let process = suite.stage.main_pid()?;
    suite.check("the server is started again: the device is back", |stage| {
        back(stage, || stage.run("systemctl restart fleet-server").map(drop))
    });
    suite.check("the network is cut and comes back: so does the device", |stage| {
        stage.run("ip link set lo down")?;
        // By a connection that it has, or by another.
        complains(stage, &["the server does not answer in time", "the server cannot be reached"])?;
        back(stage, || stage.run("ip link set lo up").map(drop))
    });
    suite.check("osqueryd is killed: another one runs", |stage| {
        let before = osqueryd(stage)?;
        stage.run(&format!("kill -KILL {before}"))?;
        another_osqueryd(stage, &before)
    });
    suite.check(
        "node key and desktop token are refused while the disk is full: no key is lost, and there is another token",
        refused_on_a_full_disk,
    );
    suite.check("the clock jumps six hours: the device is there", |stage| {
        back(stage, || set_clock(stage, FAST_AND_SIX_HOURS_ON))
    });
    suite.check(
        "the server has another certificate: nobody is believed before it is known",
        new_certificate,
    );
    suite.check("it was one process all the while, and one osqueryd runs", |stage| {
        if stage.main_pid()? != process {
            bail!("the agent was started anew");
        }
        let running = stage.run(
            "grep --files-with-matches --text osquery[.]pid /proc/[0-9]*/cmdline 2>/dev/null || true",
        )?;
        match running.lines().count() {
            1 => Ok(()),
            _ => bail!("there are these: {running}"),
        }
    });
    suite.check("the server lists one device, which is online", |stage| {
        match rows(stage)?.as_slice() {
            [row] if row.status == "online" => Ok(()),
            rows => bail!("it lists {rows:?}"),
        }
    });
    suite.check("half an hour has passed for the agent, which is in contact still", |stage| {
        let passed = wait_until(A_POLL, || {
            let lasted = seen(stage)?
                .and_then(|seen| Some(seen.last_contact_at?.duration_since(seen.started_at)));
            Ok(lasted.is_some_and(|lasted| lasted >= ALL).then_some(()))
        })?;
        passed.context("it has not, or the agent has lost contact")
    });
    suite.check("it stops in order", |stage| {
        stage.run("systemctl stop orbit")?;
        stage.expect_no_process()?;
        stage.run("test $(systemctl show --property Result --value orbit) = success").map(drop)
    });
    suite.check(
        "the system's clock alone is set, forth and back: the device is there, and so is its token",
        wall_clock_alone,
    );
    Ok(())
}

fn set_up(stage: &Stage<'_>) -> anyhow::Result<()> {
    together::serve(stage)?;
    prepare_agent(stage)?;
    stage.run("cp /srv/tls/ca.pem /srv/trusted.pem")?;
    together::enroll(stage, "unconfigured", "/srv/trusted.pem")
}

/// Lays down what the agent finds when it starts: a small disk, osqueryd, and a clock.
fn prepare_agent(stage: &Stage<'_>) -> anyhow::Result<()> {
    let inside = |path: &str| stage.container.root.join(path);
    let library = PathBuf::from("/").join(FAKETIME);
    fs::copy(&library, inside("srv/faketime.so"))
        .with_context(|| format!("could not copy `{}`", library.display()))?;
    let drop_ins = inside("etc/systemd/system/orbit.service.d");
    fs::create_dir_all(&drop_ins).context("could not make a folder for a drop-in")?;
    fs::write(drop_ins.join("fast.conf"), DROP_IN).context("could not write a drop-in")?;
    fs::write(inside("srv/wall.conf"), DROP_IN_FOR_THE_WALL).context("could not write a file")?;
    fs::write(inside("srv/osqueryd"), OSQUERYD).context("could not write a stand-in")?;
    set_clock(stage, FAST)?;
    stage
        .run(
            "mkdir --parents /opt/orbit && mount -t tmpfs -o size=512M,mode=755 tmpfs /opt/orbit && \
             mkdir --parents /opt/orbit/bin/osqueryd && \
             install --mode 755 /srv/osqueryd /opt/orbit/bin/osqueryd/osqueryd",
        )
        .map(drop)
}

fn set_clock(stage: &Stage<'_>, clock: &str) -> anyhow::Result<()> {
    stage.run(&format!("echo '{clock}' > /srv/clock.new && mv /srv/clock.new /srv/clock")).map(drop)
}

/// The server forgets the device, whose disk takes nothing more but what goes where the rejected key was.
fn refused_on_a_full_disk(stage: &Stage<'_>) -> anyhow::Result<()> {
    let [before] = rows(stage)?.try_into().ok().context("there is not one device")?;
    let Row { id, .. } = before;
    let token = desktop(stage)?;
    // What becomes free meanwhile is taken at once.
    stage.run(
        "touch /srv/fill && { while test -e /srv/fill; do cat /dev/zero >> /opt/orbit/filler; done \
         > /dev/null 2>&1 & }",
    )?;
    let full = wait_until(SOON, || {
        let free = stage.run("stat --file-system --format %a /opt/orbit")?;
        Ok((free.trim() == "0").then_some(()))
    })?;
    full.context("the disk does not become full")?;
    stage.run(&format!("fleetctl devices delete {id} --yes"))?;
    let told = wait_until(SOON, || {
        let log = stage.run("journalctl --unit orbit --output cat")?;
        Ok(log.contains("No space left on device").then_some(()))
    })?;
    told.context("the agent does not tell of the full disk")?;
    back(stage, || stage.run("rm /srv/fill && sleep 1 && rm /opt/orbit/filler").map(drop))?;
    stage.run("test -s /opt/orbit/secret-orbit-node-key.txt")?;
    if desktop(stage)? == token {
        bail!("the server takes a desktop token of the device that was deleted");
    }
    match rows(stage)?.as_slice() {
        [row] if row.id != id => Ok(()),
        rows => bail!("the server lists {rows:?} after `{id}` was deleted"),
    }
}

fn new_certificate(stage: &Stage<'_>) -> anyhow::Result<()> {
    let before = osqueryd(stage)?;
    stage.run(
        "rm -r /srv/tls && fleet-server cert --out-dir /srv/tls --host 127.0.0.1 && \
         install --group fleet-server --mode 640 /srv/tls/server.pem /srv/tls/server.key /etc/fleet-server/ && \
         systemctl restart fleet-server",
    )?;
    complains(stage, &["there is no trusted TLS connection to the server"])?;
    back(stage, || stage.run("cp /srv/tls/ca.pem /srv/trusted.pem").map(drop))?;
    another_osqueryd(stage, &before)
}

/// Time goes on as it does, while the system is told another.
fn wall_clock_alone(stage: &Stage<'_>) -> anyhow::Result<()> {
    set_clock(stage, RIGHT)?;
    stage.run(
        "cp /srv/wall.conf /etc/systemd/system/orbit.service.d/ && systemctl daemon-reload && \
         systemctl start orbit",
    )?;
    back(stage, || Ok(()))?;
    let process = stage.main_pid()?;
    for clock in SET_TO {
        back_within(stage, A_POLL, || set_clock(stage, clock))
            .with_context(|| format!("the clock is at {clock} seconds"))?;
        desktop(stage)?;
    }
    if stage.main_pid()? != process {
        bail!("the agent was started anew");
    }
    stage.run("systemctl stop orbit").map(drop)
}

/// The device's desktop token, once the server takes it.
fn desktop(stage: &Stage<'_>) -> anyhow::Result<String> {
    let ask = "printf 'GET /api/latest/fleet/device/%s/desktop HTTP/1.0\r\n\r\n' $(cat /opt/orbit/identifier) | \
               openssl s_client -quiet -connect 127.0.0.1:8080 -CAfile /srv/tls/ca.pem 2>/dev/null | \
               head --lines 1 | grep --quiet ' 200 ' && cat /opt/orbit/identifier";
    let token = wait_until(A_POLL, || Ok(stage.run(ask).ok()))?;
    token.context("the server does not take the desktop token")
}

/// Waits until the agent has been in contact after `what` was done, and has nothing to complain about.
fn back(stage: &Stage<'_>, what: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    back_within(stage, SOON, what)
}

fn back_within(
    stage: &Stage<'_>,
    time: Duration,
    what: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let before = seen(stage)?.and_then(|seen| seen.last_contact_at);
    what()?;
    let contact = wait_until(time, || {
        let seen = seen(stage)?;
        let well = seen.is_some_and(|seen| {
            seen.last_error.is_none()
                && seen.last_contact_at.is_some()
                && seen.last_contact_at != before
        });
        Ok(well.then_some(()))
    })?;
    contact.with_context(|| format!("the agent is not back; it was last there at {before:?}"))
}

/// Waits until the agent tells one of these.
fn complains(stage: &Stage<'_>, messages: &[&str]) -> anyhow::Result<()> {
    let told = wait_until(SOON, || {
        let Some(error) = seen(stage)?.and_then(|seen| seen.last_error) else { return Ok(None) };
        Ok(messages.iter().any(|message| error.message.contains(message)).then_some(()))
    })?;
    told.with_context(|| format!("the agent does not complain that {}", messages.join(", or ")))
}

fn seen(stage: &Stage<'_>) -> anyhow::Result<Option<Seen>> {
    let Ok(json) = stage.run("cat /opt/orbit/status.json") else { return Ok(None) };
    Ok(serde_json::from_str(&json).ok())
}

/// The process that runs as osqueryd, once there is one.
fn osqueryd(stage: &Stage<'_>) -> anyhow::Result<String> {
    let pid = wait_until(SOON, || {
        let running = "pid=$(cat /opt/orbit/osquery.pid) && kill -0 $pid && echo $pid";
        Ok(stage.run(running).ok())
    })?;
    pid.map(|pid| pid.trim().to_owned()).context("no osqueryd runs")
}

fn another_osqueryd(stage: &Stage<'_>, before: &str) -> anyhow::Result<()> {
    let other = wait_until(SOON, || Ok((osqueryd(stage)? != before).then_some(())))?;
    other.with_context(|| format!("osqueryd is still the process {before}"))
}

fn rows(stage: &Stage<'_>) -> anyhow::Result<Vec<Row>> {
    together::devices(stage)
}
