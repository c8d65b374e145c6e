//! The connection to an update server: its certificate, ours, and a proxy between.

use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use update::{
    Connection, Location, Repository, RepositoryConfig,
    connection::ConnectionError,
    repository::{OpenError, RefreshError, TransportError, VerifyError},
};

use crate::{
    fixture::{Fixture, now},
    server::Server,
};

/// A private certificate authority.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, name: &str) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn pem(&self) -> Option<Vec<u8>> {
        Some(self.certificate.pem().into_bytes())
    }

    /// A server at `localhost` that asks for a certificate of this authority if `mutual`.
    fn server_config(&self, mutual: bool) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if mutual {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = self.issue("localhost");
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        builder
            .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap()
    }
}

async fn refresh(
    fixture: &Fixture,
    location: Location,
    connection: Connection,
) -> Result<(), RefreshError> {
    let config = RepositoryConfig { connection, ..fixture.config(location) };
    Repository::open(config).unwrap().refresh(now()).await
}

fn is_refused_connection(outcome: &Result<(), RefreshError>) -> bool {
    let refused =
        |it: &VerifyError| matches!(it, VerifyError::Transport(TransportError::Request { .. }));
    matches!(outcome, Err(RefreshError::Refused { source, .. }) if refused(source))
}

#[tokio::test]
async fn a_private_authority_must_be_named_or_verification_turned_off() {
    let fixture = Fixture::with_orbit().await;
    let authority = Authority::new();
    let server = Server::start_tls(fixture.editor.repository_dir(), authority.server_config(false));
    let with = |ca_pem, insecure| Connection { ca_pem, insecure, ..Connection::default() };
    let outcome = refresh(&fixture, server.location(), with(None, false)).await;
    assert!(is_refused_connection(&outcome), "{outcome:?}");
    let outcome = refresh(&fixture, server.location(), with(Authority::new().pem(), false)).await;
    assert!(is_refused_connection(&outcome), "{outcome:?}");
    refresh(&fixture, server.location(), with(authority.pem(), false)).await.unwrap();
    refresh(&fixture, server.location(), with(None, true)).await.unwrap();
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_asks() {
    let fixture = Fixture::with_orbit().await;
    let authority = Authority::new();
    let server = Server::start_tls(fixture.editor.repository_dir(), authority.server_config(true));
    let without = Connection { ca_pem: authority.pem(), ..Connection::default() };
    let outcome = refresh(&fixture, server.location(), without.clone()).await;
    assert!(is_refused_connection(&outcome), "{outcome:?}");
    let (certificate, key) = authority.issue("builder");
    let identity = [certificate.pem(), key.serialize_pem()].concat().into_bytes();
    refresh(&fixture, server.location(), Connection { identity_pem: Some(identity), ..without })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_proxy_is_asked_for_everything() {
    let fixture = Fixture::with_orbit().await;
    let proxy = Server::start(fixture.editor.repository_dir()).await;
    let connection =
        Connection { proxy: Some(proxy.url().parse().unwrap()), ..Connection::default() };
    refresh(&fixture, "http://updates.invalid".parse().unwrap(), connection).await.unwrap();
    assert_eq!(proxy.take_requests().first().map(String::as_str), Some("2.root.json"));
}

#[tokio::test]
async fn what_is_no_certificate_is_refused_before_any_request() {
    let fixture = Fixture::new().await;
    let open = |connection| {
        let location = "https://updates.invalid".parse().unwrap();
        Repository::open(RepositoryConfig { connection, ..fixture.config(location) })
    };
    let no_authority = Connection { ca_pem: Some(b"no PEM".to_vec()), ..Connection::default() };
    assert!(matches!(open(no_authority), Err(OpenError::Connection(ConnectionError::NoAuthority))));
    let no_key = Connection { identity_pem: Authority::new().pem(), ..Connection::default() };
    assert!(matches!(open(no_key), Err(OpenError::Connection(ConnectionError::Identity(_)))));
}
