//! TLS: the server's certificate, and those of clients.

use std::{future::Future, io, pin::Pin, sync::Arc};

use axum::{Extension, middleware::AddExtension};
use axum_server::{accept::Accept, tls_rustls::RustlsAcceptor};
use camino::{Utf8Path, Utf8PathBuf};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    server::{
        NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
};
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;
use tower::Layer as _;

use crate::{
    config::{ClientAuth, Tls},
    fleet::origin::ClientCertificate,
    http::OfConnection,
};

/// Why TLS cannot be spoken with these files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    #[error("could not read the certificate `{path}`")]
    Certificate { path: Utf8PathBuf, source: pem::Error },
    #[error("`{path}` holds no certificate")]
    NoCertificate { path: Utf8PathBuf },
    #[error("could not read the private key `{path}`")]
    Key { path: Utf8PathBuf, source: pem::Error },
    #[error("the certificate `{certificate}` and the key `{key}` cannot be used together")]
    Pair { certificate: Utf8PathBuf, key: Utf8PathBuf, source: rustls::Error },
    #[error("`{path}` holds what is no certificate of an authority")]
    Authority { path: Utf8PathBuf, source: rustls::Error },
    #[error("could not read the list of revoked certificates `{path}`")]
    RevocationList { path: Utf8PathBuf, source: pem::Error },
    #[error("clients' certificates cannot be verified with `{path}`")]
    Verifier { path: Utf8PathBuf, source: VerifierBuilderError },
}

/// Reads the files that the configuration names.
pub(crate) fn read_tls(tls: &Tls) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&tls.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|source| TlsError::Key { path: tls.key.clone(), source })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = match &tls.client_ca {
        Some(authorities) => verifier(tls, authorities, &provider)?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_client_cert_verifier(verifier).with_single_cert(chain, key)
        })
        .map_err(|source| TlsError::Pair {
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            source,
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if tls.client_ca.is_some() {
        // A session that is resumed shows no certificate again, so that one that was revoked, or has
        // run out since, would still be believed.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

/// Who verifies clients' certificates. Where there is a list of revoked ones, one that no list covers, or
/// whose list is too old, is refused.
fn verifier(
    tls: &Tls,
    path: &Utf8Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(path)? {
        authorities
            .add(certificate)
            .map_err(|source| TlsError::Authority { path: path.to_owned(), source })?;
    }
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(provider));
    if let Some(path) = &tls.client_crl {
        builder = builder.with_crls(revoked(path)?).enforce_revocation_expiration();
    }
    if tls.client_auth == ClientAuth::Optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|source| TlsError::Verifier { path: path.to_owned(), source })
}

fn certificates(path: &Utf8Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let problem = |source| TlsError::Certificate { path: path.to_owned(), source };
    let read = CertificateDer::pem_file_iter(path).map_err(problem)?;
    let read = read.collect::<Result<Vec<_>, _>>().map_err(problem)?;
    if read.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(read)
}

fn revoked(path: &Utf8Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let problem = |source| TlsError::RevocationList { path: path.to_owned(), source };
    let lists = CertificateRevocationListDer::pem_file_iter(path).map_err(problem)?;
    let lists = lists.collect::<Result<Vec<_>, _>>().map_err(problem)?;
    if lists.is_empty() {
        // A list that is there and says nothing would let everything pass.
        return Err(problem(pem::Error::NoItemsFound));
    }
    Ok(lists)
}

/// Takes connections, and tells with each request which certificate its connection came with.
#[derive(Debug, Clone)]
pub(crate) struct Certified(pub RustlsAcceptor);

impl<I, S> Accept<I, S> for Certified
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Send + 'static,
{
    type Stream = TlsStream<I>;
    type Service = AddExtension<S, OfConnection>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let accepted = self.0.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let shown = shown.and_then(|shown| ClientCertificate::from_der(shown));
            Ok((stream, Extension(OfConnection(shown)).layer(service)))
        })
    }
}
