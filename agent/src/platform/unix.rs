//! What Linux and macOS have in common: modes of files, signals, process groups.

pub(super) mod filter;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

use super::{Access, Readers};

/// Where the agent lives unless told otherwise.
#[must_use]
pub fn default_root() -> Utf8PathBuf {
    "/opt/orbit".into()
}

/// The program of a component below `root`: a pointer that packages and updates move.
#[must_use]
pub fn program(root: &Utf8Path, component: &str, name: &str) -> Utf8PathBuf {
    let pointer = root.join("bin").join(component).join(name);
    resolve(pointer)
}

/// macOS finds the bundle that a program belongs to by the path that it is started with.
fn resolve(pointer: Utf8PathBuf) -> Utf8PathBuf {
    if cfg!(target_os = "macos") { pointer.canonicalize_utf8().unwrap_or(pointer) } else { pointer }
}

/// Where osqueryd listens for extensions.
#[must_use]
pub fn extensions_socket(root: &Utf8Path) -> String {
    root.join("orbit-osquery.em").into_string()
}

/// Where a shell with that `folder` listens for extensions.
#[must_use]
pub fn shell_socket(folder: &Utf8Path) -> String {
    folder.join("osquery.em").into_string()
}

/// A folder for this process and what it starts, which nobody else can look into; it goes with the
/// guard.
pub fn make_scratch() -> io::Result<tempfile::TempDir> {
    let nobody_else = fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix("orbit-").permissions(nobody_else).tempdir()
}

/// Writes `bytes` to a file that is new or emptied, readable by `readers`, and syncs it.
pub fn write_synced(path: &Utf8Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let mode = match readers {
        Readers::Root | Readers::User(_) => 0o600,
        Readers::Everyone => 0o644,
    };
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    // A file that was there already, or an unusual umask, may have given it another mode.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    if let Readers::User(user) = readers
        && is_administrator()
    {
        fchown(&file, Some(user.unwrap_or(0)), None)?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

/// Who alone may read secrets and write programs.
pub const ADMINISTRATOR: &str = "root";

/// What a person does to keep others from reading the file.
#[must_use]
pub fn close_to_readers(path: &Utf8Path) -> String {
    format!("chmod 600 {path}")
}

/// What a person does to keep others from writing to the folder.
#[must_use]
pub fn close_to_writers(path: &Utf8Path) -> String {
    format!("chmod go-w {path}")
}

/// What others than the owner may do with the file or directory, which is for `readers`: they own it.
/// None where there is no such file.
#[must_use]
pub fn access_of_others(path: &Utf8Path, _readers: Readers) -> Option<Access> {
    let mode = path.metadata().ok()?.mode();
    Some(Access { read: mode & 0o044 != 0, write: mode & 0o022 != 0 })
}

/// Lets everybody read the file, and run it if it is a program, whatever the umask.
pub fn set_program(file: &File, is_program: bool) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(if is_program { 0o755 } else { 0o644 }))
}

/// Makes a symbolic link.
pub fn link(target: &Utf8Path, path: &Utf8Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

/// How many bytes may still be written below `directory`; none: nobody knows.
#[must_use]
pub fn free_space(directory: &Utf8Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(directory.as_std_path()).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// Whether the file, written for [`Readers::User`], should be written again: `user` sits at the
/// device, and it belongs to somebody else.
#[must_use]
pub fn is_anothers(path: &Utf8Path, user: Option<u32>) -> bool {
    let Some(user) = user else { return false };
    is_administrator() && path.metadata().is_ok_and(|metadata| metadata.uid() != user)
}

/// Makes renames and deletions in `directory` survive a power cut.
pub fn sync_directory(directory: &Utf8Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Opens a log for appending, for this user and the file's group to read.
pub fn open_log(path: &Utf8Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Whether this process may read everything on the machine.
#[must_use]
pub fn is_administrator() -> bool {
    rustix::process::geteuid().is_root()
}

/// Completes each time that somebody asks the agent to stop: SIGTERM or SIGINT. SIGHUP is passed
/// over: the agent looks at its settings of its own accord.
#[derive(Debug)]
pub struct StopRequests {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl StopRequests {
    /// Begins to listen. Needs a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next request.
    pub async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {}
            }
        }
    }
}

/// Nothing to do: a process group outlives its leader's parent, and orphans are looked for.
pub fn adopt_children() {}

/// A program that the agent runs, with everything that it starts in turn.
#[derive(Debug)]
pub struct Group {
    leader: u32,
}

impl Group {
    /// Has `command` lead a process group of its own, so that [`Group::kill`] reaches its children.
    pub fn prepare(command: &mut Command) {
        command.process_group(0);
    }

    /// The group that `child`, started from what was prepared, leads.
    #[must_use]
    pub fn of(child: &Child) -> Self {
        Self { leader: child.id().unwrap_or_default() }
    }

    /// Asks the leader to end. One that is gone already is no failure.
    pub fn terminate(&mut self) {
        terminate(self.leader);
    }

    /// Ends all of it by force.
    pub fn kill(&mut self) {
        if let Some(pid) = pid(self.leader) {
            report(self.leader, rustix::process::kill_process_group(pid, Signal::KILL));
        }
    }
}

/// Asks the process to end. One that is gone already is no failure.
pub fn terminate(process: u32) {
    signal_process(process, Signal::TERM);
}

/// Ends the process by force.
pub fn kill(process: u32) {
    signal_process(process, Signal::KILL);
}

fn signal_process(process: u32, signal: Signal) {
    if let Some(pid) = pid(process) {
        report(process, rustix::process::kill_process(pid, signal));
    }
}

fn report(process: u32, outcome: rustix::io::Result<()>) {
    match outcome {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => {
            tracing::warn!(process.pid = process, "could not signal process {process}: {error}");
        }
    }
}

fn pid(process: u32) -> Option<Pid> {
    i32::try_from(process).ok().and_then(Pid::from_raw)
}
