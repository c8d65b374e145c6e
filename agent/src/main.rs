//! Entry point of `orbit`: arguments in, exit code out.

mod cli;
mod failure;
mod output;
mod run;
mod takeover;

#[cfg(any(windows, target_os = "macos"))]
use std::io::Write as _;
use std::process::ExitCode;

#[cfg(any(windows, target_os = "macos"))]
use agent::log;
use agent::{
    config::{ConfigError, Sources},
    platform,
    status::Report,
    tasks::osqueryd,
};
use anyhow::Context as _;
use clap::Parser as _;
use wire::settings::{self, vars};

use crate::{
    cli::{Cli, Command},
    output::Output,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.command {
        None | Some(Command::Run) => Ok(run::in_foreground(&cli)),
        #[cfg(windows)]
        Some(Command::Service) => run::as_service(cli),
        #[cfg(any(windows, target_os = "macos"))]
        Some(Command::Installer(step)) => installer(&cli, *step),
        #[cfg(windows)]
        Some(Command::Hosted) => Ok(run::hosted(&cli)),
        Some(Command::Check) => run::check(&cli),
        Some(Command::Status { output }) => status(&cli, *output),
        Some(Command::Version { output }) => {
            output::print_version(*output, "orbit").map(|()| ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| ExitCode::from(failure::report(&error, &mut std::io::stderr())))
}

fn status(cli: &Cli, output: Output) -> anyhow::Result<ExitCode> {
    let mut sources = Sources::of_process(cli.variables(), cli.env_file.as_deref());
    if !sources.problems.is_empty() {
        return Err(ConfigError { problems: sources.problems }.into());
    }
    if cli.env_file.is_none() {
        sources.file = platform::installed_settings().context("could not read the settings")?;
    }
    sources.read_profile();
    let root = sources.root();
    let server = sources.lookup(vars::FLEET_URL).and_then(|url| settings::server_url(&url).ok());
    let osqueryd = runtime()?.block_on(osqueryd::version(&root));
    let report = Report::gather(&root, server, osqueryd, now());
    output::print(output, &report, Report::text)?;
    Ok(if report.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(any(windows, target_os = "macos"))]
fn installer(cli: &Cli, step: cli::InstallerStep) -> anyhow::Result<ExitCode> {
    use agent::installer;
    use wire::settings::files;
    let sources = Sources::of_process(cli.variables(), None);
    let root = sources.root();
    let outcome = match step {
        cli::InstallerStep::Configure => installer::configure(&root),
        #[cfg(windows)]
        cli::InstallerStep::Stop => installer::stop(&root),
        cli::InstallerStep::Purge => {
            return Ok(installer::purge(&root).map(|()| ExitCode::SUCCESS)?);
        }
    };
    // Nobody sees what a program says that Windows Installer starts.
    if let Err(error) = &outcome
        && cfg!(windows)
        && let Ok(mut log) =
            log::rotation::Rotating::open(&root.join(files::LOGS).join("installer.log"))
    {
        let _ = writeln!(log, "{} {}", now(), agent::complaints::explain(error));
    }
    outcome.map(|()| ExitCode::SUCCESS).map_err(Into::into)
}

pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")
}

#[expect(clippy::disallowed_methods, reason = "`status` is asked now")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
