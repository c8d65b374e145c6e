//! Whom to believe that they are the server, and what is shown to it: everything about TLS that
//! requests need.

use std::{fs, io, sync::Arc};

use camino::{Utf8Path, Utf8PathBuf};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, TrustAnchor, UnixTime,
        pem::{self, PemObject as _},
    },
};
use rustls_platform_verifier::Verifier;
use serde::{Deserialize, Serialize};

/// What the server's certificate is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The authorities that the system trusts, and those that Mozilla does: a system may have none,
    /// or old ones.
    System,
    /// The certificates in this PEM file and no others.
    Pinned(Utf8PathBuf),
    /// Nothing.
    Insecure,
}

/// PEM files with a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    pub certificate: Utf8PathBuf,
    pub key: Utf8PathBuf,
}

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    #[error("could not read `{path}`")]
    Read { path: Utf8PathBuf, source: io::Error },
    #[error("`{path}` contains no usable certificate in PEM format")]
    NoCertificate { path: Utf8PathBuf },
    #[error("`{certificate}` and `{key}` are no usable client certificate and key in PEM format")]
    ClientCertificate {
        certificate: Utf8PathBuf,
        key: Utf8PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("there is no TLS as wanted")]
    Tls(#[from] rustls::Error),
}

impl Trust {
    /// What a TLS client needs to know; all files are read.
    pub fn client_config(
        &self,
        client: Option<&ClientCertificate>,
    ) -> Result<ClientConfig, TrustError> {
        let provider = provider();
        let verifier = self.verifier(&provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match client {
            Some(pair) => {
                let (chain, key) = pair.load()?;
                builder.with_client_auth_cert(chain, key).map_err(|error| pair.unusable(error))?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, TrustError> {
        Ok(match self {
            Self::System => Arc::new(Roots::new(mozillas(), provider)?),
            Self::Pinned(path) => {
                let mut roots = RootCertStore::empty();
                let (added, _) = roots.add_parsable_certificates(certificates(path)?);
                if added == 0 {
                    return Err(TrustError::NoCertificate { path: path.clone() });
                }
                verifier_of(roots, provider)?
            }
            Self::Insecure => Arc::new(Anybody(Arc::clone(provider))),
        })
    }
}

impl ClientCertificate {
    fn load(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TrustError> {
        let (chain, key) = (read(&self.certificate)?, read(&self.key)?);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
        let chain = chain.map_err(|error| self.unusable(error))?;
        if chain.is_empty() {
            return Err(self.unusable(pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| self.unusable(error))?;
        Ok((chain, key))
    }

    fn unusable(&self, source: impl std::error::Error + Send + Sync + 'static) -> TrustError {
        TrustError::ClientCertificate {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source: Box::new(source),
        }
    }
}

/// The library that the program has chosen, or the only one that there is.
fn provider() -> Arc<CryptoProvider> {
    let chosen = CryptoProvider::get_default().cloned();
    chosen.unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()))
}

fn certificates(path: &Utf8Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let pem = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    certificates
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| TrustError::NoCertificate { path: path.to_owned() })
}

fn read(path: &Utf8Path) -> Result<Vec<u8>, TrustError> {
    fs::read(path).map_err(|source| TrustError::Read { path: path.to_owned(), source })
}

/// Mozilla's authorities as this version of the agent knows them.
fn mozillas() -> RootCertStore {
    let anchors: Vec<TrustAnchor<'static>> = webpki_roots::TLS_SERVER_ROOTS.to_vec();
    RootCertStore { roots: anchors }
}

fn verifier_of(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TrustError> {
    WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(provider))
        .build()
        .map_err(|error| rustls::Error::Other(rustls::OtherError(Arc::new(error))).into())
}

/// The system's word counts first. What it does not know, or knows only by an authority that has
/// expired since, may lead to one of those that the agent brings.
#[derive(Debug)]
struct Roots {
    /// None: the system has no authorities at all.
    system: Option<Verifier>,
    brought: Arc<WebPkiServerVerifier>,
}

impl Roots {
    fn new(brought: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Self, TrustError> {
        Ok(Self {
            system: Verifier::new(Arc::clone(provider)).ok(),
            brought: verifier_of(brought, provider)?,
        })
    }
}

impl ServerCertVerifier for Roots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let ask = |verifier: &dyn ServerCertVerifier| {
            verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
        };
        match self.system.as_ref().map(|system| ask(system)) {
            Some(Err(error)) if is_ignorance(&error) => {
                ask(self.brought.as_ref()).map_err(|_| error)
            }
            Some(verdict) => verdict,
            None => ask(self.brought.as_ref()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.brought.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.brought.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.brought.supported_verify_schemes()
    }
}

/// Whether the system only lacks what it would need to say yes. What it has revoked stays refused.
fn is_ignorance(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer
                | CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
        )
    )
}

/// Believes everybody who holds the key of the certificate that they show.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The chain that letsencrypt.org showed in 2026, and a moment at which it was valid.
    const PUBLIC: &[u8] = include_bytes!("../tests/data/letsencrypt.org.pem");
    const THEN: Duration = Duration::from_secs(1_785_542_400);

    fn verdict_on_public(verifier: &dyn ServerCertVerifier) -> Result<(), rustls::Error> {
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(PUBLIC).collect::<Result<_, _>>().unwrap();
        let name = ServerName::try_from("letsencrypt.org").unwrap();
        let then = UnixTime::since_unix_epoch(THEN);
        verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], then).map(drop)
    }

    fn own_authority() -> rcgen::Certificate {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::default().self_signed(&key).unwrap()
    }

    fn unknown() -> Result<(), rustls::Error> {
        Err(CertificateError::UnknownIssuer.into())
    }

    #[test]
    fn public_authorities_are_trusted_without_any_of_the_systems() {
        let bare = Roots { system: None, brought: verifier_of(mozillas(), &provider()).unwrap() };
        assert_eq!(verdict_on_public(&bare), Ok(()));
        let system = Trust::System.verifier(&provider()).unwrap();
        assert_eq!(verdict_on_public(system.as_ref()), Ok(()));
    }

    #[test]
    fn public_authorities_are_not_trusted_beside_ones_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("ca.pem");
        fs::write(&path, own_authority().pem()).unwrap();
        let pinned = Trust::Pinned(path).verifier(&provider()).unwrap();
        assert_eq!(verdict_on_public(pinned.as_ref()), unknown());
    }

    #[test]
    fn what_is_no_certificate_is_told_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("ca.pem");
        for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            fs::write(&path, text).unwrap();
            let error = Trust::Pinned(path.clone()).client_config(None).unwrap_err();
            assert!(
                matches!(error, TrustError::NoCertificate { path: at } if at == path),
                "{text}"
            );
        }
    }
}
