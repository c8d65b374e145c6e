//! Devices with a key of their own: what they ask counts with its signature alone.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use server::Clock;
use wire::signature::{Claims, Draft, Message, SIGNATURE};

use crate::harness::{Call, Reply, TestServer, machine};

crate::on_both_databases! {
    a_stolen_node_key_is_worth_nothing_without_the_devices_own,
    what_was_changed_on_its_way_is_refused,
    signatures_count_for_minutes_and_once,
    a_device_enrolls_only_with_a_key_that_it_has,
    where_signatures_are_required_nobody_goes_without,
    behind_a_proxy_that_shortens_paths_the_whole_path_is_signed,
}

const CONFIG: &str = "/api/fleet/orbit/config";
const ENROLL: &str = "/api/fleet/orbit/enroll";

/// A device's key.
struct Key {
    pair: Ed25519KeyPair,
    public: String,
}

impl Key {
    fn new() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = hex::encode(pair.public_key());
        Self { pair, public }
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
        let created = Clock::Manual(server.clock.clone()).now().as_second() + later;
        let nonce = uuid::Uuid::new_v4().to_string();
        let claims = Claims { created, nonce: &nonce, key_id: &self.public };
        let draft = Draft::new(message, &claims);
        let signature = self.pair.sign(draft.base.as_bytes());
        draft.headers(signature.as_ref())
    }

    async fn enroll(&self, server: &TestServer, secret: &str) -> Reply {
        let mut body = machine("a");
        body["enroll_secret"] = secret.into();
        body["device_key"] = (*self.public).into();
        let headers = self.sign(server, (ENROLL, &body), 0);
        send(server.post(ENROLL).json(body), &headers).await
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
    let owner = server.owner().await;
    let (_, secret) = server.secret(&owner, json!({})).await;
    let key = Key::new();
    let reply = key.enroll(server, &secret).await;
    (key, reply.expect(200).text("orbit_node_key"))
}

async fn a_stolen_node_key_is_worth_nothing_without_the_devices_own(server: TestServer) {
    let (key, node_key) = enrolled(&server).await;
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
        send(post(), &Key::new().sign(&server, (&path, &body), 0)).await.expect(401);
        let mut unsigned = key.sign(&server, (&path, &body), 0);
        let (_, signature) = unsigned.iter_mut().find(|(name, _)| *name == SIGNATURE).unwrap();
        *signature = format!("device=:{}:", "A".repeat(88));
        send(post(), &unsigned).await.expect(400);
        send(post(), &key.sign(&server, (&path, &body), 0)).await.expect(200);
    }
    let connect = || server.get("/api/device/connect").bearer(&node_key);
    connect().await.expect(401);
    let message = Message { method: "GET", path: "/api/device/connect", body: b"" };
    let mut kept = with(connect(), &key.sign_message(&server, &message, 0)).open().await;
    assert_eq!(kept.status(), 200);
    for part in ["connected", "alive", "alive"] {
        let frame = kept.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(String::from_utf8(frame.to_vec()).unwrap().contains(part));
    }
    // osqueryd cannot sign, and does not get by with it either.
    let request = json!({"enroll_secret": node_key, "host_identifier": "a"});
    server.post("/api/osquery/enroll").json(request).await.expect(401);
    let node = server.second_node().await;
    assert!(!node.orbit_works(&node_key).await);
    key.ask(&node, &node_key, 0).await.expect(200);
}

async fn what_was_changed_on_its_way_is_refused(server: TestServer) {
    let (key, node_key) = enrolled(&server).await;
    let body = json!({"orbit_node_key": node_key, "orbit_version": "1.0.0"});
    let sent = || key.sign(&server, (CONFIG, &body), 0);
    let other = json!({"orbit_node_key": node_key, "orbit_version": "6.6.6"});
    let changed = send(server.post(CONFIG).json(other.clone()), &sent()).await;
    assert!(changed.expect(400).text("error").contains("the body is not the one"), "{changed:?}");
    // A header is lost on the way.
    send(server.post(CONFIG).json(body.clone()), &sent()[..2]).await.expect(400);
    // The digest is changed along with the body.
    let mut headers = sent();
    headers[0] = key.sign(&server, (CONFIG, &other), 0)[0].clone();
    send(server.post(CONFIG).json(other), &headers).await.expect(400);
    send(server.post("/api/fleet/orbit/token").json(body.clone()), &sent()).await.expect(400);
    // A signature of the same for another method.
    let text = body.to_string();
    let message = Message { method: "PUT", path: CONFIG, body: text.as_bytes() };
    let created = Clock::Manual(server.clock.clone()).now().as_second();
    let claims = Claims { created, nonce: "n", key_id: &key.public };
    let draft = Draft::new(&message, &claims);
    let signature = key.pair.sign(draft.base.as_bytes());
    let headers = draft.headers(signature.as_ref());
    send(server.post(CONFIG).json(body.clone()), &headers).await.expect(400);
    // Somebody on the way may sign, too.
    let call = server.post(CONFIG).json(body.clone());
    let call =
        call.header("signature-input", "proxy=(\"@method\")").header("signature", "proxy=:AA==:");
    send(call, &sent()).await.expect(200);
}

async fn signatures_count_for_minutes_and_once(server: TestServer) {
    let (key, node_key) = enrolled(&server).await;
    for later in [-301, 301, -86_400] {
        let refused = key.ask(&server, &node_key, later).await;
        assert!(refused.expect(400).text("error").contains("clock"), "{refused:?}");
    }
    key.ask(&server, &node_key, -300).await.expect(200);
    let body = json!({"orbit_node_key": node_key});
    let headers = key.sign(&server, (CONFIG, &body), 300);
    let again = async || send(server.post(CONFIG).json(body.clone()), &headers).await;
    again().await.expect(200);
    again().await.expect(400);
    for _ in 0..6 {
        server.pass(100);
        assert_eq!(again().await.expect(400).text("error"), "the request was sent before");
    }
    server.pass(1);
    assert!(again().await.expect(400).text("error").contains("too long ago"));
    key.ask(&server, &node_key, 0).await.expect(200);
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
    let mut senseless = body.clone();
    senseless["device_key"] = "00".into();
    let headers = key.sign(&server, (ENROLL, &senseless), 0);
    send(server.post(ENROLL).json(senseless), &headers).await.expect(422);
    assert!(server.devices(&owner).await.is_empty());
    let old = key.enroll(&server, &secret).await.expect(200).text("orbit_node_key");
    // With another key from another enrollment on, and with none.
    let new = stranger.enroll(&server, &secret).await.expect(200).text("orbit_node_key");
    key.ask(&server, &old, 0).await.expect(401);
    key.ask(&server, &new, 0).await.expect(401);
    stranger.ask(&server, &new, 0).await.expect(200);
    let plain = server.enroll(&secret, machine("a")).await.text("orbit_node_key");
    assert!(server.orbit_works(&plain).await);
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
    let key = Key::new();
    let node_key = key.enroll(&strict, &secret).await.expect(200).text("orbit_node_key");
    key.ask(&strict, &node_key, 0).await.expect(200);
    let ask = json!({"node_key": osquery});
    strict.post("/api/osquery/config").json(ask).await.expect(200);
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
