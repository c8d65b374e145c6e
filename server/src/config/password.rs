//! Which passwords are allowed, and how they are kept.

use std::ops::RangeInclusive;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::{Lifetime, Period, period::at_most};

/// `auth.password:` as it holds: a preset, and what was said otherwise.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Password {
    pub preset: Preset,
    /// In characters (Unicode code points after normalisation, NFC).
    pub min_length: usize,
    /// In characters; no password is cut.
    pub max_length: usize,
    pub require_upper: bool,
    pub require_lower: bool,
    pub require_digit: bool,
    /// Something that is neither a letter nor a digit.
    pub require_special: bool,
    /// Whether passwords are refused that many people use.
    pub check_common: bool,
    /// Whether passwords are refused that hold the person's or the organization's name.
    pub check_names: bool,
    /// What knows passwords from breaches; nothing unless it is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breached: Option<BreachList>,
    /// How many passwords back none may be used again, the present one among them.
    pub history: usize,
    /// After how long it has to be changed; `0`: never.
    pub max_age: Lifetime,
    pub hash: HashKind,
    /// Twice the work for each more.
    pub bcrypt_cost: u32,
}

/// Rules that go together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// 12 characters of four kinds, changed every 90 days, none of the last five.
    #[default]
    Seed,
    /// NIST SP 800-63B-4: 15 characters, no rule of kinds, no change without a reason.
    Nist,
}

/// `auth.password.breached:` a file, a service, or both.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreachList {
    /// SHA-1 digests in hexadecimal, one a line, sorted, each with `:` and a count if there is one: as the
    /// list of Have I Been Pwned comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Utf8PathBuf>,
    /// What answers to the first five characters of a digest with the rest of those that it knows, e.g.
    /// `https://api.pwnedpasswords.com/range/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Url>,
    /// How long it may take to answer.
    #[serde(default = "three_seconds", deserialize_with = "at_most::<_, MINUTE>")]
    pub timeout: Period,
    /// What becomes of a password where neither file nor service can tell.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// What becomes of a password of which nobody can tell whether it was breached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It is taken; the log says so.
    #[default]
    Allow,
    /// Whoever sets it is told to try again.
    Refuse,
}

const MINUTE: u64 = 60;

const fn three_seconds() -> Period {
    Period::seconds(3)
}

impl BreachList {
    fn check(&self, problems: &mut Vec<String>) {
        if self.file.is_none() && self.url.is_none() {
            problems.push("auth.password.breached: needs a file or a url".to_owned());
        }
        let is_local = |url: &Url| match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let in_the_open = |url: &Url| url.scheme() != "https" && !is_local(url);
        let known = |url: &Url| ["http", "https"].contains(&url.scheme());
        if self.url.as_ref().is_some_and(|url| !known(url) || in_the_open(url)) {
            problems.push(
                "auth.password.breached.url: must be https, or http on this machine".to_owned(),
            );
        }
    }
}

/// How passwords are hashed. Whatever they were hashed with can be checked; signing in hashes anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashKind {
    /// 19 MiB, two passes, one lane.
    Argon2id,
    Bcrypt,
}

/// The section as it is written: everything may be left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    preset: Preset,
    min_length: Option<usize>,
    max_length: Option<usize>,
    require_upper: Option<bool>,
    require_lower: Option<bool>,
    require_digit: Option<bool>,
    require_special: Option<bool>,
    check_common: Option<bool>,
    check_names: Option<bool>,
    breached: Option<BreachList>,
    history: Option<usize>,
    max_age: Option<Lifetime>,
    hash: Option<HashKind>,
    bcrypt_cost: Option<u32>,
}

/// What bcrypt allows.
const BCRYPT_COSTS: RangeInclusive<u32> = 4..=31;

impl From<Written> for Password {
    fn from(written: Written) -> Self {
        let strict = written.preset == Preset::Seed;
        let ninety_days = Lifetime(Some(Period::seconds(90 * 24 * 60 * 60)));
        // Who sets the cost of bcrypt wants bcrypt.
        let hash =
            if written.bcrypt_cost.is_some() { HashKind::Bcrypt } else { HashKind::Argon2id };
        Self {
            preset: written.preset,
            min_length: written.min_length.unwrap_or(if strict { 12 } else { 15 }),
            max_length: written.max_length.unwrap_or(128),
            require_upper: written.require_upper.unwrap_or(strict),
            require_lower: written.require_lower.unwrap_or(strict),
            require_digit: written.require_digit.unwrap_or(strict),
            require_special: written.require_special.unwrap_or(strict),
            check_common: written.check_common.unwrap_or(true),
            check_names: written.check_names.unwrap_or(true),
            breached: written.breached,
            history: written.history.unwrap_or(if strict { 5 } else { 0 }),
            max_age: written.max_age.unwrap_or(if strict { ninety_days } else { Lifetime(None) }),
            hash: written.hash.unwrap_or(hash),
            bcrypt_cost: written.bcrypt_cost.unwrap_or(12),
        }
    }
}

impl Default for Password {
    fn default() -> Self {
        Self::of(Preset::Seed)
    }
}

impl Password {
    /// A preset as it is.
    #[must_use]
    pub fn of(preset: Preset) -> Self {
        Written { preset, ..Written::default() }.into()
    }

    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if self.min_length < 8 {
            problems.push("auth.password.min_length: must be at least 8".to_owned());
        }
        if self.max_length < self.min_length || self.max_length > 1024 {
            problems.push(
                "auth.password.max_length: must be between auth.password.min_length and 1024"
                    .to_owned(),
            );
        }
        if !BCRYPT_COSTS.contains(&self.bcrypt_cost) {
            problems.push("auth.password.bcrypt_cost: must be between 4 and 31".to_owned());
        }
        if let Some(breached) = &self.breached {
            breached.check(problems);
        }
        if self.history > 24 {
            problems.push("auth.password.history: must be at most 24".to_owned());
        }
    }

    /// What these rules do not meet of NIST SP 800-63B-4 and OWASP ASVS 5.0, for the log at start;
    /// `None` when they meet both.
    #[must_use]
    pub fn unmet(&self) -> Option<String> {
        let kinds =
            self.require_upper || self.require_lower || self.require_digit || self.require_special;
        let unmet = [
            (self.min_length < 15, "passwords of fewer than 15 characters (NIST 3.1.1.2)"),
            (kinds, "kinds of characters that are asked for (NIST 3.1.1.2, ASVS 6.2.5)"),
            (self.max_age.0.is_some(), "changes without a reason (NIST 3.1.1.2, ASVS 6.2.10)"),
            (self.max_length < 64, "long passwords refused (NIST 3.1.1.2, ASVS 6.2.9)"),
            (!self.check_common, "common passwords allowed (NIST 3.1.1.2, ASVS 6.2.4)"),
            (!self.check_names, "names allowed in passwords (ASVS 6.2.11)"),
        ];
        let unmet: Vec<_> =
            unmet.into_iter().filter(|(unmet, _)| *unmet).map(|(_, what)| what).collect();
        if unmet.is_empty() {
            return None;
        }
        let unmet = unmet.join("; ");
        Some(format!("auth.password does not meet NIST SP 800-63B-4 and OWASP ASVS 5.0: {unmet}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Password {
        serde_norway::from_str(text).unwrap()
    }

    #[test]
    fn a_preset_can_be_overridden_rule_by_rule() {
        let seed = read("preset: seed");
        assert_eq!((seed.min_length, seed.require_special, seed.history), (12, true, 5));
        assert_eq!(seed.max_age.0, Some("90d".parse().unwrap()));
        let nist = read("preset: nist");
        assert_eq!((nist.min_length, nist.require_special, nist.history), (15, false, 0));
        assert_eq!(nist.max_age.0, None);
        let mixed = read("{preset: nist, min_length: 20, require_digit: true, max_age: 30d}");
        assert_eq!((mixed.min_length, mixed.require_digit, mixed.require_upper), (20, true, false));
        assert_eq!(read("max_age: 0").max_age.0, None);
    }

    #[test]
    fn who_sets_the_cost_of_bcrypt_gets_bcrypt() {
        assert_eq!(read("{}").hash, HashKind::Argon2id);
        assert_eq!(read("bcrypt_cost: 12").hash, HashKind::Bcrypt);
        assert_eq!(read("{bcrypt_cost: 12, hash: argon2id}").hash, HashKind::Argon2id);
    }

    #[test]
    fn what_a_preset_does_not_meet_is_said() {
        let seed = Password::of(Preset::Seed).unmet().unwrap();
        assert!(seed.contains("ASVS 6.2.5") && seed.contains("ASVS 6.2.10"), "{seed}");
        assert_eq!(Password::of(Preset::Nist).unmet(), None);
    }
}
