//! `cargo xtask acceptance`: packages installed, upgraded, removed and purged by the real dpkg, apt
//! and rpm, in a Debian with a booted systemd, against a real server.

mod arm64;
mod base;
mod chaos;
mod container;
mod deb;
mod desktop;
mod listing;
mod packages;
mod rpm;
mod secrecy;
mod server;
mod suite;
mod together;
mod updates;
mod values;

use anyhow::{Context as _, bail};
use rustix::process::geteuid;

use crate::{
    acceptance::{
        base::Base,
        container::Network,
        packages::Shelf,
        suite::{Site, Suite},
    },
    cleanup::TemporaryDir,
    deployment::{Deployment, Desk, Voice},
    report::Report,
    terminal,
    workspace::Workspace,
};

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only the groups of checks whose name contains this
    filter: Option<String>,
}

/// A group of checks, in a system of its own.
struct Group {
    name: &'static str,
    network: Network,
    /// The systemd unit that is looked at.
    unit: &'static str,
    run: fn(&mut Suite<'_>) -> anyhow::Result<()>,
}

const GROUPS: &[Group] = &[
    Group { name: "deb", network: Network::Shared, unit: "orbit", run: deb::life },
    Group {
        name: "deb-service",
        network: Network::Shared,
        unit: "orbit",
        run: deb::service_states,
    },
    Group { name: "deb-values", network: Network::Shared, unit: "orbit", run: values::run },
    Group { name: "rpm", network: Network::Shared, unit: "orbit", run: rpm::life },
    Group { name: "deb-arm64", network: Network::Shared, unit: "orbit", run: arm64::deb_life },
    Group { name: "rpm-arm64", network: Network::Shared, unit: "orbit", run: arm64::rpm_life },
    Group { name: "chaos", network: Network::Private, unit: "orbit", run: chaos::run },
    Group { name: "desktop", network: Network::Private, unit: "orbit", run: desktop::run },
    Group { name: "updates", network: Network::Private, unit: "orbit", run: updates::run },
    Group { name: "server-deb", network: Network::Private, unit: "fleet-server", run: server::deb },
    Group { name: "server-rpm", network: Network::Private, unit: "fleet-server", run: server::rpm },
];

/// Runs the checks; fails if one did not hold.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let passed = counted(workspace, args)?;
    terminal::line(&format!("\n{passed} passed, 0 failed"));
    Ok(())
}

/// As [`run`], and gives the number of checks.
fn counted(workspace: &Workspace, args: &Args) -> anyhow::Result<usize> {
    if !geteuid().is_root() {
        bail!("could not boot a container: only root may; run `cargo xtask acceptance` as root");
    }
    let programs = workspace.programs()?;
    let folder = programs.orbit.parent().context("the programs lie nowhere")?;
    let base = Base::prepare(workspace)?;
    let home = TemporaryDir::new()?;
    let desk = Desk::new(workspace, home.path(), folder, Voice::Silent)?;
    let deployment = Deployment::start(desk)?;
    deployment.credentials()?;
    let shelf = Shelf::build(&deployment, &programs)?;
    shelf.pack_arm64(&deployment, &arm64::program(workspace)?)?;
    shelf.pack_product(workspace, &programs)?;

    let site = Site { base: &base, deployment: &deployment, shelf: &shelf };
    let mut report = Report::default();
    let wanted =
        |group: &&Group| args.filter.as_deref().is_none_or(|text| group.name.contains(text));
    for group in GROUPS.iter().filter(wanted) {
        terminal::heading(&format!("{}:", group.name));
        let mut suite = Suite::boot(group, &site, &mut report)?;
        let outcome = (group.run)(&mut suite);
        suite.conclude(outcome);
    }
    if report.passed() == 0 && report.failed().is_empty() {
        bail!("no group of checks is called so");
    }
    if !report.failed().is_empty() {
        bail!(
            "{} of {} checks failed",
            report.failed().len(),
            report.failed().len() + report.passed()
        );
    }
    Ok(report.passed())
}
