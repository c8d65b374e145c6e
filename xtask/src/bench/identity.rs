//! `cargo xtask bench identity`: signing in, checking and issuing tokens, against better-auth and
//! oidc-provider, and what agents' signatures cost, on one machine in one run. Prints what was measured and whether the goals are met; asserts
//! nothing about time, which belongs to the machine.

mod contender;
mod database;
mod hash;
mod node;
mod station;
mod table;

use std::thread::{self, available_parallelism};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::json;

use self::{
    contender::{Contender, Deed, Site, World},
    database::Database,
    node::Node,
    station::Pace,
};
use super::Output;
use crate::{
    cleanup::TemporaryDir,
    dist::{
        self, Purpose,
        target::{Reach, Target},
    },
    terminal,
    workspace::Workspace,
};

/// The cost of bcrypt that people sign in with.
const COST: u32 = 12;
/// Where sessions are counted and not time, they are begun at the least cost.
const CHEAP: u32 = 4;
/// People who sign in by turns.
const PEOPLE: usize = 8;
/// Token checks a second, at rest and during a flood.
const CHECKS: usize = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only show that measuring works: few requests, and our own code built without optimization
    #[arg(long)]
    quick: bool,
    /// How to print what was measured
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// How much is asked.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    rounds: usize,
    /// Hashes of each core in a round.
    hashes: usize,
    /// Seconds of token checks in a round.
    seconds: usize,
    requests: usize,
    keys: usize,
    sessions: usize,
}

impl Args {
    fn sizes(&self) -> Sizes {
        match self.quick {
            true => Sizes { rounds: 1, hashes: 2, seconds: 2, requests: 50, keys: 8, sessions: 40 },
            false => Sizes {
                rounds: 3,
                hashes: 24,
                seconds: 8,
                requests: 2000,
                keys: 400,
                sessions: 10_000,
            },
        }
    }

    fn purpose(&self) -> Purpose {
        if self.quick { Purpose::Proof } else { Purpose::Measuring }
    }
}

/// What was measured of one server.
#[derive(Debug, Serialize)]
struct Measured {
    name: &'static str,
    idle_bytes: u64,
    /// With the sessions that [`Sizes`] asks for, each used once.
    sessions_bytes: u64,
    /// Seconds of its processor time for one.
    cpu_seconds: Vec<(Deed, f64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logins: Option<Logins>,
}

/// Signing in at [`COST`]; medians of the rounds.
#[derive(Debug, Serialize)]
struct Logins {
    hashes_per_second: f64,
    logins_per_second: f64,
    cpu_seconds_per_hash: f64,
    cpu_seconds_per_login: f64,
    check_p99_ms_at_rest: f64,
    check_p99_ms_in_flood: f64,
}

/// Everything that was measured; ours first.
#[derive(Debug, Serialize)]
struct Results {
    sessions: usize,
    servers: Vec<Measured>,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let target = Target::of_this_machine()?;
    let programs = dist::build(workspace, Reach::One(target), &["fleet-server"], args.purpose())?;
    let node = Node::prepare(workspace)?;
    let database = Database::start()?;
    let dir = TemporaryDir::new()?;
    let site =
        Site { node: &node, database: &database, server: programs.join("fleet-server"), dir };
    let sizes = args.sizes();
    let results = Results { sessions: sizes.sessions, servers: measure(&site, sizes)? };
    match args.output {
        Output::Table => table::print(&results),
        Output::Json => {
            terminal::line(&serde_json::to_string_pretty(&results).context("could not write JSON")?)
        }
    }
    Ok(())
}

/// How a server is started, by the name of what is made for it.
type Start<'a> = fn(&Site<'a>, &str, World) -> anyhow::Result<(Contender, u64)>;

fn measure<'a>(site: &Site<'a>, sizes: Sizes) -> anyhow::Result<Vec<Measured>> {
    let starts: [(&str, Start<'a>); 3] =
        [("ours", Site::ours), ("better", Site::better_auth), ("oidc", Site::oidc_provider)];
    starts.into_iter().map(|(name, start)| measure_one(site, sizes, (name, start))).collect()
}

fn measure_one<'a>(
    site: &Site<'a>,
    sizes: Sizes,
    (name, start): (&str, Start<'a>),
) -> anyhow::Result<Measured> {
    terminal::note(&format!("measuring {name}"));
    let world = World { cost: COST, people: PEOPLE, keys: sizes.keys, sessions: PEOPLE };
    let (contender, idle_bytes) = start(site, name, world)?;
    let mut cpu_seconds = Vec::new();
    for (deed, exchange) in &contender.deeds {
        cpu_seconds.push((*deed, contender.station.cost(site.node, exchange, sizes.requests)?));
    }
    let logins =
        contender.login.is_some().then(|| logins(site.node, &contender, sizes)).transpose()?;
    drop(contender);
    let people = (sizes.sessions / 100).max(1);
    let world = World { cost: CHEAP, people, keys: 1, sessions: sizes.sessions };
    let (crowded, mut sessions_bytes) = start(site, &format!("{name}_crowded"), world)?;
    if let Some(mut settings) = crowded.sessions {
        settings["url"] = json!(crowded.station.url);
        settings["people"] = json!(people);
        settings["count"] = json!(sizes.sessions);
        site.node.client("sessions", &settings)?;
        sessions_bytes = crowded.station.memory()?;
    }
    Ok(Measured { name: crowded.name, idle_bytes, sessions_bytes, cpu_seconds, logins })
}

/// Rounds of hashing alone, signing in, token checks at rest and in a flood: what disturbs the machine
/// for a while disturbs all of them.
fn logins(node: &Node, contender: &Contender, sizes: Sizes) -> anyhow::Result<Logins> {
    let cores = available_parallelism().map_or(1, usize::from);
    let station = &contender.station;
    let login = contender.login.as_ref().context("nobody signs in there")?;
    let (_, check) = contender.deeds.first().context("nothing is asked there")?;
    let [mut hashes, mut hash_cpu, mut rates, mut cpu, mut rest, mut flood]: [Vec<f64>; 6] =
        Default::default();
    for _ in 0..sizes.rounds {
        let (rate, used) = hash::ceiling(COST, sizes.hashes)?;
        hashes.push(rate);
        hash_cpu.push(used);
        let before = station.cpu()?;
        let requests = sizes.hashes * cores;
        let answered = station.load(node, login, Pace::Total { requests, workers: 4 * cores })?;
        rates.push(as_f64(answered.count) / answered.seconds);
        cpu.push((station.cpu()? - before) / as_f64(answered.count));
        let steady = Pace::Rate { per_second: CHECKS, seconds: sizes.seconds };
        rest.push(station.load(node, check, steady)?.p99_ms);
        let many = Pace::Flood { seconds: sizes.seconds + 1, workers: 4 * cores };
        flood.push(thread::scope(|scope| {
            let flood = scope.spawn(|| station.load(node, login, many));
            let checked = station.load(node, check, steady);
            flood.join().ok().context("a thread panicked")??;
            anyhow::Ok(checked?.p99_ms)
        })?);
    }
    Ok(Logins {
        hashes_per_second: median(hashes),
        logins_per_second: median(rates),
        cpu_seconds_per_hash: median(hash_cpu),
        cpu_seconds_per_login: median(cpu),
        check_p99_ms_at_rest: median(rest),
        check_p99_ms_in_flood: median(flood),
    })
}

/// The middle one, the lower of two; zero of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "numbers of requests are far below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}
