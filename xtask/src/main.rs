//! What developers and CI run: `cargo xtask <task>`. One file a task; nothing of the product is
//! imported, its programs are started as a user would start them.

mod acceptance;
mod bench;
mod ci;
mod cleanup;
mod codegen;
mod conformance;
mod coverage;
mod cross;
mod demo;
mod deployment;
mod dist;
mod fuzz;
mod lockfile;
mod platforms;
mod process;
mod python;
mod release;
mod report;
mod selfpack;
mod setup;
mod terminal;
mod tidy;
mod version;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Builds, checks, shows and measures fleetd.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install the Debian packages that the tests use, or say which are missing
    Setup(setup::Args),
    /// Set up, then run everything that CI runs
    Test,
    /// Run everything that CI runs, in its order
    Ci,
    /// Check what no compiler checks: imports, dependencies, licences, names, links
    Tidy,
    /// Write the generated reference documents, or check that they are up to date
    Codegen(codegen::Args),
    /// Check that the server answers as its OpenAPI document says
    Conformance,
    /// Show which lines of the agent's state machine its tests reach; fails if those are too few
    Coverage(coverage::Args),
    /// Install, upgrade, remove and purge packages in a booted Debian, with a real server
    Acceptance(acceptance::Args),
    /// Show the product at work on this machine, from building it to an enrolled device
    Demo,
    /// Make a signed release, with bills of materials and provenance, of what was built
    Release(Box<release::Args>),
    /// Build the programs for every system that they run on
    Dist(dist::Args),
    /// Run the programs of other systems, as far as this machine can
    Platforms(platforms::Args),
    /// Read packages that were changed at random
    Fuzz(fuzz::Args),
    /// Print which version this checkout is
    Version(version::Args),
    /// Measure against other tools
    #[command(subcommand)]
    Bench(bench::Task),
}

fn main() -> ExitCode {
    let args = Args::parse();
    match cleanup::on_signals().and_then(|()| run(args.task)) {
        Ok(code) => code,
        Err(error) => {
            terminal::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::new()?;
    match task {
        Task::Setup(args) => return setup::run(&workspace, &args),
        Task::Test => {
            let setup = || setup::run(&workspace, &setup::Args::of_tests());
            return ci::run(&workspace, setup);
        }
        Task::Ci => return ci::run(&workspace, || Ok(ExitCode::SUCCESS)),
        Task::Tidy => tidy::run(&workspace)?,
        Task::Codegen(args) => codegen::run(&workspace, &args)?,
        Task::Conformance => conformance::run(&workspace)?,
        Task::Coverage(args) => coverage::run(&workspace, &args)?,
        Task::Acceptance(args) => {
            acceptance::run(&workspace, &args)?;
        }
        Task::Demo => demo::run(&workspace)?,
        Task::Release(args) => release::run(&workspace, &args)?,
        Task::Dist(args) => dist::run(&workspace, &args)?,
        Task::Platforms(args) => platforms::run(&workspace, &args)?,
        Task::Fuzz(args) => fuzz::run(&workspace, &args)?,
        Task::Version(args) => version::run(&workspace, &args)?,
        Task::Bench(task) => bench::run(&workspace, &task)?,
    }
    Ok(ExitCode::SUCCESS)
}
