//! Entry point of `orbit`: arguments in, exit code out.

mod cli;

use std::{io::Write as _, process::ExitCode};

use agent::{
    VERSION,
    config::{Config, ConfigError, Sources},
    driver::Agent,
    log::{self, Style},
    machine::Pace,
    platform::{self, StopRequests},
    status::Report,
    tasks::osqueryd,
};
use anyhow::Context as _;
use camino::Utf8Path;
use clap::Parser as _;
use tokio::sync::mpsc;
use wire::settings::{self, vars};

use crate::cli::{Cli, Command, Output};

/// sysexits(3): the unit does not restart an agent that ends with it.
const EX_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.command {
        None | Some(Command::Run) => run(&cli),
        Some(Command::Status { output }) => status(&cli, *output),
        Some(Command::Version { output }) => version(*output),
    };
    outcome.unwrap_or_else(|error| fail(&error))
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .expect("nothing has installed a provider before");
    let sources = Sources::of_process(cli.variables(), cli.env_file.as_deref());
    let config = Config::read(&sources)?;
    let style = Style { debug: config.settings.debug, journal: sources.stderr_is_journal() };
    tracing::subscriber::set_global_default(log::subscriber(style, std::io::stderr))
        .context("could not set up logging")?;
    tracing::info!(server.url = %config.connection.url, "orbit {VERSION} starts");
    let agent = Agent::open(config)?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let requests = StopRequests::listen().context("could not listen for signals")?;
        let (stop, stopped) = mpsc::channel(2);
        tokio::spawn(pass_on(requests, stop));
        agent.run(Pace::default(), fastrand::u64(..), stopped).await;
        anyhow::Ok(())
    })?;
    // A name that is being resolved holds a thread, and is not waited for.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

async fn pass_on(mut requests: StopRequests, stop: mpsc::Sender<()>) {
    loop {
        requests.next().await;
        if stop.send(()).await.is_err() {
            return;
        }
    }
}

fn status(cli: &Cli, output: Output) -> anyhow::Result<ExitCode> {
    let mut sources = Sources::of_process(cli.variables(), cli.env_file.as_deref());
    if !sources.problems.is_empty() {
        return Err(ConfigError { problems: sources.problems }.into());
    }
    let packaged = Utf8Path::new(platform::DEFAULT_ENV_FILE);
    if cli.env_file.is_none() && std::fs::File::open(packaged).is_ok() {
        sources.read_file(packaged);
    }
    let root = sources.root();
    let server = sources.lookup(vars::FLEET_URL).and_then(|url| settings::server_url(&url).ok());
    let osqueryd = runtime()?.block_on(osqueryd::version(&root));
    let report = Report::gather(&root, server, osqueryd, now());
    match output {
        Output::Text => print(&report.text())?,
        Output::Json => print_json(&report)?,
    }
    Ok(if report.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn version(output: Output) -> anyhow::Result<ExitCode> {
    match output {
        Output::Text => print(&format!("orbit {VERSION}\n"))?,
        Output::Json => print_json(&serde_json::json!({ "version": VERSION }))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")
}

#[expect(clippy::disallowed_methods, reason = "`status` is asked now")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("could not write to standard output")
}

fn fail(error: &anyhow::Error) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    let Some(config) = error.downcast_ref::<ConfigError>() else {
        let _ = writeln!(stderr, "error: {error:#}");
        return ExitCode::FAILURE;
    };
    let _ = writeln!(stderr, "error: the configuration cannot be used");
    for problem in &config.problems {
        let _ = writeln!(stderr, "  - {problem}");
    }
    let file = platform::DEFAULT_ENV_FILE;
    let _ = writeln!(stderr, "help: edit `{file}`, then run `systemctl restart orbit`");
    ExitCode::from(EX_CONFIG)
}
