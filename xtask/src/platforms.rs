//! `cargo xtask platforms`: programs built for other systems, run here by emulators or, where there
//! is none, read. docs/platforms.md tells what has been seen to run and what has not.

mod runner;
mod wine;

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, bail};

use self::runner::{Emulator, Runner};
use crate::{
    cleanup::TemporaryDir,
    deployment::{Deployment, Desk, Voice},
    dist::{self, Purpose},
    process::{Daemon, wait_until},
    report::Report,
    terminal, version,
    workspace::Workspace,
};

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only the systems whose name contains this
    filter: Option<String>,
}

/// A system, and how a program for it is seen at work.
#[derive(Debug)]
struct System {
    triple: &'static str,
    purpose: Purpose,
    programs: &'static [&'static str],
    /// None if nothing here runs its programs.
    emulator: Option<Emulator>,
    /// What file(1) says of its programs.
    kind: &'static str,
}

const SYSTEMS: &[System] = &[
    System {
        triple: "x86_64-unknown-linux-musl",
        purpose: Purpose::Shipping,
        programs: &["fleetctl", "orbit"],
        emulator: Some(Emulator::None),
        kind: "ELF 64-bit LSB executable, x86-64, version 1 (SYSV), statically linked",
    },
    System {
        triple: "aarch64-unknown-linux-musl",
        purpose: Purpose::Proof,
        programs: &["orbit"],
        emulator: Some(Emulator::Qemu),
        kind: "ELF 64-bit LSB executable, ARM aarch64, version 1 (SYSV), statically linked",
    },
    System {
        triple: "x86_64-pc-windows-gnu",
        purpose: Purpose::Proof,
        programs: &["orbit"],
        emulator: Some(Emulator::Wine),
        kind: "PE32+ executable (console) x86-64",
    },
    System {
        triple: "aarch64-apple-darwin",
        purpose: Purpose::Proof,
        programs: &["orbit"],
        emulator: None,
        kind: "Mach-O 64-bit arm64 executable",
    },
];

/// How long a program may take to enroll, emulated.
const ENROLLED_WITHIN: Duration = Duration::from_secs(120);

/// Targets that programs are built for here.
pub(crate) fn targets() -> impl Iterator<Item = &'static str> {
    SYSTEMS.iter().map(|system| system.triple)
}

/// Runs the checks; fails if one did not hold.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let passed = counted(workspace, args)?;
    terminal::line(&format!("\n{passed} passed, 0 failed"));
    Ok(())
}

/// As [`run`], and gives the number of checks.
pub(crate) fn counted(workspace: &Workspace, args: &Args) -> anyhow::Result<usize> {
    let mut report = Report::default();
    let wanted =
        |system: &&System| args.filter.as_deref().is_none_or(|text| system.triple.contains(text));
    for system in SYSTEMS.iter().filter(wanted) {
        terminal::heading(&format!("{}:", system.triple));
        let outcome = check(workspace, system, &mut report);
        if let Err(error) = outcome {
            report.record("it can be tried", Err(error));
        }
    }
    let (passed, failed) = (report.passed(), report.failed().len());
    if passed + failed == 0 {
        bail!("no system is called so");
    }
    if failed > 0 {
        bail!("{failed} of {} checks failed", passed + failed);
    }
    Ok(passed)
}

fn check(workspace: &Workspace, system: &System, report: &mut Report) -> anyhow::Result<()> {
    let dir = dist::build(workspace, system.triple, system.programs, system.purpose)?;
    let home = TemporaryDir::new()?;
    let programs = workspace.programs()?;
    let folder = programs.orbit.parent().context("the programs lie nowhere")?;
    let desk = Desk::new(workspace, home.path(), folder, Voice::Silent)?;
    for program in system.programs {
        let outcome = kind_of(&desk, system, &dir, program);
        report.record(&format!("file(1) knows {program} as what it is"), outcome);
    }
    let Some(emulator) = system.emulator else {
        for program in system.programs {
            let outcome = tampering_is_noticed(&dir, home.path(), system.triple, program);
            report.record(&format!("a changed byte of {program} breaks its signature"), outcome);
        }
        return Ok(());
    };
    let runner = Runner::new(emulator, &desk, &dir)?;
    let version = version::of_checkout(workspace)?.text;
    for program in system.programs {
        let outcome =
            says(&desk, &runner.line(program, "version"), &format!("{program} {version}"));
        report.record(&format!("{program} tells its version"), outcome);
    }
    let deployment = Deployment::start(desk)?;
    deployment.credentials()?;
    enroll(&deployment, &runner, report);
    if system.programs.contains(&"fleetctl") {
        report.record(
            "fleetctl speaks TLS with a server whose authority it is told",
            says(&deployment.desk, &connection(&deployment, &runner, true), "").map(|_| ()),
        );
        let refused = deployment.desk.read(&connection(&deployment, &runner, false));
        let outcome = match refused {
            Ok(text) => Err(anyhow::anyhow!("it does, and says {text}")),
            Err(_) => Ok(()),
        };
        report.record("fleetctl does not with one whose authority it does not know", outcome);
    }
    Ok(())
}

/// Orbit's part: before, during and after.
fn enroll(deployment: &Deployment, runner: &Runner, report: &mut Report) {
    let desk = &deployment.desk;
    let status =
        runner.line("orbit", &format!("status --root-dir {} --output json", runner.path("agent")));
    let before = match desk.read(&status) {
        Ok(text) => Err(anyhow::anyhow!("it is content with {text}")),
        Err(error) if format!("{error:#}").contains("\"enrolled\": false") => Ok(()),
        Err(error) => Err(error),
    };
    report.record("orbit tells that it is not enrolled", before);
    let agent = start(deployment, runner);
    let listed = agent.and_then(|agent| listed(deployment, agent));
    let running = match listed {
        Ok(agent) => {
            report.record("orbit enrolls by TLS at a name, with an authority of its own", Ok(()));
            agent
        }
        Err(error) => {
            let outcome = Err(error.context(deployment.log_tail()));
            report.record("orbit enrolls by TLS at a name, with an authority of its own", outcome);
            return;
        }
    };
    let content = wait_until(ENROLLED_WITHIN, || Ok(desk.read(&status).ok()));
    let outcome = content.and_then(|seen| {
        seen.map(|_| ()).with_context(|| format!("it is not content:\n{}", running.output()))
    });
    report.record("orbit tells that it is enrolled and in contact", outcome);
}

fn start(deployment: &Deployment, runner: &Runner) -> anyhow::Result<Daemon> {
    let (_, port) = deployment.url.rsplit_once(':').context("an address has a port")?;
    let line = runner.line(
        "orbit",
        &format!(
            "--root-dir {} --fleet-url https://localhost:{port} --fleet-certificate {} --enroll-secret-path {}",
            runner.path("agent"),
            runner.path("tls/ca.pem"),
            runner.path("secret.txt")
        ),
    );
    deployment.desk.run("mkdir -p agent")?;
    deployment.desk.start("orbit", &line)
}

/// Waits until the server knows a device.
fn listed(deployment: &Deployment, agent: Daemon) -> anyhow::Result<Daemon> {
    let device = wait_until(ENROLLED_WITHIN, || {
        if let Some(status) = agent.ended()? {
            bail!("it ended ({status}):\n{}", agent.output());
        }
        Ok(deployment.devices()?.pop())
    })?;
    match device {
        Some(_) => Ok(agent),
        None => bail!("the server lists no device:\n{}", agent.output()),
    }
}

fn connection(deployment: &Deployment, runner: &Runner, told: bool) -> String {
    let authority = if told { "--fleet-certificate tls/ca.pem" } else { "" };
    runner.line("fleetctl", &format!("debug connection {} {authority}", deployment.url))
}

/// Fails unless the shell line `line` succeeds and prints something with `text` in it.
fn says(desk: &Desk, line: &str, text: &str) -> anyhow::Result<()> {
    let said = desk.read(line)?;
    if !said.contains(text) {
        bail!("it says {said}");
    }
    Ok(())
}

fn kind_of(desk: &Desk, system: &System, dir: &Path, program: &str) -> anyhow::Result<()> {
    let ending = if system.triple.contains("windows") { ".exe" } else { "" };
    let path = dir.join(format!("{program}{ending}"));
    says(desk, &format!("file --brief '{}'", path.display()), system.kind)
}

/// A build is read when it is made; this shows that the reading finds what macOS would.
fn tampering_is_noticed(
    dir: &Path,
    scratch: &Path,
    triple: &str,
    program: &str,
) -> anyhow::Result<()> {
    let mut bytes = fs::read(dir.join(program)).context("could not read the program")?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let path = scratch.join(program);
    fs::write(&path, bytes).context("could not write a changed program")?;
    match dist::inspect(triple, program, &path) {
        Ok(()) => bail!("it does not"),
        Err(error) if error.to_string().contains("pages") => Ok(()),
        Err(error) => Err(error),
    }
}
