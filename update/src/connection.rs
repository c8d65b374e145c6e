//! How the repository's server is reached.

use std::{
    fmt,
    num::NonZeroU64,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{Certificate, Client, Identity, Proxy, Response, StatusCode, header};
use tokio::time::Instant;
use url::Url;

/// Certificates and proxy for an update server. The default trusts what the system trusts.
#[derive(Clone, Default)]
pub struct Connection {
    /// Certificate authorities to trust besides the system's, as PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// The client's own certificate chain and private key, as one PEM.
    pub identity_pem: Option<Vec<u8>>,
    /// The proxy for every request (`http`, `https` or `socks5` URL). None: what `HTTPS_PROXY` and
    /// its like say.
    pub proxy: Option<Url>,
    /// Accept any server certificate. What is downloaded is verified all the same.
    pub insecure: bool,
    /// A client that is set up already; everything above is then passed over.
    pub client: Option<Client>,
    /// Where targets are. None: in `targets/` below the metadata, or beside it if that is in a folder
    /// called `metadata`.
    pub targets: Option<Url>,
    /// The most bytes that targets are downloaded with in a second. None: as many as come.
    pub rate: Option<NonZeroU64>,
    /// How long the server may take.
    pub patience: Patience,
    /// How long the server wants to be left alone; clones know what any of them has been told.
    pub respite: Respite,
}

/// How long a server may take that sends a byte now and then, so that its connection never breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a metadata file.
    pub metadata: Duration,
    /// For a target, whatever its length. What has come by then is kept for the next attempt.
    pub target: Duration,
    /// For each so many bytes of a target, a second more.
    pub slowest: NonZeroU64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            metadata: Duration::from_secs(60),
            target: Duration::from_mins(10),
            slowest: const { NonZeroU64::new(4 * 1024).unwrap() },
        }
    }
}

/// A server is left alone for no longer than this because it asks to be.
pub const LONGEST_RESPITE: Duration = Duration::from_hours(1);

/// What a busy server has said about when to come again: 429 or 503 with `Retry-After` (RFC 9110, 10.2.3).
#[derive(Debug, Clone, Default)]
pub struct Respite(Arc<Mutex<Option<Told>>>);

/// The status of the answer, for how long nothing was to be asked, and until when that is.
#[derive(Debug, Clone, Copy)]
struct Told {
    status: StatusCode,
    after: Duration,
    until: Instant,
}

impl Respite {
    /// The status that it was asked for with and how long it is in all, while it lasts.
    pub(crate) fn lasts(&self) -> Option<(StatusCode, Duration)> {
        let told = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        (Instant::now() < told.until).then_some((told.status, told.after))
    }

    /// Takes note if `reply` asks for one.
    pub(crate) fn hear(&self, reply: &Response) {
        let status = reply.status();
        if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return;
        }
        let Some(after) = retry_after(reply.headers()) else { return };
        let after = after.min(LONGEST_RESPITE);
        let told = Told { status, after, until: Instant::now() + after };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    }
}

/// `Retry-After` in seconds, or as a date measured against the answer's own `Date` (RFC 9110,
/// 10.2.3), so that this device's clock does not matter.
#[must_use]
pub fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let (until, sent) = (date(headers, header::RETRY_AFTER)?, date(headers, header::DATE)?);
    u64::try_from((until - sent).get_seconds()).ok().map(Duration::from_secs)
}

/// The date in the header called `name`, if it is one.
#[must_use]
pub fn date(headers: &header::HeaderMap, name: header::HeaderName) -> Option<Timestamp> {
    let text = headers.get(name)?.to_str().ok()?;
    rfc2822::parse(text).ok().map(|date| date.timestamp())
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("ca", &self.ca_pem.is_some())
            .field("identity", &self.identity_pem.is_some())
            .field("proxy", &self.proxy.is_some())
            .field("insecure", &self.insecure)
            .finish()
    }
}

impl Connection {
    /// The HTTP client that this describes.
    pub(crate) fn client(&self) -> Result<Client, ConnectionError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let mut builder = Client::builder()
            .user_agent(concat!("fleetd/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(15))
            .read_timeout(Duration::from_secs(30))
            .tls_danger_accept_invalid_certs(self.insecure);
        if let Some(pem) = &self.ca_pem {
            let authorities =
                Certificate::from_pem_bundle(pem).map_err(ConnectionError::Authority)?;
            if authorities.is_empty() {
                return Err(ConnectionError::NoAuthority);
            }
            builder = builder.tls_certs_merge(authorities);
        }
        if let Some(pem) = &self.identity_pem {
            builder = builder.identity(Identity::from_pem(pem).map_err(ConnectionError::Identity)?);
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(Proxy::all(proxy.clone()).map_err(ConnectionError::Proxy)?);
        }
        builder.build().map_err(ConnectionError::Client)
    }
}

/// Why a server cannot be reached the way that was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The extra certificate authorities are no PEM certificates.
    #[error("could not read the update server's certificate authorities")]
    Authority(#[source] reqwest::Error),
    /// The PEM given as certificate authorities holds none.
    #[error("there is no certificate among the update server's certificate authorities")]
    NoAuthority,
    /// The client certificate or its key is no PEM, or one of them is missing.
    #[error("could not read the client certificate and key for the update server")]
    Identity(#[source] reqwest::Error),
    /// The proxy is none that can be used.
    #[error("could not use the proxy for the update server")]
    Proxy(#[source] reqwest::Error),
    /// What was given does not fit together.
    #[error("could not set up the connection to the update server")]
    Client(#[source] reqwest::Error),
}
