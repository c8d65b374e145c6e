//! One system's programs at work: with a server that they have never met, and an agent that enrolls.

mod doctor;

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};

use super::{
    authority::{self, Authority},
    image, msi, packages, rcodesign,
    runner::{Emulator, Runner},
    surroundings::{NAME, Surroundings},
};
use crate::{
    cleanup::TemporaryDir,
    deployment::{Deployment, Desk, Voice},
    dist::{
        self, Purpose,
        target::{Reach, System, Target},
    },
    process::{Daemon, wait_until},
    report::Report,
    version,
    workspace::Workspace,
};

/// How long a program may take to enroll, emulated.
const ENROLLED_WITHIN: Duration = Duration::from_secs(120);

const FLEETCTL: &str = "fleetctl";
const SERVER: &str = "fleet-server";
const ORBIT: &str = "orbit";
const DESKTOP: &str = "fleet-desktop";

/// Takes system calls away that an older Linux has not.
const OLD_KERNEL: &str = include_str!("old_kernel.py");

/// The last system call that Linux 3.2 has on x86_64, `process_vm_writev`.
const LAST_CALL: u32 = 311;

/// What is tried.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) reach: Reach,
    pub(super) purpose: Purpose,
    pub(super) programs: Vec<&'static str>,
    /// None if nothing here runs the programs.
    pub(super) emulator: Option<Emulator>,
    /// What file(1) says of them.
    pub(super) kind: &'static str,
}

/// The programs, and a desk to try them at.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    workspace: &'a Workspace,
    plan: Plan,
    /// Where the programs are.
    dir: PathBuf,
    home: TemporaryDir,
    /// Has this machine's `fleetctl` on its search path, and a server.
    desk: Desk,
}

impl<'a> Trial<'a> {
    /// Builds the programs.
    pub(super) fn new(workspace: &'a Workspace, plan: Plan) -> anyhow::Result<Self> {
        let dir = dist::build(workspace, plan.reach, &plan.programs, plan.purpose)?;
        let home = TemporaryDir::new()?;
        let bin = home.path().join("bin");
        fs::create_dir(&bin).context("could not make a folder for programs")?;
        let ours = match plan.emulator {
            Some(_) => Self::ours(workspace, &plan, &dir)?,
            None => dir.clone(),
        };
        for name in [FLEETCTL, SERVER] {
            symlink(ours.join(name), bin.join(name)).context("could not link to a program")?;
        }
        let desk = Desk::new(workspace, home.path(), &bin, Voice::Silent)?;
        Ok(Self { workspace, plan, dir, home, desk })
    }

    /// The folder with `fleetctl` and `fleet-server` of this machine; `dir` has those that are tried.
    fn ours(workspace: &Workspace, plan: &Plan, dir: &Path) -> anyhow::Result<PathBuf> {
        if plan.programs.contains(&SERVER) {
            let here = Reach::One(Target::of_this_machine()?);
            if plan.reach == here {
                return Ok(dir.to_owned());
            }
            return dist::build(workspace, here, &[FLEETCTL, SERVER], plan.purpose);
        }
        let programs = workspace.programs()?;
        Ok(programs.server.parent().context("the programs lie nowhere")?.to_owned())
    }

    /// Runs the programs if something here does, and reads them if not.
    pub(super) fn run(self, report: &mut Report) -> anyhow::Result<()> {
        for program in &self.plan.programs {
            let outcome = self.expect_kind(program);
            report.record(&format!("file(1) knows {program} as what it is"), outcome);
            let outcome = self.expect_no_folder(program);
            report.record(
                &format!("{program} and its symbols do not tell where it was built"),
                outcome,
            );
        }
        let Some(emulator) = self.plan.emulator else {
            self.read(report);
            // Packages have programs for every Mac.
            if self.plan.purpose == Purpose::Shipping && self.plan.reach == Reach::Universal {
                rcodesign::judge(self.workspace, &self.desk, &self.dir, report)?;
            }
            return Ok(());
        };
        let runner = Runner::new(emulator, &self.desk, &self.dir)?;
        let version = version::of_checkout(self.workspace)?;
        self.expect_versions(&runner, &version.text, report);
        if self.has(SERVER) && emulator == Emulator::None {
            let outcome = image::check(self.workspace, &self.desk, &self.path(SERVER), &version);
            report.record("fleet-server starts in its container image, and is healthy", outcome);
        }
        if self.has(SERVER) {
            self.replace_server(&runner)?;
        }
        let plan = self.plan;
        let surroundings = Surroundings::new(&self.desk)?;
        let _authority = Authority::new(&self.desk)?;
        let deployment = Deployment::certified(self.desk)?;
        let issued = deployment.credentials();
        if plan.programs.contains(&SERVER) {
            report.record("fleet-server serves by TLS, is set up, and issues secrets", issued);
        } else {
            issued?;
        }
        let (_, port) = deployment.url.rsplit_once(':').context("an address has a port")?;
        let url = format!("https://{NAME}:{port}");
        let (deployment, runner, surroundings) = (&deployment, &runner, &surroundings);
        let stage = Stage { deployment, url: &url, runner, surroundings };
        stage.enroll(plan.programs.contains(&DESKTOP), report);
        if plan.programs.contains(&FLEETCTL) {
            stage.connect(report);
        }
        stage.rely_on_system(&plan.programs, report);
        if runner.emulator() == Emulator::None {
            stage.grow_old(&plan.programs, report)?;
        }
        if let Some(prefix) = runner.wine() {
            msi::live(deployment, prefix, &self.dir, report);
        }
        if plan.programs.contains(&FLEETCTL) {
            let outcome = packages::compare(&deployment.desk, runner, &self.dir);
            report.record("fleetctl makes the same packages as on this machine", outcome);
        }
        Ok(())
    }

    fn has(&self, program: &str) -> bool {
        self.plan.programs.contains(&program)
    }

    fn path(&self, program: &str) -> PathBuf {
        self.dir.join(self.plan.reach.system().file_name(program))
    }

    fn expect_kind(&self, program: &str) -> anyhow::Result<()> {
        let line = format!("file --brief '{}'", self.path(program).display());
        says(&self.desk, &line, self.plan.kind)
    }

    /// Fails if this checkout's target folder is in the program or in what is kept of it for
    /// debuggers, as a path or as a part of a name: a build elsewhere would give other bytes.
    fn expect_no_folder(&self, program: &str) -> anyhow::Result<()> {
        let folder = self.workspace.target.display().to_string();
        let name: String =
            folder.chars().map(|char| if char.is_alphanumeric() { char } else { '_' }).collect();
        let files =
            format!("'{}' '{}/{program}.debug'", self.path(program).display(), self.dir.display());
        let search =
            format!("grep --text --count --fixed-strings -e '{folder}' -e '{name}' {files}");
        let found = self.desk.read(&format!("{search} || test $? = 1"))?;
        if found.lines().all(|line| line.ends_with(":0")) {
            Ok(())
        } else {
            bail!("it does: {found}")
        }
    }

    fn expect_versions(&self, runner: &Runner, version: &str, report: &mut Report) {
        for program in &self.plan.programs {
            let line = runner.line(program, "version");
            let outcome = says(&self.desk, &line, &format!("{program} {version}"));
            report.record(&format!("{program} tells its version"), outcome);
        }
    }

    /// Has the server that is tried started wherever one is.
    fn replace_server(&self, runner: &Runner) -> anyhow::Result<()> {
        let line = runner.line(SERVER, "\"$@\"");
        let path = self.home.path().join("bin").join(SERVER);
        fs::remove_file(&path)
            .and_then(|()| fs::write(&path, format!("#!/bin/sh\nexec {line}\n")))
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .context("could not write a script that starts the server")
    }

    /// What can be told of programs that nothing here runs.
    fn read(&self, report: &mut Report) {
        for program in &self.plan.programs {
            let outcome = dist::inspect(self.plan.reach, program, &self.path(program));
            report.record(&format!("{program} asks for nothing that its system lacks"), outcome);
            if self.plan.reach.system() == System::Macos {
                let outcome = self.expect_tampering_noticed(program);
                report
                    .record(&format!("a changed byte of {program} breaks its signature"), outcome);
            }
        }
    }

    /// Shows that reading a program finds what macOS would.
    fn expect_tampering_noticed(&self, program: &str) -> anyhow::Result<()> {
        let mut bytes = fs::read(self.path(program)).context("could not read the program")?;
        // Code, in a universal program that of its first half.
        let place = bytes.len() / 4;
        bytes[place] ^= 1;
        let path = self.home.path().join(program);
        fs::write(&path, bytes).context("could not write a changed program")?;
        match dist::inspect(self.plan.reach, program, &path) {
            Ok(()) => bail!("it does not"),
            Err(error) if error.to_string().contains("pages") => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A running server, and who starts what talks to it.
#[derive(Debug, Clone, Copy)]
struct Stage<'a> {
    deployment: &'a Deployment,
    /// Its address, by name.
    url: &'a str,
    runner: &'a Runner,
    surroundings: &'a Surroundings,
}

/// A line of shell that tells whether a program trusts the server.
#[derive(Debug)]
struct Attempt {
    program: &'static str,
    line: String,
    /// What it prints if so.
    content: &'static str,
    /// And if not.
    refusal: &'static str,
}

impl Stage<'_> {
    /// The agent's part: before, during and after; with `desktop` its user's, too.
    fn enroll(self, desktop: bool, report: &mut Report) {
        let desk = &self.deployment.desk;
        let status = self.of_agent(ORBIT, "status --output json");
        let before = match desk.read(&status) {
            Ok(text) => Err(anyhow!("it is content with {text}")),
            Err(error) if format!("{error:#}").contains("\"enrolled\": false") => Ok(()),
            Err(error) => Err(error),
        };
        report.record("orbit tells that it is not enrolled", before);
        let listed = self.start().and_then(|agent| self.expect_listed(agent));
        let listed = listed.and_then(|agent| self.surroundings.expect_asked().map(|()| agent));
        let (agent, outcome) = match listed {
            Ok(agent) => (Some(agent), Ok(())),
            Err(error) => (None, Err(error.context(self.deployment.log_tail()))),
        };
        report.record(
            "orbit enrolls by TLS at a name that it asks for, with an authority of its own",
            outcome,
        );
        let Some(agent) = agent else { return };
        let outcome = self.expect_content(&status, &agent);
        report.record("orbit tells that it is enrolled and in contact", outcome);
        if desktop {
            let line = self.of_agent(DESKTOP, "status --output json");
            let outcome = self.expect_content(&line, &agent);
            report.record("fleet-desktop learns by TLS that the device is online", outcome);
        }
        self.diagnose(report);
    }

    /// Waits until `line` succeeds.
    fn expect_content(self, line: &str, agent: &Daemon) -> anyhow::Result<()> {
        let desk = &self.deployment.desk;
        let content = wait_until(ENROLLED_WITHIN, || Ok(desk.read(line).ok()))?;
        if content.is_none() {
            let said = desk.read(line).unwrap_or_else(|error| format!("{error:#}"));
            bail!("it is not content: {said}\n{}", agent.output());
        }
        Ok(())
    }

    /// A line of shell that runs `program` on the agent's state.
    fn of_agent(self, program: &str, args: &str) -> String {
        self.line(program, &format!("{args} --root-dir {}", self.runner.path("agent")))
    }

    /// A line of shell that runs `program` where names are asked for.
    fn line(self, program: &str, args: &str) -> String {
        self.surroundings.around(&self.runner.line(program, args))
    }

    fn start(self) -> anyhow::Result<Daemon> {
        let (url, certificate, secret) =
            (self.url, self.runner.path(authority::CERTIFICATE), self.runner.path("secret.txt"));
        let args = format!(
            "--fleet-url {url} --fleet-certificate {certificate} --enroll-secret-path {secret}"
        );
        self.deployment.desk.run("mkdir -p agent")?;
        let line = self.of_agent(ORBIT, &args);
        self.deployment.desk.start(ORBIT, &format!("env ORBIT_FLEET_DESKTOP=true {line}"))
    }

    /// Waits until the server knows a device.
    fn expect_listed(self, agent: Daemon) -> anyhow::Result<Daemon> {
        let device = wait_until(ENROLLED_WITHIN, || {
            if let Some(status) = agent.ended()? {
                bail!("it ended ({status}):\n{}", agent.output());
            }
            Ok(self.deployment.devices()?.pop())
        })?;
        match device {
            Some(_) => Ok(agent),
            None => bail!("the server lists no device:\n{}", agent.output()),
        }
    }

    /// The admin's part: a server is trusted for the authority that is named.
    fn connect(self, report: &mut Report) {
        let authority = self.runner.path(authority::CERTIFICATE);
        let args = format!("debug connection {} --fleet-certificate {authority}", self.url);
        let outcome = self.deployment.desk.read(&self.line(FLEETCTL, &args)).map(|_| ());
        report.record("fleetctl speaks TLS with a server whose authority it is told", outcome);
    }

    /// Where none is named, the system's authorities count, and what is added to them.
    fn rely_on_system(self, programs: &[&str], report: &mut Report) {
        let attempts = self.attempts(programs, "");
        for Attempt { program, line, refusal, .. } in &attempts {
            let name = format!("{program} trusts no server whose authority it does not know");
            report.record(&name, self.says(line, refusal));
        }
        let desk = &self.deployment.desk;
        let outcome = self.surroundings.trust(desk, self.runner, authority::CERTIFICATE);
        report.record("an authority is added to those that the system trusts", outcome);
        for Attempt { program, line, content, .. } in &attempts {
            let name = format!("{program} trusts a server whose authority the system trusts");
            report.record(&name, self.says(line, content));
        }
    }

    /// Where Linux is an old one, names, TLS and the system's authorities are as before.
    fn grow_old(self, programs: &[&str], report: &mut Report) -> anyhow::Result<()> {
        let desk = &self.deployment.desk;
        fs::write(desk.dir.join("old_kernel.py"), OLD_KERNEL)
            .context("could not write a script that takes system calls away")?;
        let before = format!("python3 old_kernel.py {LAST_CALL} ");
        let missing = format!("{before} python3 -c 'import os; os.getrandom(1)'");
        let outcome = self.says(&missing, "Function not implemented");
        report.record("system calls that came after Linux 3.2 can be taken away", outcome);
        for Attempt { program, line, content, .. } in self.attempts(programs, &before) {
            let name = format!("{program} needs no system call that came after Linux 3.2");
            report.record(&name, self.says(&line, content));
        }
        Ok(())
    }

    /// Fails unless what the shell line `line` prints, however it ends, has `text` in it.
    fn says(self, line: &str, text: &str) -> anyhow::Result<()> {
        says(&self.deployment.desk, &format!("{line} 2>&1 || true"), text)
    }

    /// What those of `programs` that can tell are asked, by a line with `before` before it. wine 8 knows no trust in authorities beside
    /// the system's, such as orbit brings, and refuses it every client without one that is named.
    fn attempts(self, programs: &[&str], before: &str) -> Vec<Attempt> {
        let (url, secret) = (self.url, self.runner.path("secret.txt"));
        let line = |program: &str, args: &str| {
            self.surroundings.around(&format!("{before}{}", self.runner.line(program, args)))
        };
        let doctor = format!(
            "doctor --fleet-url {url} --enroll-secret-path {secret} --root-dir {}",
            self.runner.path("agent")
        );
        let agent = Attempt {
            program: ORBIT,
            line: line(ORBIT, &doctor),
            content: "` answers",
            refusal: "no trusted TLS connection",
        };
        let admin = Attempt {
            program: FLEETCTL,
            line: line(FLEETCTL, &format!("debug connection {url}")),
            content: "trusted by this system",
            refusal: "invalid peer certificate",
        };
        let there = |it: &Attempt| programs.contains(&it.program);
        let agent = Some(agent).filter(|_| self.runner.emulator() != Emulator::Wine);
        agent.into_iter().chain([admin]).filter(there).collect()
    }
}

/// Fails unless the shell line `line` succeeds and prints something with `text` in it.
fn says(desk: &Desk, line: &str, text: &str) -> anyhow::Result<()> {
    let said = desk.read(line)?;
    if !said.contains(text) {
        bail!("it says {said}");
    }
    Ok(())
}
