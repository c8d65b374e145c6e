//! Programs that the agent runs, held by job objects: what the job's last handle leaves behind is
//! ended by the system itself, however the agent ended.

use std::{env, io, os::windows::process::CommandExt as _, process::Stdio, sync::OnceLock};

use camino::Utf8Path;
use tokio::process::{Child, Command};
use win32job::{ExtendedLimitInfo, Job, JobError};

use super::machine;

/// A program of the console gets no window of its own (`CREATE_NO_WINDOW`).
const NO_WINDOW: u32 = 0x0800_0000;

/// The agent's own job: whatever it starts is in it too. Open as long as the agent runs.
static OWN: OnceLock<Job> = OnceLock::new();

/// Sees to it that everything this process starts ends with it.
pub fn adopt_children() {
    let entered = mortal_job().and_then(|job| {
        job.assign_current_process()?;
        Ok(job)
    });
    match entered {
        Ok(job) => {
            let _ = OWN.set(job);
        }
        Err(error) => tracing::warn!("what the agent starts may outlive it: {error}"),
    }
}

/// A job that ends with its last handle. Processes may ask to be started outside of it.
fn mortal_job() -> Result<Job, JobError> {
    let mut limits = ExtendedLimitInfo::new();
    limits.limit_kill_on_job_close().limit_breakaway_ok();
    Job::create_with_limit_info(&limits)
}

/// A job with the process of that handle in it.
fn job_with(process: isize) -> Result<Job, JobError> {
    let job = mortal_job()?;
    job.assign_process(process)?;
    Ok(job)
}

/// A program that the agent runs, with everything that it starts in turn.
#[derive(Debug)]
pub struct Group {
    /// None once it has been ended.
    hold: Option<Hold>,
}

#[derive(Debug)]
enum Hold {
    Job(#[expect(dead_code, reason = "closing the job ends what is in it")] Job),
    /// The system refused a job.
    Process(u32),
}

impl Group {
    /// Keeps windows of its own from the program.
    pub fn prepare(command: &mut Command) {
        command.creation_flags(NO_WINDOW);
    }

    /// Takes hold of `child` and of what it starts from here on.
    #[must_use]
    pub fn of(child: &Child) -> Self {
        let hold = match child.raw_handle().map(|handle| job_with(handle as isize)) {
            Some(Ok(job)) => Some(Hold::Job(job)),
            Some(Err(error)) => {
                tracing::debug!("a program runs without a job of its own: {error}");
                child.id().map(Hold::Process)
            }
            // It has ended already.
            None => None,
        };
        Self { hold }
    }

    /// Ends all of it: Windows knows no polite request to a program that has neither window nor
    /// console. osqueryd's database survives that, as it survives a power cut.
    pub fn terminate(&mut self) {
        self.kill();
    }

    /// Ends all of it by force.
    pub fn kill(&mut self) {
        if let Some(Hold::Process(process)) = self.hold.take() {
            kill(process);
        }
    }
}

/// Ends the process; see [`Group::terminate`].
pub fn terminate(process: u32) {
    kill(process);
}

/// Ends the process by force, and what it has started.
pub fn kill(process: u32) {
    #[expect(clippy::disallowed_methods, reason = "the platform starts what the system offers")]
    let mut command = std::process::Command::new(machine::tool("taskkill.exe"));
    command.args(["/F", "/T", "/PID", &process.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.status() {
        tracing::warn!(process.pid = process, "could not end process {process}: {error}");
    }
}

/// Starts `program` with this process's own arguments, to go on when this process has ended.
pub fn start_instead(program: &Utf8Path) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "a version starts the one that replaces it")]
    let mut command = std::process::Command::new(program);
    command.args(env::args_os().skip(1)).creation_flags(NO_WINDOW);
    command.spawn().map(drop)
}

/// Ends every program of that file name, whoever runs it.
pub fn kill_all(name: &str) {
    #[expect(clippy::disallowed_methods, reason = "the platform starts what the system offers")]
    let mut command = std::process::Command::new(machine::tool("taskkill.exe"));
    command.args(["/F", "/IM", name]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // That there is none is a failure, too.
    if let Err(error) = command.status() {
        tracing::warn!("could not end `{name}`: {error}");
    }
}

/// None: a job ends with the agent that holds it, so nothing is ever left behind.
#[must_use]
pub fn processes_with_argument(_argument: &str) -> Vec<u32> {
    Vec::new()
}
