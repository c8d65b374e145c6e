//! Whether a program that was brought runs on this device at all, tried before anything leads to it.

use std::{
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use camino::Utf8Path;
use tokio::{io::AsyncReadExt as _, process::Command, time};
use update::Component;

use crate::config::Variables;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much is read of what it says, in bytes.
const LONGEST_WORD: u64 = 4096;

/// Variables of the service manager, which are meant for this process alone.
const NOT_INHERITED: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// How programs are tried.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// What they are started with; none: what this process was. Settings may have come since.
    pub variables: Option<Variables>,
}

/// Why a program is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    #[error("`{program} {argument}` cannot be started")]
    Start { program: String, argument: &'static str, source: io::Error },
    #[error("`{program} {argument}` does not come to an end")]
    Hangs { program: String, argument: &'static str },
    #[error("`{program} {argument}` fails ({status}){said}")]
    Fails { program: String, argument: &'static str, status: ExitStatus, said: String },
}

impl ProbeError {
    /// Whether the program itself is to blame, so that trying again would not help. A device that is
    /// busy, short of memory or locked down says nothing about it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            // No program, one for another processor, or one whose interpreter is missing.
            Self::Start { source, .. } => {
                let code = if cfg!(windows) { ERROR_BAD_EXE_FORMAT } else { ENOEXEC };
                source.kind() == io::ErrorKind::NotFound || source.raw_os_error() == Some(code)
            }
            Self::Hangs { .. } => false,
            Self::Fails { status, .. } => !was_killed(*status),
        }
    }
}

/// "Exec format error", on Linux and macOS.
const ENOEXEC: i32 = 8;

/// "%1 is not a valid Win32 application."
const ERROR_BAD_EXE_FORMAT: i32 = 193;

/// Whether somebody else has ended it, e.g. for want of memory.
#[cfg(unix)]
fn was_killed(status: ExitStatus) -> bool {
    use rustix::process::Signal;
    use std::os::unix::process::ExitStatusExt as _;
    let theirs = [Signal::KILL, Signal::TERM, Signal::HUP, Signal::INT].map(Signal::as_raw);
    status.signal().is_some_and(|signal| theirs.contains(&signal))
}

#[cfg(windows)]
fn was_killed(_status: ExitStatus) -> bool {
    false
}

impl Probe {
    /// Starts `program` for what every version of the component can answer. A new agent must also
    /// be content with the settings of this one, or it would end at once for good.
    pub async fn run(&self, component: Component, program: &Utf8Path) -> Result<(), ProbeError> {
        match component {
            Component::Orbit => {
                self.ask(program, "version").await?;
                self.ask(program, "check").await
            }
            Component::Osqueryd => self.ask(program, "--version").await,
            Component::Desktop => self.ask(program, "version").await,
        }
    }

    async fn ask(&self, program: &Utf8Path, argument: &'static str) -> Result<(), ProbeError> {
        let mut command = Command::new(program);
        command.arg(argument).kill_on_drop(true);
        if let Some(Variables(variables)) = &self.variables {
            command.env_clear().envs(variables);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        let program = program.to_string();
        let (status, said) = match time::timeout(PATIENCE, answer(command)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(source)) => return Err(ProbeError::Start { program, argument, source }),
            Err(_) => return Err(ProbeError::Hangs { program, argument }),
        };
        if status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&said);
        let said = text.lines().next().map(|line| format!(": {line}")).unwrap_or_default();
        Err(ProbeError::Fails { program, argument, status, said })
    }
}

/// How the program ends, and the beginning of what it says.
async fn answer(mut command: Command) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut child = command.spawn()?;
    let mut said = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        (&mut stderr).take(LONGEST_WORD).read_to_end(&mut said).await?;
        tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
    }
    Ok((child.wait().await?, said))
}
