//! Clients' certificates: who connects, and which device a node key belongs to.

use std::{fs, path::Path, process::Command, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use camino::Utf8PathBuf;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, date_time_ymd,
};
use serde_json::{Value, json};
use server::{
    Config,
    config::{ClientAuth, DeviceCertificates, Tls},
    serve::Bound,
};

use crate::{
    binary::{Running, fleet_server},
    harness::{Reply, TestServer, machine, text},
};

crate::on_both_databases! {
    a_device_is_known_by_the_certificate_of_its_connection,
    over_tls_a_device_shows_a_certificate_that_is_made_out_for_it,
    a_new_list_of_revoked_certificates_is_read_while_the_server_runs,
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

/// A folder with everything, the server's configuration too, and who makes clients' certificates.
fn folder(client_auth: &str, list_until: i32) -> (tempfile::TempDir, Authority) {
    let dir = tempfile::tempdir().unwrap();
    let made = ["cert", "--out-dir", "tls", "--host", "127.0.0.1"];
    assert!(fleet_server().current_dir(dir.path()).args(made).output().unwrap().status.success());
    let ours = authority();
    fs::write(dir.path().join("clients.pem"), ours.pem()).unwrap();
    fs::write(dir.path().join("list.pem"), revocations(&ours, 666, list_until)).unwrap();
    keep(dir.path(), "good", &client(&ours, "device", 1));
    keep(dir.path(), "other", &client(&ours, "4c4c4544-0001", 2));
    keep(dir.path(), "revoked", &client(&ours, "device", 666));
    keep(dir.path(), "foreign", &client(&authority(), "device", 2));
    let config = format!(
        "tls: {{certificate: tls/server.pem, key: tls/server.key, client_ca: clients.pem, \
         client_crl: list.pem, client_auth: {client_auth}}}"
    );
    fs::write(dir.path().join("server.yaml"), config).unwrap();
    (dir, ours)
}

fn serve(dir: &Path) -> Running {
    Running::start_in(dir, &dir.join("data"), &["--config", "server.yaml"])
}

/// curl, with the certificate of that name.
#[expect(clippy::disallowed_methods, reason = "tests start programs")]
fn curl(dir: &Path, name: Option<&str>) -> Command {
    let mut curl = Command::new("curl");
    curl.current_dir(dir).args(["-sS", "--cacert", "tls/ca.pem"]);
    if let Some(name) = name {
        curl.args(["--cert", &format!("{name}.pem"), "--key", &format!("{name}.key")]);
    }
    curl
}

/// Whether curl gets an answer with the certificate of that name.
fn is_answered(dir: &Path, url: &str, name: Option<&str>) -> bool {
    let output = curl(dir, name).arg("-f").arg(format!("{url}/health/live")).output().unwrap();
    output.status.success()
}

#[test]
fn without_a_good_certificate_nobody_connects_where_one_is_required() {
    let (dir, _) = folder("required", 2100);
    let server = serve(dir.path());
    assert!(is_answered(dir.path(), &server.url, Some("good")));
    for name in [None, Some("revoked"), Some("foreign")] {
        assert!(!is_answered(dir.path(), &server.url, name), "{name:?}");
    }
}

#[test]
fn where_certificates_are_optional_a_bad_one_is_refused_all_the_same() {
    let (dir, _) = folder("optional", 2100);
    let server = serve(dir.path());
    assert!(is_answered(dir.path(), &server.url, None));
    assert!(is_answered(dir.path(), &server.url, Some("good")));
    assert!(!is_answered(dir.path(), &server.url, Some("revoked")));
    assert!(!is_answered(dir.path(), &server.url, Some("foreign")));
}

#[test]
fn a_list_of_revoked_certificates_that_is_too_old_lets_nobody_pass() {
    let (dir, _) = folder("optional", 2021);
    let server = serve(dir.path());
    assert!(is_answered(dir.path(), &server.url, None));
    assert!(!is_answered(dir.path(), &server.url, Some("good")));
}

/// A server that takes connections itself with the files of `dir`, and reads them often; and its
/// address.
async fn over_tls(
    server: &TestServer,
    dir: &Path,
    (client_auth, by): (ClientAuth, DeviceCertificates),
) -> (TestServer, String) {
    let path = |name: &str| Utf8PathBuf::from_path_buf(dir.join(name)).unwrap();
    let tls = Tls {
        certificate: path("tls/server.pem"),
        key: path("tls/server.key"),
        client_ca: Some(path("clients.pem")),
        client_auth,
        client_crl: Some(path("list.pem")),
    };
    let change = |config: &mut Config| {
        config.tls = Some(tls);
        config.listen.address.set_port(0);
        config.server.device_certificates = by;
    };
    let server = TestServer::start_with(server.engine, change).await;
    let bound = Bound::new(server.fleet.clone()).unwrap();
    let bound = bound.reading_tls_every(Duration::from_millis(50));
    let url = bound.url();
    tokio::spawn(bound.serve(std::future::pending()));
    (server, url)
}

/// What an agent with the certificate of that name is answered; 0 where it cannot connect.
fn ask(
    (dir, name): (&Path, Option<&str>),
    (url, path): (&str, &str),
    body: &Value,
) -> (u16, Value) {
    let output = curl(dir, name)
        .args(["--header", "content-type: application/json", "--data", &body.to_string()])
        .args(["--write-out", "\n%{http_code}", &format!("{url}/api/fleet/orbit/{path}")])
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let (body, status) = printed.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

/// Rows in part: V3
async fn a_device_is_known_by_the_certificate_of_its_connection(server: TestServer) {
    for client_auth in [ClientAuth::Required, ClientAuth::Optional] {
        let (dir, _) = folder("required", 2100);
        let rules = (client_auth, DeviceCertificates::FirstUse);
        let (server, url) = over_tls(&server, dir.path(), rules).await;
        let owner = server.owner().await;
        let (_, secret) = server.secret(&owner, json!({})).await;
        let is_required = client_auth == ClientAuth::Required;
        let enroll = |name| {
            let mut device = machine("4C4C4544-0001");
            device["enroll_secret"] = secret.clone().into();
            ask((dir.path(), name), (&url, "enroll"), &device)
        };
        let config = |name, key: &str| {
            ask((dir.path(), name), (&url, "config"), &json!({"orbit_node_key": key})).0
        };
        let (status, reply) = enroll(Some("good"));
        assert_eq!(status, 200, "{reply}");
        let key = text(&reply, "orbit_node_key");
        assert_eq!(config(Some("good"), &key), 200);
        assert_eq!(config(Some("other"), &key), 401);
        assert_eq!(config(None, &key), if is_required { 0 } else { 401 });
        for bad in ["revoked", "foreign"] {
            assert_eq!((enroll(Some(bad)).0, config(Some(bad), &key)), (0, 0), "{bad}");
        }
        assert_eq!(config(Some("good"), &key), 200, "nobody took the key away");
        let (status, reply) = enroll(None);
        assert_eq!(status, if is_required { 0 } else { 200 }, "{reply}");
        if !is_required {
            let key = text(&reply, "orbit_node_key");
            assert_eq!((config(None, &key), config(Some("other"), &key)), (200, 200));
            assert_eq!((config(Some("good"), &key), config(None, &key)), (401, 401));
        }
    }
}

async fn over_tls_a_device_shows_a_certificate_that_is_made_out_for_it(server: TestServer) {
    let (dir, _) = folder("optional", 2100);
    let rules = (ClientAuth::Optional, DeviceCertificates::Subject);
    let (server, url) = over_tls(&server, dir.path(), rules).await;
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let mut device = machine("4C4C4544-0001");
    device["enroll_secret"] = secret.into();
    let enroll = |name| ask((dir.path(), name), (&url, "enroll"), &device);
    assert_eq!((enroll(None).0, enroll(Some("good")).0), (401, 401));
    let (status, reply) = enroll(Some("other"));
    assert_eq!(status, 200, "{reply}");
    let key = json!({"orbit_node_key": text(&reply, "orbit_node_key")});
    let config = |name| ask((dir.path(), name), (&url, "config"), &key).0;
    assert_eq!([Some("other"), Some("good"), None].map(config), [200, 401, 401]);
}

async fn a_new_list_of_revoked_certificates_is_read_while_the_server_runs(server: TestServer) {
    let (dir, ours) = folder("required", 2100);
    let rules = (ClientAuth::Required, DeviceCertificates::FirstUse);
    let (_server, url) = over_tls(&server, dir.path(), rules).await;
    let dir = dir.path();
    let answered = || ["good", "revoked"].map(|name| is_answered(dir, &url, Some(name)));
    let replace = |list: &str| {
        fs::write(dir.join("new.pem"), list).unwrap();
        fs::rename(dir.join("new.pem"), dir.join("list.pem")).unwrap();
    };
    let turn = async |wanted: [bool; 2]| {
        for _ in 0..100 {
            if answered() == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the new list is not honoured");
    };
    assert_eq!(answered(), [true, false]);
    replace(&revocations(&ours, 1, 2100));
    turn([false, true]).await;
    replace("nonsense");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(answered(), [false, true], "what was read before holds");
    replace(&revocations(&ours, 666, 2100));
    turn([true, false]).await;
}

/// A session that is resumed would bring its certificate along unseen.
#[expect(clippy::disallowed_methods, reason = "tests start programs")]
#[test]
fn no_session_of_a_certificate_is_resumed() {
    let (dir, _) = folder("required", 2100);
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
    let (dir, _) = folder("required", 2100);
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
