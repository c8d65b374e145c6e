//! What the package and the administrator set: flags over the environment over an environment
//! file, as `ORBIT_*` variables (see [`wire::settings`]). Nothing else reads the environment.

mod origin;

use std::{collections::BTreeMap, env, fmt, io};

use camino::{Utf8Path, Utf8PathBuf};
use url::Url;
use wire::{
    AgentSettings, EnrollSecret, envfile,
    settings::{self, files, vars},
};

pub use self::origin::{Looks, Origin};
use crate::{
    complaints::explain,
    durable,
    identity::Home,
    platform, proxy,
    secrets::{self, SecretSource, Secrets},
    server::{Connection, Timeouts},
    trust::{ClientCertificate, Trust},
    vault::Vault,
};

/// Proxy for servers that are spoken to without TLS.
const HTTP_PROXY: &str = "HTTP_PROXY";

/// sysexits(3): ends an agent that cannot use its settings. systemd does not start it
/// again, and Windows is told that it just stopped; launchd starts it again.
pub const EX_CONFIG: u8 = 78;

/// Set by systemd when standard error goes to the journal.
const JOURNAL_STREAM: &str = "JOURNAL_STREAM";

/// Settings that this agent reads and does nothing with.
const NOT_HANDLED: [&str; 3] =
    [vars::ENABLE_SCRIPTS, vars::DISABLE_SETUP_EXPERIENCE, vars::BYPASS_END_USER_AUTH];

/// Where a server has a repository of updates, unless a package names another.
const UPDATES_PATH: &str = "/updates";

/// Everything the agent needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Config {
    pub root: Utf8PathBuf,
    /// Below which the machine describes itself: `/` on a device.
    pub system: Utf8PathBuf,
    pub connection: Connection,
    pub secret: SecretSource,
    /// Where updates come from; none: nowhere.
    pub updates: Option<UpdateSource>,
    /// The settings as they were written; `fleet_url` and the proxy are in `connection`.
    pub settings: AgentSettings,
    /// Variables that are set and that this agent does not act on.
    pub not_handled: Vec<&'static str>,
    /// What another version has to be content with, too.
    pub variables: Variables,
    /// This program's own file, if the system tells.
    pub program: Option<Utf8PathBuf>,
}

/// The repository that updates come from.
#[derive(Debug, Clone)]
pub struct UpdateSource {
    /// How it is reached; its address is the folder with `timestamp.json`.
    pub connection: Connection,
    /// The root metadata that it is trusted by.
    pub pinned_root: Utf8PathBuf,
}

/// What a program is started with to have the settings that count, and nothing else.
#[derive(Clone, Default)]
pub struct Variables(pub BTreeMap<String, String>);

/// Shows no values: there may be a secret among them.
impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Where variables are looked up: the first that has one counts.
#[derive(Clone, Default)]
pub struct Sources {
    /// Command-line flags, by the variable that they stand for.
    pub flags: BTreeMap<&'static str, String>,
    /// What the organization that manages the device has set.
    pub profile: BTreeMap<&'static str, String>,
    pub environment: BTreeMap<String, String>,
    pub file: BTreeMap<String, String>,
    /// What went wrong while reading them.
    pub problems: Vec<String>,
}

/// Shows which variables are set, not their values: there may be a secret among them.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("flags", &self.flags.keys())
            .field("profile", &self.profile.keys())
            .field("environment", &self.environment.keys())
            .field("file", &self.file.keys())
            .field("problems", &self.problems)
            .finish()
    }
}

/// Every reason why the agent cannot start with what it was given.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used: {}", .problems.join("; "))]
pub struct ConfigError {
    pub problems: Vec<String>,
}

impl Sources {
    /// The process's environment, with `flags` over it and, when named, an environment file below.
    #[must_use]
    pub fn of_process(flags: BTreeMap<&'static str, String>, env_file: Option<&Utf8Path>) -> Self {
        let mut sources = Self { flags, ..Self::default() };
        for (name, value) in env::vars_os() {
            let Some(name) = name.to_str() else { continue };
            match value.into_string() {
                Ok(value) => {
                    sources.environment.insert(name.to_owned(), value);
                }
                Err(_) if name.starts_with("ORBIT_") => {
                    sources.problems.push(format!("`{name}` is not UTF-8"));
                }
                Err(_) => {}
            }
        }
        if let Some(path) = env_file {
            sources.read_file(path);
        }
        sources
    }

    /// Adds what an environment file says, below everything else.
    pub fn read_file(&mut self, path: &Utf8Path) {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        match durable::read(path).and_then(|text| text.ok_or_else(missing)) {
            Ok(text) => self.file.extend(envfile::parse(&text)),
            Err(error) => self.problems.push(format!("could not read `{path}`: {error}")),
        }
    }

    /// Adds what device management says: on macOS a configuration profile, if the settings so far tell
    /// to look at it, on Windows policies. While there is nothing, or nothing any more, the server
    /// that the device is enrolled with stays.
    pub fn read_profile(&mut self) {
        if !self.use_profile() {
            return;
        }
        match platform::profile_settings() {
            Ok(settings) => self.profile.extend(settings),
            Err(error) => {
                self.problems.push(format!("could not read what device management says: {error}"));
            }
        }
        self.remember_server();
    }

    /// Takes the server from the device's identity where nothing else names one.
    fn remember_server(&mut self) {
        if self.lookup(vars::FLEET_URL).is_none()
            && let Ok(Some(identity)) = self.home().load_identity()
        {
            self.file.insert(vars::FLEET_URL.to_owned(), identity.server_url.into());
        }
    }

    fn use_profile(&self) -> bool {
        cfg!(windows) || self.switch(vars::USE_SYSTEM_CONFIGURATION)
    }

    /// The variable's value. An empty one counts as none. Proxy variables are also known in lower
    /// case, as other programs know them.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<String> {
        let exact = self.exactly(name);
        if exact.is_none() && name.ends_with("_PROXY") {
            return self.exactly(&name.to_ascii_lowercase());
        }
        exact
    }

    fn exactly(&self, name: &str) -> Option<String> {
        let flag = [&self.flags, &self.profile]
            .iter()
            .find_map(|vars| vars.get(name).filter(|value| !value.is_empty()));
        let other = || {
            [&self.environment, &self.file]
                .iter()
                .find_map(|vars| vars.get(name).filter(|value| !value.is_empty()))
        };
        flag.or_else(other).cloned()
    }

    /// Every variable with the value that counts, by which settings are told from others.
    fn counting(&self) -> BTreeMap<&str, &str> {
        let below = [&self.file, &self.environment].into_iter().flatten();
        let below = below.map(|(name, value)| (name.as_str(), value.as_str()));
        let above = [&self.profile, &self.flags].into_iter().flatten();
        let above = above.map(|(name, value)| (*name, value.as_str()));
        below.chain(above).filter(|(_, value)| !value.is_empty()).collect()
    }

    /// Whether there is nothing to tell them from `other` ones by, which may have been read later.
    #[must_use]
    pub fn count_as(&self, other: &Self) -> bool {
        self.problems == other.problems && self.counting() == other.counting()
    }

    /// What a program needs to find the same settings. Device management it asks itself.
    fn to_hand_on(&self) -> Variables {
        let flags = self.flags.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let below = [&self.file, &self.environment].into_iter().flatten();
        let all = below.map(|(name, value)| (name.clone(), value.clone())).chain(flags);
        Variables(all.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// Whether the server is all that is missing, according to the `error` that they gave.
    #[must_use]
    pub fn want_server_alone(&self, error: &ConfigError) -> bool {
        self.lookup(vars::FLEET_URL).is_none() && error.problems.len() == 1
    }

    /// The root directory, whether or not the rest can be used.
    #[must_use]
    pub fn root(&self) -> Utf8PathBuf {
        self.lookup(vars::ROOT_DIR).map_or_else(platform::default_root, Utf8PathBuf::from)
    }

    /// The agent's own files, and the keystore of this system.
    #[must_use]
    pub fn home(&self) -> Home {
        Home::new(&self.root(), self.vault())
    }

    /// Where the agent keeps its secrets.
    #[must_use]
    pub fn vault(&self) -> Vault {
        Vault::new(&self.root(), "/".into(), !self.switch(vars::DISABLE_KEYSTORE))
    }

    /// Whether to log more.
    #[must_use]
    pub fn debug(&self) -> bool {
        self.switch(vars::DEBUG)
    }

    fn switch(&self, name: &str) -> bool {
        self.lookup(name).is_some_and(|text| settings::parse_flag(&text) == Ok(true))
    }

    /// The file to log to instead of standard error, if one is named.
    #[must_use]
    pub fn log_file(&self) -> Option<Utf8PathBuf> {
        self.lookup(vars::LOG_FILE).map(Utf8PathBuf::from)
    }

    /// Whether standard error goes to the journal.
    #[must_use]
    pub fn stderr_is_journal(&self) -> bool {
        self.lookup(JOURNAL_STREAM).is_some_and(|stream| platform::stderr_is_journal(&stream))
    }
}

impl Config {
    /// Reads everything, and reports all that is wrong together. A missing enroll secret is not
    /// wrong: a device that is enrolled can do without.
    pub fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let mut problems = sources.problems.clone();
        let root = sources.root();
        if !root.is_absolute() {
            problems.push(format!("`{}` must be an absolute path", vars::ROOT_DIR));
        }
        let secret = secret(sources, &root, &mut problems);
        let settings =
            AgentSettings::from_vars(|name| sources.lookup(name)).unwrap_or_else(|errors| {
                problems.extend(errors.iter().map(ToString::to_string));
                AgentSettings::default()
            });
        let connection = connection(sources, &root, &settings, &mut problems);
        let updates = connection
            .as_ref()
            .and_then(|server| update_source(sources, &root, (&settings, server), &mut problems));
        match (secret, connection) {
            (Some(secret), Some(connection)) if problems.is_empty() => {
                let set = |name: &&'static str| sources.lookup(name).is_some();
                let not_handled = NOT_HANDLED.into_iter().filter(set).collect();
                let system = "/".into();
                Ok(Self {
                    root,
                    system,
                    connection,
                    secret,
                    updates,
                    settings,
                    not_handled,
                    variables: sources.to_hand_on(),
                    program: own_program(),
                })
            }
            _ => Err(ConfigError { problems }),
        }
    }

    /// Where the agent keeps its secrets.
    #[must_use]
    pub fn vault(&self) -> Vault {
        Vault::new(&self.root, &self.system, !self.settings.disable_keystore)
    }

    /// The agent's own files.
    #[must_use]
    pub fn home(&self) -> Home {
        Home::new(&self.root, self.vault())
    }

    /// The enroll secret.
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        Secrets::new(self.secret.clone(), self.vault())
    }

    /// Where osqueryd keeps its database.
    #[must_use]
    pub fn osquery_db(&self) -> Utf8PathBuf {
        let default = || self.root.join(files::OSQUERY_DB);
        self.settings.osquery_db.as_ref().map_or_else(default, Utf8PathBuf::from)
    }
}

/// The file that this process was started from, if the system tells.
#[must_use]
pub fn own_program() -> Option<Utf8PathBuf> {
    Utf8PathBuf::from_path_buf(env::current_exe().ok()?).ok()
}

fn secret(sources: &Sources, root: &Utf8Path, problems: &mut Vec<String>) -> Option<SecretSource> {
    let Some(text) = sources.lookup(vars::ENROLL_SECRET) else {
        let packaged = secrets::packaged(root);
        let path = sources.lookup(vars::ENROLL_SECRET_PATH).map(Utf8PathBuf::from);
        return Some(match path.filter(|path| *path != packaged) {
            Some(path) => SecretSource::File(path),
            None => SecretSource::Packaged(packaged),
        });
    };
    EnrollSecret::new(text)
        .map_err(|error| {
            problems.push(format!("`{}` cannot be used: {error}", vars::ENROLL_SECRET))
        })
        .map(SecretSource::Given)
        .ok()
}

fn connection(
    sources: &Sources,
    root: &Utf8Path,
    settings: &AgentSettings,
    problems: &mut Vec<String>,
) -> Option<Connection> {
    let Some(url) = settings.fleet_url.clone() else {
        if sources.lookup(vars::FLEET_URL).is_none() {
            let hint = if settings.use_system_configuration {
                "no configuration profile tells where the server is"
            } else {
                "where is the server?"
            };
            problems.push(format!("`{}` is not set: {hint}", vars::FLEET_URL));
        }
        return None;
    };
    let proxy = server_proxy(sources, settings, &url, problems);
    let connection = Connection {
        trust: trust(sources, root, settings),
        client: client_certificate(root, [files::CLIENT_CERTIFICATE, files::CLIENT_KEY]),
        timeouts: Timeouts::default(),
        proxy,
        url,
    };
    if let Err(error) = connection.check() {
        problems.push(explain(&error));
        return None;
    }
    Some(connection)
}

/// None where updates are switched off, or the package has brought nothing to trust them by.
fn update_source(
    sources: &Sources,
    root: &Utf8Path,
    (settings, server): (&AgentSettings, &Connection),
    problems: &mut Vec<String>,
) -> Option<UpdateSource> {
    let pinned_root = root.join(files::UPDATE_ROOT);
    if settings.disable_updates || !may_exist(&pinned_root) {
        return None;
    }
    let own = || settings::endpoint(&server.url, UPDATES_PATH);
    let url = settings.update_url.clone().unwrap_or_else(own);
    let is_own = url.origin() == server.url.origin();
    let trust = match root.join(files::UPDATE_CA) {
        _ if settings.insecure => Trust::Insecure,
        path if may_exist(&path) => Trust::Pinned(path),
        _ if is_own => server.trust.clone(),
        _ => Trust::System,
    };
    let pair = [files::UPDATE_CLIENT_CERTIFICATE, files::UPDATE_CLIENT_KEY];
    let client =
        client_certificate(root, pair).or_else(|| server.client.clone().filter(|_| is_own));
    let proxy = server_proxy(sources, settings, &url, problems);
    let connection = Connection { url, trust, client, proxy, timeouts: server.timeouts };
    if let Err(error) = connection.check() {
        problems.push(format!("updates: {}", explain(&error)));
        return None;
    }
    Some(UpdateSource { connection, pinned_root })
}

fn trust(sources: &Sources, root: &Utf8Path, settings: &AgentSettings) -> Trust {
    if settings.insecure {
        return Trust::Insecure;
    }
    let packaged = || Some(root.join(files::SERVER_CA)).filter(|path| may_exist(path));
    sources
        .lookup(vars::FLEET_CERTIFICATE)
        .map(Utf8PathBuf::from)
        .or_else(packaged)
        .map_or(Trust::System, Trust::Pinned)
}

/// The pair, when either file is there: one without the other is then reported as unreadable.
fn client_certificate(root: &Utf8Path, [crt, key]: [&str; 2]) -> Option<ClientCertificate> {
    let pair = ClientCertificate { certificate: root.join(crt), key: root.join(key) };
    (may_exist(&pair.certificate) || may_exist(&pair.key)).then_some(pair)
}

/// What cannot be looked at is not taken for absent: whoever reads it will say why.
fn may_exist(path: &Utf8Path) -> bool {
    path.try_exists().unwrap_or(true)
}

fn server_proxy(
    sources: &Sources,
    settings: &AgentSettings,
    server: &Url,
    problems: &mut Vec<String>,
) -> Option<Url> {
    if settings.no_proxy.as_deref().is_some_and(|list| proxy::exempts(list, server)) {
        return None;
    }
    if server.scheme() == "https" {
        return settings.proxy.clone();
    }
    let text = sources.lookup(HTTP_PROXY)?;
    Url::parse(&text)
        .map_err(|error| problems.push(format!("`{HTTP_PROXY}` cannot be used: {error}")))
        .ok()
}
