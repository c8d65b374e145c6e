//! What API keys look like: `<prefix>_<kind>_<environment>_<26 random characters><6 of checksum>`, so
//! that a scanner finds one that leaked and a mistyped one costs no query.

use wire::api::{Hidden, KeyEnvironment};

use super::secrets::{BASE62, pick};
use crate::config::ApiKeys;

const RANDOM: usize = 26;
const CHECKSUM: usize = 6;

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// `pk`: it may do what its scopes and its creator may do.
    Person,
    /// `sk`: it may do what its scopes say, whoever made it.
    Service,
    /// `dk`: an agent's. No route for people takes it.
    Device,
    /// `ek`: an enroll secret. No route for people takes it.
    Enroll,
}

/// Why a text is not taken for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FormError {
    /// Another form, or a wrong checksum.
    Malformed,
    /// It is for something else.
    WrongKind,
}

impl KeyKind {
    const ALL: [Self; 4] = [Self::Person, Self::Service, Self::Device, Self::Enroll];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "pk",
            Self::Service => "sk",
            Self::Device => "dk",
            Self::Enroll => "ek",
        }
    }
}

/// How keys of this kind begin here, e.g. `fleetd_pk_live_`.
pub(super) fn prefix(config: &ApiKeys, environment: KeyEnvironment, kind: KeyKind) -> String {
    format!("{}_{}_{}_", config.prefix, kind.as_str(), environment.as_str())
}

/// A new key: 154 random bits, and a checksum over the rest.
pub(super) fn new_key(config: &ApiKeys, environment: KeyEnvironment, kind: KeyKind) -> Hidden {
    let body = format!("{}{}", prefix(config, environment, kind), pick(BASE62, RANDOM));
    let checksum = checksum(&body);
    Hidden(format!("{body}{checksum}"))
}

/// Whether `text` begins as keys do here. No access token does.
pub(super) fn begins_like_a_key(config: &ApiKeys, text: &str) -> bool {
    text.strip_prefix(&config.prefix).is_some_and(|rest| rest.starts_with('_'))
}

/// What `text` is for, if it is a key's for people's routes here, as far as can be told without a query.
pub(super) fn check(config: &ApiKeys, text: &str) -> Result<KeyEnvironment, FormError> {
    let (kind, environment) = parse(config, text).ok_or(FormError::Malformed)?;
    match kind {
        KeyKind::Device | KeyKind::Enroll => Err(FormError::WrongKind),
        KeyKind::Person | KeyKind::Service => Ok(environment),
    }
}

fn parse(config: &ApiKeys, text: &str) -> Option<(KeyKind, KeyEnvironment)> {
    let rest = text.strip_prefix(&config.prefix)?.strip_prefix('_')?;
    let (kind, rest) = rest.split_once('_')?;
    let (environment, random) = rest.split_once('_')?;
    let kind = KeyKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    let environment = environment.parse().ok()?;
    let plain = random.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if random.len() != RANDOM + CHECKSUM || !plain {
        return None;
    }
    let (body, sum) = text.split_at(text.len() - CHECKSUM);
    (checksum(body) == sum).then_some((kind, environment))
}

/// CRC32 in base62, six digits.
fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes()) as usize;
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[rest % 62];
        rest /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_key_passes_and_any_changed_letter_fails() {
        let config = ApiKeys::default();
        let Hidden(key) = &new_key(&config, KeyEnvironment::Live, KeyKind::Person);
        assert!(key.starts_with("fleetd_pk_live_") && key.len() == 47, "{key}");
        assert_eq!(check(&config, key), Ok(KeyEnvironment::Live));
        for (index, letter) in key.char_indices() {
            let other = if letter == 'x' { "y" } else { "x" };
            let mut changed = key.clone();
            changed.replace_range(index..=index, other);
            assert_eq!(check(&config, &changed), Err(FormError::Malformed), "{index}");
        }
        for bad in ["fleetd_pk_live_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6", "fleetd_pk_live_ééééééééééé"]
        {
            assert_eq!(check(&config, bad), Err(FormError::Malformed));
        }
    }

    /// Rows: K6
    #[test]
    fn kinds_and_environments_are_told_apart() {
        let config = ApiKeys::default();
        let check = |environment, kind| check(&config, &new_key(&config, environment, kind).0);
        for environment in [KeyEnvironment::Live, KeyEnvironment::Test] {
            assert_eq!(check(environment, KeyKind::Person), Ok(environment));
            assert_eq!(check(environment, KeyKind::Service), Ok(environment));
            assert_eq!(check(environment, KeyKind::Device), Err(FormError::WrongKind));
            assert_eq!(check(environment, KeyKind::Enroll), Err(FormError::WrongKind));
        }
        let other = ApiKeys { prefix: "acme".to_owned(), ..ApiKeys::default() };
        let key = new_key(&other, KeyEnvironment::Live, KeyKind::Person);
        assert_eq!(super::check(&config, &key.0), Err(FormError::Malformed));
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_a_key_by_chance(text in "(fleetd_pk_live_)?.{0,64}") {
            prop_assert_eq!(check(&ApiKeys::default(), &text), Err(FormError::Malformed));
        }
    }
}
