//! Which passwords are allowed.

use std::{collections::BTreeSet, sync::LazyLock};

use unicode_normalization::UnicodeNormalization as _;

use super::errors::FieldErrors;
use crate::config::Password;

/// Passwords that many people use, one a line.
const COMMON: &str = include_str!("../../data/common-passwords.txt");

/// The shortest word of a name that a password may not hold, in characters.
const MIN_NAME: usize = 4;

/// A password as it is counted, compared and hashed: NFC, so that it does not matter how a keyboard
/// composes its letters.
pub(super) fn normal(password: &str) -> String {
    password.nfc().collect()
}

/// Notes against `pointer` each rule that `password` breaks, by the rule's name. `names` are the
/// person's address and name and the organization's name, as far as they are known.
pub(super) fn check_password(
    errors: &mut FieldErrors,
    (pointer, password): (&str, &str),
    names: &[&str],
    rules: &Password,
) {
    let password = &normal(password);
    let length = password.chars().count();
    let lacks = |kind: fn(char) -> bool| !password.chars().any(kind);
    let (least, most) = (rules.min_length, rules.max_length);
    let broken = [
        (length < least, "min_length", format!("must have at least {least} characters")),
        (length > most, "max_length", format!("must have at most {most} characters")),
        (password.contains('\0'), "nul", "must not contain a NUL character".to_owned()),
        (
            rules.require_upper && lacks(char::is_uppercase),
            "require_upper",
            "must have an upper-case letter".to_owned(),
        ),
        (
            rules.require_lower && lacks(char::is_lowercase),
            "require_lower",
            "must have a lower-case letter".to_owned(),
        ),
        (
            rules.require_digit && lacks(char::is_numeric),
            "require_digit",
            "must have a digit".to_owned(),
        ),
        (
            rules.require_special && !password.chars().any(|letter| !letter.is_alphanumeric()),
            "require_special",
            "must have a character that is neither a letter nor a digit".to_owned(),
        ),
        (
            rules.check_common && length <= most && is_common(password),
            "check_common",
            "is one that many people use, or nearly".to_owned(),
        ),
        (
            rules.check_names && length <= most && holds_name(password, names),
            "check_names",
            "must not contain your name, address or organization".to_owned(),
        ),
    ];
    for (broken, rule, detail) in broken {
        errors.refuse_rule_if(broken, (pointer, rule), detail);
    }
}

/// Whether many people use it: as it stands, in other case, with digits for letters, or with digits
/// and signs around it.
fn is_common(password: &str) -> bool {
    static WORDS: LazyLock<BTreeSet<&str>> = LazyLock::new(|| COMMON.lines().collect());
    let folded = password.to_lowercase();
    variants(&folded).iter().any(|variant| WORDS.contains(variant.as_str()))
}

/// `folded`, and what it may be an ornament of.
fn variants(folded: &str) -> Vec<String> {
    let bare = |text: &str| text.trim_matches(|letter: char| !letter.is_alphabetic()).to_owned();
    let trimmed =
        |text: &str| text.trim_end_matches(|letter: char| !letter.is_alphanumeric()).to_owned();
    let plain: String = folded.chars().map(without_leet).collect();
    // `p@ssw0rd2024!`: the digits at its end are no letters in disguise.
    let inner: String = bare(folded).chars().map(without_leet).collect();
    vec![folded.to_owned(), trimmed(folded), bare(folded), bare(&plain), plain, inner]
}

/// The letter that a digit or sign stands for.
fn without_leet(letter: char) -> char {
    match letter {
        '0' => 'o',
        '1' | '!' | '|' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' | '+' => 't',
        '8' => 'b',
        other => other,
    }
}

/// Whether a word of `names` is in it.
fn holds_name(password: &str, names: &[&str]) -> bool {
    let folded = password.to_lowercase();
    let plain: String = folded.chars().map(without_leet).collect();
    names
        .iter()
        // Of an address, what stands before the host; hosts are shared by too many.
        .map(|name| name.split('@').next().unwrap_or_default().to_lowercase())
        .flat_map(|name| {
            let words = name.split(|letter: char| !letter.is_alphanumeric()).map(str::to_owned);
            words.collect::<Vec<_>>()
        })
        .filter(|word| word.chars().count() >= MIN_NAME)
        .any(|word| folded.contains(&word) || plain.contains(&word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Preset;

    fn broken(password: &str, rules: &Password) -> Vec<String> {
        let mut errors = FieldErrors::default();
        let names = ["jdoe.smith@example.com", "Jürgen Doe", "Acme Rockets"];
        check_password(&mut errors, ("/password", password), &names, rules);
        let errors = errors.into_result().err().unwrap_or_default();
        errors.into_iter().filter_map(|error| error.rule).collect()
    }

    /// Rows: P4a, P4b, W1, W2
    #[test]
    fn each_broken_rule_is_named() {
        let seed = Password::of(Preset::Seed);
        let none: [&str; 0] = [];
        assert_eq!(broken("Tr0ub4dor&3xy", &seed), none);
        assert_eq!(broken("Tr0ub4dor&3", &seed), ["min_length"]);
        assert_eq!(broken("tr0ub4dor&3xy", &seed), ["require_upper"]);
        assert_eq!(broken("TR0UB4DOR&3XY", &seed), ["require_lower"]);
        assert_eq!(broken("Troubadour&xyz", &seed), ["require_digit"]);
        assert_eq!(broken("Tr0ub4dor3xyz", &seed), ["require_special"]);
        let relaxed = Password { require_special: false, ..seed.clone() };
        assert_eq!(broken("Tr0ub4dor3xyz", &relaxed), none);
        let emoji = Password { min_length: 12, ..Password::of(Preset::Nist) };
        assert_eq!(broken(&"🦀".repeat(12), &emoji), none);
        assert_eq!(broken(&"🦀".repeat(11), &emoji), ["min_length"]);
        assert_eq!(broken(&"a\u{301}".repeat(11), &emoji), ["min_length"], "composed, they are 11");
        assert_eq!(broken("Tr0ub4dor&3\0xy", &seed), ["nul"]);
    }

    /// Rows: W3
    #[test]
    fn what_many_people_use_is_refused_in_disguise_too() {
        let rules = Password { min_length: 8, ..Password::of(Preset::Nist) };
        for common in [
            "password",
            "PassWord",
            "p@ssw0rd",
            "P@ssw0rd2024!",
            "password1234",
            "Qwertyuiop!!!",
            "!!iloveyou!!",
            "trustno1",
        ] {
            assert_eq!(broken(common, &rules), ["check_common"], "{common}");
        }
        for good in ["copper walrus ledger tuba", "xkcd-936-tr0ub4dor"] {
            assert!(broken(good, &rules).is_empty(), "{good}");
        }
        let off = Password { check_common: false, ..rules };
        assert!(broken("password", &off).is_empty());
        assert!(COMMON.lines().count() >= 10_000);
    }

    /// Rows: W7
    #[test]
    fn names_are_refused() {
        let rules = Password::of(Preset::Nist);
        for named in [
            "my-rockets-are-red",
            "JÜRGEN likes walnuts",
            "the smith of walnuts",
            "r0cket5 walnut tuba",
        ] {
            assert_eq!(broken(named, &rules), ["check_names"], "{named}");
        }
        assert!(broken("doe a deer, a female deer", &rules).is_empty(), "short words are words");
        assert!(broken("example of a passphrase", &rules).is_empty(), "a host is no name");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_rules_themselves(password in any::<String>()) {
            broken(&password, &Password::of(Preset::Seed));
        }
    }
}
