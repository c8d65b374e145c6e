//! Linux: SMBIOS, systemd, `/proc`.

mod keystore;
mod session;
mod tpm;
mod tray;

use std::{collections::BTreeMap, fs, io, process::Stdio, time::Duration};

use camino::{Utf8Path, Utf8PathBuf};
use tokio::{process::Command, time};

pub use self::{
    keystore::Keystore,
    session::{Session, session},
    tpm::{TpmError, TpmKey},
    tray::show_icon,
};
use super::{Machine, Notice};

/// Where the package puts the agent's settings, below the root of the system.
const SETTINGS: &str = "etc/default/orbit";

/// Where programs that set a device up put more of them, as `*.conf`.
const MORE_SETTINGS: &str = "etc/orbit/conf.d";

/// What `orbit enroll` writes there.
const ENROLL_SETTINGS: &str = "50-enroll.conf";

/// How long logind may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a person does about settings that cannot be used.
pub const SETTINGS_HELP: &str = "edit `/etc/default/orbit`, then run `systemctl restart orbit`";

/// What a person does about a wrong clock.
pub const CLOCK_HELP: &str = "have it set by the network: `timedatectl set-ntp true`";

/// What a person does about a service that does not run.
pub const START_HELP: &str =
    "run `systemctl start orbit`, and look at `journalctl --unit orbit` for why it ended";

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

/// The user id of whoever sits at the device's first seat, as logind tells. Needs a tokio runtime.
pub async fn console_user() -> Option<u32> {
    let session = loginctl(&["show-seat", "seat0", "--property=ActiveSession", "--value"]).await?;
    let session =
        loginctl(&["show-session", &session, "--property=User", "--property=Class"]).await?;
    session_user(&session)
}

/// Whose session it is, of the properties that `loginctl show-session` prints. The screen that asks
/// for a name and password has a session too, and is nobody.
fn session_user(properties: &str) -> Option<u32> {
    let property =
        |name: &str| properties.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    if property("Class")? != "user" {
        return None;
    }
    property("User")?.parse().ok()
}

/// What loginctl(1) prints, if there is one, it answers in time, and it prints anything.
async fn loginctl(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("loginctl");
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = time::timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}

/// The settings that the installed service starts with; none where there are none, or not for this
/// user to read.
pub fn installed_settings() -> io::Result<BTreeMap<String, String>> {
    settings_below("/".into())
}

/// As the unit's two `EnvironmentFile=` have them: of a variable that is set twice, the later counts.
fn settings_below(system: &Utf8Path) -> io::Result<BTreeMap<String, String>> {
    let mut settings = BTreeMap::new();
    for path in std::iter::once(system.join(SETTINGS)).chain(dropped_in(system)?) {
        match fs::read_to_string(&path) {
            Ok(text) => settings.extend(wire::envfile::parse(&text)),
            Err(error) if is_nothing(&error) => {}
            Err(error) => return Err(io::Error::new(error.kind(), format!("`{path}`: {error}"))),
        }
    }
    Ok(settings)
}

/// Whether there is nothing to read. From root nothing is private: what it may not read is there.
fn is_nothing(error: &io::Error) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    error.kind() == io::ErrorKind::NotFound || !is_root && super::is_absent_or_private(error)
}

/// Writes `settings` to where the service reads them after its package's, for root alone. Those that
/// were written so before are replaced.
pub fn add_settings(settings: &BTreeMap<&str, String>) -> io::Result<()> {
    let folder = Utf8Path::new("/").join(MORE_SETTINGS);
    fs::create_dir_all(&folder)?;
    let pairs = settings.iter().map(|(name, value)| (*name, value.as_str()));
    let text = wire::envfile::render(pairs);
    crate::durable::replace(&folder.join(ENROLL_SETTINGS), text.as_bytes(), super::Readers::Root)
}

/// Starts the service, anew if it runs.
#[expect(clippy::disallowed_methods, reason = "systemd is asked through its own program")]
pub fn restart_service() -> io::Result<()> {
    let status = std::process::Command::new("systemctl").args(["restart", "orbit"]).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("systemctl: {status}"))) }
}

/// In the order of their names, without those that begin with a dot, as glob(3) has them.
fn dropped_in(system: &Utf8Path) -> io::Result<Vec<Utf8PathBuf>> {
    let folder = system.join(MORE_SETTINGS);
    let entries = match folder.read_dir_utf8() {
        Ok(entries) => entries,
        Err(error) if is_nothing(&error) => return Ok(Vec::new()),
        Err(error) => return Err(io::Error::new(error.kind(), format!("`{folder}`: {error}"))),
    };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.into_path())).collect();
    paths.retain(|path| {
        path.extension() == Some("conf")
            && path.file_name().is_some_and(|name| !name.starts_with('.'))
    });
    paths.sort_unstable();
    Ok(paths)
}

/// None: only macOS has configuration profiles.
pub fn profile_settings() -> io::Result<BTreeMap<&'static str, String>> {
    Ok(BTreeMap::new())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_were_dropped_in_win_in_the_order_of_their_names() {
        let system = tempfile::tempdir().unwrap();
        let system = Utf8Path::from_path(system.path()).unwrap();
        for (name, text) in [
            (SETTINGS, "A=package\nB=package\nC=package"),
            ("etc/orbit/conf.d/50-site.conf", "B=site\nC=site"),
            ("etc/orbit/conf.d/90-device.conf", "C=\"the device\""),
            ("etc/orbit/conf.d/99-old.conf.bak", "A=old"),
            ("etc/orbit/conf.d/.95-hidden.conf", "A=hidden"),
        ] {
            fs::create_dir_all(system.join(name).parent().unwrap()).unwrap();
            fs::write(system.join(name), text).unwrap();
        }
        let settings = settings_below(system).unwrap();
        let value = |name: &str| settings[name].as_str();
        assert_eq!([value("A"), value("B"), value("C")], ["package", "site", "the device"]);

        // Without one of them it is not known which settings there are.
        fs::write(system.join("etc/orbit/conf.d/60-half.conf"), b"B=\xff").unwrap();
        let error = settings_below(system).unwrap_err();
        assert!(error.to_string().contains("60-half.conf"), "{error}");
        fs::remove_dir_all(system.join("etc/orbit")).unwrap();
        assert_eq!(settings_below(system).unwrap()["B"], "package");
    }

    #[test]
    fn the_screen_that_asks_who_is_there_is_nobody() {
        assert_eq!(session_user("User=1000\nClass=user"), Some(1000));
        assert_eq!(session_user("User=117\nClass=greeter"), None);
        assert_eq!(session_user("User=117\nClass=lock-screen"), None);
        assert_eq!(session_user(""), None);
    }
}
