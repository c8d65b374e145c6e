//! Messages of the Cryptographic Message Syntax with one signature. Source: RFC 5652.

use cms::{
    cert::{CertificateChoices, IssuerAndSerialNumber},
    content_info::{CmsVersion, ContentInfo},
    signed_data::{
        CertificateSet, EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo,
        SignerInfos,
    },
};
use der::{
    Any, Decode as _, Encode as _,
    asn1::{ObjectIdentifier, OctetString, SetOfVec},
};
use x509_cert::{
    attr::{Attribute, Attributes},
    ext::pkix::SubjectKeyIdentifier,
    spki::AlgorithmIdentifierOwned,
};

use super::{Certificate, CodeSigner, Hash, SignError, VerifyError, ber, oid, timestamp};

/// What is to be signed.
pub(crate) struct Message<'a> {
    /// What the content is, and the content, unless it is kept elsewhere.
    pub(crate) content: EncapsulatedContentInfo,
    /// The bytes that the signature is over.
    pub(crate) signed: &'a [u8],
    /// Signed attributes besides those that every signature has.
    pub(crate) attributes: Vec<Attribute>,
    /// As what a timestamp is attached.
    pub(crate) timestamp: ObjectIdentifier,
}

impl Message<'_> {
    /// The DER of the message with the signature of `by`. Without timestamp the same message and
    /// an RSA key always give the same bytes: it tells no time of its own.
    pub(crate) fn sign(self, by: &CodeSigner) -> Result<Vec<u8>, SignError> {
        let hash = by.identity.scheme().hash();
        let mut attributes = self.attributes;
        attributes.push(attribute(oid::CONTENT_TYPE, self.content.econtent_type)?);
        let digest = OctetString::new(hash.digest(self.signed)).map_err(unencodable)?;
        attributes.push(attribute(oid::MESSAGE_DIGEST, digest)?);
        let attributes = Attributes::try_from(attributes).map_err(unencodable)?;
        let signature = by.identity.sign(&attributes.to_der().map_err(unencodable)?)?;
        let token = by.timestamper.as_deref().map(|it| timestamp::token(it, &signature));
        let unsigned = token.transpose()?.map(|token| attribute(self.timestamp, token));
        let signer = signer(by, attributes, signature, unsigned.transpose()?)?;
        message(by, self.content, signer).map_err(unencodable)
    }
}

fn signer(
    by: &CodeSigner,
    attributes: Attributes,
    signature: Vec<u8>,
    unsigned: Option<Attribute>,
) -> Result<SignerInfo, SignError> {
    let certificate = &by.identity.certificate().parsed.tbs_certificate;
    let scheme = by.identity.scheme();
    let unsigned = unsigned.map(|attribute| Attributes::try_from(vec![attribute]));
    Ok(SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: certificate.issuer.clone(),
            serial_number: certificate.serial_number.clone(),
        }),
        digest_alg: scheme.hash().algorithm(),
        signed_attrs: Some(attributes),
        signature_algorithm: scheme.algorithm(),
        signature: OctetString::new(signature).map_err(unencodable)?,
        unsigned_attrs: unsigned.transpose().map_err(unencodable)?,
    })
}

fn message(
    by: &CodeSigner,
    content: EncapsulatedContentInfo,
    signer: SignerInfo,
) -> der::Result<Vec<u8>> {
    let chain = by.identity.chain().iter();
    let chain = chain.map(|it| CertificateChoices::Certificate(it.parsed.clone()));
    let data = SignedData {
        // RFC 5652 wants V3 for content that is no data; Authenticode is older, and is PKCS #7.
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::try_from(vec![signer.digest_alg.clone()])?,
        encap_content_info: content,
        certificates: Some(CertificateSet::try_from(chain.collect::<Vec<_>>())?),
        crls: None,
        signer_infos: SignerInfos::try_from(vec![signer])?,
    };
    ContentInfo { content_type: oid::SIGNED_DATA, content: Any::encode_from(&data)? }.to_der()
}

/// An attribute with one value.
pub(crate) fn attribute(
    oid: ObjectIdentifier,
    value: impl der::EncodeValue + der::Tagged,
) -> Result<Attribute, SignError> {
    let values = Any::encode_from(&value).and_then(|value| SetOfVec::try_from(vec![value]));
    Ok(Attribute { oid, values: values.map_err(unencodable)? })
}

pub(crate) fn unencodable(error: der::Error) -> SignError {
    SignError::Unsignable { what: "signature", reason: error.to_string() }
}

/// A message that was read.
pub(crate) struct Opened {
    pub(crate) content: EncapsulatedContentInfo,
    pub(crate) certificates: Vec<Certificate>,
    signer: SignerInfo,
}

impl Opened {
    /// Reads a message with one signature, and not what fills up its place after it. Nothing of it is
    /// verified yet.
    pub(crate) fn read(der: &[u8]) -> Result<Self, VerifyError> {
        let damaged = |_| VerifyError::Malformed { what: "signature" };
        // Certificates are in messages as they were signed, in DER; so that changes nothing of them.
        let der = ber::to_der(der).ok_or(VerifyError::Malformed { what: "signature" })?;
        let info = ContentInfo::from_der(&der).map_err(damaged)?;
        let data: SignedData = info.content.decode_as().map_err(damaged)?;
        let certificates = data.certificates.iter().flat_map(|set| set.0.iter());
        let certificates = certificates.filter_map(|choice| match choice {
            CertificateChoices::Certificate(it) => it.to_der().ok(),
            CertificateChoices::Other(_) => None,
        });
        let certificates = certificates.map(|der| Certificate::from_der(&der));
        let certificates = certificates.collect::<Result<_, _>>();
        let [signer] = data.signer_infos.0.as_slice() else {
            return Err(VerifyError::Malformed { what: "signature" });
        };
        Ok(Self {
            content: data.encap_content_info,
            certificates: certificates
                .map_err(|_| VerifyError::Malformed { what: "certificate in the signature" })?,
            signer: signer.clone(),
        })
    }

    /// The certificate of whose key has signed `signed`.
    pub(crate) fn verify(&self, signed: &[u8]) -> Result<&Certificate, VerifyError> {
        let digest = self.signer.digest_alg.oid;
        let hash = Hash::of(digest).ok_or(VerifyError::Algorithm)?;
        let attributes = self.signer.signed_attrs.as_ref().ok_or(VerifyError::Signature)?;
        let content_type = one::<ObjectIdentifier>(attributes, oid::CONTENT_TYPE);
        let said = one::<OctetString>(attributes, oid::MESSAGE_DIGEST);
        if content_type != Some(self.content.econtent_type) {
            return Err(VerifyError::Signature);
        }
        if said.is_none_or(|said| said.as_bytes() != hash.digest(signed)) {
            return Err(VerifyError::Changed);
        }
        let certificate = self.certificates.iter().find(|it| self.is_signer(it));
        let certificate = certificate.ok_or(VerifyError::Signature)?;
        let algorithm = (self.signer.signature_algorithm.oid, digest);
        let message = attributes.to_der().map_err(|_| VerifyError::Signature)?;
        if certificate.verifies(algorithm, &message, self.signature()) {
            Ok(certificate)
        } else {
            Err(VerifyError::Signature)
        }
    }

    /// The signature itself, which a timestamp is over.
    pub(crate) fn signature(&self) -> &[u8] {
        self.signer.signature.as_bytes()
    }

    /// The values of a signed attribute, in DER.
    pub(crate) fn signed(&self, oid: ObjectIdentifier) -> Vec<Vec<u8>> {
        let attributes = self.signer.signed_attrs.iter().flat_map(Attributes::iter);
        let values = attributes.filter(|it| it.oid == oid).flat_map(|it| it.values.iter());
        values.filter_map(|value| value.to_der().ok()).collect()
    }

    /// The only value of an attribute that is not signed, in DER.
    pub(crate) fn unsigned(&self, oid: ObjectIdentifier) -> Option<Vec<u8>> {
        let value = one::<Any>(self.signer.unsigned_attrs.as_ref()?, oid)?;
        value.to_der().ok()
    }

    fn is_signer(&self, certificate: &Certificate) -> bool {
        let tbs = &certificate.parsed.tbs_certificate;
        match &self.signer.sid {
            SignerIdentifier::IssuerAndSerialNumber(it) => {
                it.issuer == tbs.issuer && it.serial_number == tbs.serial_number
            }
            SignerIdentifier::SubjectKeyIdentifier(id) => {
                matches!(tbs.get::<SubjectKeyIdentifier>(), Ok(Some((_, its))) if its == *id)
            }
        }
    }
}

/// The value of an attribute that is there once and has one value.
fn one<T: for<'a> der::Decode<'a>>(attributes: &Attributes, oid: ObjectIdentifier) -> Option<T> {
    let mut found = attributes.iter().filter(|attribute| attribute.oid == oid);
    let (Some(attribute), None) = (found.next(), found.next()) else { return None };
    let [value] = attribute.values.as_slice() else { return None };
    T::from_der(&value.to_der().ok()?).ok()
}

/// The algorithm called `oid` with the parameters that RFC 5754 wants: NULL or none.
pub(super) fn algorithm(oid: ObjectIdentifier, null: bool) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid, parameters: null.then(Any::null) }
}
