//! `cargo xtask demo`: from a checkout to an enrolled device, on this machine, in commands that a
//! user would type. Nothing stays behind.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};

use crate::{
    cleanup::TemporaryDir,
    deployment::{Deployment, Desk, Voice},
    process::{Daemon, wait_until},
    setup, terminal,
    workspace::Workspace,
};

/// How long the agent may take to show up.
const ENROLLED_WITHIN: Duration = Duration::from_secs(30);

/// The agent as unpacked from the package, without installing anything.
const ORBIT: &str = "device/opt/orbit/bin/orbit/packaged/orbit --root-dir $PWD/device/opt/orbit --env-file device/etc/default/orbit";

pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    if setup::run(workspace, &setup::Args::default())? != ExitCode::SUCCESS {
        bail!("could not find the tools that the demo uses");
    }
    terminal::heading("The programs");
    terminal::command("cargo build");
    let programs = workspace.programs()?;
    let folder = programs.orbit.parent().context("the programs lie nowhere")?;
    let home = TemporaryDir::new()?;
    let desk = Desk::new(workspace, home.path(), folder, Voice::Aloud)?;

    terminal::heading("A server with its owner");
    let mut deployment = Deployment::start(desk)?;
    terminal::heading("An enroll secret for devices, an API key for scripts");
    deployment.credentials()?;
    terminal::heading("A signed repository of updates with the agent in it");
    repository(&mut deployment.desk)?;
    terminal::heading("Packages that carry the server's address and the secret");
    packages(&deployment)?;
    terminal::heading("The agent, unpacked from the package");
    let _agent = agent(&deployment)?;
    terminal::heading("Done: everything above is stopped and removed");
    Ok(())
}

fn repository(desk: &mut Desk) -> anyhow::Result<()> {
    for role in ["ROOT", "TARGETS", "SNAPSHOT", "TIMESTAMP"] {
        desk.export(&format!("FLEET_{role}_PASSPHRASE"), "openssl rand -base64 18")?;
    }
    desk.run("fleetctl updates init --path updates")?;
    desk.run("fleetctl updates add --path updates --target $(command -v orbit) --name orbit --platform linux --version 1.0.0 --tag stable")?;
    desk.run("fleetctl updates roots --path updates > roots.json")?;
    Ok(())
}

fn packages(deployment: &Deployment) -> anyhow::Result<()> {
    let desk = &deployment.desk;
    desk.run(&format!(
        "fleetctl package --type deb,rpm --fleet-url {} --fleet-certificate tls/ca.pem --enroll-secret-file secret.txt --update-url file://$PWD/updates/repository --update-roots roots.json --without-osqueryd --out-dir dist",
        deployment.url
    ))?;
    desk.run("dpkg-deb --info dist/*.deb")?;
    desk.run("rpm -qlp dist/*.rpm")?;
    desk.run("dpkg-deb --extract dist/*.deb device")?;
    Ok(())
}

/// Runs the agent until the server lists it.
fn agent(deployment: &Deployment) -> anyhow::Result<Daemon> {
    let desk = &deployment.desk;
    let agent = desk.start("orbit", ORBIT)?;
    let listed = wait_until(ENROLLED_WITHIN, || {
        if let Some(status) = agent.ended()? {
            bail!("the agent ended ({status}):\n{}", agent.output());
        }
        Ok(deployment.devices()?.pop())
    })?;
    desk.show(&agent.output());
    if listed.is_none() {
        bail!("the agent did not enroll; the server says:\n{}", deployment.log_tail());
    }
    desk.run(&format!(
        "FLEET_URL={} FLEET_CERTIFICATE=tls/ca.pem FLEET_API_KEY=$(cat api-key.txt) fleetctl devices list",
        deployment.url
    ))?;
    desk.run(&format!("{ORBIT} status"))?;
    Ok(agent)
}
