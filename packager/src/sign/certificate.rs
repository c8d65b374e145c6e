//! X.509 certificates, and what they say of their keys. Source: RFC 5280.

use std::fmt;

use aws_lc_rs::{digest, signature};
use der::{Decode as _, Encode as _, asn1::ObjectIdentifier};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use x509_cert::ext::{
    Extension,
    pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage},
};

use super::{IdentityError, Scheme, oid};

/// A certificate that has been understood.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    pub(super) parsed: x509_cert::Certificate,
}

impl Certificate {
    /// Takes a DER-encoded certificate. One in any other encoding could not be copied into a
    /// signature byte for byte, and is refused.
    pub fn from_der(der: &[u8]) -> Result<Self, IdentityError> {
        let parsed = x509_cert::Certificate::from_der(der).ok();
        let parsed = parsed.filter(|it| it.to_der().is_ok_and(|again| again == der));
        Ok(Self { der: der.to_vec(), parsed: parsed.ok_or(IdentityError::Malformed)? })
    }

    /// All certificates in `pem`, at least one, in their order.
    pub fn all_from_pem(pem: &[u8]) -> Result<Vec<Self>, IdentityError> {
        let all = CertificateDer::pem_slice_iter(pem)
            .map(|der| Self::from_der(&der.map_err(|_| IdentityError::Malformed)?))
            .collect::<Result<Vec<_>, _>>()?;
        if all.is_empty() { Err(IdentityError::NoCertificate) } else { Ok(all) }
    }

    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whom it is for, as in `CN=Example Inc.,C=DE`.
    #[must_use]
    pub fn subject(&self) -> String {
        self.parsed.tbs_certificate.subject.to_string()
    }

    /// The organization that it is for, if it names one.
    pub(super) fn organization(&self) -> Option<String> {
        self.name(oid::ORGANIZATION)
    }

    /// The part of it: for whom Apple certifies, the number of the team.
    pub(super) fn unit(&self) -> Option<String> {
        self.name(oid::ORGANIZATIONAL_UNIT)
    }

    fn name(&self, kind: ObjectIdentifier) -> Option<String> {
        let names = self.parsed.tbs_certificate.subject.0.iter();
        let mut names = names.flat_map(|it| it.0.iter()).filter(|it| it.oid == kind);
        // UTF-8, or one of the older kinds of text, which are parts of it.
        String::from_utf8(names.next()?.value.value().to_vec()).ok()
    }

    /// Whether it has the extension `id`.
    pub(super) fn has(&self, id: ObjectIdentifier) -> bool {
        let mut all = self.parsed.tbs_certificate.extensions.iter().flatten();
        all.any(|extension| extension.extn_id == id)
    }

    /// Its SHA-256, in lower-case hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex::encode(digest::digest(&digest::SHA256, &self.der))
    }

    /// When it begins and ends to be valid, in seconds since 1970.
    #[must_use]
    pub fn validity(&self) -> (u64, u64) {
        let validity = &self.parsed.tbs_certificate.validity;
        let seconds = |time: &x509_cert::time::Time| time.to_unix_duration().as_secs();
        (seconds(&validity.not_before), seconds(&validity.not_after))
    }

    /// How a key that belongs to it signs; none if no scheme has such keys.
    #[must_use]
    pub fn scheme(&self) -> Option<Scheme> {
        let algorithm = &self.parsed.tbs_certificate.subject_public_key_info.algorithm;
        if algorithm.oid == oid::RSA {
            return Some(Scheme::RsaSha256);
        }
        let curve = algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok()?;
        match curve {
            _ if algorithm.oid != oid::EC => None,
            oid::P256 => Some(Scheme::EcdsaP256Sha256),
            oid::P384 => Some(Scheme::EcdsaP384Sha384),
            _ => None,
        }
    }

    /// Whether `signature` over `message` is by the certificate's key. `algorithm` is that of the
    /// signature, with `digest` where it does not tell the hash.
    pub(super) fn verifies(
        &self,
        (algorithm, digest): (ObjectIdentifier, ObjectIdentifier),
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let key = &self.parsed.tbs_certificate.subject_public_key_info;
        let curve = key.algorithm.parameters.as_ref();
        let curve = curve.and_then(|it| it.decode_as::<ObjectIdentifier>().ok());
        let Some(method) = method(algorithm, digest, curve) else { return false };
        let key = signature::UnparsedPublicKey::new(method, key.subject_public_key.raw_bytes());
        key.verify(message, signature).is_ok()
    }

    /// Whether it says that its key may be used for `usage`.
    pub(super) fn is_for(&self, usage: ObjectIdentifier) -> bool {
        let usages = self.parsed.tbs_certificate.get::<ExtendedKeyUsage>();
        matches!(usages, Ok(Some((_, usages))) if usages.0.contains(&usage))
    }

    /// Whether its key may sign certificates, with `below` authorities between it and the last.
    pub(super) fn is_authority(&self, below: usize) -> bool {
        let certificate = &self.parsed.tbs_certificate;
        let constraints = certificate.get::<BasicConstraints>();
        let usage = certificate.get::<KeyUsage>();
        let long = |limit: Option<u8>| limit.is_none_or(|limit| below <= usize::from(limit));
        matches!(constraints, Ok(Some((_, it))) if it.ca && long(it.path_len_constraint))
            && matches!(usage, Ok(usage) if usage.as_ref().is_none_or(|(_, it)| it.key_cert_sign()))
    }

    /// Extensions that whoever does not know them must not pass over.
    pub(super) fn critical(&self) -> impl Iterator<Item = &Extension> {
        let all = self.parsed.tbs_certificate.extensions.iter().flatten();
        all.filter(|extension| extension.critical)
    }

    /// Whether `issuer` has signed it.
    pub(super) fn is_signed_by(&self, issuer: &Self) -> bool {
        let Ok(message) = self.parsed.tbs_certificate.to_der() else { return false };
        let algorithm = self.parsed.signature_algorithm.oid;
        self.parsed.tbs_certificate.issuer == issuer.parsed.tbs_certificate.subject
            && issuer.verifies((algorithm, algorithm), &message, self.parsed.signature.raw_bytes())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.subject())
    }
}

fn method(
    algorithm: ObjectIdentifier,
    digest: ObjectIdentifier,
    curve: Option<ObjectIdentifier>,
) -> Option<&'static dyn signature::VerificationAlgorithm> {
    Some(match (algorithm, digest, curve) {
        (oid::RSA, oid::SHA256, _) | (oid::RSA_SHA256, ..) => {
            &signature::RSA_PKCS1_2048_8192_SHA256
        }
        (oid::RSA, oid::SHA384, _) | (oid::RSA_SHA384, ..) => {
            &signature::RSA_PKCS1_2048_8192_SHA384
        }
        (oid::RSA, oid::SHA512, _) | (oid::RSA_SHA512, ..) => {
            &signature::RSA_PKCS1_2048_8192_SHA512
        }
        (oid::ECDSA_SHA256, _, Some(oid::P256)) => &signature::ECDSA_P256_SHA256_ASN1,
        (oid::ECDSA_SHA384, _, Some(oid::P256)) => &signature::ECDSA_P256_SHA384_ASN1,
        (oid::ECDSA_SHA256, _, Some(oid::P384)) => &signature::ECDSA_P384_SHA256_ASN1,
        (oid::ECDSA_SHA384, _, Some(oid::P384)) => &signature::ECDSA_P384_SHA384_ASN1,
        (oid::ECDSA_SHA512, _, Some(oid::P256)) => &signature::ECDSA_P256_SHA512_ASN1,
        (oid::ECDSA_SHA512, _, Some(oid::P384)) => &signature::ECDSA_P384_SHA512_ASN1,
        _ => return None,
    })
}
