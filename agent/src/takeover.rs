//! Another version of the agent takes the place of this one.

#[cfg(unix)]
pub(crate) use self::unix::start;
#[cfg(windows)]
pub(crate) use self::windows::start;

/// The other version becomes this process: the service manager sees no change, and watches it as it
/// has watched this one.
#[cfg(unix)]
mod unix {
    use std::{collections::BTreeMap, env, os::unix::process::CommandExt as _, process::Command};

    use anyhow::Context as _;
    use camino::Utf8Path;

    /// Starts it with the `environment` that counts, which may have changed since this process has
    /// started. Comes back only if it fails.
    pub(crate) fn start(
        program: &Utf8Path,
        environment: &BTreeMap<String, String>,
    ) -> anyhow::Result<()> {
        tracing::info!("`{program}` takes over");
        #[expect(clippy::disallowed_methods, reason = "the agent starts what replaces it")]
        let mut command = Command::new(program);
        let error = command.args(env::args_os().skip(1)).env_clear().envs(environment).exec();
        Err(error).with_context(|| format!("could not start `{program}`"))
    }
}

/// A service is the process that the service manager has started, so this one stays and lets the
/// other version be the agent: it hands on the wish to stop, and ends as the other one ends.
#[cfg(windows)]
mod windows {
    use std::{
        collections::BTreeMap,
        process::{Child, Command, Stdio},
        time::Duration,
    };

    use agent::platform::{self, Notice, StopRequests};
    use anyhow::{Context as _, bail};
    use camino::Utf8Path;

    use crate::runtime;

    /// How long the other version may take to end.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Comes back when the other version has ended. It is a process of its own, and reads the settings
    /// itself.
    pub(crate) fn start(
        program: &Utf8Path,
        _environment: &BTreeMap<String, String>,
    ) -> anyhow::Result<()> {
        tracing::info!("`{program}` takes over");
        platform::adopt_children();
        #[expect(clippy::disallowed_methods, reason = "the agent starts what replaces it")]
        let mut child = Command::new(program)
            .arg("hosted")
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| format!("could not start `{program}`"))?;
        platform::notify(Notice::Ready);
        let stopped = runtime()?.block_on(wait(&mut child))?;
        let status = child.wait().with_context(|| format!("lost sight of `{program}`"))?;
        if stopped || status.success() { Ok(()) } else { bail!("`{program}` ended: {status}") }
    }

    /// Tells whether somebody wanted it to end.
    async fn wait(child: &mut Child) -> anyhow::Result<bool> {
        let mut requests = StopRequests::listen().context("could not listen for signals")?;
        let mut stopped = false;
        let mut patience = PATIENCE.as_millis() / TICK.as_millis();
        while child.try_wait()?.is_none() {
            tokio::select! {
                () = requests.next(), if !stopped => {
                    platform::notify(Notice::Stopping);
                    // The end of its standard input tells it to stop.
                    drop(child.stdin.take());
                    stopped = true;
                }
                () = tokio::time::sleep(TICK) => {}
            }
            if stopped {
                patience = patience.saturating_sub(1);
                if patience == 0 {
                    child.kill()?;
                }
            }
        }
        Ok(stopped)
    }

    const TICK: Duration = Duration::from_millis(100);
}
