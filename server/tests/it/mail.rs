//! Mail through SMTP, to a mail server of other people's (aiosmtpd).

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use server::config::{Mail, Smtp, SmtpTls};

use crate::harness::{Engine, TestServer, runtime};

/// A mail server; it ends with the value.
struct Sink {
    child: Child,
    output: BufReader<ChildStdout>,
    port: u16,
    authority: Utf8PathBuf,
}

impl Sink {
    #[expect(
        clippy::disallowed_methods,
        reason = "the mail server is a Python program of Debian's"
    )]
    fn start(mode: &str, dir: &Utf8Path) -> Self {
        let hosts = ["localhost".to_owned()];
        let tls = dir.join("smtp-tls");
        let files = server::certificate::make(&tls, &hosts, &server::Clock::System).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/smtp_sink.py");
        let mut child = Command::new("/usr/bin/python3")
            .args([script, mode, files.certificate.as_str(), files.key.as_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 and python3-aiosmtpd are installed");
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        output.read_line(&mut port).unwrap();
        let port = port.trim().parse().expect("python3-aiosmtpd is installed");
        Self { child, output, port, authority: files.authority }
    }

    fn smtp(&self, tls: SmtpTls) -> Smtp {
        Smtp {
            host: "localhost".to_owned(),
            port: Some(self.port),
            tls,
            username: Some("fleet".to_owned()),
            password: Some(server::config::Secret::new("mail-secret")),
            ca: Some(self.authority.clone()),
        }
    }

    /// The next mail; waits for it.
    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

async fn mailing(smtp: Smtp) -> TestServer {
    TestServer::start_with(Engine::Sqlite, |config| {
        config.mail = Some(Mail {
            from: "Fleet <fleet@example.com>".to_owned(),
            smtp: Some(smtp),
            directory: None,
        });
    })
    .await
}

fn dir() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

async fn forget(server: &TestServer) {
    let owner = server.owner().await;
    let forgot = json!({"email": owner.email});
    server.post("/auth/forgot-password").json(forgot).await.expect(202);
}

/// Rows: E6
#[test]
fn mail_goes_over_starttls_with_a_password() {
    let (_dir, path) = dir();
    let mut sink = Sink::start("starttls", &path);
    runtime().block_on(async {
        let server = mailing(sink.smtp(SmtpTls::Starttls)).await;
        forget(&server).await;
        let delivery = server.fleet.deliver_mail().await.unwrap();
        assert_eq!((delivery.sent, delivery.postponed), (1, 0));
    });
    let mail = sink.next();
    assert_eq!(mail["from"], "fleet@example.com");
    assert_eq!(mail["to"], json!(["owner@example.com"]));
    assert_eq!((&mail["tls"], &mail["user"]), (&json!(true), &json!("fleet")));
    let text = mail["text"].as_str().unwrap();
    assert!(text.contains("Subject: Set another password"), "{text}");
    assert!(text.contains("From: Fleet <fleet@example.com>"), "{text}");
}

#[test]
fn nothing_is_sent_where_there_is_no_starttls_or_another_certificate() {
    let (_dir, path) = dir();
    for mode in ["plain", "starttls"] {
        let sink = Sink::start(mode, &path.join(mode));
        runtime().block_on(async {
            let mut smtp = sink.smtp(SmtpTls::Starttls);
            if mode == "starttls" {
                smtp.ca = None;
            }
            let server = mailing(smtp).await;
            forget(&server).await;
            let delivery = server.fleet.deliver_mail().await.unwrap();
            assert_eq!((delivery.sent, delivery.postponed), (0, 1), "{mode}");
        });
    }
}

#[test]
fn a_busy_mail_server_gets_the_mail_later() {
    let (_dir, path) = dir();
    let mut sink = Sink::start("busy", &path);
    runtime().block_on(async {
        let server = mailing(sink.smtp(SmtpTls::Starttls)).await;
        forget(&server).await;
        assert_eq!(server.fleet.deliver_mail().await.unwrap().postponed, 1);
        server.pass(30);
        assert_eq!(server.fleet.deliver_mail().await.unwrap().sent, 1);
    });
    assert_eq!(sink.next()["to"], json!(["owner@example.com"]));
}
