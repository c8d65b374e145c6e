//! An msi's life: installed, configured, upgraded, repaired and removed by wine's Windows Installer, with
//! the real agent as its service and a real server. docs/platforms.md says what wine cannot show.

mod icon;
mod osqueryd;
mod policies;
mod secret;
mod update;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
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

/// SYSTEM, Administrators and the owner may do everything with the desktop token, and whoever is signed in
/// at the device may read it.
const TOKEN_READERS: &str =
    "D:P(A;;FA;;;S-1-5-18)(A;;FA;;;S-1-5-32-544)(A;;FA;;;S-1-3-4)(A;;FR;;;S-1-5-4)";

/// What somebody writes over the enroll secret after the installation.
const ROTATED: &str = "an-enroll-secret-that-came-later\n";

/// Packages: name, version, and what else `fleetctl package` is told; `{}` stands for the server.
const BARE: &str = "bare";
const OLD: &str = "old";
const NEW: &str = "new";
const UPDATING: &str = "updating";
const PACKAGES: [(&str, &str, &str); 4] = [
    (BARE, "1.0.0", ""),
    (OLD, "1.0.0", "--fleet-url {} --enroll-secret-file secret.txt --disable-keystore"),
    (
        NEW,
        "1.1.0",
        "--fleet-url {} --enroll-secret-file secret.txt --disable-keystore --windows-certificate signer.crt --windows-key signer.key",
    ),
    (
        UPDATING,
        "1.0.0",
        "--fleet-url {} --enroll-secret-file secret.txt --disable-keystore --update-roots roots.json --update-tls-certificate tls/ca.pem",
    ),
];

/// Who signs a package and the programs in it.
const SIGNER: &str = "openssl req -x509 -newkey rsa:2048 -noenc -subj /CN=Signer -days 2 -addext extendedKeyUsage=critical,codeSigning -addext basicConstraints=critical,CA:false -keyout signer.key -out signer.crt";

/// A repository of updates, and who is to be trusted for it.
const REPOSITORY: &str = "openssl rand -base64 18 > passphrase.txt && fleetctl updates init --path updates --passphrase-file passphrase.txt && fleetctl updates roots --path updates > roots.json";

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
    course.secret();
    course.refusal();
    course.versions();
    course.removal();
    course.update();
    course.osqueryd();
    course.icon();
    course.policies();
}

/// What checks work with.
struct Stage<'a> {
    deployment: &'a Deployment,
    prefix: &'a Prefix,
    /// The folder with `orbit.exe`.
    components: PathBuf,
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
        self.check("the desktop token is for administrators and who is signed in", |stage| {
            stage.expect_access("identifier", TOKEN_READERS)
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
        self.check("that package was signed, and so is the program that it has laid", |stage| {
            stage.expect_signed("new.msi")?;
            stage.expect_signed(&stage.file("bin/orbit/packaged/orbit.exe").display().to_string())
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
            stage.expect_placed(ROTATED)?;
            expect_same(before.as_ref(), &stage.in_contact(&started)?)
        });
        let before = self.device.clone();
        self.check("an older version goes over a newer one, and keeps the same", |stage| {
            stage.replace(OLD, "1.0.0", before.as_ref())?;
            stage.expect_placed(ROTATED)
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
        for line in [SIGNER, REPOSITORY] {
            deployment.desk.run(line)?;
        }
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
        let components = components.to_owned();
        Ok(Self { deployment, prefix, components, server, root, _windows: windows })
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
        self.reached(before)?;
        let [device] = &self.deployment.devices()?[..] else {
            bail!("the server does not list one device");
        };
        let node_key = fs::read_to_string(self.file("secret-orbit-node-key.txt"))
            .context("could not read the node key")?;
        Ok(Enrolled { id: device.id.clone(), node_key })
    }

    /// The same where the node key is in no file.
    fn reached(&self, before: &str) -> anyhow::Result<()> {
        let status = format!("'{}' status", self.file("bin/orbit/packaged/orbit.exe").display());
        let seen = wait_until(SOON, || {
            let fresh = self.status().is_some_and(|status| {
                status.started_at != before && status.last_contact_at.is_some()
            });
            Ok((fresh && self.wine(&status).is_ok()).then_some(()))
        })?;
        seen.context("the agent is not in contact with the server")
    }

    /// Fails unless the agent had Windows give its file `name` the access control list `expected`, and nobody
    /// else can read it as wine has it.
    fn expect_access(&self, name: &str, expected: &str) -> anyhow::Result<()> {
        let log = fs::read_to_string(self.prefix.drive.join("windows").join("icacls.log"))
            .context("icacls was not called")?;
        // It is written beside, and renamed.
        let beside = format!(r"\.{name}.new ");
        let list = log.lines().rev().find_map(|line| line.split_once(&beside));
        let (_, list) = list.with_context(|| format!("icacls was not called for `{name}`"))?;
        let file = fs::metadata(self.file(name)).context("there is no such file")?;
        let mode = file.permissions().mode();
        if list != expected || mode & 0o007 != 0 {
            bail!("`{name}` has the list {list} and the mode {mode:o}");
        }
        Ok(())
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

    /// The service's settings, as `reg query` shows them.
    fn settings(&self) -> anyhow::Result<String> {
        self.wine(&format!("reg query {SERVICE} /v Environment"))
    }

    fn expect_settings(&self, expected: &[&str]) -> anyhow::Result<()> {
        let settings = self.settings()?;
        match expected.iter().find(|text| !settings.contains(**text)) {
            Some(text) => bail!("the service's settings have no {text}: {settings}"),
            None => Ok(()),
        }
    }

    fn expect_gone(&self) -> anyhow::Result<()> {
        if self.root.exists() {
            bail!("there are: {:?}", self.listing());
        }
        if !self.icons()?.is_empty() {
            bail!("its icon is there still");
        }
        self.expect_nothing_staged()?;
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

    /// Fails unless osslsigncode finds that the test's signer has signed `file`.
    fn expect_signed(&self, file: &str) -> anyhow::Result<()> {
        let line = format!("osslsigncode verify -CAfile signer.crt -in '{file}'");
        let said = self.deployment.desk.read(&line)?;
        if said.contains("Succeeded") { Ok(()) } else { bail!("osslsigncode says {said}") }
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
