//! An update of the agent while its service runs: Windows lets nobody replace the program of a process,
//! so the new one is put beside it, and the service is pointed there.

use std::{fs, os::unix::ffi::OsStrExt as _};

use anyhow::{Context as _, bail};

use super::{Course, SERVICE, SOON, Stage, UPDATING};
use crate::process::{Daemon, wait_until};

/// What is published.
const VERSION: &str = "1.2.0";

impl Course<'_, '_> {
    /// Leaves nothing installed.
    pub(super) fn update(&mut self) {
        let mut publisher = None;
        self.check("an update takes over while the program before it still runs", |stage| {
            let (daemon, url) = stage.publish()?;
            publisher = Some(daemon);
            stage.install(UPDATING, &format!("UPDATE_URL={url} UPDATE_INTERVAL=2s"))?;
            // The service ends for the other version, and wine does not start it again, as Windows does.
            let started = wait_until(SOON, || Ok(stage.wine("net start orbit").ok().map(drop)))?;
            started.context("the service goes on as it is")?;
            stage.expect_pointer(VERSION)?;
            stage.expect_programs(&[VERSION, "packaged"])?;
            stage.in_contact("").map(drop)
        });
        self.check("started again, the service is the new program alone", |stage| {
            let started = stage.started();
            stage.wine("net stop orbit")?;
            stage.expect_programs(&[])?;
            stage.wine("net start orbit")?;
            stage.in_contact(&started)?;
            stage.expect_programs(&[VERSION])
        });
        self.check("removed, it leaves nothing of an update either", |stage| {
            stage.remove(UPDATING, "")?;
            stage.expect_gone()
        });
    }
}

impl Stage<'_> {
    /// Publishes another build of the agent as its next version, until the result goes. Gives the
    /// address, too.
    fn publish(&self) -> anyhow::Result<(Daemon, String)> {
        let desk = &self.deployment.desk;
        let orbit = self.components.join("orbit.exe");
        desk.run(&format!("cp '{}' orbit.exe && echo again >> orbit.exe", orbit.display()))?;
        desk.run(&format!(
            "fleetctl updates add --path updates --passphrase-file passphrase.txt --target orbit.exe --name orbit --platform windows --version {VERSION} --tag stable"
        ))?;
        let serve = "fleetctl updates serve --path updates --listen 127.0.0.1:0";
        let daemon = desk.start("updates", serve)?;
        let address = |log: &str| {
            let (_, rest) = log.split_once("http://")?;
            Some(format!("http://{}", rest.split_whitespace().next()?))
        };
        let url = daemon.wait_for("its address", address)?;
        Ok((daemon, url))
    }

    /// Waits until the service is to be started from the folder of `version`.
    fn expect_pointer(&self, version: &str) -> anyhow::Result<()> {
        let mut said = String::new();
        let seen = wait_until(SOON, || {
            said = self.wine(&format!("reg query {SERVICE} /v ImagePath"))?;
            Ok(said.contains(&folder(version)).then_some(()))
        })?;
        seen.with_context(|| format!("the service is started from elsewhere: {said}"))
    }

    /// Waits until agents run from the folders of `versions`, which are sorted, and from no others.
    fn expect_programs(&self, versions: &[&str]) -> anyhow::Result<()> {
        let mut running = Vec::new();
        let seen = wait_until(SOON, || {
            running = self.running()?;
            Ok((running == versions).then_some(()))
        })?;
        match seen {
            Some(()) => Ok(()),
            None => bail!("agents run from {running:?}"),
        }
    }

    /// The folders that agents in this Windows run from.
    fn running(&self) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for (_, program) in self.programs()? {
            let parts: Vec<_> = program.rsplit('\\').collect();
            if let ["orbit.exe", version, "orbit", "bin", ..] = parts[..] {
                found.push(version.to_owned());
            }
        }
        found.sort();
        Ok(found)
    }

    /// What runs in this Windows: process, as this machine has it, and path of the program.
    pub(super) fn programs(&self) -> anyhow::Result<Vec<(String, String)>> {
        let prefix = self.prefix.drive.parent().context("a drive lies in a folder")?;
        let mark = [b"WINEPREFIX=", prefix.as_os_str().as_bytes()].concat();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").context("could not list processes")? {
            let process = entry.context("could not list processes")?.path();
            // A process that is gone, or none, tells nothing.
            let read = |name: &str| fs::read(process.join(name)).unwrap_or_default();
            if !read("environ").split(|byte| *byte == 0).any(|variable| variable == mark) {
                continue;
            }
            let line = read("cmdline");
            let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
            let program = String::from_utf8_lossy(program);
            let name = process.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.push((name, program.trim_matches('"').to_owned()));
        }
        Ok(found)
    }
}

/// How a path leads through the folder of a version.
fn folder(version: &str) -> String {
    format!(r"\orbit\{version}\")
}
