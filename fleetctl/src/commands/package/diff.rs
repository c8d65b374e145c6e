//! `fleetctl package diff`: what is different between two packages.

use std::path::PathBuf;

use clap::Args;
use packager::read::{
    Contents,
    diff::{Difference, Part, between},
};

use super::reading;
use crate::{
    exit::Stop,
    flags::Output,
    output::{self, Table},
    session::Session,
};

const AFTER_HELP: &str = "\
Compares metadata, files (mode, owner, size, digest), scripts, settings and signatures. Secrets are
compared and never shown. Exit code 0: no difference; 1: some; 2: a file could not be read.

Examples:
  fleetctl package diff fleetd_1.2.2_amd64.deb fleetd_1.2.3_amd64.deb
  fleetctl package diff --output json old.msi new.msi";

/// Tells what is different between two packages
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DiffArgs {
    /// The package that there was before
    pub before: PathBuf,
    /// The package that there is now
    pub after: PathBuf,
    #[command(flatten)]
    pub output: Output,
}

pub(crate) fn run(args: &DiffArgs, session: &Session) -> anyhow::Result<()> {
    let read = |path| reading::open(path).map_err(|stop| Stop::usage(stop.to_string()));
    let (before, after) = (read(&args.before)?, read(&args.after)?);
    let mut differences = between(&before, &after);
    for difference in &mut differences {
        hide(difference, [&before, &after]);
    }
    let nothing = differences.is_empty();
    if args.output.format != output::Format::Table || !nothing {
        session.shell.data(args.output.format, &differences, |them| table(them))?;
    }
    if nothing { Ok(()) } else { Err(Stop::Reported.into()) }
}

/// Takes out what is secret in either package.
fn hide(difference: &mut Difference, packages: [&Contents; 2]) {
    for text in [&mut difference.before, &mut difference.after].into_iter().flatten() {
        for package in packages {
            *text = package.settings.hide_in(text);
        }
    }
}

fn table(differences: &[Difference]) -> Table {
    let row = |it: &Difference| {
        let part = format!("{:?}", it.part).to_lowercase();
        let name = match it.field {
            Some(field) => format!("{} ({field})", it.name),
            None => it.name.clone(),
        };
        let told = |text: &Option<String>| shown(it.part, text.as_deref());
        [part, name, told(&it.before), told(&it.after)]
    };
    Table::list(["part", "name", "before", "after"], differences.iter().map(row))
}

/// A script by its length, of everything else the first line.
fn shown(part: Part, text: Option<&str>) -> String {
    let text = text.unwrap_or_default();
    match (part, text.lines().count()) {
        (Part::Script, lines @ 1..) => format!("{lines} lines"),
        (_, 0 | 1) => text.to_owned(),
        (_, lines) => format!("{} ({lines} lines)", text.lines().next().unwrap_or_default()),
    }
}
