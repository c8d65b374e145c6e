//! Where an agent's request comes from, and with which certificate.

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};
use wire::{
    OrgId,
    signature::{self, Received},
};
use x509_parser::{extensions::GeneralName, prelude::FromDer as _, prelude::X509Certificate};

use super::{
    Access, Fleet, StoreError,
    store::{Half, SeenDevice},
};
use crate::config::DeviceCertificates;

/// The address behind whatever proxies are trusted; the client's certificate, if one was shown that the
/// server, or a trusted proxy, has verified; and the device's signature, if there is one.
#[derive(Debug, Clone)]
pub struct Origin {
    pub address: IpAddr,
    pub certificate: Option<ClientCertificate>,
    /// What the device signed the request with, unchecked, or why nothing can be made of it.
    pub signature: Option<Result<Received, signature::SignatureError>>,
}

/// A client's certificate, verified by whoever took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// SHA-256 of the whole, in hex.
    sha256: String,
    /// Common names of the subject and its DNS names, in lower case.
    names: Vec<String>,
}

impl ClientCertificate {
    /// Reads DER; `None` of what is no certificate.
    #[must_use]
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        let mut names: Vec<_> = common.map(str::to_lowercase).collect();
        if let Ok(Some(others)) = certificate.subject_alternative_name() {
            for name in &others.value.general_names {
                if let GeneralName::DNSName(name) = name {
                    names.push(name.to_lowercase());
                }
            }
        }
        Some(Self { sha256: hex::encode(Sha256::digest(der)), names })
    }

    /// The certificate's SHA-256, in hex.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether it was made out for who is called one of `identifiers`.
    pub(super) fn names_one_of(&self, identifiers: &[&str]) -> bool {
        let mut identifiers = identifiers.iter().filter(|identifier| !identifier.is_empty());
        identifiers.any(|identifier| self.names.contains(&identifier.to_lowercase()))
    }
}

impl Fleet {
    /// Whether a device may enroll with the certificate that it shows, or with none.
    pub(super) fn may_enroll(&self, origin: &Origin, identifiers: &[&str]) -> bool {
        let config = self.config();
        if !config.takes_client_certificates() {
            return true;
        }
        match config.server.device_certificates {
            DeviceCertificates::FirstUse => true,
            DeviceCertificates::Subject => {
                origin.certificate.as_ref().is_some_and(|shown| shown.names_one_of(identifiers))
            }
        }
    }

    /// Whether a device's key comes with the certificate that it has to come with, if there is one yet.
    pub(super) fn shows_certificate(
        &self,
        (device, half): (&SeenDevice, Half),
        origin: &Origin,
    ) -> bool {
        let config = self.config();
        if !config.takes_client_certificates() {
            return true;
        }
        let shown = origin.certificate.as_ref();
        match config.server.device_certificates {
            DeviceCertificates::Subject => {
                shown.is_some_and(|shown| shown.names_one_of(&device.identifiers()))
            }
            DeviceCertificates::FirstUse => device
                .certificate(half)
                .is_none_or(|bound| shown.is_some_and(|shown| shown.sha256 == bound)),
        }
    }

    /// The first certificate that a device's key comes with is the one that it has to come with from then
    /// on. Whether there was no other meanwhile.
    pub(super) async fn bind_certificate(
        &self,
        org_id: OrgId,
        (device, half): (&SeenDevice, Half),
        origin: &Origin,
    ) -> Result<bool, StoreError> {
        let config = self.config();
        let binds = config.takes_client_certificates()
            && config.server.device_certificates == DeviceCertificates::FirstUse
            && device.certificate(half).is_none();
        let Some(first) = origin.certificate.as_ref().filter(|_| binds) else { return Ok(true) };
        let mut org = self.0.store.org(org_id, Access::Note).await?;
        let bound = org.bind_certificate((device.id, half), &first.sha256).await?;
        org.commit().await?;
        Ok(bound)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn a_certificate_names_its_subject_and_nobody_else() {
        let mut params = CertificateParams::new(vec!["HOST-7.example.com".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "4C4C4544-0001");
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let certificate = ClientCertificate::from_der(made.der()).unwrap();
        assert!(certificate.names_one_of(&["", "4c4c4544-0001"]));
        assert!(certificate.names_one_of(&["host-7.example.com"]));
        assert!(!certificate.names_one_of(&["", "4c4c4544-0002", "host-7"]));
        let longer: Vec<u8> = made.der().iter().copied().chain([0]).collect();
        assert_eq!(ClientCertificate::from_der(&longer), None);
        assert_eq!(ClientCertificate::from_der(b""), None);
    }
}
