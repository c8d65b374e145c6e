//! The configuration file, through `fleet-server config check`.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use server::config::{Mail, Secret, Smtp, SmtpTls};

use crate::binary::fleet_server;

/// Exit code, standard output and standard error for a file with `text`.
fn check(text: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    fs::write(&path, text).unwrap();
    let output = fleet_server()
        .current_dir(dir.path())
        .args(["config", "check", "--config", "config.yaml"])
        .args(more)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Rows: P8
#[test]
fn every_problem_is_reported_at_once_with_its_line() {
    let text = "\
listen:
  address: 0.0.0.0:8443
  colour: red
auth:
  jwt:
    access_ttl: soon
limits:
  login_attempts: 0
server:
  trusted_proxies: [nonsense]
databse:
  url: x
";
    let (code, _, errors) = check(text, &["--tls-certificate", "x.pem"]);
    assert_eq!(code, Some(2));
    for expected in [
        "config.yaml:3: ",
        "unknown field `colour`",
        "config.yaml:6: ",
        "`soon` is not a length of time",
        "config.yaml:10: ",
        "config.yaml:10: ",
        "unknown field `databse`",
        "--tls-certificate: needs --tls-key",
        "limits.login_attempts: must be at least 1",
        "listen.address: 0.0.0.0:8443 would carry secrets over plain HTTP",
    ] {
        assert!(errors.contains(expected), "{expected}\n{errors}");
    }
}

/// Rows: P8
#[test]
fn what_is_printed_is_a_file_that_says_the_same() {
    let text = "\
listen: {address: '127.0.0.1:9'}
data_dir: /srv/fleet
limits: {request_timeout: 2m}
osquery:
  config: {options: {verbose: true}, schedule: {up: {query: SELECT 1, interval: 60}}}
";
    let (code, printed, errors) = check(text, &[]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    for expected in [
        "address: 127.0.0.1:9",
        "request_timeout: 2m",
        "access_ttl: 15m",
        "refresh_ttl: 7d",
        "url: sqlite:/srv/fleet/fleet.db",
        "interval: 60",
        "enroll_failures_per_minute: 60",
    ] {
        assert!(printed.contains(expected), "{expected}\n{printed}");
    }
    let (code, again, _) = check(&printed, &[]);
    assert_eq!((code, again), (Some(0), printed));
}

#[test]
fn passwords_in_database_urls_are_masked() {
    for url in
        ["postgres://fleet:hunter2@db/fleet", "postgres://db/fleet?user=fleet&password=hunter2"]
    {
        let (code, printed, _) = check(&format!("database: {{url: '{url}'}}\n"), &[]);
        assert_eq!(code, Some(0));
        assert!(!printed.contains("hunter2") && printed.contains("***"), "{printed}");
    }
    let (code, _, errors) = check("database: {url: 'mysql://db/fleet'}\n", &[]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("database.url"), "{errors}");
}

#[test]
fn a_missing_file_is_said_and_no_file_is_needed() {
    let output =
        fleet_server().args(["config", "check", "--config", "/nowhere.yaml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("could not read `/nowhere.yaml`"));
    assert!(fleet_server().args(["config", "check"]).output().unwrap().status.success());
}

#[test]
fn what_would_break_later_is_refused_at_once() {
    for (text, problem) in [
        ("updates: {dir: nowhere}", "updates.dir: `nowhere` is not a folder"),
        (
            "updates: {dir: /, bucket: {address: \"s3://a\"}}",
            "updates: needs either updates.dir or updates.bucket",
        ),
        (
            "updates: {bucket: {address: \"https://a\"}}",
            "updates.bucket.address: must be s3:// and a name",
        ),
        (
            "updates: {bucket: {address: \"s3://a\", endpoint: a, access_key_id: b}}",
            "updates.bucket: access_key_id and secret_access_key go together",
        ),
        ("auth:\n  jwt: {refresh_ttl: 7000000d}", "config.yaml:2: "),
        ("auth:\n  session: {timeout: 292000000000y}", "config.yaml:2: "),
        ("auth: {session: {timeout: 3651d}}", "`3651d` is too long: at most 3650d"),
        ("auth: {session: {idle_after: 9000000h}}", "`9000000h` is too long: at most 3650d"),
        ("auth: {session: {recent_login: 25h}}", "`25h` is too long: at most 1d"),
        ("limits:\n  login_attempts: 5\n  login_window: 2d", "config.yaml:3: "),
        ("limits: {login_window: 2d}", "`2d` is too long: at most 1d"),
        ("limits: {request_timeout: 61m}", "`61m` is too long: at most 1h"),
        ("limits: {body_timeout: 2h}", "`2h` is too long: at most 1h"),
        ("limits: {header_timeout: 2h}", "`2h` is too long: at most 1h"),
        ("limits: {shutdown_timeout: 2h}", "`2h` is too long: at most 1h"),
        ("audit: {retention: 4000d}", "`4000d` is too long: at most 3650d"),
        ("api_keys: {max_ttl: 4000d}", "`4000d` is too long: at most 3650d"),
        ("auth: {password: {max_age: 4000d}}", "`4000d` is too long: at most 3650d"),
        ("osquery: {details_interval: 4000d}", "`4000d` is too long: at most 3650d"),
        ("tls: {certificate: c, key: k, client_crl: l}", "tls.client_crl: needs tls.client_ca"),
        (
            "server: {client_certificate_header: client-cert}",
            "server.client_certificate_header: needs server.trusted_proxies",
        ),
        (
            "server: {trusted_proxies: [10.0.0.0/8], client_certificate_header: 'a b'}",
            "server.client_certificate_header: must be the name of a header",
        ),
        ("server: {device_certificates: subject}", "server.device_certificates: `subject` needs"),
        ("metrics: {token: too short}", "metrics.token: must have at least 16 bytes"),
        ("database: {url: 'sqlite::memory:'}", "database.url: the path"),
        ("database: {url: 'sqlite:/tmp/fleet.db?mode=rwc'}", "database.url: the path"),
        ("database: {url: 'sqlite:/tmp/my%20fleet.db'}", "database.url: the path"),
    ] {
        let (status, _, error) = check(text, &[]);
        assert!(status == Some(2) && error.contains(problem), "{text}: {error}");
    }
}

#[test]
fn passwords_may_stand_in_the_environment_and_are_shown_nowhere() {
    let text = "\
database: {url: 'postgres://fleet:${JWT_SECRET}@db/fleet', migrate_url: 'postgres://o:${JWT_SECRET}@db/fleet'}
mail: {from: fleet@x.org, smtp: {host: mail.x.org, username: fleet, password: '${JWT_SECRET}'}}
metrics: {token: '${JWT_SECRET}'}
";
    let (code, printed, errors) = check_with_secret(text, Some("hunter2-hunter2-hunter2"));
    assert_eq!(code, Some(0), "{errors}");
    for expected in ["fleet:***@db/fleet", "o:***@db/fleet", "password: '***'", "token: '***'"] {
        assert!(printed.contains(expected), "{printed}");
    }
    assert!(!printed.contains("hunter2"), "{printed}");
    let (code, _, errors) = check_with_secret(text, None);
    assert_eq!(code, Some(2));
    for key in ["database.url", "database.migrate_url", "mail.smtp.password", "metrics.token"] {
        let said = format!("{key}: the environment variable JWT_SECRET is not set");
        assert!(errors.contains(&said), "{errors}");
    }
    let mut config = server::Config::in_dir("/srv/fleet".into());
    config.database.url = Secret::new("postgres://fleet:hunter2@db/fleet");
    config.database.migrate_url = Some(Secret::new("postgres://owner:hunter2@db/fleet"));
    config.mail = Some(Mail {
        from: String::new(),
        directory: None,
        smtp: Some(Smtp {
            host: String::new(),
            port: None,
            tls: SmtpTls::Implicit,
            username: None,
            password: Some(Secret::new("hunter2")),
            ca: None,
        }),
    });
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
}

/// What the check says of a file with `text` when the environment has `JWT_SECRET`, if given.
fn check_with_secret(text: &str, secret: Option<&str>) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    fs::write(&path, text).unwrap();
    let mut command = fleet_server();
    command
        .args(["config", "check", "--config"])
        .arg(&path)
        .envs(secret.map(|it| ("JWT_SECRET", it)));
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// What a self-hosted installation begins with, as it stands in the description of the product.
const SELF_HOSTED: &str = "\
# config.yaml
auth:
  provider: built_in
  jwt:
    secret: ${JWT_SECRET}
    access_ttl: 15m
    refresh_ttl: 7d
  password:
    min_length: 12
    require_special: true
    bcrypt_cost: 12
  session:
    timeout: 30m
    max_concurrent: 5
";

/// Rows: P1
#[test]
fn a_server_starts_with_the_file_that_the_product_is_described_by() {
    let secret = "0123456789abcdef0123456789abcdef";
    let (code, printed, errors) = check_with_secret(SELF_HOSTED, Some(secret));
    assert_eq!(code, Some(0), "{errors}");
    assert!(printed.contains("hash: bcrypt") && printed.contains("bcrypt_cost: 12"), "{printed}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    fs::write(&path, SELF_HOSTED).unwrap();
    let mut command = fleet_server();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(dir.path());
    command.arg("--config").arg(&path).env("JWT_SECRET", secret).stderr(Stdio::piped());
    let mut server = command.spawn().unwrap();
    let lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let listens = lines.map(Result::unwrap).any(|line| line.starts_with("listening on http://"));
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(listens);
}

/// Rows: P2, P8
#[test]
fn the_master_key_comes_from_the_environment_and_is_masked() {
    let text = "auth: {provider: built_in, jwt: {secret: '${JWT_SECRET}'}}\n";
    let secret = "0123456789abcdef0123456789abcdef";
    let (code, printed, errors) = check_with_secret(text, Some(secret));
    assert_eq!(code, Some(0), "{errors}");
    assert!(printed.contains("secret: '***'") && !printed.contains(secret), "{printed}");
    let (code, _, errors) = check_with_secret(text, None);
    assert_eq!(code, Some(2));
    assert!(
        errors.contains("auth.jwt.secret: the environment variable JWT_SECRET is not set"),
        "{errors}"
    );
    let (code, _, errors) = check_with_secret(text, Some("short"));
    assert_eq!(code, Some(2));
    assert!(errors.contains("auth.jwt.secret: must have at least 32 bytes"), "{errors}");
    assert!(!errors.contains("short"), "{errors}");
}

/// Rows: P3a, P3b, P6, P7, P8
#[test]
fn what_cannot_be_is_refused_for_tokens_and_sessions() {
    for (text, problem) in [
        ("auth: {jwt: {access_ttl: '0'}}", "config.yaml:1: "),
        ("auth: {jwt: {access_ttl: '-1m'}}", "is not a length of time"),
        ("auth: {jwt: {access_ttl: 2h, refresh_ttl: 1h}}", "auth.jwt.refresh_ttl: is shorter"),
        ("auth: {jwt: {access_ttl: 25h}}", "`25h` is too long: at most 1d"),
        ("auth: {jwt: {alg: none}}", "unknown variant `none`"),
        ("auth: {jwt: {alg: HS256}}", "auth.jwt.secret: HS256 signs with it"),
        ("auth: {jwt: {rotation: 5m}}", "auth.jwt.rotation: must be at least 1h"),
        ("auth: {jwt: {audiense: x}}", "unknown field `audiense`"),
        ("auth: {provider: auth0}", "unknown variant `auth0`"),
        ("auth: {session: {timeout: 30m, warn_after: 30m}}", "auth.session.warn_after"),
        ("auth: {session: {idle_after: 26m}}", "auth.session.idle_after"),
        ("auth: {session: {max_concurrent: 0}}", "auth.session.max_concurrent: must be at least 1"),
        ("limits: {requests_per_minute: 0}", "limits.requests_per_minute: must be at least 1"),
    ] {
        let (status, _, error) = check(text, &[]);
        assert!(status == Some(2) && error.contains(problem), "{text}: {error}");
    }
}
