//! Whom to believe that they are the server.

use std::sync::Arc;

use anyhow::Context as _;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use rustls_platform_verifier::BuilderVerifierExt as _;

/// Which certificates are good enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Those that this system trusts.
    System,
    /// Those that lead to one in this PEM text.
    Pinned(String),
    /// Any.
    Insecure,
}

impl Trust {
    /// What a TLS client needs to know.
    pub(crate) fn client_config(&self) -> anyhow::Result<ClientConfig> {
        let builder = ClientConfig::builder();
        let builder = match self {
            Self::System => builder
                .with_platform_verifier()
                .context("could not read the system's certificates")?,
            Self::Pinned(pem) => builder.with_root_certificates(roots(pem)?),
            Self::Insecure => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate::new()?)),
        };
        Ok(builder.with_no_client_auth())
    }
}

/// The certificates of a PEM text, at least one.
pub(crate) fn certificates(pem: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .context("it is not a PEM file")?;
    anyhow::ensure!(!certificates.is_empty(), "it contains no certificate");
    Ok(certificates)
}

fn roots(pem: &str) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in
        certificates(pem).context("could not use the certificate of the server's CA")?
    {
        roots.add(certificate).context("could not use the certificate of the server's CA")?;
    }
    Ok(roots)
}

/// Believes everybody who holds the key of the certificate they show.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl AnyCertificate {
    fn new() -> anyhow::Result<Self> {
        let provider = CryptoProvider::get_default().context("no TLS provider is installed")?;
        Ok(Self(Arc::clone(provider)))
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
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
