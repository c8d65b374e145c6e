//! Names of algorithms, attributes and usages. Source: RFC 5652, RFC 5754, RFC 3161, Microsoft's
//! "Windows Authenticode Portable Executable Signature Format", and Apple's certificate policies.

use der::asn1::ObjectIdentifier as Oid;

const fn oid(text: &str) -> Oid {
    Oid::new_unwrap(text)
}

pub(crate) const RSA: Oid = oid("1.2.840.113549.1.1.1");
pub(crate) const RSA_SHA256: Oid = oid("1.2.840.113549.1.1.11");
pub(crate) const RSA_SHA384: Oid = oid("1.2.840.113549.1.1.12");
pub(crate) const RSA_SHA512: Oid = oid("1.2.840.113549.1.1.13");
pub(crate) const EC: Oid = oid("1.2.840.10045.2.1");
pub(crate) const P256: Oid = oid("1.2.840.10045.3.1.7");
pub(crate) const P384: Oid = oid("1.3.132.0.34");
pub(crate) const ECDSA_SHA256: Oid = oid("1.2.840.10045.4.3.2");
pub(crate) const ECDSA_SHA384: Oid = oid("1.2.840.10045.4.3.3");
pub(crate) const ECDSA_SHA512: Oid = oid("1.2.840.10045.4.3.4");
pub(crate) const ED25519: Oid = oid("1.3.101.112");
pub(crate) const SHA256: Oid = oid("2.16.840.1.101.3.4.2.1");
pub(crate) const SHA384: Oid = oid("2.16.840.1.101.3.4.2.2");
pub(crate) const SHA512: Oid = oid("2.16.840.1.101.3.4.2.3");

pub(crate) const DATA: Oid = oid("1.2.840.113549.1.7.1");
pub(crate) const SIGNED_DATA: Oid = oid("1.2.840.113549.1.7.2");
pub(crate) const CONTENT_TYPE: Oid = oid("1.2.840.113549.1.9.3");
pub(crate) const SIGNING_TIME: Oid = oid("1.2.840.113549.1.9.5");
pub(crate) const MESSAGE_DIGEST: Oid = oid("1.2.840.113549.1.9.4");
pub(crate) const TIMESTAMP_INFO: Oid = oid("1.2.840.113549.1.9.16.1.4");
/// The unsigned attribute with a timestamp in CMS.
pub(crate) const TIMESTAMP: Oid = oid("1.2.840.113549.1.9.16.2.14");

pub(crate) const CODE_SIGNING: Oid = oid("1.3.6.1.5.5.7.3.3");
pub(crate) const TIME_STAMPING: Oid = oid("1.3.6.1.5.5.7.3.8");
/// Usage of a certificate "Developer ID Installer".
pub(crate) const APPLE_INSTALLER: Oid = oid("1.2.840.113635.100.4.13");
/// Extensions of certificates "Developer ID Application" and "Installer", and of their issuer's.
pub(crate) const APPLE_DEVELOPER_ID: Oid = oid("1.2.840.113635.100.6.1.13");
pub(crate) const APPLE_DEVELOPER_ID_INSTALLER: Oid = oid("1.2.840.113635.100.6.1.14");
pub(crate) const APPLE_DEVELOPER_ID_AUTHORITY: Oid = oid("1.2.840.113635.100.6.2.6");
/// Signed attributes of a program's signature: digests of its directories.
pub(crate) const APPLE_CODE_DIGEST_LIST: Oid = oid("1.2.840.113635.100.9.1");
pub(crate) const APPLE_CODE_DIGESTS: Oid = oid("1.2.840.113635.100.9.2");
/// What Apple's own extensions begin with.
pub(crate) const APPLE: &str = "1.2.840.113635.100.";

pub(crate) const SPC_INDIRECT_DATA: Oid = oid("1.3.6.1.4.1.311.2.1.4");
pub(crate) const SPC_STATEMENT_TYPE: Oid = oid("1.3.6.1.4.1.311.2.1.11");
pub(crate) const SPC_OPUS_INFO: Oid = oid("1.3.6.1.4.1.311.2.1.12");
pub(crate) const SPC_INDIVIDUAL: Oid = oid("1.3.6.1.4.1.311.2.1.21");
pub(crate) const SPC_PE_IMAGE: Oid = oid("1.3.6.1.4.1.311.2.1.15");
pub(crate) const SPC_SIP_INFO: Oid = oid("1.3.6.1.4.1.311.2.1.30");
/// The unsigned attribute with a timestamp in Authenticode.
pub(crate) const SPC_TIMESTAMP: Oid = oid("1.3.6.1.4.1.311.3.3.1");

pub(crate) const ORGANIZATION: Oid = oid("2.5.4.10");
pub(crate) const ORGANIZATIONAL_UNIT: Oid = oid("2.5.4.11");
pub(crate) const BASIC_CONSTRAINTS: Oid = oid("2.5.29.19");
pub(crate) const KEY_USAGE: Oid = oid("2.5.29.15");
pub(crate) const EXTENDED_KEY_USAGE: Oid = oid("2.5.29.37");
