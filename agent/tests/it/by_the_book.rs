//! The agent with an osqueryd that knows osquery's documentation and nothing of ours: it finds its way
//! to the server, also where nobody checks who that is, and loads extensions.

use std::{fs, os::unix::fs::PermissionsExt as _, process};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use tokio::process::Command;
use wire::settings::{files, vars};

use crate::{
    device::{Device, until},
    fleet::{Fleet, SECRET},
    program::{Orbit, wait_until},
};

/// What the real one is told by flags, it takes from these.
const FLAGS: &str = "--tls_dump=true\n--config_refresh=0.05\n--distributed_interval=0.05\n\
                     --logger_tls_period=0.05\n";

/// A device that runs it.
pub(crate) fn device_of(fleet: &Fleet) -> Device {
    let device = Device::of(fleet);
    let folder = device.root().join("bin/osqueryd");
    fs::create_dir_all(&folder).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/osqueryd.py");
    fs::copy(script, folder.join("osqueryd")).unwrap();
    device.write(files::OSQUERY_FLAGS, FLAGS);
    device
}

/// What it said and heard, over TLS.
fn exchanges(device: &Device) -> Vec<Value> {
    let text = device.read("osquery_log/exchanges.jsonl").unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

pub(crate) fn was_answered(device: &Device, path: &str) -> bool {
    exchanges(device).iter().any(|exchange| {
        exchange["path"].as_str().is_some_and(|it| it.ends_with(path)) && exchange["status"] == 200
    })
}

#[tokio::test]
async fn osqueryd_enrolls_with_what_the_agent_tells_it() {
    let fleet = Fleet::start();
    let device = device_of(&fleet);
    device.run(async |_| until(|| was_answered(&device, "/distributed/write")).await).await;
    let enrolled = exchanges(&device)[0].clone();
    assert_eq!(enrolled["path"], "/api/v1/osquery/enroll");
    assert_eq!(enrolled["request"]["enroll_secret"], SECRET);
    let name = "4c4c4544-0042-3510-8054-b9c04f4d3132";
    assert_eq!(enrolled["request"]["host_identifier"], name);
    let told = fleet.memory().answers[0].clone();
    assert_eq!(told["queries"]["uuid"], json!([{ "uuid": name }]));
    assert_eq!(told["statuses"], json!({ "uuid": 0, "wrong": 1 }));
    assert_eq!(told["queries"].get("elsewhere"), None, "its discovery has found nothing");
}

/// Nobody else has the certificate that the relay asks for.
#[tokio::test]
async fn where_nothing_is_checked_osqueryd_asks_through_a_relay_that_serves_it_alone() {
    let fleet = Fleet::start();
    let mut device = device_of(&fleet);
    fs::remove_file(device.root().join(files::SERVER_CA)).unwrap();
    device.set(vars::INSECURE, "true");
    device.set(vars::FLEET_URL, &format!("{}base/", fleet.url()));
    let relay = device.root().join(files::RELAY);
    let key = || fs::read_to_string(relay.join("osqueryd.key")).unwrap();
    device
        .run(async |_| {
            until(|| was_answered(&device, "/base/api/v1/osquery/distributed/write")).await;
            let mode = fs::metadata(relay.join("osqueryd.key")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            check_alone(&device, &relay).await;
        })
        .await;
    let before = key();
    let asked = exchanges(&device).len();
    device.run(async |_| until(|| exchanges(&device).len() > asked).await).await;
    assert_ne!(key(), before, "keys are made anew at each start");
}

/// It asks no system, which here has one authority, the server's.
#[test]
fn osqueryd_goes_by_the_authorities_that_the_agent_goes_by() {
    let fleet = Fleet::start();
    let mut device = device_of(&fleet);
    let system = device.root().join("system.pem");
    fs::rename(device.root().join(files::SERVER_CA), &system).unwrap();
    device.set("SSL_CERT_FILE", system.as_str());
    device.set("PATH", "/usr/bin:/bin");
    let orbit = Orbit::start(&device);
    wait_until("osqueryd's answers", || was_answered(&device, "/distributed/write"));
    assert!(orbit.stop().success());
    let given = device.read(files::OSQUERY_AUTHORITIES).unwrap();
    assert!(given.contains(fleet.ca().trim_end()), "{given}");
    assert!(given.matches("-----BEGIN CERTIFICATE-----").count() > 100, "Mozilla's come beside it");
}

/// Where osqueryd was told that the server is.
pub(crate) fn osqueryds_server(device: &Device) -> String {
    let process = device.read(files::OSQUERY_PID).unwrap();
    let arguments = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap();
    let server = arguments.split('\0').find_map(|it| it.strip_prefix("--tls_hostname="));
    server.unwrap().to_owned()
}

#[tokio::test]
async fn where_there_can_be_no_relay_osqueryd_starts_once_there_can() {
    let fleet = Fleet::start();
    let mut device = device_of(&fleet);
    device.set(vars::INSECURE, "true");
    device.write(files::RELAY, "where its folder is to be");
    device
        .run(async |log| {
            until(|| log.text().contains("could not start osqueryd")).await;
            fs::remove_file(device.root().join(files::RELAY)).unwrap();
            until(|| was_answered(&device, "/distributed/write")).await;
        })
        .await;
}

/// As anybody on the machine would ask.
async fn check_alone(device: &Device, relay: &Utf8Path) {
    let server = osqueryds_server(device);
    assert!(server.starts_with("localhost:"), "{server}");
    let ask = async |more: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--cacert", relay.join("fleet.crt").as_str()]).args(more);
        curl.arg(format!("https://{server}/base/api/fleet/orbit/ping")).output().await.unwrap()
    };
    assert!(!ask(&[]).await.status.success(), "without its certificate");
    let [certificate, key] = ["osqueryd.crt", "osqueryd.key"].map(|name| relay.join(name));
    let let_in = ask(&["-f", "--cert", certificate.as_str(), "--key", key.as_str()]).await;
    assert!(let_in.status.success(), "{let_in:?}");
}

/// A repository in which anything can be published, and a device that trusts it.
struct Published {
    directory: tempfile::TempDir,
}

impl Published {
    fn new() -> Self {
        Self { directory: tempfile::TempDir::with_prefix("tuf-").unwrap() }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.directory.path()).unwrap().join(name)
    }

    /// Has the repository list just these targets, with these contents.
    #[expect(clippy::disallowed_methods, reason = "another's publisher is a program")]
    fn publish(&self, targets: &[(&str, &str)]) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tuf.py");
        let mut command = process::Command::new("python3");
        command.arg(script).arg(self.path("repository"));
        for (number, (name, content)) in targets.iter().enumerate() {
            let file = self.path(&format!("file-{number}"));
            fs::write(&file, content).unwrap();
            command.arg(format!("{name}={file}"));
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn serve(&self, fleet: &Fleet, device: &Device) {
        fleet.memory().mirror.dir = self.path("repository").into();
        let root = fs::read_to_string(self.path("repository/1.root.json")).unwrap();
        device.write(files::UPDATE_ROOT, &root);
    }
}

/// An extension that says with its first words where it was started, and which one it is.
fn extension(number: u32, trace: &Utf8Path) -> String {
    format!("#!/bin/sh\necho \"{number} $*\" >> {trace}\nexec sleep 600\n")
}

fn platform() -> &'static str {
    if cfg!(target_arch = "aarch64") { "linux-arm64" } else { "linux" }
}

#[tokio::test]
async fn extensions_are_brought_loaded_replaced_and_taken_away() {
    let fleet = Fleet::start();
    let mut device = device_of(&fleet);
    device.set(vars::UPDATE_INTERVAL, "1s");
    let published = Published::new();
    let trace = published.path("trace");
    let (hello, other) = (
        format!("extensions/hello/{}/stable/hello.ext", platform()),
        "extensions/other/x/y/other.ext",
    );
    published.publish(&[(&hello, &extension(1, &trace)), (other, "nobody is to have it")]);
    published.serve(&fleet, &device);
    let wish = |platform: &str| json!({ "platform": platform, "channel": "stable" });
    fleet.memory().extensions = json!({
        "hello": wish(platform()),
        "foreign": wish("macos"),
        "../escape": wish(platform()),
        "missing": wish(platform()),
    });
    let seen = || fs::read_to_string(&trace).unwrap_or_default();
    let socket = device.root().join("orbit-osquery.em");
    let loaded = || device.read(files::EXTENSIONS_LOAD).unwrap_or_default();
    let log = device
        .run(async |log| {
            until(|| seen() == format!("1 --socket {socket}\n")).await;
            until(|| log.text().contains("no `extensions/missing")).await;
            check_file(&loaded());
            let first = loaded();

            published.publish(&[(&hello, &extension(2, &trace))]);
            until(|| seen().lines().count() == 2).await;
            assert_eq!(seen().lines().nth(1).unwrap(), format!("2 --socket {socket}"));
            assert!(loaded() != first && !Utf8Path::new(first.trim()).exists(), "{first}");

            // What was lost is brought again, and loaded, although it is where it was.
            fs::remove_file(loaded().trim()).unwrap();
            until(|| seen().lines().count() == 3).await;

            // What cannot be had any more stays until it is listed no longer.
            published.publish(&[]);
            let looks = || fleet.memory().mirror.answers.len();
            let (before, kept) = (looks(), loaded());
            until(|| looks() > before + 20).await;
            assert_eq!(loaded(), kept);
            fleet.memory().extensions = json!({});
            until(|| loaded().is_empty()).await;
        })
        .await;
    assert!(log.text().contains("the server's extension `../escape` cannot be used"));
    let left = fs::read_dir(device.root().join("bin/extensions")).unwrap().count();
    assert_eq!(left, 0, "what is not listed is deleted");
    assert_eq!(seen().lines().count(), 3, "{}", seen());
}

/// One extension, which only its owner can write, in a list that only its owner can read.
fn check_file(list: &str) {
    let path = Utf8Path::new(list.strip_suffix('\n').unwrap());
    assert_eq!(path.file_name(), Some("hello.ext"));
    for path in path.ancestors().take(4) {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o022, 0, "{path} {mode:o}");
    }
}
