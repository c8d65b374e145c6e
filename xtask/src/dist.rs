//! `cargo xtask dist`: the programs for every system that they run on, built on one Linux machine,
//! small, with their symbols beside them, and checked for what they ask of that system.

mod build;
mod inspect;
mod macos;
mod order;
mod reproduce;
mod symbols;
mod universal;

pub(crate) mod manifest;
pub(crate) mod program;
pub(crate) mod target;
pub(crate) mod toolchain;

use std::path::PathBuf;

use anyhow::Context as _;

pub(crate) use self::{build::Purpose, inspect::check as inspect, reproduce::compare};
use self::{
    build::{Place, Settings},
    order::{Earlier, Order},
    program::Panic,
    target::{Reach, Target},
    toolchain::Origin,
};
use crate::{terminal, version, workspace::Workspace};

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only this target, by its Rust name or `universal-apple-darwin`; may be repeated
    #[arg(long = "target", value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// Only this program; may be repeated
    #[arg(long = "bin", value_name = "PROGRAM")]
    pub(crate) programs: Vec<String>,
    /// Take the compiler from here and nowhere else
    #[arg(long, value_enum)]
    pub(crate) toolchain: Option<Origin>,
    /// Build in little time what is slow and big, to see it run; into `proof` instead of `dist`
    #[arg(long, conflicts_with = "check_reproducible")]
    pub(crate) proof: bool,
    /// Build a second time in another directory, and compare
    #[arg(long)]
    pub(crate) check_reproducible: bool,
}

/// Builds what is asked for into `<target directory>/dist/<target>/`.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    make(workspace, args, if args.proof { Purpose::Proof } else { Purpose::Shipping })
}

fn make(workspace: &Workspace, args: &Args, purpose: Purpose) -> anyhow::Result<()> {
    let version = version::of_checkout(workspace)?;
    let place = Place { sources: &workspace.root, target: &workspace.target, version: &version };
    let out = workspace.target.join(purpose.folder());
    let order = Order::new(workspace, args, purpose)?;
    order.explain(workspace)?;
    if !args.check_reproducible {
        return order.build(workspace, &place, (&out, Earlier::Kept));
    }
    let copy = reproduce::Copy::new(workspace)?;
    let (sources, target) = (copy.sources(), copy.target());
    let again = Place { sources: &sources, target: &target, version: &version };
    for reach in order.reaches() {
        order.fill(workspace, &place, reach, (&out, Earlier::Removed))?;
        order.fill(workspace, &again, reach, (&copy.out(), Earlier::Removed))?;
        let name = reach.name();
        let files = reproduce::compare(&out.join(name), &copy.out().join(name))
            .with_context(|| format!("could not reproduce {name}"))?;
        terminal::line(&format!("{name}: {files} files, the same bytes from two directories"));
    }
    Ok(())
}

/// Builds `programs` for `reach`; gives the folder that they are in.
pub(crate) fn build(
    workspace: &Workspace,
    reach: Reach,
    programs: &[&str],
    purpose: Purpose,
) -> anyhow::Result<PathBuf> {
    let args = Args {
        targets: vec![reach.name().to_owned()],
        programs: programs.iter().map(|name| (*name).to_owned()).collect(),
        ..Args::default()
    };
    make(workspace, &args, purpose)?;
    Ok(workspace.target.join(purpose.folder()).join(reach.name()))
}

/// Builds the example `name` of `package` as programs are built; gives its path.
pub(crate) fn example(
    workspace: &Workspace,
    (target, purpose): (&Target, Purpose),
    (package, name): (&str, &str),
) -> anyhow::Result<PathBuf> {
    let version = version::of_checkout(workspace)?;
    let place = Place { sources: &workspace.root, target: &workspace.target, version: &version };
    let toolchain = order::toolchain(workspace, target)?;
    let settings = Settings::new(workspace, &place, target, &toolchain)?;
    let profile = purpose.profile(Panic::Aborts);
    settings
        .cargo(workspace, &place, target, profile)?
        .args(program::packages(target.system, Panic::Aborts))
        .args(["--package", package, "--example", name])
        .run()?;
    let built = place.target.join(target.triple).join(build::folder_of(profile));
    Ok(built.join("examples").join(name))
}
