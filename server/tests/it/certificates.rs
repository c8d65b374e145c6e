//! Clients' certificates: who connects, and which device a node key belongs to.

use std::{fs, path::Path, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, date_time_ymd,
};
use serde_json::json;
use server::{Config, config::DeviceCertificates};

use crate::{
    binary::{Running, fleet_server},
    harness::{Reply, TestServer, machine},
};

crate::on_both_databases! {
    a_node_key_stays_with_the_certificate_that_it_first_came_with,
    a_device_shows_a_certificate_that_is_made_out_for_it,
    nobody_but_a_trusted_proxy_says_which_certificate_was_shown,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn client(authority: &Authority, name: &str, number: u64) -> (Certificate, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(number.into());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

/// A list that refuses the certificate of that number, until `year`.
fn revocations(authority: &Authority, number: u64, year: i32) -> String {
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(year, 1, 1),
        crl_number: 1_u64.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: number.into(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(authority).unwrap().pem().unwrap()
}

/// Writes `NAME.pem` and `NAME.key`.
fn keep(dir: &Path, name: &str, (certificate, key): &(Certificate, KeyPair)) {
    fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
    fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

/// A folder with everything, and the server's configuration.
fn folder(client_auth: &str, list_until: i32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let made = ["cert", "--out-dir", "tls", "--host", "127.0.0.1"];
    assert!(fleet_server().current_dir(dir.path()).args(made).output().unwrap().status.success());
    let ours = authority();
    fs::write(dir.path().join("clients.pem"), ours.pem()).unwrap();
    fs::write(dir.path().join("list.pem"), revocations(&ours, 666, list_until)).unwrap();
    keep(dir.path(), "good", &client(&ours, "device", 1));
    keep(dir.path(), "revoked", &client(&ours, "device", 666));
    keep(dir.path(), "foreign", &client(&authority(), "device", 2));
    let config = format!(
        "tls: {{certificate: tls/server.pem, key: tls/server.key, client_ca: clients.pem, \
         client_crl: list.pem, client_auth: {client_auth}}}"
    );
    fs::write(dir.path().join("server.yaml"), config).unwrap();
    dir
}

fn serve(dir: &Path) -> Running {
    Running::start_in(dir, &dir.join("data"), &["--config", "server.yaml"])
}

/// Whether curl gets an answer with the certificate of that name.
#[expect(clippy::disallowed_methods, reason = "tests start programs")]
fn is_answered(dir: &Path, server: &Running, name: Option<&str>) -> bool {
    let mut curl = Command::new("curl");
    curl.current_dir(dir).args(["-sSf", "--cacert", "tls/ca.pem"]);
    if let Some(name) = name {
        curl.args(["--cert", &format!("{name}.pem"), "--key", &format!("{name}.key")]);
    }
    curl.arg(format!("{}/health/live", server.url)).output().unwrap().status.success()
}

#[test]
fn without_a_good_certificate_nobody_connects_where_one_is_required() {
    let dir = folder("required", 2100);
    let server = serve(dir.path());
    assert!(is_answered(dir.path(), &server, Some("good")));
    for name in [None, Some("revoked"), Some("foreign")] {
        assert!(!is_answered(dir.path(), &server, name), "{name:?}");
    }
}

#[test]
fn where_certificates_are_optional_a_bad_one_is_refused_all_the_same() {
    let dir = folder("optional", 2100);
    let server = serve(dir.path());
    assert!(is_answered(dir.path(), &server, None));
    assert!(is_answered(dir.path(), &server, Some("good")));
    assert!(!is_answered(dir.path(), &server, Some("revoked")));
    assert!(!is_answered(dir.path(), &server, Some("foreign")));
}

#[test]
fn a_list_of_revoked_certificates_that_is_too_old_lets_nobody_pass() {
    let dir = folder("optional", 2021);
    let server = serve(dir.path());
    assert!(is_answered(dir.path(), &server, None));
    assert!(!is_answered(dir.path(), &server, Some("good")));
}

/// A session that is resumed would bring its certificate along unseen.
#[expect(clippy::disallowed_methods, reason = "tests start programs")]
#[test]
fn no_session_of_a_certificate_is_resumed() {
    let dir = folder("required", 2100);
    let server = serve(dir.path());
    let address = server.url.rsplit("//").next().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let script = format!(
            "openssl s_client -connect {address} {version} -CAfile tls/ca.pem -cert good.pem -key good.key \
             -reconnect </dev/null 2>&1"
        );
        let output =
            Command::new("sh").current_dir(dir.path()).args(["-c", &script]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("New, TLSv1"), "{told}");
        assert!(!told.contains("Reused"), "{told}");
    }
}

#[test]
fn a_server_does_not_start_with_a_list_of_nothing() {
    let dir = folder("required", 2100);
    fs::write(dir.path().join("list.pem"), "").unwrap();
    let output = fleet_server()
        .current_dir(dir.path())
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--config", "server.yaml"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("list.pem"), "{told}");
}

/// A server behind a proxy that ends TLS.
async fn behind_a_proxy(server: &TestServer, by: DeviceCertificates) -> TestServer {
    let change = |config: &mut Config| {
        config.server.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        config.server.client_certificate_header = Some("client-cert".to_owned());
        config.server.device_certificates = by;
    };
    TestServer::start_with(server.engine, change).await
}

/// As RFC 9440 has it.
fn header(certificate: &Certificate) -> String {
    format!(":{}:", STANDARD.encode(certificate.der()))
}

/// Enrolls through the proxy.
async fn enroll(server: &TestServer, secret: &str, shown: Option<&Certificate>) -> Reply {
    let mut request = machine("4C4C4544-0001");
    request["enroll_secret"] = secret.into();
    let mut call = server.post("/api/fleet/orbit/enroll").from("10.0.0.1").json(request);
    if let Some(shown) = shown {
        call = call.header("client-cert", &header(shown));
    }
    call.await
}

/// What a node key gets that comes from there, with these headers.
async fn show(server: &TestServer, key: &str, from: &str, shown: &[String]) -> u16 {
    let mut call = server.post("/api/fleet/orbit/config").from(from);
    for shown in shown {
        call = call.header("client-cert", shown);
    }
    call.json(json!({"orbit_node_key": key})).await.status.as_u16()
}

async fn a_node_key_stays_with_the_certificate_that_it_first_came_with(server: TestServer) {
    let server = behind_a_proxy(&server, DeviceCertificates::FirstUse).await;
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let ours = authority();
    let [(first, _), (other, _)] = [client(&ours, "a", 1), client(&ours, "b", 2)];
    let key = enroll(&server, &secret, None).await.expect(200).text("orbit_node_key");
    assert_eq!(show(&server, &key, "10.0.0.1", &[]).await, 200, "none was shown yet");
    assert_eq!(show(&server, &key, "10.0.0.1", &[header(&first)]).await, 200);
    assert_eq!(show(&server, &key, "10.0.0.1", &[header(&other)]).await, 401);
    assert_eq!(show(&server, &key, "10.0.0.1", &[]).await, 401);
    let escaped = first.pem().replace('\n', "%0A").replace('+', "%2B").replace(' ', "%20");
    assert_eq!(show(&server, &key, "10.0.0.1", &[escaped]).await, 200, "as nginx writes it");
    // osqueryd may enroll with it, and for that it has to come with it, too.
    let osqueryd = async |shown: Option<&Certificate>| {
        let request = json!({"enroll_secret": key, "host_identifier": "4C4C4544-0001"});
        let mut call = server.post("/api/osquery/enroll").from("10.0.0.1").json(request);
        if let Some(shown) = shown {
            call = call.header("client-cert", &header(shown));
        }
        call.await.status.as_u16()
    };
    assert_eq!(osqueryd(None).await, 401);
    assert_eq!(osqueryd(Some(&other)).await, 401);
    assert_eq!(osqueryd(Some(&first)).await, 200);
    let renewed = enroll(&server, &secret, Some(&other)).await.expect(200).text("orbit_node_key");
    assert_eq!(show(&server, &renewed, "10.0.0.1", &[header(&first)]).await, 401);
    assert_eq!(show(&server, &renewed, "10.0.0.1", &[header(&other)]).await, 200);
}

async fn a_device_shows_a_certificate_that_is_made_out_for_it(server: TestServer) {
    let server = behind_a_proxy(&server, DeviceCertificates::Subject).await;
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let ours = authority();
    let [(own, _), (other, _)] =
        [client(&ours, "4c4c4544-0001", 1), client(&ours, "4c4c4544-0002", 2)];
    enroll(&server, &secret, None).await.expect(401);
    enroll(&server, &secret, Some(&other)).await.expect(401);
    let key = enroll(&server, &secret, Some(&own)).await.expect(200).text("orbit_node_key");
    assert_eq!(show(&server, &key, "10.0.0.1", &[header(&own)]).await, 200);
    assert_eq!(show(&server, &key, "10.0.0.1", &[header(&other)]).await, 401);
    assert_eq!(show(&server, &key, "10.0.0.1", &[]).await, 401);
}

async fn nobody_but_a_trusted_proxy_says_which_certificate_was_shown(server: TestServer) {
    let server = behind_a_proxy(&server, DeviceCertificates::Subject).await;
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let (own, _) = client(&authority(), "4c4c4544-0001", 1);
    let key = enroll(&server, &secret, Some(&own)).await.expect(200).text("orbit_node_key");
    let told = header(&own);
    assert_eq!(show(&server, &key, "127.0.0.1", std::slice::from_ref(&told)).await, 401);
    assert_eq!(show(&server, &key, "203.0.113.9", std::slice::from_ref(&told)).await, 401);
    let two = [told.clone(), told.clone()];
    assert_eq!(show(&server, &key, "10.0.0.1", &two).await, 401, "one may be the client's own");
    for nonsense in ["", "::", ":%%%:", "nonsense", &told[..told.len() / 2]] {
        assert_eq!(show(&server, &key, "10.0.0.1", &[nonsense.to_owned()]).await, 401);
    }
    assert_eq!(show(&server, &key, "10.0.0.1", &[told]).await, 200);
}
