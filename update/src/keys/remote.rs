//! Keys that are elsewhere: whoever has one is asked for each signature.

use std::{error::Error, fmt};

use async_trait::async_trait;
use aws_lc_rs::rand::SecureRandom;
use tough::{schema::key::Key, sign::Sign};

use super::{PublicKey, SigningKey};
use crate::verify;

type Failure = Box<dyn Error + Send + Sync>;

type Ask = dyn Fn(&[u8]) -> Result<Vec<u8>, Failure> + Send + Sync;

impl SigningKey {
    /// The private half of `public`, which is wherever `ask` asks: it is given what to sign, and gives
    /// the signature (ed25519: 64 bytes; P-256: DER; RSA: PSS with SHA-256). What it gives is checked.
    pub fn elsewhere(
        public: PublicKey,
        ask: impl Fn(&[u8]) -> Result<Vec<u8>, Failure> + Send + Sync + 'static,
    ) -> Self {
        Self { signer: Box::new(Elsewhere { key: public.key, ask: Box::new(ask) }) }
    }
}

struct Elsewhere {
    key: Key,
    ask: Box<Ask>,
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elsewhere").finish_non_exhaustive()
    }
}

#[async_trait]
impl Sign for Elsewhere {
    fn tuf_key(&self) -> Key {
        self.key.clone()
    }

    async fn sign(
        &self,
        message: &[u8],
        _random: &(dyn SecureRandom + Sync),
    ) -> Result<Vec<u8>, Failure> {
        let signature = (self.ask)(message)?;
        if verify::is_signature(&self.key, message, &signature) {
            Ok(signature)
        } else {
            Err("what came is no signature by the key".into())
        }
    }
}
