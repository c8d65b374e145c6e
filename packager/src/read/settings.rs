//! What an agent's package tells its agent: ours, and Fleet's.

use std::collections::BTreeMap;

use url::Url;
use wire::envfile;

use super::xml::Element;

/// Files that settings are in, by the ends of their paths.
const ENVIRONMENTS: [&str; 2] = ["/etc/default/orbit", "/packaged.env"];
const DAEMON: &str = "/Library/LaunchDaemons/com.fleetdm.orbit.plist";
/// Files whose only line is the enroll secret.
const SECRETS: [&str; 2] = ["/secret.txt", "/packaged.secret"];
const SECRET: &str = "ORBIT_ENROLL_SECRET";
const URL: &str = "ORBIT_FLEET_URL";

/// The longest of these files, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// What an agent's package tells its agent.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Variables but for the secret, as the agent gets them.
    pub vars: BTreeMap<String, String>,
    /// The enroll secret, if one is in the package.
    pub secret: Option<String>,
    /// Files that have it in them.
    pub secret_in: Vec<String>,
}

/// Whether the file at `path` tells something of this.
pub(super) fn is_told_by(path: &str, size: u64) -> bool {
    let ends = ENVIRONMENTS.into_iter().chain(SECRETS).any(|end| path.ends_with(end));
    size <= MAX_FILE && (ends || path == DAEMON)
}

impl Settings {
    pub(super) fn of(texts: &BTreeMap<String, Vec<u8>>) -> Self {
        let mut settings = Self::default();
        for (path, bytes) in texts {
            let text = String::from_utf8_lossy(bytes);
            if SECRETS.iter().any(|end| path.ends_with(end)) {
                settings.found_secret(text.trim(), path);
            } else if path == DAEMON {
                settings.take(daemon(bytes), path);
            } else {
                settings.take(envfile::parse(&text), path);
            }
        }
        settings
    }

    fn take(&mut self, vars: Vec<(String, String)>, path: &str) {
        for (name, value) in vars {
            if name == SECRET {
                self.found_secret(&value, path);
            } else if name.starts_with("ORBIT_") || name.ends_with("_PROXY") {
                self.vars.insert(name, value);
            }
        }
    }

    fn found_secret(&mut self, secret: &str, path: &str) {
        if !secret.is_empty() {
            self.secret = Some(secret.to_owned());
            self.secret_in.push(path.to_owned());
        }
    }

    /// The server's address.
    #[must_use]
    pub fn fleet_url(&self) -> Option<&str> {
        self.vars.get(URL).map(String::as_str)
    }

    /// `text` without the enroll secret and without passwords of the settings' URLs.
    #[must_use]
    pub fn hide_in(&self, text: &str) -> String {
        let passwords = self.vars.values().filter_map(|value| {
            let url = Url::parse(value).ok()?;
            url.password().map(str::to_owned)
        });
        let hidden = passwords.chain(self.secret.clone()).filter(|text| !text.is_empty());
        hidden.fold(text.to_owned(), |text, secret| text.replace(&secret, "[hidden]"))
    }

    /// Whether the file at `path` has the secret in it, so that its digest would tell of it.
    #[must_use]
    pub fn is_secret(&self, path: &str) -> bool {
        self.secret_in.iter().any(|its| its == path)
    }
}

/// The environment of a daemon: what follows `EnvironmentVariables` in its property list. What cannot be
/// read tells nothing.
fn daemon(bytes: &[u8]) -> Vec<(String, String)> {
    let list = Element::parse(bytes, "property list").ok();
    let dictionary = list.as_ref().and_then(|list| list.child("dict"));
    let vars = dictionary.into_iter().flat_map(pairs);
    let vars = vars.filter(|(name, _)| *name == "EnvironmentVariables");
    vars.flat_map(|(_, vars)| pairs(vars))
        .map(|(name, value)| (name.to_owned(), value.text.clone()))
        .collect()
}

/// The entries of a dictionary.
fn pairs(dictionary: &Element) -> impl Iterator<Item = (&str, &Element)> {
    let pairs = dictionary.children.as_chunks::<2>().0.iter();
    pairs.map(|[key, value]| (key.text.as_str(), value))
}
