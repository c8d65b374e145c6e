//! osqueryd below the agent's service, played by a program that waits, and secrets in Credential Manager.

use std::{fs, time::Duration};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::{Course, SOON, Stage};
use crate::process::wait_until;

/// What plays osqueryd.
const PROGRAM: &str = include_str!("../osqueryd.c");

/// How long the service may take to end with all that it has started.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);

/// Packages with osqueryd: name, and what else `fleetctl package` is told.
const KEYSTORE: &str = "with-keystore";
const FILES: &str = "with-files";
const PACKAGES: [(&str, &str); 2] = [(KEYSTORE, ""), (FILES, "--disable-keystore")];

/// Where secrets are without a keystore.
const NODE_KEY: &str = "secret-orbit-node-key.txt";
const SECRETS: [&str; 3] = ["secret.txt", NODE_KEY, "enroll-secret.json"];

/// The part of what the server tells of a device that is looked at.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Row {
    id: String,
    orbit_enrolled_at: String,
}

impl Course<'_, '_> {
    /// Leaves nothing installed.
    pub(super) fn osqueryd(&mut self) {
        self.check("an msi with osqueryd is made", |stage| stage.make_with_osqueryd());
        self.check("its service enrolls and starts osqueryd", |stage| {
            stage.install(KEYSTORE, "")?;
            stage.reached("")?;
            stage.expect_osqueryd("").map(drop)
        });
        self.check("the secrets are in Credential Manager, and in no file", |stage| {
            let secrets = SECRETS.iter().filter(|name| stage.file(name).exists());
            match secrets.collect::<Vec<_>>().as_slice() {
                [] => Ok(()),
                files => bail!("there are {files:?}"),
            }
        });
        self.life_of_osqueryd();
        self.check("removed, it leaves nothing of osqueryd either", |stage| {
            stage.remove(KEYSTORE, "")?;
            stage.expect_gone()
        });
        self.check("with --disable-keystore the secrets stay in files", |stage| {
            stage.install(FILES, "")?;
            stage.reached("")?;
            stage.expect_osqueryd("")?;
            match [SECRETS[0], NODE_KEY].iter().find(|name| !stage.file(name).exists()) {
                None => Ok(()),
                Some(missing) => bail!("there is no `{missing}`: {:?}", stage.listing()),
            }
        });
        self.life_of_osqueryd();
        self.check("removed, it leaves no secret", |stage| {
            stage.remove(FILES, "")?;
            stage.expect_gone()
        });
    }

    /// As long as the same package is installed.
    fn life_of_osqueryd(&mut self) {
        self.check("osqueryd is killed: another one is started", |stage| {
            let before = stage.expect_osqueryd("")?;
            stage.deployment.desk.read(&format!("kill -KILL {before}"))?;
            stage.expect_osqueryd(&before).map(drop)
        });
        self.check("within 20 s the service ends, and osqueryd with it", |stage| {
            stage.wine("net stop orbit")?;
            let ended = wait_until(STOPPED_WITHIN, || {
                Ok(stage.programs()?.iter().all(|(_, path)| !is_ours(path)).then_some(()))
            })?;
            ended.with_context(|| format!("there are {:?}", stage.programs()))
        });
        self.check("started again, it is the same device without enrolling again", |stage| {
            let (before, started) = (stage.row()?, stage.started());
            stage.wine("net start orbit")?;
            stage.reached(&started)?;
            stage.expect_osqueryd("")?;
            match stage.row()? {
                after if after == before => Ok(()),
                after => bail!("{before:?} has become {after:?}"),
            }
        });
    }
}

impl Stage<'_> {
    fn make_with_osqueryd(&self) -> anyhow::Result<()> {
        let desk = &self.deployment.desk;
        fs::write(desk.dir.join("osqueryd.c"), PROGRAM).context("could not write a source")?;
        let orbit = self.components.join("orbit.exe");
        desk.run(&format!(
            "mkdir both && cp '{}' both && x86_64-w64-mingw32-gcc -O2 -s -o both/osqueryd.exe osqueryd.c",
            orbit.display()
        ))?;
        for (name, flags) in PACKAGES {
            desk.run(&format!(
                "fleetctl package --type msi --arch amd64 --components both --fleet-certificate tls/ca.pem --fleet-url {} --enroll-secret-file secret.txt --package-version 1.0.0 --outfile {name}.msi {flags}",
                self.server
            ))?;
        }
        Ok(())
    }

    /// Waits for one osqueryd, which is not the process `before`; gives its process.
    fn expect_osqueryd(&self, before: &str) -> anyhow::Result<String> {
        let mut running = Vec::new();
        let found = wait_until(SOON, || {
            running = self.programs()?;
            running.retain(|(_, path)| path.ends_with(r"\osqueryd.exe"));
            match running.as_slice() {
                [(process, _)] if process != before && self.file("osquery.pid").exists() => {
                    Ok(Some(process.clone()))
                }
                _ => Ok(None),
            }
        })?;
        found.with_context(|| format!("no osqueryd runs but {running:?}"))
    }

    fn row(&self) -> anyhow::Result<Row> {
        let json = self.deployment.desk.read("fleetctl devices list --output json")?;
        let rows: Vec<Row> =
            serde_json::from_str(&json).context("could not read the list of devices")?;
        let [row] = rows.try_into().ok().context("the server does not list one device")?;
        Ok(row)
    }
}

fn is_ours(path: &str) -> bool {
    [r"\orbit.exe", r"\osqueryd.exe"].iter().any(|name| path.ends_with(name))
}
