//! A server that knows just enough of `wire::api` to be talked to, and counts what it is asked.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
};

use axum::{
    Json, Router,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{delete, get, post},
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

const ID: &str = "01900000-0000-7000-8000-000000000000";
const PASSWORD: &str = "correct horse";
pub(crate) const API_KEY: &str = "fleetd_pk_live_key";

/// What the server remembers.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How often a device code was asked for.
    pub(crate) polls: u32,
    /// How many token pairs were given; the last is the only one that works.
    pub(crate) tokens: u32,
    pub(crate) refreshes: u32,
    /// Whether a refresh token was presented twice, which ends the session.
    pub(crate) reused: bool,
    /// Requests as `METHOD path?query`.
    pub(crate) requests: Vec<String>,
    /// Bodies of what was created.
    pub(crate) created: Vec<Value>,
}

/// A server on a port of its own; it ends with the value.
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Seen>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::serving(Router::new())
    }

    /// The server with some routes besides its own.
    pub(crate) fn serving(more: Router) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let app = app(Arc::clone(&seen)).merge(more);
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let server = axum::serve(listener, app);
                tokio::select! { _ = server => {}, _ = stopped => {} }
            });
        });
        Self { url: format!("http://{address}"), seen, stop: Some(stop) }
    }

    pub(crate) fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }
}

type Memory = State<Arc<Mutex<Seen>>>;

fn app(seen: Arc<Mutex<Seen>>) -> Router {
    Router::new()
        .route("/devices", get(devices))
        .route("/teams", get(|| async { Json(json!({ "items": [] })) }))
        .route("/api-keys", post(create))
        .route("/roles", get(forbidden))
        .route("/devices/{id}", delete(|Path(_): Path<String>| async { StatusCode::NO_CONTENT }))
        .route("/auth/logout", post(|| async { StatusCode::NO_CONTENT }))
        .layer(middleware::from_fn_with_state(Arc::clone(&seen), signed_in))
        .route("/auth/login", post(login))
        .route("/auth/register", post(login))
        .route("/auth/refresh", post(refresh))
        .route("/auth/device/code", post(device_code))
        .route("/auth/device/token", post(device_token))
        .with_state(seen)
}

async fn signed_in(
    State(seen): Memory,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
    let admitted = {
        let mut seen = seen.lock().unwrap();
        seen.requests.push(format!("{} {}", request.method(), request.uri()));
        let access = format!("Bearer access-{}", seen.tokens);
        bearer == Some(access.as_str()) || bearer == Some(&format!("Bearer {API_KEY}"))
    };
    if admitted { next.run(request).await } else { problem(401, "sign in") }
}

/// 250 devices, a hundred a page, whatever was asked for.
async fn devices(Query(query): Query<BTreeMap<String, String>>) -> Response {
    let after: usize = query.get("after").map_or(0, |after| after.parse().unwrap());
    let until = (after + 100).min(250);
    let items: Vec<_> = (after..until).map(device).collect();
    let next = (until < 250).then(|| until.to_string());
    Json(json!({ "items": items, "next": next })).into_response()
}

fn device(number: usize) -> Value {
    let name = match number {
        0 => "evil\u{1b}]0;title\u{7}".to_owned(),
        1 | 2 => "twin".to_owned(),
        _ => format!("laptop-{number}"),
    };
    json!({
        "id": format!("01900000-0000-7000-8000-{number:012}"), "hostname": name,
        "computer_name": "", "platform": "debian", "platform_like": "debian",
        "os_version": "Debian 12", "cpu_type": "x86_64", "hardware_uuid": "", "hardware_serial": "",
        "hardware_model": "", "orbit_version": "1.2.3", "osquery_version": "", "status": "online",
        "enrolled_at": "2026-01-01T00:00:00Z", "last_seen_at": "2026-01-01T00:00:00Z",
    })
}

async fn create(State(seen): Memory, Json(body): Json<Value>) -> Response {
    let created = json!({
        "id": ID, "name": body["name"], "prefix": "fleetd_pk_live_", "last4": "abcd",
        "scopes": body["scopes"], "created_by": ID, "created_at": "2026-01-01T00:00:00Z",
        "key": API_KEY,
    });
    seen.lock().unwrap().created.push(body);
    (StatusCode::CREATED, Json(created)).into_response()
}

async fn forbidden() -> Response {
    problem(403, "you are a viewer")
}

async fn login(State(seen): Memory, Json(body): Json<Value>) -> Response {
    if body["password"] != PASSWORD {
        return problem(401, "the password is wrong");
    }
    tokens(&mut seen.lock().unwrap())
}

/// A code that is to be asked for without a pause.
async fn device_code() -> Response {
    Json(json!({
        "device_code": "for-the-program", "user_code": "WDJB-MJHT", "expires_in": 600,
        "interval": 0, "verification_uri": "http://elsewhere.example/x",
        "verification_uri_complete": "http://elsewhere.example/x?user_code=WDJB-MJHT",
    }))
    .into_response()
}

/// Nobody has approved the first time, and somebody the second; the third code was refused.
async fn device_token(State(seen): Memory, Json(body): Json<Value>) -> Response {
    assert_eq!(body, json!({ "device_code": "for-the-program" }));
    let mut seen = seen.lock().unwrap();
    seen.polls += 1;
    let refused = |error: &str| {
        let problem =
            json!({ "type": "/problems/x", "title": "No", "status": 400, "error": error });
        (StatusCode::BAD_REQUEST, Json(problem)).into_response()
    };
    match seen.polls {
        1 => refused("authorization_pending"),
        2 => tokens(&mut seen),
        _ => refused("access_denied"),
    }
}

async fn refresh(State(seen): Memory, Json(body): Json<Value>) -> Response {
    let mut seen = seen.lock().unwrap();
    if body["refresh_token"] != format!("refresh-{}", seen.tokens) {
        seen.reused = true;
        return problem(401, "the session has ended");
    }
    seen.refreshes += 1;
    tokens(&mut seen)
}

fn tokens(seen: &mut Seen) -> Response {
    seen.tokens += 1;
    let number = seen.tokens;
    Json(json!({
        "access_token": format!("access-{number}"), "refresh_token": format!("refresh-{number}"),
        "token_type": "Bearer", "expires_in": 900,
        "user": {
            "id": ID, "email": "ann@example.com", "name": "Ann", "org_id": ID,
            "organization": "Example", "role": "owner", "permissions": [],
        },
    }))
    .into_response()
}

pub(crate) fn problem(status: u16, detail: &str) -> Response {
    let body = json!({
        "type": "/problems/x", "title": "No", "status": status, "detail": detail,
        "instance": "/requests/r-1", "errors": [{ "pointer": "/name", "detail": "it is taken" }],
    });
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}
