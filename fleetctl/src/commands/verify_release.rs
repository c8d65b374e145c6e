//! `fleetctl verify-release`: whether what was downloaded is what was released.
//!
//! [`seal`] checks the signature over the checksums; what they name is compared with the files
//! that are there in [`sums`]; [`claims`] reads what the release says about itself.

mod claims;
mod seal;
mod sums;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use minisign_verify::PublicKey;
use serde::Serialize;

use self::sums::{File, Sums};
use crate::{
    exit::Stop,
    flags::Output,
    output::{Format, Shell, Table, clean},
};

/// Checks that a downloaded release is whole, unchanged, and signed by whom you trust
///
/// Verifies the signature over SHA256SUMS, compares every file with it, and reads the provenance
/// and the bills of materials. The signature is minisign's, the rest is plain: `minisign -V` and
/// `sha256sum --check` come to the same result.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fleetctl verify-release ./fleetd-0.1.0 --public-key fleetd.pub
  fleetctl verify-release --public-key RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3 \\
      fleetd-0.1.0-x86_64-unknown-linux-musl.tar.zst --expect-version 0.1.0 --output json")]
pub(crate) struct VerifyReleaseArgs {
    /// Folder of a release, or some of its files beside their SHA256SUMS
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    paths: Vec<PathBuf>,
    /// Key of those who make releases: minisign's, or the file that has it
    #[arg(long, value_name = "KEY|FILE")]
    public_key: String,
    /// Version that it must be: an old release is signed, too
    #[arg(long, value_name = "VERSION")]
    expect_version: Option<String>,
    /// Accept that files of the release are not there
    #[arg(long)]
    ignore_missing: bool,
    #[command(flatten)]
    output: Output,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    ok: bool,
    /// Of the release, as its signature says.
    version: Option<String>,
    commit: Option<String>,
    /// Who built it, as the provenance says.
    builder: Option<String>,
    checks: Vec<Check>,
    files: Vec<File>,
}

/// One of the questions that were asked.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    ok: bool,
    /// What was found; each problem on its own.
    details: Vec<String>,
}

impl Check {
    /// Holds if there is no problem, and then tells `found`.
    fn new(check: &'static str, problems: Vec<String>, found: impl Into<String>) -> Self {
        let ok = problems.is_empty();
        Self { check, ok, details: if ok { vec![found.into()] } else { problems } }
    }
}

/// Which files to look at.
#[derive(Debug)]
struct Scope {
    /// The folder with `SHA256SUMS` in it.
    dir: PathBuf,
    /// Names of files; none means all.
    names: Vec<String>,
    /// Whether files may be missing.
    partial: bool,
}

pub(crate) fn run(args: &VerifyReleaseArgs, shell: Shell) -> anyhow::Result<()> {
    let scope = scope(args)?;
    let key = seal::public_key(&args.public_key)?;
    let findings = examine(&scope, &key, args.expect_version.as_deref())?;
    match args.output.format {
        Format::Table => show(&findings, shell)?,
        Format::Json | Format::Yaml => {
            shell.data(args.output.format, &findings, |_| Table::properties([]))?;
        }
    }
    if findings.ok { Ok(()) } else { Err(Stop::Reported.into()) }
}

/// Understands the paths: one folder, or files of one folder.
fn scope(args: &VerifyReleaseArgs) -> anyhow::Result<Scope> {
    let scope = match args.paths.as_slice() {
        [dir] if dir.is_dir() => {
            Scope { dir: dir.clone(), names: Vec::new(), partial: args.ignore_missing }
        }
        files => some_files(files)?,
    };
    let sums = scope.dir.join(sums::NAME);
    if !sums.is_file() {
        return Err(Stop::Usage {
            problems: vec![format!("`{}` is not there", sums.display())],
            help: Some(format!("download {0} and {0}.minisig of the release, too", sums::NAME)),
        }
        .into());
    }
    Ok(scope)
}

fn some_files(files: &[PathBuf]) -> anyhow::Result<Scope> {
    let mut problems = Vec::new();
    let mut names = Vec::new();
    let folder = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
    let dir = files.first().map(|path| folder(path)).unwrap_or_default();
    for path in files {
        match path.file_name().and_then(|name| name.to_str()) {
            _ if path.is_dir() => problems.push(format!("`{}` is a folder", path.display())),
            _ if !path.is_file() => problems.push(format!("`{}` is not there", path.display())),
            _ if folder(path) != dir => {
                problems.push(format!("`{}` is in another folder", path.display()));
            }
            Some(name) => names.push(name.to_owned()),
            None => problems.push(format!("`{}` is no name of a file", path.display())),
        }
    }
    if !problems.is_empty() {
        let help = Some("give one folder, or files of one folder".to_owned());
        return Err(Stop::Usage { problems, help }.into());
    }
    let dir = if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir };
    Ok(Scope { dir, names, partial: true })
}

/// Asks everything. Nothing is asked of a release whose signature is not good.
fn examine(scope: &Scope, key: &PublicKey, expected: Option<&str>) -> anyhow::Result<Findings> {
    let path = scope.dir.join(sums::NAME);
    let text =
        std::fs::read(&path).with_context(|| format!("could not read `{}`", path.display()))?;
    let mut findings = Findings {
        ok: false,
        version: None,
        commit: None,
        builder: None,
        checks: Vec::new(),
        files: Vec::new(),
    };
    let (check, seal) = seal::check(&scope.dir, &text, key);
    findings.checks.push(check);
    if let Some(seal) = seal {
        findings.checks.extend(seal.check_version(expected));
        let (check, sums) = Sums::parse(&text);
        findings.checks.extend(check);
        if let Some(sums) = sums {
            findings.files = sums::compare(scope, &sums)?;
            findings.checks.push(sums::check(scope, &findings.files));
            let (check, builder) = claims::provenance(&scope.dir, &sums, &seal);
            findings.checks.extend(check);
            findings.checks.push(claims::bills(&scope.dir, &findings.files, &sums));
            findings.builder = builder;
        }
        (findings.version, findings.commit) = (seal.version, seal.commit);
    }
    findings.ok = findings.checks.iter().all(|check| check.ok);
    Ok(findings)
}

fn show(findings: &Findings, shell: Shell) -> anyhow::Result<()> {
    for Check { check, ok, details } in &findings.checks {
        let mark = if *ok { "ok" } else { "FAILED" };
        for (number, detail) in details.iter().enumerate() {
            let (mark, check) = if number == 0 { (mark, *check) } else { ("", "") };
            shell.line(format!("{mark:<7} {check:<10} {}", clean(detail)))?;
        }
    }
    Ok(())
}
