//! `fleetctl package notarize` against a stand-in for Apple's services, written after Apple's documentation:
//! nobody here has asked Apple.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde_json::{Value, json};

use crate::{
    macho,
    run::{Ended, Home, tool},
    signing::{certify, openssl, with_authority},
};

const ID: &str = "2efe2717-52ef-43a5-96dc-0797e4ca1041";
const TICKET: &[u8] = b"s8ch ticket";

/// What the services have heard, and what they are to say.
#[derive(Default)]
struct Heard {
    tokens: Vec<String>,
    submitted: Vec<Value>,
    uploaded: Vec<u8>,
    upload: BTreeMap<String, String>,
    /// How often the verdict is to be waited for, and what it is then.
    delay: u32,
    verdict: String,
    asked_for: Vec<String>,
}

type Shared = State<Arc<Mutex<Heard>>>;

/// Apple's services on one port of this machine, as long as it is there.
struct Apple {
    heard: Arc<Mutex<Heard>>,
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    server: Option<thread::JoinHandle<()>>,
}

impl Apple {
    fn new(verdict: &str) -> Self {
        let heard = Heard { verdict: verdict.to_owned(), delay: 2, ..Heard::default() };
        let heard = Arc::new(Mutex::new(heard));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/notary/v2/submissions", post(submit))
            .route("/notary/v2/submissions/{id}", get(status))
            .route("/notary/v2/submissions/{id}/logs", get(logs))
            .route("/log", get(log))
            .route("/buckets/{bucket}/{*object}", put(upload))
            .route("/tickets", post(ticket))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(heard.clone());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let stopped = async { drop(stopped.await) };
                axum::serve(listener, router).with_graceful_shutdown(stopped).await.unwrap();
            });
        });
        Self { heard, address, stop: Some(stop), server: Some(server) }
    }

    fn flags(&self) -> Vec<String> {
        let address = self.address;
        vec![
            format!("--notary-url=http://{address}/notary/v2/"),
            format!("--notary-bucket-url=http://{address}/buckets/"),
            format!("--notary-ticket-url=http://{address}/tickets"),
            "--notary-interval=0".to_owned(),
            "--app-store-connect-api-key-id=KEY1".to_owned(),
            "--app-store-connect-api-key-issuer=issuer-1".to_owned(),
            "--app-store-connect-api-key-file=AuthKey_KEY1.p8".to_owned(),
        ]
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap()
    }
}

impl Drop for Apple {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

fn bearer(heard: &Mutex<Heard>, headers: &HeaderMap) -> bool {
    let token = headers.get("authorization").and_then(|it| it.to_str().ok());
    let token = token.and_then(|it| it.strip_prefix("Bearer "));
    let Some(token) = token else { return false };
    heard.lock().unwrap().tokens.push(token.to_owned());
    true
}

async fn submit(State(heard): Shared, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if !bearer(&heard, &headers) {
        return (StatusCode::UNAUTHORIZED, "no token").into_response();
    }
    heard.lock().unwrap().submitted.push(body);
    Json(json!({
        "data": {
            "attributes": {
                "awsAccessKeyId": "ASIAIOSFODNN7EXAMPLE",
                "awsSecretAccessKey": "wJalrXUtnFEMI/K7MDENGbPxRfiCYEXAMPLEKEY",
                "awsSessionToken": "session+token==",
                "bucket": "notary-submissions-prod",
                "object": format!("prod/AROARQRX7CZS3PRF6ZA5L:{ID}"),
            },
            "id": ID,
            "type": "newSubmissions",
        },
        "meta": {},
    }))
    .into_response()
}

async fn upload(
    State(heard): Shared,
    Path((bucket, object)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
    body: Bytes,
) -> StatusCode {
    assert_eq!(bucket, "notary-submissions-prod");
    assert_eq!(object, format!("prod/AROARQRX7CZS3PRF6ZA5L:{ID}"));
    let mut heard = heard.lock().unwrap();
    (heard.uploaded, heard.upload) = (body.to_vec(), query);
    StatusCode::OK
}

async fn status(State(heard): Shared, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if !bearer(&heard, &headers) || id != ID {
        return StatusCode::NOT_FOUND.into_response();
    }
    let mut heard = heard.lock().unwrap();
    let status = if heard.delay == 0 { heard.verdict.clone() } else { "In Progress".to_owned() };
    heard.delay = heard.delay.saturating_sub(1);
    let attributes = json!({
        "createdDate": "2026-01-02T03:04:05.000Z", "name": "a.pkg", "status": status,
    });
    let data = json!({ "attributes": attributes, "id": id, "type": "submissions" });
    Json(json!({ "data": data, "meta": {} })).into_response()
}

async fn logs(headers: HeaderMap) -> Json<Value> {
    let host = headers["host"].to_str().unwrap();
    let attributes = json!({ "developerLogUrl": format!("http://{host}/log?secret=x") });
    Json(
        json!({ "data": { "attributes": attributes, "id": ID, "type": "submissionsLog" }, "meta": {} }),
    )
}

async fn log() -> Json<Value> {
    Json(json!({
        "status": "Invalid",
        "statusSummary": "Archive contains critical validation errors",
        "issues": [{
            "severity": "error",
            "path": "a.pkg/fleetd.pkg Contents/Payload/opt/orbit/bin/orbit/packaged/orbit",
            "message": "The binary is not signed.",
        }],
    }))
}

async fn ticket(State(heard): Shared, Json(body): Json<Value>) -> Json<Value> {
    let name = body["records"][0]["recordName"].as_str().unwrap().to_owned();
    let mut heard = heard.lock().unwrap();
    heard.asked_for.push(name.clone());
    if heard.asked_for.len() == 1 {
        let record = json!({
            "recordName": name, "reason": "Record not found", "serverErrorCode": "NOT_FOUND",
        });
        return Json(json!({ "records": [record] }));
    }
    let value = base64(TICKET);
    Json(json!({ "records": [{
        "recordName": name,
        "recordType": "DeveloperIDTicket",
        "fields": { "signedTicket": { "value": value, "type": "BYTES" } },
        "deleted": false,
    }] }))
}

fn base64(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    std::fs::write(&path, bytes).unwrap();
    tool("base64", ["-w0".as_ref(), path.as_os_str()])
}

/// A home with a signed package, `fleetd-1.2.3.pkg`, and a key for Apple's services.
fn home() -> Home {
    let home = Home::new();
    let program = |cpu| (cpu, macho::thin(cpu, 100));
    home.write("bin/orbit", macho::universal(&[program(macho::X86_64), program(macho::ARM64)]));
    certify(&home, "installer", "1.2.840.113635.100.4.13");
    openssl(&home, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out AuthKey_KEY1.p8");
    make(&home, &[]).ok();
    home
}

fn make(home: &Home, more: &[&str]) -> Ended {
    let flags = [
        "package",
        "--type=pkg",
        "--components=bin",
        "--without-osqueryd",
        "--package-version=1.2.3",
        "--macos-installer-certificate=installer.crt",
        "--macos-installer-key=installer.key",
        "--output=json",
    ];
    home.fleetctl(flags.iter().chain(more))
}

const PKG: &str = "fleetd-1.2.3.pkg";

fn notarize(home: &Home, apple: &Apple, more: &[&str]) -> Ended {
    let flags = apple.flags();
    let flags = flags.iter().map(String::as_str).chain(more.iter().copied());
    home.fleetctl(["package", "notarize", PKG, "--output=json"].into_iter().chain(flags))
}

#[test]
fn a_package_is_sent_accepted_and_stapled() {
    let (home, apple) = (home(), Apple::new("Accepted"));
    let before = std::fs::read(home.path(PKG)).unwrap();
    let said: Value = serde_json::from_str(&notarize(&home, &apple, &[]).ok()).unwrap();
    assert_eq!(
        said,
        json!({ "path": PKG, "submission": ID, "status": "accepted", "stapled": true })
    );
    let heard = apple.heard();
    assert!(heard.uploaded == before, "what was sent is the package");
    assert_eq!(heard.submitted.len(), 1);
    assert_eq!(heard.submitted[0]["submissionName"], PKG);
    assert_eq!(heard.submitted[0]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(heard.upload["X-Amz-Algorithm"], "AWS4-HMAC-SHA256");
    assert_eq!(heard.upload["X-Amz-Security-Token"], "session+token==");
    assert!(heard.upload["X-Amz-Credential"].contains("/us-west-2/s3/aws4_request"));
    let table = "import hashlib,struct,sys;d=open(sys.argv[1],'rb').read();\
        h,t=struct.unpack('>4sHHQQI',d[:28])[1],struct.unpack('>4sHHQQI',d[:28])[3];\
        print(hashlib.sha1(d[h:h+t]).hexdigest())";
    let path = home.path(PKG);
    let checksum = tool("python3", ["-c".as_ref(), table.as_ref(), path.as_os_str()]);
    assert_eq!(
        heard.asked_for,
        [format!("2/1/{}", checksum.trim()), format!("2/1/{}", checksum.trim())]
    );
    let after = std::fs::read(&path).unwrap();
    let trailer =
        [b"t8lr\x01\0\x01\0\0\0\0\0\0\0\0\0", TICKET, b"t8lr\x01\0\x02\0\x0b\0\0\0\0\0\0\0"]
            .concat();
    assert!(after == [before, trailer].concat());
    assert!(tool("bsdtar", ["-tf".as_ref(), path.as_os_str()]).contains("Distribution"));
    let verified = ["package", "verify", "--root=installer.crt", PKG];
    let said = home.fleetctl(verified);
    assert!(said.stdout.contains("signature by CN=installer"), "{}", said.stdout);
    assert!(!home.path("fleetd-1.2.3.pkg.notarization").exists());
}

/// What PyJWT would do, with openssl: ES256 has two numbers of 32 bytes, openssl wants DER.
const JWT: &str = "
import base64, json, subprocess, sys
head, claims, signature = sys.argv[1].split('.')
decode = lambda text: base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))
assert json.loads(decode(head)) == {'alg': 'ES256', 'kid': 'KEY1', 'typ': 'JWT'}
said = json.loads(decode(claims))
assert said['iss'] == 'issuer-1' and said['aud'] == 'appstoreconnect-v1'
assert 0 < said['exp'] - said['iat'] <= 20 * 60
raw = decode(signature)
assert len(raw) == 64
def number(raw):
    raw = raw.lstrip(b'\\0')
    raw = b'\\0' + raw if raw[0] > 127 else raw
    return b'\\x02' + bytes([len(raw)]) + raw
body = number(raw[:32]) + number(raw[32:])
open('signature', 'wb').write(b'\\x30' + bytes([len(body)]) + body)
open('message', 'w').write(head + '.' + claims)
subprocess.run(['openssl', 'pkey', '-in', 'AuthKey_KEY1.p8', '-pubout', '-out', 'public'], check=True)
subprocess.run(['openssl', 'dgst', '-sha256', '-verify', 'public', '-signature', 'signature', 'message'], check=True)
";

#[test]
fn every_request_has_a_token_that_the_key_signed() {
    let (home, apple) = (home(), Apple::new("Accepted"));
    notarize(&home, &apple, &[]).ok();
    let heard = apple.heard();
    assert_eq!(heard.tokens.len(), 4);
    let folder = home.path("");
    for token in &heard.tokens {
        let args = [
            "-C".as_ref(),
            folder.as_os_str(),
            "python3".as_ref(),
            "-c".as_ref(),
            JWT.as_ref(),
            token.as_ref(),
        ];
        assert!(tool("env", args).contains("Verified OK"));
    }
}

#[test]
fn who_does_not_wait_goes_on_later_and_sends_nothing_twice() {
    let (home, apple) = (home(), Apple::new("Accepted"));
    let said: Value = serde_json::from_str(&notarize(&home, &apple, &["--no-wait"]).ok()).unwrap();
    assert_eq!(said["status"], "submitted");
    assert!(home.path("fleetd-1.2.3.pkg.notarization").exists());
    notarize(&home, &apple, &[]).ok();
    assert_eq!(apple.heard().submitted.len(), 1);
    let (other, apple) = (self::home(), Apple::new("Accepted"));
    notarize(&other, &apple, &["--submission", ID]).ok();
    assert_eq!(apple.heard().submitted.len(), 0);
}

#[test]
fn what_the_notary_refuses_is_told_with_its_reasons() {
    let (home, apple) = (home(), Apple::new("Invalid"));
    let before = std::fs::read(home.path(PKG)).unwrap();
    let said = notarize(&home, &apple, &[]).fails(1);
    assert!(
        said.contains("says \"Invalid\"") && said.contains("The binary is not signed."),
        "{said}"
    );
    assert!(!said.contains("secret") && !said.contains("AKIA"), "{said}");
    assert!(std::fs::read(home.path(PKG)).unwrap() == before);
    drop(apple);
    let gone = Apple::new("Accepted");
    let flags = gone.flags();
    drop(gone);
    let flags = flags.iter().map(String::as_str);
    let said = home
        .fleetctl(["package", "notarize", PKG, "--submission", ID].into_iter().chain(flags))
        .fails(1);
    assert!(said.contains("could not notarize"), "{said}");
}

#[test]
fn a_package_is_notarized_as_it_is_made() {
    let (home, apple) = (home(), Apple::new("Accepted"));
    let flags = apple.flags();
    let mut flags: Vec<_> = flags.iter().map(String::as_str).collect();
    flags.push("--notarize");
    let said = make(&home, &flags).fails(2);
    assert!(said.contains("--notarize needs --timestamp-url"), "{said}");
    assert_eq!(apple.heard().submitted.len(), 0);
    certify(&home, "app", "codeSigning");
    flags.extend(["--macos-certificate=app.crt", "--macos-key=app.key"]);
    with_authority(&home, |url| {
        let made: Value =
            serde_json::from_str(&make(&home, &[&flags[..], &[url]].concat()).ok()).unwrap();
        let size = std::fs::metadata(home.path(PKG)).unwrap().len();
        assert_eq!(made[0]["size"], size, "that of the package with its ticket");
    });
    assert!(std::fs::read(home.path(PKG)).unwrap().len() > apple.heard().uploaded.len());
}

#[test]
fn what_cannot_be_notarized_is_told_before_anything_is_sent() {
    let (home, apple) = (home(), Apple::new("Accepted"));
    let with = |flags: &[&str]| home.fleetctl(["package", "notarize"].iter().chain(flags)).fails(2);
    let said = with(&[PKG]);
    for flag in ["-id", "-issuer", "-file"] {
        assert!(said.contains(&format!("--app-store-connect-api-key{flag} must")), "{said}");
    }
    home.write("rsa.p8", openssl(&home, "genpkey -algorithm RSA"));
    let flags = ["--app-store-connect-api-key-id=a", "--app-store-connect-api-key-issuer=b"];
    let keyed = |file: &str, pkg: &str| {
        with(&[&flags[..], &[&format!("--app-store-connect-api-key-file={file}"), pkg]].concat())
    };
    assert!(keyed("rsa.p8", PKG).contains("of another kind than those of App Store Connect"));
    assert!(keyed("bin/orbit", PKG).contains("cannot be"));
    assert!(keyed("AuthKey_KEY1.p8", "bin/orbit").contains("no package of type pkg"));
    home.write("bin/orbit", "#!/bin/sh");
    let unsigned =
        ["package", "--type=pkg", "--components=bin", "--without-osqueryd", "--outfile=u.pkg"];
    home.fleetctl(unsigned).ok();
    assert!(keyed("AuthKey_KEY1.p8", "u.pkg").contains("it is not signed"));
    assert_eq!(apple.heard().submitted.len(), 0);
}
