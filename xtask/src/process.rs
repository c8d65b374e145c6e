//! Programs that run beside us until they are stopped: servers, agents, containers.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::cleanup::Cleanup;

/// How often a condition is looked at again.
const INTERVAL: Duration = Duration::from_millis(50);
/// How long a program may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(20);

/// A running program whose output goes to a file. It is stopped when dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: String,
    log: PathBuf,
    child: Arc<Mutex<Child>>,
    _stop: Cleanup,
}

impl Daemon {
    /// Starts `command` with its output going to `log`.
    pub(crate) fn start(name: &str, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let file =
            File::create(log).with_context(|| format!("could not make `{}`", log.display()))?;
        let errors = file.try_clone().context("could not share the log file")?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let child = command.spawn().with_context(|| format!("could not start `{name}`"))?;
        let child = Arc::new(Mutex::new(child));
        let running = Arc::clone(&child);
        let stop = Cleanup::new(move || {
            end(&mut running.lock().unwrap_or_else(PoisonError::into_inner));
        });
        Ok(Self { name: name.to_owned(), log: log.to_owned(), child, _stop: stop })
    }

    /// The program's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).id()
    }

    /// What the program has printed so far.
    pub(crate) fn output(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Waits until `found` sees in the output what it looks for, and gives that.
    pub(crate) fn wait_for<T>(
        &self,
        what: &str,
        found: impl Fn(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        let seen = wait_until(Duration::from_secs(30), || {
            if let Some(seen) = found(&self.output()) {
                return Ok(Some(Ok(seen)));
            }
            Ok(self.ended()?.map(Err))
        })?;
        match seen {
            Some(Ok(seen)) => Ok(seen),
            Some(Err(status)) => {
                bail!("`{}` ended ({status}) before {what}:\n{}", self.name, self.output())
            }
            None => bail!("`{}` runs, but {what} did not come:\n{}", self.name, self.output()),
        }
    }

    /// How the program ended, if it did.
    pub(crate) fn ended(&self) -> anyhow::Result<Option<ExitStatus>> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().with_context(|| format!("could not ask whether `{}` runs", self.name))
    }
}

/// Asks `ready` again and again until it gives something, at most for `limit`.
#[expect(clippy::disallowed_methods, reason = "what is asked may take long, and counts")]
pub(crate) fn wait_until<T>(
    limit: Duration,
    mut ready: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Option<T>> {
    let end = Instant::now() + limit;
    loop {
        let late = Instant::now() >= end;
        if let Some(value) = ready()? {
            return Ok(Some(value));
        }
        if late {
            return Ok(None);
        }
        thread::sleep(INTERVAL);
    }
}

/// Sends SIGTERM to `child`, then SIGKILL if it does not end.
fn end(child: &mut Child) {
    let ended = |child: &mut Child| matches!(child.try_wait(), Ok(Some(_)) | Err(_));
    if ended(child) {
        return;
    }
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _gone = kill_process(pid, Signal::TERM);
    }
    let gentle = wait_until(GRACE, || Ok(ended(child).then_some(())));
    if !matches!(gentle, Ok(Some(()))) {
        let _gone = child.kill();
        let _reaped = child.wait();
    }
}

/// Runs a line of shell that may fail, when there is nobody left to tell.
#[expect(clippy::disallowed_methods, reason = "xtask starts programs")]
pub(crate) fn run_quietly(line: &str) {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _gone = command.status();
}
