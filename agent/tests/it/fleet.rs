//! A server for tests, faithful to Fleet's documented agent endpoints, over TLS on loopback.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, mpsc},
    thread,
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{Html, IntoResponse as _, Response},
    routing::{get, post},
};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use futures_util::stream;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_http::services::ServeFile;
use wire::signature::{Message, Received, receive};

pub(crate) const SECRET: &str = "enroll-secret-of-the-tests";

/// How the server behaves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Mood {
    Good,
    Status(u16),
    /// 503 with `Retry-After` in seconds.
    Busy(u64),
    /// A captive portal's page.
    Portal(u16),
    /// JSON that never ends.
    Huge,
    /// No answer within any test's patience.
    Silent,
    /// Accepts secrets, rejects all node keys.
    Forgetful,
    /// A byte now and then, and never an end.
    Drip,
}

/// What the server has seen and knows.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) mood: Mood,
    pub(crate) secret: String,
    pub(crate) flags: Value,
    /// The channels that devices are to follow, by component.
    pub(crate) channels: Value,
    /// osquery's extensions that devices are to have.
    pub(crate) extensions: Value,
    /// What osqueryds have answered.
    pub(crate) answers: Vec<Value>,
    /// For how many seconds devices are to log more.
    pub(crate) debug: Option<u32>,
    /// Bodies of all enroll requests, whatever the answer.
    pub(crate) enrolls: Vec<Value>,
    /// The keys shown by all config requests, whatever the answer.
    pub(crate) polls: Vec<String>,
    /// The keys of polls that were answered well.
    pub(crate) served: Vec<String>,
    pub(crate) user_agents: Vec<String>,
    /// Every key ever issued.
    pub(crate) issued: Vec<String>,
    /// The desktop tokens that were set, the last one good.
    pub(crate) tokens: Vec<String>,
    /// How often the device's page was asked for, whatever the answer.
    pub(crate) summaries: u32,
    /// What was reported of updates.
    pub(crate) updates: Vec<Value>,
    /// The folder at `/updates`, how it is served, and what was asked for and answered there.
    pub(crate) mirror: Mirror,
    /// How it answers what it is told beside enrolling and polling.
    pub(crate) aside: Mood,
    /// Each device's valid key, by hardware UUID and machine id.
    pub(crate) valid: BTreeMap<String, String>,
    /// The keys that devices enrolled with, as far as they have one, and how the requests since then were
    /// signed: when, if it was done right.
    pub(crate) device_keys: Vec<Option<String>>,
    pub(crate) signatures: Vec<(String, Option<Received>)>,
    /// The time that every answer tells, if it is not the server's own.
    pub(crate) date: Option<String>,
    /// The key that every device is told to replace its own with, until it is first used.
    pub(crate) next: Option<String>,
    /// Whether it lets osqueryd enroll with the node key.
    pub(crate) lends_node_keys: bool,
    /// The key of the last poll that told that osqueryd runs with that key.
    pub(crate) renewing: Option<String>,
}

/// The repository of updates as the server has it.
#[derive(Debug)]
pub(crate) struct Mirror {
    pub(crate) dir: PathBuf,
    pub(crate) mood: Mood,
    pub(crate) answers: Vec<(String, u16)>,
}

/// A running server, or one that is down for a while.
pub(crate) struct Fleet {
    pub(crate) address: SocketAddr,
    issuer: CertifiedIssuer<'static, KeyPair>,
    tls: RustlsConfig,
    memory: Arc<Mutex<Memory>>,
    running: Option<(Handle<SocketAddr>, thread::JoinHandle<()>)>,
}

impl Fleet {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| WebPkiClientVerifier::no_client_auth())
    }

    /// A server that serves only clients whose certificate its authority has issued.
    pub(crate) fn start_with_mutual_tls() -> Self {
        Self::start_with(|issuer| {
            let mut roots = RootCertStore::empty();
            roots.add(issuer.der().clone()).unwrap();
            WebPkiClientVerifier::builder(roots.into()).build().unwrap()
        })
    }

    fn start_with(
        verifier: impl FnOnce(&rcgen::Certificate) -> Arc<dyn ClientCertVerifier>,
    ) -> Self {
        // Tests run in one process; whoever comes first installs it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let issuer = authority();
        let (certificate, key) = leaf(&issuer);
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(verifier(issuer.as_ref()))
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut fleet = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            issuer,
            tls: RustlsConfig::from_config(Arc::new(config)),
            memory: Arc::new(Mutex::new(Memory::new())),
            running: None,
        };
        fleet.come_up();
        fleet
    }

    /// Listens: on any port at first, later on the same again.
    pub(crate) fn come_up(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.address = listener.local_addr().unwrap();
        let handle = Handle::new();
        let (app, tls, of_server) =
            (router(Arc::clone(&self.memory)), self.tls.clone(), handle.clone());
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = axum_server::from_tcp_rustls(listener, tls).unwrap();
                let listening = of_server.clone();
                tokio::spawn(async move {
                    listening.listening().await;
                    ready.send(()).unwrap();
                });
                server.handle(of_server).serve(app.into_make_service()).await.unwrap();
            });
        });
        is_ready.recv().unwrap();
        self.running = Some((handle, thread));
    }

    /// Closes the port and every connection.
    pub(crate) fn go_down(&mut self) {
        let (handle, thread) = self.running.take().unwrap();
        handle.shutdown();
        thread.join().unwrap();
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.memory().mood = mood;
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}/", self.address.port())
    }

    /// The authority's certificate in PEM.
    pub(crate) fn ca(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate and key in PEM that the server's authority has issued.
    pub(crate) fn issue(&self) -> (String, String) {
        leaf(&self.issuer)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some((handle, thread)) = self.running.take() {
            handle.shutdown();
            let _ = thread.join();
        }
    }
}

impl Memory {
    fn new() -> Self {
        Self {
            mood: Mood::Good,
            secret: SECRET.to_owned(),
            flags: json!({}),
            channels: json!({}),
            extensions: json!({}),
            answers: Vec::new(),
            debug: None,
            enrolls: Vec::new(),
            polls: Vec::new(),
            served: Vec::new(),
            user_agents: Vec::new(),
            issued: Vec::new(),
            tokens: Vec::new(),
            summaries: 0,
            updates: Vec::new(),
            mirror: Mirror { dir: PathBuf::new(), mood: Mood::Good, answers: Vec::new() },
            aside: Mood::Good,
            valid: BTreeMap::new(),
            date: None,
            device_keys: Vec::new(),
            signatures: Vec::new(),
            next: None,
            lends_node_keys: false,
            renewing: None,
        }
    }

    fn enroll(&mut self, body: &Value) -> Response {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let device = format!("{} {}", text("hardware_uuid"), text("machine_id"));
        self.device_keys.push(body["device_key"].as_str().map(str::to_owned));
        let admitted = text("enroll_secret") == self.secret;
        if !admitted {
            return refuse("invalid enroll secret");
        }
        let key = format!("{:032}-node-key", self.issued.len());
        self.issued.push(key.clone());
        self.valid.insert(device, key.clone());
        Json(json!({ "orbit_node_key": key })).into_response()
    }

    fn config(&mut self, key: String) -> Response {
        if self.next.as_ref() == Some(&key) {
            self.valid.values_mut().for_each(|valid| valid.clone_from(&key));
            self.next = None;
        }
        if self.mood == Mood::Forgetful || !self.valid.values().any(|valid| *valid == key) {
            return refuse("unknown node key");
        }
        self.served.push(key);
        // `notifications` is a field that this agent does not know.
        Json(json!({
            "command_line_startup_flags": self.flags,
            "update_channels": self.channels,
            "notifications": {},
            "orbit_node_key": self.next,
            "osqueryd_enrolls_with_node_key": self.lends_node_keys,
            "debug_for_seconds": self.debug,
            "extensions": self.extensions,
        }))
        .into_response()
    }
}

fn router(memory: Arc<Mutex<Memory>>) -> Router {
    let routes = Router::new()
        .route("/api/fleet/orbit/ping", get(ping))
        .route("/api/fleet/orbit/enroll", post(enroll))
        .route("/api/fleet/orbit/config", post(config))
        .route("/api/fleet/orbit/device_token", post(device_token))
        .route("/api/fleet/orbit/updates", post(updates))
        .route("/api/v1/osquery/{operation}", post(osquery))
        .route("/api/v1/osquery/distributed/{operation}", post(osquery))
        .route("/api/latest/fleet/device/{token}/desktop", get(summary))
        .route("/updates/{*path}", get(mirror));
    // The same below a path, as behind a reverse proxy.
    let routes = routes.clone().nest("/base", routes);
    routes
        .layer(from_fn_with_state(Arc::clone(&memory), note_signature))
        .layer(from_fn_with_state(Arc::clone(&memory), tell_date))
        .with_state(memory)
}

/// Notes how a request to orbit's endpoints is signed.
async fn note_signature(
    State(memory): State<Arc<Mutex<Memory>>>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() != "POST" {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let message = Message { method: "POST", path: parts.uri.path(), body: &body };
    let header = |name| parts.headers.get(name).map(|value| value.to_str().unwrap());
    let received = receive(&message, header).ok();
    memory.lock().unwrap().signatures.push((parts.uri.path().to_owned(), received));
    next.run(Request::from_parts(parts, body.into())).await
}

async fn tell_date(
    State(memory): State<Arc<Mutex<Memory>>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if let Some(date) = &memory.lock().unwrap().date {
        response.headers_mut().insert(header::DATE, date.parse().unwrap());
    }
    response
}

async fn ping(State(memory): State<Arc<Mutex<Memory>>>) -> Response {
    moody(&memory).await.unwrap_or_else(|| StatusCode::OK.into_response())
}

async fn enroll(
    State(memory): State<Arc<Mutex<Memory>>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let agent = headers[header::USER_AGENT].to_str().unwrap().to_owned();
    memory.lock().unwrap().user_agents.push(agent);
    memory.lock().unwrap().enrolls.push(body.clone());
    match moody(&memory).await {
        Some(answer) => answer,
        None => memory.lock().unwrap().enroll(&body),
    }
}

async fn config(State(memory): State<Arc<Mutex<Memory>>>, Json(body): Json<Value>) -> Response {
    let key = body["orbit_node_key"].as_str().unwrap_or_default().to_owned();
    memory.lock().unwrap().polls.push(key.clone());
    if body["osqueryd_renews"] == true {
        memory.lock().unwrap().renewing = Some(key.clone());
    }
    match moody(&memory).await {
        Some(answer) => answer,
        None => memory.lock().unwrap().config(key),
    }
}

async fn device_token(
    State(memory): State<Arc<Mutex<Memory>>>,
    Json(body): Json<Value>,
) -> Response {
    let mood = memory.lock().unwrap().aside.clone();
    if let Some(answer) = answer_by(mood).await {
        return answer;
    }
    let mut memory = memory.lock().unwrap();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    if !memory.valid.values().any(|valid| *valid == text("orbit_node_key")) {
        return refuse("unknown node key");
    }
    memory.tokens.push(text("device_auth_token"));
    Json(json!({})).into_response()
}

async fn updates(State(memory): State<Arc<Mutex<Memory>>>, Json(body): Json<Value>) -> Response {
    memory.lock().unwrap().updates.push(body);
    let mood = memory.lock().unwrap().aside.clone();
    answer_by(mood).await.unwrap_or_else(|| Json(json!({})).into_response())
}

/// osquery's side, as Fleet has it: 401 and `node_invalid` where osqueryd has to enroll again.
async fn osquery(
    State(memory): State<Arc<Mutex<Memory>>>,
    Path(operation): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    let mut memory = memory.lock().unwrap();
    let refused = || {
        let answer = json!({ "error": "not admitted", "node_invalid": true });
        (StatusCode::UNAUTHORIZED, Json(answer)).into_response()
    };
    let key = "a-node-key-of-osqueryd";
    if operation == "enroll" {
        let admitted = body["enroll_secret"] == memory.secret.as_str();
        return if admitted { Json(json!({ "node_key": key })).into_response() } else { refused() };
    }
    if body["node_key"] != key {
        return refused();
    }
    let answer = match operation.as_str() {
        "read" => json!({
            "queries": {
                "uuid": "SELECT uuid FROM system_info",
                "wrong": "SELECT nothing FROM nowhere",
                "elsewhere": "SELECT 1",
            },
            "discovery": {
                "uuid": "SELECT 1",
                "wrong": "SELECT 1",
                "elsewhere": "SELECT 1 FROM os_version WHERE platform = 'darwin'",
            },
        }),
        "write" => {
            memory.answers.push(body);
            json!({})
        }
        _ => json!({}),
    };
    Json(answer).into_response()
}

async fn summary(State(memory): State<Arc<Mutex<Memory>>>, Path(token): Path<String>) -> Response {
    let mut memory = memory.lock().unwrap();
    memory.summaries += 1;
    if memory.tokens.last() != Some(&token) {
        return refuse("unknown token");
    }
    let at = "2026-03-01T12:00:00Z";
    Json(json!({
        "hostname": "laptop", "computer_name": "", "platform": "debian", "os_version": "Debian 12",
        "hardware_serial": "", "hardware_model": "", "orbit_version": "1.2.3",
        "osquery_version": "", "status": "online", "enrolled_at": at, "last_seen_at": at,
    }))
    .into_response()
}

async fn mirror(
    State(memory): State<Arc<Mutex<Memory>>>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    let (file, mood) = {
        let mirror = &memory.lock().unwrap().mirror;
        (mirror.dir.join(&path), mirror.mood.clone())
    };
    let answer = match answer_by(mood).await {
        Some(answer) => answer,
        None => ServeFile::new(file).oneshot(request).await.unwrap().into_response(),
    };
    memory.lock().unwrap().mirror.answers.push((path, answer.status().as_u16()));
    answer
}

async fn moody(memory: &Mutex<Memory>) -> Option<Response> {
    let mood = memory.lock().unwrap().mood.clone();
    answer_by(mood).await
}

/// The answer of a server in this mood; none: a good one.
async fn answer_by(mood: Mood) -> Option<Response> {
    match mood {
        Mood::Good | Mood::Forgetful => None,
        Mood::Status(status) => Some(StatusCode::from_u16(status).unwrap().into_response()),
        Mood::Busy(after) => {
            let headers = [(header::RETRY_AFTER, after.to_string())];
            Some((StatusCode::SERVICE_UNAVAILABLE, headers).into_response())
        }
        Mood::Portal(status) => {
            let page = Html("<!DOCTYPE html><title>Sign in to the hotel's Wi-Fi</title>");
            Some((StatusCode::from_u16(status).unwrap(), page).into_response())
        }
        Mood::Huge => Some(Json(json!({ "orbit_node_key": "x".repeat(3 << 20) })).into_response()),
        Mood::Drip => {
            let drops = stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
            });
            Some(Body::from_stream(drops).into_response())
        }
        Mood::Silent => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            None
        }
    }
}

/// Fleet's refusal on orbit's endpoints: 401 and JSON, without `node_invalid`.
fn refuse(reason: &str) -> Response {
    (StatusCode::UNAUTHORIZED, Json(json!({ "error": reason }))).into_response()
}

/// A fresh certificate authority.
pub(crate) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    // OpenSSL takes a certificate for one that has signed itself if it is called as its issuer is.
    params.distinguished_name.push(rcgen::DnType::CommonName, "authority of the tests");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(issuer: &CertifiedIssuer<'static, KeyPair>) -> (String, String) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(names).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    (certificate.pem(), key.serialize_pem())
}
