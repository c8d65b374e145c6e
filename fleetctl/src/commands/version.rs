//! `fleetctl version`: which build this is.

use clap::Args;
use serde::Serialize;

use crate::{
    flags::Output,
    output::{Format, Shell, Table},
};

/// Prints the version
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  fleetctl version\n  fleetctl version --output json")]
pub(crate) struct VersionArgs {
    #[command(flatten)]
    output: Output,
}

/// What this build is.
#[derive(Debug, Serialize)]
struct Version {
    version: &'static str,
    os: &'static str,
    arch: &'static str,
}

const THIS: Version =
    Version { version: wire::VERSION, os: std::env::consts::OS, arch: std::env::consts::ARCH };

pub(crate) fn run(args: VersionArgs, shell: Shell) -> anyhow::Result<()> {
    match args.output.format {
        Format::Table => {
            shell.line(format!("fleetctl {} ({} {})", THIS.version, THIS.os, THIS.arch))
        }
        Format::Json | Format::Yaml => {
            shell.data(args.output.format, &THIS, |_| Table::properties([]))
        }
    }
}
