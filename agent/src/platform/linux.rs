//! Linux: SMBIOS, systemd, signals, `/proc`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal};
use tokio::signal::unix::{SignalKind, signal};

use super::{Machine, Notice, Readers};

/// Where the agent lives unless told otherwise.
pub const DEFAULT_ROOT: &str = "/opt/orbit";

/// Where the package puts the agent's settings.
pub const DEFAULT_ENV_FILE: &str = "/etc/default/orbit";

/// Programs of this system have no suffix.
pub const PROGRAM_SUFFIX: &str = "";

/// Where distributions keep the certificates that they trust, the most common first.
const CA_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Reads what the machine says of itself, from files below `system`, which is `/` on a device.
#[must_use]
pub fn describe(system: &Utf8Path) -> Machine {
    let dmi = |name: &str| line(&system.join("sys/class/dmi/id").join(name));
    let os = os_release(system);
    let field = |name: &str| {
        os.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let uname = rustix::system::uname();
    let platform = field("ID");
    let like = field("ID_LIKE").split_whitespace().next().unwrap_or(&platform).to_owned();
    Machine {
        firmware_uuid: dmi("product_uuid"),
        machine_id: line(&system.join("etc/machine-id")).filter(|id| id != "uninitialized"),
        serial: dmi("product_serial").unwrap_or_default(),
        model: dmi("product_name").unwrap_or_default(),
        hostname: uname.nodename().to_string_lossy().into_owned(),
        platform_like: like,
        platform,
        os_version: Some(field("PRETTY_NAME")).filter(|name| !name.is_empty()),
        cpu_type: Some(uname.machine().to_string_lossy().into_owned()),
    }
}

/// os-release(5) has the syntax of an environment file.
fn os_release(system: &Utf8Path) -> Vec<(String, String)> {
    ["etc/os-release", "usr/lib/os-release"]
        .iter()
        .find_map(|path| fs::read_to_string(system.join(path)).ok())
        .map(|text| wire::envfile::parse(&text))
        .unwrap_or_default()
}

/// The file's text without white space around it, if there is any.
fn line(path: &Utf8Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The file with the certificates that this system trusts, if it is in a usual place.
#[must_use]
pub fn system_ca_bundle() -> Option<Utf8PathBuf> {
    CA_BUNDLES.iter().map(Utf8PathBuf::from).find(|path| path.is_file())
}

/// Writes `bytes` to a file that is new or emptied, readable by `readers`, and syncs it.
pub fn write_synced(path: &Utf8Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let mode = match readers {
        Readers::Root => 0o600,
        Readers::Everyone => 0o644,
    };
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    // A file that was there already, or an unusual umask, may have given it another mode.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes renames and deletions in `directory` survive a power cut.
pub fn sync_directory(directory: &Utf8Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Tells the service manager, if there is one that listens.
pub fn notify(notice: Notice<'_>) {
    use sd_notify::NotifyState;
    let state = match notice {
        Notice::Ready => NotifyState::Ready,
        Notice::Status(text) => NotifyState::Status(text),
        Notice::Alive => NotifyState::Watchdog,
        Notice::Stopping => NotifyState::Stopping,
    };
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!("could not notify the service manager: {error}");
    }
}

/// Within what time the service manager wants to hear [`Notice::Alive`], if it does.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Whether `stream`, the value of `JOURNAL_STREAM`, names what standard error is connected to.
#[must_use]
pub fn stderr_is_journal(stream: &str) -> bool {
    let Some((device, inode)) = stream.split_once(':') else { return false };
    rustix::fs::fstat(io::stderr())
        .is_ok_and(|stat| device == stat.st_dev.to_string() && inode == stat.st_ino.to_string())
}

/// Whether this process may read everything on the machine.
#[must_use]
pub fn is_administrator() -> bool {
    rustix::process::geteuid().is_root()
}

/// Completes each time that somebody asks the agent to stop: SIGTERM or SIGINT. SIGHUP is passed
/// over: settings come from the environment, which cannot be read anew.
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

/// Has `command` lead a process group of its own, so that [`kill_group`] reaches its children.
pub fn lead_group(command: &mut tokio::process::Command) {
    command.process_group(0);
}

/// Asks the process to end. One that is gone already is no failure.
pub fn terminate(process: u32) {
    signal_process(process, Signal::TERM);
}

/// Ends the process group that `leader` leads by force.
pub fn kill_group(leader: u32) {
    if let Some(pid) = pid(leader) {
        report(leader, rustix::process::kill_process_group(pid, Signal::KILL));
    }
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

/// The processes other than this one that were started with `argument` among their arguments.
#[must_use]
pub fn processes_with_argument(argument: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|process| *process != std::process::id() && has_argument(*process, argument))
        .collect()
}

/// A zombie's argument list is empty, so it is none of them.
fn has_argument(process: u32, argument: &str) -> bool {
    fs::read(format!("/proc/{process}/cmdline"))
        .is_ok_and(|line| line.split(|byte| *byte == 0).any(|arg| arg == argument.as_bytes()))
}
