//! Keys of App Store Connect, and the tokens they sign. Source: Apple's "Generating tokens for API requests" and
//! RFC 7515.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::json;

/// For whom tokens are, and how long they are good, in seconds: Apple takes 20 minutes.
const AUDIENCE: &str = "appstoreconnect-v1";
const LIFETIME: i64 = 10 * 60;

/// A key with what Apple knows it by.
pub(crate) struct ApiKey {
    id: String,
    issuer: String,
    pair: EcdsaKeyPair,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ApiKey {
    /// `pem` is what App Store Connect lets one download once, `AuthKey_<id>.p8`.
    pub(super) fn new(id: &str, issuer: &str, pem: &str) -> Result<Self, &'static str> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes());
        let key = key.map_err(|_| "there is no private key in it")?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der());
        let pair =
            pair.map_err(|_| "its key is of another kind than those of App Store Connect")?;
        Ok(Self { id: id.to_owned(), issuer: issuer.to_owned(), pair })
    }

    /// A token for requests that are made at once.
    pub(super) fn token(&self, now: Timestamp) -> anyhow::Result<String> {
        let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(json!({ "alg": "ES256", "kid": self.id, "typ": "JWT" }));
        let at = now.as_second();
        let claims = part(json!({
            "iss": self.issuer, "iat": at, "exp": at + LIFETIME, "aud": AUDIENCE,
        }));
        let message = format!("{head}.{claims}");
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes());
        let signature = signature.map_err(|_| anyhow::anyhow!("the API key did not sign"))?;
        Ok(format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}
