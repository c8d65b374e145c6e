//! Devices with a key of their own: what they ask counts with its signature alone.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _,
    },
};
use futures_util::future::join;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use server::Clock;
use wire::signature::{Algorithm, Claims, Draft, Message, SIGNATURE};

use crate::harness::{Call, Reply, TestServer, machine};

crate::on_both_databases! {
    a_stolen_node_key_is_worth_nothing_without_the_devices_own,
    osqueryds_node_key_is_worth_as_little,
    what_was_changed_on_its_way_is_refused,
    signatures_count_for_minutes_and_once,
    an_enrollment_is_taken_once_by_all_servers_together,
    a_device_enrolls_only_with_a_key_that_it_has,
    a_signature_of_p256_counts_in_one_form_and_once,
    where_signatures_are_required_nobody_goes_without,
    behind_a_proxy_that_shortens_paths_the_whole_path_is_signed,
}

const CONFIG: &str = "/api/fleet/orbit/config";
const ENROLL: &str = "/api/fleet/orbit/enroll";
const OSQUERY_ENROLL: &str = "/api/v1/osquery/enroll";

/// A device's key.
struct Key {
    pair: Pair,
    public: String,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Key {
    fn new() -> Self {
        Self::of(Algorithm::Ed25519)
    }

    fn of(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Ed25519 => {
                let pair = Ed25519KeyPair::generate().unwrap();
                Self { public: hex::encode(pair.public_key()), pair: Pair::Ed25519(pair) }
            }
            Algorithm::EcdsaP256Sha256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                Self { public: hex::encode(pair.public_key()), pair: Pair::P256(pair) }
            }
        }
    }

    const fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Ed25519(_) => Algorithm::Ed25519,
            Pair::P256(_) => Algorithm::EcdsaP256Sha256,
        }
    }

    fn sign_base(&self, base: &str) -> Vec<u8> {
        match &self.pair {
            Pair::Ed25519(pair) => pair.sign(base.as_bytes()).as_ref().to_vec(),
            Pair::P256(pair) => {
                pair.sign(&SystemRandom::new(), base.as_bytes()).unwrap().as_ref().to_vec()
            }
        }
    }

    /// The headers that sign `body`, sent to `path` so many seconds from now.
    fn sign(
        &self,
        server: &TestServer,
        (path, body): (&str, &Value),
        later: i64,
    ) -> [(&'static str, String); 3] {
        let body = body.to_string();
        let message = Message { method: "POST", path, body: body.as_bytes() };
        self.sign_message(server, &message, later)
    }

    fn sign_message(
        &self,
        server: &TestServer,
        message: &Message<'_>,
        later: i64,
    ) -> [(&'static str, String); 3] {
        let draft = self.draft(server, message, later);
        let signature = self.sign_base(&draft.base);
        draft.headers(&signature)
    }

    fn draft(&self, server: &TestServer, message: &Message<'_>, later: i64) -> Draft {
        let created = Clock::Manual(server.clock.clone()).now().as_second() + later;
        let nonce = uuid::Uuid::new_v4().to_string();
        let algorithm = self.algorithm();
        Draft::new(message, &Claims { created, nonce: &nonce, key_id: &self.public, algorithm })
    }

    async fn enroll(&self, server: &TestServer, secret: &str) -> Reply {
        let mut body = machine("a");
        body["enroll_secret"] = secret.into();
        body["device_key"] = (*self.public).into();
        self.post(server, ENROLL, body).await
    }

    async fn post(&self, server: &TestServer, path: &str, body: Value) -> Reply {
        let headers = self.sign(server, (path, &body), 0);
        send(server.post(path).json(body), &headers).await
    }

    async fn ask(&self, server: &TestServer, node_key: &str, later: i64) -> Reply {
        let body = json!({"orbit_node_key": node_key});
        let headers = self.sign(server, (CONFIG, &body), later);
        send(server.post(CONFIG).json(body), &headers).await
    }
}

fn with(call: Call, headers: &[(&'static str, String)]) -> Call {
    headers.iter().fold(call, |call, (name, value)| call.header(name, value))
}

async fn send(call: Call, headers: &[(&'static str, String)]) -> Reply {
    with(call, headers).await
}

/// A device that has enrolled with a key.
async fn enrolled(server: &TestServer) -> (Key, String) {
    let secret = secret(server).await;
    enrolled_with(server, &secret, Algorithm::Ed25519).await
}

async fn secret(server: &TestServer) -> String {
    let owner = server.owner().await;
    server.secret(&owner, json!({})).await.1
}

async fn enrolled_with(server: &TestServer, secret: &str, algorithm: Algorithm) -> (Key, String) {
    let key = Key::of(algorithm);
    let reply = key.enroll(server, secret).await;
    (key, reply.expect(200).text("orbit_node_key"))
}

async fn a_stolen_node_key_is_worth_nothing_without_the_devices_own(server: TestServer) {
    let secret = secret(&server).await;
    for algorithm in Algorithm::ALL {
        check_stolen(&server, enrolled_with(&server, &secret, algorithm).await).await;
    }
}

async fn check_stolen(server: &TestServer, (key, node_key): (Key, String)) {
    let stranger = || Key::of(key.algorithm());
    let bodies = [
        ("config", json!({})),
        ("token", json!({})),
        ("device_token", json!({"device_auth_token": "t"})),
        ("updates", json!({"components": []})),
    ];
    for (operation, mut body) in bodies {
        body["orbit_node_key"] = (*node_key).into();
        let path = format!("/api/fleet/orbit/{operation}");
        let post = || server.post(&path).json(body.clone());
        post().await.expect(401);
        send(post(), &stranger().sign(server, (&path, &body), 0)).await.expect(401);
        let mut unsigned = key.sign(server, (&path, &body), 0);
        let (_, signature) = unsigned.iter_mut().find(|(name, _)| *name == SIGNATURE).unwrap();
        *signature = format!("device=:{}:", "A".repeat(88));
        send(post(), &unsigned).await.expect(400);
        send(post(), &key.sign(server, (&path, &body), 0)).await.expect(200);
    }
    let connect = || server.get("/api/device/connect").bearer(&node_key);
    connect().await.expect(401);
    let message = Message { method: "GET", path: "/api/device/connect", body: b"" };
    let mut kept = with(connect(), &key.sign_message(server, &message, 0)).open().await;
    assert_eq!(kept.status(), 200);
    for part in ["connected", "alive", "alive"] {
        let frame = kept.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(String::from_utf8(frame.to_vec()).unwrap().contains(part));
    }
    let node = server.second_node().await;
    assert!(!node.orbit_works(&node_key).await);
    key.ask(&node, &node_key, 0).await.expect(200);
    let owner = server.login("owner@example.com").await;
    let devices = server.devices(&owner).await;
    assert_eq!(devices.len(), 1);
    assert_eq!(devices[0]["signs_requests"], json!(true), "{devices:?}");
}

async fn osqueryds_node_key_is_worth_as_little(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    server.enroll(&secret, machine("a")).await.expect(200);
    let before = server.enroll_osquery(&secret, "a").await.expect(200).text("node_key");
    let key = Key::new();
    let orbits = key.enroll(&server, &secret).await.expect(200).text("orbit_node_key");
    let told = key.ask(&server, &orbits, 0).await.expect(200).json();
    assert_eq!(told["osqueryd_enrolls_with_node_key"], true);
    // It has enrolled before the device had a key, and goes on with its signature.
    check_osqueryds_key(&server, &key, &before).await;
    for admits in [&secret, &orbits] {
        let request = json!({"enroll_secret": admits, "host_identifier": "a"});
        for unsigned in [
            server.post(OSQUERY_ENROLL).json(request.clone()).await,
            Key::new().post(&server, OSQUERY_ENROLL, request.clone()).await,
        ] {
            assert_eq!(unsigned.expect(401).json()["node_invalid"], true);
        }
        let headers = key.sign(&server, (OSQUERY_ENROLL, &request), -301);
        let late = send(server.post(OSQUERY_ENROLL).json(request.clone()), &headers).await;
        assert_eq!(late.expect(400).json().get("node_invalid"), None);
        let reply = key.post(&server, OSQUERY_ENROLL, request).await;
        check_osqueryds_key(&server, &key, &reply.expect(200).text("node_key")).await;
    }
    assert_eq!(server.devices(&owner).await.len(), 1);
    let events = server.get("/audit?event=device.enrollment").by(&owner).await.expect(200).json();
    let refused = |event: &&Value| event["outcome"] == "without its device's signature";
    assert_eq!(events["items"].as_array().unwrap().iter().filter(refused).count(), 4);
    // Without a key from the next enrollment on.
    server.enroll(&secret, machine("a")).await.expect(200);
    let plain = server.enroll_osquery(&secret, "a").await.expect(200).text("node_key");
    server.post("/api/osquery/config").json(json!({"node_key": plain})).await.expect(200);
}

/// It is good with the signature of `key` and of nobody else.
async fn check_osqueryds_key(server: &TestServer, key: &Key, node_key: &str) {
    let bodies = [
        ("config", json!({})),
        ("distributed/read", json!({})),
        ("distributed/write", json!({"queries": {}, "statuses": {}})),
        ("log", json!({"log_type": "status", "data": ["short"]})),
        ("log", json!({"log_type": "status", "data": ["long".repeat(30_000)]})),
    ];
    for (operation, mut body) in bodies {
        body["node_key"] = node_key.into();
        let path = format!("/api/v1/osquery/{operation}");
        for refused in [
            server.post(&path).json(body.clone()).await,
            Key::new().post(server, &path, body.clone()).await,
        ] {
            assert_eq!(refused.expect(401).json()["node_invalid"], true, "{path}");
        }
        let headers = key.sign(server, (&path, &json!({"node_key": node_key})), 0);
        let mut changed = body.clone();
        changed["more"] = true.into();
        let changed = send(server.post(&path).json(changed), &headers).await;
        assert_eq!(changed.expect(400).json().get("node_invalid"), None, "{path}");
        key.post(server, &path, body).await.expect(200);
    }
}

async fn what_was_changed_on_its_way_is_refused(server: TestServer) {
    let secret = secret(&server).await;
    for algorithm in Algorithm::ALL {
        check_changes(&server, enrolled_with(&server, &secret, algorithm).await).await;
    }
}

async fn check_changes(server: &TestServer, (key, node_key): (Key, String)) {
    let body = json!({"orbit_node_key": node_key, "orbit_version": "1.0.0"});
    let sent = || key.sign(server, (CONFIG, &body), 0);
    let other = json!({"orbit_node_key": node_key, "orbit_version": "6.6.6"});
    let changed = send(server.post(CONFIG).json(other.clone()), &sent()).await;
    assert!(changed.expect(400).text("error").contains("the body is not the one"), "{changed:?}");
    // A header is lost on the way.
    send(server.post(CONFIG).json(body.clone()), &sent()[..2]).await.expect(400);
    // The digest is changed along with the body.
    let mut headers = sent();
    headers[0] = key.sign(server, (CONFIG, &other), 0)[0].clone();
    send(server.post(CONFIG).json(other), &headers).await.expect(400);
    send(server.post("/api/fleet/orbit/token").json(body.clone()), &sent()).await.expect(400);
    // A signature of the same for another method.
    let text = body.to_string();
    let message = Message { method: "PUT", path: CONFIG, body: text.as_bytes() };
    let headers = key.sign_message(server, &message, 0);
    send(server.post(CONFIG).json(body.clone()), &headers).await.expect(400);
    // It says another algorithm than its key's, and is signed as such.
    let message = Message { method: "POST", path: CONFIG, body: text.as_bytes() };
    let created = Clock::Manual(server.clock.clone()).now().as_second();
    for algorithm in Algorithm::ALL {
        let claims = Claims { created, nonce: "n", key_id: &key.public, algorithm };
        let draft = Draft::new(&message, &claims);
        let signature = key.sign_base(&draft.base);
        let reply = send(server.post(CONFIG).json(body.clone()), &draft.headers(&signature)).await;
        reply.expect(if algorithm == key.algorithm() { 200 } else { 400 });
    }
    // Somebody on the way may sign, too.
    let call = server.post(CONFIG).json(body.clone());
    let call =
        call.header("signature-input", "proxy=(\"@method\")").header("signature", "proxy=:AA==:");
    send(call, &sent()).await.expect(200);
}

async fn signatures_count_for_minutes_and_once(server: TestServer) {
    let secret = secret(&server).await;
    for algorithm in Algorithm::ALL {
        check_time(&server, enrolled_with(&server, &secret, algorithm).await).await;
    }
}

async fn check_time(server: &TestServer, (key, node_key): (Key, String)) {
    for later in [-301, 301, -86_400] {
        let refused = key.ask(server, &node_key, later).await;
        assert!(refused.expect(400).text("error").contains("clock"), "{refused:?}");
    }
    key.ask(server, &node_key, -300).await.expect(200);
    let body = json!({"orbit_node_key": node_key});
    let headers = key.sign(server, (CONFIG, &body), 300);
    let again = async || send(server.post(CONFIG).json(body.clone()), &headers).await;
    again().await.expect(200);
    again().await.expect(400);
    for _ in 0..6 {
        server.pass(100);
        assert_eq!(again().await.expect(400).text("error"), "the request was sent before");
    }
    server.pass(1);
    assert!(again().await.expect(400).text("error").contains("too long ago"));
    key.ask(server, &node_key, 0).await.expect(200);
}

async fn an_enrollment_is_taken_once_by_all_servers_together(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let key = Key::new();
    let mut orbits = machine("a");
    orbits["enroll_secret"] = (*secret).into();
    orbits["device_key"] = (*key.public).into();
    let headers = key.sign(&server, (ENROLL, &orbits), 0);
    let told = send(server.post(ENROLL).json(orbits.clone()), &headers).await;
    let node_key = told.expect(200).text("orbit_node_key");
    let other = server.second_node().await;
    let mut requests = vec![(ENROLL, orbits, headers)];
    for admits in [&secret, &node_key] {
        let body = json!({"enroll_secret": admits, "host_identifier": "a"});
        let headers = key.sign(&server, (OSQUERY_ENROLL, &body), 0);
        send(server.post(OSQUERY_ENROLL).json(body.clone()), &headers).await.expect(200);
        requests.push((OSQUERY_ENROLL, body, headers));
    }
    for (path, body, headers) in &requests {
        let again = send(other.post(path).json(body.clone()), headers).await;
        assert_eq!(again.expect(400).text("error"), "the request was sent before", "{path}");
    }
    key.ask(&other, &node_key, 0).await.expect(200);
    let (path, body, _) = &requests[0];
    let headers = key.sign(&server, (path, body), 1);
    let both = [&server, &other].map(|node| send(node.post(path).json(body.clone()), &headers));
    let [one, two] = both;
    let (one, two) = join(one, two).await;
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
}

async fn a_device_enrolls_only_with_a_key_that_it_has(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let (key, stranger) = (Key::new(), Key::new());
    let mut body = machine("a");
    body["enroll_secret"] = (*secret).into();
    body["device_key"] = (*key.public).into();
    server.post(ENROLL).json(body.clone()).await.expect(422);
    let headers = stranger.sign(&server, (ENROLL, &body), 0);
    send(server.post(ENROLL).json(body.clone()), &headers).await.expect(422);
    let headers = key.sign(&server, (ENROLL, &body), -1_000);
    send(server.post(ENROLL).json(body.clone()), &headers).await.expect(400);
    let compressed = format!("02{}", &Key::of(Algorithm::EcdsaP256Sha256).public[2..66]);
    for senseless in ["00", &compressed] {
        let mut body = body.clone();
        body["device_key"] = senseless.into();
        let named = Key { public: senseless.to_owned(), ..Key::new() };
        let headers = named.sign(&server, (ENROLL, &body), 0);
        send(server.post(ENROLL).json(body), &headers).await.expect(422);
    }
    assert!(server.devices(&owner).await.is_empty());
    let old = key.enroll(&server, &secret).await.expect(200).text("orbit_node_key");
    // With another key from another enrollment on, and with none.
    let new = stranger.enroll(&server, &secret).await.expect(200).text("orbit_node_key");
    key.ask(&server, &old, 0).await.expect(401);
    key.ask(&server, &new, 0).await.expect(401);
    stranger.ask(&server, &new, 0).await.expect(200);
    // With one of the other kind, as a device whose TPM was switched on, and off again.
    let tpms = Key::of(Algorithm::EcdsaP256Sha256);
    let newer = tpms.enroll(&server, &secret).await.expect(200).text("orbit_node_key");
    stranger.ask(&server, &newer, 0).await.expect(401);
    tpms.ask(&server, &newer, 0).await.expect(200);
    key.enroll(&server, &secret).await.expect(200);
    tpms.ask(&server, &newer, 0).await.expect(401);
    let plain = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    assert!(server.orbit_works(&plain).await);
}

/// Of two numbers `r` and `s`, `s` may be `n - s` as well: whoever has seen a signature can make another of it.
async fn a_signature_of_p256_counts_in_one_form_and_once(server: TestServer) {
    let secret = secret(&server).await;
    let (key, node_key) = enrolled_with(&server, &secret, Algorithm::EcdsaP256Sha256).await;
    let body = json!({"orbit_node_key": node_key});
    let text = body.to_string();
    let message = Message { method: "POST", path: CONFIG, body: text.as_bytes() };
    let draft = || key.draft(&server, &message, 0);
    let post = async |headers: [(&'static str, String); 3]| {
        send(server.post(CONFIG).json(body.clone()), &headers).await
    };
    let sent = draft();
    let signature = key.sign_base(&sent.base);
    let mirrored = [&signature[..32], &negated(&signature[32..])].concat();
    assert_ne!(mirrored, signature);
    post(sent.clone().headers(&signature)).await.expect(200);
    let again = post(sent.headers(&mirrored)).await;
    assert_eq!(again.expect(400).text("error"), "the request was sent before");
    // It would have been good, had it come first, and is then as good as the other.
    let sent = draft();
    let signature = key.sign_base(&sent.base);
    let mirrored = [&signature[..32], &negated(&signature[32..])].concat();
    post(sent.clone().headers(&mirrored)).await.expect(200);
    post(sent.headers(&signature)).await.expect(400);
    // In DER, as other protocols have it; cut short; prolonged; zeros.
    let Pair::P256(pair) = &key.pair else { panic!("it is of P-256") };
    let pkcs8 = pair.to_pkcs8v1().unwrap();
    let der = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).unwrap();
    let sent = draft();
    let in_der = der.sign(&SystemRandom::new(), sent.base.as_bytes()).unwrap();
    let good = key.sign_base(&sent.base);
    let long = [&good[..], &[0]].concat();
    for bad in [&good[..63], &long, in_der.as_ref(), &[0; 64], &[]] {
        post(sent.clone().headers(bad)).await.expect(400);
    }
    post(sent.headers(&good)).await.expect(200);
}

/// The order of P-256's group (SEC 2, section 2.4.2) less `number`, both of 32 bytes.
fn negated(number: &[u8]) -> Vec<u8> {
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let mut borrowed = false;
    let mut rest = hex::decode(order).unwrap();
    for (digit, minus) in rest.iter_mut().zip(number).rev() {
        let (once, first) = digit.overflowing_sub(*minus);
        let (twice, second) = once.overflowing_sub(u8::from(borrowed));
        (*digit, borrowed) = (twice, first || second);
    }
    rest
}

async fn where_signatures_are_required_nobody_goes_without(server: TestServer) {
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let plain = server.enroll(&secret, machine("b")).await.text("orbit_node_key");
    let osquery = server.enroll_osquery(&secret, "b").await.text("node_key");
    assert!(server.orbit_works(&plain).await);
    let strict = server.second_node_with(|config| config.devices.require_signature = true).await;
    assert!(!strict.orbit_works(&plain).await);
    let refused = strict.enroll(&secret, machine("b")).await;
    assert!(refused.expect(403).text("error").contains("--device-key"));
    let tpms = Key::of(Algorithm::EcdsaP256Sha256);
    let node_key = tpms.enroll(&strict, &secret).await.expect(200).text("orbit_node_key");
    tpms.ask(&strict, &node_key, 0).await.expect(200);
    let key = Key::new();
    let node_key = key.enroll(&strict, &secret).await.expect(200).text("orbit_node_key");
    key.ask(&strict, &node_key, 0).await.expect(200);
    let ask = json!({"node_key": osquery});
    strict.post("/api/osquery/config").json(ask).await.expect(401);
    for device in ["b", "nobody"] {
        let refused = strict.enroll_osquery(&secret, device).await;
        assert!(refused.expect(403).text("error").contains("--device-key"));
    }
    let request = json!({"enroll_secret": secret, "host_identifier": "a"});
    key.post(&strict, OSQUERY_ENROLL, request).await.expect(200);
}

async fn behind_a_proxy_that_shortens_paths_the_whole_path_is_signed(server: TestServer) {
    let (key, node_key) = enrolled(&server).await;
    let url = "https://fleet.example.com/base/".parse().unwrap();
    let behind = server.second_node_with(|config| config.server.url = Some(url)).await;
    key.ask(&behind, &node_key, 0).await.expect(400);
    let body = json!({"orbit_node_key": node_key});
    let headers = key.sign(&behind, (&format!("/base{CONFIG}"), &body), 0);
    send(behind.post(CONFIG).json(body), &headers).await.expect(200);
}
