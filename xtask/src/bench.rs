//! `cargo xtask bench identity` is in [`identity`], `updates` in [`updates`], `agent` in [`agent`];
//! `cargo xtask bench package`: our packages against those of other tools, from the same files, with
//! the same compression, in one run. Prints what was measured and whether the goals are met; asserts
//! nothing about time, which belongs to the machine.

mod agent;
mod contender;
mod floor;
mod identity;
mod matrix;
mod measure;
mod payload;
mod table;
mod traffic;
mod updates;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use serde::Serialize;

use crate::{
    bench::{
        contender::{Contender, Format, Setting},
        matrix::Matrix,
        measure::{Median, Run},
        payload::Payload,
    },
    dist::{
        self, Purpose,
        target::{Reach, Target},
    },
    terminal::{self, Output},
    workspace::Workspace,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Build packages with fleetctl and with nfpm, dpkg-deb, rpmbuild, wixl and bsdtar
    Package(Args),
    /// Sign in, check and issue tokens, beside better-auth and oidc-provider
    Identity(identity::Args),
    /// Leave the agent alone, and see what it takes
    Agent(agent::Args),
    /// Sign, renew, read and hash updates, and have python-tuf and openssl do the same
    Updates(updates::Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only contests whose name contains this: `deb`, `zstd:3`, `msi at gzip:9`, `matrix`
    filter: Option<String>,
    /// Only show that measuring works: one run, neither the slowest setting nor the matrix, and our
    /// own code built without optimization
    #[arg(long)]
    quick: bool,
    /// At xz:6 and zstd:19, too, which takes hours
    #[arg(long, conflicts_with = "quick")]
    hard: bool,
    #[command(flatten)]
    repeat: Repeat,
}

/// How a benchmark is repeated and told.
#[derive(Debug, Default, clap::Args)]
struct Repeat {
    /// How often each piece of work is done
    #[arg(long, value_name = "NUMBER")]
    runs: Option<usize>,
    /// How to print what was measured
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Repeat {
    /// The number of runs, which is `usual` unless told.
    fn runs(&self, usual: usize) -> usize {
        self.runs.unwrap_or(usual).max(1)
    }
}

impl Args {
    /// What CI runs.
    pub(crate) fn quick() -> Self {
        Self { filter: None, quick: true, hard: false, repeat: Repeat::default() }
    }

    fn settings(&self) -> impl Iterator<Item = Setting> + use<> {
        let usual = if self.quick { &Setting::USUAL[..2] } else { &Setting::USUAL };
        let hard: &[_] = if self.hard { &Setting::HARD } else { &[] };
        usual.iter().chain(hard).copied()
    }

    fn contests(&self) -> impl Iterator<Item = (Format, Setting)> {
        let all = self.settings().flat_map(|setting| Format::ALL.map(|it| (it, setting)));
        all.filter(|&(format, setting)| {
            let name = name(format, setting);
            format.takes(setting) && self.filter.as_ref().is_none_or(|part| name.contains(part))
        })
    }

    /// Whether all packages in one call are measured, too.
    fn matrix(&self) -> bool {
        self.filter.as_ref().map_or(!self.quick, |part| matrix::NAME.contains(part))
    }

    /// What ours is built for. As it is shipped, that takes longer than all tests together.
    fn purpose(&self) -> Purpose {
        if self.quick { Purpose::Proof } else { Purpose::Measuring }
    }

    fn rounds(&self) -> usize {
        self.repeat.runs(if self.quick { 1 } else { 7 })
    }

    /// Rounds before those that count: what is run first finds nothing in the caches.
    fn warm_ups(&self) -> usize {
        usize::from(!self.quick)
    }
}

fn name(format: Format, setting: Setting) -> String {
    format!("{} at {}", format.as_str(), setting.as_str())
}

/// What all runs of one format at one setting came to.
#[derive(Debug, Serialize)]
struct Contest {
    format: Format,
    setting: Setting,
    entries: Vec<Entry>,
    /// The least that the same bytes take in the kind of stream that the format has, with nothing of a
    /// package around them.
    floor: Median,
}

/// What all runs of one tool came to.
#[derive(Debug, Serialize)]
struct Entry {
    tool: &'static str,
    /// What the tool cannot be told, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
    #[serde(flatten)]
    median: Median,
}

pub(crate) fn run(workspace: &Workspace, task: &Task) -> anyhow::Result<()> {
    match task {
        Task::Package(args) => package(workspace, args),
        Task::Identity(args) => identity::run(workspace, args),
        Task::Agent(args) => agent::run(workspace, args),
        Task::Updates(args) => updates::run(workspace, args),
    }
}

/// `bench agent --quick`.
pub(crate) fn agent_quickly(workspace: &Workspace) -> anyhow::Result<()> {
    agent::run(workspace, &agent::Args::quick())
}

/// `bench updates --quick`.
pub(crate) fn updates_quickly(workspace: &Workspace) -> anyhow::Result<()> {
    updates::run(workspace, &updates::Args::quick())
}

pub(crate) fn package(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let ours = Ours::build(workspace, args.purpose())?;
    let payload = Payload::prepare(workspace)?;
    let mut lineup = Vec::new();
    for contest in args.contests() {
        lineup.push(Lane::new(workspace, &ours, &payload, contest)?);
    }
    let mut matrix = match args.matrix() {
        true => Some(Matrix::new(&ours.fleetctl, &ours.floor, &payload)?),
        false => None,
    };
    for round in 0..args.warm_ups() + args.rounds() {
        let warm_up = round < args.warm_ups();
        let problem = || format!("could not run round {round}");
        for lane in &mut lineup {
            lane.run(warm_up).with_context(problem)?;
        }
        if let Some(matrix) = &mut matrix {
            matrix.run(warm_up).with_context(problem)?;
        }
    }
    let results = Results {
        contests: lineup.iter().map(Lane::contest).collect(),
        matrix: matrix.as_ref().map(Matrix::measured),
    };
    match args.repeat.output {
        Output::Table => table::print(&payload, args.rounds(), &results),
        Output::Json => {
            terminal::line(&serde_json::to_string_pretty(&results).context("could not write JSON")?)
        }
    }
    Ok(())
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Results {
    contests: Vec<Contest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    matrix: Option<matrix::Measured>,
}

/// Ours, and the floor built in the same way.
#[derive(Debug)]
struct Ours {
    fleetctl: PathBuf,
    floor: PathBuf,
}

impl Ours {
    fn build(workspace: &Workspace, purpose: Purpose) -> anyhow::Result<Self> {
        let target = Target::of_this_machine()?;
        let programs = dist::build(workspace, Reach::One(target), &["fleetctl"], purpose)?;
        let floor = dist::example(workspace, (target, purpose), ("fleetd-packager", "floor"))?;
        Ok(Self { fleetctl: programs.join("fleetctl"), floor })
    }
}

/// The tools that meet in one contest, and their runs so far.
struct Lane {
    format: Format,
    setting: Setting,
    tools: Vec<(Contender, Vec<Run>)>,
    floor: (Contender, Vec<Run>),
}

impl Lane {
    fn new(
        workspace: &Workspace,
        ours: &Ours,
        payload: &Payload,
        (format, setting): (Format, Setting),
    ) -> anyhow::Result<Self> {
        let tools = contender::all(workspace, &ours.fleetctl, payload, (format, setting))?;
        let floor = floor::contender(&ours.floor, payload, format, setting);
        let fresh = |contender| (contender, Vec::new());
        Ok(Self {
            format,
            setting,
            tools: tools.into_iter().map(fresh).collect(),
            floor: fresh(floor),
        })
    }

    /// Runs every tool once, one after the other. A warm-up is not counted.
    fn run(&mut self, warm_up: bool) -> anyhow::Result<()> {
        for (contender, runs) in self.tools.iter_mut().chain([&mut self.floor]) {
            let run = contender.run()?;
            if !warm_up {
                runs.push(run);
            }
        }
        Ok(())
    }

    fn contest(&self) -> Contest {
        let entry = |(contender, runs): &(Contender, Vec<Run>)| Entry {
            tool: contender.tool,
            note: contender.note,
            median: Median::of(runs),
        };
        Contest {
            format: self.format,
            setting: self.setting,
            entries: self.tools.iter().map(entry).collect(),
            floor: Median::of(&self.floor.1),
        }
    }
}
