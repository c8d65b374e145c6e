//! `cargo xtask bench updates`: what publishers and readers of updates take, against python-tuf, in one
//! run. Processors are counted from the start of a process to its end; Python's own start is told apart.

mod server;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use serde::Serialize;
use xshell::cmd;

use self::server::Server;
use super::{
    Output, Repeat,
    measure::{Median, Run},
    traffic::Passed,
};
use crate::{
    cleanup,
    dist::{self, Purpose, target::Target},
    python, terminal,
    workspace::Workspace,
};

const PYTHON_TUF: &[&str] = &["tuf==7.0.1", "securesystemslib==1.6.0", "cryptography==50.0.2"];

/// Our part.
const EXAMPLE: (&str, &str) = ("fleetd-update", "updates-bench");

/// Two releases, one after the other, of a program in Rust that is not ours.
const BUILDS: [&str; 2] = ["rust-just==1.58.0", "rust-just==1.59.0"];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only show that measuring works: fewer and smaller files, and our own code built without
    /// optimization
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    repeat: Repeat,
}

impl Args {
    /// What CI runs.
    pub(super) fn quick() -> Self {
        Self { quick: true, repeat: Repeat::default() }
    }

    fn rounds(&self) -> usize {
        self.repeat.runs(if self.quick { 1 } else { 5 })
    }

    fn targets(&self) -> usize {
        if self.quick { 200 } else { 10_000 }
    }

    fn megabytes(&self) -> usize {
        if self.quick { 5 } else { 500 }
    }
}

/// A piece of work, by us and by python-tuf.
#[derive(Debug, Serialize)]
struct Contest {
    work: &'static str,
    ours: Median,
    theirs: Median,
    /// The most that ours is to take.
    #[serde(skip_serializing_if = "Option::is_none")]
    goal: Option<Goal>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Goal {
    CpuSeconds(f64),
    WallSeconds(f64),
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Results {
    targets: usize,
    /// Python's start and its imports, which are part of what python-tuf takes.
    start_of_python: Median,
    contests: Vec<Contest>,
    /// A look with nothing new, by a process that was not there before.
    poll: Poll,
    hash: Hash,
    /// Bytes of the second of two builds: as it is, compressed, and as a patch for the first.
    patch: Lengths,
}

#[derive(Debug, Serialize)]
struct Poll {
    ours: Passed,
    theirs: Passed,
}

/// Bytes in a second of processor time. `openssl speed` hashes what it has in memory, and counts user
/// time; `openssl dgst` and ours read the file, for which the system takes time besides.
#[derive(Debug, Serialize)]
struct Hash {
    megabytes: usize,
    ours: Rate,
    openssl_dgst: Rate,
    openssl_speed: f64,
}

#[derive(Debug, Serialize)]
struct Rate {
    /// In a second of user time.
    hashing: f64,
    /// In a second of all time.
    with_reading: f64,
}

impl Rate {
    fn of(bytes: f64, runs: &[Run]) -> Self {
        let Median { user_seconds, cpu_seconds, .. } = Median::of(runs);
        Self { hashing: bytes / user_seconds, with_reading: bytes / cpu_seconds }
    }
}

#[derive(Debug, Default, Serialize)]
struct Lengths {
    from: String,
    to: String,
    full: u64,
    zst: u64,
    patch: u64,
}

/// What both work on.
struct Bench {
    ours: PathBuf,
    python: PathBuf,
    script: PathBuf,
    dir: PathBuf,
}

pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let bench = Bench::new(workspace, args)?;
    bench.prepare(args)?;
    let start_of_python = bench.theirs_median(args, &[&["nothing"]])?;
    let contests = bench.contests(args)?;
    let (poll, refresh) = bench.read(args)?;
    let results = Results {
        targets: args.targets(),
        start_of_python,
        contests: contests.into_iter().chain([refresh]).collect(),
        poll,
        hash: bench.hash(workspace, args)?,
        patch: bench.patch(workspace, args)?,
    };
    cleanup::remove(&bench.dir);
    match args.repeat.output {
        Output::Table => print(&results),
        Output::Json => {
            terminal::line(&serde_json::to_string_pretty(&results).context("could not write JSON")?)
        }
    }
    Ok(())
}

impl Bench {
    fn new(workspace: &Workspace, args: &Args) -> anyhow::Result<Self> {
        let ours = if args.quick {
            workspace.example(EXAMPLE.0, EXAMPLE.1)?
        } else {
            let on = (Target::of_this_machine()?, Purpose::Measuring);
            dist::example(workspace, on, EXAMPLE)?
        };
        let python = python::environment(workspace, "bench-updates", PYTHON_TUF)?.join("python");
        let script = workspace.root.join("xtask/src/bench/updates/python_tuf.py");
        let dir = workspace.scratch("bench-updates")?;
        cleanup::remove(&dir);
        fs::create_dir_all(&dir).context("could not make a folder for the benchmark")?;
        Ok(Self { ours, python, script, dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Small files, a large one, and a repository with nothing in it.
    fn prepare(&self, args: &Args) -> anyhow::Result<()> {
        for (folder, count) in [("files", args.targets()), ("more", 1), ("large", 0)] {
            let folder = self.path(folder);
            fs::create_dir_all(&folder).context("could not make a folder of files")?;
            for number in 0..count {
                let version = if count == 1 { "2.0.0".to_owned() } else { format!("1.0.{number}") };
                let content = format!("{version} ").repeat(200);
                fs::write(folder.join(version), &content[..1024])
                    .context("could not write a file")?;
            }
        }
        let block: Vec<u8> =
            (0..1_000_000_u32).map(|it| (it.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
        let large = block.repeat(args.megabytes());
        fs::write(self.path("large/3.0.0"), large).context("could not write a large file")?;
        self.ours(&["init", "empty"])?;
        Ok(())
    }

    /// Runs ours once. What looks like a path below the benchmark's folder is one.
    fn ours(&self, args: &[&str]) -> anyhow::Result<Run> {
        self.measured(&self.ours, args)
    }

    #[expect(clippy::disallowed_methods, reason = "it runs the tool that is measured")]
    fn measured(&self, program: &Path, args: &[&str]) -> anyhow::Result<Run> {
        let mut command = Command::new(program);
        if program == self.python {
            command.arg(&self.script);
        }
        command.args(args).current_dir(&self.dir).env("NO_PROXY", "127.0.0.1");
        Run::of(command)
    }

    fn theirs(&self, args: &[&str]) -> anyhow::Result<Run> {
        self.measured(&self.python, args)
    }

    /// One call for each round.
    fn theirs_median(&self, args: &Args, calls: &[&[&str]]) -> anyhow::Result<Median> {
        let runs = (0..args.rounds()).map(|round| self.theirs(calls[round % calls.len()]));
        Ok(Median::of(&runs.collect::<anyhow::Result<Vec<_>>>()?))
    }

    fn contests(&self, args: &Args) -> anyhow::Result<Vec<Contest>> {
        let (mut sign, mut add, mut timestamp) =
            <([Vec<Run>; 2], [Vec<Run>; 2], [Vec<Run>; 2])>::default();
        // Nothing is removed meanwhile: for minutes ext4 passes over the inodes of what was, which costs whoever
        // makes files more than making them.
        for round in 0..args.rounds() {
            let (ours, theirs) = (&*repository(round), &*format!("theirs-{round}"));
            copy(&self.path("empty"), &self.path(ours))?;
            sign[0].push(self.ours(&["add", ours, "files"])?);
            sign[1].push(self.theirs(&["sign", theirs, "files"])?);
            add[0].push(self.ours(&["add", ours, "more"])?);
            add[1].push(self.theirs(&["add", theirs, "more"])?);
            timestamp[0].push(self.ours(&["timestamp", ours])?);
            timestamp[1].push(self.theirs(&["timestamp", theirs])?);
        }
        let contest = |work, [ours, theirs]: &[Vec<Run>; 2], goal| Contest {
            work,
            ours: Median::of(ours),
            theirs: Median::of(theirs),
            goal: Some(goal),
        };
        Ok(vec![
            contest("sign all targets", &sign, Goal::CpuSeconds(0.6)),
            contest("add one to them", &add, Goal::WallSeconds(0.1)),
            contest("renew the timestamp", &timestamp, Goal::WallSeconds(0.01)),
        ])
    }

    /// Both read our repository: from nothing, and again.
    fn read(&self, args: &Args) -> anyhow::Result<(Poll, Contest)> {
        let repository = self.path(&repository(0)).join("repository");
        let server = Server::start(repository.clone())?;
        let root = repository.join("1.root.json");
        let root = root.to_str().context("the path is no text")?;
        let read = |program: &Path, cache: &str| {
            self.measured(program, &["refresh", root, &server.url, cache])
        };
        let mut medians = Vec::new();
        let mut polls = Vec::new();
        for program in [&self.ours, &self.python] {
            let mut runs = Vec::new();
            for _ in 0..args.rounds() {
                cleanup::remove(&self.path("cache"));
                runs.push(read(program, "cache")?);
            }
            server.take();
            read(program, "cache")?;
            polls.push(server.take());
            medians.push(Median::of(&runs));
        }
        let ([ours, theirs], [mine, others]) = (&medians[..], &polls[..]) else {
            bail!("there are not two readers");
        };
        let refresh =
            Contest { work: "read all metadata", ours: *ours, theirs: *theirs, goal: None };
        Ok((Poll { ours: *mine, theirs: *others }, refresh))
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
    fn hash(&self, workspace: &Workspace, args: &Args) -> anyhow::Result<Hash> {
        copy(&self.path("empty"), &self.path("hashed"))?;
        self.ours(&["add", "hashed", "large"])?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..args.rounds() {
            ours.push(self.ours(&["verify", "hashed"])?);
            let openssl = Path::new("openssl");
            theirs.push(self.measured(openssl, &["dgst", "-sha256", "large/3.0.0"])?);
        }
        let sh = &workspace.sh;
        let seconds = if args.quick { "1" } else { "3" };
        let told = cmd!(sh, "openssl speed -mr -seconds {seconds} -bytes 16384 -evp sha256");
        let told = told.quiet().ignore_stderr().read()?;
        let openssl = told.lines().find(|it| it.starts_with("+F:"));
        let openssl = openssl.and_then(|it| it.rsplit_once(':')?.1.parse().ok());
        let openssl = openssl.with_context(|| format!("openssl told no speed: {told}"))?;
        let bytes = args.megabytes() as f64 * 1e6;
        Ok(Hash {
            megabytes: args.megabytes(),
            ours: Rate::of(bytes, &ours),
            openssl_dgst: Rate::of(bytes, &theirs),
            openssl_speed: openssl,
        })
    }

    /// The lengths of what is published of the second of two builds.
    fn patch(&self, workspace: &Workspace, args: &Args) -> anyhow::Result<Lengths> {
        copy(&self.path("empty"), &self.path("patched"))?;
        let [from, to] = if args.quick { ["a text", "another"] } else { BUILDS };
        let mut told = String::new();
        for (build, version) in [(from, "1.0.0"), (to, "2.0.0")] {
            let file = match args.quick {
                true => self.text(version)?,
                false => python::tool(workspace, build)?.join("just"),
            };
            let (sh, ours, tuf) = (&workspace.sh, &self.ours, self.path("patched"));
            told = cmd!(sh, "{ours} pack {tuf} {file} {version}").quiet().read()?;
        }
        let mut lengths = Lengths { from: from.into(), to: to.into(), ..Lengths::default() };
        for (kind, length) in told.lines().filter_map(|line| line.split_once(' ')) {
            let length = length.parse().context("the length is no number")?;
            match kind {
                "zst" => lengths.zst = length,
                "patch" => lengths.patch = length,
                _ => lengths.full = length,
            }
        }
        Ok(lengths)
    }

    /// A file that is quickly made and packed, much the same in each version.
    fn text(&self, version: &str) -> anyhow::Result<PathBuf> {
        let numbers = (0..20_000_u32).map(|number| format!("{number} "));
        let path = self.path(&format!("text-{version}"));
        fs::write(&path, numbers.chain([version.to_owned()]).collect::<String>())
            .context("could not write a text")?;
        Ok(path)
    }
}

/// Our repository of a round.
fn repository(round: usize) -> String {
    format!("ours-{round}")
}

/// Copies a folder.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.context("could not list a folder")?;
        let inside = entry.path().strip_prefix(from).context("it lies elsewhere")?;
        let to = to.join(inside);
        if entry.file_type().is_dir() {
            fs::create_dir_all(&to).context("could not make a folder")?;
        } else {
            fs::copy(entry.path(), &to).context("could not copy a file")?;
        }
    }
    Ok(())
}

fn print(results: &Results) {
    terminal::heading(&format!("{} targets, medians; ours and python-tuf", results.targets));
    let start = &results.start_of_python;
    terminal::line(&format!("{:<22} {:>17}", "", "wall s    CPU s"));
    terminal::line(&format!(
        "{:<22} {:>8.3} {:>8.3}",
        "Python's own start", start.wall_seconds, start.cpu_seconds
    ));
    results.contests.iter().for_each(print_contest);
    print_read(&results.poll);
    print_hash(&results.hash);
    print_patch(&results.patch);
}

fn print_contest(Contest { work, ours, theirs, goal }: &Contest) {
    for (whose, median) in [("", ours), ("  python-tuf", theirs)] {
        let name = if whose.is_empty() { work } else { whose };
        let (wall, cpu) = (median.wall_seconds, median.cpu_seconds);
        terminal::line(&format!("{name:<22} {wall:>8.3} {cpu:>8.3}"));
    }
    let share = |ours, theirs| format!("{:>8.2}", ours / theirs);
    let wall = share(ours.wall_seconds, theirs.wall_seconds);
    let cpu = share(ours.cpu_seconds, theirs.cpu_seconds);
    terminal::line(&format!("{:<22} {wall} {cpu}", "  ours by python-tuf"));
    match goal {
        Some(Goal::CpuSeconds(most)) => print_goal("CPU s", ours.cpu_seconds, *most),
        Some(Goal::WallSeconds(most)) => print_goal("wall s", ours.wall_seconds, *most),
        None => {}
    }
}

fn print_goal(what: &str, found: f64, most: f64) {
    let verdict = if found <= most { "met" } else { "NOT met" };
    terminal::line(&format!("goal: at most {most} {what}: {found:.3}, {verdict}"));
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred bytes")]
fn print_read(Poll { ours, theirs }: &Poll) {
    terminal::heading("a look with nothing new, by a new process");
    for (whose, passed) in [("ours", ours), ("python-tuf", theirs)] {
        terminal::line(&format!(
            "{whose:<10} {} requests, {} connections, {} bytes received",
            passed.requests, passed.connections, passed.bytes
        ));
    }
    print_goal("requests", ours.requests as f64, 2.0);
    print_goal("connections", ours.connections as f64, 1.0);
    print_goal("bytes", ours.bytes as f64, 600.0);
}

fn print_hash(Hash { megabytes, ours, openssl_dgst, openssl_speed }: &Hash) {
    terminal::heading(&format!("{megabytes} MB hashed, MB in a second of processor time"));
    terminal::line(&format!("{:<22} {:>8} {:>13}", "", "hashing", "with reading"));
    for (name, rate) in [("ours", ours), ("openssl dgst", openssl_dgst)] {
        let (hashing, with_reading) = (rate.hashing / 1e6, rate.with_reading / 1e6);
        terminal::line(&format!("{name:<22} {hashing:>8.0} {with_reading:>13.0}"));
    }
    terminal::line(&format!("{:<22} {:>8.0}", "openssl speed", openssl_speed / 1e6));
    let share = ours.hashing / openssl_speed;
    let verdict = if share >= 0.9 { "met" } else { "NOT met" };
    let read = ours.with_reading / openssl_speed;
    terminal::line(&format!(
        "goal: hashing at least 0.9 of openssl speed: {share:.2}, {verdict}; with reading {read:.2}"
    ));
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
fn print_patch(Lengths { from, to, full, zst, patch }: &Lengths) {
    terminal::heading(&format!("from {from} to {to}"));
    let share = |length: &u64| 100.0 * *length as f64 / *full as f64;
    let patched = match patch {
        0 => "no patch, as it saves too little".to_owned(),
        patch => format!("patch {patch} ({:.1} %)", share(patch)),
    };
    let compressed = share(zst);
    terminal::line(&format!("full {full} bytes, compressed {zst} ({compressed:.1} %), {patched}"));
}
