//! `cargo xtask ci`: everything that CI runs, with times and counts at the end.
//!
//! Steps that mostly wait, for containers and emulators, run beside those that compute; what a step
//! prints stays together.

use std::{
    env,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, ExitCode, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use xshell::{Cmd, cmd};

use crate::{
    bench,
    cleanup::Cleanup,
    codegen, conformance, demo, fuzz,
    process::{Daemon, wait_until},
    release, terminal, tidy,
    workspace::{self, Workspace},
};

/// Tests and checks that a step ran.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

/// A step: how to repeat it, and what it does.
struct Step {
    command: &'static str,
    run: fn(&Workspace, &mut Counts) -> anyhow::Result<()>,
}

const LINTS: &str = "cargo clippy --workspace --all-targets --locked --quiet -- -D warnings";

/// Before anything is run.
const FIRST: &[Step] = &[
    Step { command: "cargo xtask tidy", run: |workspace, _| tidy::run(workspace) },
    Step { command: "cargo fmt --all --check", run: fmt },
];

/// What compiles everything that the rest runs.
const BUILD: Step = Step { command: "cargo test --workspace --locked --no-run", run: build };

/// With what was built, one after the other.
const HERE: &[Step] = &[
    Step { command: "cargo test --workspace --locked --no-fail-fast", run: test },
    Step {
        command: "cargo xtask codegen --check",
        run: |workspace, _| codegen::run(workspace, &codegen::Args { check: true }),
    },
    Step { command: "cargo xtask conformance", run: |workspace, _| conformance::run(workspace) },
    Step {
        command: "cargo xtask fuzz --seconds 15",
        run: |workspace, _| fuzz::run(workspace, &fuzz::Args::quick()),
    },
    Step { command: "cargo xtask release check", run: release },
    Step { command: "cargo xtask demo", run: |workspace, _| demo::run(workspace) },
    Step {
        command: "cargo xtask bench package --quick",
        run: |workspace, _| bench::package(workspace, &bench::Args::quick()),
    },
    Step {
        command: "cargo xtask bench updates --quick",
        run: |workspace, _| bench::updates_quickly(workspace),
    },
    Step {
        command: "cargo xtask bench agent --quick",
        run: |workspace, _| bench::agent_quickly(workspace),
    },
];

/// With what was built, beside [`HERE`], one after the other, each in a process of its own.
const BESIDE: &[&str] = &["cargo xtask acceptance", "cargo xtask platforms"];

/// What has been run so far.
struct Record {
    start: Instant,
    times: Vec<(&'static str, Duration)>,
    counts: Counts,
    failures: Vec<anyhow::Error>,
}

/// Runs `prepare`, whose code is given if it is no success, and all steps. Nothing is begun after a
/// step has failed, and what runs beside it comes to its end; each failure is told with the command
/// that repeats it.
pub(crate) fn run(
    workspace: &Workspace,
    prepare: impl FnOnce() -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let mut record = Record::new();
    // Building puts another file in this one's place, and the system then says that it is gone.
    let itself = env::current_exe().context("could not find this program")?;
    let lints = Beside::start(workspace, &itself, LINTS)?;
    let code = prepare()?;
    if code != ExitCode::SUCCESS {
        return Ok(code);
    }
    record.run(workspace, FIRST);
    // Cargo lets one command at a time build, so that those which build wait for the lints.
    record.join(lints.finish());
    record.run(workspace, &[BUILD]);
    if record.failures.is_empty() {
        thread::scope(|scope| -> anyhow::Result<()> {
            let workspace_beside = Workspace::new()?;
            let beside = scope.spawn(move || {
                let start = |command| Beside::start(&workspace_beside, &itself, command);
                let run = |command| start(command)?.finish();
                BESIDE.iter().copied().map(run).collect::<Vec<_>>()
            });
            record.run(workspace, HERE);
            let finished = beside.join().map_err(|_| anyhow!("a thread of steps panicked"))?;
            finished.into_iter().for_each(|it| record.join(it));
            Ok(())
        })?;
    }
    record.summary()?;
    Ok(ExitCode::SUCCESS)
}

impl Record {
    #[expect(clippy::disallowed_methods, reason = "it measures how long everything takes")]
    fn new() -> Self {
        let (times, failures) = (Vec::new(), Vec::new());
        Self { start: Instant::now(), times, counts: Counts::default(), failures }
    }

    /// Runs `steps` until one fails, and none if one has.
    #[expect(clippy::disallowed_methods, reason = "it measures how long the steps take")]
    fn run(&mut self, workspace: &Workspace, steps: &[Step]) {
        for step in steps {
            if !self.failures.is_empty() {
                return;
            }
            terminal::heading(&format!("== {}", step.command));
            let start = Instant::now();
            let outcome = (step.run)(workspace, &mut self.counts);
            self.note(step.command, start.elapsed(), outcome);
        }
    }

    /// Shows what a step that ran beside others has printed, and takes its outcome.
    fn join(&mut self, finished: anyhow::Result<Finished>) {
        let finished = match finished {
            Ok(finished) => finished,
            Err(error) => return self.failures.push(error),
        };
        terminal::heading(&format!("== {}", finished.command));
        terminal::line(finished.output.trim_end());
        let outcome = match finished.status.success() {
            true => Ok(()),
            false => Err(anyhow!("it ended with {}", finished.status)),
        };
        let results = finished.output.lines().rev().find_map(counts);
        let results = results.unwrap_or_default();
        self.counts.passed += results.passed;
        self.note(finished.command, finished.time, outcome);
    }

    fn note(&mut self, command: &'static str, time: Duration, outcome: anyhow::Result<()>) {
        self.times.push((command, time));
        if let Err(error) = outcome {
            self.failures.push(error.context(format!("could not pass `{command}`")));
        }
    }

    /// Prints times and counts; fails if a step has.
    fn summary(mut self) -> anyhow::Result<()> {
        terminal::heading("== Times");
        for (command, time) in &self.times {
            terminal::line(&format!("{:>7.1} s  {command}", time.as_secs_f64()));
        }
        let all = self.start.elapsed().as_secs_f64();
        terminal::line(&format!("{all:>7.1} s  in all, as some run beside others"));
        let failed = self.counts.failed.max(self.failures.len());
        terminal::line(&format!("\n{} passed, {failed} failed", self.counts.passed));
        let last = self.failures.pop();
        for error in &self.failures {
            terminal::error(&format!("{error:#}"));
        }
        last.map_or(Ok(()), Err)
    }
}

/// A step that runs beside others.
struct Beside {
    command: &'static str,
    start: Instant,
    daemon: Daemon,
}

/// What became of it.
struct Finished {
    command: &'static str,
    time: Duration,
    status: ExitStatus,
    output: String,
}

/// How long a step beside others may take; each takes a quarter of this on two processors.
const LIMIT: Duration = Duration::from_secs(45 * 60);

/// How long `cargo test` may print nothing; the longest test takes a third of this on two processors.
const SILENCE: Duration = Duration::from_secs(10 * 60);

impl Beside {
    /// Starts `command`, words without spaces in them; `cargo xtask` is `itself`.
    #[expect(clippy::disallowed_methods, reason = "it measures how long the step takes")]
    fn start(workspace: &Workspace, itself: &Path, command: &'static str) -> anyhow::Result<Self> {
        let mut words = command.split(' ').skip(1).peekable();
        let program = match words.next_if_eq(&"xtask") {
            Some(_) => itself,
            None => Path::new("cargo"),
        };
        let mut process = Command::new(program);
        process.args(words).current_dir(&workspace.root).env(workspace::BUILT, "1");
        let log = workspace.scratch("ci")?.join(format!("{}.log", command.replace([' ', '-'], "")));
        let daemon = Daemon::start(command, process, &log)?;
        Ok(Self { command, start: Instant::now(), daemon })
    }

    /// Waits for its end.
    fn finish(self) -> anyhow::Result<Finished> {
        let status = wait_until(LIMIT, || self.daemon.ended())?;
        let status = status.with_context(|| {
            format!("`{}` does not end; so far:\n{}", self.command, self.daemon.output())
        })?;
        let (time, output) = (self.start.elapsed(), self.daemon.output());
        Ok(Finished { command: self.command, time, status, output })
    }
}

fn fmt(workspace: &Workspace, _: &mut Counts) -> anyhow::Result<()> {
    let sh = &workspace.sh;
    Ok(cmd!(sh, "cargo fmt --all --check").quiet().run()?)
}

fn build(workspace: &Workspace, _: &mut Counts) -> anyhow::Result<()> {
    let sh = &workspace.sh;
    cmd!(sh, "cargo test --workspace --locked --no-run").quiet().run()?;
    workspace.tests_have_built();
    Ok(())
}

fn test(workspace: &Workspace, counts: &mut Counts) -> anyhow::Result<()> {
    let sh = &workspace.sh;
    counted(cmd!(sh, "cargo test --workspace --locked --no-fail-fast"), counts)
}

fn release(workspace: &Workspace, counts: &mut Counts) -> anyhow::Result<()> {
    counts.passed += release::check::run(workspace)?;
    Ok(())
}

/// Runs `cargo test`, shows what it prints, and adds up its results. What prints nothing for
/// [`SILENCE`] hangs and is killed.
fn counted(cmd: Cmd<'_>, counts: &mut Counts) -> anyhow::Result<()> {
    let mut command = Command::from(cmd);
    command.stdout(Stdio::piped()).process_group(0);
    let mut child = command.spawn().context("could not start cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let group = group.context("cargo has no process ID")?;
    let killed = Cleanup::new(move || {
        let _gone = kill_process_group(group, Signal::KILL);
    });
    let (sender, printed) = mpsc::channel();
    let reader = thread::spawn(move || {
        BufReader::new(output).lines().try_for_each(|line| sender.send(line))
    });
    loop {
        let line = match printed.recv_timeout(SILENCE) {
            Ok(line) => line.context("could not read what cargo prints")?,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let minutes = SILENCE.as_secs() / 60;
                bail!("nothing was printed for {minutes} minutes: the last test named above hangs");
            }
        };
        if let Some(result) = test_result(&line) {
            counts.passed += result.passed;
            counts.failed += result.failed;
        }
        terminal::line(&line);
    }
    let status = child.wait().context("could not wait for cargo")?;
    drop(killed);
    let _all_received = reader.join();
    if !status.success() {
        bail!("{} tests failed", counts.failed);
    }
    Ok(())
}

/// Reads the line that closes a test binary's output:
/// `test result: ok. 12 passed; 0 failed; 0 ignored; …`.
fn test_result(line: &str) -> Option<Counts> {
    let (_, results) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |word: &str| {
        let part = results.split("; ").find_map(|part| part.strip_suffix(word))?;
        part.trim().parse().ok()
    };
    Some(Counts { passed: count("passed")?, failed: count("failed")? })
}

/// Reads the line that closes a task's output: `12 passed, 0 failed`.
fn counts(line: &str) -> Option<Counts> {
    let (passed, failed) = line.strip_suffix(" failed")?.split_once(" passed, ")?;
    Some(Counts { passed: passed.parse().ok()?, failed: failed.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_test_binaries_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(test_result(line), Some(Counts { passed: 12, failed: 3 }));
        assert_eq!(test_result("test walk ... ok"), None);
        assert_eq!(counts("12 passed, 3 failed"), Some(Counts { passed: 12, failed: 3 }));
        assert_eq!(counts("  ok     the service runs"), None);
    }
}
