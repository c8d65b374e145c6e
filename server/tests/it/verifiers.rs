//! Our tokens before two verifiers of others, PyJWT and jwcrypto; and tokens that are forged with
//! them, before us.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;
use server::{
    Config,
    config::{
        Secret,
        auth::{Algorithm, Jwt},
    },
};

use crate::{
    harness::{Engine, TestServer, runtime},
    tokens::part,
};

/// When the test server's clock begins.
const NOW: &str = "1772366400";
const SECRET: &str = "a secret of more than thirty-two bytes";

#[expect(clippy::disallowed_methods, reason = "the verifiers are Python programs")]
fn verifiers(args: &[&str]) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/verifiers.py");
    let output = Command::new("/usr/bin/python3").arg(script).args(args).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "are python3-jwt and python3-jwcrypto installed? {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn with(jwt: Jwt) -> TestServer {
    TestServer::start_with(Engine::Sqlite, |config: &mut Config| config.auth.jwt = jwt).await
}

async fn jwks(server: &TestServer) -> String {
    String::from_utf8(server.get("/.well-known/jwks.json").await.expect(200).body.clone()).unwrap()
}

/// Rows: C11, C12, C13
#[test]
fn others_verify_our_tokens_with_our_published_keys() {
    runtime().block_on(async {
        for alg in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
            let server = with(Jwt { alg, ..Jwt::default() }).await;
            let token = server.owner().await.access;
            let (issuer, audience) = ("fleetd.sh", "fleetd-api");
            let claims = verifiers(&["check", &token, &jwks(&server).await, issuer, audience, NOW]);
            assert_eq!(claims, part(&token, 1), "{alg:?}");
        }
    });
}

/// Rows: C1, C3, C13
#[test]
fn forged_signatures_are_refused() {
    runtime().block_on(async {
        let server = with(Jwt::default()).await;
        let token = server.owner().await.access;
        let forged = verifiers(&["forge", &token, &jwks(&server).await, NOW]);
        let forged: BTreeMap<String, String> = serde_json::from_value(forged).unwrap();
        assert_eq!(forged.len(), 15);
        for (name, token) in forged {
            let reply = server.get("/devices").bearer(&token).await;
            assert_eq!(reply.status, 401, "{name}");
        }
        server.get("/devices").bearer(&token).await.expect(200);
    });
}

/// Rows: C4, C6, C9, C10, C11, C12, C14
#[test]
fn well_signed_claims_that_are_wrong_are_refused() {
    runtime().block_on(async {
        let secret = Some(Secret::new(SECRET));
        let server = with(Jwt { alg: Algorithm::HS256, secret, ..Jwt::default() }).await;
        let token = server.owner().await.access;
        let made = verifiers(&["variants", SECRET, &token, NOW]);
        let made: BTreeMap<String, String> = serde_json::from_value(made).unwrap();
        assert_eq!(made.len(), 21);
        for (name, token) in made {
            let reply = server.get("/devices").bearer(&token).await;
            let expected =
                if ["as it was", "aud as a list"].contains(&name.as_str()) { 200 } else { 401 };
            assert_eq!(reply.status, expected, "{name}: {reply:?}");
        }
    });
}
