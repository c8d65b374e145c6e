//! Passwords that are known from breaches: by a stand-in for the service that knows them, which keeps
//! what it was told, and by a file.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use server::{
    Config,
    config::{BreachList, Mail, OnFailure, Period},
};
use wire::Role;

use crate::{
    accounts::{mails, token},
    harness::{PASSWORD, Reply, TestServer},
};

crate::on_both_databases! {
    a_breached_password_is_refused_wherever_one_is_set_and_five_characters_are_told,
    a_service_that_does_not_answer_lets_passwords_in_or_keeps_them_out,
    a_file_is_asked_without_a_network,
}

/// Whose digest begins like no other one's here.
const BREACHED: &str = "Breached walrus, 7 ledgers";
/// Its SHA-1, by `sha1sum`.
const DIGEST: &str = "FFCC3898C5205B0C7A6DE35D66E1B426A2B112D8";

/// How the service answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Good,
    Refuses,
    SaysSomethingElse,
    LeadsElsewhere,
    IsSilent,
}

/// A service on a port of its own, and what it was asked.
struct Service {
    url: String,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Service {
    async fn start() -> Self {
        let (mood, asked) = (Arc::new(Mutex::new(Mood::Good)), Arc::default());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/range/", listener.local_addr().unwrap());
        let answered = (Arc::clone(&mood), Arc::clone(&asked));
        let app = Router::new().fallback(move |request: Request| answer(answered.clone(), request));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, mood, asked }
    }

    fn list(&self, on_failure: OnFailure, timeout: &str) -> BreachList {
        let (url, timeout) = (self.url.parse().ok(), timeout.parse::<Period>().unwrap());
        BreachList { file: None, url, timeout, on_failure }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

type Answered = (Arc<Mutex<Mood>>, Arc<Mutex<Vec<String>>>);

async fn answer((mood, asked): Answered, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut told = format!("{} {} {body:?}", parts.method, parts.uri);
    for (name, value) in &parts.headers {
        told.push_str(&format!("\n{name}: {}", value.to_str().unwrap()));
    }
    asked.lock().unwrap().push(told);
    let mood = *mood.lock().unwrap();
    let rest = DIGEST[5..].to_lowercase();
    let padding = format!("{}:0\r\n", "0".repeat(35));
    match mood {
        // Every prefix has the same rests: what was told does not decide.
        Mood::Good => format!("{padding}{rest}:17\r\n{}:2", "1".repeat(35)).into_response(),
        Mood::Refuses => StatusCode::TOO_MANY_REQUESTS.into_response(),
        Mood::SaysSomethingElse => "<html>Sign in to the hotel's network</html>".into_response(),
        Mood::LeadsElsewhere => (StatusCode::FOUND, [("location", "/elsewhere")]).into_response(),
        Mood::IsSilent => std::future::pending().await,
    }
}

#[track_caller]
fn refused(reply: &Reply) {
    let problem = reply.expect(422).problem("invalid-fields").json();
    let rules: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|it| &it["rule"]).collect();
    assert_eq!(rules, ["breached"], "{problem}");
}

/// Rows: W3
async fn a_breached_password_is_refused_wherever_one_is_set_and_five_characters_are_told(
    server: TestServer,
) {
    let service = Service::start().await;
    let server = TestServer::start_with(server.engine, |config| {
        config.auth.registration = true;
        config.mail = Some(Mail {
            from: "Fleet <fleet@example.com>".to_owned(),
            smtp: None,
            directory: Some(config.data_dir.join("mail")),
        });
        config.auth.password.breached = Some(service.list(OnFailure::Refuse, "10s"));
    })
    .await;
    let post = async |path: &str, body: Value| server.post(path).json(body).await;
    let code = server.fleet.new_setup_code().await.unwrap().unwrap();
    let set_up = json!({"setup_code": code.0, "email": "owner@example.com", "name": "Owner",
                        "password": BREACHED, "organization": "Acme"});
    refused(&post("/auth/register", set_up).await);
    let owner = server.owner().await;
    service.asked();

    let new = json!({"email": "a@x.org", "name": "A", "role": "viewer", "password": BREACHED});
    refused(&server.post("/users").by(&owner).json(new).await);
    let wish = json!({"email": "b@x.org", "name": "B", "password": BREACHED, "organization": "O"});
    refused(&post("/auth/register", wish).await);
    let change = json!({"current_password": PASSWORD, "new_password": BREACHED});
    refused(&server.post("/auth/password").by(&owner).json(change).await);
    post("/auth/forgot-password", json!({"email": owner.email})).await.expect(202);
    let reset = token(mails(&server).await.last().unwrap());
    refused(&post("/auth/reset-password", json!({"token": reset, "new_password": BREACHED})).await);
    let invited = json!({"email": "c@x.org", "role": "viewer"});
    server.post("/invitations").by(&owner).json(invited).await.expect(201);
    let invitation = token(mails(&server).await.last().unwrap());
    let accept = json!({"token": invitation, "name": "C", "password": BREACHED});
    refused(&post("/auth/accept-invitation", accept).await);

    let asked = service.asked();
    assert_eq!(asked.len(), 5, "{asked:?}");
    let first = format!("GET /range/{} b\"\"\n", &DIGEST[..5]);
    for told in &asked {
        assert!(told.starts_with(&first) && told.contains("\nadd-padding: true"), "{told}");
        assert!(!told.to_uppercase().contains(&DIGEST[..6]), "{told}");
        assert!(!told.contains("walrus") && !told.contains("example.com"), "{told}");
    }
    // What is refused anyway is told to nobody; what is counted zero times is padding.
    let short = json!({"email": "a@x.org", "name": "A", "role": "viewer", "password": "password"});
    server.post("/users").by(&owner).json(short).await.expect(422);
    assert_eq!(service.asked(), [""; 0]);
    server.add_user(&owner, "good@x.org", Role::Viewer).await;
    assert_eq!(service.asked().len(), 1);
}

/// Rows: W3
async fn a_service_that_does_not_answer_lets_passwords_in_or_keeps_them_out(server: TestServer) {
    let service = Service::start().await;
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let moods = [Mood::Refuses, Mood::SaysSomethingElse, Mood::LeadsElsewhere, Mood::IsSilent];
    let owner = server.owner().await;
    for on_failure in [OnFailure::Allow, OnFailure::Refuse] {
        let check = async |mood: Option<Mood>, list: BreachList| {
            let with = |config: &mut Config| config.auth.password.breached = Some(list);
            let node = server.second_node_with(with).await;
            let email = format!("{mood:?}{on_failure:?}@x.org");
            let new = json!({"email": email, "name": "A", "role": "viewer", "password": BREACHED});
            let reply = node.post("/users").by(&owner).json(new).await;
            if on_failure == OnFailure::Allow {
                reply.expect(201);
            } else {
                assert!(reply.expect(503).problem("busy").header("retry-after").is_some());
            }
        };
        for mood in moods {
            *service.mood.lock().unwrap() = mood;
            let timeout = if mood == Mood::IsSilent { "50ms" } else { "10s" };
            check(Some(mood), service.list(on_failure, timeout)).await;
        }
        let url = format!("http://{closed}/range/").parse().ok();
        check(None, BreachList { url, ..service.list(on_failure, "10s") }).await;
    }
    let asked = service.asked();
    assert!(asked.iter().all(|told| told.starts_with("GET /range/")), "no redirect is followed");
}

/// Rows: W3
async fn a_file_is_asked_without_a_network(server: TestServer) {
    let file = camino::Utf8PathBuf::from_path_buf(server.dir.path().join("list")).unwrap();
    let line = |digest: &str| format!("{digest}:3\r\n");
    let lines = [line(&"0".repeat(40)), line(DIGEST), line(&"F".repeat(40))];
    std::fs::write(&file, lines.concat()).unwrap();
    let owner = server.owner().await;
    let list = |on_failure| {
        let (file, timeout) = (Some(file.clone()), Period::seconds(1));
        move |config: &mut Config| {
            config.auth.password.breached =
                Some(BreachList { file, url: None, timeout, on_failure });
        }
    };
    let node = server.second_node_with(list(OnFailure::Refuse)).await;
    let add = async |node: &TestServer, email: &str| {
        let new = json!({"email": email, "name": "A", "role": "viewer", "password": BREACHED});
        node.post("/users").by(&owner).json(new).await
    };
    refused(&add(&node, "a@x.org").await);
    node.add_user(&owner, "good@x.org", Role::Viewer).await;
    add(&server, "off@x.org").await.expect(201);
    std::fs::write(&file, "no list at all\n").unwrap();
    add(&node, "b@x.org").await.expect(503).problem("busy");
    let node = server.second_node_with(list(OnFailure::Allow)).await;
    add(&node, "b@x.org").await.expect(201);
}
