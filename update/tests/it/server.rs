//! A loopback server of a directory that counts what is asked for and can misbehave.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use camino::Utf8PathBuf;
use futures_util::{StreamExt as _, stream};
use tokio::task::JoinHandle;
use update::Location;

/// How a path is answered instead of with its file.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Bytes without end.
    Endless,
    /// A `Content-Length` that is not kept: these bytes, then the connection closes.
    CutOff(Vec<u8>),
    /// This status.
    Status(StatusCode),
    /// These bytes, and then nothing more, without an end.
    Stalled(Vec<u8>),
    /// A byte now and then, without an end.
    Drip,
}

#[derive(Debug)]
struct Shared {
    dir: Mutex<Utf8PathBuf>,
    answers: Mutex<BTreeMap<String, Answer>>,
    requests: Mutex<Vec<String>>,
    ranges: Mutex<Vec<String>>,
}

/// Stops when dropped.
pub(crate) struct Server {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(dir: impl Into<Utf8PathBuf>) -> Self {
        let (shared, app) = app(dir.into());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, shared, task }
    }

    /// The same over TLS.
    pub(crate) fn start_tls(dir: impl Into<Utf8PathBuf>, tls: rustls::ServerConfig) -> Self {
        let (shared, app) = app(dir.into());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let tls = axum_server::tls_rustls::RustlsConfig::from_config(Arc::new(tls));
        let server = axum_server::from_tcp_rustls(listener, tls).unwrap();
        let task =
            tokio::spawn(async move { server.serve(app.into_make_service()).await.unwrap() });
        Self { url, shared, task }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn location(&self) -> Location {
        self.url.parse().unwrap()
    }

    /// Serves another directory from now on.
    pub(crate) fn switch_to(&self, dir: impl Into<Utf8PathBuf>) {
        *self.shared.dir.lock().unwrap() = dir.into();
    }

    /// Answers `path` this way from now on.
    pub(crate) fn answer(&self, path: &str, answer: Answer) {
        self.shared.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// Answers `path` from the directory again.
    pub(crate) fn forget(&self, path: &str) {
        self.shared.answers.lock().unwrap().remove(path);
    }

    /// The ranges asked for since the last call.
    pub(crate) fn take_ranges(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.ranges.lock().unwrap())
    }

    /// The paths asked for since the last call.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.requests.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn app(dir: Utf8PathBuf) -> (Arc<Shared>, Router) {
    let shared = Arc::new(Shared {
        dir: Mutex::new(dir),
        answers: Mutex::default(),
        requests: Mutex::default(),
        ranges: Mutex::default(),
    });
    let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
    (shared, app)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    shared.requests.lock().unwrap().push(path.clone());
    let header = |name| request.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
    let range = header(header::RANGE);
    shared.ranges.lock().unwrap().extend(range.clone());
    let answer = shared.answers.lock().unwrap().get(&path).cloned();
    match answer {
        Some(Answer::Bytes(bytes)) => bytes.into_response(),
        Some(Answer::Status(status)) => status.into_response(),
        Some(Answer::Endless) => endless().into_response(),
        Some(Answer::Stalled(bytes)) => {
            let sent = stream::once(async move { Ok::<_, std::io::Error>(Bytes::from(bytes)) });
            Body::from_stream(sent.chain(stream::pending())).into_response()
        }
        Some(Answer::Drip) => drip().into_response(),
        Some(Answer::CutOff(bytes)) => {
            let promised = bytes.len() + 100;
            // What comes before the end is sent before the end is known.
            let sent = stream::once(async move { Ok(Bytes::from(bytes)) });
            let end = stream::once(async {
                tokio::task::yield_now().await;
                Err(std::io::Error::other("cut off"))
            });
            let body = Body::from_stream(sent.chain(end));
            ([(header::CONTENT_LENGTH, promised)], body).into_response()
        }
        None => match fs::read(shared.dir.lock().unwrap().join(path)) {
            Ok(bytes) => file(bytes, header(header::IF_NONE_MATCH), range),
            Err(_) => StatusCode::NOT_FOUND.into_response(),
        },
    }
}

/// As a web server has it: with an entity tag, and from the middle if somebody asks.
fn file(bytes: Vec<u8>, known: Option<String>, range: Option<String>) -> Response {
    let tag = format!("\"{}-{}\"", bytes.len(), bytes.iter().map(|it| u64::from(*it)).sum::<u64>());
    if known.as_ref() == Some(&tag) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let from = range.and_then(|it| it.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    match from {
        None => ([(header::ETAG, tag)], bytes).into_response(),
        Some(from) if from < bytes.len() => {
            let told = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            let status = StatusCode::PARTIAL_CONTENT;
            (status, [(header::CONTENT_RANGE, told)], bytes[from..].to_vec()).into_response()
        }
        Some(_) => StatusCode::RANGE_NOT_SATISFIABLE.into_response(),
    }
}

fn drip() -> Body {
    let drops = stream::unfold((), |()| async {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
    });
    Body::from_stream(drops)
}

fn endless() -> Body {
    let chunk = Bytes::from_static(&[b'x'; 4096]);
    Body::from_stream(stream::repeat_with(move || Ok::<_, std::convert::Infallible>(chunk.clone())))
}
