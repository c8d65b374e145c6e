//! Policies in the registry: they come after the service has started, and change while it runs.

use std::fs;

use anyhow::Context as _;

use super::{BARE, Course, Stage};
use crate::platforms::wine::Prefix;

/// Where policies are, as a file for `reg import` has them.
const POLICIES: &str = r"Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\SOFTWARE\Policies\fleetd]
";

impl Course<'_, '_> {
    pub(super) fn policies(&mut self) {
        self.check("policies configure a package without configuration", |stage| {
            stage.install(BARE, "DISABLE_KEYSTORE=True")?;
            stage.expect_log("waits for its configuration: `ORBIT_FLEET_URL`")?;
            stage.expect_running()?;
            let (server, secret) = (stage.server.as_str(), stage.secret()?);
            // The service is not started again.
            stage.set_policies(&[("FleetURL", server), ("EnrollSecret", secret.as_str())])?;
            stage.in_contact("").map(drop)
        });
        self.check("policies that change count while the service runs", |stage| {
            let started = stage.started();
            stage.set_policies(&[("EndUserEmail", "ann@example.com")])?;
            stage.in_contact(&started)?;
            stage.expect_running()
        });
        self.check("orbit doctor finds nothing to be done about the service", |stage| {
            let orbit = stage.file("bin/orbit/packaged/orbit.exe");
            stage.wine(&format!("'{}' doctor", orbit.display())).map(drop)
        });
    }
}

impl Stage<'_> {
    /// Adds `values` to the policies that are there.
    fn set_policies(&self, values: &[(&str, &str)]) -> anyhow::Result<()> {
        let lines = values.iter().map(|(name, value)| format!("\"{name}\"=\"{value}\"\n"));
        let file = self.deployment.desk.dir.join("policies.reg");
        fs::write(&file, format!("{POLICIES}{}", lines.collect::<String>()))
            .context("could not write policies")?;
        self.wine(&format!("reg import {}", Prefix::path(&file))).map(drop)
    }
}
