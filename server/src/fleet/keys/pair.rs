//! Key pairs: made, kept parsed, told to the world as a JWK.

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    error::{KeyRejected, Unspecified},
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters, Jwk,
    KeyAlgorithm, OctetKeyPairParameters, PublicKeyUse, RSAKeyParameters, ThumbprintHash,
};
use zeroize::Zeroizing;

use crate::config::auth::Algorithm;

/// A private key that signs again and again without being parsed anew, which for RSA costs three
/// times as much as signing.
#[derive(Debug)]
pub(super) enum SigningKey {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
    Ed(Box<Ed25519KeyPair>),
    Hmac(Box<hmac::Key>),
}

/// The key or the library is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing key could not be used")]
pub struct KeyFailure;

impl From<Unspecified> for KeyFailure {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

impl From<KeyRejected> for KeyFailure {
    fn from(_: KeyRejected) -> Self {
        Self
    }
}

/// A new private key (PKCS #8). RSA takes some tenths of a second.
pub(super) fn generate(alg: Algorithm) -> Result<Zeroizing<Vec<u8>>, KeyFailure> {
    let bytes = match alg {
        Algorithm::RS256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
            let der: Pkcs8V1Der<'_> = pair.as_der()?;
            der.as_ref().to_vec()
        }
        Algorithm::ES256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
            pair.to_pkcs8v1()?.as_ref().to_vec()
        }
        Algorithm::EdDSA => Ed25519KeyPair::generate()?.to_pkcs8()?.as_ref().to_vec(),
        Algorithm::HS256 => return Err(KeyFailure),
    };
    Ok(Zeroizing::new(bytes))
}

impl SigningKey {
    /// Parses what [`generate`] made.
    pub(super) fn parse(alg: Algorithm, pkcs8: &[u8]) -> Result<Self, KeyFailure> {
        Ok(match alg {
            Algorithm::RS256 => Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(pkcs8)?)),
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)?;
                Self::Ec(Box::new(pair))
            }
            Algorithm::EdDSA => Self::Ed(Box::new(Ed25519KeyPair::from_pkcs8(pkcs8)?)),
            Algorithm::HS256 => return Err(KeyFailure),
        })
    }

    /// The key of HS256: the secret itself, so that whoever shares it can check tokens.
    pub(super) fn of_secret(secret: &[u8]) -> Self {
        Self::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// The signature of `message`, as JWS has it (RFC 7518).
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFailure> {
        Ok(match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)?;
                signature
            }
            Self::Ec(pair) => pair.sign(&SystemRandom::new(), message)?.as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Hmac(key) => hmac::sign(key, message).as_ref().to_vec(),
        })
    }

    /// The public half, named by its thumbprint (RFC 7638). A shared secret has none.
    pub(super) fn public(&self) -> Option<Jwk> {
        let (alg, parameters) = match self {
            Self::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                let (n, e) = (encode(&public.n), encode(&public.e));
                let parameters = RSAKeyParameters { n, e, ..RSAKeyParameters::default() };
                (KeyAlgorithm::RS256, AlgorithmParameters::RSA(parameters))
            }
            Self::Ec(pair) => {
                // 4, then both coordinates.
                let point = pair.public_key().as_ref().get(1..)?;
                let (x, y) = point.split_at_checked(point.len() / 2)?;
                let parameters = EllipticCurveKeyParameters {
                    curve: EllipticCurve::P256,
                    x: encode(x),
                    y: encode(y),
                    ..EllipticCurveKeyParameters::default()
                };
                (KeyAlgorithm::ES256, AlgorithmParameters::EllipticCurve(parameters))
            }
            Self::Ed(pair) => {
                let parameters = OctetKeyPairParameters {
                    curve: EllipticCurve::Ed25519,
                    x: encode(pair.public_key().as_ref()),
                    ..OctetKeyPairParameters::default()
                };
                (KeyAlgorithm::EdDSA, AlgorithmParameters::OctetKeyPair(parameters))
            }
            Self::Hmac(_) => return None,
        };
        let common = CommonParameters {
            public_key_use: Some(PublicKeyUse::Signature),
            key_algorithm: Some(alg),
            ..CommonParameters::default()
        };
        let mut jwk = Jwk { common, algorithm: parameters };
        jwk.common.key_id = Some(jwk.thumbprint(ThumbprintHash::SHA256).ok()?);
        Some(jwk)
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
