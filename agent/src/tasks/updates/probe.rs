//! Whether a program that was brought runs on this device at all, tried before anything leads to it.

use std::{collections::BTreeMap, io, process::Stdio, time::Duration};

use camino::Utf8Path;
use tokio::{process::Command, time};
use update::Component;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Variables of the service manager, which are meant for this process alone.
const NOT_INHERITED: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// How programs are tried.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// Settings that this process has from its command line: another version has to be content with
    /// them, too.
    pub variables: BTreeMap<&'static str, String>,
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
    Fails { program: String, argument: &'static str, status: String, said: String },
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
        command.arg(argument).envs(&self.variables).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        let program = program.to_string();
        let output = match time::timeout(PATIENCE, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(source)) => return Err(ProbeError::Start { program, argument, source }),
            Err(_) => return Err(ProbeError::Hangs { program, argument }),
        };
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let said = text.lines().next().map(|line| format!(": {line}")).unwrap_or_default();
        Err(ProbeError::Fails { program, argument, status: output.status.to_string(), said })
    }
}
