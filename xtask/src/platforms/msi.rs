//! An msi's life: installed, configured, upgraded, repaired and removed by wine's Windows Installer, with
//! the real agent as its service and a real server. docs/platforms.md says what wine cannot show.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::wine::Prefix;
use crate::{
    deployment::Deployment,
    process::{Daemon, wait_until},
    report::Report,
};

/// How long the installer, and then the agent, may take.
const SOON: Duration = Duration::from_secs(90);

/// The service, as the registry has it.
const SERVICE: &str = r"'HKLM\SYSTEM\CurrentControlSet\Services\orbit'";

/// What "Installed apps" lists.
const UNINSTALL: &str = r"'HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall'";

/// What it shows beside the name.
const ICON: &[u8] = include_bytes!("../../../templates/windows/fleetd.ico");

/// Where the installer hands properties to the agent.
const STAGED: &str = r"'HKLM\SOFTWARE\fleetd\Installer'";

/// What somebody writes over the enroll secret after the installation.
const ROTATED: &str = "an-enroll-secret-that-came-later\n";

/// Packages: name, version, and what else `fleetctl package` is told; `{}` stands for the server.
const BARE: &str = "bare";
const OLD: &str = "old";
const NEW: &str = "new";
const PACKAGES: [(&str, &str, &str); 3] = [
    (BARE, "1.0.0", ""),
    (OLD, "1.0.0", "--fleet-url {} --enroll-secret-file secret.txt --disable-keystore"),
    (NEW, "1.1.0", "--fleet-url {} --enroll-secret-file secret.txt --disable-keystore"),
];

/// Goes through all of it. `components` is the folder with `orbit.exe`.
pub(super) fn live(
    deployment: &Deployment,
    prefix: &Prefix,
    components: &Path,
    report: &mut Report,
) {
    let mut course = match Stage::new(deployment, prefix, components) {
        Ok(stage) => Course { stage, report, device: None },
        Err(error) => {
            report.record("an msi of the real agent is made", Err(error));
            return;
        }
    };
    course.later_configuration();
    course.refusal();
    course.versions();
    course.removal();
    course.policies();
}

/// What checks work with.
struct Stage<'a> {
    deployment: &'a Deployment,
    prefix: &'a Prefix,
    /// The server's address with a name in it.
    server: String,
    /// Where the agent is installed.
    root: PathBuf,
    /// Services end with the last program of another kind.
    _windows: Daemon,
}

/// The checks in their order, each on what those before it have left.
struct Course<'a, 'r> {
    stage: Stage<'a>,
    report: &'r mut Report,
    /// As the first enrollment left it.
    device: Option<Enrolled>,
}

/// What an upgrade must not change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Enrolled {
    id: String,
    node_key: String,
}

/// What the agent writes about itself.
#[derive(Debug, Deserialize)]
struct Status {
    started_at: String,
    last_contact_at: Option<String>,
}

impl Course<'_, '_> {
    fn check(&mut self, name: &str, test: impl FnOnce(&Stage<'_>) -> anyhow::Result<()>) {
        let outcome = test(&self.stage).map_err(|error| error.context(self.stage.explanation()));
        self.report.record(name, outcome);
    }

    fn later_configuration(&mut self) {
        self.check("msitools read every table of an msi", |stage| stage.read_tables());
        self.check("an msi without configuration is installed, and its service waits", |stage| {
            stage.install(BARE, "")?;
            stage.expect_log("ORBIT_FLEET_URL")
        });
        self.check("the list of installed programs has its name, version and icon", |stage| {
            stage.expect_shown()
        });
        self.check("properties configure it later, and the service enrolls", |stage| {
            let properties = format!(
                "FLEET_URL={} FLEET_SECRET_FILE={} ENABLE_SCRIPTS=True FLEET_DESKTOP=True DISABLE_KEYSTORE=True END_USER_EMAIL=ann@example.com",
                stage.server,
                Prefix::path(&stage.deployment.desk.dir.join("secret.txt"))
            );
            // Who installs a package a second time wants all of it laid and configured again.
            let missing = stage.file("bin/orbit/packaged/VERSION");
            fs::remove_file(&missing).context("could not delete a file")?;
            stage.install(BARE, &properties)?;
            if !missing.exists() {
                bail!("what was missing is missing");
            }
            stage.in_contact("").map(drop)
        });
        self.check("each of them has reached the agent", |stage| {
            stage.expect_settings(&[
                "ORBIT_DISABLE_KEYSTORE=True",
                "ORBIT_ENABLE_SCRIPTS=True",
                "ORBIT_END_USER_EMAIL=ann@example.com",
                "ORBIT_FLEET_DESKTOP=True",
            ])?;
            let token = || Ok(stage.file("identifier").exists().then_some(()));
            wait_until(SOON, token)?.context("the agent has made no desktop token")
        });
        self.check("the secret is in no log and no readable part of the registry", |stage| {
            stage.expect_secret_nowhere()
        });
        self.check("removed, it leaves nothing", |stage| {
            stage.remove(BARE, "")?;
            stage.expect_gone()
        });
    }

    fn refusal(&mut self) {
        self.check("an address that is none stops the installation, and a log says why", |stage| {
            if stage.install(OLD, "FLEET_URL=ftp://fleet.example.com").is_ok() {
                bail!("it is installed");
            }
            let log = stage.file("logs/installer.log");
            let text = fs::read_to_string(log).context("there is no such log")?;
            if !text.contains("ORBIT_FLEET_URL") { bail!("it says {text}") } else { Ok(()) }
        });
    }

    fn versions(&mut self) {
        let mut device = None;
        self.check("an msi with configuration is installed, and its service enrolls", |stage| {
            stage.install(OLD, "END_USER_EMAIL=bob@example.com")?;
            device = Some(stage.in_contact("")?);
            Ok(())
        });
        self.device = device;
        self.check("the service manager says that it runs", |stage| stage.expect_running());
        let before = self.device.clone();
        self.check("an upgrade keeps the node key and what was set", |stage| {
            stage.replace(NEW, "1.1.0", before.as_ref())?;
            stage.expect_settings(&["ORBIT_END_USER_EMAIL=bob@example.com", "ORBIT_FLEET_URL="])
        });
        let before = self.device.clone();
        self.check("a repair lays what is missing, and restores no old secret", |stage| {
            let missing = stage.file("bin/orbit/packaged/VERSION");
            fs::remove_file(&missing).context("could not delete a file")?;
            fs::write(stage.file("secret.txt"), ROTATED).context("could not write the secret")?;
            let started = stage.started();
            stage.install(NEW, "REINSTALL=ALL REINSTALLMODE=amus")?;
            if !missing.exists() {
                bail!("what was missing is missing");
            }
            stage.expect_rotated()?;
            expect_same(before.as_ref(), &stage.in_contact(&started)?)
        });
        let before = self.device.clone();
        self.check("an older version goes over a newer one, and keeps the same", |stage| {
            stage.replace(OLD, "1.0.0", before.as_ref())?;
            stage.expect_rotated()
        });
    }

    fn removal(&mut self) {
        self.check("KEEP_STATE=1 keeps who the device is, and no program", |stage| {
            stage.remove(OLD, "KEEP_STATE=1")?;
            if stage.file("bin").exists() || !stage.file("secret-orbit-node-key.txt").exists() {
                bail!("there are: {:?}", stage.listing());
            }
            stage.expect_no_service()
        });
        let before = self.device.clone();
        self.check("installed again, it is the same device", |stage| {
            stage.install(OLD, "")?;
            expect_same(before.as_ref(), &stage.in_contact("")?)
        });
        self.check("removed without KEEP_STATE, it leaves nothing", |stage| {
            stage.remove(OLD, "")?;
            stage.expect_gone()
        });
    }
}

/// Where policies are, as a file for `reg import` has them.
const POLICIES: &str = r"Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\SOFTWARE\Policies\fleetd]
";

impl Course<'_, '_> {
    fn policies(&mut self) {
        self.check("policies configure a package without configuration", |stage| {
            stage.install(BARE, "DISABLE_KEYSTORE=True")?;
            stage.expect_log("ORBIT_FLEET_URL")?;
            let dir = &stage.deployment.desk.dir;
            let secret = fs::read_to_string(dir.join("secret.txt"));
            let secret = secret.context("could not read the secret")?;
            let (server, secret) = (&stage.server, secret.trim());
            let values = format!("\"FleetURL\"=\"{server}\"\n\"EnrollSecret\"=\"{secret}\"\n");
            let file = dir.join("policies.reg");
            fs::write(&file, format!("{POLICIES}{values}")).context("could not write policies")?;
            stage.wine(&format!("reg import {}", Prefix::path(&file)))?;
            // It may have ended for want of an address.
            let _ended = stage.wine("net stop orbit");
            stage.wine("net start orbit")?;
            stage.in_contact("").map(drop)
        });
    }
}

fn expect_same(before: Option<&Enrolled>, after: &Enrolled) -> anyhow::Result<()> {
    let before = before.context("it was never enrolled")?;
    if before.id != after.id {
        bail!("the device `{}` has become `{}`", before.id, after.id);
    }
    if before.node_key != after.node_key {
        bail!("it has another node key");
    }
    Ok(())
}

impl<'a> Stage<'a> {
    fn new(
        deployment: &'a Deployment,
        prefix: &'a Prefix,
        components: &Path,
    ) -> anyhow::Result<Self> {
        let (_, port) = deployment.url.rsplit_once(':').context("an address has a port")?;
        let server = format!("https://localhost:{port}");
        for (name, version, flags) in PACKAGES {
            let flags = flags.replace("{}", &server);
            deployment.desk.run(&format!(
                "fleetctl package --type msi --arch amd64 --components {} --without-osqueryd --fleet-certificate tls/ca.pem --package-version {version} --outfile {name}.msi {flags}",
                components.display()
            ))?;
        }
        let wait = format!("{} '{}' wait", prefix.command(), prefix.msiexec.display());
        let windows = deployment.desk.start("windows", &wait)?;
        // A Windows that the first installation starts would keep that one's output open for ever.
        windows.wait_for("its first word", |log| log.contains("running").then_some(()))?;
        let root = prefix.drive.join("Program Files").join("Orbit");
        Ok(Self { deployment, prefix, server, root, _windows: windows })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Runs a line of wine, bounded in time.
    fn wine(&self, line: &str) -> anyhow::Result<String> {
        let limit = SOON.as_secs();
        self.deployment.desk.read(&format!("timeout {limit} {} {line}", self.prefix.command()))
    }

    fn package(&self, name: &str) -> String {
        Prefix::path(&self.deployment.desk.dir.join(format!("{name}.msi")))
    }

    /// Where the installer logs what it does with a package.
    fn log(&self, name: &str) -> PathBuf {
        self.deployment.desk.dir.join(format!("{name}.msi.log"))
    }

    fn install(&self, name: &str, properties: &str) -> anyhow::Result<()> {
        let (package, log) = (self.package(name), Prefix::path(&self.log(name)));
        self.wine(&format!("msiexec /i {package} /qn {properties} '/l*v' {log}")).map(drop)
    }

    fn remove(&self, name: &str, properties: &str) -> anyhow::Result<()> {
        let package = self.package(name);
        self.wine(&format!("msiexec /x {package} /qn {properties}")).map(drop)
    }

    /// Installs over another version, and waits until it is in contact as the device that it was.
    fn replace(&self, name: &str, version: &str, before: Option<&Enrolled>) -> anyhow::Result<()> {
        let (program, log) = (self.prefix.msiexec.display(), Prefix::path(&self.log(name)));
        let started = self.started();
        self.wine(&format!("'{program}' {} '' {log}", self.package(name)))?;
        let packaged = fs::read_to_string(self.file("bin/orbit/packaged/VERSION"))
            .context("could not read the version")?;
        if packaged.trim() != version {
            bail!("version {packaged} is installed");
        }
        expect_same(before, &self.in_contact(&started)?)
    }

    fn status(&self) -> Option<Status> {
        serde_json::from_str(&fs::read_to_string(self.file("status.json")).ok()?).ok()
    }

    /// When the agent that runs has started.
    fn started(&self) -> String {
        self.status().map(|status| status.started_at).unwrap_or_default()
    }

    /// Waits until an agent that did not start at `before` has been in contact with the server.
    fn in_contact(&self, before: &str) -> anyhow::Result<Enrolled> {
        let status = format!("'{}' status", self.file("bin/orbit/packaged/orbit.exe").display());
        let seen = wait_until(SOON, || {
            let fresh = self.status().is_some_and(|status| {
                status.started_at != before && status.last_contact_at.is_some()
            });
            Ok((fresh && self.wine(&status).is_ok()).then_some(()))
        })?;
        seen.context("the agent is not in contact with the server")?;
        let [device] = &self.deployment.devices()?[..] else {
            bail!("the server does not list one device");
        };
        let node_key = fs::read_to_string(self.file("secret-orbit-node-key.txt"))
            .context("could not read the node key")?;
        Ok(Enrolled { id: device.id.clone(), node_key })
    }

    fn expect_running(&self) -> anyhow::Result<()> {
        let state = self.wine("sc query orbit")?;
        if state.contains("RUNNING") { Ok(()) } else { bail!("it says {state}") }
    }

    fn expect_log(&self, text: &str) -> anyhow::Result<()> {
        let log = || fs::read_to_string(self.file("logs/orbit.log")).unwrap_or_default();
        let seen = wait_until(SOON, || Ok(log().contains(text).then_some(())))?;
        seen.with_context(|| format!("the agent's log has no {text}"))
    }

    fn expect_shown(&self) -> anyhow::Result<()> {
        let shown = self.wine(&format!("reg query {UNINSTALL} /s"))?;
        let texts = ["DisplayName    REG_SZ    fleetd", "DisplayVersion    REG_SZ    1.0.0"];
        if let Some(text) = texts.iter().find(|text| !shown.contains(**text)) {
            bail!("it has no {text}: {shown}");
        }
        let [icon] = &self.icons()?[..] else { bail!("there is not one icon") };
        if fs::read(icon).context("could not read the icon")? == ICON {
            Ok(())
        } else {
            bail!("`{}` is another icon", icon.display())
        }
    }

    /// Where the installer has put icons of packages.
    fn icons(&self) -> anyhow::Result<Vec<PathBuf>> {
        let found = self.deployment.desk.read("find wine/drive_c/windows -name fleetd.ico")?;
        Ok(found.lines().map(|line| self.deployment.desk.dir.join(line)).collect())
    }

    fn expect_settings(&self, expected: &[&str]) -> anyhow::Result<()> {
        let settings = self.wine(&format!("reg query {SERVICE} /v Environment"))?;
        match expected.iter().find(|text| !settings.contains(**text)) {
            Some(text) => bail!("the service's settings have no {text}: {settings}"),
            None => Ok(()),
        }
    }

    fn expect_rotated(&self) -> anyhow::Result<()> {
        let secret = fs::read_to_string(self.file("secret.txt"));
        if secret.context("there is no enroll secret")? == ROTATED {
            Ok(())
        } else {
            bail!("the enroll secret is another")
        }
    }

    fn expect_secret_nowhere(&self) -> anyhow::Result<()> {
        let secret = fs::read_to_string(self.deployment.desk.dir.join("secret.txt"))
            .context("could not read the secret")?;
        let log = fs::read_to_string(self.log(BARE)).context("the installer has no log")?;
        let service = self.wine(&format!("reg query {SERVICE} /s"))?;
        let agent = fs::read_to_string(self.file("logs/orbit.log")).unwrap_or_default();
        for (place, text) in [("the log", log), ("the service", service), ("orbit.log", agent)] {
            if text.is_empty() || text.contains(secret.trim()) {
                bail!("{place} is empty, or has the secret in it");
            }
        }
        self.expect_absent("properties staged in the registry", &format!("reg query {STAGED}"))
    }

    fn expect_gone(&self) -> anyhow::Result<()> {
        if self.root.exists() {
            bail!("there are: {:?}", self.listing());
        }
        if !self.icons()?.is_empty() {
            bail!("its icon is there still");
        }
        self.expect_absent("properties staged in the registry", &format!("reg query {STAGED}"))?;
        self.expect_no_service()
    }

    fn expect_no_service(&self) -> anyhow::Result<()> {
        self.expect_absent("a service", &format!("reg query {SERVICE}"))
    }

    /// Expects `query`, which asks for `what`, to find nothing, in a Windows that finds what is there.
    fn expect_absent(&self, what: &str, query: &str) -> anyhow::Result<()> {
        self.wine(r"reg query 'HKLM\SOFTWARE\Microsoft'").context("Windows does not answer")?;
        match self.wine(query) {
            Ok(found) => bail!("there is {what} still: {found}"),
            Err(_) => Ok(()),
        }
    }

    fn read_tables(&self) -> anyhow::Result<()> {
        let desk = &self.deployment.desk;
        for table in desk.read("msiinfo tables old.msi")?.lines() {
            desk.read(&format!("msiinfo export old.msi {table}"))?;
        }
        desk.read("mkdir dumped && msidump -t -d dumped old.msi")?;
        let dumped = desk.read("cat dumped/ServiceInstall.idt")?;
        if dumped.contains("orbit") { Ok(()) } else { bail!("msidump says {dumped}") }
    }

    fn listing(&self) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(&self.root)?.map(|entry| entry.map(|entry| entry.path())).collect()
    }

    /// The ends of the agent's and the installer's logs.
    fn explanation(&self) -> String {
        let end = |path: PathBuf| {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            format!("{}:\n{}", path.display(), lines[lines.len().saturating_sub(5)..].join("\n"))
        };
        let logs = [self.file("logs/orbit.log"), self.file("logs/installer.log")];
        logs.map(end).join("\n")
    }
}
