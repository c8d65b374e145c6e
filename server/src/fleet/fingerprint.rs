//! What kind of program on what kind of machine a session is used from, coarsely: enough to notice
//! that it moved, too little to know anybody by. Versions change by themselves and are left out.

use sha2::{Digest as _, Sha256};

/// What a request tells about its client.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientHints<'a> {
    pub user_agent: &'a str,
    /// `Accept-Language`.
    pub languages: &'a str,
    /// `Sec-CH-UA-Platform`.
    pub platform: &'a str,
}

/// Families of browsers, the more special first: most call themselves Mozilla, and Safari too.
const FAMILIES: &[(&str, &str)] = &[
    ("edg/", "Edge"),
    ("opr/", "Opera"),
    ("firefox/", "Firefox"),
    ("chromium/", "Chrome"),
    ("chrome/", "Chrome"),
    ("safari/", "Safari"),
    ("fleetctl/", "fleetctl"),
    ("curl/", "curl"),
];

const SYSTEMS: &[(&str, &str)] = &[
    ("windows", "Windows"),
    ("android", "Android"),
    ("iphone", "iOS"),
    ("ipad", "iOS"),
    ("mac os", "macOS"),
    ("cros", "ChromeOS"),
    ("linux", "Linux"),
];

impl ClientHints<'_> {
    /// The client in words, e.g. `Firefox on Linux`.
    #[must_use]
    pub fn describe(&self) -> String {
        let agent = self.user_agent.to_lowercase();
        let family = named(&agent, FAMILIES).unwrap_or("unknown client");
        match self.system(&agent) {
            Some(system) => format!("{family} on {system}"),
            None => family.to_owned(),
        }
    }

    /// The same for all requests of one client, and for those of many others.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let language: String =
            self.languages.chars().take_while(|letter| letter.is_ascii_alphabetic()).collect();
        let text = format!("{}\n{}", self.describe(), language.to_lowercase());
        hex::encode(&Sha256::digest(text.as_bytes())[..8])
    }

    fn system(&self, agent: &str) -> Option<&'static str> {
        let platform = self.platform.trim_matches('"').to_lowercase();
        named(&platform, &[("macos", "macOS")])
            .or_else(|| named(&platform, SYSTEMS))
            .or_else(|| named(agent, SYSTEMS))
    }
}

fn named(text: &str, names: &[(&str, &'static str)]) -> Option<&'static str> {
    names.iter().find(|(part, _)| text.contains(part)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows: M5
    #[test]
    fn versions_do_not_matter_and_programs_systems_and_languages_do() {
        let agent =
            |user_agent| ClientHints { user_agent, languages: "de-DE,de;q=0.9", platform: "" };
        let firefox =
            agent("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");
        let newer = agent("Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0");
        let edge = agent(
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0",
        );
        assert_eq!(firefox.describe(), "Firefox on Linux");
        assert_eq!(edge.describe(), "Edge on Windows");
        assert_eq!(agent("fleetctl/0.1.0").describe(), "fleetctl");
        assert_eq!(agent("").describe(), "unknown client");
        assert_eq!(firefox.fingerprint(), newer.fingerprint());
        assert_ne!(firefox.fingerprint(), edge.fingerprint());
        let french = ClientHints { languages: "fr", ..firefox };
        assert_ne!(firefox.fingerprint(), french.fingerprint());
        let hinted = ClientHints { platform: "\"macOS\"", ..edge };
        assert_eq!(hinted.describe(), "Edge on macOS");
    }
}
