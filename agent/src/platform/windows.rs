//! Windows: the service manager, the registry, access control lists, job objects.

mod files;
mod group;
mod keystore;
mod machine;
pub mod service;
mod tray;

use std::{collections::BTreeMap, io, time::Duration};

use camino::{Utf8Path, Utf8PathBuf};
use tokio::signal::windows::{self, CtrlBreak, CtrlC, CtrlClose, CtrlShutdown};

pub use self::{
    files::{
        ADMINISTRATOR, access_of_others, close_to_readers, close_to_writers, default_root,
        free_space, is_anothers, link, open_log, program, set_program, sync_directory,
        write_synced,
    },
    group::{
        Group, adopt_children, kill, kill_all, processes_with_argument, start_instead, terminate,
    },
    keystore::Keystore,
    machine::describe,
    tray::{leave_console, show_icon},
};
use super::Notice;

/// Where device management and group policies put what they tell, below `HKEY_LOCAL_MACHINE`.
const POLICIES: &str = r"SOFTWARE\Policies\fleetd";

/// What a person does about settings that cannot be used.
pub const SETTINGS_HELP: &str = "edit `Environment` in the registry below \
    `HKLM\\SYSTEM\\CurrentControlSet\\Services\\orbit`, then run `net stop orbit` and `net start orbit`";

/// What a person does about a wrong clock.
pub const CLOCK_HELP: &str = "have it set by the network: `w32tm /resync`";

/// What a person does about a service that does not run.
pub const START_HELP: &str = "run `net start orbit`, and look at `logs\\orbit.log` below the root directory for why it ended";

/// Where osqueryd listens for extensions: a pipe, which has a name and no place below `root`.
#[must_use]
pub fn extensions_socket(_root: &Utf8Path) -> String {
    r"\\.\pipe\orbit-osquery-extension".to_owned()
}

/// Where a shell listens for extensions, whatever its folder is called.
#[must_use]
pub fn shell_socket(_folder: &Utf8Path) -> String {
    format!(r"\\.\pipe\orbit-osquery-shell-{}", std::process::id())
}

/// A folder for this process and what it starts, below the user's own, which nobody else can look into;
/// it goes with the guard.
pub fn make_scratch() -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("orbit-").tempdir()
}

/// None: osqueryd takes what its own package brings, for the system keeps no such file.
#[must_use]
pub fn system_ca_bundle() -> Option<Utf8PathBuf> {
    None
}

/// The settings that the installed service starts with; none where there are none, or not for this
/// user to read.
pub fn installed_settings() -> io::Result<BTreeMap<String, String>> {
    service::environment().or_else(|error| {
        if super::is_absent_or_private(&error) { Ok(BTreeMap::new()) } else { Err(error) }
    })
}

/// What policies tell the agent; nothing where there are none.
pub fn profile_settings() -> io::Result<BTreeMap<&'static str, String>> {
    let key = match windows_registry::LOCAL_MACHINE.open(POLICIES).map_err(io::Error::from) {
        Err(error) if super::is_absent_or_private(&error) => return Ok(BTreeMap::new()),
        key => key?,
    };
    let setting = |(value, name)| Some((name, key.get_string(value).ok()?));
    Ok(super::MANAGED.into_iter().filter_map(setting).collect())
}

/// Tells the service manager, if it is the one that started the agent.
pub fn notify(notice: Notice<'_>) {
    service::report(notice);
}

/// None: the service manager watches the process, not its loop.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    None
}

/// None: a file for whoever sits at the device is for a group here, which has changing members.
#[expect(clippy::unused_async, reason = "other systems have to ask a program")]
pub async fn console_user() -> Option<u32> {
    None
}

/// There is no journal.
#[must_use]
pub fn stderr_is_journal(_stream: &str) -> bool {
    false
}

/// Whether this process may read everything on the machine: the hive of `LOCAL SERVICE` opens to
/// administrators and SYSTEM alone.
#[must_use]
pub fn is_administrator() -> bool {
    windows_registry::USERS.open("S-1-5-19").is_ok()
}

/// Has the end of standard input count as a wish to stop.
pub fn stop_with_input() {
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        service::request_stop();
    });
}

/// Completes each time that somebody asks the agent to stop: the service manager, or a person or
/// the system through the console. That a user logs off is nothing to a service.
#[derive(Debug)]
pub struct StopRequests {
    interrupt: CtrlC,
    break_key: CtrlBreak,
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

impl StopRequests {
    /// Begins to listen. Needs a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: windows::ctrl_c()?,
            break_key: windows::ctrl_break()?,
            close: windows::ctrl_close()?,
            shutdown: windows::ctrl_shutdown()?,
        })
    }

    /// Waits for the next request.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.break_key.recv() => {}
            _ = self.close.recv() => {}
            _ = self.shutdown.recv() => {}
            () = service::stop_requested() => {}
        }
    }
}
