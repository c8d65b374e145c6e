//! The life of a .deb: install, upgrade, remove, reinstall, purge; and what an admin has said about
//! the service.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::{
    listing,
    packages::VERSIONS,
    secrecy::{self, NODE_KEY},
    suite::{Stage, Suite},
};
use crate::process::wait_until;

const INSTALL: &str = "dpkg --install {}";
/// What `dpkg --verify` says when every file is as packaged, but for the secret that the keystore has taken over:
/// dpkg, unlike rpm, knows no file that may be missing.
pub(super) const UNCHANGED: &str = "missing     /opt/orbit/secret.txt\n";
/// How long a restart that waits for the package manager may take.
const LATER: Duration = Duration::from_secs(90);
/// Where settings of the service are that are not the package's.
const DROP_INS: &str = "/etc/systemd/system/orbit.service.d";
/// An agent that says nothing for so long hangs.
const WATCHDOG: &str = "[Service]\\nWatchdogSec=5\\n";
/// What an admin writes into the configuration.
const EDIT: &str = "ORBIT_END_USER_EMAIL=edited@example.com";

/// From a system without the package to a system without it.
pub(super) fn life(suite: &mut Suite<'_>) -> anyhow::Result<()> {
    let [first, second, third, fourth] = VERSIONS;
    let before = listing::of(&suite.stage)?;
    install(suite, first);
    let id = suite.stage.device()?.id;
    secrecy::check(suite, "secret.txt");
    suite.check("an admin edits /etc/default/orbit", |stage| {
        stage.run(&format!("echo '{EDIT}' >> /etc/default/orbit")).map(|_| ())
    });
    let key = suite.stage.run(NODE_KEY)?;
    suite.check("dpkg upgrades a running older package", |stage| {
        stage.install(INSTALL, second, "deb")
    });
    upgraded(suite, second, &id, &key);
    suite.check("apt upgrades it again", |stage| {
        stage.install("apt-get install --quiet --yes {}", third, "deb")
    });
    upgraded(suite, third, &id, &key);
    updated_by_itself(suite, fourth, &id);
    removed(suite, fourth, &id, &key);
    suite.check("dpkg purges it", |stage| stage.run("dpkg --purge fleetd").map(|_| ()));
    suite.check("nothing is left", |stage| listing::expect_same(stage, &before));
    Ok(())
}

fn install(suite: &mut Suite<'_>, version: &str) {
    suite.check("dpkg installs it", |stage| stage.install(INSTALL, version, "deb"));
    suite.check("the service is active", |stage| stage.expect_service("active"));
    suite.check("the unit is enabled", |stage| stage.expect_unit("enabled"));
    suite.check("the device is listed", |stage| stage.device().map(|_| ()));
    suite.check("the service runs the packaged program", |stage| stage.expect_running(version));
    suite.check("dpkg finds every file as packaged", |stage| {
        expect_output(stage, "dpkg --verify fleetd", UNCHANGED)
    });
    suite.check("systemd-analyze finds nothing wrong with the unit", |stage| {
        let findings = stage.run("systemd-analyze verify orbit.service 2>&1")?;
        if findings.contains("orbit") { bail!("{findings}") } else { Ok(()) }
    });
}

fn upgraded(suite: &mut Suite<'_>, version: &str, id: &str, key: &str) {
    suite.check("the service runs the new program", |stage| stage.expect_running(version));
    suite.check("the service is active", |stage| stage.expect_service("active"));
    suite.check("the unit is still enabled", |stage| stage.expect_unit("enabled"));
    suite.check("it is the same device", |stage| stage.expect_device(id));
    suite.check("it has the same node key", |stage| expect_output(stage, NODE_KEY, key));
    suite.check("the edit is still there and in force", expect_edit);
}

fn expect_edit(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage.run(&format!("grep --line-regexp '{EDIT}' /etc/default/orbit"))?;
    let pid = stage.main_pid()?;
    stage
        .run(&format!("tr '\\0' '\\n' < /proc/{pid}/environ | grep --line-regexp '{EDIT}'"))
        .map(|_| ())
}

fn expect_output(stage: &Stage<'_>, line: &str, expected: &str) -> anyhow::Result<()> {
    let seen = stage.run(line)?;
    if seen != expected {
        bail!("`{line}` says {}, not {}", seen.trim(), expected.trim());
    }
    Ok(())
}

/// An updater has put a newer agent beside the packaged one.
fn updated_by_itself(suite: &mut Suite<'_>, version: &str, id: &str) {
    suite.check("an updater puts a newer program in place", |stage| {
        stage.run(
            "mkdir /opt/orbit/bin/orbit/99.0.0 && cd /opt/orbit/bin/orbit/99.0.0 && \
             { cat ../packaged/orbit; echo newer; } > orbit && chmod 755 orbit && \
             ln --symbolic 99.0.0/orbit ../new && mv --no-target-directory ../new ../orbit && \
             systemctl restart orbit",
        )?;
        stage.expect_service("active")
    });
    suite.check("dpkg upgrades to a package older than that", |stage| {
        stage.install(INSTALL, version, "deb")
    });
    suite.check("the newer program is still there and runs", |stage| {
        stage.expect_service("active")?;
        let pid = stage.main_pid()?;
        expect_output(
            stage,
            &format!("readlink /proc/{pid}/exe"),
            "/opt/orbit/bin/orbit/99.0.0/orbit\n",
        )
    });
    suite.check("it is the same device", |stage| stage.expect_device(id));
}

fn removed(suite: &mut Suite<'_>, version: &str, id: &str, key: &str) {
    suite.check("dpkg removes it", |stage| stage.run("dpkg --remove fleetd").map(|_| ()));
    suite.check("the service has stopped", |stage| stage.expect_no_process());
    suite.check("the programs of the package are gone", |stage| {
        if stage.container.succeeds("test -e /opt/orbit/bin/orbit/packaged")? {
            bail!("they are not");
        }
        Ok(())
    });
    suite.check("node key and configuration are kept", |stage| {
        expect_output(stage, NODE_KEY, key)?;
        stage.run(&format!("grep --line-regexp '{EDIT}' /etc/default/orbit")).map(|_| ())
    });
    suite.check("dpkg installs it again", |stage| stage.install(INSTALL, version, "deb"));
    suite.check("the service is active", |stage| stage.expect_service("active"));
    suite.check("it is the same device", |stage| stage.expect_device(id));
    suite.check("it has the same node key", |stage| expect_output(stage, NODE_KEY, key));
}

/// Upgrades do not undo what an admin has said about the service.
pub(super) fn service_states(suite: &mut Suite<'_>) -> anyhow::Result<()> {
    let [first, second, third, fourth] = VERSIONS;
    suite.check("dpkg installs it", |stage| stage.install(INSTALL, first, "deb"));
    let id = suite.stage.device().context("could not enroll")?.id;
    suite.check("a disabled service stays disabled and stopped over an upgrade", |stage| {
        stage.run("systemctl disable --now orbit")?;
        stage.install(INSTALL, second, "deb")?;
        stage.expect_unit("disabled")?;
        stage.expect_service("inactive")
    });
    suite.check("enabled again, it runs the new program as the same device", |stage| {
        stage.run("systemctl enable --now orbit")?;
        stage.expect_running(second)?;
        stage.expect_device(&id)
    });
    suite.check("a masked service stays masked over an upgrade", |stage| {
        stage.run("systemctl disable --now orbit && systemctl mask orbit")?;
        stage.install(INSTALL, third, "deb")?;
        stage.expect_unit("masked")?;
        stage.expect_service("inactive")
    });
    suite.check("unmasked, it is what it was", |stage| {
        stage.run("systemctl unmask orbit")?;
        stage.expect_unit("disabled")?;
        stage.run("systemctl enable --now orbit")?;
        stage.expect_device(&id)
    });
    suite.check("a stopped service that is enabled starts with an upgrade", |stage| {
        stage.run("systemctl stop orbit")?;
        stage.install(INSTALL, fourth, "deb")?;
        stage.expect_unit("enabled")?;
        stage.expect_running(fourth)
    });
    suite
        .check("systemd leaves an agent that is well alone, and starts one that hangs again", hung);
    suite.check("it is the same device", |stage| stage.expect_device(&id));
    suite.check("a script below the agent installs another version to its end", |stage| {
        installed_from_below(stage, first)
    });
    suite.check("without being removed first, it is purged while it runs", |stage| {
        stage.run("dpkg --purge fleetd")?;
        stage.expect_service("inactive")?;
        stage.run("test ! -e /opt/orbit && test ! -e /etc/default/orbit").map(|_| ())
    });
    Ok(())
}

/// Has an agent whose watchdog is in a hurry do nothing any more.
fn hung(stage: &Stage<'_>) -> anyhow::Result<()> {
    stage.run(&format!(
        "mkdir --parents {DROP_INS} && printf '{WATCHDOG}' > {DROP_INS}/watchdog.conf && systemctl daemon-reload && systemctl restart orbit"
    ))?;
    stage.device()?;
    let pid = stage.main_pid()?;
    stage.run("sleep 12")?;
    if stage.main_pid()? != pid {
        bail!("an agent that was well is gone");
    }
    stage.run(&format!("kill -STOP {pid}"))?;
    stage.expect_other_process(&pid)?;
    let said = stage.run("journalctl --unit orbit --no-pager")?;
    if !said.contains("Watchdog timeout") {
        bail!("systemd says {said}");
    }
    stage.run(&format!("rm -r {DROP_INS} && systemctl daemon-reload")).map(drop)
}

/// Has a process in the service's control group install `version`, and waits for the restart.
fn installed_from_below(stage: &Stage<'_>, version: &str) -> anyhow::Result<()> {
    let (package, pid) = (stage.deliver(version, "deb")?, stage.main_pid()?);
    stage.run(&format!(
        "for group in $(grep -rlsx --include=cgroup.procs {pid} /sys/fs/cgroup); do
             echo $$ > $group || true
         done
         grep orbit.service /proc/self/cgroup && dpkg --install {package}"
    ))?;
    expect_output(stage, "dpkg-query --show --showformat '${db:Status-Abbrev}' fleetd", "ii ")?;
    if stage.main_pid()? != pid {
        bail!("the service was restarted while the package was installed");
    }
    let restarted = wait_until(LATER, || Ok((stage.main_pid()? != pid).then_some(())))?;
    restarted.context("the service was not restarted")?;
    stage.expect_running(version)
}
