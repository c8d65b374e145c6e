//! A booted Debian: systemd-nspawn on a copy of the base, sharing at most the network.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, bail};
use xshell::{Shell, cmd};

use super::base::Base;
use crate::{
    cleanup::{self, Cleanup},
    process::{Daemon, wait_until},
};

const BOOTED_WITHIN: Duration = Duration::from_secs(60);

/// Where systemd keeps control groups when it does not own the machine: hierarchies that a
/// container's systemd wants a group of its own in.
const CONTROL_GROUPS: &[&str] =
    &["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// Which network a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    /// This machine's.
    Shared,
    /// A loopback interface of its own, and nothing else.
    Private,
}

/// A running container. Stopped and removed when dropped.
#[derive(Debug)]
pub(super) struct Container {
    /// Its root directory, seen from outside.
    pub(super) root: PathBuf,
    leader: u32,
    // Dropped in this order: the container stops, then its groups and its tree go.
    _systemd: Daemon,
    _groups: Vec<Cleanup>,
    _tree: Cleanup,
}

impl Container {
    /// Boots a copy of `base` whose host name is `name`, with a machine id of its own.
    pub(super) fn boot(name: &str, network: Network, base: &Base) -> anyhow::Result<Self> {
        let sh = Shell::new().context("could not start in the current directory")?;
        let scratch = base.scratch.join(format!("{name}-{}", std::process::id()));
        let (root, tree) = copy(&sh, base, &scratch)?;
        let id =
            fs::read_to_string("/proc/sys/kernel/random/uuid").context("could not make an id")?;
        fs::write(root.join("etc/machine-id"), id.replace('-', ""))?;
        fs::write(root.join("etc/hostname"), format!("{name}\n"))?;
        let group = format!("fleetd-acceptance-{}-{name}", std::process::id());
        let groups = control_groups(&group);
        let command = nspawn(name, network, &root, &group);
        let systemd = Daemon::start("systemd-nspawn", command, &scratch.join("console.log"))?;
        let leader = wait_until(BOOTED_WITHIN, || match systemd.ended()? {
            Some(status) => bail!("could not boot ({status}):\n{}", systemd.output()),
            None => Ok(leader(systemd.pid())),
        })?
        .context("could not find the container's first process")?;
        let container = Self { root, leader, _systemd: systemd, _groups: groups, _tree: tree };
        container.wait_for_boot()?;
        Ok(container)
    }

    /// Runs a line of shell as root inside; gives what it printed.
    pub(super) fn run(&self, line: &str) -> anyhow::Result<String> {
        let output = self.command(line).output().context("could not enter the container")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("`{line}` failed ({}):\n{text}{errors}", output.status);
        }
        Ok(text)
    }

    /// Runs a line of shell inside; tells whether it succeeded.
    pub(super) fn succeeds(&self, line: &str) -> anyhow::Result<bool> {
        let output = self.command(line).output().context("could not enter the container")?;
        Ok(output.status.success())
    }

    #[expect(clippy::disallowed_methods, reason = "it starts programs inside the container")]
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &self.leader.to_string(),
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
            "--net",
        ]);
        command.args(["--", "/bin/sh", "-c", line]).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", "/").env("LANG", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    fn wait_for_boot(&self) -> anyhow::Result<()> {
        let state = || self.command("systemctl is-system-running").output();
        let booted = wait_until(BOOTED_WITHIN, || {
            let output = state().context("could not enter the container")?;
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(matches!(text.trim(), "running" | "degraded").then_some(()))
        })?;
        booted.context("the container did not finish booting")
    }
}

/// Makes a writable copy of the base below `scratch`: an overlay where the file system can, else file
/// by file.
fn copy(sh: &Shell, base: &Base, scratch: &Path) -> anyhow::Result<(PathBuf, Cleanup)> {
    let (root, upper, work) = (scratch.join("root"), scratch.join("upper"), scratch.join("work"));
    for dir in [&root, &upper, &work] {
        fs::create_dir_all(dir).with_context(|| format!("could not make `{}`", dir.display()))?;
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        base.root.display(),
        upper.display(),
        work.display()
    );
    let mounted =
        cmd!(sh, "mount -t overlay overlay -o {options} {root}").quiet().ignore_stderr().run();
    let (all, mount) = (scratch.to_owned(), root.clone());
    let cleanup = Cleanup::new(move || {
        let unmounted =
            Shell::new().and_then(|sh| cmd!(sh, "umount {mount}").quiet().ignore_stderr().run());
        // Without an overlay there was nothing to unmount; with one, nothing below it may be removed.
        if unmounted.is_ok() || !is_mounted(&mount) {
            cleanup::remove(&all);
        }
    });
    if mounted.is_err() {
        let lower = base.root.join(".");
        cmd!(sh, "cp -a --reflink=auto {lower} {root}").quiet().run()?;
    }
    Ok((root, cleanup))
}

fn is_mounted(dir: &Path) -> bool {
    let dir = dir.to_string_lossy();
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(&dir))
}

/// Where systemd runs the machine it makes the container's control group; elsewhere the shell that
/// becomes systemd-nspawn enters a new one.
#[expect(clippy::disallowed_methods, reason = "it starts the container")]
fn nspawn(name: &str, network: Network, root: &Path, group: &str) -> Command {
    let mut flags = format!(
        "--boot --register=no --console=pipe --hostname={name} --directory='{}'",
        root.display()
    );
    if network == Network::Private {
        flags.push_str(" --private-network");
    }
    let mut enter = String::new();
    if !Path::new("/run/systemd/system").exists() {
        flags.push_str(" --keep-unit");
        for hierarchy in CONTROL_GROUPS {
            enter.push_str(&format!(
                "test ! -d {hierarchy}/{group} || echo $$ > {hierarchy}/{group}/cgroup.procs\n"
            ));
        }
    }
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("{enter}exec systemd-nspawn {flags}")]);
    command
}

/// Makes the group in every hierarchy that systemd would use.
fn control_groups(group: &str) -> Vec<Cleanup> {
    if Path::new("/run/systemd/system").exists() {
        return Vec::new();
    }
    let hierarchies = CONTROL_GROUPS.iter().map(Path::new);
    let usable = hierarchies.filter(|dir| dir.join("cgroup.procs").exists());
    let made = usable.map(|dir| dir.join(group)).filter(|dir| fs::create_dir(dir).is_ok());
    made.map(|dir| Cleanup::new(move || remove_group(&dir))).collect()
}

/// Removes a control group and those in it, which go one by one, the inner first.
fn remove_group(dir: &Path) {
    let groups = walkdir::WalkDir::new(dir).contents_first(true).into_iter().flatten();
    for group in groups.filter(|entry| entry.file_type().is_dir()) {
        let _busy = fs::remove_dir(group.path());
    }
}

/// The container's first process: the one that systemd-nspawn has started, once it is systemd.
fn leader(nspawn: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    let child = children.split_whitespace().next()?.parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
    (name.trim() == "systemd").then_some(child)
}
