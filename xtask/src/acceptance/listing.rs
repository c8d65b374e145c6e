//! Every path of a system, to see what a package leaves behind.

use std::collections::BTreeSet;

use anyhow::bail;

use super::suite::Stage;

/// Where a running system writes by itself, package or not.
const RESTLESS: &[&str] = &[
    "./proc",
    "./sys",
    "./dev",
    "./run",
    "./tmp",
    "./srv",
    "./var/log",
    "./var/cache",
    "./var/lib/apt",
    "./var/lib/dpkg",
    "./var/lib/rpm",
    "./var/tmp",
    "./var/lib/systemd/timers",
    "./var/lib/systemd/random-seed",
    // systemd-creds makes a key for the machine when it is first asked to encrypt.
    "./var/lib/systemd/credential.secret",
    // systemd-sysusers keeps what they were before.
    "./etc/group-",
    "./etc/gshadow-",
    "./etc/passwd-",
    "./etc/shadow-",
    "./etc/.pwd.lock",
];

/// What dpkg keeps of a package that is not gone.
const OF_DPKG: &str = "ls /var/lib/dpkg/info | grep -i -e fleet -e orbit || true";

/// Paths of everything that stays where it is.
pub(super) fn of(stage: &Stage<'_>) -> anyhow::Result<BTreeSet<String>> {
    let pruned: Vec<_> = RESTLESS.iter().map(|path| format!("-path {path}")).collect();
    let line = format!("cd / && find . '(' {} ')' -prune -o -print", pruned.join(" -o "));
    let mut paths: BTreeSet<_> = stage.run(&line)?.lines().map(str::to_owned).collect();
    paths.extend(stage.run(OF_DPKG)?.lines().map(|name| format!("dpkg: {name}")));
    Ok(paths)
}

/// Fails if there is now anything that was not there `before`, or the other way round.
pub(super) fn expect_same(stage: &Stage<'_>, before: &BTreeSet<String>) -> anyhow::Result<()> {
    let after = of(stage)?;
    let left: Vec<_> = after.difference(before).cloned().collect();
    // dpkg removes a directory that a package had in it and that has become empty, whoever made it.
    let lost: Vec<_> = before.difference(&after).filter(|path| *path != "./opt").cloned().collect();
    if !left.is_empty() || !lost.is_empty() {
        bail!("left behind: {}; taken along: {}", left.join(" "), lost.join(" "));
    }
    Ok(())
}
