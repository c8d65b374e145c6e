//! Where an enroll secret must not be seen on an installed device.

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::suite::{Stage, Suite};

/// Tells the node key apart from others, by what systemd itself opens.
pub(super) const NODE_KEY: &str =
    "systemd-creds decrypt --name=orbit-node-key /opt/orbit/orbit-node-key.cred - | sha256sum";

/// Checks every place, for the secret in the file `secret` of the deployment.
pub(super) fn check(suite: &mut Suite<'_>, secret: &str) {
    suite.check("the secret is not in the unit or what systemctl shows", |stage| {
        expect_absent(
            stage,
            secret,
            "systemctl show orbit; systemctl cat orbit; systemctl status orbit",
        )
    });
    suite.check("the secret is in no process's arguments", |stage| {
        expect_absent(stage, secret, "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'")
    });
    suite.check("the secret is not in the journal", |stage| {
        expect_absent(stage, secret, "journalctl --no-pager")
    });
    suite.check("secret and node key are sealed, and the package's file is gone", |stage| {
        let sealed: Value = serde_json::from_str(&stage.run(&opened("orbit-enroll-secret"))?)
            .context("what systemd-creds opens is no JSON")?;
        if sealed["secret"] != *value(stage, secret)? {
            bail!("systemd-creds opens something else");
        }
        stage.run("test ! -e /opt/orbit/secret.txt && test ! -e /opt/orbit/enroll-secret.json")?;
        stage.run("test ! -e /opt/orbit/secret-orbit-node-key.txt").map(drop)
    });
    suite.check("the secret and the node key are in no file that others may read", |stage| {
        expect_no_readable(stage, secret)
    });
    suite.check("only root may read configuration and secrets", |stage| {
        for file in [
            "/etc/default/orbit",
            "/opt/orbit/orbit-enroll-secret.cred",
            "/opt/orbit/orbit-node-key.cred",
        ] {
            let mode = stage.run(&format!("stat --format '%a %U' {file}"))?;
            if mode.trim() != "600 root" {
                bail!("`{file}` is {}", mode.trim());
            }
        }
        Ok(())
    });
}

fn expect_absent(stage: &Stage<'_>, secret: &str, line: &str) -> anyhow::Result<()> {
    let secret = value(stage, secret)?;
    let text = stage.run(&format!("{{ {line}; }} || true"))?;
    if text.trim().is_empty() {
        bail!("`{line}` printed nothing to look in");
    }
    match text.lines().find(|line| line.contains(&secret)) {
        Some(line) => bail!("it is in: {}", line.replace(&secret, "[the secret]")),
        None => Ok(()),
    }
}

/// Looks into every file below the places where an agent or a package manager writes.
fn expect_no_readable(stage: &Stage<'_>, secret: &str) -> anyhow::Result<()> {
    std::fs::write(stage.container.root.join("srv/secret"), value(stage, secret)?)?;
    stage.run(&format!("{} > /srv/node-key", opened("orbit-node-key")))?;
    let line = "find /etc /opt /var /usr/lib/systemd /run -xdev -type f -perm /044 -print0 | \
                xargs -0 grep --files-with-matches --fixed-strings -f /srv/secret -f /srv/node-key || true";
    let found = stage.run(line)?;
    stage.run("rm /srv/secret /srv/node-key")?;
    if !found.trim().is_empty() {
        bail!("others may read it in {}", found.trim());
    }
    Ok(())
}

/// What systemd itself opens of what the agent has sealed.
fn opened(name: &str) -> String {
    format!("systemd-creds decrypt --name={name} /opt/orbit/{name}.cred -")
}

fn value(stage: &Stage<'_>, file: &str) -> anyhow::Result<String> {
    let path = stage.deployment.desk.dir.join(file);
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("could not read `{file}`"))?;
    Ok(text.trim_end_matches('\n').to_owned())
}
