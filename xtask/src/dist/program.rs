//! The programs that are built, each described once.

use std::collections::BTreeSet;

use anyhow::bail;

use super::target::System;

/// What becomes of a panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Panic {
    /// It ends the program.
    Aborts,
    /// It is caught and answered.
    Unwinds,
}

/// A program of the product.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// The crate that has it.
    pub(crate) package: &'static str,
    pub(crate) panic: Panic,
    pub(crate) systems: &'static [System],
    /// Bytes that it may have, stripped.
    pub(crate) budget: u64,
}

const EVERYWHERE: &[System] = &[System::Linux, System::Windows, System::Macos];

pub(crate) const PROGRAMS: &[Program] = &[
    Program {
        name: "fleetctl",
        package: "fleetd-fleetctl",
        panic: Panic::Aborts,
        systems: EVERYWHERE,
        budget: 25_000_000,
    },
    Program {
        name: "orbit",
        package: "fleetd-agent",
        panic: Panic::Aborts,
        systems: EVERYWHERE,
        budget: 8_000_000,
    },
    Program {
        name: "fleet-desktop",
        package: "fleetd-agent",
        panic: Panic::Aborts,
        systems: EVERYWHERE,
        budget: 8_000_000,
    },
    Program {
        name: "fleet-server",
        package: "fleetd-server",
        panic: Panic::Unwinds,
        systems: &[System::Linux],
        budget: 25_000_000,
    },
];

/// Programs as asked for, in the order of [`PROGRAMS`]. Nothing asked for is everything.
pub(crate) fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Program>> {
    let known = |name: &&String| PROGRAMS.iter().any(|program| program.name == *name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        let all: Vec<_> = PROGRAMS.iter().map(|program| program.name).collect();
        bail!("there is no program `{name}`; there are {}", all.join(", "));
    }
    let asked =
        |program: &&Program| names.is_empty() || names.iter().any(|name| name == program.name);
    Ok(PROGRAMS.iter().filter(asked).collect())
}

/// Arguments that name every crate with a program for `system` that treats panics so. Cargo is always
/// told of all of them: which there are decides the features of what they share, so that asking
/// for one program less would build other bytes, and nearly everything anew.
pub(super) fn packages(system: System, panic: Panic) -> Vec<&'static str> {
    let wanted = |program: &&Program| program.panic == panic && program.runs_on(system);
    let names: BTreeSet<_> =
        PROGRAMS.iter().filter(wanted).map(|program| program.package).collect();
    names.into_iter().flat_map(|name| ["--package", name]).collect()
}

impl Program {
    /// The program called `name`.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        PROGRAMS.iter().find(|program| program.name == name)
    }

    pub(crate) fn runs_on(&self, system: System) -> bool {
        self.systems.contains(&system)
    }

    /// What the file beside it with its symbols is called, on every system.
    pub(crate) fn symbols(&self) -> String {
        format!("{}.debug", self.name)
    }
}
