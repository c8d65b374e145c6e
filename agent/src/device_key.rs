//! The device's own key pair: made on it, known to the server by its public half since the device
//! enrolled, and used for every request that shows the node key. The private half never leaves the
//! device; a node key that was read on its way, or from a backup, is worth nothing without it.
//!
//! Where there is a TPM 2.0, on Linux, it makes the key and signs with it (ECDSA on P-256, for TPMs know no
//! Ed25519); what is kept then only names the key to that TPM. Elsewhere the key is Ed25519 by aws-lc-rs: at rest it is
//! sealed as the node key is, and the agent signs with a copy in its memory. A device that has a key of its TPM
//! never goes on with another of its own accord.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    error::Unspecified,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use camino::Utf8Path;
use serde::{Deserialize, Serialize};
use tokio::task;
use uuid::Uuid;
use wire::signature::{Algorithm, Claims, Draft, Message};
use zeroize::Zeroizing;

use crate::{
    identity::FileError,
    platform::{TpmError, TpmKey},
    vault::{Slot, Vault},
};

/// A key pair to sign requests with.
pub struct DeviceKey {
    private: Private,
    /// The public half, in hexadecimal, which is also what the key is called.
    public: String,
}

enum Private {
    Software(Box<Ed25519KeyPair>),
    Tpm(Arc<TpmKey>),
}

/// A key that was just made.
#[derive(Debug)]
pub struct NewKey {
    pub key: DeviceKey,
    /// Why it is not a TPM's, unless that was so of the one before, too.
    pub without_tpm: Option<TpmError>,
}

/// What holds the private half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holder {
    /// It stays in the TPM.
    Tpm,
    /// The agent itself.
    Software,
}

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeKeyError {
    #[error("could not make a key for this device")]
    Make(#[from] Unspecified),
    #[error("could not make a key for this device in its TPM, which has made one before")]
    Tpm(#[source] TpmError),
    #[error(
        "could not make a key for this device: its TPM does not, and the one that it has cannot be opened; if that is gone \
         for good: `systemctl stop orbit && orbit reset-identity && systemctl start orbit`"
    )]
    Sealed(#[source] TpmError),
    #[error("could not keep the key of this device")]
    Keep(#[from] FileError),
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
#[error(
    "could not sign with this device's key, which is in its TPM; if that is gone for good, have the device enroll with \
     another key: `systemctl stop orbit && orbit reset-identity && systemctl start orbit`"
)]
pub struct SignError(#[from] TpmError);

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeviceKey").field(&self.public).finish()
    }
}

impl DeviceKey {
    /// Makes a key and keeps it in `vault`, in place of the one before, which `refused` was the holder of if the server
    /// has refused it. Blocks for as long as a TPM and a keystore take.
    pub fn make_in(vault: &Vault, refused: Option<Holder>) -> Result<NewKey, MakeKeyError> {
        let error = match TpmKey::make(vault.system()) {
            Ok(key) => {
                vault.save(Slot::DeviceKey, &key.text())?;
                return Ok(NewKey { key: Self::of_tpm(key), without_tpm: None });
            }
            Err(error) => error,
        };
        let before = vault.look(Slot::DeviceKey)?;
        if before.is_none() && !error.is_absent() && vault.holds(Slot::DeviceKey)? {
            // What has sealed it may be the TPM that does not do its work now.
            return Err(MakeKeyError::Sealed(error));
        }
        let before = before.and_then(|text| Self::from_text(&text, vault.system()));
        let holder = before.map(|key| key.holder()).or(refused);
        if holder == Some(Holder::Tpm) {
            return Err(MakeKeyError::Tpm(error));
        }
        let key = Self::make_in_software(vault)?;
        Ok(NewKey { key, without_tpm: holder.is_none().then_some(error) })
    }

    fn make_in_software(vault: &Vault) -> Result<Self, MakeKeyError> {
        let pair = Ed25519KeyPair::generate()?;
        let text = Zeroizing::new(hex::encode(pair.to_pkcs8v1()?.as_ref()));
        vault.save(Slot::DeviceKey, &text)?;
        Ok(Self::of(pair))
    }

    /// Reads what [`DeviceKey::make_in`] has kept on the system below `system`; none of what makes no sense. The TPM is
    /// not asked yet.
    #[must_use]
    pub fn from_text(text: &str, system: &Utf8Path) -> Option<Self> {
        if let Some(key) = TpmKey::from_text(text, system) {
            return Some(Self::of_tpm(key));
        }
        let pkcs8 = Zeroizing::new(hex::decode(text.trim_end()).ok()?);
        Ed25519KeyPair::from_pkcs8(&pkcs8).ok().map(Self::of)
    }

    fn of(pair: Ed25519KeyPair) -> Self {
        let public = hex::encode(pair.public_key());
        Self { private: Private::Software(Box::new(pair)), public }
    }

    fn of_tpm(key: TpmKey) -> Self {
        let public = hex::encode(key.public());
        Self { private: Private::Tpm(Arc::new(key)), public }
    }

    /// The public half, in hexadecimal.
    #[must_use]
    pub fn public(&self) -> String {
        self.public.clone()
    }

    /// What holds the private half.
    #[must_use]
    pub const fn holder(&self) -> Holder {
        match self.private {
            Private::Software(_) => Holder::Software,
            Private::Tpm(_) => Holder::Tpm,
        }
    }

    const fn algorithm(&self) -> Algorithm {
        match self.private {
            Private::Software(_) => Algorithm::Ed25519,
            Private::Tpm(_) => Algorithm::EcdsaP256Sha256,
        }
    }

    /// The headers that sign `message` at `created`, in seconds since 1970. A TPM takes its time, on a thread of its
    /// own.
    pub async fn sign(
        &self,
        message: &Message<'_>,
        created: i64,
    ) -> Result<[(&'static str, String); 3], SignError> {
        let nonce = Uuid::new_v4().simple().to_string();
        let algorithm = self.algorithm();
        let claims = Claims { created, nonce: &nonce, key_id: &self.public, algorithm };
        let draft = Draft::new(message, &claims);
        let signature = match &self.private {
            Private::Software(pair) => pair.sign(draft.base.as_bytes()).as_ref().to_vec(),
            Private::Tpm(key) => {
                let (key, base) = (Arc::clone(key), draft.base.clone());
                let signed = task::spawn_blocking(move || key.sign(base.as_bytes()));
                signed.await.expect("signing does not panic")?
            }
        };
        Ok(draft.headers(&signature))
    }

    /// Gives back what it takes of the TPM until it is used again.
    pub fn rest(&self) {
        if let Private::Tpm(key) = &self.private {
            key.rest();
        }
    }

    /// Finds out whether the key can be used. Blocks for as long as a TPM takes.
    pub fn try_out(&self) -> Result<(), SignError> {
        match &self.private {
            Private::Software(_) => Ok(()),
            Private::Tpm(key) => Ok(key.sign(b"").map(drop)?),
        }
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
        let Private::Software(pair) = &key.private else { panic!("no TPM was asked") };
        let made = pair.sign(base.as_bytes());
        assert_eq!(hex::encode(made.as_ref()), SIGNATURE);
    }

    #[tokio::test]
    async fn a_key_is_read_back_and_its_signatures_verify() {
        let directory = tempfile::TempDir::new().unwrap();
        let root = Utf8Path::from_path(directory.path()).unwrap();
        let vault = Vault::new(root, root, false);
        let NewKey { key: made, without_tpm } = DeviceKey::make_in(&vault, None).unwrap();
        assert!(without_tpm.unwrap().is_absent());
        let text = vault.look(Slot::DeviceKey).unwrap().unwrap();
        let key = DeviceKey::from_text(&text, root).unwrap();
        assert_eq!((&key.public, key.holder()), (&made.public, Holder::Software));
        assert!(!format!("{key:?}").contains(&text[..16]));
        let again = DeviceKey::make_in(&Vault::new(root, root, false), None).unwrap();
        assert!(again.without_tpm.is_none(), "it was said before");
        // A TPM's that the server has refused is not kept any more, and is remembered.
        let refused = DeviceKey::make_in(&vault, Some(Holder::Tpm));
        assert!(refused.is_ok(), "what is kept says more");
        vault.forget(Slot::DeviceKey).unwrap();
        let refused = DeviceKey::make_in(&vault, Some(Holder::Tpm)).unwrap_err();
        assert!(matches!(refused, MakeKeyError::Tpm(_)), "{refused:?}");
        let message = Message { method: "POST", path: "/a", body: b"{}" };
        let headers = key.sign(&message, 7).await.unwrap();
        let find = |name| headers.iter().find(|(it, _)| *it == name).map(|(_, text)| &**text);
        let received = receive(&message, find).unwrap();
        assert_eq!((received.created, &received.key_id), (7, &made.public));
        let public = UnparsedPublicKey::new(&ED25519, hex::decode(made.public).unwrap());
        public.verify(received.base.as_bytes(), &received.signature).unwrap();
        let again = key.sign(&message, 7).await.unwrap();
        assert_ne!(again, headers, "each has a nonce of its own");
        for nonsense in ["00", "tpm2", "tpm2 00 04", ""] {
            assert!(DeviceKey::from_text(nonsense, root).is_none());
        }
    }
}
