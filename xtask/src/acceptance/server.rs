//! The lives of the packages of `fleet-server` and `fleetctl`, in a system whose loopback interface
//! is its own.

use anyhow::{Context as _, bail};

use super::{
    listing,
    packages::{COMMAND, SERVERS},
    suite::{Stage, Suite},
};

/// How a package manager is called; `{}` stands for a package.
struct Manager {
    format: &'static str,
    install: &'static str,
    upgrade: &'static str,
    remove: &'static str,
}

const DPKG: Manager = Manager {
    format: "deb",
    install: "dpkg --install {}",
    upgrade: "dpkg --install {}",
    remove: "dpkg --remove fleet-server",
};

/// The rest of the system is Debian's, so dependencies are not asked for.
const RPM: Manager = Manager {
    format: "rpm",
    install: "rpm --install --nodeps {}",
    upgrade: "rpm --upgrade --nodeps {}",
    remove: "rpm --erase --nodeps fleet-server",
};

/// What an admin writes into the configuration.
const EDIT: &str = "limits: { login_attempts: 4 }";
const CONFIG: &str = "/etc/fleet-server/config.yaml";
const SIGNED_IN: &str = "fleetctl devices list --output json";

pub(super) fn deb(suite: &mut Suite<'_>) -> anyhow::Result<()> {
    let before = listing::of(&suite.stage)?;
    life(suite, &DPKG)?;
    suite.check("dpkg purges it", |stage| {
        stage.run("rm -rf /.config /.local && dpkg --purge fleet-server fleetctl").map(|_| ())
    });
    suite.check("nothing is left but the account", |stage| {
        stage.run("getent passwd fleet-server")?;
        listing::expect_same(stage, &before)
    });
    Ok(())
}

pub(super) fn rpm(suite: &mut Suite<'_>) -> anyhow::Result<()> {
    life(suite, &RPM)?;
    suite.check("an edited configuration is kept when it is erased", |stage| {
        stage.run(RPM.remove)?;
        stage.run(&format!("grep --line-regexp '{EDIT}' {CONFIG}.rpmsave")).map(|_| ())
    });
    Ok(())
}

fn life(suite: &mut Suite<'_>, manager: &Manager) -> anyhow::Result<()> {
    let [first, second] = SERVERS;
    command(suite, manager);
    suite.check("the server is installed", |stage| {
        stage.install(manager.install, first, manager.format)
    });
    running(suite);
    suite.check("the command in its log sets it up", set_up);
    suite.check("an admin edits the configuration", |stage| {
        stage.run(&format!("echo '{EDIT}' >> {CONFIG} && systemctl restart fleet-server"))?;
        stage.run(SIGNED_IN).map(|_| ())
    });
    let pid = suite.stage.main_pid()?;
    suite.check("an upgrade starts the new program", |stage| {
        stage.install(manager.upgrade, second, manager.format)?;
        stage.expect_other_process(&pid)
    });
    suite.check("the edit is still there, and its owner is the same", |stage| {
        stage.run(&format!("grep --line-regexp '{EDIT}' {CONFIG}"))?;
        expect(stage, &format!("stat --format '%U:%G %a' {CONFIG}"), "root:fleet-server 640")
    });
    suite.check("people are still signed in", |stage| stage.run(SIGNED_IN).map(|_| ()));
    suite.check("a disabled service stays disabled and stopped over an upgrade", |stage| {
        stage.run("systemctl disable --now fleet-server")?;
        let again = manager.upgrade.replace("--upgrade", "--upgrade --replacepkgs");
        stage.install(&again, second, manager.format)?;
        stage.expect_unit("disabled")?;
        stage.expect_service("inactive")?;
        stage.run("systemctl enable --now fleet-server").map(|_| ())
    });
    suite.check("removed, it leaves its state, and comes back with it", |stage| {
        stage.run(manager.remove)?;
        stage.run("test -s /var/lib/fleet-server/fleet.db && test ! -e /usr/bin/fleet-server")?;
        stage.expect_service("inactive")?;
        stage.install(manager.install, second, manager.format)?;
        stage.run(&format!("test ! -e {CONFIG}.rpmsave || mv {CONFIG}.rpmsave {CONFIG}"))?;
        stage.expect_service("active")?;
        stage.run(SIGNED_IN).map(|_| ())
    });
    Ok(())
}

fn command(suite: &mut Suite<'_>, manager: &Manager) {
    suite.check("fleetctl is installed, and runs", |stage| {
        stage.install(manager.install, COMMAND, manager.format)?;
        stage.run("fleetctl version").map(|_| ())
    });
    suite.check("it has a manual page where man looks", |stage| {
        stage.run("gzip --test /usr/share/man/man1/fleetctl-package.1.gz").map(|_| ())
    });
    suite.check("bash loads its completions", |stage| {
        let script = "/usr/share/bash-completion/completions/fleetctl";
        let line = format!("bash -ec 'source {script}; complete -p fleetctl'");
        let loaded = stage.run(&line)?;
        if loaded.contains("-F _fleetctl") { Ok(()) } else { bail!("bash says: {loaded}") }
    });
}

fn running(suite: &mut Suite<'_>) {
    suite.check("the service is active and enabled", |stage| {
        stage.expect_service("active")?;
        stage.expect_unit("enabled")
    });
    suite.check("it runs under an account of its own", |stage| {
        let pid = stage.main_pid()?;
        expect(stage, &format!("stat --format %U /proc/{pid}"), "fleet-server")
    });
    suite.check("only it and root may read its configuration and state", |stage| {
        expect(stage, &format!("stat --format '%U:%G %a' {CONFIG}"), "root:fleet-server 640")?;
        expect(stage, "stat --format '%U %a' /var/lib/fleet-server", "fleet-server 700")
    });
    suite.check("the packaged configuration is a good one", |stage| {
        stage.run(&format!("fleet-server config check --config {CONFIG}")).map(|_| ())
    });
    suite.check("systemd rates its exposure at 2.0 of 10 or less", |stage| {
        stage.run("systemd-analyze security --threshold=20 fleet-server").map(|_| ())
    });
}

/// Runs what the log says, with what it leaves to the reader.
fn set_up(stage: &Stage<'_>) -> anyhow::Result<()> {
    let log = stage.run("journalctl --unit fleet-server --output cat")?;
    let (_, line) = log.split_once("set it up with: ").context("the log has no such line")?;
    let line = line.lines().next().unwrap_or_default();
    let who = "--email ann@example.com --name Ann --organization Example --password-stdin";
    stage.run(&format!("echo Copper-walrus-7-ledgers | {line} {who}")).map(|_| ())
}

fn expect(stage: &Stage<'_>, line: &str, expected: &str) -> anyhow::Result<()> {
    let seen = stage.run(line)?;
    if seen.trim() != expected {
        bail!("`{line}` says {}, not {expected}", seen.trim());
    }
    Ok(())
}
