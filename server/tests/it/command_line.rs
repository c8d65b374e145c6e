//! `fleetctl` as scripts use it, against the real server: people, teams, roles, keys, sessions,
//! organizations, devices and the audit trail; what is printed, and how it ends.

mod devices;
mod keys;
mod organizations;
mod people;
mod trail;

use std::{fs, io::Write as _, path::PathBuf, process::Stdio, time::Duration};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    accounts, beside,
    binary::Running,
    harness::{Engine, PASSWORD, runtime, text},
    postgres::Cluster,
};

/// Commands ask more often in a minute than people do.
const LIMITS: &str = "\
limits: {requests_per_minute: 100000, anonymous_requests_per_minute: 100000,
    sign_in_requests_per_minute: 100000}
";

/// A server with its owner, Ann.
struct Site {
    server: Running,
    ann: Home,
    database: String,
    dir: TempDir,
}

/// A home directory, and so a user of `fleetctl`.
struct Home {
    dir: TempDir,
    vars: Vec<(&'static str, String)>,
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs `check` on both databases. Without mail, what is for others is printed, to be passed on.
fn on_both(has_mail: bool, check: fn(&Site)) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        check(&Site::start(engine, has_mail));
    }
}

impl Site {
    fn start(engine: Engine, has_mail: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = format!("auth: {{registration: {has_mail}, jwt: {{alg: ES256}}}}\n");
        if has_mail {
            let mail = dir.path().join("mail");
            config +=
                &format!("mail: {{from: fleet@example.com, directory: {}}}\n", mail.display());
        }
        let named = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(runtime().block_on(Cluster::shared().new_database())),
        };
        let place = (dir.path(), "data");
        let server = Running::start_on(named.as_deref(), place, &(config + LIMITS));
        let database = match named {
            // The superuser, whom row-level security does not bind.
            Some(url) => Cluster::shared().url("postgres", url.split(['/', '?']).nth(3).unwrap()),
            None => format!("sqlite:{}", dir.path().join("data/fleet.db").display()),
        };
        let ann = Home::new();
        let site = Self { server, ann, database, dir };
        let code = site.server.code.as_deref().unwrap();
        let who = ["--email", "ann@example.com", "--name", "Ann", "--organization", "Example"];
        let begin = ["setup", "--url", &site.server.url, "--code", code, "--password-stdin"];
        site.ann.reading(PASSWORD, &[&begin[..], &who[..]].concat()).ok();
        site
    }

    /// Adds a person without mail, and signs them in.
    fn person(&self, name: &str, role: &str) -> Home {
        let email = format!("{name}@example.com");
        let new = ["users", "create", "--email", &email, "--name", name, "--role", role];
        self.ann.reading(PASSWORD, &[&new[..], &["--password-stdin"]].concat()).ok();
        self.sign_in(&email)
    }

    fn sign_in(&self, email: &str) -> Home {
        let home = Home::new();
        home.sign_in(&self.server.url, email).ok();
        home
    }

    /// A script that presents an API key.
    fn script(&self, key: &str) -> Home {
        let vars = [("FLEET_URL", self.server.url.clone()), ("FLEET_API_KEY", key.to_owned())];
        Home { vars: vars.into(), ..Home::new() }
    }

    /// The token of the next mail; waits for it, and takes it away.
    fn mailed_token(&self) -> String {
        for _ in 0..3000 {
            std::thread::sleep(Duration::from_millis(10));
            let Ok(mut mails) = fs::read_dir(self.dir.path().join("mail")) else { continue };
            let Some(Ok(mail)) = mails.next() else { continue };
            let read = accounts::unfolded(&fs::read_to_string(mail.path()).unwrap());
            // It ends so, once it is written whole.
            if read.contains("need not do anything") {
                fs::remove_file(mail.path()).unwrap();
                return accounts::token(&read);
            }
        }
        panic!("no mail came");
    }
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), vars: Vec::new() }
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.reading("", args)
    }

    /// Runs it with `input` on its standard input.
    fn reading(&self, input: &str, args: &[&str]) -> Ended {
        let mut child = beside::command(fleetctl())
            .args(args)
            .env_clear()
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .envs(self.vars.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A run that reads nothing has gone before this is written.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What it prints as JSON.
    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        parsed(&self.run(&[args, &["--output", "json"]].concat()).ok())
    }

    fn sign_in(&self, url: &str, email: &str) -> Ended {
        self.reading(PASSWORD, &["login", "--url", url, "--email", email, "--password-stdin"])
    }
}

impl Ended {
    /// Demands success, and gives what was printed.
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Demands success and a single line, and gives it.
    #[track_caller]
    fn line(self) -> String {
        assert_eq!(self.stderr, "", "{}", self.stdout);
        let printed = self.ok();
        let line = printed.strip_suffix('\n').unwrap();
        assert!(!line.contains('\n'), "{printed}");
        line.to_owned()
    }

    /// Demands that it failed so, and gives what was said. Nothing is printed then.
    #[track_caller]
    fn fails(self, code: i32) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (code, ""), "{}", self.stderr);
        self.stderr
    }
}

#[track_caller]
fn parsed(printed: &str) -> Value {
    serde_json::from_str(printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

/// The values of a field, of each item of a list.
#[track_caller]
fn each(list: &Value, field: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| text(item, field)).collect()
}

/// The names of an object's fields, sorted.
#[track_caller]
fn fields(object: &Value) -> Vec<&str> {
    let mut names: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn fleetctl() -> PathBuf {
    beside::program(env!("CARGO_BIN_EXE_fleet-server"), ("fleetctl", "fleetd-fleetctl"))
}
