//! `cargo xtask ci`: everything that CI runs, in its order, with times and counts at the end.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use xshell::{Cmd, cmd};

use crate::{
    acceptance, bench, codegen, conformance, demo, fuzz, platforms, release, terminal, tidy,
    workspace::Workspace,
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

/// Cheap steps first; those after `cargo test` use the programs that it has built.
const STEPS: &[Step] = &[
    Step { command: "cargo xtask tidy", run: |workspace, _| tidy::run(workspace) },
    Step { command: "cargo fmt --all --check", run: fmt },
    Step { command: "cargo clippy --workspace --all-targets --locked -- -D warnings", run: clippy },
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
    Step { command: "cargo xtask acceptance", run: acceptance },
    Step { command: "cargo xtask release check", run: release },
    Step { command: "cargo xtask demo", run: |workspace, _| demo::run(workspace) },
    Step { command: "cargo xtask platforms", run: platforms },
    Step {
        command: "cargo xtask bench package --quick",
        run: |workspace, _| bench::package(workspace, &bench::Args::quick()),
    },
];

/// Runs all steps; the first that fails ends it, with the command that repeats it.
#[expect(clippy::disallowed_methods, reason = "it measures how long the steps take")]
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let mut times = Vec::new();
    let mut counts = Counts::default();
    let mut outcome = Ok(());
    for step in STEPS {
        terminal::heading(&format!("== {}", step.command));
        let start = Instant::now();
        outcome = (step.run)(workspace, &mut counts)
            .with_context(|| format!("could not pass `{}`", step.command));
        times.push((step.command, start.elapsed()));
        if outcome.is_err() {
            counts.failed = counts.failed.max(1);
            break;
        }
    }
    summary(&times, counts);
    outcome
}

fn summary(times: &[(&str, Duration)], counts: Counts) {
    terminal::heading("== Times");
    for (command, time) in times {
        terminal::line(&format!("{:>7.1} s  {command}", time.as_secs_f64()));
    }
    let total: Duration = times.iter().map(|(_, time)| *time).sum();
    terminal::line(&format!("{:>7.1} s  in all", total.as_secs_f64()));
    terminal::line(&format!("\n{} passed, {} failed", counts.passed, counts.failed));
}

fn fmt(workspace: &Workspace, _: &mut Counts) -> anyhow::Result<()> {
    let sh = &workspace.sh;
    Ok(cmd!(sh, "cargo fmt --all --check").quiet().run()?)
}

fn clippy(workspace: &Workspace, _: &mut Counts) -> anyhow::Result<()> {
    let sh = &workspace.sh;
    let cmd = cmd!(sh, "cargo clippy --workspace --all-targets --locked --quiet -- -D warnings");
    Ok(cmd.quiet().run()?)
}

fn test(workspace: &Workspace, counts: &mut Counts) -> anyhow::Result<()> {
    let sh = &workspace.sh;
    counted(cmd!(sh, "cargo test --workspace --locked --no-fail-fast"), counts)?;
    workspace.tests_have_built();
    Ok(())
}

fn acceptance(workspace: &Workspace, counts: &mut Counts) -> anyhow::Result<()> {
    let outcome = acceptance::counted(workspace, &acceptance::Args::default());
    match &outcome {
        Ok(checks) => counts.passed += checks,
        Err(_) => counts.failed += 1,
    }
    outcome.map(|_| ())
}

fn release(workspace: &Workspace, counts: &mut Counts) -> anyhow::Result<()> {
    counts.passed += release::check::run(workspace)?;
    Ok(())
}

fn platforms(workspace: &Workspace, counts: &mut Counts) -> anyhow::Result<()> {
    counts.passed += platforms::counted(workspace, &platforms::Args::default())?;
    Ok(())
}

/// Runs `cargo test`, shows what it prints, and adds up its results.
fn counted(cmd: Cmd<'_>, counts: &mut Counts) -> anyhow::Result<()> {
    let mut command = Command::from(cmd);
    let mut child = command.stdout(Stdio::piped()).spawn().context("could not start cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;
    for line in BufReader::new(output).lines() {
        let line = line.context("could not read what cargo prints")?;
        if let Some(result) = test_result(&line) {
            counts.passed += result.passed;
            counts.failed += result.failed;
        }
        terminal::line(&line);
    }
    let status = child.wait().context("could not wait for cargo")?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_test_binaries_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(test_result(line), Some(Counts { passed: 12, failed: 3 }));
        assert_eq!(test_result("test walk ... ok"), None);
    }
}
