//! What `orbit doctor` looks at: everything that stands between this device and its server, each with
//! what to do about it. It changes nothing, and needs no agent that runs.

use std::{fmt::Write as _, time::Duration};

use camino::Utf8Path;
use jiff::Timestamp;
use serde::Serialize;
use tokio::{net, time};
use url::Url;
use wire::settings::files;

use crate::{
    complaints::explain,
    config::{Config, ConfigError, UpdateSource},
    device_key::{DeviceKey, Holder},
    platform::{self, ADMINISTRATOR, Readers},
    server::{RequestError, Server},
    status::Lock,
    vault::{Slot, Vault},
};

/// How far the device's clock may be from the server's, in seconds: certificates and signed metadata
/// are refused by clocks that are further off than their makers allow for.
const CLOCK_TOLERANCE: i64 = 60;

/// Below this the disk is worth a word: an update of all components needs about as much, in bytes.
const LITTLE_SPACE: u64 = 256 << 20;

/// Below this the agent may fail to write its own small files.
const NO_SPACE: u64 = 8 << 20;

/// Files with secrets below the root directory, and whom they are for.
const PRIVATE: [(&str, Readers); 7] = [
    (files::ENROLL_SECRET, Readers::Root),
    (files::KEPT_SECRET, Readers::Root),
    (files::NODE_KEY, Readers::Root),
    (files::DEVICE_KEY, Readers::Root),
    (files::IDENTITY, Readers::Root),
    (files::CLIENT_KEY, Readers::Root),
    (files::DESKTOP_TOKEN, Readers::User(None)),
];

/// What to do about a TPM that does not sign.
const TPM_ADVICE: &str =
    "see that the kernel finds the TPM (`/dev/tpmrm0`), and that firmware has it switched on";

/// How long a name may take to be resolved.
const RESOLUTION: Duration = Duration::from_secs(10);

/// What was found, in the order in which one thing stands on the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `settings`, `permissions`, `disk`, `secret`, `device_key`, `dns`, `server`, `clock`, `updates` or `service`.
    pub name: &'static str,
    pub outcome: Outcome,
    /// What there is.
    pub found: String,
    /// What to do, where something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    /// It works, and may not for long.
    Warning,
    Failed,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, found: found.into(), advice: None }
    }

    fn warning(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        let (found, advice) = (found.into(), Some(advice.into()));
        Self { name, outcome: Outcome::Warning, found, advice }
    }

    fn failed(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, ..Self::warning(name, found, advice) }
    }
}

impl Diagnosis {
    /// Looks at everything. `clock` tells the device's time. Needs a tokio runtime; takes as long as
    /// the server does, a minute at most.
    pub async fn make(
        root: &Utf8Path,
        config: Result<&Config, &ConfigError>,
        clock: impl Fn() -> Timestamp,
    ) -> Self {
        let mut checks = vec![settings(config)];
        checks.extend([permissions(root), disk(root)].into_iter().flatten());
        if let Ok(config) = config {
            checks.push(secret(config));
            let vault = config.vault();
            // A TPM may take its time.
            let key = tokio::task::spawn_blocking(move || device_key(&vault)).await;
            checks.extend(key.expect("looking at a key does not panic"));
            checks.extend(dns(&config.connection.url, config.connection.proxy.as_ref()).await);
            let server = Server::new(config.connection.clone());
            checks.push(reach(&server, config).await);
            checks.extend(server.date().map(|date| compare_clocks(clock(), date)));
            if let Some(source) = &config.updates {
                checks.push(updates(source).await);
            }
        }
        checks.push(service(root));
        Self { checks }
    }

    /// Whether nothing failed.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.checks.iter().all(|check| check.outcome != Outcome::Failed)
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Check { name, outcome, found, advice } in &self.checks {
            let outcome = match outcome {
                Outcome::Ok => "ok",
                Outcome::Warning => "warning",
                Outcome::Failed => "failed",
            };
            let _ = writeln!(text, "{outcome:<9}{name:<13}{found}");
            if let Some(advice) = advice {
                let _ = writeln!(text, "{:22}help: {advice}", "");
            }
        }
        text
    }
}

fn settings(config: Result<&Config, &ConfigError>) -> Check {
    match config {
        Ok(_) => Check::ok("settings", "they can be used"),
        Err(error) => Check::failed("settings", error.problems.join("; "), platform::SETTINGS_HELP),
    }
}

/// Whether others than administrators can read a secret or put a program in place of the agent's. None
/// where there is nothing to look at.
fn permissions(root: &Utf8Path) -> Option<Check> {
    let readable = PRIVATE.into_iter().find_map(|(name, readers)| {
        let path = root.join(name);
        let access = platform::access_of_others(&path, readers)?;
        access.read.then(|| {
            Check::failed(
                "permissions",
                format!("others than {ADMINISTRATOR} can read `{path}`"),
                format!(
                    "{}; if it was so for long, have another secret made",
                    platform::close_to_readers(&path)
                ),
            )
        })
    });
    let folders = [root.to_owned(), root.join("bin")];
    let writable = || {
        folders.iter().find_map(|path| {
            let access = platform::access_of_others(path, Readers::Everyone)?;
            access.write.then(|| {
                Check::failed(
                    "permissions",
                    format!(
                        "others than {ADMINISTRATOR} can write to `{path}`, and what is there runs \
                         with all rights"
                    ),
                    platform::close_to_writers(path),
                )
            })
        })
    };
    platform::access_of_others(root, Readers::Everyone)?;
    Some(readable.or_else(writable).unwrap_or_else(|| {
        let found = format!("nobody but {ADMINISTRATOR} reads secrets or writes programs");
        Check::ok("permissions", found)
    }))
}

fn disk(root: &Utf8Path) -> Option<Check> {
    let free = platform::free_space(root)?;
    let found = format!("{} MiB are free for `{root}`", free >> 20);
    let advice = "delete what is not needed, or move the directory to a larger disk";
    Some(match free {
        ..NO_SPACE => Check::failed("disk", found, advice),
        NO_SPACE..LITTLE_SPACE => Check::warning("disk", found, advice),
        LITTLE_SPACE.. => Check::ok("disk", found),
    })
}

/// An enrolled device can do without a secret, until its node key is refused.
fn secret(config: &Config) -> Check {
    let Err(error) = config.secrets().look() else {
        return Check::ok("secret", "there is an enroll secret");
    };
    if is_in_anothers_keystore(config) {
        return Check::ok("secret", "Credential Manager keeps it for the service alone");
    }
    let advice = format!(
        "put the enroll secret into that file, one line, readable by {ADMINISTRATOR} alone"
    );
    let enrolled = config.home().has_node_key().is_ok_and(|has_key| has_key);
    let check = if enrolled { Check::warning } else { Check::failed };
    check("secret", explain(&error), advice)
}

/// None where there is no key, or only root could tell.
fn device_key(vault: &Vault) -> Option<Check> {
    const NAME: &str = "device_key";
    let text = vault.look(Slot::DeviceKey).ok()??;
    let key = DeviceKey::from_text(&text, vault.system())?;
    let Err(error) = key.try_out() else {
        return Some(Check::ok(
            NAME,
            match key.holder() {
                Holder::Tpm => "it is in the TPM, and signs",
                Holder::Software => "it is held by the agent, not by a TPM",
            },
        ));
    };
    Some(Check::failed(NAME, explain(&error), TPM_ADVICE))
}

/// Windows has a keystore for each account: what a device has enrolled with is in that of SYSTEM, and
/// administrators do not see it.
fn is_in_anothers_keystore(config: &Config) -> bool {
    let home = config.home();
    let sees_it = || home.has_node_key().unwrap_or(true);
    let identity = home.load_identity().ok().flatten();
    let enrolled = identity.is_some_and(|identity| identity.enrolled_at.is_some());
    cfg!(windows) && !config.settings.disable_keystore && enrolled && !sees_it()
}

/// None where the proxy resolves the server's name, or it has none.
async fn dns(server: &Url, proxy: Option<&Url>) -> Option<Check> {
    let url = proxy.unwrap_or(server);
    let name = url.domain()?;
    let port = url.port_or_known_default()?;
    let advice = "check the device's name servers and search domains, or the server's address";
    let addresses = match time::timeout(RESOLUTION, net::lookup_host((name, port))).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => {
            return Some(Check::failed("dns", format!("`{name}`: {error}"), advice));
        }
        Err(_) => return Some(Check::failed("dns", format!("`{name}`: no answer"), advice)),
    };
    let mut addresses: Vec<_> = addresses.map(|address| address.ip().to_string()).collect();
    addresses.dedup();
    Some(Check::ok("dns", format!("`{name}` is {}", addresses.join(", "))))
}

async fn reach(server: &Server, config: &Config) -> Check {
    let (url, proxy) = (&config.connection.url, config.connection.proxy.as_ref());
    let way = proxy.map(|proxy| format!(" through the proxy at `{}`", without_password(proxy)));
    let way = way.unwrap_or_default();
    match server.ping().await {
        Ok(()) => Check::ok("server", format!("`{url}` answers{way}")),
        Err(error) => {
            let found = format!("`{url}`{way}: {}", explain(&error));
            Check::failed("server", found, advice(&error, proxy.is_some()))
        }
    }
}

fn advice(error: &RequestError, proxied: bool) -> &'static str {
    match error {
        RequestError::Setup(_) => "mend the file or setting that is named",
        RequestError::Sign(_) => TPM_ADVICE,
        RequestError::Dns { .. } | RequestError::Connect { .. } | RequestError::Timeout { .. }
            if proxied =>
        {
            "check HTTPS_PROXY and NO_PROXY, and that the proxy lets the device through"
        }
        RequestError::Dns { .. } => "check the device's name servers, or the server's address",
        RequestError::Connect { .. }
        | RequestError::Timeout { .. }
        | RequestError::Broken { .. } => {
            "check the address and port, and that no firewall is in between; if the network wants a proxy, set HTTPS_PROXY"
        }
        RequestError::Tls { .. } => {
            "check the clock; for a private authority set ORBIT_FLEET_CERTIFICATE to its certificate; \
             a proxy that looks into TLS needs its own there"
        }
        RequestError::NoSuchAddress { .. } | RequestError::NotFleet { .. } => {
            "check ORBIT_FLEET_URL; a captive portal or proxy may be answering in the server's place"
        }
        RequestError::Unauthenticated => "a proxy or a portal wants to know who asks",
        RequestError::Busy { .. } | RequestError::Status { .. } | RequestError::TooLarge => {
            "it is the server that has to be looked after"
        }
    }
}

fn without_password(proxy: &Url) -> Url {
    let mut shown = proxy.clone();
    // It fails for addresses that have no room for a user, and then there is nothing to hide.
    let _ = shown.set_password(None);
    let _ = shown.set_username("");
    shown
}

fn compare_clocks(own: Timestamp, servers: Timestamp) -> Check {
    let ahead = own.duration_since(servers).as_secs();
    let apart = ahead.unsigned_abs();
    let side = if ahead < 0 { "behind" } else { "ahead of" };
    if ahead.abs() <= CLOCK_TOLERANCE {
        return Check::ok("clock", "it goes with the server's");
    }
    let found = format!("it is {apart} s {side} the server's");
    Check::failed("clock", found, platform::CLOCK_HELP)
}

async fn updates(source: &UpdateSource) -> Check {
    let UpdateSource { connection, .. } = source;
    let server = Server::new(connection.clone());
    match server.head("timestamp.json").await {
        Ok(()) => Check::ok("updates", format!("there is a repository at `{}`", connection.url)),
        Err(RequestError::NoSuchAddress { .. }) => Check::warning(
            "updates",
            format!("there is no repository at `{}`", connection.url),
            "publish one, or switch updates off with ORBIT_DISABLE_UPDATES=true",
        ),
        Err(error) => {
            let found = format!("`{}`: {}", connection.url, explain(&error));
            Check::failed("updates", found, advice(&error, connection.proxy.is_some()))
        }
    }
}

fn service(root: &Utf8Path) -> Check {
    if Lock::is_held(root) {
        return Check::ok("service", "the agent runs");
    }
    Check::failed("service", "the agent does not run", platform::START_HELP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_a_minute_apart_are_told_with_their_side() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(compare_clocks(at(1000), at(1060)).outcome, Outcome::Ok);
        assert_eq!(compare_clocks(at(1000), at(4600)).found, "it is 3600 s behind the server's");
        assert_eq!(compare_clocks(at(4600), at(1000)).found, "it is 3600 s ahead of the server's");
    }

    #[test]
    fn a_proxys_password_is_not_shown() {
        let proxy = Url::parse("http://ann:s3cret@proxy.example:3128").unwrap();
        assert_eq!(without_password(&proxy).as_str(), "http://proxy.example:3128/");
    }
}
