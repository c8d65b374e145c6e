//! The life of an .rpm: install, upgrade, erase, reinstall. Dependencies are not asked for: the rest
//! of the system is Debian's.

use anyhow::bail;

use super::{
    packages::VERSIONS,
    secrecy::{self, NODE_KEY},
    suite::{Stage, Suite},
};

const INSTALL: &str = "rpm --install --nodeps {}";
const UPGRADE: &str = "rpm --upgrade --nodeps {}";
const ERASE: &str = "rpm --erase --nodeps fleetd";
const EDIT: &str = "ORBIT_END_USER_EMAIL=edited@example.com";

pub(super) fn life(suite: &mut Suite<'_>) -> anyhow::Result<()> {
    let [first, second, third, fourth] = VERSIONS;
    suite.check("rpm installs it", |stage| stage.install(INSTALL, first, "rpm"));
    suite.check("the service is active", |stage| stage.expect_service("active"));
    suite.check("the unit is enabled", |stage| stage.expect_unit("enabled"));
    suite.check("the device is listed", |stage| stage.device().map(|_| ()));
    let id = suite.stage.device()?.id;
    suite.check("rpm finds every file as packaged", |stage| {
        let changed = stage.run("rpm --verify --nodeps fleetd || true")?;
        if changed.trim().is_empty() { Ok(()) } else { bail!("changed: {changed}") }
    });
    secrecy::check(suite, "secret.txt");
    let key = suite.stage.run(NODE_KEY)?;
    suite.check("an admin edits /etc/default/orbit", |stage| {
        stage.run(&format!("echo '{EDIT}' >> /etc/default/orbit")).map(|_| ())
    });
    suite.check("rpm upgrades a running older package", |stage| {
        stage.install(UPGRADE, second, "rpm")
    });
    suite.check("the service runs the new program", |stage| stage.expect_running(second));
    suite.check("the unit is still enabled", |stage| stage.expect_unit("enabled"));
    suite.check("it is the same device", |stage| stage.expect_device(&id));
    suite.check("it has the same node key", |stage| expect_key(stage, &key));
    suite.check("the edit is still there", |stage| {
        stage.run(&format!("grep --line-regexp '{EDIT}' /etc/default/orbit")).map(|_| ())
    });
    suite.check("a disabled service stays disabled and stopped over an upgrade", |stage| {
        stage.run("systemctl disable --now orbit")?;
        stage.install(UPGRADE, third, "rpm")?;
        stage.expect_unit("disabled")?;
        stage.expect_service("inactive")
    });
    suite.check("enabled again, it runs the new program", |stage| {
        stage.run("systemctl enable --now orbit")?;
        stage.expect_running(third)
    });
    suite.check("an upgrade keeps a program newer than the packaged one", |stage| {
        stage.run(
            "mkdir /opt/orbit/bin/orbit/99.0.0 && cp /opt/orbit/bin/orbit/packaged/orbit /opt/orbit/bin/orbit/99.0.0/orbit && \
             ln --symbolic --force --no-target-directory 99.0.0/orbit /opt/orbit/bin/orbit/orbit && systemctl restart orbit",
        )?;
        stage.install(UPGRADE, fourth, "rpm")?;
        stage.run("test $(readlink --canonicalize /opt/orbit/bin/orbit/orbit) = /opt/orbit/bin/orbit/99.0.0/orbit")?;
        stage.expect_device(&id)
    });
    suite.check("rpm erases it, and stops the service first", |stage| {
        stage.run(ERASE)?;
        stage.expect_service("inactive")?;
        stage.expect_no_process()
    });
    suite.check("the node key is kept", |stage| expect_key(stage, &key));
    suite.check("reinstalled, it is the same device", |stage| {
        stage.install(INSTALL, fourth, "rpm")?;
        stage.expect_service("active")?;
        stage.expect_device(&id)
    });
    Ok(())
}

fn expect_key(stage: &Stage<'_>, key: &str) -> anyhow::Result<()> {
    let seen = stage.run(NODE_KEY)?;
    if seen != key {
        bail!("the node key is another one");
    }
    Ok(())
}
