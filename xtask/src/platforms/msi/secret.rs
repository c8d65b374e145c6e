//! The enroll secret as a property, and where it must not be found afterwards.

use std::fs;

use anyhow::{Context as _, bail};

use super::{BARE, Course, ROTATED, SERVICE, STAGED, Stage, expect_same};

/// How wine begins the lines of a log that tell the property in the end. Windows leaves out what
/// `MsiHiddenProperties` names.
const LISTED: &str = "Property(S): FLEET_SECRET = ";

impl Course<'_, '_> {
    /// Leaves nothing installed.
    pub(super) fn secret(&mut self) {
        let mut device = None;
        self.check("FLEET_SECRET configures a package without configuration", |stage| {
            let (server, secret) = (&stage.server, stage.secret()?);
            stage.install(
                BARE,
                &format!("FLEET_URL={server} FLEET_SECRET='{secret}' DISABLE_KEYSTORE=True"),
            )?;
            stage.expect_placed(&format!("{secret}\n"))?;
            device = Some(stage.in_contact("")?);
            Ok(())
        });
        self.check("that secret is in no log and no readable part of the registry", |stage| {
            stage.expect_secret_nowhere()
        });
        self.check("FLEET_SECRET=dummy, as Fleet's packages have it, changes nothing", |stage| {
            fs::write(stage.file("secret.txt"), ROTATED).context("could not write the secret")?;
            let (settings, started) = (stage.settings()?, stage.started());
            stage.install(BARE, "FLEET_SECRET=dummy")?;
            stage.expect_placed(ROTATED)?;
            let after = stage.settings()?;
            if after != settings {
                bail!("the settings were {settings}, and are {after}");
            }
            expect_same(device.as_ref(), &stage.in_contact(&started)?)?;
            stage.expect_nothing_staged()
        });
        self.check("removed after that, it leaves nothing", |stage| {
            stage.remove(BARE, "")?;
            stage.expect_gone()
        });
    }
}

impl Stage<'_> {
    /// The enroll secret that the server has made.
    pub(super) fn secret(&self) -> anyhow::Result<String> {
        let secret = fs::read_to_string(self.deployment.desk.dir.join("secret.txt"));
        Ok(secret.context("could not read the secret")?.trim().to_owned())
    }

    /// Fails unless the agent's secret is `content`.
    pub(super) fn expect_placed(&self, content: &str) -> anyhow::Result<()> {
        let secret = fs::read_to_string(self.file("secret.txt"));
        if secret.context("there is no enroll secret")? == content {
            Ok(())
        } else {
            bail!("the enroll secret is another")
        }
    }

    pub(super) fn expect_secret_nowhere(&self) -> anyhow::Result<()> {
        let secret = self.secret()?;
        let log = fs::read_to_string(self.log(BARE)).context("the installer has no log")?;
        let log: String = log.lines().filter(|line| !line.contains(LISTED)).collect();
        let service = self.wine(&format!("reg query {SERVICE} /s"))?;
        let agent = fs::read_to_string(self.file("logs/orbit.log")).unwrap_or_default();
        for (place, text) in [("the log", log), ("the service", service), ("orbit.log", agent)] {
            if text.is_empty() || text.contains(&secret) {
                bail!("{place} is empty, or has the secret in it");
            }
        }
        self.expect_nothing_staged()
    }

    pub(super) fn expect_nothing_staged(&self) -> anyhow::Result<()> {
        self.expect_absent("properties staged in the registry", &format!("reg query {STAGED}"))
    }
}
