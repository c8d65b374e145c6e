//! The server, as the agent sees it: JSON over HTTPS, with every way that it can fail told apart.

use std::{
    collections::BTreeMap,
    error::Error,
    fs, io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use camino::Utf8PathBuf;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use jiff::{SignedDuration, Timestamp};
use reqwest::{
    Body, Client, ClientBuilder, Method, Proxy, RequestBuilder, Response, StatusCode, header,
};
use serde::{Serialize, de::DeserializeOwned};
use update::connection::{date, retry_after};
use url::Url;
use wire::{
    DesktopToken,
    orbit::{DEVICE_PREFIX, PREFIX},
    settings,
    signature::Message,
};

use crate::{
    VERSION,
    device_key::{DeviceKey, Holder, SignError},
    machine::LONGEST_OBEYED,
    trust::{ClientCertificate, Trust, TrustError},
};

/// How long somebody else's request may take: osqueryd sends what it has logged.
const HANDING_ON: Duration = Duration::from_secs(600);

/// Larger answers are not read.
const MAX_ANSWER: usize = 1024 * 1024;

/// Longer requests of somebody else's are not signed; the server takes none that are longer.
const MAX_SIGNED: usize = 10 << 20;

const JSON: &str = "application/json";

/// What is wrong with an answer that is for people.
const WEB_PAGE: &str = "it sends a web page, as captive portals do";

/// Where the server is and how it is reached.
#[derive(Debug, Clone)]
pub struct Connection {
    pub url: Url,
    pub trust: Trust,
    /// Shown to the server when it asks.
    pub client: Option<ClientCertificate>,
    /// Already none when `NO_PROXY` exempts the server.
    pub proxy: Option<Url>,
    pub timeouts: Timeouts,
}

/// How long is waited for the server.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the connection, TLS included.
    pub connect: Duration,
    /// For everything together.
    pub whole: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), whole: Duration::from_secs(30) }
    }
}

/// When files were last changed, and how long they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal(Vec<Option<(SystemTime, u64)>>);

impl Seal {
    /// How the files at `paths` are now.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a Utf8PathBuf>) -> Self {
        let state = |path: &Utf8PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        Self(paths.into_iter().map(state).collect())
    }
}

/// A connection that is kept open between requests.
#[derive(Debug)]
pub struct Server {
    connection: Connection,
    /// Dropped after each failure to communicate, so that networks that changed are seen, and with
    /// the files that it was made of.
    client: Mutex<Option<(Client, Seal)>>,
    /// The time that the server told with its last answer, and when that came.
    date: Mutex<Option<Told>>,
    /// What requests with a node key are signed with.
    signer: Mutex<Option<Arc<DeviceKey>>>,
    /// Until when the server asked not to be asked again, by address, and the status that it said so with.
    busy: Mutex<BTreeMap<String, (u16, Instant)>>,
}

/// Why the HTTP client cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("the proxy's address cannot be used")]
    Proxy { source: reqwest::Error },
    #[error("the HTTP client cannot be built")]
    Client { source: reqwest::Error },
}

/// Why a request brought no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    #[error("the connection cannot be set up")]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("the server's name cannot be resolved")]
    Dns { source: reqwest::Error },
    #[error("the server cannot be reached")]
    Connect { source: reqwest::Error },
    #[error("there is no trusted TLS connection to the server")]
    Tls { source: reqwest::Error },
    #[error("the server does not answer in time")]
    Timeout { source: reqwest::Error },
    #[error("the connection to the server broke")]
    Broken { source: reqwest::Error },
    #[error("the server does not accept it (status 401)")]
    Unauthenticated,
    #[error("there is no `{path}` on the server (status 404)")]
    NoSuchAddress { path: String },
    #[error("the server is busy (status {status}) and asks to wait for {} s", .after.as_secs())]
    Busy { status: u16, after: Duration },
    #[error("the server answers with an error (status {status})")]
    Status { status: u16 },
    #[error("what answers is not a Fleet server: {reason}")]
    NotFleet { reason: String },
    #[error("the server's answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
}

/// Why somebody else's request has brought no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandOnError {
    #[error("the request is larger than {MAX_SIGNED} bytes")]
    TooLarge,
    #[error("the request was cut short")]
    CutShort(#[source] Box<dyn Error + Send + Sync>),
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl RequestError {
    /// One word for each way to fail, for logs.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Setup(_) => "setup",
            Self::Sign(_) => "sign",
            Self::Dns { .. } => "dns",
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::Timeout { .. } => "timeout",
            Self::Broken { .. } => "broken",
            Self::Unauthenticated => "unauthenticated",
            Self::NoSuchAddress { .. } => "no_such_address",
            Self::Busy { .. } => "busy",
            Self::Status { .. } => "status",
            Self::NotFleet { .. } => "not_fleet",
            Self::TooLarge => "too_large",
        }
    }

    fn from_transport(error: reqwest::Error) -> Self {
        let source = error.without_url();
        if chain(&source).any(|cause| cause.is::<rustls::Error>()) {
            Self::Tls { source }
        } else if source.is_timeout() {
            Self::Timeout { source }
        } else if chain(&source).any(|cause| cause.to_string().contains("dns error")) {
            Self::Dns { source }
        } else if source.is_connect() {
            Self::Connect { source }
        } else {
            Self::Broken { source }
        }
    }
}

impl Server {
    #[must_use]
    pub const fn new(connection: Connection) -> Self {
        Self {
            connection,
            client: Mutex::new(None),
            date: Mutex::new(None),
            signer: Mutex::new(None),
            busy: Mutex::new(BTreeMap::new()),
        }
    }

    /// Signs what is sent from here on with `key`, or with none.
    pub fn sign_with(&self, key: Option<DeviceKey>) {
        *self.signer.lock().unwrap_or_else(PoisonError::into_inner) = key.map(Arc::new);
    }

    /// Whether there is a key to sign with.
    #[must_use]
    pub fn signs(&self) -> bool {
        self.signer().is_some()
    }

    /// What holds the key to sign with, if there is one.
    #[must_use]
    pub fn signer_is_held_by(&self) -> Option<Holder> {
        self.signer().map(|key| key.holder())
    }

    /// The key to sign with, if there is one.
    pub(crate) fn signer(&self) -> Option<Arc<DeviceKey>> {
        self.signer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends `body` to one of orbit's addresses, e.g. `enroll`, signed if there is a key to sign with, and
    /// reads the answer.
    pub async fn post<Q: Serialize, A: DeserializeOwned>(
        &self,
        operation: &str,
        body: &Q,
    ) -> Result<A, RequestError> {
        let path = format!("{PREFIX}/{operation}");
        let url = settings::endpoint(&self.connection.url, &path);
        let body = serde_json::to_vec(body).expect("what is asked serialises");
        let message = Message { method: "POST", path: url.path(), body: &body };
        let signer = self.signer();
        let signature = match &signer {
            Some(key) => Some(key.sign(&message, self.clock().as_second()).await?),
            None => None,
        };
        let mut request = self.client()?.post(url).header(header::CONTENT_TYPE, JSON);
        for (name, value) in signature.into_iter().flatten() {
            request = request.header(name, value);
        }
        self.ask(request.body(body), path).await
    }

    /// Asks what a device's user may know of it, e.g. `desktop`. The token is in the address.
    pub async fn get_of_device<A: DeserializeOwned>(
        &self,
        token: &DesktopToken,
        noun: &str,
    ) -> Result<A, RequestError> {
        let path = format!("{DEVICE_PREFIX}/{}/{noun}", token.expose());
        let url = settings::endpoint(&self.connection.url, &path);
        self.ask(self.client()?.get(url), format!("{DEVICE_PREFIX}/[token]/{noun}")).await
    }

    /// Sends somebody else's request, to a path on the server as it is, signed if there is a key to sign
    /// with, and gives the answer, whatever it is.
    pub(crate) async fn hand_on(
        &self,
        method: Method,
        (path, query): (&str, Option<&str>),
        mut headers: header::HeaderMap,
        body: Incoming,
    ) -> Result<Response, HandOnError> {
        let mut url = self.connection.url.clone();
        url.set_path(path);
        url.set_query(query);
        let body = match self.signer() {
            None => Body::wrap(body),
            Some(key) => {
                let body = whole(body).await?;
                let message = Message { method: method.as_str(), path: url.path(), body: &body };
                let signature = key.sign(&message, self.clock().as_second()).await;
                for (name, value) in signature.map_err(RequestError::from)? {
                    headers.insert(name, value.parse().expect("a signature is ASCII"));
                }
                Body::from(body)
            }
        };
        let client = self.client().map_err(RequestError::from)?;
        let request = client.request(method, url).headers(headers).body(body);
        Ok(self.send(request.timeout(HANDING_ON)).await?)
    }

    /// Whether the server is there, and is one: `HEAD /api/fleet/orbit/ping`.
    pub async fn ping(&self) -> Result<(), RequestError> {
        self.head(&format!("{PREFIX}/ping")).await
    }

    /// Whether there is something at `path`, which is told by the status alone.
    pub async fn head(&self, path: &str) -> Result<(), RequestError> {
        let request = self.client()?.head(settings::endpoint(&self.connection.url, path));
        let response = self.send(request).await?;
        if let Some(refusal) = refusal(&response, path.to_owned()) {
            return Err(refusal);
        }
        let kind = response.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
        if kind.is_some_and(|kind| kind.starts_with(b"text/html")) {
            return Err(RequestError::NotFleet { reason: WEB_PAGE.to_owned() });
        }
        Ok(())
    }

    /// Sends the request and keeps the time that the server tells.
    async fn send(&self, request: RequestBuilder) -> Result<Response, RequestError> {
        let response = request.send().await.map_err(|error| self.failed(error))?;
        if let Some(date) = date(response.headers(), header::DATE) {
            *self.date.lock().unwrap_or_else(PoisonError::into_inner) = Some(Told::of(date));
        }
        Ok(response)
    }

    /// Sends the request and reads the answer. `path` is how its address is told to people. One that the
    /// server asked to wait with is not sent before.
    async fn ask<A: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        path: String,
    ) -> Result<A, RequestError> {
        self.heed(&path)?;
        let response = self.send(request).await?;
        let refusal = refusal(&response, path.clone());
        if let Some(RequestError::Busy { status, after }) = refusal {
            let until = now() + after.min(LONGEST_OBEYED);
            self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(path, (status, until));
        }
        let answer = self.read(response).await?;
        match refusal {
            None => serde_json::from_slice(&answer)
                .map_err(|error| RequestError::NotFleet { reason: not_json(&answer, &error) }),
            // A captive portal or proxy may answer 401 too: only JSON is the server's own word.
            Some(RequestError::Unauthenticated) => {
                Err(serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&answer)
                    .map_or_else(
                        |error| RequestError::NotFleet { reason: not_json(&answer, &error) },
                        |_| RequestError::Unauthenticated,
                    ))
            }
            Some(refusal) => Err(refusal),
        }
    }

    /// Fails while the server wants to be left alone with this.
    fn heed(&self, path: &str) -> Result<(), RequestError> {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied();
        let Some((status, until)) = busy else { return Ok(()) };
        let after = until.saturating_duration_since(now());
        if after.is_zero() { Ok(()) } else { Err(RequestError::Busy { status, after }) }
    }

    /// Whether nobody on the way can answer in its place.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.connection.url.scheme() == "https" && self.connection.trust != Trust::Insecure
    }

    /// The time by the server's clock, which has gone on since its last answer.
    #[must_use]
    pub fn date(&self) -> Option<Timestamp> {
        let told = *self.date.lock().unwrap_or_else(PoisonError::into_inner);
        told.and_then(|told| told.date.checked_add(now().duration_since(told.at)).ok())
    }

    /// The same, if all that this device's clock went ahead since was sleep: it alone goes on then.
    #[must_use]
    pub fn date_after_sleep(&self) -> Option<Timestamp> {
        let told = (*self.date.lock().unwrap_or_else(PoisonError::into_inner))?;
        let slept = wall_clock().duration_since(told.wall).max(SignedDuration::ZERO);
        let passed =
            slept.max(SignedDuration::try_from(now().duration_since(told.at)).unwrap_or(slept));
        Some(told.date.checked_add(passed).unwrap_or(told.date))
    }

    /// The server's time if it has told it, so that a wrong clock of this device does not matter; else
    /// this device's.
    fn clock(&self) -> Timestamp {
        self.date_after_sleep().unwrap_or_else(wall_clock)
    }

    fn client(&self) -> Result<Client, SetupError> {
        let mut kept = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let seal = self.connection.seal();
        if let Some((client, _)) = kept.as_ref().filter(|(_, before)| *before == seal) {
            return Ok(client.clone());
        }
        // Requests that are on their way end on the connection that they began on.
        *kept = None;
        Ok(kept.insert((self.connection.build_client()?, seal)).0.clone())
    }

    /// How the files were that the kept connection was made of; none: none is kept.
    #[must_use]
    pub fn seal(&self) -> Option<Seal> {
        let kept = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().map(|(_, seal)| seal.clone())
    }

    fn failed(&self, error: reqwest::Error) -> RequestError {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
        RequestError::from_transport(error)
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, RequestError> {
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(error))? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                return Err(RequestError::TooLarge);
            }
            answer.extend_from_slice(&chunk);
        }
        Ok(answer)
    }
}

impl Connection {
    /// Reads all files that it names, to find out at the start what would fail later.
    pub fn check(&self) -> Result<(), TrustError> {
        self.trust.check()?;
        self.client.as_ref().map_or(Ok(()), |client| client.load().map(drop))
    }

    /// How the files that it names are now.
    #[must_use]
    pub fn seal(&self) -> Seal {
        let authorities = match &self.trust {
            Trust::Pinned(path) => Some(path),
            Trust::System | Trust::Insecure => None,
        };
        let client = self.client.iter().flat_map(|client| [&client.certificate, &client.key]);
        Seal::of(authorities.into_iter().chain(client))
    }

    fn build_client(&self) -> Result<Client, SetupError> {
        // Redirects are not followed: they would carry secrets to wherever a portal points.
        let builder = Client::builder()
            .timeout(self.timeouts.whole)
            .redirect(reqwest::redirect::Policy::none());
        self.complete(builder)
    }

    /// A client for files of any length, none of which is believed before it is verified: a download
    /// may take as long as bytes come, and mirrors may redirect.
    pub fn build_download_client(&self) -> Result<Client, SetupError> {
        self.complete(Client::builder().read_timeout(self.timeouts.whole))
    }

    fn complete(&self, builder: ClientBuilder) -> Result<Client, SetupError> {
        let mut builder = self.trust.tell(builder)?;
        builder =
            builder.user_agent(user_agent()).connect_timeout(self.timeouts.connect).no_proxy();
        if let Some(client) = &self.client {
            builder = builder.identity(client.load()?);
        }
        if let Some(proxy) = &self.proxy {
            let proxy = Proxy::all(proxy.clone()).map_err(|source| SetupError::Proxy { source })?;
            builder = builder.proxy(proxy);
        }
        builder.build().map_err(|source| SetupError::Client { source })
    }
}

async fn whole(body: Incoming) -> Result<Bytes, HandOnError> {
    let whole = Limited::new(body, MAX_SIGNED).collect().await;
    whole.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() {
            HandOnError::TooLarge
        } else {
            HandOnError::CutShort(error)
        }
    })
}

/// e.g. `orbit/1.2.3 (linux x86_64)`.
fn user_agent() -> String {
    format!("orbit/{VERSION} ({} {})", std::env::consts::OS, std::env::consts::ARCH)
}

/// What the status says is wrong, if it does.
fn refusal(response: &Response, path: String) -> Option<RequestError> {
    let status = response.status();
    let after = || retry_after(response.headers());
    match status {
        StatusCode::OK => None,
        StatusCode::UNAUTHORIZED => Some(RequestError::Unauthenticated),
        StatusCode::NOT_FOUND => Some(RequestError::NoSuchAddress { path }),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let status = status.as_u16();
            Some(after().map_or(RequestError::Status { status }, |after| RequestError::Busy {
                status,
                after,
            }))
        }
        status if status.is_redirection() => Some(RequestError::NotFleet {
            reason: format!("it redirects elsewhere (status {})", status.as_u16()),
        }),
        status => Some(RequestError::Status { status: status.as_u16() }),
    }
}

/// The server's time, and this device's when it was told.
#[derive(Debug, Clone, Copy)]
struct Told {
    date: Timestamp,
    at: Instant,
    wall: Timestamp,
}

impl Told {
    fn of(date: Timestamp) -> Self {
        Self { date, at: now(), wall: wall_clock() }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long ago the server told its time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a signature says when it was made")]
fn wall_clock() -> Timestamp {
    Timestamp::now()
}

fn not_json(answer: &[u8], error: &serde_json::Error) -> String {
    let start = answer.trim_ascii_start();
    if start.first() == Some(&b'<') {
        return WEB_PAGE.to_owned();
    }
    match error.classify() {
        serde_json::error::Category::Data => format!("its answer does not fit: {error}"),
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => "its answer is no JSON".to_owned(),
    }
}

/// `error` and everything that caused it; what an I/O error wraps is among it.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        let error: &'a (dyn Error + 'static) = *error;
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map(|error| error as &(dyn Error + 'static)).or_else(|| error.source())
    })
}
