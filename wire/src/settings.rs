//! What a package tells the agent: the `ORBIT_*` variables of `/etc/default/orbit`, typed.
//!
//! The packager writes them with [`AgentSettings::to_vars`], the agent reads them with
//! [`AgentSettings::from_vars`]. Names and meanings are Fleet's where Fleet has them. Paths that
//! follow from the root directory (`secret.txt`, `fleet.pem`, …, see [`files`]) are not written.

use std::{str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::{EnrollSecret, secret::SecretError};

/// Names below the agent's root directory, `/opt/orbit` unless `ORBIT_ROOT_DIR` says otherwise.
pub mod files {
    /// The enroll secret as packaged: one line, root only.
    pub const ENROLL_SECRET: &str = "secret.txt";
    /// The enroll secret that a package brought, where the agent itself makes [`ENROLL_SECRET`] of
    /// it: the same form, root only.
    pub const PACKAGED_SECRET: &str = "packaged.secret";
    /// Settings that a package brought, where the agent itself hands them to its service: an
    /// environment file.
    pub const PACKAGED_SETTINGS: &str = "packaged.env";
    /// Beside a packaged program: its version, one line.
    pub const PACKAGED_VERSION: &str = "VERSION";
    /// The agent's node key, root only. Fleet's name.
    pub const NODE_KEY: &str = "secret-orbit-node-key.txt";
    /// The key that the agent signs its requests with, where no keystore has it. Root only.
    pub const DEVICE_KEY: &str = "secret-orbit-device-key.txt";
    /// The enroll secret that counts and which ones it has replaced, where no keystore has it (JSON).
    pub const KEPT_SECRET: &str = "enroll-secret.json";
    /// What the agent remembers of who it is and where it is enrolled, without secrets (JSON).
    pub const IDENTITY: &str = "identity.json";
    /// The osqueryd flags that the server last wished for.
    pub const SERVER_FLAGS: &str = "server-flags.json";
    /// Until when the agent logs more, as the server wished: a timestamp.
    pub const DEBUG_UNTIL: &str = "debug-until";
    /// What opens the device's page for its user: the agent makes and renews it. Fleet's name.
    pub const DESKTOP_TOKEN: &str = "identifier";
    /// Where `fleet-desktop` asks about the device, without secrets (JSON).
    pub const DESKTOP_LINK: &str = "desktop.json";
    /// Last contact and the like, for `orbit status` (JSON).
    pub const STATUS: &str = "status.json";
    /// Certificates that the server's is checked against, instead of the system's (PEM).
    pub const SERVER_CA: &str = "fleet.pem";
    /// Client certificate and key for the server (PEM).
    pub const CLIENT_CERTIFICATE: &str = "fleet_client.crt";
    pub const CLIENT_KEY: &str = "fleet_client.key";
    /// The same three for the update server.
    pub const UPDATE_CA: &str = "update.pem";
    pub const UPDATE_CLIENT_CERTIFICATE: &str = "update_client.crt";
    pub const UPDATE_CLIENT_KEY: &str = "update_client.key";
    /// The TUF root that updates are trusted by (JSON).
    pub const UPDATE_ROOT: &str = "update-root.json";
    /// What the agent keeps of updates: metadata, downloads, what was tried. Root only.
    pub const UPDATES: &str = "updates";
    /// osqueryd's flags as packaged or edited.
    pub const OSQUERY_FLAGS: &str = "osquery.flags";
    /// osqueryd's database, unless `ORBIT_OSQUERY_DB` names another place.
    pub const OSQUERY_DB: &str = "osquery.db";
    /// Where osqueryd says which process it is, and what marks it as this agent's.
    pub const OSQUERY_PID: &str = "osquery.pid";
    /// The folder for osqueryd's own logs.
    pub const OSQUERY_LOGS: &str = "osquery_log";
    /// The authorities that osqueryd checks the server's certificate against (PEM).
    pub const OSQUERY_AUTHORITIES: &str = "osqueryd-authorities.pem";
    /// The folder of what osqueryd reaches the agent's relay with, where there is one. Fleet's name.
    pub const RELAY: &str = "proxy";
    /// What osqueryd reads which extensions to load from. Fleet's name.
    pub const EXTENSIONS_LOAD: &str = "extensions.load";
    /// The folder of extensions, below that of programs. Fleet's name.
    pub const EXTENSIONS: &str = "extensions";
    /// Held by the agent for as long as it runs.
    pub const LOCK: &str = "orbit.lock";
    /// The folder for the agent's logs on Windows.
    pub const LOGS: &str = "logs";
    /// In a component's folder: the folder of the program that the package brought.
    pub const PACKAGED: &str = "packaged";
    /// Beside it on Windows: a file that names the folder of the program to run, once an update has
    /// brought one.
    pub const CURRENT: &str = "current";
}

/// Every variable that the agent reads.
pub mod vars {
    pub const FLEET_URL: &str = "ORBIT_FLEET_URL";
    pub const ENROLL_SECRET: &str = "ORBIT_ENROLL_SECRET";
    pub const ENROLL_SECRET_PATH: &str = "ORBIT_ENROLL_SECRET_PATH";
    pub const FLEET_CERTIFICATE: &str = "ORBIT_FLEET_CERTIFICATE";
    pub const INSECURE: &str = "ORBIT_INSECURE";
    pub const ROOT_DIR: &str = "ORBIT_ROOT_DIR";
    pub const DEBUG: &str = "ORBIT_DEBUG";
    /// Where the agent logs to instead of standard error.
    pub const LOG_FILE: &str = "ORBIT_LOG_FILE";
    pub const HOST_IDENTIFIER: &str = "ORBIT_HOST_IDENTIFIER";
    pub const OSQUERY_DB: &str = "ORBIT_OSQUERY_DB";
    pub const END_USER_EMAIL: &str = "ORBIT_END_USER_EMAIL";
    pub const ENABLE_SCRIPTS: &str = "ORBIT_ENABLE_SCRIPTS";
    pub const DISABLE_SETUP_EXPERIENCE: &str = "ORBIT_DISABLE_SETUP_EXPERIENCE";
    pub const BYPASS_END_USER_AUTH: &str = "ORBIT_BYPASS_END_USER_AUTH";
    pub const DISABLE_KEYSTORE: &str = "ORBIT_DISABLE_KEYSTORE";
    pub const DEVICE_KEY: &str = "ORBIT_DEVICE_KEY";
    pub const FLEET_DESKTOP: &str = "ORBIT_FLEET_DESKTOP";
    pub const USE_SYSTEM_CONFIGURATION: &str = "ORBIT_USE_SYSTEM_CONFIGURATION";
    pub const BROWSER_HOST: &str = "ORBIT_FLEET_DESKTOP_ALTERNATIVE_BROWSER_HOST";
    pub const UPDATE_URL: &str = "ORBIT_UPDATE_URL";
    pub const UPDATE_INTERVAL: &str = "ORBIT_UPDATE_INTERVAL";
    /// The most bytes that updates are downloaded with in a second: `500k`, `2M`.
    pub const UPDATE_RATE: &str = "ORBIT_UPDATE_RATE";
    pub const DISABLE_UPDATES: &str = "ORBIT_DISABLE_UPDATES";
    pub const ORBIT_CHANNEL: &str = "ORBIT_ORBIT_CHANNEL";
    pub const OSQUERYD_CHANNEL: &str = "ORBIT_OSQUERYD_CHANNEL";
    pub const DESKTOP_CHANNEL: &str = "ORBIT_DESKTOP_CHANNEL";
    pub const HTTPS_PROXY: &str = "HTTPS_PROXY";
    pub const NO_PROXY: &str = "NO_PROXY";
}

/// What osqueryd and the agent name a device by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostIdentifier {
    /// The hardware's UUID.
    #[default]
    Uuid,
    /// A random UUID of this installation, for hardware whose UUIDs are not unique.
    Instance,
}

impl HostIdentifier {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Instance => "instance",
        }
    }
}

impl FromStr for HostIdentifier {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "uuid" => Ok(Self::Uuid),
            "instance" => Ok(Self::Instance),
            _ => Err("it is neither `uuid` nor `instance`"),
        }
    }
}

/// Channels that components are updated from: `stable`, `edge`, or a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channels {
    pub orbit: String,
    pub osqueryd: String,
    pub desktop: String,
}

impl Default for Channels {
    fn default() -> Self {
        let stable = || String::from("stable");
        Self { orbit: stable(), osqueryd: stable(), desktop: stable() }
    }
}

/// How often updates are looked for unless a package says otherwise.
pub const DEFAULT_UPDATE_INTERVAL: Duration = Duration::from_mins(15);

/// The settings of an installed agent. The enroll secret that a package carries is not among them:
/// it has a file of its own, [`files::ENROLL_SECRET`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSettings {
    /// Where the server is. None: a package without configuration, to be completed on the device.
    pub fleet_url: Option<Url>,
    /// Do not check the server's certificate.
    pub insecure: bool,
    /// Log more.
    pub debug: bool,
    pub host_identifier: HostIdentifier,
    /// Where osqueryd keeps its database, an absolute path.
    pub osquery_db: Option<String>,
    pub end_user_email: Option<String>,
    pub enable_scripts: bool,
    pub disable_setup_experience: bool,
    pub bypass_end_user_auth: bool,
    /// Keep secrets in files that the system alone can read, not in its keystore.
    pub disable_keystore: bool,
    /// Enroll with a key pair of the device's own, and sign every request with it.
    pub device_key: bool,
    /// On a Mac: a configuration profile tells server and enroll secret, and wins over what is set here.
    pub use_system_configuration: bool,
    /// Show the tray icon to users who are logged in.
    pub fleet_desktop: bool,
    /// `host[:port]` to use in links that the tray icon opens.
    pub browser_host: Option<String>,
    /// Where updates come from. None: the server's own repository.
    pub update_url: Option<Url>,
    pub update_interval: Duration,
    /// The most bytes that updates are downloaded with in a second. None: as many as come.
    pub update_rate: Option<u64>,
    pub disable_updates: bool,
    pub channels: Channels,
    /// Proxy for the agent and osqueryd.
    pub proxy: Option<Url>,
    /// Hosts reached without the proxy, in curl's notation: `localhost,.example.com,10.0.0.0/8`.
    pub no_proxy: Option<String>,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            fleet_url: None,
            insecure: false,
            debug: false,
            host_identifier: HostIdentifier::Uuid,
            osquery_db: None,
            end_user_email: None,
            enable_scripts: false,
            disable_setup_experience: false,
            bypass_end_user_auth: false,
            disable_keystore: false,
            device_key: false,
            use_system_configuration: false,
            fleet_desktop: false,
            browser_host: None,
            update_url: None,
            update_interval: DEFAULT_UPDATE_INTERVAL,
            update_rate: None,
            disable_updates: false,
            channels: Channels::default(),
            proxy: None,
            no_proxy: None,
        }
    }
}

/// A variable whose value cannot be used. Never shows the value: it may be a misplaced secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` cannot be used: {reason}")]
pub struct SettingsError {
    pub name: &'static str,
    pub reason: String,
}

impl AgentSettings {
    /// The variables that say the same, in a fixed order; what equals the default is left out,
    /// except channels and interval, which administrators look for.
    #[must_use]
    pub fn to_vars(&self) -> Vec<(&'static str, String)> {
        let mut vars = Vec::new();
        let mut text = |name, value: Option<String>| vars.extend(value.map(|value| (name, value)));
        let flag = |on: bool| on.then(|| String::from("true"));
        text(vars::FLEET_URL, self.fleet_url.as_ref().map(Url::to_string));
        text(vars::INSECURE, flag(self.insecure));
        text(vars::DEBUG, flag(self.debug));
        text(
            vars::HOST_IDENTIFIER,
            (self.host_identifier != HostIdentifier::Uuid)
                .then(|| self.host_identifier.as_str().to_owned()),
        );
        text(vars::OSQUERY_DB, self.osquery_db.clone());
        text(vars::END_USER_EMAIL, self.end_user_email.clone());
        text(vars::ENABLE_SCRIPTS, flag(self.enable_scripts));
        text(vars::DISABLE_SETUP_EXPERIENCE, flag(self.disable_setup_experience));
        text(vars::BYPASS_END_USER_AUTH, flag(self.bypass_end_user_auth));
        text(vars::DISABLE_KEYSTORE, flag(self.disable_keystore));
        text(vars::DEVICE_KEY, flag(self.device_key));
        text(vars::USE_SYSTEM_CONFIGURATION, flag(self.use_system_configuration));
        text(vars::FLEET_DESKTOP, flag(self.fleet_desktop));
        text(vars::BROWSER_HOST, self.browser_host.clone());
        text(vars::UPDATE_URL, self.update_url.as_ref().map(Url::to_string));
        text(vars::UPDATE_INTERVAL, Some(duration_text(self.update_interval)));
        text(vars::UPDATE_RATE, self.update_rate.map(rate_text));
        text(vars::DISABLE_UPDATES, flag(self.disable_updates));
        text(vars::ORBIT_CHANNEL, Some(self.channels.orbit.clone()));
        text(vars::OSQUERYD_CHANNEL, Some(self.channels.osqueryd.clone()));
        text(vars::DESKTOP_CHANNEL, self.fleet_desktop.then(|| self.channels.desktop.clone()));
        text(vars::HTTPS_PROXY, self.proxy.as_ref().map(Url::to_string));
        text(vars::NO_PROXY, self.no_proxy.clone());
        vars
    }

    /// What the addresses with a password in them are for: where everybody can read the settings,
    /// there may be none.
    pub fn with_password(&self) -> impl Iterator<Item = &'static str> {
        let Self { fleet_url, update_url, proxy, .. } = self;
        let urls = [("Fleet URL", fleet_url), ("update URL", update_url), ("proxy URL", proxy)];
        let with_password = |url: &Url| url.password().is_some();
        urls.into_iter()
            .filter(move |(_, url)| url.as_ref().is_some_and(with_password))
            .map(|(what, _)| what)
    }

    /// Reads the settings through `lookup`, which gives a variable's value. An empty value counts
    /// as none. All values that cannot be used are reported together.
    pub fn from_vars(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<SettingsError>> {
        let mut read = Vars { lookup, errors: Vec::new() };
        let defaults = Self::default();
        let settings = Self {
            fleet_url: read.parsed(vars::FLEET_URL, server_url),
            insecure: read.flag(vars::INSECURE),
            debug: read.flag(vars::DEBUG),
            host_identifier: read.parsed(vars::HOST_IDENTIFIER, str::parse).unwrap_or_default(),
            osquery_db: read.text(vars::OSQUERY_DB),
            end_user_email: read.text(vars::END_USER_EMAIL),
            enable_scripts: read.flag(vars::ENABLE_SCRIPTS),
            disable_setup_experience: read.flag(vars::DISABLE_SETUP_EXPERIENCE),
            bypass_end_user_auth: read.flag(vars::BYPASS_END_USER_AUTH),
            disable_keystore: read.flag(vars::DISABLE_KEYSTORE),
            device_key: read.flag(vars::DEVICE_KEY),
            use_system_configuration: read.flag(vars::USE_SYSTEM_CONFIGURATION),
            fleet_desktop: read.flag(vars::FLEET_DESKTOP),
            browser_host: read.text(vars::BROWSER_HOST),
            update_url: read.parsed(vars::UPDATE_URL, Url::parse),
            update_interval: read
                .parsed(vars::UPDATE_INTERVAL, parse_duration)
                .unwrap_or(defaults.update_interval),
            update_rate: read.parsed(vars::UPDATE_RATE, parse_rate),
            disable_updates: read.flag(vars::DISABLE_UPDATES),
            channels: Channels {
                orbit: read.text(vars::ORBIT_CHANNEL).unwrap_or(defaults.channels.orbit),
                osqueryd: read.text(vars::OSQUERYD_CHANNEL).unwrap_or(defaults.channels.osqueryd),
                desktop: read.text(vars::DESKTOP_CHANNEL).unwrap_or(defaults.channels.desktop),
            },
            proxy: read.parsed(vars::HTTPS_PROXY, Url::parse),
            no_proxy: read.text(vars::NO_PROXY),
        };
        if read.errors.is_empty() { Ok(settings) } else { Err(read.errors) }
    }
}

/// Reads the server's address as people write it: a URL, or `host[:port]`, which means https.
/// Query, fragment and credentials are refused; a path is kept, without a slash at its end.
pub fn server_url(text: &str) -> Result<Url, String> {
    let with_scheme =
        if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let mut url = Url::parse(&with_scheme).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(format!("its scheme is `{}`, not https", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("it names no host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it contains credentials".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has a query or fragment".to_owned());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// Joins `path` (with a leading slash) to the server's address, which may have a path of its own.
#[must_use]
pub fn endpoint(server: &Url, path: &str) -> Url {
    let mut url = server.clone();
    url.set_path(&format!("{}{path}", server.path().trim_end_matches('/')));
    url
}

/// Reads an enroll secret from a file's text: one line, the line end not part of it.
pub fn secret_from_file_text(text: &str) -> Result<EnrollSecret, SecretError> {
    EnrollSecret::new(
        text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line)),
    )
}

/// Reads what is either on or off.
pub fn parse_flag(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "t" | "yes" => Ok(true),
        "false" | "0" | "f" | "no" => Ok(false),
        _ => Err("it is neither `true` nor `false`"),
    }
}

/// Reads Go's duration notation as far as it concerns us: `90s`, `15m`, `1h30m`, `1d`; above zero.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration like 90s, 15m or 1h30m");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit = tail.chars().next().ok_or_else(wrong)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = &tail[1..];
    }
    if total.is_zero() { Err(wrong()) } else { Ok(total) }
}

/// Writes a duration of whole seconds as [`parse_duration`] reads it, in the largest exact unit.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    for (unit, length) in [("h", 3_600), ("m", 60)] {
        if seconds > 0 && seconds.is_multiple_of(length) {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

/// Reads bytes in a second as curl's `--limit-rate` has them: `500k` is 500 times 1,024; above zero.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a rate like 800000, 500k or 2M");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).filter(|rate| *rate > 0).ok_or_else(wrong)
}

/// Writes a rate as [`parse_rate`] reads it, in the largest exact unit.
#[must_use]
pub fn rate_text(rate: u64) -> String {
    for (unit, size) in [("G", 1 << 30), ("M", 1 << 20), ("k", 1 << 10)] {
        if rate > 0 && rate.is_multiple_of(size) {
            return format!("{}{unit}", rate / size);
        }
    }
    rate.to_string()
}

struct Vars<F> {
    lookup: F,
    errors: Vec<SettingsError>,
}

impl<F: Fn(&str) -> Option<String>> Vars<F> {
    fn text(&mut self, name: &'static str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    fn parsed<T, E: ToString>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.text(name)?;
        parse(&value)
            .map_err(|error| self.errors.push(SettingsError { name, reason: error.to_string() }))
            .ok()
    }

    fn flag(&mut self, name: &'static str) -> bool {
        self.parsed(name, parse_flag).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn full() -> AgentSettings {
        AgentSettings {
            fleet_url: Some(server_url("fleet.example.com:8443/base/").unwrap()),
            insecure: true,
            debug: true,
            host_identifier: HostIdentifier::Instance,
            osquery_db: Some("/srv/osquery.db".into()),
            end_user_email: Some("ann@example.com".into()),
            enable_scripts: true,
            disable_setup_experience: true,
            bypass_end_user_auth: true,
            disable_keystore: true,
            device_key: true,
            use_system_configuration: true,
            fleet_desktop: true,
            browser_host: Some("my.example.com".into()),
            update_url: Some(Url::parse("https://updates.example.com/").unwrap()),
            update_interval: Duration::from_mins(90),
            update_rate: Some(500 << 10),
            disable_updates: true,
            channels: Channels {
                orbit: "edge".into(),
                osqueryd: "5.9.1".into(),
                desktop: "1".into(),
            },
            proxy: Some(Url::parse("http://u:p@proxy:3128/").unwrap()),
            no_proxy: Some("localhost,.example.com".into()),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for settings in [full(), AgentSettings::default()] {
            let vars: HashMap<_, _> = settings.to_vars().into_iter().collect();
            let read = AgentSettings::from_vars(|name| vars.get(name).cloned());
            assert_eq!(read, Ok(settings));
        }
    }

    #[test]
    fn all_errors_come_together_and_show_no_value() {
        let vars = HashMap::from([
            (vars::FLEET_URL, "https://u:p@host"),
            (vars::INSECURE, "perhaps"),
            (vars::HOST_IDENTIFIER, "hostname"),
        ]);
        let errors =
            AgentSettings::from_vars(|name| vars.get(name).map(|v| (*v).to_owned())).unwrap_err();
        let names: Vec<_> = errors.iter().map(|error| error.name).collect();
        assert_eq!(names, [vars::FLEET_URL, vars::INSECURE, vars::HOST_IDENTIFIER]);
        assert!(!format!("{errors:?}").contains("u:p"));
    }

    #[test]
    fn server_addresses_are_read_as_people_write_them() {
        assert_eq!(server_url("fleet:8080").unwrap().as_str(), "https://fleet:8080/");
        assert_eq!(server_url("http://[::1]:80/x//").unwrap().as_str(), "http://[::1]/x");
        for bad in ["", "ftp://x", "https://", "https://a?b", "https://a b", "https://a#b"] {
            assert!(server_url(bad).is_err(), "{bad:?}");
        }
        let base = server_url("fleet/base").unwrap();
        assert_eq!(endpoint(&base, "/api/x").as_str(), "https://fleet/base/api/x");
    }

    #[test]
    fn rates_round_trip() {
        for text in ["1", "800000", "500k", "2M", "1G"] {
            assert_eq!(rate_text(parse_rate(text).unwrap()), text);
        }
        assert_eq!(parse_rate("2048"), Ok(2_048));
        for bad in [
            "",
            "0",
            "k",
            "-1",
            "1.5M",
            "1kk",
            "1x",
            "1ü",
            "99999999999999999999",
            "18014398509481984k",
        ] {
            assert!(parse_rate(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn durations_round_trip() {
        for text in ["90s", "15m", "2h", "24h"] {
            assert_eq!(duration_text(parse_duration(text).unwrap()), text);
        }
        assert_eq!(parse_duration("1d1h30m1s"), Ok(Duration::from_secs(91_801)));
        for bad in ["", "0s", "5", "m", "5x", "-1s", "5ü", "99999999999999999999h"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }
}
