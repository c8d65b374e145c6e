//! `fleetctl`: the command line of fleetd.
//!
//! - [`cli`] describes the command line, [`commands`] does what it says.
//! - [`session`] is what commands share: the terminal, the contexts, a client for the server.
//! - [`client`] speaks the server's JSON interface, [`trust`] decides whom it believes.
//! - [`flags`] are those that commands share; [`switches`] lets switches take values, as Fleet's do.
//! - [`config`] keeps contexts and reads the environment.
//! - [`output`] prints everything, [`prompt`] asks, [`exit`] ends the process.
//!
//! **Invariant:** standard output carries data and nothing else; a secret is printed only where
//! the user has just made it.

mod bucket;
mod cli;
mod client;
mod commands;
mod config;
mod digest;
mod exit;
mod flags;
mod openpgp;
mod output;
mod prompt;
mod session;
mod switches;
mod trust;

use std::{ffi::OsString, process::ExitCode};

use clap::{
    Command, CommandFactory as _, FromArgMatches as _, builder::Resettable, error::ErrorKind,
};

use crate::{
    cli::Cli,
    config::is_empty_variable,
    exit::{ExitStatus, help_of, is_silent, status_of},
    output::{Color, Shell},
    session::Session,
};

/// musl's own has one lock for all threads, and is slow without others, too.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let shell = Shell::new(cli.global.color, cli.global.volume());
    let result =
        Session::new(cli.global, shell).and_then(|session| commands::run(cli.command, &session));
    match result {
        Ok(()) => ExitStatus::Success.into(),
        Err(error) => {
            if !is_silent(&error) {
                shell.error(&error, help_of(&error));
            }
            status_of(&error).into()
        }
    }
}

/// Reads the command line, in the colours it asks for.
fn parse() -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let shown = shown().color(color_in(&arguments).for_clap());
    let mut command = switches::with_values(shown.clone());
    let matches = command.try_get_matches_from_mut(&arguments);
    let mut matches = matches.map_err(|error| {
        let asked = matches!(
            error.kind(),
            ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        );
        asked.then(|| help(shown, &arguments)).flatten().unwrap_or(error)
    })?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// The command line as help shows it.
fn shown() -> Command {
    without_empty_variables(Cli::command())
}

/// The command line as it is parsed.
fn command() -> Command {
    switches::with_values(shown())
}

/// The help of `command` that `arguments` ask for.
fn help(command: Command, arguments: &[OsString]) -> Option<clap::Error> {
    command.try_get_matches_from(switches::without_values(arguments)).err()
}

/// `command`, for whose flags an empty variable counts as none, as for the variables read elsewhere:
/// CI systems set what has no value so.
fn without_empty_variables(command: Command) -> Command {
    command
        .mut_args(|argument| match argument.get_env() {
            Some(name) if is_empty_variable(name) => argument.env(Resettable::Reset),
            Some(_) | None => argument,
        })
        .mut_subcommands(without_empty_variables)
}

/// What `--color` says, known before the rest is understood: errors and help obey it too.
fn color_in(arguments: &[OsString]) -> Color {
    let texts: Vec<_> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let joined = texts.iter().find_map(|text| text.strip_prefix("--color="));
    let apart = texts.windows(2).find_map(|pair| (pair[0] == "--color").then_some(pair[1]));
    match joined.or(apart) {
        Some("always") => Color::Always,
        Some("never") => Color::Never,
        _ => Color::Auto,
    }
}

/// Prints help to standard output or a usage error to standard error.
fn usage(error: &clap::Error) -> ExitCode {
    // A reader that has gone away is no failure of ours.
    let _ = error.print();
    if error.use_stderr() { ExitStatus::Usage.into() } else { ExitStatus::Success.into() }
}
