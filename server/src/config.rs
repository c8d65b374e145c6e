//! What an operator may set: one YAML file, flags over it, and a default for everything.
//!
//! Each concern has a file of its own below `config/`. Problems are found all at once, before
//! anything is opened: unknown keys and wrong types with their line, contradictions by name.

pub mod agents;
pub mod api_keys;
pub mod audit;
pub mod auth;
pub mod database;
pub mod limits;
pub mod listen;
pub mod mail;
pub mod metrics;
pub mod password;
mod period;
pub mod secret;
pub mod updates;
mod yaml;

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

pub use self::{
    agents::{Devices, OrbitAgents, OsqueryAgents},
    api_keys::ApiKeys,
    audit::Audit,
    auth::Auth,
    database::Database,
    limits::Limits,
    listen::{ClientAuth, DeviceCertificates, Listen, Proxies, Tls},
    mail::{Mail, Smtp, SmtpTls},
    metrics::Metrics,
    password::{BreachList, HashKind, OnFailure, Password, Preset},
    period::{Lifetime, Period},
    secret::Secret,
    updates::Updates,
};

/// Everything that is set. Serialises as the file that would say the same, secrets masked.
#[derive(Debug, Clone, Serialize)]
pub struct Config {
    pub listen: Listen,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    pub server: Proxies,
    pub data_dir: Utf8PathBuf,
    pub database: Database,
    pub limits: Limits,
    pub auth: Auth,
    pub audit: Audit,
    pub api_keys: ApiKeys,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail: Option<Mail>,
    pub metrics: Metrics,
    pub devices: Devices,
    pub osquery: OsqueryAgents,
    pub orbit: OrbitAgents,
    pub updates: Updates,
}

/// The file as it is written: everything may be left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    listen: Listen,
    tls: Option<Tls>,
    server: Proxies,
    data_dir: Option<Utf8PathBuf>,
    database: database::DatabaseFile,
    limits: Limits,
    auth: Auth,
    audit: Audit,
    api_keys: ApiKeys,
    mail: Option<Mail>,
    metrics: Metrics,
    devices: Devices,
    osquery: OsqueryAgents,
    orbit: OrbitAgents,
    updates: Updates,
}

/// What flags say; each wins over the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub listen: Option<std::net::SocketAddr>,
    pub data_dir: Option<Utf8PathBuf>,
    /// `postgres://…`, or `sqlite:` and a path.
    pub database: Option<String>,
    /// `postgres://…`, of the database's owner.
    pub migrate_database: Option<String>,
    pub tls_certificate: Option<Utf8PathBuf>,
    pub tls_key: Option<Utf8PathBuf>,
}

/// Why the configuration cannot be used: every problem found, one a line.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used:\n{}", .problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError {
    pub problems: Vec<String>,
}

impl Config {
    /// Reads `path`, if there is one, and lays `overrides` over it. `default_data_dir` is where
    /// data goes when nobody says.
    pub fn load(
        path: Option<&Utf8Path>,
        overrides: Overrides,
        default_data_dir: Utf8PathBuf,
    ) -> Result<Self, ConfigError> {
        let (file, mut problems) = match path {
            Some(path) => read(path),
            None => (File::default(), Vec::new()),
        };
        let mut config = Self::resolve(file, overrides, default_data_dir, &mut problems);
        config.check(&mut problems);
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }

    /// Every default, with data below `data_dir`.
    #[must_use]
    pub fn in_dir(data_dir: Utf8PathBuf) -> Self {
        Self::resolve(File::default(), Overrides::default(), data_dir, &mut Vec::new())
    }

    fn resolve(
        file: File,
        overrides: Overrides,
        default_data_dir: Utf8PathBuf,
        problems: &mut Vec<String>,
    ) -> Self {
        let data_dir = overrides.data_dir.or(file.data_dir).unwrap_or(default_data_dir);
        let tls =
            listen::resolve_tls(file.tls, overrides.tls_certificate, overrides.tls_key, problems);
        let database =
            file.database.resolve((overrides.database, overrides.migrate_database), &data_dir);
        let listen = match overrides.listen {
            Some(address) => Listen { address },
            None => file.listen,
        };
        Self {
            listen,
            tls,
            server: file.server,
            data_dir,
            database,
            limits: file.limits,
            auth: file.auth,
            audit: file.audit,
            api_keys: file.api_keys,
            mail: file.mail,
            metrics: file.metrics,
            devices: file.devices,
            osquery: file.osquery,
            orbit: file.orbit,
            updates: file.updates,
        }
    }

    fn check(&mut self, problems: &mut Vec<String>) {
        if self.is_plain_http_in_the_open() {
            problems.push(format!(
                "listen.address: {} would carry secrets over plain HTTP; set tls.certificate and \
                 tls.key (`fleet-server cert` makes them), listen on loopback, or name the proxy \
                 that ends TLS in server.trusted_proxies",
                self.listen.address
            ));
        }
        listen::check_certificates(self.tls.as_ref(), &self.server, problems);
        self.database.check(problems);
        self.limits.check(problems);
        self.auth.check(problems);
        self.api_keys.check(problems);
        if let Some(mail) = &mut self.mail {
            mail.check(problems);
        }
        self.metrics.check(problems);
        self.osquery.check(problems);
        self.updates.check(problems);
    }

    /// Whether clients' certificates are asked for, here or by a proxy.
    #[must_use]
    pub fn takes_client_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
            || self.server.client_certificate_header.is_some()
    }

    fn is_plain_http_in_the_open(&self) -> bool {
        self.tls.is_none()
            && !self.listen.address.ip().is_loopback()
            && self.server.trusted_proxies.is_empty()
    }
}

fn read(path: &Utf8Path) -> (File, Vec<String>) {
    match fs::read_to_string(path) {
        Ok(text) => {
            let (file, problems) = yaml::parse(&text);
            (file, problems.into_iter().map(|problem| format!("{path}:{problem}")).collect())
        }
        Err(error) => (File::default(), vec![format!("could not read `{path}`: {error}")]),
    }
}
