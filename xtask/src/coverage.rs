//! `cargo xtask coverage`: which lines of the agent's state machine its tests reach. LLVM counts, with
//! the tools that rustup has for the compiler; of what is compiled, our own crates alone count.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use xshell::cmd;

use crate::{
    terminal::{self, Output},
    workspace::Workspace,
};

/// What is measured: a file and a folder.
const MEASURED: [&str; 2] = ["agent/src/machine.rs", "agent/src/machine"];

/// The tests that are about it, by how their names begin.
const TESTS: [&str; 2] = ["story::", "walk::"];

/// The share of lines that the tests are to reach at least, in percent.
const GOAL: f64 = 95.0;

/// Cargo has it call the compiler for crates of this workspace, and keeps what comes of it apart from
/// what is compiled as usual. Dependencies stay as they are. Other shells than bash take away variables
/// whose names have a hyphen, as `CARGO_BIN_EXE_fleet-desktop` has.
const COMPILER: &str = "#!/bin/bash\nexec \"$@\" -Cinstrument-coverage\n";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How to print what was measured
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// A file of what is measured.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Measured {
    file: String,
    /// How many of its lines are code that runs.
    lines: u32,
    /// Those of them that no test reaches.
    missed: Vec<u32>,
}

/// What cargo says of something that it has built.
#[derive(Debug, Deserialize)]
struct Built {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
}

/// Runs the tests, prints which lines they reach, and fails if those are too few.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let files = measure(workspace)?;
    match args.output {
        Output::Table => print(&files),
        Output::Json => {
            terminal::line(&serde_json::to_string_pretty(&files).context("could not write JSON")?)
        }
    }
    check(&files)
}

fn measure(workspace: &Workspace) -> anyhow::Result<Vec<Measured>> {
    let sh = &workspace.sh;
    let tools = tools(workspace)?;
    let (profdata, cov) = (tools.join("llvm-profdata"), tools.join("llvm-cov"));
    let folder = workspace.scratch("coverage")?;
    let program = build(workspace, &folder)?;
    let (raw, profile) = (folder.join("tests.profraw"), folder.join("tests.profdata"));
    let run = cmd!(sh, "{program} {TESTS...}").env("LLVM_PROFILE_FILE", &raw);
    let ran = run.quiet().ignore_status().output()?;
    if !ran.status.success() {
        bail!("tests of the state machine fail:\n{}", String::from_utf8_lossy(&ran.stdout));
    }
    cmd!(sh, "{profdata} merge --sparse --output={profile} {raw}").quiet().run()?;
    let report = cmd!(sh, "{cov} export --format=lcov --instr-profile={profile} {program}");
    read(&report.quiet().read()?, &workspace.root)
}

/// Where LLVM's tools are that fit the compiler.
fn tools(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let sh = &workspace.sh;
    let libraries = cmd!(sh, "rustc --print target-libdir").quiet().read()?;
    let tools = Path::new(&libraries).with_file_name("bin");
    ensure!(
        tools.join("llvm-cov").is_file(),
        "`{}` has no llvm-cov; run `rustup component add llvm-tools`",
        tools.display()
    );
    Ok(tools)
}

/// Builds the agent's tests so that they count, and gives their program.
fn build(workspace: &Workspace, folder: &Path) -> anyhow::Result<PathBuf> {
    let compiler = folder.join("rustc");
    fs::write(&compiler, COMPILER)
        .and_then(|()| fs::set_permissions(&compiler, Permissions::from_mode(0o755)))
        .with_context(|| format!("could not write `{}`", compiler.display()))?;
    let sh = &workspace.sh;
    let tests = ["--package", "fleetd-agent", "--test", "it"];
    let format = "--message-format=json-render-diagnostics";
    let build = cmd!(sh, "cargo test --locked --quiet {tests...} --no-run {format}");
    let told = build.env("RUSTC_WORKSPACE_WRAPPER", &compiler).quiet().read()?;
    // Lines about anything else do not parse.
    let built = told.lines().filter_map(|line| serde_json::from_str::<Built>(line).ok());
    let mut programs = built.filter(|it| it.target.name == "it").filter_map(|it| it.executable);
    programs.next().context("cargo does not say where the agent's tests are")
}

/// Reads a report in LCOV's format: what it says of files that are measured.
fn read(report: &str, root: &Path) -> anyhow::Result<Vec<Measured>> {
    let mut files = report
        .split("end_of_record")
        .filter_map(|record| read_one(record, root).transpose())
        .collect::<anyhow::Result<Vec<_>>>()?;
    files.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(files)
}

fn read_one(record: &str, root: &Path) -> anyhow::Result<Option<Measured>> {
    let Some(path) = record.lines().find_map(|line| line.strip_prefix("SF:")) else {
        return Ok(None);
    };
    let path = Path::new(path);
    let path = path.strip_prefix(root).unwrap_or(path);
    if !MEASURED.iter().any(|it| path.starts_with(it)) {
        return Ok(None);
    }
    let mut measured =
        Measured { file: path.to_string_lossy().into_owned(), lines: 0, missed: Vec::new() };
    for line in record.lines().filter_map(|line| line.strip_prefix("DA:")) {
        let (number, times) =
            line.split_once(',').with_context(|| format!("llvm-cov tells `{line}` of a line"))?;
        measured.lines += 1;
        if times == "0" {
            let number = number.parse();
            measured.missed.push(number.context("llvm-cov numbers a line with no number")?);
        }
    }
    Ok(Some(measured))
}

/// Fails if the tests reach too few lines of all `files` together.
fn check(files: &[Measured]) -> anyhow::Result<()> {
    let (lines, missed) = sums(files);
    ensure!(lines > 0, "llvm-cov tells nothing of `{}`", MEASURED.join("` and `"));
    let reached = percent(lines, missed);
    ensure!(
        reached >= GOAL,
        "the tests reach {reached:.1} % of the lines of the agent's state machine, and are to reach \
         {GOAL} %: write some for the lines named above"
    );
    Ok(())
}

fn print(files: &[Measured]) {
    terminal::line(&format!("{:<34} {:>5}  {:>7}  not reached", "file", "lines", "reached"));
    for Measured { file, lines, missed } in files {
        let numbers: Vec<_> = missed.iter().map(u32::to_string).collect();
        print_row(file, *lines, count(missed), &numbers.join(", "));
    }
    let (lines, missed) = sums(files);
    print_row("all", lines, missed, "");
}

fn print_row(name: &str, lines: u32, missed: u32, note: &str) {
    let row = format!("{name:<34} {lines:>5}  {:>5.1} %  {note}", percent(lines, missed));
    terminal::line(row.trim_end());
}

/// How many lines there are, and how many of them no test reaches.
fn sums(files: &[Measured]) -> (u32, u32) {
    let missed = files.iter().map(|it| count(&it.missed)).sum();
    (files.iter().map(|it| it.lines).sum(), missed)
}

fn count(lines: &[u32]) -> u32 {
    u32::try_from(lines.len()).unwrap_or(u32::MAX)
}

fn percent(lines: u32, missed: u32) -> f64 {
    f64::from(lines - missed) * 100.0 / f64::from(lines.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: u32, missed: u32) -> Measured {
        Measured { file: "agent/src/machine.rs".into(), lines, missed: (1..=missed).collect() }
    }

    #[test]
    fn a_report_tells_of_the_machine_alone_and_of_the_lines_that_no_test_reaches() {
        let report = "SF:/src/agent/src/machine/pace.rs\nFN:3,pace\nDA:3,7\nDA:4,0\nDA:9,10\n\
                      LF:3\nLH:2\nend_of_record\nSF:/src/agent/src/machine.rs\nDA:5,1\n\
                      end_of_record\nSF:/src/agent/src/machinery.rs\nDA:5,0\nend_of_record\n";
        let read = read(report, Path::new("/src")).unwrap();
        let pace = Measured { file: "agent/src/machine/pace.rs".into(), lines: 3, missed: vec![4] };
        assert_eq!(read, [of(1, 0), pace]);
    }

    #[test]
    fn too_few_lines_fail_and_so_does_a_report_without_any() {
        assert!(check(&[of(100, 5)]).is_ok());
        assert!(check(&[of(100, 6)]).is_err());
        assert!(check(&[of(100, 0), of(20, 10)]).is_err(), "all together count");
        assert!(check(&[]).is_err());
    }
}
