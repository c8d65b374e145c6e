//! What looks and signs nothing: status, log, diff, verify, gc.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use update::{
    audit::audit,
    editor::{Difference, Freshness, Keep, Status, differences_between},
};

use super::signing::{PathArgs, open};
use crate::{
    commands::expiry::now,
    exit::Stop,
    flags::Output,
    output::{Table, time},
    session::Session,
};

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    path: PathArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    #[command(flatten)]
    path: PathArgs,
    /// Check that no entry was changed, and that all that is published was logged
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Folder of published files, as it was
    before: Utf8PathBuf,
    /// Folder of published files, as it is
    after: Utf8PathBuf,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    path: PathArgs,
    /// Folder of published files, where there is nothing else
    #[arg(long, value_name = "DIR", conflicts_with = "path")]
    repository: Option<Utf8PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    #[command(flatten)]
    path: PathArgs,
    /// List what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// How many earlier states to keep, however old
    #[arg(long, value_name = "NUMBER", default_value = "10")]
    states: usize,
    #[command(flatten)]
    output: Output,
}

/// Exit code 1: something is to be signed, which a scheduled job should tell somebody.
pub(crate) fn status(args: &StatusArgs, session: &Session) -> anyhow::Result<()> {
    let status = open(&args.path.path)?.status(now())?;
    session.shell.data(args.output.format, &status, status_table)?;
    if status.roles.iter().any(|it| it.state != Freshness::Valid) {
        return Err(Stop::Reported.into());
    }
    Ok(())
}

fn status_table(status: &Status) -> Table {
    let roles = status.roles.iter().map(|role| {
        let state = match role.state {
            Freshness::Valid => "until",
            Freshness::Expiring => "sign anew: until",
            Freshness::Expired => "expired:",
        };
        let keys = format!("{} of {} keys", role.threshold, role.keys.len());
        let until = format!("{state} {}", time(Some(role.expires)));
        [role.role.clone(), role.version.to_string(), keys, until]
    });
    let targets = status.targets.iter().map(|target| {
        let version = target.version.clone().unwrap_or_default();
        [target.name.clone(), version, target.role.clone(), format!("{} bytes", target.length)]
    });
    Table::list(["name", "version", "signed by", "state"], roles.chain(targets))
}

pub(crate) fn log(args: &LogArgs, session: &Session) -> anyhow::Result<()> {
    let editor = open(&args.path.path)?;
    let entries = editor.log().read()?;
    session.shell.data(args.output.format, &entries, |entries| {
        let rows = entries.iter().map(|it| {
            [it.number.to_string(), time(Some(it.time)), it.who.clone(), it.what.clone()]
        });
        Table::list(["number", "time", "who", "what"], rows)
    })?;
    if args.verify {
        editor.check_log()?;
        session.shell.done(format!("{} entries, none changed, none missing", entries.len()));
    }
    Ok(())
}

pub(crate) fn diff(args: &DiffArgs, session: &Session) -> anyhow::Result<()> {
    let is_there = |dir: &Utf8Path| dir.join("timestamp.json").is_file();
    for dir in [&args.before, &args.after] {
        if !is_there(dir) {
            let problem = format!("`{dir}` is not a folder of published files");
            return Err(Stop::usage(problem).into());
        }
    }
    let found = differences_between(&args.before, &args.after)?;
    session.shell.data(args.output.format, &found, |found| difference_table(found))
}

fn difference_table(found: &[Difference]) -> Table {
    let rows = found.iter().map(|it| {
        let shown = |value: &Option<String>| value.clone().unwrap_or_default();
        [it.role.clone(), it.subject.clone(), shown(&it.before), shown(&it.after)]
    });
    Table::list(["role", "what", "before", "after"], rows)
}

/// Exit code 1: a client cannot have everything.
pub(crate) async fn verify(args: &VerifyArgs, session: &Session) -> anyhow::Result<()> {
    let dir = args.repository.clone().unwrap_or_else(|| args.path.path.join("repository"));
    if !dir.join("1.root.json").is_file() {
        let problem = format!("`{dir}` has no `1.root.json` to begin with");
        return Err(Stop::usage(problem).into());
    }
    let found = audit(&dir, now()).await?;
    session.shell.data(args.output.format, &found, |found| {
        let roles = found.roles.iter().map(|(role, version)| format!("{role} {version}"));
        let about = [
            ("roles", roles.collect::<Vec<_>>().join(", ")),
            ("targets", format!("{}, {} bytes", found.targets, found.bytes)),
            ("problems", found.problems.join("; ")),
        ];
        Table::properties(about)
    })?;
    if found.problems.is_empty() { Ok(()) } else { Err(Stop::Reported.into()) }
}

pub(crate) fn gc(args: &GcArgs, session: &Session) -> anyhow::Result<()> {
    let keep = Keep { states: args.states, ..Keep::default() };
    let gone = open(&args.path.path)?.sweep(&keep, now(), args.dry_run)?;
    let head = if args.dry_run { "would be removed" } else { "removed" };
    session.shell.data(args.output.format, &gone, |gone| {
        Table::list([head], gone.iter().map(|path| [path.to_string()]))
    })
}
