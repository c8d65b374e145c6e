//! What differs between systems: one file each, the same functions in all.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(target_os = "macos", test))]
mod macos;
#[cfg(not(target_os = "linux"))]
mod no_session;
#[cfg(not(target_os = "linux"))]
mod no_tpm;
#[cfg(any(windows, test))]
mod sddl;
#[cfg(any(windows, target_os = "macos"))]
mod tray;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io;

#[cfg(any(windows, target_os = "macos", test))]
use wire::settings::vars;

#[cfg(target_os = "linux")]
pub use self::linux::*;
#[cfg(target_os = "macos")]
pub use self::macos::*;
#[cfg(unix)]
pub use self::unix::*;
#[cfg(windows)]
pub use self::windows::*;
#[cfg(not(target_os = "linux"))]
pub use self::{no_session::*, no_tpm::*};

/// What this machine says of itself. What is not known is empty or absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// The hardware's UUID as firmware tells it, placeholders included.
    pub firmware_uuid: Option<String>,
    /// The name of this installation of the system.
    pub machine_id: Option<String>,
    pub serial: String,
    pub model: String,
    pub hostname: String,
    /// osquery's word for the system, e.g. `debian`.
    pub platform: String,
    /// The family it belongs to.
    pub platform_like: String,
    /// For people, e.g. `Debian GNU/Linux 12 (bookworm)`.
    pub os_version: Option<String>,
    /// e.g. `x86_64`.
    pub cpu_type: Option<String>,
}

/// What the service manager is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice<'a> {
    Ready,
    /// One line for people.
    Status(&'a str),
    /// The loop turns.
    Alive,
    Stopping,
}

/// Who may read a file. Only root may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    Root,
    /// Root and whoever sits at the device: the user with this id; root alone if nobody does.
    /// Windows has a group for them instead of an id.
    User(Option<u32>),
    Everyone,
}

/// What somebody may do with a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    pub read: bool,
    pub write: bool,
}

/// What device management tells: Fleet's names in a configuration profile, and the variables that they
/// stand for.
#[cfg(any(windows, target_os = "macos", test))]
const MANAGED: [(&str, &str); 3] = [
    ("FleetURL", vars::FLEET_URL),
    ("EnrollSecret", vars::ENROLL_SECRET),
    ("EndUserEmail", vars::END_USER_EMAIL),
];

/// Whether somebody who looks has nothing to look at: there is no such file, or not for this user.
fn is_absent_or_private(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}
