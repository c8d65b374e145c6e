//! The device's own key pair: made on it, known to the server by its public half since the device
//! enrolled, and used for every request that shows the node key. The private half never leaves the
//! device; a node key that was read on its way, or from a backup, is worth nothing without it.
//!
//! Ed25519 by aws-lc-rs. At rest it is sealed as the node key is, with a TPM where there is one; the
//! agent signs with a copy in its memory.

use std::fmt;

use aws_lc_rs::{
    error::Unspecified,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use uuid::Uuid;
use wire::signature::{Claims, Draft, Message};
use zeroize::Zeroizing;

use crate::{
    identity::FileError,
    vault::{Slot, Vault},
};

/// A key pair to sign requests with.
pub struct DeviceKey {
    pair: Ed25519KeyPair,
    /// The public half, in hexadecimal, which is also what the key is called.
    public: String,
}

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeKeyError {
    #[error("could not make a key for this device")]
    Make(#[from] Unspecified),
    #[error("could not keep the key of this device")]
    Keep(#[from] FileError),
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeviceKey").field(&self.public).finish()
    }
}

impl DeviceKey {
    /// Makes a key and keeps it in `vault`, in place of the one before. Blocks for as long as a keystore
    /// takes.
    pub fn make_in(vault: &Vault) -> Result<Self, MakeKeyError> {
        let pair = Ed25519KeyPair::generate()?;
        let text = Zeroizing::new(hex::encode(pair.to_pkcs8v1()?.as_ref()));
        vault.save(Slot::DeviceKey, &text)?;
        Ok(Self::of(pair))
    }

    /// Reads what [`DeviceKey::make_in`] has kept; none of what makes no sense.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let pkcs8 = Zeroizing::new(hex::decode(text.trim_end()).ok()?);
        Ed25519KeyPair::from_pkcs8(&pkcs8).ok().map(Self::of)
    }

    fn of(pair: Ed25519KeyPair) -> Self {
        let public = hex::encode(pair.public_key());
        Self { pair, public }
    }

    /// The public half, in hexadecimal.
    #[must_use]
    pub fn public(&self) -> String {
        self.public.clone()
    }

    /// The headers that sign `message` at `created`, in seconds since 1970.
    #[must_use]
    pub fn sign(&self, message: &Message<'_>, created: i64) -> [(&'static str, String); 3] {
        let nonce = Uuid::new_v4().simple().to_string();
        let claims = Claims { created, nonce: &nonce, key_id: &self.public };
        let draft = Draft::new(message, &claims);
        let signature = self.pair.sign(draft.base.as_bytes());
        draft.headers(signature.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    use camino::Utf8Path;
    use wire::signature::{base, receive};

    use super::*;

    /// RFC 9421, appendix B.2.6, with `test-key-ed25519` of B.1.4.
    #[test]
    fn signatures_are_those_of_rfc_9421() {
        const SIGNATURE: &str = "c2a700a9b9982768e2da095f00c691cb882bb98627c769c414dd8737a8eb9c39\
                                 d008ad6ed3619bd38bfd10383050f8aee00d30eafb90bf9948a7958fa412910b";
        let seed = "9f8362f87a484a954e6e740c5b4c0e84229139a20aa8ab56ff66586f6a7d29c5";
        let public = "26b40b8f93fff3d897112f7ebc582b232dbd72517d082fe83cfb30ddce43d1bb";
        let [seed, public] = [seed, public].map(|text| hex::decode(text).unwrap());
        let key = DeviceKey::of(Ed25519KeyPair::from_seed_and_public_key(&seed, &public).unwrap());
        let covered = [
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("@method", "POST"),
            ("@path", "/foo"),
            ("@authority", "example.com"),
            ("content-type", "application/json"),
            ("content-length", "18"),
        ];
        let parameters = r#"("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#;
        let base = base(&covered, parameters);
        let made = key.pair.sign(base.as_bytes());
        assert_eq!(hex::encode(made.as_ref()), SIGNATURE);
    }

    #[test]
    fn a_key_is_read_back_and_its_signatures_verify() {
        let directory = tempfile::TempDir::new().unwrap();
        let root = Utf8Path::from_path(directory.path()).unwrap();
        let vault = Vault::new(root, root, false);
        let made = DeviceKey::make_in(&vault).unwrap();
        let text = vault.look(Slot::DeviceKey).unwrap().unwrap();
        let key = DeviceKey::from_text(&text).unwrap();
        assert_eq!(key.public, made.public);
        assert!(!format!("{key:?}").contains(&text[..16]));
        let message = Message { method: "POST", path: "/a", body: b"{}" };
        let headers = key.sign(&message, 7);
        let find = |name| headers.iter().find(|(it, _)| *it == name).map(|(_, text)| &**text);
        let received = receive(&message, find).unwrap();
        assert_eq!((received.created, &received.key_id), (7, &made.public));
        let public = UnparsedPublicKey::new(&ED25519, hex::decode(made.public).unwrap());
        public.verify(received.base.as_bytes(), &received.signature).unwrap();
        assert_ne!(key.sign(&message, 7), headers, "each has a nonce of its own");
        assert!(DeviceKey::from_text("00").is_none());
    }
}
