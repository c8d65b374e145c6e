//! Entry point of `orbit`: arguments in, exit code out.

mod cli;
#[cfg(target_os = "linux")]
mod enroll;
mod failure;
mod output;
mod run;
mod takeover;
mod waiting;

#[cfg(any(windows, target_os = "macos"))]
use std::io::Write as _;
use std::{ffi::OsString, process::ExitCode};

#[cfg(any(windows, target_os = "macos"))]
use agent::log;
use agent::{
    config::{Config, ConfigError, Sources},
    doctor::Diagnosis,
    platform,
    secrets::{self, SecretSource, Secrets},
    status::{Lock, Report},
    tasks::osqueryd,
};
use anyhow::Context as _;
use camino::Utf8PathBuf;
use clap::Parser as _;
use wire::settings::{self, files, vars};

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
        Some(Command::Doctor { output }) => doctor(&cli, *output),
        Some(Command::Shell { arguments }) => shell(&cli, arguments),
        Some(Command::ResetIdentity) => reset_identity(&cli),
        #[cfg(target_os = "linux")]
        Some(Command::Enroll { enroll_secret_file, no_start }) => {
            enroll::run(&cli, enroll_secret_file, *no_start)
        }
        Some(Command::Version { output }) => {
            output::print_version(*output, "orbit").map(|()| ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| ExitCode::from(failure::report(&error, &mut std::io::stderr())))
}

/// The settings that the installed service starts with, whoever asks.
fn installed(cli: &Cli) -> anyhow::Result<Sources> {
    let mut sources = Sources::of_process(cli.variables(), cli.env_file.as_deref());
    if !sources.problems.is_empty() {
        return Err(ConfigError { problems: sources.problems }.into());
    }
    if cli.env_file.is_none() {
        sources.file = platform::installed_settings().context("could not read the settings")?;
    }
    sources.read_profile();
    Ok(sources)
}

fn status(cli: &Cli, output: Output) -> anyhow::Result<ExitCode> {
    let sources = installed(cli)?;
    let root = sources.root();
    let server = sources.lookup(vars::FLEET_URL).and_then(|url| settings::server_url(&url).ok());
    let osqueryd = runtime()?.block_on(osqueryd::version(&root));
    let report = Report::gather(&sources.home(), server, osqueryd, now());
    output::print(output, &report, Report::text)?;
    Ok(if report.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn doctor(cli: &Cli, output: Output) -> anyhow::Result<ExitCode> {
    use_crypto();
    let sources = installed(cli)?;
    let config = Config::read(&sources);
    let diagnosis = runtime()?.block_on(Diagnosis::make(&sources.root(), config.as_ref(), now));
    output::print(output, &diagnosis, Diagnosis::text)?;
    Ok(if diagnosis.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn shell(cli: &Cli, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let sources = installed(cli)?;
    // They are root's alone to read; others go without.
    let wishes = sources.home().load_flags().unwrap_or_default();
    let ended = runtime()?.block_on(osqueryd::shell(&sources.root(), &wishes, arguments))?;
    // A shell that a signal has ended has no code.
    Ok(ExitCode::from(ended.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

fn reset_identity(cli: &Cli) -> anyhow::Result<ExitCode> {
    let sources = installed(cli)?;
    let root = sources.root();
    let _lock = Lock::take(&root).context("stop the service first")?;
    let own = sources.lookup(vars::OSQUERY_DB).map(Utf8PathBuf::from);
    let database = own.unwrap_or_else(|| root.join(files::OSQUERY_DB));
    let source = SecretSource::Packaged(secrets::packaged(&root));
    Secrets::new(source, sources.vault()).release().context("could not leave the enroll secret")?;
    sources.home().forget(&database)?;
    Ok(ExitCode::SUCCESS)
}

/// The one library for TLS.
pub(crate) fn use_crypto() {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .expect("nothing has installed a provider before");
}

#[cfg(any(windows, target_os = "macos"))]
fn installer(cli: &Cli, step: cli::InstallerStep) -> anyhow::Result<ExitCode> {
    use agent::installer;
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

#[expect(clippy::disallowed_methods, reason = "what is told of is told of now")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
