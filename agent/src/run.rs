//! `orbit run` and the service: the agent, from its settings to its end.

use std::{io::Write, process::ExitCode, sync::Mutex};

use agent::{
    VERSION,
    complaints::explain,
    config::{self, Config, Sources},
    driver::{Agent, Finish},
    log::{self, Style, rotation::Rotating},
    machine::{Pace, Probation},
    platform::{self, StopRequests},
    updater::{Updater, disk::RealDisk},
};
use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use tokio::sync::mpsc;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
#[cfg(windows)]
use wire::settings::files;

use crate::{cli::Cli, failure, runtime, takeover, use_crypto};

/// Reads the settings as the agent would when it starts, and fails as it would.
pub(crate) fn check(cli: &Cli) -> anyhow::Result<ExitCode> {
    let mut sources = Sources::of_process(cli.variables(), cli.env_file.as_deref());
    sources.read_profile();
    Config::read(&sources)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the agent for whoever has started this process: a person, systemd or launchd.
pub(crate) fn in_foreground(cli: &Cli) -> ExitCode {
    let mut sources = Sources::of_process(cli.variables(), cli.env_file.as_deref());
    sources.read_profile();
    let log = sources.log_file();
    ExitCode::from(run(&sources, log))
}

/// Runs the agent for the service manager, which nobody can see write to standard error.
#[cfg(windows)]
pub(crate) fn as_service(cli: Cli) -> anyhow::Result<ExitCode> {
    let code = platform::service::run(move || run_unseen(&cli))?;
    Ok(ExitCode::from(code))
}

/// Runs the agent in place of another version, which the service manager has started.
#[cfg(windows)]
pub(crate) fn hosted(cli: &Cli) -> ExitCode {
    platform::stop_with_input();
    ExitCode::from(run_unseen(cli))
}

#[cfg(windows)]
fn run_unseen(cli: &Cli) -> u8 {
    let mut sources = Sources::of_process(cli.variables(), cli.env_file.as_deref());
    // Windows has put them in the environment already; Wine passes them over.
    match platform::installed_settings() {
        Ok(settings) => sources.file.extend(settings),
        Err(error) => sources.problems.push(format!("could not read the settings: {error}")),
    }
    sources.read_profile();
    let own = || sources.root().join(files::LOGS).join("orbit.log");
    let log = sources.log_file().unwrap_or_else(own);
    run(&sources, Some(log))
}

/// Runs the agent until it is told to stop, and gives back the exit code.
fn run(sources: &Sources, log: Option<Utf8PathBuf>) -> u8 {
    let mut stderr = std::io::stderr();
    let log = log.and_then(|path| match Rotating::open(&path) {
        Ok(file) => Some((path, file)),
        // An agent that says nothing is better than none.
        Err(error) => {
            let _ = writeln!(stderr, "warning: could not open the log `{path}`: {error}");
            None
        }
    });
    let (path, writer) = match log {
        Some((path, file)) => (Some(path), BoxMakeWriter::new(Mutex::new(file))),
        None => (None, BoxMakeWriter::new(std::io::stderr)),
    };
    let Err(error) = run_agent(sources, writer) else { return 0 };
    if let Some(mut file) = path.and_then(|path| Rotating::open(&path).ok()) {
        failure::report(&error, &mut file);
    }
    match failure::report(&error, &mut stderr) {
        // The service manager would not start anything again, and it is the version before this one
        // whose word counts.
        config::EX_CONFIG if is_on_trial(&sources.root()) => 1,
        code => code,
    }
}

fn is_on_trial(root: &Utf8Path) -> bool {
    let own = config::own_program();
    Updater::open(root, own.as_deref(), RealDisk).probation() == Probation::Own
}

fn run_agent(sources: &Sources, writer: BoxMakeWriter) -> anyhow::Result<()> {
    use_crypto();
    let style = Style { debug: sources.debug(), journal: sources.stderr_is_journal() };
    let (subscriber, volume) = log::subscriber(style, writer);
    tracing::subscriber::set_global_default(subscriber).context("could not set up logging")?;
    let root = sources.root();
    if let Some(program) = successor(&root, false) {
        return takeover::start(&program);
    }
    let config = Config::read(sources)?;
    tracing::info!(server.url = %config.connection.url, "orbit {VERSION} starts");
    platform::adopt_children();
    let pace = Pace { update: config.settings.update_interval, ..Pace::default() };
    let agent = Agent::open(config)?.with_volume(volume);
    let runtime = runtime()?;
    let finish = runtime.block_on(async {
        let requests = StopRequests::listen().context("could not listen for signals")?;
        let (stop, mut stopped) = mpsc::channel(2);
        tokio::spawn(pass_on(requests, stop));
        let finish = agent.run(pace, fastrand::u64(..), &mut stopped).await;
        // Whoever asks while the agent ends does not want another to begin.
        let is_unwanted = stopped.try_recv().is_ok();
        anyhow::Ok(if is_unwanted { Finish::Stopped } else { finish })
    })?;
    // A name that is being resolved holds a thread, and is not waited for.
    runtime.shutdown_background();
    match finish {
        Finish::Stopped => Ok(()),
        Finish::HandedOver => hand_over(&root),
    }
}

#[cfg(unix)]
fn hand_over(root: &Utf8Path) -> anyhow::Result<()> {
    let program = successor(root, true);
    takeover::start(&program.context("another version was to take over, and there is none")?)
}

/// The service manager starts again what ends with a failure, and then it is another version.
#[cfg(windows)]
fn hand_over(_root: &Utf8Path) -> anyhow::Result<()> {
    anyhow::bail!("another version takes over")
}

/// The version that is to run in place of this one. What is known of updates may be damaged, and is
/// no reason not to run.
fn successor(root: &Utf8Path, after: bool) -> Option<Utf8PathBuf> {
    let own = config::own_program();
    let outcome = Updater::open(root, own.as_deref(), RealDisk).successor(after);
    outcome.unwrap_or_else(|error| {
        tracing::error!("{}", explain(&error));
        None
    })
}

async fn pass_on(mut requests: StopRequests, stop: mpsc::Sender<()>) {
    loop {
        requests.next().await;
        if stop.send(()).await.is_err() {
            return;
        }
    }
}
