//! `orbit run` and the service: the agent, from its settings to its end.

use std::{io::Write, process::ExitCode, sync::Mutex};

use agent::{
    VERSION,
    complaints::explain,
    config::{self, Config, Origin, Sources},
    driver::{Agent, Finish},
    log::{self, Style, Volume, rotation::Rotating},
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

use crate::{cli::Cli, failure, runtime, takeover, use_crypto, waiting};

/// Reads the settings as the agent would when it starts, and fails as it would.
pub(crate) fn check(cli: &Cli) -> anyhow::Result<ExitCode> {
    let mut sources = Sources::of_process(cli.variables(), cli.env_file.as_deref());
    sources.read_profile();
    Config::read(&sources)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the agent for whoever has started this process: a person, systemd or launchd.
pub(crate) fn in_foreground(cli: &Cli) -> ExitCode {
    let origin = Origin::of_process(cli.variables(), cli.env_file.clone());
    let sources = origin.read();
    let log = sources.log_file();
    ExitCode::from(run(&origin, sources, log))
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
    // Windows has put its settings in the environment already; Wine passes them over.
    let origin = Origin::of_process(cli.variables(), cli.env_file.clone()).of_service();
    let sources = origin.read();
    let own = || sources.root().join(files::LOGS).join("orbit.log");
    let log = sources.log_file().unwrap_or_else(own);
    run(&origin, sources, Some(log))
}

/// Runs the agent until it is told to stop, and gives back the exit code.
fn run(origin: &Origin, sources: Sources, log: Option<Utf8PathBuf>) -> u8 {
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
    let root = sources.root();
    let Err(error) = run_agent(origin, sources, writer) else { return 0 };
    if let Some(mut file) = path.and_then(|path| Rotating::open(&path).ok()) {
        failure::report(&error, &mut file);
    }
    match failure::report(&error, &mut stderr) {
        // The service manager would not start anything again, and it is the version before this one
        // whose word counts.
        config::EX_CONFIG if is_on_trial(&root) => 1,
        code => code,
    }
}

/// Whether this version has yet to prove itself in the place of another.
pub(crate) fn is_on_trial(root: &Utf8Path) -> bool {
    let own = config::own_program();
    Updater::open(root, own.as_deref(), RealDisk).probation() == Probation::Own
}

fn run_agent(origin: &Origin, sources: Sources, writer: BoxMakeWriter) -> anyhow::Result<()> {
    use_crypto();
    let style = Style { debug: sources.debug(), journal: sources.stderr_is_journal() };
    let (subscriber, volume) = log::subscriber(style, writer);
    tracing::subscriber::set_global_default(subscriber).context("could not set up logging")?;
    if let Some(trouble) = origin.trouble() {
        tracing::warn!("{trouble}; what the service manager has handed on counts");
    }
    if let Some(program) = successor(&sources.root(), false) {
        return takeover::start(&program, &sources.environment);
    }
    platform::adopt_children();
    let mut life = Life { origin, sources, volume, before: None, tried: None };
    let runtime = runtime()?;
    let finish = runtime.block_on(life.live())?;
    // A name that is being resolved holds a thread, and is not waited for.
    runtime.shutdown_background();
    match finish {
        Finish::Stopped | Finish::Changed => Ok(()),
        Finish::HandedOver => hand_over(&life),
    }
}

/// The agent under one set of settings after another.
struct Life<'a> {
    origin: &'a Origin,
    /// Those that count.
    sources: Sources,
    volume: Volume,
    /// Those that counted before, while the agent has yet to be opened with what counts now.
    before: Option<Sources>,
    /// Those that it could not be opened with.
    tried: Option<Sources>,
}

impl Life<'_> {
    /// Lives until somebody asks it to stop, or another version is to take over.
    async fn live(&mut self) -> anyhow::Result<Finish> {
        let requests = StopRequests::listen().context("could not listen for signals")?;
        let (stop, mut stopped) = mpsc::channel(2);
        tokio::spawn(pass_on(requests, stop));
        loop {
            let finish = match self.turn(&mut stopped).await {
                Ok(finish) => finish,
                Err(error) => {
                    self.go_back(error)?;
                    continue;
                }
            };
            // Whoever asks while the agent ends does not want another to begin.
            if stopped.try_recv().is_ok() {
                return Ok(Finish::Stopped);
            }
            if finish != Finish::Changed {
                return Ok(finish);
            }
        }
    }

    /// Has the settings before count again if those of now are of no use, or else gives `error` back.
    fn go_back(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        let Some(before) = self.before.take() else { return Err(error) };
        tracing::error!("the settings before count again, until others come: {error:#}");
        self.tried = Some(std::mem::replace(&mut self.sources, before));
        Ok(())
    }

    /// One agent, from its settings to its end.
    async fn turn(&mut self, stopped: &mut mpsc::Receiver<()>) -> anyhow::Result<Finish> {
        let ready = waiting::configuration(self.origin, &mut self.sources, stopped);
        match ready.await? {
            Some(config) => self.run_with(config, stopped).await,
            None => Ok(Finish::Stopped),
        }
    }

    /// Runs the agent until it is to end, or other settings count, which are then at hand.
    async fn run_with(
        &mut self,
        config: Config,
        stopped: &mut mpsc::Receiver<()>,
    ) -> anyhow::Result<Finish> {
        tracing::info!(server.url = %config.connection.url, "orbit {VERSION} starts");
        let pace = Pace { update: config.settings.update_interval, ..Pace::default() };
        self.volume.turn(self.sources.debug());
        let agent = Agent::open(config)?;
        self.before = None;
        let (tell, changes) = mpsc::channel(1);
        let (origin, before) = (self.origin.clone(), self.sources.clone());
        let tried = self.tried.clone();
        let watch = tokio::spawn(async move {
            if !origin.may_change(&before) {
                return before;
            }
            let after = origin.changed(before, tried).await;
            // An agent that is gone has ended by itself.
            let _ = tell.send(()).await;
            after
        });
        let agent = agent.with_volume(self.volume.clone()).with_changes(changes);
        let finish = agent.run(pace, fastrand::u64(..), stopped).await;
        if finish == Finish::Changed {
            let after = watch.await.context("could not read the settings")?;
            self.before = Some(std::mem::replace(&mut self.sources, after));
            self.tried = None;
        } else {
            watch.abort();
        }
        Ok(finish)
    }
}

#[cfg(unix)]
fn hand_over(life: &Life<'_>) -> anyhow::Result<()> {
    // What is on the disk as the next version starts is no news to it.
    let seen = life.origin.look();
    let was_tried = life.tried.as_ref().is_some_and(|tried| tried.count_as(&seen));
    // It has yet to prove itself where this one has written so.
    let root = life.sources.root();
    let is_usable = Config::read(&seen).is_ok() && !was_tried && seen.root() == root;
    let sources = if is_usable { &seen } else { &life.sources };
    let program = successor(&root, true);
    let program = program.context("another version was to take over, and there is none")?;
    takeover::start(&program, &sources.environment)
}

/// The service manager starts again what ends with a failure, and then it is another version.
#[cfg(windows)]
fn hand_over(_life: &Life<'_>) -> anyhow::Result<()> {
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
