//! Private keys from files: PKCS #8, also encrypted, PKCS #1 and SEC 1, in PEM.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, RSA_PKCS1_SHA256,
    },
};
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument, der::Decode as _};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};

use super::{IdentityError, Scheme, SignError, Signer};

/// What makes a key of RSA too weak, in bytes: shorter ones are refused by who verifies.
const SHORTEST_RSA: usize = 256;

/// A private key in this process' memory.
pub struct LocalKey(Pair);

enum Pair {
    Rsa(Box<rsa::KeyPair>),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
}

/// Asks for the passphrase of what is encrypted. None: there is nobody to ask.
pub type AskPassphrase<'a> = &'a dyn Fn() -> Option<String>;

impl LocalKey {
    /// Takes the first private key in `pem`. `passphrase` is asked if the key is encrypted.
    pub fn from_pem(pem: &[u8], passphrase: AskPassphrase<'_>) -> Result<Self, IdentityError> {
        if let Some(encrypted) = section(pem, "ENCRYPTED PRIVATE KEY") {
            let passphrase = passphrase().ok_or(IdentityError::NoPassphrase)?;
            return Self::from_encrypted(encrypted, &passphrase);
        }
        if contains(pem, b"Proc-Type: 4,ENCRYPTED") {
            return Err(IdentityError::OldEncryption);
        }
        match PrivateKeyDer::from_pem_slice(pem).map_err(|_| IdentityError::NoKey)? {
            PrivateKeyDer::Pkcs1(key) => Self::rsa(rsa::KeyPair::from_der(key.secret_pkcs1_der())),
            PrivateKeyDer::Sec1(key) => Self::elliptic(key.secret_sec1_der()),
            PrivateKeyDer::Pkcs8(key) => Self::from_pkcs8(key.secret_pkcs8_der()),
            _ => Err(IdentityError::KeyKind),
        }
    }

    /// Takes a DER-encoded PKCS #8.
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, IdentityError> {
        match rsa::KeyPair::from_pkcs8(der) {
            Ok(pair) => Self::rsa::<IdentityError>(Ok(pair)),
            Err(_) => Self::elliptic(der),
        }
    }

    fn from_encrypted(pem: &str, passphrase: &str) -> Result<Self, IdentityError> {
        let (_, document) = SecretDocument::from_pem(pem).map_err(|_| IdentityError::NoKey)?;
        let info = EncryptedPrivateKeyInfoRef::from_der(document.as_bytes())
            .map_err(|_| IdentityError::Cipher)?;
        info.encryption_algorithm.pbes2().ok_or(IdentityError::Cipher)?;
        let key = info.decrypt(passphrase).map_err(|_| IdentityError::Passphrase)?;
        Self::from_pkcs8(key.as_bytes())
    }

    fn rsa<E>(pair: Result<rsa::KeyPair, E>) -> Result<Self, IdentityError> {
        let pair = pair.map_err(|_| IdentityError::KeyKind)?;
        if pair.public_modulus_len() < SHORTEST_RSA {
            return Err(IdentityError::ShortKey);
        }
        Ok(Self(Pair::Rsa(Box::new(pair))))
    }

    fn elliptic(der: &[u8]) -> Result<Self, IdentityError> {
        let pair = |algorithm: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::from_private_key_der(algorithm, der)
        };
        if let Ok(pair) = pair(&ECDSA_P256_SHA256_ASN1_SIGNING) {
            return Ok(Self(Pair::P256(pair)));
        }
        let pair = pair(&ECDSA_P384_SHA384_ASN1_SIGNING);
        pair.map(|pair| Self(Pair::P384(pair))).map_err(|_| IdentityError::KeyKind)
    }
}

impl std::fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LocalKey({:?})", self.scheme())
    }
}

impl Signer for LocalKey {
    fn scheme(&self) -> Scheme {
        match &self.0 {
            Pair::Rsa(_) => Scheme::RsaSha256,
            Pair::P256(_) => Scheme::EcdsaP256Sha256,
            Pair::P384(_) => Scheme::EcdsaP384Sha384,
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        let signature = match &self.0 {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map(|()| signature)
            }
            Pair::P256(pair) | Pair::P384(pair) => {
                pair.sign(&random, message).map(|signature| signature.as_ref().to_vec())
            }
        };
        signature.map_err(|error| SignError::Refused(error.into()))
    }
}

/// The first PEM block with `label`, its lines of dashes included.
fn section<'a>(pem: &'a [u8], label: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(pem).ok()?;
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let start = text.find(&begin)?;
    let length = text[start..].find(&end)? + end.len();
    Some(&text[start..start + length])
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
