//! The icon under a real systemd: the agent has the service manager of whoever sits at the device run it.

use anyhow::{Context as _, bail};

use super::{
    suite::{SOON, Stage, Suite},
    together,
};
use crate::process::wait_until;

/// logind, but for who sits at a device that has no seat: Ann, while there is `/srv/seated`.
const LOGINCTL: &str = r"#!/bin/sh
case $1 in
    show-seat) test ! -e /srv/seated || echo 1 ;;
    show-session) echo User=$(id -u ann); echo Class=user ;;
    *) exec /usr/bin/loginctl $* ;;
esac
";

pub(super) fn run(suite: &mut Suite<'_>) -> anyhow::Result<()> {
    suite.check("an agent with an icon is installed, and a person has a session", set_up);
    suite.check("nobody sits there: there is no icon", |stage| {
        stage.run("sleep 3")?;
        if icons(stage)?.is_empty() { Ok(()) } else { bail!("there is one") }
    });
    suite.check("somebody sits down: their service manager runs it, as them", |stage| {
        stage.run("touch /srv/seated")?;
        icon(stage, "")?;
        let unit = as_ann(r#"systemctl --user is-active "fleet-desktop-*""#);
        stage.run(&unit).map(drop)
    });
    suite.check("it has nothing of the agent's, and may read the device's token", |stage| {
        let icon = icon(stage, "")?;
        let environment = stage.run(&format!("tr '\\0' '\\n' < /proc/{icon}/environ"))?;
        if environment.contains("ORBIT_") || environment.contains("NOTIFY_SOCKET") {
            bail!("it has {environment}");
        }
        let read = || {
            Ok(stage.container.succeeds(&as_ann("test -r /opt/orbit/identifier"))?.then_some(()))
        };
        wait_until(SOON, read)?.context("Ann may not read the token")?;
        if stage
            .container
            .succeeds("setpriv --reuid nobody --clear-groups test -r /opt/orbit/identifier")?
        {
            bail!("others may read it, too");
        }
        Ok(())
    });
    suite.check("killed, it is started again", |stage| {
        let before = icon(stage, "")?;
        stage.run(&format!("kill -KILL {before}"))?;
        icon(stage, &before).map(drop)
    });
    suite.check("the agent is killed: its successor shows one icon, not two", |stage| {
        let (before, agent) = (icon(stage, "")?, stage.main_pid()?);
        stage.run(&format!("kill -KILL {agent}"))?;
        stage.expect_other_process(&agent)?;
        icon(stage, &before).map(drop)
    });
    suite.check("whoever sat there leaves: so does the icon", |stage| {
        stage.run("rm /srv/seated")?;
        let gone = wait_until(2 * SOON, || Ok(icons(stage)?.is_empty().then_some(())))?;
        gone.context("it is still there")
    });
    suite.check("the agent stops: so does the icon", |stage| {
        stage.run("touch /srv/seated")?;
        icon(stage, "")?;
        stage.run("systemctl stop orbit")?;
        if icons(stage)?.is_empty() { Ok(()) } else { bail!("it is still there") }
    });
    Ok(())
}

fn set_up(stage: &Stage<'_>) -> anyhow::Result<()> {
    together::serve(stage)?;
    stage.run(&format!(
        "printf '%s' '{LOGINCTL}' > /usr/local/bin/loginctl && chmod 755 /usr/local/bin/loginctl && \
         mkdir --parents /etc/orbit/conf.d && echo ORBIT_DISABLE_KEYSTORE=true > /etc/orbit/conf.d/20-icon.conf && \
         useradd --create-home ann && loginctl enable-linger ann"
    ))?;
    let ready = || {
        Ok(stage
            .container
            .succeeds(&as_ann("test -S $XDG_RUNTIME_DIR/systemd/private"))?
            .then_some(()))
    };
    wait_until(SOON, ready)?.context("Ann has no service manager")?;
    together::enroll(stage, "desktop", "/srv/tls/ca.pem")
}

/// `line` as Ann runs it.
fn as_ann(line: &str) -> String {
    format!(
        "id=$(id -u ann); XDG_RUNTIME_DIR=/run/user/$id setpriv --reuid ann --regid ann --clear-groups sh -c '{line}'"
    )
}

/// The process of the icon, once there is one, and one alone, other than `before`.
fn icon(stage: &Stage<'_>, before: &str) -> anyhow::Result<String> {
    let mut seen = Vec::new();
    let found = wait_until(2 * SOON, || {
        seen = icons(stage)?;
        Ok(match seen.as_slice() {
            [only] if only != before => Some(only.clone()),
            _ => None,
        })
    })?;
    found.with_context(|| format!("there are these icons: {seen:?}"))
}

/// Ann's processes that show one.
fn icons(stage: &Stage<'_>) -> anyhow::Result<Vec<String>> {
    let line = "for exe in /proc/[0-9]*/exe; do \
        case $(readlink $exe) in */fleet-desktop) stat --format '%u %n' ${exe%/exe} ;; esac; done";
    let ann = stage.run("id -u ann")?;
    let processes = stage.run(line)?;
    let of_ann = processes.lines().filter_map(|line| {
        let (user, path) = line.split_once(' ')?;
        (user == ann.trim()).then(|| path.trim_start_matches("/proc/").to_owned())
    });
    Ok(of_ann.collect())
}
