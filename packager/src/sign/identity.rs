//! A key with the certificates that say whose it is.

use std::sync::Arc;

use der::asn1::ObjectIdentifier;
use jiff::Timestamp;
use p12_keystore::Pkcs12Archive;

use super::{AskPassphrase, Certificate, LocalKey, Scheme, SignError, Signer, oid};

/// Why a key and certificates cannot sign. Never shows a key or a passphrase.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    #[error("there is no private key in it")]
    NoKey,
    #[error("there is no certificate in it")]
    NoCertificate,
    #[error("it is encrypted, and there is no passphrase for it")]
    NoPassphrase,
    #[error("the passphrase is wrong")]
    Passphrase,
    #[error(
        "its key is encrypted in an old way of OpenSSL's; convert it with `openssl pkcs8 -topk8`"
    )]
    OldEncryption,
    #[error("it is encrypted with a cipher that is not supported")]
    Cipher,
    #[error("its key is of no supported kind: RSA, ECDSA on P-256 or P-384")]
    KeyKind,
    #[error("its key of RSA has less than 2048 bits")]
    ShortKey,
    #[error("a certificate in it is damaged")]
    Malformed,
    #[error("it is no PKCS #12 file, or a damaged one")]
    Pfx,
    #[error("no certificate in it belongs to the private key")]
    Mismatch,
    #[error("the certificate of {subject} is not for {purpose}")]
    Usage { subject: String, purpose: Purpose },
    #[error("the certificate of {subject} expired on {at}")]
    Expired { subject: String, at: Timestamp },
    #[error("the certificate of {subject} is not valid before {at}")]
    NotYet { subject: String, at: Timestamp },
    #[error("the certificate of {subject} is for a key that macOS does not take: it wants RSA")]
    NotRsa { subject: String },
    #[error(
        "the certificate of {subject} comes without its issuer's: add Apple's \"Developer ID \
         Certification Authority\" to the file"
    )]
    NoIssuer { subject: String },
    #[error("its key could not be tried out")]
    Sign(#[source] SignError),
}

/// What a certificate has to be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Programs, and installers for Windows.
    Code,
    /// Programs for macOS: Apple's "Developer ID Application".
    MacosProgram,
    /// Installers for macOS: Apple's "Developer ID Installer".
    MacosInstaller,
}

impl Purpose {
    pub(super) fn usage(self) -> ObjectIdentifier {
        match self {
            Self::Code | Self::MacosProgram => oid::CODE_SIGNING,
            Self::MacosInstaller => oid::APPLE_INSTALLER,
        }
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Code => "signing code",
            Self::MacosProgram => {
                "signing programs for macOS (it is no \"Developer ID Application\")"
            }
            Self::MacosInstaller => {
                "signing installers for macOS (it is no \"Developer ID Installer\")"
            }
        })
    }
}

/// A key and the certificates that lead from it towards a root.
#[derive(Debug, Clone)]
pub struct Identity {
    signer: Arc<dyn Signer>,
    /// That of the key first; each is followed by its issuer's.
    chain: Vec<Certificate>,
}

/// What is at the start of PKCS #12 files, and no PEM: a DER sequence.
const SEQUENCE: u8 = 0x30;

impl Identity {
    /// Takes a PKCS #12 file, or PEM with certificates and their key. `passphrase` is asked if it
    /// is encrypted.
    pub fn from_file(content: &[u8], passphrase: AskPassphrase<'_>) -> Result<Self, IdentityError> {
        if content.first() == Some(&SEQUENCE) {
            return Self::from_pfx(content, passphrase);
        }
        let certificates = Certificate::all_from_pem(content)?;
        let key = LocalKey::from_pem(content, passphrase)?;
        Self::new(certificates, Arc::new(key))
    }

    /// Takes a PKCS #12 file. One that is not encrypted is read without asking.
    fn from_pfx(content: &[u8], passphrase: AskPassphrase<'_>) -> Result<Self, IdentityError> {
        let archive = match Pkcs12Archive::from_pkcs12(content, "") {
            Ok(archive) => archive,
            Err(p12_keystore::error::Error::DerError(_)) => return Err(IdentityError::Pfx),
            Err(_) => {
                let passphrase = passphrase().ok_or(IdentityError::NoPassphrase)?;
                Pkcs12Archive::from_pkcs12(content, &passphrase).map_err(wrong)?
            }
        };
        let certificates = archive.certs.iter().map(|bag| Certificate::from_der(bag.cert.as_der()));
        let certificates = certificates.collect::<Result<Vec<_>, _>>()?;
        let key = archive.keys.first().ok_or(IdentityError::NoKey)?;
        Self::new(certificates, Arc::new(LocalKey::from_pkcs8(key.key.as_der())?))
    }

    /// Puts a key and its certificates, in any order, together. The key has to sign something for
    /// that: so it is seen at once when it does not.
    pub fn new(
        certificates: Vec<Certificate>,
        signer: Arc<dyn Signer>,
    ) -> Result<Self, IdentityError> {
        const PROBE: &[u8] = b"does this key belong to that certificate?";
        if certificates.is_empty() {
            return Err(IdentityError::NoCertificate);
        }
        let signature = signer.sign(PROBE).map_err(IdentityError::Sign)?;
        let algorithm = signer.scheme().signature();
        let leaf = certificates.iter().find(|certificate| {
            certificate.scheme() == Some(signer.scheme())
                && certificate.verifies((algorithm, signer.scheme().hash().oid), PROBE, &signature)
        });
        let leaf = leaf.ok_or(IdentityError::Mismatch)?;
        Ok(Self { signer, chain: chain(leaf, &certificates) })
    }

    /// Whether it can be used for `purpose` at `now`, in seconds since 1970.
    pub fn check(&self, purpose: Purpose, now: u64) -> Result<(), IdentityError> {
        let leaf = self.certificate();
        let subject = leaf.subject();
        let (from, until) = leaf.validity();
        if now < from {
            return Err(IdentityError::NotYet { subject, at: time(from) });
        }
        if now > until {
            return Err(IdentityError::Expired { subject, at: time(until) });
        }
        if !leaf.is_for(purpose.usage()) {
            return Err(IdentityError::Usage { subject, purpose });
        }
        match purpose {
            Purpose::Code => Ok(()),
            Purpose::MacosProgram | Purpose::MacosInstaller => self.check_for_macos(subject),
        }
    }

    /// macOS verifies RSA alone, and finds no certificates by itself.
    fn check_for_macos(&self, subject: String) -> Result<(), IdentityError> {
        let apples = [oid::APPLE_DEVELOPER_ID, oid::APPLE_DEVELOPER_ID_INSTALLER];
        if self.scheme() != Scheme::RsaSha256 {
            return Err(IdentityError::NotRsa { subject });
        }
        if self.chain.len() == 1 && apples.iter().any(|id| self.certificate().has(*id)) {
            return Err(IdentityError::NoIssuer { subject });
        }
        Ok(())
    }

    /// The certificate of the key.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.chain[0]
    }

    /// The certificate of the key, its issuer's, and so on, as far as they are known.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// How it signs.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.signer.scheme()
    }

    /// Signs `message`, and looks at the signature: nobody would accept a wrong one.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.signer.sign(message)?;
        let scheme = self.scheme();
        if self.certificate().verifies((scheme.signature(), scheme.hash().oid), message, &signature)
        {
            return Ok(signature);
        }
        Err(SignError::Refused("its signature does not fit the certificate".into()))
    }
}

/// A passphrase that does not fit shows in a checksum, or in a cipher's padding.
fn wrong(error: p12_keystore::error::Error) -> IdentityError {
    use p12_keystore::error::Error;
    if matches!(error, Error::MacError(_) | Error::Pkcs5Error(_) | Error::UnpadError) {
        return IdentityError::Passphrase;
    }
    if matches!(error, Error::UnsupportedEncryptionScheme | Error::UnsupportedMacAlgorithm) {
        return IdentityError::Cipher;
    }
    IdentityError::Pfx
}

/// `leaf`, its issuer, and so on.
pub(super) fn chain(leaf: &Certificate, all: &[Certificate]) -> Vec<Certificate> {
    let mut chain = vec![leaf.clone()];
    while let Some(last) = chain.last()
        && let Some(issuer) = all.iter().find(|it| !chain.contains(it) && last.is_signed_by(it))
    {
        chain.push(issuer.clone());
    }
    chain
}

fn time(seconds: u64) -> Timestamp {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or(Timestamp::MAX)
}
