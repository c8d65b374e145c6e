//! `cargo xtask platforms`: programs built for other systems, run here by emulators or, where there
//! is none, read. docs/platforms.md tells what has been seen to run and what has not.

mod authority;
mod image;
mod msi;
mod packages;
mod rcodesign;
mod runner;
mod surroundings;
mod trial;
mod wine;

use anyhow::{Context as _, bail};

use self::{
    runner::Emulator,
    trial::{Plan, Trial},
};
use crate::{
    dist::{Purpose, program::PROGRAMS, target::Reach},
    report::Report,
    terminal,
    workspace::Workspace,
};

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only the systems whose name contains this
    filter: Option<String>,
    /// Every program for every system, as `cargo xtask dist` makes it; else some of them, built in
    /// little time
    #[arg(long)]
    shipped: bool,
}

/// A system, and how a program for it is seen at work.
#[derive(Debug)]
struct System {
    name: &'static str,
    /// What is tried unless everything is.
    routine: Option<Routine>,
    /// None if nothing here runs its programs.
    emulator: Option<Emulator>,
    /// What file(1) says of its programs.
    kind: &'static str,
}

/// Programs that are tried on every change.
#[derive(Debug)]
struct Routine {
    purpose: Purpose,
    programs: &'static [&'static str],
}

/// Most of the agent's code is in one library, so a second program of it costs little.
const AGENT: &[&str] = &["orbit", "fleet-desktop"];

/// The agent's, and that of administrators.
const ALL: &[&str] = &["fleetctl", "orbit", "fleet-desktop"];

const SYSTEMS: &[System] = &[
    System {
        name: "x86_64-unknown-linux-musl",
        routine: Some(Routine { purpose: Purpose::Proof, programs: &["fleetctl", "orbit"] }),
        emulator: Some(Emulator::None),
        kind: "ELF 64-bit LSB pie executable, x86-64, version 1 (SYSV), static-pie linked",
    },
    System {
        name: "aarch64-unknown-linux-musl",
        routine: Some(Routine { purpose: Purpose::Proof, programs: AGENT }),
        emulator: Some(Emulator::Qemu),
        kind: "ELF 64-bit LSB pie executable, ARM aarch64, version 1 (SYSV), static-pie linked",
    },
    System {
        name: "x86_64-pc-windows-gnu",
        routine: Some(Routine { purpose: Purpose::Proof, programs: ALL }),
        emulator: Some(Emulator::Wine),
        kind: "PE32+ executable (console) x86-64",
    },
    System {
        name: "aarch64-pc-windows-gnullvm",
        routine: None,
        emulator: None,
        kind: "PE32+ executable (console) Aarch64",
    },
    System {
        name: "aarch64-apple-darwin",
        routine: Some(Routine { purpose: Purpose::Proof, programs: AGENT }),
        emulator: None,
        kind: "Mach-O 64-bit arm64 executable",
    },
    System {
        name: "x86_64-apple-darwin",
        routine: None,
        emulator: None,
        kind: "Mach-O 64-bit x86_64 executable",
    },
    System {
        name: "universal-apple-darwin",
        routine: None,
        emulator: None,
        kind: "Mach-O universal binary with 2 architectures",
    },
];

impl System {
    /// What is tried: everything if it is as shipped. None if nothing is.
    fn plan(&self, shipped: bool) -> anyhow::Result<Option<Plan>> {
        let reach = Reach::named(self.name).context("there is no such target")?;
        let routine = if shipped {
            let all = PROGRAMS.iter().filter(|program| program.runs_on(reach.system()));
            Some((Purpose::Shipping, all.map(|program| program.name).collect()))
        } else {
            self.routine.as_ref().map(|routine| (routine.purpose, routine.programs.to_vec()))
        };
        let &Self { emulator, kind, .. } = self;
        Ok(routine.map(|(purpose, programs)| Plan { reach, purpose, programs, emulator, kind }))
    }
}

/// Targets that programs are built for on every change.
pub(crate) fn targets() -> impl Iterator<Item = &'static str> {
    SYSTEMS.iter().filter(|system| system.routine.is_some()).map(|system| system.name)
}

/// Runs the checks; fails if one did not hold.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let passed = counted(workspace, args)?;
    terminal::line(&format!("\n{passed} passed, 0 failed"));
    Ok(())
}

/// As [`run`], and gives the number of checks.
fn counted(workspace: &Workspace, args: &Args) -> anyhow::Result<usize> {
    let mut report = Report::default();
    let wanted =
        |system: &&System| args.filter.as_deref().is_none_or(|text| system.name.contains(text));
    for system in SYSTEMS.iter().filter(wanted) {
        let Some(plan) = system.plan(args.shipped)? else { continue };
        terminal::heading(&format!("{}:", system.name));
        let outcome = Trial::new(workspace, plan).and_then(|trial| trial.run(&mut report));
        if let Err(error) = outcome {
            report.record("it can be tried", Err(error));
        }
    }
    let (passed, failed) = (report.passed(), report.failed().len());
    if passed + failed == 0 {
        bail!("no system is called so, or it is tried with `--shipped` only");
    }
    if failed > 0 {
        bail!("{failed} of {} checks failed", passed + failed);
    }
    Ok(passed)
}
