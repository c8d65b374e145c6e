//! The hashes of signatures.

use aws_lc_rs::digest::{self, Context};
use der::asn1::ObjectIdentifier;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::{Scheme, cms, oid};

/// A hash by its name in messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hash {
    pub(crate) oid: ObjectIdentifier,
    algorithm: &'static digest::Algorithm,
}

impl Hash {
    pub(crate) const SHA256: Self = Self { oid: oid::SHA256, algorithm: &digest::SHA256 };
    const SHA384: Self = Self { oid: oid::SHA384, algorithm: &digest::SHA384 };
    const SHA512: Self = Self { oid: oid::SHA512, algorithm: &digest::SHA512 };

    /// None for what is unknown or broken.
    pub(crate) fn of(oid: ObjectIdentifier) -> Option<Self> {
        [Self::SHA256, Self::SHA384, Self::SHA512].into_iter().find(|hash| hash.oid == oid)
    }

    pub(crate) fn digest(self, bytes: &[u8]) -> Vec<u8> {
        digest::digest(self.algorithm, bytes).as_ref().to_vec()
    }

    /// For what comes in parts.
    pub(crate) fn context(self) -> Context {
        Context::new(self.algorithm)
    }

    pub(crate) fn algorithm(self) -> AlgorithmIdentifierOwned {
        cms::algorithm(self.oid, true)
    }
}

impl Scheme {
    pub(crate) fn hash(self) -> Hash {
        match self {
            Self::RsaSha256 | Self::EcdsaP256Sha256 => Hash::SHA256,
            Self::EcdsaP384Sha384 => Hash::SHA384,
            Self::Ed25519 => Hash::SHA512,
        }
    }

    /// What a signature is called in a message.
    pub(super) fn signature(self) -> ObjectIdentifier {
        match self {
            Self::RsaSha256 => oid::RSA,
            Self::EcdsaP256Sha256 => oid::ECDSA_SHA256,
            Self::EcdsaP384Sha384 => oid::ECDSA_SHA384,
            Self::Ed25519 => oid::ED25519,
        }
    }

    pub(super) fn algorithm(self) -> AlgorithmIdentifierOwned {
        cms::algorithm(self.signature(), self == Self::RsaSha256)
    }
}
