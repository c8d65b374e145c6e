//! Checks in one container, with what they need at hand.

use std::{fs, time::Duration};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde::Deserialize;

use super::{Group, base::Base, container::Container, packages::Shelf};
use crate::{
    deployment::{Deployment, Device},
    process::wait_until,
    report::Report,
    terminal,
};

/// How long a service or the server may take to show what is expected.
pub(super) const SOON: Duration = Duration::from_secs(30);

/// A group of checks, as it runs.
pub(super) struct Suite<'a> {
    pub(super) stage: Stage<'a>,
    report: &'a mut Report,
}

/// What all groups share.
pub(super) struct Site<'a> {
    pub(super) base: &'a Base,
    pub(super) deployment: &'a Deployment,
    pub(super) shelf: &'a Shelf,
}

/// What checks work with.
pub(super) struct Stage<'a> {
    pub(super) container: Container,
    pub(super) deployment: &'a Deployment,
    pub(super) shelf: &'a Shelf,
    /// The systemd unit that is looked at.
    unit: &'static str,
    /// The container's host name, by which the server's list is searched.
    hostname: &'static str,
}

/// What the agent writes about itself.
#[derive(Debug, Deserialize)]
struct Record {
    process_id: u32,
    started_at: Timestamp,
    last_contact_at: Option<Timestamp>,
}

impl<'a> Suite<'a> {
    /// Boots a container of its own for `group`.
    pub(super) fn boot(
        group: &Group,
        site: &Site<'a>,
        report: &'a mut Report,
    ) -> anyhow::Result<Self> {
        let &Group { name, network, unit, .. } = group;
        let container = Container::boot(name, network, site.base)
            .with_context(|| format!("could not boot a container for `{name}`"))?;
        let &Site { deployment, shelf, .. } = site;
        Ok(Self { stage: Stage { container, deployment, shelf, unit, hostname: name }, report })
    }

    /// Runs a check and prints how it went; what the service has logged follows a failure.
    pub(super) fn check(
        &mut self,
        name: &str,
        test: impl FnOnce(&Stage<'a>) -> anyhow::Result<()>,
    ) {
        let outcome = test(&self.stage);
        if !self.report.record(name, outcome) {
            self.stage.explain();
        }
    }

    /// Records why the group was not gone through to its end, if it was not.
    pub(super) fn conclude(&mut self, outcome: anyhow::Result<()>) {
        if outcome.is_err() {
            self.check("every check was reached", |_| outcome);
        }
    }
}

impl Stage<'_> {
    /// Runs a line of shell inside.
    pub(super) fn run(&self, line: &str) -> anyhow::Result<String> {
        self.container.run(line)
    }

    /// Puts the package `name` into the container; gives its path there.
    pub(super) fn deliver(&self, name: &str, format: &str) -> anyhow::Result<String> {
        let path = format!("/srv/{name}.{format}");
        let inside = self.container.root.join(&path[1..]);
        fs::copy(self.shelf.find(name, format)?, inside).context("could not copy the package")?;
        Ok(path)
    }

    /// Runs `line` inside with `{}` standing for the package `name`.
    pub(super) fn install(&self, line: &str, name: &str, format: &str) -> anyhow::Result<()> {
        let path = self.deliver(name, format)?;
        self.run(&line.replace("{}", &path)).map(|_| ())
    }

    /// Waits until `systemctl is-active` says `state`.
    pub(super) fn expect_service(&self, state: &str) -> anyhow::Result<()> {
        let seen = wait_until(SOON, || {
            let now = self.run(&format!("systemctl is-active {} || true", self.unit))?;
            Ok((now.trim() == state).then_some(()))
        })?;
        seen.with_context(|| format!("the service did not become {state}"))
    }

    /// Fails unless `systemctl is-enabled` says `state`.
    pub(super) fn expect_unit(&self, state: &str) -> anyhow::Result<()> {
        let now = self.run(&format!("systemctl is-enabled {} || true", self.unit))?;
        if now.trim() != state {
            bail!("the unit is {}, not {state}", now.trim());
        }
        Ok(())
    }

    /// Waits until the process that runs now has been in contact with the server, and gives the
    /// device's one row there.
    pub(super) fn device(&self) -> anyhow::Result<Device> {
        let contact = wait_until(SOON, || Ok(self.in_contact()?.then_some(())))?;
        let mut rows = self.rows()?;
        match (contact, rows.pop(), rows.is_empty()) {
            (Some(()), Some(device), true) => Ok(device),
            (_, Some(_), false) => bail!("the device is listed {} times", rows.len() + 1),
            _ => bail!(
                "the device is not listed and in contact:\n{}",
                self.run("orbit status || true")?
            ),
        }
    }

    /// Tells whether `orbit status` is content and speaks of the service's process.
    fn in_contact(&self) -> anyhow::Result<bool> {
        let Ok(json) = self.run("cat /opt/orbit/status.json") else { return Ok(false) };
        let Ok(record) = serde_json::from_str::<Record>(&json) else { return Ok(false) };
        let of_this_process = record.process_id.to_string() == self.main_pid()?
            && record.last_contact_at.is_some_and(|contact| contact > record.started_at);
        Ok(of_this_process && self.container.succeeds("orbit status")? && !self.rows()?.is_empty())
    }

    /// Fails unless the device is in contact and still the one with the id `id`.
    pub(super) fn expect_device(&self, id: &str) -> anyhow::Result<()> {
        let device = self.device()?;
        if device.id != id {
            bail!("the device `{id}` has become `{}`", device.id);
        }
        Ok(())
    }

    /// Waits until the service runs the program that was packed in `version`.
    pub(super) fn expect_running(&self, version: &str) -> anyhow::Result<()> {
        let expected = format!("/srv/orbit-{version}");
        let inside = self.container.root.join(&expected[1..]);
        fs::copy(self.shelf.program(version), inside).context("could not copy the program")?;
        let same = wait_until(SOON, || {
            let pid = self.main_pid()?;
            let line = format!("cmp --silent /proc/{pid}/exe {expected}");
            Ok(self.container.succeeds(&line)?.then_some(()))
        })?;
        same.with_context(|| format!("the service does not run the program of {version}"))
    }

    /// The service's main process, as the container numbers it.
    pub(super) fn main_pid(&self) -> anyhow::Result<String> {
        let pid = self.run(&format!("systemctl show --property MainPID --value {}", self.unit))?;
        Ok(pid.trim().to_owned())
    }

    /// Waits until the service is active with another main process than `pid`.
    pub(super) fn expect_other_process(&self, pid: &str) -> anyhow::Result<()> {
        let changed = wait_until(SOON, || {
            let now = self.run(&format!("systemctl is-active {} || true", self.unit))?;
            Ok((now.trim() == "active" && self.main_pid()? != pid).then_some(()))
        })?;
        changed.context("the service still runs the old process")
    }

    /// Fails if a process still runs a program of the package.
    pub(super) fn expect_no_process(&self) -> anyhow::Result<()> {
        let running = self.run("readlink /proc/[0-9]*/exe | grep /opt/orbit || true")?;
        if !running.trim().is_empty() {
            bail!("still running: {}", running.trim());
        }
        Ok(())
    }

    fn rows(&self) -> anyhow::Result<Vec<Device>> {
        let mut devices = self.deployment.devices()?;
        devices.retain(|device| device.hostname == self.hostname);
        Ok(devices)
    }

    /// Prints the end of what the service and the server have logged.
    fn explain(&self) {
        let unit = self.unit;
        let journal = self
            .run(&format!("journalctl --no-pager --quiet --lines 15 --unit {unit} --output cat"));
        for (whose, text) in
            [(unit, journal.unwrap_or_default()), ("server", self.deployment.log_tail())]
        {
            for line in text.lines() {
                terminal::line(&format!("         {whose}: {line}"));
            }
        }
    }
}
