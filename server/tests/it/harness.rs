//! A server per test, with a clock set by hand, spoken to through its router.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Request, StatusCode},
    response::Response,
};
use camino::Utf8PathBuf;
use jiff::SignedDuration;
use serde_json::{Value, json};
use server::{
    Clock, Config, Fleet, app,
    clock::ManualClock,
    config::{Secret, auth::Algorithm},
};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, any::AnyRow};
use tempfile::TempDir;
use tower::ServiceExt as _;
use wire::Role;

use crate::{
    accounts,
    postgres::{Cluster, owner_of},
};

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// Runs `async fn name(server: TestServer)` on both databases.
#[macro_export]
macro_rules! on_both_databases {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[test]
            fn $name() {
                $crate::harness::run($crate::harness::Engine::Sqlite, super::$name);
            })*
        }
        mod postgres {
            $(#[test]
            fn $name() {
                $crate::harness::run($crate::harness::Engine::Postgres, super::$name);
            })*
        }
    };
}

pub(crate) fn run<F: Future<Output = ()>>(engine: Engine, test: impl FnOnce(TestServer) -> F) {
    runtime().block_on(async { test(TestServer::start(engine).await).await });
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

pub(crate) const PASSWORD: &str = "Copper walrus, 7 ledgers";

pub(crate) struct TestServer {
    pub(crate) fleet: Fleet,
    pub(crate) clock: ManualClock,
    pub(crate) engine: Engine,
    pub(crate) database: String,
    pub(crate) dir: Arc<TempDir>,
    app: Router,
}

impl TestServer {
    pub(crate) async fn start(engine: Engine) -> Self {
        Self::start_with(engine, |_| {}).await
    }

    pub(crate) async fn start_with(engine: Engine, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("data")).unwrap();
        let mut config = Config::in_dir(path);
        // A key of RSA takes longer to make than most tests do.
        config.auth.jwt.alg = Algorithm::EdDSA;
        // Tests send more from one address than people do; those of limits set them.
        let limits = &mut config.limits;
        limits.anonymous_requests_per_minute = 1_000_000;
        limits.requests_per_minute = 1_000_000;
        limits.refreshes_per_minute = 1_000_000;
        limits.login_attempts_per_network = 1_000_000;
        limits.sign_in_requests_per_minute = 1_000_000;
        if engine == Engine::Postgres {
            let url = Cluster::shared().new_database().await;
            config.database.migrate_url = Some(Secret::new(owner_of(&url)));
            config.database.url = Secret::new(url);
        }
        // The router believes that TLS ended here; nothing reads the files.
        let (certificate, key) = ("server.pem".into(), "server.key".into());
        config.tls = Some(server::config::Tls { certificate, key, ..Default::default() });
        change(&mut config);
        let database = config.database.url.expose().to_owned();
        let clock = ManualClock::at("2026-03-01T12:00:00Z".parse().unwrap());
        let fleet = Fleet::open(config, Clock::Manual(clock.clone())).await.unwrap();
        let app = app(fleet.clone());
        Self { fleet, clock, engine, database, dir: Arc::new(dir), app }
    }

    /// Another process's server on the same database, by the same clock.
    pub(crate) async fn second_node(&self) -> Self {
        self.second_node_with(|_| {}).await
    }

    /// The same, configured otherwise.
    pub(crate) async fn second_node_with(&self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.fleet.config().clone();
        change(&mut config);
        let fleet = Fleet::open(config, Clock::Manual(self.clock.clone())).await.unwrap();
        let app = app(fleet.clone());
        let (clock, database, dir) = (self.clock.clone(), self.database.clone(), self.dir.clone());
        Self { fleet, clock, engine: self.engine, database, dir, app }
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    pub(crate) fn post(&self, path: &str) -> Call {
        self.call("POST", path)
    }

    pub(crate) fn delete(&self, path: &str) -> Call {
        self.call("DELETE", path)
    }

    pub(crate) fn call(&self, method: &str, path: &str) -> Call {
        let request = Request::builder().method(method).uri(path);
        let from = "192.0.2.1".parse().unwrap();
        Call { app: self.app.clone(), request, body: Body::empty(), from }
    }

    /// Sets the server up and signs its owner in.
    pub(crate) async fn owner(&self) -> Person {
        let code = self.fleet.new_setup_code().await.unwrap().expect("nobody exists yet");
        let reply = self
            .post("/auth/register")
            .json(json!({
                "setup_code": code.0, "email": "owner@example.com", "name": "Owner",
                "password": PASSWORD, "organization": "Acme", "client": "cli"
            }))
            .await;
        reply.expect(201);
        Person::from(&reply.json())
    }

    /// Adds a person with `role` and signs them in.
    pub(crate) async fn person(&self, owner: &Person, role: Role) -> Person {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let email = format!("{role}{}@example.com", NEXT.fetch_add(1, Ordering::SeqCst));
        self.add_user(owner, &email, role).await;
        self.login(&email).await
    }

    /// Adds a person with `role`, who accepts if they are invited.
    pub(crate) async fn add_user(&self, owner: &Person, email: &str, role: Role) {
        let new = json!({"email": email, "name": "Somebody", "role": role, "password": PASSWORD});
        let added = self.post("/users").by(owner).json(new).await;
        if added.status == 201 {
            return;
        }
        let invited = added.expect(202).json();
        let token = match invited["token"].as_str() {
            Some(token) => token.to_owned(),
            None => accounts::token(accounts::mails(self).await.last().unwrap()),
        };
        let accept = json!({"token": token, "name": "Somebody", "password": PASSWORD});
        self.post("/auth/accept-invitation").json(accept).await.expect(204);
    }

    pub(crate) async fn login(&self, email: &str) -> Person {
        let login = json!({"email": email, "password": PASSWORD, "client": "cli"});
        let reply = self.post("/auth/login").json(login).await;
        reply.expect(200);
        Person::from(&reply.json())
    }

    /// Another organization with its owner, signed in.
    pub(crate) async fn other_organization(&self) -> Person {
        let owner = wire::api::NewUser {
            email: "other@example.org".to_owned(),
            name: "Other".to_owned(),
            role: Role::Owner.into(),
            password: wire::api::Hidden(PASSWORD.to_owned()),
        };
        self.fleet.found_organization("Other", owner).await.unwrap();
        self.login("other@example.org").await
    }

    /// Makes an enroll secret and tells its id and value.
    pub(crate) async fn secret(&self, by: &Person, more: Value) -> (String, String) {
        let mut new = json!({"name": "test"});
        for (name, value) in more.as_object().unwrap() {
            new[name] = value.clone();
        }
        let reply = self.post("/enroll-secrets").by(by).json(new).await;
        reply.expect(201);
        let made = reply.json();
        (text(&made, "id"), text(&made, "secret"))
    }

    /// Enrolls an orbit and gives the reply.
    pub(crate) async fn enroll(&self, secret: &str, device: Value) -> Reply {
        let mut request = device;
        request["enroll_secret"] = secret.into();
        self.post("/api/fleet/orbit/enroll").json(request).await
    }

    /// Enrolls an osqueryd and gives the reply.
    pub(crate) async fn enroll_osquery(&self, secret: &str, identifier: &str) -> Reply {
        let request = json!({"enroll_secret": secret, "host_identifier": identifier});
        self.post("/api/osquery/enroll").json(request).await
    }

    /// Whether a node key is still good.
    pub(crate) async fn orbit_works(&self, key: &str) -> bool {
        let reply = self.post("/api/fleet/orbit/config").json(json!({"orbit_node_key": key})).await;
        assert!([200, 401].contains(&reply.status.as_u16()), "{reply:?}");
        reply.status == 200
    }

    /// Does to the database what no route does, unbound by row-level security.
    pub(crate) async fn sql(&self, sql: &str) -> Vec<AnyRow> {
        let mut connection = self.connection().await;
        sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap()
    }

    /// A connection like that of [`TestServer::sql`], for what takes several statements.
    pub(crate) async fn connection(&self) -> AnyConnection {
        match self.engine {
            Engine::Sqlite => AnyConnection::connect(&self.database).await.unwrap(),
            Engine::Postgres => {
                let name = self.database.split(['/', '?']).nth(3).unwrap();
                let url = Cluster::shared().url("postgres", name);
                AnyConnection::connect(&url).await.unwrap()
            }
        }
    }

    pub(crate) async fn devices(&self, by: &Person) -> Vec<Value> {
        let reply = self.get("/devices?limit=500").by(by).await;
        reply.expect(200);
        reply.json()["items"].as_array().unwrap().clone()
    }
}

/// Somebody who signed in.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl From<&Value> for Person {
    fn from(tokens: &Value) -> Self {
        Self {
            id: text(&tokens["user"], "id"),
            email: text(&tokens["user"], "email"),
            access: text(tokens, "access_token"),
            refresh: text(tokens, "refresh_token"),
        }
    }
}

/// A request being put together; awaiting it sends it.
pub(crate) struct Call {
    app: Router,
    request: axum::http::request::Builder,
    body: Body,
    from: IpAddr,
}

impl Call {
    pub(crate) fn by(self, person: &Person) -> Self {
        self.bearer(&person.access)
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub(crate) fn from(mut self, address: &str) -> Self {
        self.from = address.parse().unwrap();
        self
    }

    pub(crate) fn json(self, body: Value) -> Self {
        self.header("content-type", "application/json").bytes(body.to_string())
    }

    pub(crate) fn bytes(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }
}

impl Call {
    /// Sends it and gives what comes back before its body ends.
    pub(crate) async fn open(self) -> Response {
        let mut request = self.request.body(self.body).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(self.from, 40_000)));
        self.app.oneshot(request).await.unwrap()
    }
}

impl IntoFuture for Call {
    type Output = Reply;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (parts, body) = self.open().await.into_parts();
            let body = to_bytes(body, 64 << 20).await.unwrap().to_vec();
            Reply { status: parts.status, headers: parts.headers, body }
        })
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// Expects a problem of that name.
    #[track_caller]
    pub(crate) fn problem(&self, name: &str) -> &Self {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{name}"), "{problem}");
        assert_eq!(problem["status"], self.status.as_u16());
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// A text field of the reply.
    #[track_caller]
    pub(crate) fn text(&self, field: &str) -> String {
        text(&self.json(), field)
    }
}

#[track_caller]
pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no text `{field}` in {value}")).to_owned()
}

/// A device as orbit describes it.
pub(crate) fn machine(uuid: &str) -> Value {
    json!({"hardware_uuid": uuid, "hostname": format!("host-{uuid}"), "platform": "debian"})
}
