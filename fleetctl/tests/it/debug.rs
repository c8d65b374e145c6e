//! `fleetctl debug connection`, step by step, against servers that are right and wrong.

use axum::{Json, Router, http::StatusCode, routing::post};
use serde_json::{Value, json};

use crate::{run::Home, server::Server};

/// A server that answers an enrollment so.
fn answering(status: u16, body: Value) -> Server {
    let status = StatusCode::from_u16(status).unwrap();
    let route = post(move || async move { (status, Json(body)) });
    Server::serving(Router::new().route("/api/osquery/enroll", route))
}

fn steps(server: &str, code: i32) -> Vec<Value> {
    let run = Home::new().fleetctl(["debug", "connection", server, "--output", "json"]);
    assert_eq!(run.code, code, "{}{}", run.stdout, run.stderr);
    assert_eq!(run.stderr, "");
    serde_json::from_str(&run.stdout).unwrap()
}

#[test]
fn the_exact_refusal_is_a_success() {
    let server = answering(401, json!({ "error": "invalid secret", "node_invalid": true }));
    let steps = steps(&server.url, 0);
    let names: Vec<_> = steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(names, ["dns", "tcp", "tls", "enroll"]);
    assert!(steps.iter().all(|step| step["ok"] == true));
}

#[test]
fn any_other_answer_fails_with_advice() {
    for (status, body) in [
        (401, json!({ "error": "x" })),
        (307, json!({})),
        (200, json!({ "node_key": "k" })),
        (404, json!({})),
    ] {
        let server = answering(status, body);
        let steps = steps(&server.url, 1);
        let last = steps.last().unwrap();
        assert_eq!((&last["step"], &last["ok"]), (&json!("enroll"), &json!(false)));
        assert!(last["help"].is_string(), "{last}");
    }
}

#[test]
fn a_closed_port_ends_at_tcp_and_a_port_without_tls_at_tls() {
    let steps_to_nobody = steps("http://127.0.0.1:1", 1);
    assert_eq!(steps_to_nobody.len(), 2);
    assert_eq!(steps_to_nobody[1]["step"], "tcp");
    let server = answering(401, json!({}));
    let steps = steps(&server.url.replace("http:", "https:"), 1);
    assert_eq!(steps.len(), 3);
    assert!(steps[2]["help"].as_str().unwrap().contains("speaks no TLS"), "{}", steps[2]);
}

#[test]
fn a_port_that_speaks_tls_alone_is_told_of() {
    let tls = tls::Listener::start("localhost");
    let steps = steps(&format!("http://localhost:{}", tls.port), 1);
    let last = steps.last().unwrap();
    assert_eq!(last["step"], "enroll");
    assert_ne!(last["detail"], "no answer: error sending request", "the cause is told");
    assert!(last["help"].as_str().unwrap().contains("try https://"), "{last}");
}

#[test]
fn certificates_are_judged_by_name_and_authority() {
    let tls = tls::Listener::start("localhost");
    let home = Home::new();
    home.write("ca.pem", &tls.ca);
    let told = |url: &str, flags: &[&str]| {
        let run = home.fleetctl([&["debug", "connection", url], flags].concat());
        assert_eq!(run.code, 1, "no HTTP is spoken there");
        run.stdout
    };
    let named = format!("https://localhost:{}", tls.port);
    let numbered = format!("https://127.0.0.1:{}", tls.port);
    let pinned = ["--fleet-certificate", "ca.pem"];
    let right = told(&named, &pinned);
    assert!(right.contains("ok      tls     TLS 1.3, trusted by the given certificate"), "{right}");
    let unknown = told(&named, &[]);
    assert!(unknown.contains("FAILED  tls") && unknown.contains("UnknownIssuer"), "{unknown}");
    assert!(unknown.contains("the server shows a certificate for localhost"), "{unknown}");
    let misnamed = told(&numbered, &pinned);
    assert!(misnamed.contains("use a name that the certificate is for"), "{misnamed}");
    assert!(told(&numbered, &["--insecure"]).contains("NOT checked"));
}

mod tls {
    //! Somebody who shakes hands and then hangs up.

    use std::{io::Read as _, net::TcpListener, sync::Arc, thread};

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    use rustls_pki_types::PrivateKeyDer;

    pub(super) struct Listener {
        pub(super) ca: String,
        pub(super) port: u16,
    }

    impl Listener {
        /// The thread ends with the process.
        pub(super) fn start(name: &str) -> Self {
            let mut ca = CertificateParams::new([]).unwrap();
            ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
            let key = KeyPair::generate().unwrap();
            let leaf = CertificateParams::new([name.to_owned()]).unwrap();
            let leaf = leaf.signed_by(&key, &ca).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            let config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![leaf.der().clone()], key)
                .unwrap();
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let config = Arc::new(config);
            thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                    // Whether the client likes the certificate is for the client to say.
                    let _ = StreamOwned::new(connection, stream).read(&mut [0; 1024]);
                }
            });
            Self { ca: ca.pem(), port }
        }
    }
}
