//! What an agent's package tells its agent: ours, and Fleet's.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

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
    /// The enroll secret, if one is in the package; the last that was found, if there are several.
    pub secret: Option<String>,
    /// Files that have it in them.
    pub secret_in: Vec<String>,
    /// Every secret, and passwords of addresses, as they are written.
    hidden: BTreeSet<String>,
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
                self.hidden.extend(password(&value).map(str::to_owned));
                self.vars.insert(name, value);
            }
        }
    }

    fn found_secret(&mut self, secret: &str, path: &str) {
        if !secret.is_empty() {
            self.hidden.insert(secret.to_owned());
            self.secret = Some(secret.to_owned());
            self.secret_in.push(path.to_owned());
        }
    }

    /// The server's address.
    #[must_use]
    pub fn fleet_url(&self) -> Option<&str> {
        self.vars.get(URL).map(String::as_str)
    }

    /// `text` without enroll secrets and without passwords of the settings' addresses.
    #[must_use]
    pub fn hide_in(&self, text: &str) -> String {
        let mut hidden: Vec<_> = self.hidden.iter().collect();
        // One may be in another, of which the rest would stay.
        hidden.sort_by_key(|text| Reverse(text.len()));
        hidden.into_iter().fold(text.to_owned(), |text, it| text.replace(it, "[hidden]"))
    }

    /// Whether the file at `path` has the secret in it, so that its digest would tell of it.
    #[must_use]
    pub fn is_secret(&self, path: &str) -> bool {
        self.secret_in.iter().any(|its| its == path)
    }
}

/// The password in an address with or without a scheme, as it is written there: an address that was
/// parsed has it encoded. Where the `@` is not in the authority, a slash may be part of the password.
fn password(address: &str) -> Option<&str> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let (user, _) = authority.rsplit_once('@').or_else(|| rest.rsplit_once('@'))?;
    user.split_once(':').map(|(_, password)| password).filter(|password| !password.is_empty())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(files: &[(&str, &str)]) -> Settings {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
        Settings::of(&files.collect())
    }

    #[test]
    fn passwords_are_hidden_as_they_are_written() {
        let hidden = [
            ("http://ann:a=b;c^d@proxy:3128", "http://ann:[hidden]@proxy:3128"),
            ("ann:a=b;c^d@proxy:3128", "ann:[hidden]@proxy:3128"),
            ("http://ann:p@ss:w%40rd@proxy/@x", "http://ann:[hidden]@proxy/@x"),
            ("http://:w0rd@proxy", "http://:[hidden]@proxy"),
            ("http://ann:a/b#c@proxy", "http://ann:[hidden]@proxy"),
            ("http://ann@proxy:3128", "http://ann@proxy:3128"),
            ("http://ann:@proxy:3128", "http://ann:@proxy:3128"),
            ("http://proxy:3128", "http://proxy:3128"),
        ];
        for (address, shown) in hidden {
            let file = format!("HTTPS_PROXY='{address}'\n");
            let settings = settings(&[("/etc/default/orbit", &file)]);
            assert_eq!(settings.vars["HTTPS_PROXY"], address);
            assert_eq!(
                settings.hide_in(&format!("{address} {address}")),
                format!("{shown} {shown}")
            );
        }
    }

    #[test]
    fn secrets_that_differ_are_all_hidden() {
        let settings = settings(&[
            ("/a/secret.txt", "one\n"),
            ("/b/secret.txt", "one and more\n"),
            ("/etc/default/orbit", "ORBIT_ENROLL_SECRET=two\n"),
        ]);
        assert_eq!(settings.hide_in("one and more, one, two"), "[hidden], [hidden], [hidden]");
        assert_eq!(settings.secret_in.len(), 3);
    }
}
