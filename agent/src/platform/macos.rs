//! macOS: what its own tools tell of the machine, launchd, `ps`.

#[cfg(unix)]
#[cfg_attr(
    not(target_os = "macos"),
    expect(unreachable_pub, reason = "it is tried out wherever there is a shell")
)]
mod keystore;
mod tools;
#[cfg(target_os = "macos")]
mod tray;

#[cfg(target_os = "macos")]
pub use self::{keystore::Keystore, system::*, tray::show_icon};

#[cfg(target_os = "macos")]
mod system {
    use std::{collections::BTreeMap, io, process::Stdio, time::Duration};

    use camino::{Utf8Path, Utf8PathBuf};

    use super::tools;
    use crate::platform::{Machine, Notice};

    /// What launchd starts the agent by.
    const DAEMON: &str = "/Library/LaunchDaemons/com.fleetdm.orbit.plist";

    /// Where macOS puts what a configuration profile for Fleet's agent says.
    const PROFILE: &str = "/Library/Managed Preferences/com.fleetdm.fleetd.config.plist";

    /// The certificates that the system's own command-line tools trust.
    const CA_BUNDLE: &str = "/etc/ssl/cert.pem";

    /// What a person does about a wrong clock.
    pub const CLOCK_HELP: &str =
        "have it set by the network: `systemsetup -setusingnetworktime on`";

    /// What a person does about a service that does not run.
    pub const START_HELP: &str = "run `launchctl bootstrap system \
        /Library/LaunchDaemons/com.fleetdm.orbit.plist`, and look at the log for why it ended";

    /// What a person does about settings that cannot be used.
    pub const SETTINGS_HELP: &str = "edit `EnvironmentVariables` in \
        `/Library/LaunchDaemons/com.fleetdm.orbit.plist`, then run `launchctl bootout` and \
        `launchctl bootstrap system` with it";

    /// Reads what the machine says of itself. There is one, wherever `system` points to.
    #[must_use]
    pub fn describe(_system: &Utf8Path) -> Machine {
        let hardware = ask("/usr/sbin/ioreg", &["-rd1", "-c", "IOPlatformExpertDevice"]);
        let field = |name: &str| tools::ioreg_field(&hardware, name);
        let uname = rustix::system::uname();
        let version = ask("/usr/bin/sw_vers", &[]);
        Machine {
            firmware_uuid: field("IOPlatformUUID"),
            machine_id: None,
            serial: field("IOPlatformSerialNumber").unwrap_or_default(),
            model: field("model").unwrap_or_default(),
            hostname: uname.nodename().to_string_lossy().into_owned(),
            platform: "darwin".to_owned(),
            platform_like: "darwin".to_owned(),
            os_version: tools::system_version(&version),
            cpu_type: Some(uname.machine().to_string_lossy().into_owned()),
        }
    }

    /// What the program prints; nothing when it cannot be run.
    fn ask(program: &str, arguments: &[&str]) -> String {
        #[expect(clippy::disallowed_methods, reason = "the platform starts what the system offers")]
        let mut command = std::process::Command::new(program);
        let output = command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output();
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    }

    /// The user id of whoever sits at the device: the console is theirs, and root's while somebody
    /// is being asked for a name and password.
    #[expect(clippy::unused_async, reason = "other systems have to ask a program")]
    pub async fn console_user() -> Option<u32> {
        use std::os::unix::fs::MetadataExt as _;
        let owner = std::fs::metadata("/dev/console").ok()?.uid();
        (owner != 0).then_some(owner)
    }

    /// The file with the certificates that this system trusts.
    #[must_use]
    pub fn system_ca_bundle() -> Option<Utf8PathBuf> {
        Some(Utf8PathBuf::from(CA_BUNDLE)).filter(|path| path.is_file())
    }

    /// The settings that the installed daemon starts with; none where there are none, or not for
    /// this user to read.
    pub fn installed_settings() -> io::Result<BTreeMap<String, String>> {
        match std::fs::File::open(DAEMON) {
            Err(error) if crate::platform::is_absent_or_private(&error) => Ok(BTreeMap::new()),
            Err(error) => Err(error),
            Ok(_) => tools::daemon_environment(&ask(
                "/usr/bin/plutil",
                &["-convert", "json", "-o", "-", DAEMON],
            )),
        }
    }

    /// What a configuration profile tells the agent; nothing where there is none.
    pub fn profile_settings() -> io::Result<BTreeMap<&'static str, String>> {
        match std::fs::read(PROFILE) {
            Ok(bytes) => tools::profile_settings(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }

    /// launchd asks for nothing and is told nothing.
    pub const fn notify(_notice: Notice<'_>) {}

    /// None: launchd watches the process, not its loop.
    #[must_use]
    pub const fn watchdog() -> Option<Duration> {
        None
    }

    /// There is no journal.
    #[must_use]
    pub const fn stderr_is_journal(_stream: &str) -> bool {
        false
    }

    /// The processes other than this one that were started with `argument` among their arguments.
    #[must_use]
    pub fn processes_with_argument(argument: &str) -> Vec<u32> {
        let listing = ask("/bin/ps", &["-axww", "-o", "pid=,stat=,command="]);
        let mut processes = tools::processes_with_argument(&listing, argument);
        processes.retain(|process| *process != std::process::id());
        processes
    }
}
