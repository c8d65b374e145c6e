//! The real binary: TLS, refusals at start, slow clients, a graceful stop.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::postgres::owner_of;

/// A running `fleet-server`; killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) url: String,
    /// Only at the first start.
    pub(crate) code: Option<String>,
    /// What it logged once it listened.
    log: Arc<Mutex<String>>,
}

#[expect(clippy::disallowed_methods, reason = "tests start programs")]
pub(crate) fn fleet_server() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-server"));
    command.env_clear();
    command
}

#[expect(clippy::disallowed_methods, reason = "tests start programs")]
fn curl(args: &[&str]) -> Output {
    Command::new("curl").args(["-sS"]).args(args).output().expect("curl is installed")
}

impl Running {
    /// Starts `serve` on a free port of loopback and waits until it listens.
    pub(crate) fn start(data_dir: &Path, more: &[&str]) -> Self {
        Self::start_in(Path::new("."), data_dir, more)
    }

    /// The same in a directory that paths count from.
    pub(crate) fn start_in(dir: &Path, data_dir: &Path, more: &[&str]) -> Self {
        let mut child = fleet_server()
            .current_dir(dir)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut next = || {
            let mut line = String::new();
            log.read_line(&mut line).unwrap();
            line
        };
        let mut told = String::new();
        let url = loop {
            let line = next();
            assert!(!line.is_empty(), "the server ended before it listened: {told}");
            told += &line;
            if let Some(url) = line.trim().strip_prefix("listening on ") {
                break url.to_owned();
            }
        };
        let first = !data_dir.join("set-up").exists();
        let code = first.then(|| {
            let line = next();
            let (command, code) = line.trim().rsplit_once(" --code ").expect("a set-up line");
            assert!(command.contains(&format!("fleetctl setup --url {url}")), "{line}");
            fs::write(data_dir.join("set-up"), "").unwrap();
            code.to_owned()
        });
        let kept = Arc::new(Mutex::new(String::new()));
        let keeper = Arc::clone(&kept);
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                *keeper.lock().unwrap() += &(line + "\n");
            }
        });
        Self { child, url, code, log: kept }
    }

    /// The same with a configuration (YAML) and its data in `dir`, in `name`; on a database of
    /// PostgreSQL if one is named.
    pub(crate) fn start_on(
        database: Option<&str>,
        (dir, name): (&Path, &str),
        config: &str,
    ) -> Self {
        let file = dir.join("config.yaml");
        fs::write(&file, config).unwrap();
        let mut more = vec!["--config", file.to_str().unwrap()];
        let owner = database.map(owner_of);
        more.extend(database.iter().flat_map(|url| ["--database", *url]));
        more.extend(owner.iter().flat_map(|url| ["--migrate-database", url.as_str()]));
        Self::start(&dir.join(name), &more)
    }

    fn address(&self) -> &str {
        self.url.rsplit("//").next().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The most memory that a process has had, in MiB.
fn peak_memory(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

#[test]
fn what_strangers_send_takes_at_most_four_times_its_bytes_in_memory() {
    const AT_ONCE: usize = 8;
    let dir = tempfile::tempdir().unwrap();
    let server = Running::start(&dir.path().join("data"), &[]);
    let filled = |begin: &str, part: &str, end: &str| {
        format!("{begin}{}{end}", part.repeat((9 << 20) / part.len()))
    };
    let bodies = [
        filled("{\"node_key\":\"x\",\"log_type\":\"result\",\"data\":[0", ",0", "]}"),
        filled("{\"node_key\":\"x\",\"queries\":{\"q\":[{}", ",{}", "]}}"),
        filled("{\"node_key\":\"x\",\"log_type\":\"result\",\"data\":[", "[", ""),
        filled("{\"node_key\":", "{\"node_key\":", ""),
    ];
    let before = peak_memory(server.child.id());
    crate::harness::runtime().block_on(async {
        let client = reqwest::Client::new();
        for path in ["/api/osquery/log", "/api/osquery/distributed/write"] {
            for body in &bodies {
                let sent = (0..AT_ONCE).map(|_| {
                    let request = client.post(format!("{}{path}", server.url));
                    request.body(body.clone()).send()
                });
                for reply in futures_util::future::join_all(sent).await {
                    let status = reply.unwrap().status().as_u16();
                    assert!([400, 401, 422].contains(&status), "{status}");
                }
            }
        }
    });
    let taken = peak_memory(server.child.id()) - before;
    // 9 MiB each, in a buffer that grows by doubling and is then copied into one piece.
    assert!(taken < AT_ONCE * 9 * 4, "{taken} MiB above {before} MiB");
}

#[test]
fn a_made_certificate_is_trusted_by_curl_and_openssl_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let tls = dir.path().join("tls");
    let make = || {
        let args = ["--host", "localhost", "--host", "127.0.0.1", "--host", "::1"];
        fleet_server().args(["cert", "--out-dir"]).arg(&tls).args(args).output().unwrap()
    };
    assert!(make().status.success());
    let [ca, pem, key] = ["ca.pem", "server.pem", "server.key"].map(|name| tls.join(name));
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&key).unwrap();
    let again = make();
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("ca.pem` exists"), "{again:?}");
    assert_eq!(fs::read(&key).unwrap(), before);

    let [ca, pem, key] = [&ca, &pem, &key].map(|path| path.to_str().unwrap());
    let server =
        Running::start(&dir.path().join("data"), &["--tls-certificate", pem, "--tls-key", key]);
    assert!(server.url.starts_with("https://127.0.0.1:"));
    for version in ["--http1.1", "--http2"] {
        let reply = curl(&[version, "--cacert", ca, &format!("{}/health/ready", server.url)]);
        assert_eq!(text(&reply.stdout), "ok\n", "{reply:?}");
    }
    let untrusted = curl(&[&format!("{}/health/live", server.url)]);
    assert_eq!(untrusted.status.code(), Some(60), "curl does not trust it by itself");
    let plain = curl(&[&format!("http://{}/health/live", server.address())]);
    assert!(!plain.status.success());
    verify(ca, pem);
}

#[expect(clippy::disallowed_methods, reason = "tests start programs")]
fn verify(ca: &str, pem: &str) {
    let args = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", ca, pem];
    let verified = Command::new("openssl").args(args).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn health_is_told_by_the_server_with_the_configured_certificate_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for name in ["ours", "theirs"] {
        let made = ["cert", "--host", "fleet.example.com", "--out-dir", &path(name)];
        assert!(fleet_server().args(made).output().unwrap().status.success());
    }
    let tls = |name: &str| {
        [
            "--tls-certificate".to_owned(),
            path(&format!("{name}/server.pem")),
            "--tls-key".to_owned(),
            path(&format!("{name}/server.key")),
        ]
    };
    let ours = tls("ours");
    let server = Running::start(&dir.path().join("data"), &ours.each_ref().map(String::as_str));
    let asked = |listen: &str, tls: &[String]| {
        fleet_server().args(["health", "--listen", listen]).args(tls).output().unwrap()
    };
    let healthy = asked(server.address(), &ours);
    assert_eq!(text(&healthy.stdout), "ready\n", "{healthy:?}");
    for (unhealthy, told) in [
        (asked(server.address(), &tls("theirs")), "TLS with the configured certificate"),
        (asked(server.address(), &[]), "could not ask"),
        (asked("127.0.0.1:0", &ours), "name one"),
    ] {
        assert_eq!(unhealthy.status.code(), Some(1), "{unhealthy:?}");
        assert!(text(&unhealthy.stderr).contains(told), "{unhealthy:?}");
    }
    let address = server.address().to_owned();
    drop(server);
    assert_eq!(asked(&address, &ours).status.code(), Some(1));
}

#[test]
fn the_version_is_told_in_two_ways() {
    let told = |arg: &str| text(&fleet_server().arg(arg).output().unwrap().stdout);
    assert!(told("version").starts_with("fleet-server "));
    assert_eq!(told("version"), told("--version"));
}

#[test]
fn plain_http_in_the_open_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let refused = fleet_server()
        .args(["serve", "--listen", "0.0.0.0:0", "--data-dir"])
        .arg(dir.path().join("data"))
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let message = text(&refused.stderr);
    for word in ["plain HTTP", "tls.certificate", "fleet-server cert", "server.trusted_proxies"] {
        assert!(message.contains(word), "{message}");
    }
    assert!(!dir.path().join("data").exists(), "nothing was begun");
}

#[test]
fn a_certificate_that_does_not_fit_its_key_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for name in ["one", "two"] {
        let made = fleet_server()
            .args(["cert", "--host", "localhost", "--out-dir", &path(name)])
            .output()
            .unwrap();
        assert!(made.status.success());
    }
    let serve = |pem: &str, key: &str| {
        let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", &path("data")];
        let tls = ["--tls-certificate", pem, "--tls-key", key];
        fleet_server().args(args).args(tls).output().unwrap()
    };
    for (pem, key, word) in [
        (path("one/server.pem"), path("two/server.key"), "cannot be used together"),
        (path("none.pem"), path("one/server.key"), "could not read the certificate"),
        (path("one/server.key"), path("one/server.key"), "holds no certificate"),
        (path("one/server.pem"), path("one/server.pem"), "could not read the private key"),
    ] {
        let refused = serve(&pem, &key);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(word), "{refused:?}");
    }
}

#[test]
fn a_stop_signal_ends_it_with_success() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut server = Running::start(&data, &[]);
    for (path, mode) in [("", 0o700), ("fleet.db", 0o600), ("fleet.db-wal", 0o600)] {
        let found = fs::metadata(data.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{path}");
    }
    let pid = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn slow_bodies_and_slow_headers_are_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.yaml");
    fs::write(&config, "limits: {body_timeout: 300ms, header_timeout: 300ms}\n").unwrap();
    let data = dir.path().join("data");
    let server = Running::start(&data, &["--config", config.to_str().unwrap()]);
    let talk = |request: &str| {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    };
    let head = "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let reply = talk(&format!("{head}Content-Length: 100\r\nConnection: close\r\n\r\n{{"));
    assert!(reply.starts_with("HTTP/1.1 408"), "{reply}");
    assert!(reply.contains("/problems/body-timeout"), "{reply}");
    let reply = talk("GET /health/live HTTP/1.1\r\nHost: ");
    assert!(!reply.contains("200 OK"), "the connection was closed: {reply}");
}

#[test]
fn behind_a_named_proxy_plain_http_is_for_the_proxy_alone() {
    use crate::harness::{Engine, TestServer, runtime};
    runtime().block_on(async {
        let server = TestServer::start_with(Engine::Sqlite, |config| {
            config.tls = None;
            config.server.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        })
        .await;
        server.get("/health/live").from("10.1.2.3").await.expect(200);
        server.get("/health/live").from("127.0.0.1").await.expect(200);
        let reply = server.get("/health/live").from("192.0.2.1").await;
        reply.expect(403).problem("https-required");
        let forged =
            server.get("/health/live").from("192.0.2.1").header("x-forwarded-for", "10.0.0.1");
        forged.await.expect(403);
    });
}

/// Rows: A8
/// Rows in part: F2
#[test]
fn logs_hold_no_secret_even_when_they_tell_everything_else() {
    let dir = tempfile::tempdir().unwrap();
    let server = Running::start(&dir.path().join("data"), &["--log", "debug"]);
    let post = |path: &str, token: &str, body: serde_json::Value| {
        let bearer = format!("authorization: Bearer {token}");
        let (url, body) = (format!("{}{path}", server.url), body.to_string());
        let headers = ["-H", bearer.as_str(), "-H", "content-type: application/json"];
        let args = [headers.as_slice(), &["--data", body.as_str(), url.as_str()]].concat();
        serde_json::from_slice::<serde_json::Value>(&curl(&args).stdout).unwrap()
    };
    let told = |reply: &serde_json::Value, field: &str| crate::harness::text(reply, field);
    let code = server.code.clone().unwrap();
    let password = "A password that nobody logs, 1";
    let owner = post(
        "/auth/register",
        "",
        serde_json::json!({"setup_code": code, "email": "o@x.org",
        "name": "O", "password": password, "organization": "A", "client": "cli"}),
    );
    let access = told(&owner, "access_token");
    let made = post("/enroll-secrets", &access, serde_json::json!({"name": "s"}));
    let secret = told(&made, "secret");
    let key = serde_json::json!({"name": "k", "scopes": ["devices:read"]});
    let key = told(&post("/api-keys", &access, key), "key");
    let device = serde_json::json!({"enroll_secret": secret, "hardware_uuid": "the-marker"});
    let node_key = told(&post("/api/fleet/orbit/enroll", "", device), "orbit_node_key");
    let wrong = "a wrong secret that nobody logs either";
    post(
        "/api/fleet/orbit/enroll",
        "",
        serde_json::json!({"enroll_secret": wrong, "hardware_uuid": "x"}),
    );
    post("/auth/login", "", serde_json::json!({"email": "o@x.org", "password": wrong}));
    let in_the_url = "a-password-in-the-wrong-place";
    let query = format!("/auth/login?email=o%40x.org&password={in_the_url}");
    post(&query, "", serde_json::json!({}));
    let log = server.log.lock().unwrap().clone();
    assert!(log.contains("the-marker") && log.contains("unknown secret"), "{log}");
    let refresh = told(&owner, "refresh_token");
    for value in [&code, password, &access, &refresh, &secret, &key, &node_key, wrong, in_the_url] {
        assert!(!log.contains(value), "{value}");
    }
}
