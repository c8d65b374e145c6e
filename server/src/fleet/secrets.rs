//! New secrets: node keys, tokens, the set-up code. All from the system's generator. What API keys
//! look like is in [`key_form`](super::key_form).

use aws_lc_rs::hmac;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use wire::api::Hidden;

pub(super) const BASE62: &[u8; 62] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// No I, L, O, 0, 1: nothing that is misread from a screen.
const UNAMBIGUOUS: &[u8; 31] = b"ABCDEFGHJKMNPQRSTUVWXYZ23456789";

const CONSONANTS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// 24 random bytes in base64, as enroll secrets and node keys are.
pub(super) fn new_key() -> String {
    STANDARD.encode(rand::random::<[u8; 24]>())
}

/// 32 random bytes in URL-safe base64, as tokens are.
pub(super) fn new_token() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// The refresh token that follows `refresh`: the same for the same `salt`, and of no use to whoever
/// knows only one of the two.
pub(super) fn successor(salt: &str, refresh: &str) -> Hidden {
    let key = hmac::Key::new(hmac::HMAC_SHA256, salt.as_bytes());
    let tag = hmac::sign(&key, format!("refresh after {refresh}").as_bytes());
    Hidden(URL_SAFE_NO_PAD.encode(tag))
}

/// A new set-up code, `XXXX-XXXX-XXXX` (59 bits).
pub(super) fn new_setup_code() -> Hidden {
    let letters = pick(UNAMBIGUOUS, 12);
    Hidden(format!("{}-{}-{}", &letters[..4], &letters[4..8], &letters[8..]))
}

/// A set-up code as it was typed, in the form that it was made in.
pub(super) fn tidy_setup_code(typed: &str) -> String {
    let letters = letters_of(typed);
    match (letters.get(..4), letters.get(4..8), letters.get(8..)) {
        (Some(a), Some(b), Some(c)) => format!("{a}-{b}-{c}"),
        _ => letters,
    }
}

/// A new user code of RFC 8628, `XXXX-XXXX` (34 bits): consonants, so that it spells no word.
pub(super) fn new_user_code() -> String {
    let letters = pick(CONSONANTS, 8);
    format!("{}-{}", &letters[..4], &letters[4..])
}

/// What counts of a code that a person typed.
fn letters_of(typed: &str) -> String {
    let letters = typed.chars().filter(char::is_ascii_alphanumeric).take(64);
    letters.map(|letter| letter.to_ascii_uppercase()).collect()
}

/// A user code as it was typed, in the form that it was made in.
pub(super) fn tidy_user_code(typed: &str) -> String {
    let letters = letters_of(typed);
    match (letters.get(..4), letters.get(4..)) {
        (Some(a), Some(b)) => format!("{a}-{b}"),
        _ => letters,
    }
}

pub(super) fn pick(alphabet: &[u8], count: usize) -> String {
    (0..count).map(|_| char::from(alphabet[rand::random_range(0..alphabet.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_code_may_be_typed_loosely() {
        let Hidden(code) = &new_setup_code();
        assert_eq!(code.len(), 14);
        assert_eq!(&tidy_setup_code(&format!(" {} ", code.to_lowercase().replace('-', " "))), code);
        assert_eq!(tidy_setup_code("abc"), "ABC");
        assert_eq!(tidy_setup_code("é\0"), "");
    }
}
