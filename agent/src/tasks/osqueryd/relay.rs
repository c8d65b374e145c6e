//! How osqueryd reaches the server. By itself where it can: it always checks the server's certificate,
//! knows HTTP proxies alone and none that want a password, and signs nothing. Else through a relay on this
//! machine, whose certificate it can check, and which goes the agent's way and signs as the agent does.
//!
//! What the relay is known by is made anew at each start of the agent, and its keys are nowhere but in
//! memory. It serves osqueryd alone, which shows a certificate that was made for it: whoever else got
//! through would have the agent's client certificate speak for them.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fs, io,
    net::{Ipv4Addr, TcpListener as StdListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use camino::Utf8PathBuf;
use hyper::{
    HeaderMap, Request, Response, StatusCode, Version, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use reqwest::Body;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::PrivatePkcs8KeyDer,
    server::{VerifierBuilderError, WebPkiClientVerifier},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
    time,
};
use tokio_rustls::TlsAcceptor;
use url::Url;
use wire::settings::files;

use super::authorities;
use crate::{
    complaints::explain,
    config::Config,
    durable,
    identity::FileError,
    platform::Readers,
    server::{Connection, HandOnError, Server},
    trust::{ClientCertificate, Trust},
};

/// What osqueryd calls the relay, which only listens on this machine.
const NAME: &str = "localhost";

/// How long osqueryd may take to begin.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How many connections there may be; osqueryd has one or two.
const MOST: usize = 64;

/// Headers that are about one connection, and not about what is sent (RFC 9110, 7.6.1).
const OF_CONNECTION: [header::HeaderName; 6] = [
    header::CONNECTION,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What osqueryd needs to know in order to reach the server.
#[derive(Debug, Clone)]
pub struct Way {
    /// `host:port`.
    pub server: String,
    /// What it checks the certificate against; none: whatever it was built with.
    pub authorities: Option<Utf8PathBuf>,
    pub client: Option<ClientCertificate>,
    pub proxy: Option<Url>,
}

impl Way {
    /// Without a relay. Blocks for as long as it takes to ask the system for its authorities.
    #[must_use]
    pub fn direct(config: &Config) -> Self {
        let url = &config.connection.url;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(443);
        let authorities = match &config.connection.trust {
            Trust::Pinned(path) => Some(path.clone()),
            Trust::System | Trust::Insecure => authorities::provide(&config.root),
        };
        Self {
            server: format!("{host}:{port}"),
            authorities,
            client: config.connection.client.clone(),
            proxy: config.connection.proxy.clone(),
        }
    }
}

/// A relay at work; it ends when this is dropped.
#[derive(Debug)]
pub struct Relay {
    way: Way,
    task: AbortHandle,
}

/// Why there is no relay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    #[error("could not make a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("could not set up TLS")]
    Tls(#[from] rustls::Error),
    #[error("could not set up TLS")]
    Verifier(#[from] VerifierBuilderError),
    #[error("could not listen on this machine")]
    Listen(#[source] io::Error),
    #[error(transparent)]
    File(#[from] FileError),
}

impl Relay {
    /// Whether there is to be one, where the device `signs` what it asks or does not.
    #[must_use]
    pub fn is_wanted(config: &Config, signs: bool) -> bool {
        let Connection { url, trust, proxy, .. } = &config.connection;
        let goes_by_itself =
            *trust != Trust::Insecure && proxy.as_ref().is_none_or(is_known_to_osqueryd);
        url.scheme() == "https" && (signs || !goes_by_itself)
    }

    /// Listens for osqueryd, whose requests go where `server`'s do. Needs a tokio runtime.
    pub fn start(config: &Config, server: Arc<Server>) -> Result<Self, RelayError> {
        let (tls, given) = credentials()?;
        let folder = config.root.join(files::RELAY);
        let client = ClientCertificate {
            certificate: folder.join("osqueryd.crt"),
            key: folder.join("osqueryd.key"),
        };
        let authorities = folder.join("fleet.crt");
        fs::create_dir_all(&folder)
            .map_err(|source| FileError::Write { path: folder.clone(), source })?;
        for (path, text) in [
            (&authorities, given.authority),
            (&client.certificate, given.certificate),
            (&client.key, given.key),
        ] {
            durable::replace(path, text.as_bytes(), Readers::Root)
                .map_err(|source| FileError::Write { path: path.clone(), source })?;
        }
        let (listener, port) = listen().map_err(RelayError::Listen)?;
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let task = tokio::spawn(serve(listener, acceptor, server)).abort_handle();
        let way = Way {
            server: format!("{NAME}:{port}"),
            authorities: Some(authorities),
            client: Some(client),
            // The relay takes it.
            proxy: None,
        };
        Ok(Self { way, task })
    }

    /// How osqueryd reaches it.
    #[must_use]
    pub const fn way(&self) -> &Way {
        &self.way
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_known_to_osqueryd(proxy: &Url) -> bool {
    proxy.scheme() == "http" && proxy.username().is_empty() && proxy.password().is_none()
}

/// What osqueryd is given, in PEM.
struct Files {
    authority: String,
    certificate: String,
    key: String,
}

fn credentials() -> Result<(ServerConfig, Files), RelayError> {
    let mut params = named(Vec::new(), "orbit's relay")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let issue = |names: Vec<String>, name: &str, usage| {
        let mut params = named(names, name)?;
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        Ok::<_, rcgen::Error>((params.signed_by(&key, &authority)?, key))
    };
    let names = vec![NAME.to_owned(), Ipv4Addr::LOCALHOST.to_string()];
    let (own, own_key) = issue(names, NAME, ExtendedKeyUsagePurpose::ServerAuth)?;
    let (theirs, their_key) = issue(Vec::new(), "osqueryd", ExtendedKeyUsagePurpose::ClientAuth)?;

    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider)).build()?;
    let key = PrivatePkcs8KeyDer::from(own_key.serialize_der());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![own.der().clone()], key.into())?;
    let files = Files {
        authority: authority.pem(),
        certificate: theirs.pem(),
        key: their_key.serialize_pem(),
    };
    Ok((tls, files))
}

fn named(names: Vec<String>, name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn listen() -> io::Result<(TcpListener, u16)> {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    Ok((TcpListener::from_std(listener)?, port))
}

/// A connection of which nobody knows yet who it is.
struct Stranger {
    task: AbortHandle,
    is_known: Arc<AtomicBool>,
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, server: Arc<Server>) {
    let (mut connections, mut strangers) = (JoinSet::new(), VecDeque::<Stranger>::new());
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let is_waiting =
                    |it: &Stranger| !it.task.is_finished() && !it.is_known.load(Ordering::Relaxed);
                strangers.retain(is_waiting);
                // Anybody on this machine may connect. That costs no more of the agent's open files, and
                // whoever says nothing makes room for osqueryd.
                if strangers.len() >= MOST
                    && let Some(oldest) = strangers.pop_front()
                {
                    oldest.task.abort();
                }
                let is_known = Arc::new(AtomicBool::new(false));
                let guest = (acceptor.clone(), Arc::clone(&is_known), Arc::clone(&places));
                let task = connections.spawn(converse(stream, guest, Arc::clone(&server)));
                strangers.push_back(Stranger { task, is_known });
            }
            // Too many files are open, for example.
            Err(error) => {
                tracing::debug!("osqueryd could not reach the relay: {error}");
                time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn converse(
    stream: TcpStream,
    (acceptor, is_known, places): (TlsAcceptor, Arc<AtomicBool>, Arc<Semaphore>),
    server: Arc<Server>,
) {
    let stream = match time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!("somebody is no osqueryd of this agent: {error}");
            return;
        }
        Err(_) => return,
    };
    let Ok(_place) = places.try_acquire() else {
        tracing::warn!("osqueryd has too many connections to the relay");
        return;
    };
    is_known.store(true, Ordering::Relaxed);
    let service = service_fn(|request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(hand_on(&server, request).await) }
    });
    // How it ends is of no interest: osqueryd asks again.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Asks the server what osqueryd asks, and gives its answer as it is.
async fn hand_on(server: &Server, request: Request<Incoming>) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    strip(&mut parts.headers);
    let path = (parts.uri.path(), parts.uri.query());
    let asked = server.hand_on(parts.method, path, parts.headers, body).await;
    match asked {
        Ok(answer) => {
            let mut answer = Response::from(answer);
            strip(answer.headers_mut());
            *answer.version_mut() = Version::HTTP_11;
            answer
        }
        Err(error) => {
            tracing::debug!("osqueryd's request did not get through: {}", explain(&error));
            let mut answer = Response::new(Body::from(explain(&error)));
            *answer.status_mut() = match error {
                HandOnError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                HandOnError::CutShort(_) => StatusCode::BAD_REQUEST,
                HandOnError::Request(_) => StatusCode::BAD_GATEWAY,
            };
            answer
        }
    }
}

fn strip(headers: &mut HeaderMap) {
    for name in OF_CONNECTION {
        headers.remove(name);
    }
}
