//! osqueryd: how it is started, watched and ended. All that is assumed of it is in this module, in
//! [`authorities`], [`flags`], [`extensions`] and [`relay`].
//!
//! As `-S` it is a shell. It writes its process id to `--pidfile`, takes its enroll secret from the environment variable
//! that `--enroll_secret_env` names, ends on SIGTERM where there are signals, and names itself by
//! `--specified_identifier`. Of a flag given twice, the later one counts; `--flagfile` counts at
//! the place where it stands.

pub mod authorities;
pub mod extensions;
pub mod flags;
pub mod relay;

use std::{
    ffi::OsString,
    fs, io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader},
    process::{Child, Command},
    signal,
    sync::mpsc,
    time,
};
use wire::{EnrollSecret, NodeKey};

use self::relay::Way;
use crate::{
    complaints::explain,
    config::Config,
    identity::Identity,
    machine::Flags,
    platform::{self, Group},
    secrets::ReadSecretError,
};

/// Where osqueryd lies below the root directory.
#[must_use]
pub fn program(root: &Utf8Path) -> Utf8PathBuf {
    platform::program(root, "osqueryd", "osqueryd")
}

/// The variable in which osqueryd finds its enroll secret.
const SECRET_VARIABLE: &str = "ENROLL_SECRET";

/// Variables that are meant for the agent alone.
const NOT_INHERITED: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "JOURNAL_STREAM",
    wire::settings::vars::ENROLL_SECRET,
    wire::settings::vars::ENROLL_SECRET_PATH,
];

/// Longer lines of its output are cut into several.
const MAX_LINE: u64 = 8 * 1024;

/// How long an osqueryd that an earlier agent left behind may take to end.
const ORPHAN_GRACE: Duration = Duration::from_secs(10);

/// What is done to a running osqueryd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Ask it to end.
    Stop,
    /// End it by force.
    Kill,
}

/// One osqueryd to be started.
#[derive(Debug)]
pub struct Launch {
    program: Utf8PathBuf,
    arguments: Vec<String>,
    /// An osqueryd that has enrolled before runs without it too.
    secret: Option<EnrollSecret>,
    /// The argument that tells our osqueryds from anybody else's.
    mark: String,
}

/// How an osqueryd ended.
#[derive(Debug)]
pub enum Ended {
    /// It could not be started.
    NotStarted(io::Error),
    /// It was told to end before it had started.
    Withdrawn,
    /// By itself, or because it was told to.
    Exited(ExitStatus),
    /// It runs no more, but nobody knows how it ended.
    Lost(io::Error),
}

impl Ended {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::NotStarted(error) => format!("could not be started: {error}"),
            Self::Withdrawn => "was not started".to_owned(),
            Self::Exited(status) => status.to_string(),
            Self::Lost(error) => format!("lost sight of: {error}"),
        }
    }
}

impl Launch {
    /// Puts together what is needed to start osqueryd with the server's `wishes`, which it reaches by
    /// `way`. It enrolls with this device's `node_key` where the server takes that, else with the
    /// secret that others have too.
    #[must_use]
    pub fn new(
        config: &Config,
        identity: &Identity,
        wishes: &Flags,
        (way, node_key): (&Way, Option<&NodeKey>),
    ) -> Self {
        let own = node_key.and_then(|key| EnrollSecret::new(key.expose()).ok());
        let secret = own.or_else(|| match config.secrets().read() {
            Ok(secret) => Some(secret),
            Err(error) => {
                explain_missing(&error);
                None
            }
        });
        Self {
            program: program(&config.root),
            arguments: flags::arguments(config, identity, wishes, (way, secret.is_some())),
            secret,
            mark: flags::pid_file(&config.root),
        }
    }

    /// Starts `program` in place of the one that the pointer leads to.
    #[must_use]
    pub fn with_program(self, program: Option<Utf8PathBuf>) -> Self {
        match program {
            Some(program) => Self { program, ..self },
            None => self,
        }
    }

    /// Runs it until it ends. `orders` come from the driver; when the driver is gone, so is
    /// osqueryd.
    pub async fn run(self, mut orders: mpsc::UnboundedReceiver<Order>) -> Ended {
        let ready = tokio::select! {
            () = end_orphans(&self.mark) => true,
            _ = orders.recv() => false,
        };
        if !ready {
            return Ended::Withdrawn;
        }
        match self.command().spawn() {
            Ok(child) => watch(child, orders).await,
            Err(error) => Ended::NotStarted(error),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        if let Some(secret) = &self.secret {
            command.env(SECRET_VARIABLE, secret.expose());
        }
        Group::prepare(&mut command);
        command
    }
}

fn explain_missing(error: &ReadSecretError) {
    tracing::warn!(
        "osqueryd starts without an enroll secret, which it needs to enroll: {}",
        explain(error)
    );
}

async fn watch(mut child: Child, mut orders: mpsc::UnboundedReceiver<Order>) -> Ended {
    let process = child.id().unwrap_or_default();
    let mut group = Group::of(&child);
    tracing::info!(osqueryd.pid = process, "osqueryd started");
    let output = [
        child.stdout.take().map(|stdout| tokio::spawn(relay(stdout))),
        child.stderr.take().map(|stderr| tokio::spawn(relay(stderr))),
    ];
    let ended = loop {
        tokio::select! {
            status = child.wait() => break status.map_or_else(Ended::Lost, Ended::Exited),
            order = orders.recv() => match order {
                Some(Order::Stop) => group.terminate(),
                Some(Order::Kill) | None => group.kill(),
            },
        }
    };
    // What it started must not outlive it, nor keep its output open.
    group.kill();
    for relay in output.into_iter().flatten() {
        let _ = time::timeout(Duration::from_secs(1), relay).await;
    }
    ended
}

/// Passes each line on to our log.
async fn relay(output: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut lines).take(MAX_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(line.trim_ascii_end());
                if !text.is_empty() {
                    tracing::info!(target: "osqueryd", "osqueryd: {text}");
                }
            }
        }
    }
}

/// Ends every osqueryd with our pid file, which an agent that was killed has left behind: two
/// would fight for one database.
async fn end_orphans(mark: &str) {
    let orphans = platform::processes_with_argument(mark);
    if orphans.is_empty() {
        return;
    }
    tracing::warn!("an osqueryd from an earlier run is still there; it is stopped first");
    for orphan in &orphans {
        platform::terminate(*orphan);
    }
    let deadline = time::Instant::now() + ORPHAN_GRACE;
    while !platform::processes_with_argument(mark).is_empty() {
        if time::Instant::now() >= deadline {
            for orphan in platform::processes_with_argument(mark) {
                platform::kill(orphan);
            }
        }
        time::sleep(Duration::from_millis(50)).await;
    }
}

/// Why there is no shell.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShellError {
    #[error("could not make a folder for the shell's database")]
    Folder(#[source] io::Error),
    #[error("could not start `{program}`; `orbit status` tells whether it is installed")]
    Start { program: Utf8PathBuf, source: io::Error },
}

/// Runs osqueryd as the interactive shell `osqueryi`, at the terminal that the agent was called from,
/// with the flags that the agent has it started with, the server's `wishes` among them, and the
/// extensions. Its database is in a folder that goes with it. Gives how it ended.
pub async fn shell(
    root: &Utf8Path,
    wishes: &Flags,
    arguments: &[OsString],
) -> Result<ExitStatus, ShellError> {
    let folder = platform::make_scratch().map_err(ShellError::Folder)?;
    let place = Utf8Path::from_path(folder.path())
        .ok_or_else(|| ShellError::Folder(io::ErrorKind::InvalidFilename.into()))?;
    fs::write(place.join(flags::SHELL_CONFIG), "{}\n").map_err(ShellError::Folder)?;
    // Ctrl-C ends a query there, and not us, who are asked how the shell has ended.
    let ignored = tokio::spawn(async { while signal::ctrl_c().await.is_ok() {} });
    let program = program(root);
    let mut command = Command::new(&program);
    command.arg("-S").args(flags::of_shell(root, place, wishes)).args(arguments);
    let ended = command.status().await;
    ignored.abort();
    ended.map_err(|source| ShellError::Start { program, source })
}

/// The version that the program tells, e.g. `5.9.1`, if it is there and answers within 5 s.
pub async fn version(root: &Utf8Path) -> Option<String> {
    let mut command = Command::new(program(root));
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = time::timeout(Duration::from_secs(5), command.output()).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().last().map(str::to_owned)
}
