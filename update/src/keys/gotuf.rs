//! Key files of go-tuf 0.x, which Fleet's `fleetctl updates` keeps: JSON with a list of keys, sealed by
//! NaCl's secretbox under a key that scrypt makes of a passphrase.

use std::fs;

use aws_lc_rs::signature::Ed25519KeyPair;
use camino::Utf8Path;
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305, aead::Aead as _};
use pkcs8::SecretDocument;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{KeyError, Passphrase};

/// More work than any version of go-tuf asks for, and less than a gigabyte.
const MAX_LOG_N: u8 = 19;

#[derive(Deserialize)]
struct File {
    encrypted: bool,
    data: serde_json::Value,
}

#[derive(Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: Base64,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: Base64,
}

#[derive(Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: Base64,
}

#[derive(Deserialize)]
struct Key {
    keytype: String,
    keyval: KeyValue,
}

#[derive(Deserialize)]
struct KeyValue {
    #[serde(deserialize_with = "wiped")]
    private: Zeroizing<String>,
}

fn wiped<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// Whether the keys in the file at `path` are sealed; none if it is no such file.
pub(super) fn is_sealed(path: &Utf8Path) -> Option<bool> {
    Some(read(path).ok()?.encrypted)
}

/// The private keys in the file at `path`, as PKCS#8.
pub(super) fn open(
    path: &Utf8Path,
    passphrase: Option<&Passphrase>,
) -> Result<Vec<SecretDocument>, KeyError> {
    let unknown = || KeyError::UnknownKind { path: path.to_owned() };
    let file = read(path)?;
    let keys: Vec<Key> = if file.encrypted {
        let wrong = || KeyError::WrongPassphrase { path: path.to_owned() };
        let sealed: Sealed = serde_json::from_value(file.data).map_err(|_| unknown())?;
        let opened = sealed.open(passphrase.ok_or_else(wrong)?).ok_or_else(wrong)?;
        serde_json::from_slice(&opened).map_err(|_| unknown())?
    } else {
        serde_json::from_value(file.data).map_err(|_| unknown())?
    };
    keys.iter().map(|key| key.to_pkcs8().ok_or_else(unknown)).collect()
}

fn read(path: &Utf8Path) -> Result<File, KeyError> {
    let text = fs::read(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|_| KeyError::UnknownKind { path: path.to_owned() })
}

impl Sealed {
    fn open(&self, passphrase: &Passphrase) -> Option<Zeroizing<Vec<u8>>> {
        let Kdf { name, params, salt } = &self.kdf;
        let is_known = name == "scrypt" && self.cipher.name == "nacl/secretbox";
        let log_n = u8::try_from(params.n.checked_ilog2()?).ok()?;
        let is_much = log_n > MAX_LOG_N || params.r > 8 || params.p > 4;
        if !is_known || !params.n.is_power_of_two() || is_much {
            return None;
        }
        let params = scrypt::Params::new(log_n, params.r, params.p).ok()?;
        let mut key = Zeroizing::new([0; 32]);
        scrypt::scrypt(passphrase.0.as_bytes(), &salt.0, &params, &mut *key).ok()?;
        let nonce: [u8; 24] = self.cipher.nonce.0.as_slice().try_into().ok()?;
        let cipher = XSalsa20Poly1305::new((&*key).into());
        cipher.decrypt((&nonce).into(), self.ciphertext.0.as_slice()).ok().map(Zeroizing::new)
    }
}

impl Key {
    /// go-tuf writes the seed with the public half behind it.
    fn to_pkcs8(&self) -> Option<SecretDocument> {
        if self.keytype != "ed25519" {
            return None;
        }
        let private = Zeroizing::new(hex::decode(&*self.keyval.private).ok()?);
        let (seed, public) = private.split_at_checked(32)?;
        let pair = if public.is_empty() {
            Ed25519KeyPair::from_seed_unchecked(seed)
        } else {
            Ed25519KeyPair::from_seed_and_public_key(seed, public)
        };
        let plain = pair.ok()?.to_pkcs8v1().ok()?;
        SecretDocument::try_from(plain.as_ref()).ok()
    }
}

/// Bytes as Go writes them in JSON.
struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::Engine as _;
        let text = String::deserialize(deserializer)?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From go-tuf's own tests, with each strength that it ever had.
    #[test]
    fn what_go_tuf_sealed_is_opened() {
        let secret = Passphrase::new("supersecret".to_owned()).unwrap();
        for text in [
            r#"{"kdf":{"name":"scrypt","params":{"N":32768,"r":8,"p":1},"salt":"WO3mVvyTwJ9vwT5/Tk5OW5WPIBUofMjcpEfrLnfY4uA="},"cipher":{"name":"nacl/secretbox","nonce":"tCy7HcTFr4uxv4Nrg/DWmncuZ148U1MX"},"ciphertext":"08n43p5G5yviPEZpO7tPPF4aZQkWiWjkv4taFdhDBA0tamKH4nw="}"#,
            r#"{"kdf":{"name":"scrypt","params":{"N":65536,"r":8,"p":1},"salt":"FhzPOt9/bJG4PTq6lQ6ecG6GzaOuOy/ynG5+yRiFlNs="},"cipher":{"name":"nacl/secretbox","nonce":"aw1ng1jHaDz/tQ7V2gR9O2+IGQ8xJEuE"},"ciphertext":"HycvuLZL4sYH0BrYTh4E/H20VtAW6u5zL5Pr+IBjYLYnCPzDkq8="}"#,
        ] {
            let sealed: Sealed = serde_json::from_str(text).unwrap();
            // What was sealed is JSON, in which Go writes bytes as base64: `reallyimportant`.
            assert_eq!(**sealed.open(&secret).unwrap(), *br#""cmVhbGx5aW1wb3J0YW50""#);
            assert!(sealed.open(&Passphrase::new("else".to_owned()).unwrap()).is_none());
        }
    }
}
