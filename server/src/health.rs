//! Asks a running server whether it can do its work, for whoever watches over a container that has
//! no other program in it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use camino::Utf8PathBuf;
use http_body_util::Empty;
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time,
};
use tokio_rustls::TlsConnector;

use crate::config::{Config, Tls};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a server is not known to be ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthError {
    #[error("the port is for the system to choose, so the server cannot be found; name one")]
    Port,
    #[error("could not read the certificate `{path}`")]
    Certificate { path: Utf8PathBuf, source: rustls_pki_types::pem::Error },
    #[error("could not set up TLS")]
    Tls(#[source] TlsError),
    #[error("could not connect to `{address}`")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("`{address}` does not speak TLS with the configured certificate")]
    Handshake { address: SocketAddr, source: io::Error },
    #[error("could not ask `{address}`")]
    Ask { address: SocketAddr, source: hyper::Error },
    #[error("`{address}` did not answer within {} s", PATIENCE.as_secs())]
    Silence { address: SocketAddr },
    #[error("`{address}` says that it is not ready: {status}")]
    NotReady { address: SocketAddr, status: StatusCode },
}

/// Asks the server that runs on this machine with `config`. By TLS only the configured certificate
/// is accepted: whatever it is called and whoever issued it, it is this server's.
pub async fn check(config: &Config) -> Result<(), HealthError> {
    let address = reachable(config.listen.address)?;
    let asked = time::timeout(PATIENCE, ask(address, config.tls.as_ref())).await;
    match asked.map_err(|_| HealthError::Silence { address })?? {
        StatusCode::OK => Ok(()),
        status => Err(HealthError::NotReady { address, status }),
    }
}

/// A server that listens everywhere is reached on loopback.
fn reachable(listening: SocketAddr) -> Result<SocketAddr, HealthError> {
    if listening.port() == 0 {
        return Err(HealthError::Port);
    }
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    Ok(SocketAddr::new(ip, listening.port()))
}

async fn ask(address: SocketAddr, tls: Option<&Tls>) -> Result<StatusCode, HealthError> {
    let connect = |source| HealthError::Connect { address, source };
    let connector = tls.map(connector).transpose()?;
    let stream = TcpStream::connect(address).await.map_err(connect)?;
    match connector {
        None => status(address, stream).await,
        Some(connector) => {
            let name = ServerName::IpAddress(address.ip().into());
            let handshake = |source| HealthError::Handshake { address, source };
            status(address, connector.connect(name, stream).await.map_err(handshake)?).await
        }
    }
}

async fn status(
    address: SocketAddr,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<StatusCode, HealthError> {
    let ask = |source| HealthError::Ask { address, source };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(ask)?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/health/ready")
        .header(header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())
        .expect("the request is made of constants and an address");
    let answer = sender.send_request(request).await.map_err(ask)?;
    connection.abort();
    Ok(answer.status())
}

fn connector(tls: &Tls) -> Result<TlsConnector, HealthError> {
    let certificate = CertificateDer::from_pem_file(&tls.certificate)
        .map_err(|source| HealthError::Certificate { path: tls.certificate.clone(), source })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(HealthError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Exactly { certificate, algorithms }))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Accepts one certificate, from who has its key.
#[derive(Debug)]
struct Exactly {
    certificate: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_asked_on_loopback() {
        let of = |text: &str| reachable(text.parse().unwrap()).unwrap().to_string();
        assert_eq!(of("0.0.0.0:8443"), "127.0.0.1:8443");
        assert_eq!(of("[::]:8443"), "[::1]:8443");
        assert_eq!(of("192.0.2.7:443"), "192.0.2.7:443");
    }

    #[test]
    fn a_server_whose_port_nobody_knows_is_not_asked() {
        assert!(matches!(reachable("127.0.0.1:0".parse().unwrap()), Err(HealthError::Port)));
    }
}
