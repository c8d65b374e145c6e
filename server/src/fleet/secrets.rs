//! New secrets: node keys, tokens, API keys, the set-up code. All from the system's generator.

use aws_lc_rs::hmac;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use wire::api::Hidden;

/// How an API key begins: product, kind (`pk`: a person's), environment.
pub(super) const API_KEY_PREFIX: &str = "fleetd_pk_live_";

const API_KEY_RANDOM: usize = 26;
const API_KEY_CHECKSUM: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// No I, L, O, 0, 1: nothing that is misread from a screen.
const UNAMBIGUOUS: &[u8; 31] = b"ABCDEFGHJKMNPQRSTUVWXYZ23456789";

/// 24 random bytes in base64, as enroll secrets and node keys are.
pub(super) fn new_key() -> String {
    STANDARD.encode(rand::random::<[u8; 24]>())
}

/// 32 random bytes in URL-safe base64, as tokens are.
pub(super) fn new_token() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// The access and refresh token that follow `refresh`: the same for the same `salt`, and of no use
/// to whoever knows only one of the two.
pub(super) fn successors(salt: &str, refresh: &str) -> (Hidden, Hidden) {
    let key = hmac::Key::new(hmac::HMAC_SHA256, salt.as_bytes());
    let token = |kind: &str| {
        let tag = hmac::sign(&key, format!("{kind} after {refresh}").as_bytes());
        Hidden(URL_SAFE_NO_PAD.encode(tag))
    };
    (token("access"), token("refresh"))
}

/// A new API key: prefix, 26 random characters (154 bits), and a checksum over both.
pub(super) fn new_api_key() -> Hidden {
    let random = pick(BASE62, API_KEY_RANDOM);
    let body = format!("{API_KEY_PREFIX}{random}");
    let checksum = checksum(&body);
    Hidden(format!("{body}{checksum}"))
}

/// Whether `text` has an API key's form and checksum. It costs no query to say no.
pub(super) fn is_api_key(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(API_KEY_PREFIX) else { return false };
    if rest.len() != API_KEY_RANDOM + API_KEY_CHECKSUM
        || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return false;
    }
    let (body, sum) = text.split_at(text.len() - API_KEY_CHECKSUM);
    checksum(body) == sum
}

/// CRC32 in base62, six digits.
fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes()) as usize;
    let mut digits = [b'0'; API_KEY_CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[rest % 62];
        rest /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

/// A new set-up code, `XXXX-XXXX-XXXX` (59 bits).
pub(super) fn new_setup_code() -> Hidden {
    let letters = pick(UNAMBIGUOUS, 12);
    Hidden(format!("{}-{}-{}", &letters[..4], &letters[4..8], &letters[8..]))
}

/// A set-up code as it was typed, in the form that it was made in.
pub(super) fn tidy_setup_code(typed: &str) -> String {
    let letters: String = typed
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(64)
        .map(|letter| letter.to_ascii_uppercase())
        .collect();
    match (letters.get(..4), letters.get(4..8), letters.get(8..)) {
        (Some(a), Some(b), Some(c)) => format!("{a}-{b}-{c}"),
        _ => letters,
    }
}

fn pick(alphabet: &[u8], count: usize) -> String {
    (0..count).map(|_| char::from(alphabet[rand::random_range(0..alphabet.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_api_key_passes_and_any_changed_letter_fails() {
        let Hidden(key) = &new_api_key();
        assert_eq!(key.len(), API_KEY_PREFIX.len() + 32);
        assert!(is_api_key(key));
        for (index, letter) in key.char_indices() {
            let other = if letter == 'x' { "y" } else { "x" };
            let mut changed = key.clone();
            changed.replace_range(index..=index, other);
            assert!(!is_api_key(&changed), "{index}");
        }
        assert!(!is_api_key("fleetd_pk_live_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6"));
        assert!(!is_api_key("fleetd_pk_live_ééééééééééééééééé"));
    }

    #[test]
    fn a_setup_code_may_be_typed_loosely() {
        let Hidden(code) = &new_setup_code();
        assert_eq!(code.len(), 14);
        assert_eq!(&tidy_setup_code(&format!(" {} ", code.to_lowercase().replace('-', " "))), code);
        assert_eq!(tidy_setup_code("abc"), "ABC");
        assert_eq!(tidy_setup_code("é\0"), "");
    }
}
