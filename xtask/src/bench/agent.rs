//! `cargo xtask bench agent`: what the agent takes of a device that does nothing else: memory,
//! processor, wake-ups, bytes; and how soon it is enrolled.

mod meter;

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Serialize;

use self::meter::Meter;
use super::{
    Output,
    measure::{cpu_of, memory_of, sleeps_of},
};
use crate::{
    cleanup::TemporaryDir,
    deployment::{Deployment, Desk, Voice},
    dist::{
        self, Purpose,
        target::{Reach, Target},
    },
    process::wait_until,
    terminal,
    workspace::Workspace,
};

/// How long enrolling may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often its memory is looked at.
const LOOK: Duration = Duration::from_secs(1);

const MEBIBYTE: f64 = 1_048_576.0;

/// The most memory that an idle agent may have, in MiB, and share of a processor, in percent.
const MEMORY_GOAL: f64 = 25.0;
const CPU_GOAL: f64 = 0.1;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For how many minutes
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    minutes: u32,
    /// Only show that measuring works: for three seconds, and the agent built without optimization
    #[arg(long)]
    quick: bool,
    /// Measure this orbit instead of building one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// How to print what was measured
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    /// From the start of the process until it has a node key on disk.
    enrolled_seconds: f64,
    /// Of what follows.
    seconds: f64,
    /// The most that it had at once while it was idle.
    memory_bytes: u64,
    /// Share of one processor.
    cpu_percent: f64,
    wakeups_per_minute: f64,
    /// Over the network in both directions, TLS included.
    bytes_per_hour: f64,
    connections: u64,
}

impl Args {
    /// What CI runs.
    pub(super) fn quick() -> Self {
        Self { minutes: 1, quick: true, program: None, output: Output::default() }
    }

    fn pace(&self) -> Pace {
        let seconds = Duration::from_secs;
        match self.quick {
            true => Pace { settling: seconds(1), idling: seconds(3) },
            false => Pace { settling: seconds(20), idling: seconds(60) * self.minutes.max(1) },
        }
    }
}

/// How long the agent is left alone: before it counts as idle, and from then on.
#[derive(Debug, Clone, Copy)]
struct Pace {
    settling: Duration,
    idling: Duration,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let programs = workspace.programs()?;
    let orbit = match &args.program {
        Some(program) => program.clone(),
        None if args.quick => programs.orbit.clone(),
        None => built(workspace)?,
    };
    let folder = programs.server.parent().context("the programs lie nowhere")?;
    let home = TemporaryDir::new()?;
    let desk = Desk::new(workspace, home.path(), folder, Voice::Silent)?;
    let deployment = Deployment::start(desk)?;
    deployment.credentials()?;
    let measured = measure(&deployment, &orbit, args.pace())?;
    match args.output {
        Output::Table => print(&measured),
        Output::Json => terminal::line(
            &serde_json::to_string_pretty(&measured).context("could not write JSON")?,
        ),
    }
    Ok(())
}

fn built(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let here = Reach::One(Target::of_this_machine()?);
    Ok(dist::build(workspace, here, &["orbit"], Purpose::Measuring)?.join("orbit"))
}

#[expect(clippy::disallowed_methods, reason = "it measures how long the agent takes")]
fn measure(
    deployment: &Deployment,
    orbit: &std::path::Path,
    pace: Pace,
) -> anyhow::Result<Measured> {
    let (_, port) = deployment.url.rsplit_once(':').context("an address has a port")?;
    let meter = Meter::start(port.parse().context("a port is a number")?)?;
    let line = format!(
        "env ORBIT_DISABLE_KEYSTORE=true '{}' --root-dir $PWD/agent --fleet-url https://localhost:{} --fleet-certificate tls/ca.pem --enroll-secret-path secret.txt",
        orbit.display(),
        meter.port
    );
    deployment.desk.run("mkdir agent")?;
    let start = Instant::now();
    let agent = deployment.desk.start("orbit", &line)?;
    let key = deployment.desk.dir.join("agent/secret-orbit-node-key.txt");
    let enrolled = wait_until(PATIENCE, || Ok(key.exists().then(|| start.elapsed())))?;
    let enrolled = enrolled
        .with_context(|| format!("the agent is not enrolled:\n{}", agent.output()))?
        .as_secs_f64();
    thread::sleep(pace.settling);

    meter.take();
    let pid = agent.pid();
    let (cpu, sleeps, begin) = (cpu_of(pid)?, sleeps_of(pid)?, Instant::now());
    let mut memory_bytes = 0;
    while begin.elapsed() < pace.idling {
        thread::sleep(LOOK);
        memory_bytes = memory_bytes.max(memory_of(pid)?);
    }
    let seconds = begin.elapsed().as_secs_f64();
    let passed = meter.take();
    Ok(Measured {
        enrolled_seconds: enrolled,
        seconds,
        memory_bytes,
        cpu_percent: (cpu_of(pid)? - cpu) / seconds * 100.0,
        wakeups_per_minute: as_f64(sleeps_of(pid)?.saturating_sub(sleeps)) / seconds * 60.0,
        bytes_per_hour: as_f64(passed.bytes) / seconds * 3600.0,
        connections: passed.connections,
    })
}

fn print(measured: &Measured) {
    let Measured { enrolled_seconds, seconds, wakeups_per_minute, bytes_per_hour, .. } = measured;
    terminal::heading(&format!("The agent, idle for {seconds:.0} s, without osqueryd"));
    let goal = |value: f64, goal: f64| if value <= goal { "met" } else { "missed" };
    let memory = as_f64(measured.memory_bytes) / MEBIBYTE;
    let met = goal(memory, MEMORY_GOAL);
    terminal::line(&format!("memory        {memory:.1} MiB; goal {MEMORY_GOAL}: {met}"));
    let cpu = measured.cpu_percent;
    let met = goal(cpu, CPU_GOAL);
    terminal::line(&format!("processor     {cpu:.3} %; goal {CPU_GOAL}: {met}"));
    terminal::line(&format!("wake-ups      {wakeups_per_minute:.0} a minute"));
    let connections = measured.connections;
    terminal::line(&format!(
        "network       {:.0} kB an hour, {connections} new connections",
        bytes_per_hour / 1000.0
    ));
    terminal::line(&format!("enrolled      {enrolled_seconds:.2} s after its start"));
    // Of osquery's documentation, "Command line flags": the normal level of its watchdog.
    terminal::line("osqueryd      ends its worker above 200 MiB or a tenth of a processor");
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
