//! osqueryd, played by a shell script that notes how it was started and objects to being two.

use std::{fs, os::unix::fs::PermissionsExt as _};

use camino::Utf8PathBuf;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use wire::settings::{files, vars};

use crate::{
    device::{Device, until},
    fleet::{Fleet, SECRET},
    program::{Orbit, command, wait_until},
};

/// Like osqueryd it survives that nobody reads its output any more.
const STAND_IN: &str = r#"#!/bin/sh
trap '' PIPE
here=$(dirname "$0")
if [ "$1" = --version ]; then echo "osqueryd version 5.9.1"; exit; fi
if ! mkdir "$here/lock" 2>/dev/null && kill -0 "$(cat "$here/lock/pid")" 2>/dev/null; then
  echo two >> "$here/two"
fi
echo $$ > "$here/lock/pid"
for argument; do
  case $argument in --pidfile=*) echo $$ > "${argument#--pidfile=}" ;; esac
  printf '%s\n' "$argument"
done > "$here/arguments"
env > "$here/environment"
echo "hello from osqueryd"
trap 'echo end >> "$here/ends"; rm -r "$here/lock"; exit 0' TERM
[ -e "$here/stubborn" ] && trap '' TERM
echo $$ >> "$here/starts"
while :; do sleep 0.02; done
"#;

/// Tells of its folder and what is there, and all that it is told.
const SHELL: &str = r#"#!/bin/sh
for argument; do
  case $argument in
    --logger_path=*) here=${argument#--logger_path=} ;;
    --config_path=*) configuration=$(cat "${argument#--config_path=}") ;;
  esac
done
echo "$here $(stat -c %a "$here") $configuration"
printf '%s\n' "$@"
exit 3
"#;

/// A device with a stand-in for osqueryd.
struct Stage {
    device: Device,
    directory: Utf8PathBuf,
}

impl Stage {
    fn of(fleet: &Fleet) -> Self {
        let device = Device::of(fleet);
        let directory = device.root().join("bin/osqueryd");
        fs::create_dir_all(&directory).unwrap();
        let program = directory.join("osqueryd");
        fs::write(&program, STAND_IN).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { device, directory }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).unwrap_or_default()
    }

    /// Process ids of all that were ever started.
    fn starts(&self) -> Vec<i32> {
        self.read("starts").lines().map(|line| line.parse().unwrap()).collect()
    }

    fn arguments(&self) -> Vec<String> {
        let root = self.device.root();
        self.read("arguments").lines().map(|line| line.replace(root.as_str(), "ROOT")).collect()
    }

    fn check_never_two(&self) {
        assert_eq!(self.read("two"), "", "two at once");
    }
}

fn is_there(process: i32) -> bool {
    fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
}

fn kill(process: i32) {
    kill_process(Pid::from_raw(process).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn osqueryd_is_told_everything_and_its_secret_by_environment_alone() {
    let fleet = Fleet::start();
    let mut stage = Stage::of(&fleet);
    stage.device.set(vars::FLEET_URL, &format!("{}base/", fleet.url()));
    stage.device.set("HTTPS_PROXY", "http://proxy.example.com:3128");
    stage.device.set("NO_PROXY", "localhost");
    stage.device.write(files::OSQUERY_FLAGS, "--verbose\n");
    let (certificate, key) = fleet.issue();
    stage.device.write(files::CLIENT_CERTIFICATE, &certificate);
    stage.device.write(files::CLIENT_KEY, &key);
    fleet.memory().flags =
        json!({ "events_expiry": 60, "flagfile": "/etc/passwd", "enable_x": true });
    stage.device.run(async |_| until(|| !stage.starts().is_empty()).await).await;

    let arguments = stage.arguments();
    let port = fleet.address.port();
    for expected in [
        "--config_plugin=tls",
        "--config_refresh=60",
        "--distributed_plugin=tls",
        "--logger_plugin=tls",
        "--carver_block_size=2000000",
        "--events_expiry=60",
        "--enable_x=true",
        "--flagfile=ROOT/osquery.flags",
        "--pidfile=ROOT/osquery.pid",
        "--extensions_socket=ROOT/orbit-osquery.em",
        "--database_path=ROOT/osquery.db",
        "--host_identifier=specified",
        "--specified_identifier=4c4c4544-0042-3510-8054-b9c04f4d3132",
        "--enroll_secret_env=ENROLL_SECRET",
        &format!("--tls_hostname=localhost:{port}"),
        "--enroll_tls_endpoint=/base/api/v1/osquery/enroll",
        "--config_tls_endpoint=/base/api/v1/osquery/config",
        "--distributed_tls_read_endpoint=/base/api/v1/osquery/distributed/read",
        "--distributed_tls_write_endpoint=/base/api/v1/osquery/distributed/write",
        "--logger_tls_endpoint=/base/api/v1/osquery/log",
        "--tls_server_certs=ROOT/fleet.pem",
        "--tls_client_cert=ROOT/fleet_client.crt",
        "--tls_client_key=ROOT/fleet_client.key",
    ] {
        assert!(
            arguments.iter().any(|argument| argument == expected),
            "{expected}: {arguments:#?}"
        );
    }
    assert!(!arguments.iter().any(|argument| argument.contains("/etc/passwd")));
    assert!(!arguments.iter().any(|argument| argument.starts_with("--proxy_hostname")));
    let place = |start: &str| arguments.iter().position(|argument| argument.starts_with(start));
    assert!(place("--config_plugin") < place("--events_expiry"), "the server over defaults");
    assert!(place("--events_expiry") < place("--flagfile"), "the administrator over the server");
    assert!(place("--flagfile") < place("--database_path"), "what must be over everyone");

    let environment = stage.read("environment");
    assert!(environment.lines().any(|line| line == format!("ENROLL_SECRET={SECRET}")));
    assert!(!arguments.iter().any(|argument| argument.contains(SECRET)));
}

#[tokio::test]
async fn osqueryd_goes_through_the_proxy_as_the_agent_does() {
    let fleet = Fleet::start();
    let mut stage = Stage::of(&fleet);
    stage.device.enroll_with(&fleet).await;
    // Nothing listens there; osqueryd starts all the same once the poll has failed.
    stage.device.set("HTTPS_PROXY", "http://127.0.0.1:9");
    let before = stage.starts().len();
    stage.device.run(async |_| until(|| stage.starts().len() > before).await).await;
    let arguments = stage.arguments();
    assert!(arguments.contains(&"--proxy_hostname=127.0.0.1:9".to_owned()), "{arguments:#?}");
}

#[tokio::test]
async fn without_a_server_osqueryd_starts_with_the_flags_that_it_last_had() {
    let fleet = Fleet::start();
    let mut stage = Stage::of(&fleet);
    fleet.memory().flags = json!({ "events_expiry": 60 });
    stage.device.run(async |_| until(|| !stage.starts().is_empty()).await).await;
    // Nothing listens there, so the server cannot be reached.
    stage.device.set("HTTPS_PROXY", "http://127.0.0.1:9");
    let before = stage.starts().len();
    stage.device.run(async |_| until(|| stage.starts().len() > before).await).await;
    let arguments = stage.arguments();
    assert!(arguments.contains(&"--events_expiry=60".to_owned()), "{arguments:#?}");
}

#[test]
fn the_shell_is_told_what_is_for_it_and_its_end_is_ours() {
    let fleet = Fleet::start();
    let stage = Stage::of(&fleet);
    let program = stage.directory.join("osqueryd");
    fs::write(&program, SHELL).unwrap();
    stage.device.write("server-flags.json", r#"{ "events_expiry": 60, "config_plugin": "tls" }"#);
    stage.device.write(files::OSQUERY_FLAGS, "--verbose\n");
    stage.device.write(files::EXTENSIONS_LOAD, "/somewhere/hello.ext\n");
    let shell =
        |arguments: &[&str]| command(&stage.device).arg("shell").args(arguments).output().unwrap();
    let ended = shell(&["--", "--json", "SELECT 1"]);
    let told = String::from_utf8(ended.stdout).unwrap();
    let (folder, told) = told.split_once(' ').unwrap();
    let told = told.replace(folder, "FOLDER").replace(stage.device.root().as_str(), "ROOT");
    snapbox::assert_data_eq!(
        told,
        snapbox::str![[r#"
700 {}
-S
--config_plugin=tls
--events_expiry=60
--extensions_autoload=ROOT/extensions.load
--flagfile=ROOT/osquery.flags
--config_plugin=filesystem
--config_path=FOLDER/osquery.conf
--logger_plugin=filesystem
--logger_path=FOLDER
--disable_distributed=true
--disable_carver=true
--disable_enrollment=true
--pidfile=FOLDER/osquery.pid
--database_path=FOLDER/osquery.db
--extensions_socket=FOLDER/osquery.em
--tls_server_certs=ROOT/fleet.pem
--json
SELECT 1

"#]]
    );
    assert!(!fs::exists(folder).unwrap(), "{folder}");
    assert_eq!(ended.status.code(), Some(3));
    let ended = command(&stage.device).arg("osqueryi").output().unwrap();
    assert_eq!(ended.status.code(), Some(3), "as it is called elsewhere");
    assert_eq!(shell(&["--json"]).status.code(), Some(2), "what is for osquery follows `--`");
    fs::remove_file(&program).unwrap();
    let ended = shell(&[]);
    assert_eq!(ended.status.code(), Some(1));
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(told.contains("could not start `") && told.contains("orbit status"), "{told}");
}

#[tokio::test]
async fn osqueryd_waits_for_enrollment() {
    let fleet = Fleet::start();
    let stage = Stage::of(&fleet);
    fleet.memory().secret = "another".to_owned();
    stage
        .device
        .run(async |_| {
            until(|| fleet.memory().enrolls.len() >= 3).await;
            assert!(stage.starts().is_empty());
            fleet.memory().secret = SECRET.to_owned();
            until(|| stage.starts().len() == 1).await;
        })
        .await;
}

#[tokio::test]
async fn its_output_is_in_the_agents_log_and_it_ends_with_the_agent() {
    let fleet = Fleet::start();
    let stage = Stage::of(&fleet);
    let log = stage.device.run(async |_| until(|| !stage.starts().is_empty()).await).await;
    assert!(log.text().contains("<6>osqueryd: hello from osqueryd"), "{}", log.text());
    assert_eq!(stage.read("ends"), "end\n", "it was asked to end, not killed");
    assert!(!is_there(stage.starts()[0]));
}

#[tokio::test]
async fn a_killed_osqueryd_is_started_again_and_the_agent_goes_on() {
    let fleet = Fleet::start();
    let stage = Stage::of(&fleet);
    let log = stage
        .device
        .run(async |_| {
            for number in 1..=3 {
                until(|| stage.starts().len() == number).await;
                kill(stage.starts()[number - 1]);
            }
            until(|| stage.starts().len() == 4).await;
            let served = fleet.memory().served.len();
            until(|| fleet.memory().served.len() > served).await;
        })
        .await;
    stage.check_never_two();
    assert_eq!(log.text().matches("osqueryd ended by itself").count(), 3, "{}", log.text());
}

#[tokio::test]
async fn the_server_is_told_of_an_osqueryd_that_only_crashes_and_when_it_is_well_again() {
    let fleet = Fleet::start();
    let stage = Stage::of(&fleet);
    let program = stage.directory.join("osqueryd");
    let told = || -> Vec<serde_json::Value> {
        fleet.memory().updates.iter().map(|report| report["crash_loops"].clone()).collect()
    };
    fs::write(&program, "#!/bin/sh\nexit 78\n").unwrap();
    stage
        .device
        .run(async |_| {
            until(|| told().len() == 1).await;
            fs::write(&program, STAND_IN).unwrap();
            until(|| told().len() == 2).await;
        })
        .await;
    let crashes = told()[0].as_array().unwrap().clone();
    assert_eq!((crashes.len(), &crashes[0]["component"]), (1, &json!("osqueryd")));
    assert_eq!(crashes[0]["detail"], "exit status: 78");
    assert!(crashes[0]["since"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert_eq!(told()[1], json!([]));
    // A later run of the agent knows nothing of it, and says so once osqueryd is well.
    stage.device.run(async |_| until(|| told().len() == 3).await).await;
    assert_eq!(told()[2], json!([]));
}

#[tokio::test]
async fn flags_that_the_server_changes_restart_osqueryd() {
    let fleet = Fleet::start();
    let stage = Stage::of(&fleet);
    stage
        .device
        .run(async |_| {
            until(|| stage.starts().len() == 1).await;
            fleet.memory().flags = json!({ "verbose": true });
            until(|| stage.starts().len() == 2).await;
        })
        .await;
    stage.check_never_two();
    assert!(stage.arguments().contains(&"--verbose=true".to_owned()));
}

#[tokio::test]
async fn osqueryd_enrolls_with_the_node_key_and_is_started_with_the_next_one() {
    let mut fleet = Fleet::start();
    let stage = Stage::of(&fleet);
    fleet.memory().lends_node_keys = true;
    let secret = || {
        let environment = stage.read("environment");
        let secret = environment.lines().find_map(|line| line.strip_prefix("ENROLL_SECRET="));
        secret.unwrap_or_default().to_owned()
    };
    let next = format!("{:032}", 7);
    stage
        .device
        .run(async |_| {
            until(|| fleet.memory().renewing.is_some() && stage.starts().len() == 1).await;
            assert_eq!(Some(secret()), stage.device.node_key());
            assert_eq!(fleet.memory().renewing, stage.device.node_key());
            fleet.memory().next = Some(next.clone());
            let renewing = || fleet.memory().renewing.as_ref() == Some(&next);
            until(|| renewing() && stage.starts().len() == 2).await;
        })
        .await;
    stage.check_never_two();
    assert_eq!((secret(), stage.starts().len()), (next.clone(), 2));
    // It is remembered where the server cannot be asked, and forgotten when it says otherwise.
    fleet.memory().lends_node_keys = false;
    fleet.go_down();
    stage
        .device
        .run(async |_| {
            until(|| stage.starts().len() == 3).await;
            assert_eq!(secret(), next);
            fleet.come_up();
            until(|| stage.starts().len() == 4 && secret() == SECRET).await;
        })
        .await;
    assert!(!stage.arguments().iter().any(|argument| argument.contains("node-key")));
}

#[tokio::test]
async fn certificates_that_are_replaced_on_disk_restart_osqueryd_once() {
    let fleet = Fleet::start();
    let stage = Stage::of(&fleet);
    let issue = || {
        let (certificate, key) = fleet.issue();
        stage.device.write(files::CLIENT_CERTIFICATE, &certificate);
        stage.device.write(files::CLIENT_KEY, &key);
    };
    issue();
    stage
        .device
        .run(async |_| {
            until(|| stage.starts().len() == 1).await;
            issue();
            until(|| stage.starts().len() == 2).await;
            let served = fleet.memory().served.len();
            until(|| fleet.memory().served.len() > served + 3).await;
        })
        .await;
    stage.check_never_two();
    assert_eq!(stage.starts().len(), 2);
}

/// The agent polls as it does in production, so that this takes half a minute.
#[test]
fn authorities_that_administrators_replace_restart_osqueryd_where_none_are_pinned() {
    let fleet = Fleet::start();
    let stage = Stage::of(&fleet);
    fs::remove_file(stage.device.root().join(files::SERVER_CA)).unwrap();
    // Whom the system of this device trusts.
    stage.device.write_system("authorities.pem", &fleet.ca());
    stage.device.write("certs.pem", &fleet.ca());
    let mut orbit = command(&stage.device);
    orbit.env("SSL_CERT_FILE", stage.device.system().join("authorities.pem"));
    let orbit = Orbit::spawn(&stage.device, orbit);
    wait_until("osqueryd", || stage.starts().len() == 1);
    let given = "--tls_server_certs=ROOT/certs.pem".to_owned();
    assert!(stage.arguments().contains(&given), "{:#?}", stage.arguments());
    stage.device.write("certs.pem", &Fleet::start().ca());
    let served = fleet.memory().served.len();
    // Twice, as a poll comes after no more than 36 s.
    for _ in 0..2 {
        if fleet.memory().served.len() == served {
            std::thread::sleep(std::time::Duration::from_secs(18));
        }
    }
    wait_until("another osqueryd", || stage.starts().len() == 2);
    stage.check_never_two();
    assert!(orbit.stop().success());
}

#[tokio::test]
async fn an_osqueryd_that_will_not_end_is_killed() {
    let fleet = Fleet::start();
    let stage = Stage::of(&fleet);
    fs::write(stage.directory.join("stubborn"), "").unwrap();
    stage.device.run(async |_| until(|| !stage.starts().is_empty()).await).await;
    assert_eq!(stage.read("ends"), "");
    assert!(!is_there(stage.starts()[0]));
}

#[tokio::test]
async fn an_osqueryd_that_cannot_start_does_not_harm_the_agent() {
    let fleet = Fleet::start();
    let stage = Stage::of(&fleet);
    fs::write(stage.directory.join("osqueryd"), "\0no program").unwrap();
    let log = stage.device.run(async |_| until(|| fleet.memory().served.len() >= 3).await).await;
    assert!(log.text().contains("could not start osqueryd"), "{}", log.text());
}

#[test]
fn an_osqueryd_that_a_killed_agent_left_behind_is_ended_first() {
    let fleet = Fleet::start();
    let stage = Stage::of(&fleet);
    let orbit = Orbit::start(&stage.device);
    wait_until("osqueryd", || stage.starts().len() == 1);
    orbit.kill();
    let orphan = stage.starts()[0];
    assert!(is_there(orphan));
    let orbit = Orbit::start(&stage.device);
    wait_until("another osqueryd", || stage.starts().len() == 2);
    assert!(!is_there(orphan));
    stage.check_never_two();
    assert!(orbit.stop().success());
    assert!(!is_there(stage.starts()[1]));
}

#[test]
fn status_tells_osqueryds_version() {
    let fleet = Fleet::start();
    let stage = Stage::of(&fleet);
    let output = command(&stage.device).arg("status").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("osqueryd      5.9.1\n"), "{text}");
}
