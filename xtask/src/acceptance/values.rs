//! Values that shells, systemd and package formats might mangle, and configuration by hand.

use anyhow::{Context as _, bail};

use super::{
    packages::VERSIONS,
    secrecy,
    suite::{SOON, Stage, Suite},
};
use crate::{deployment::Deployment, process::wait_until};

/// Everything that means something to a shell, systemd, a format string or a comment.
const AWKWARD: &str = r#"a b $HOME ${x} "double" 'single' \back\n %n #hash ;semi `tick` ünï→"#;

/// File of the deployment with an enroll secret of that kind.
pub(super) const SECRET_FILE: &str = "awkward-secret.txt";

/// Flags of `fleetctl package` that carry awkward values, taken from files so that no shell is
/// in between.
pub(super) const FLAGS: &str = r#"--osquery-db "$(cat awkward-path.txt)" --end-user-email "$(cat awkward-email.txt)" --no-proxy "$(cat awkward-text.txt)""#;

/// Variables in the service's environment, with the file that has their value.
const VARIABLES: &[(&str, &str)] = &[
    ("ORBIT_OSQUERY_DB", "awkward-path.txt"),
    ("ORBIT_END_USER_EMAIL", "awkward-email.txt"),
    ("NO_PROXY", "awkward-text.txt"),
];

/// Writes the values down and makes an enroll secret of one.
pub(super) fn prepare(deployment: &Deployment) -> anyhow::Result<()> {
    let files = [
        (SECRET_FILE, AWKWARD.to_owned()),
        ("awkward-path.txt", format!("/srv/{AWKWARD}/osquery.db")),
        ("awkward-email.txt", format!("{AWKWARD}@example.com")),
        ("awkward-text.txt", format!("localhost,{AWKWARD}")),
    ];
    for (name, text) in files {
        std::fs::write(deployment.desk.dir.join(name), text)
            .with_context(|| format!("could not write `{name}`"))?;
    }
    let line =
        format!("fleetctl enroll-secrets create --name awkward --secret-stdin < {SECRET_FILE}");
    deployment.desk.run(&line).map(|_| ())
}

pub(super) fn run(suite: &mut Suite<'_>) -> anyhow::Result<()> {
    suite.check("a package with awkward values installs", |stage| {
        stage.install("dpkg --install {}", "values", "deb")?;
        stage.expect_service("active")
    });
    for (variable, file) in VARIABLES {
        suite.check(&format!("{variable} reaches the agent unchanged"), |stage| {
            expect_variable(stage, variable, &text(stage, file)?)
        });
    }
    suite.check("an awkward secret reaches the server unchanged: it admits the device", |stage| {
        stage.device().map(|_| ())
    });
    secrecy::check(suite, SECRET_FILE);
    suite.check("it is purged", |stage| stage.run("dpkg --purge fleetd").map(|_| ()));
    by_hand(suite);
    by_command(suite);
    Ok(())
}

/// A package without server and secret, completed on the device.
fn by_hand(suite: &mut Suite<'_>) {
    suite.check("a package without configuration installs", |stage| {
        stage.install("dpkg --install {}", "unconfigured", "deb")
    });
    suite.check("its service waits, says for what, and is not restarted", |stage| {
        stage.expect_service("active")?;
        let text = stage.run("systemctl show --property StatusText --value orbit")?;
        if !text.contains("waiting for configuration") || !text.contains("ORBIT_FLEET_URL") {
            bail!("systemd is told {text}");
        }
        let logged = stage.run(
            "journalctl --no-pager --output cat _SYSTEMD_INVOCATION_ID=$(systemctl show --property InvocationID --value orbit)",
        )?;
        if logged.matches("ORBIT_FLEET_URL").count() != 1 {
            bail!("the journal does not name the variable once:\n{logged}");
        }
        stage.run("test $(systemctl show --property NRestarts --value orbit) -eq 0").map(|_| ())
    });
    suite.check("what is put into /etc/orbit/conf.d then admits the device, without a restart", |stage| {
        let process = stage.main_pid()?;
        let secret = text(stage, "secret.txt")?;
        let certificate = text(stage, "tls/ca.pem")?;
        std::fs::write(stage.container.root.join("srv/ca.pem"), certificate)?;
        let lines = format!(
            "ORBIT_FLEET_URL={}\\nORBIT_FLEET_CERTIFICATE=/srv/ca.pem\\nORBIT_ENROLL_SECRET={}\\n",
            stage.deployment.url,
            secret.trim()
        );
        stage.run(&format!(
            "mkdir --parents /etc/orbit/conf.d && printf '{lines}' > /etc/orbit/conf.d/60-late.conf"
        ))?;
        stage.device()?;
        if stage.main_pid()? != process {
            bail!("the service was started again");
        }
        stage.expect_running(VERSIONS[0])
    });
    suite.check("what is changed there counts while the service runs", |stage| {
        let started = || {
            stage.run("grep --only-matching '\"started_at\": *\"[^\"]*\"' /opt/orbit/status.json")
        };
        let before = started()?;
        stage.run("echo ORBIT_END_USER_EMAIL=ann@example.com >> /etc/orbit/conf.d/60-late.conf")?;
        let again = wait_until(SOON, || Ok((started()? != before).then_some(())))?;
        again.context("the agent did not start again")?;
        stage.device().map(|_| ())
    });
}

/// The same, told by the program that has it all checked and written.
fn by_command(suite: &mut Suite<'_>) {
    suite.check("it is purged once more, and installed without configuration", |stage| {
        stage.run("dpkg --purge fleetd")?;
        stage.install("dpkg --install {}", "unconfigured", "deb")
    });
    suite.check("`orbit enroll` tells it server and secret, and the device is admitted", |stage| {
        let enroll = format!(
            "printf '%s\\n' '{}' | orbit enroll --fleet-url {} --fleet-certificate /srv/ca.pem --enroll-secret-file -",
            text(stage, "secret.txt")?.trim(),
            stage.deployment.url,
        );
        stage.run(&enroll)?;
        stage.expect_service("active")?;
        stage.expect_running(VERSIONS[0])?;
        stage.device().map(|_| ())
    });
    suite.check("`orbit doctor` finds nothing to be done", |stage| {
        stage.run("orbit doctor").map(|_| ())
    });
    suite.check("`orbit reset-identity` makes it another device", |stage| {
        let instance = "grep --only-matching '\"instance\": *\"[^\"]*\"' /opt/orbit/identity.json";
        let before = stage.run(instance)?;
        stage.run("systemctl stop orbit && orbit reset-identity && systemctl start orbit")?;
        stage.device()?;
        if stage.run(instance)? == before {
            bail!("the instance is still {before}");
        }
        Ok(())
    });
}

fn text(stage: &Stage<'_>, file: &str) -> anyhow::Result<String> {
    let path = stage.deployment.desk.dir.join(file);
    std::fs::read_to_string(&path).with_context(|| format!("could not read `{file}`"))
}

fn expect_variable(stage: &Stage<'_>, name: &str, expected: &str) -> anyhow::Result<()> {
    let pid = stage.main_pid()?;
    let environment = stage.run(&format!("cat /proc/{pid}/environ"))?;
    let prefix = format!("{name}=");
    match environment.split('\0').find_map(|line| line.strip_prefix(&prefix)) {
        Some(value) if value == expected => Ok(()),
        Some(value) => bail!("it is {value:?}, not {expected:?}"),
        None => bail!("the service has no such variable"),
    }
}
