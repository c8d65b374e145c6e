//! Flags that commands share.

use std::path::PathBuf;

use clap::Args;

use crate::output::{Color, Format, Volume};

/// Flags of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Context to use instead of the current one
    #[arg(long, value_name = "NAME", env = "FLEET_CONTEXT", hide_env_values = true, global = true)]
    pub context: Option<String>,
    /// File of contexts [default: fleetctl/config.yaml in the user's configuration folder]
    #[arg(long, value_name = "FILE", env = "FLEET_CONFIG", hide_env_values = true, global = true)]
    pub config: Option<PathBuf>,
    /// Print data, warnings and errors only; of something new, its secret alone
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Tell what is being done
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// When to colour
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        global = true
    )]
    pub color: Color,
}

impl Global {
    /// How much to say.
    pub(crate) fn volume(&self) -> Volume {
        match (self.quiet, self.verbose) {
            (true, _) => Volume::Quiet,
            (false, true) => Volume::Verbose,
            (false, false) => Volume::Normal,
        }
    }
}

/// How data is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// How to print: table, json or yaml
    #[arg(
        id = "output",
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub format: Format,
}
