//! A PostgreSQL 15 of the tests' own: started once per process, in a temporary directory, on a Unix
//! socket. A shell looks after it and ends it when this process is gone, however it went.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

const KEEPER: &str = r#"
set -eu
trap '' INT TERM
dir=$(mktemp -d /tmp/fleetd-postgres.XXXXXX)
bin=/usr/lib/postgresql/15/bin
stop() { $bin/pg_ctl -D "$dir/data" -m fast -w stop >/dev/null 2>&1 || true; rm -rf "$dir" || rm -rf "$dir"; }
trap stop EXIT
$bin/initdb -D "$dir/data" -A trust -U postgres -E UTF8 --locale=C.UTF-8 --no-sync >"$dir/initdb.log" 2>&1
$bin/pg_ctl -D "$dir/data" -l "$dir/log" -w \
  -o "-k $dir -c listen_addresses='' -c fsync=off -c max_connections=400" start >/dev/null
echo "$dir"
read -r _ || true
"#;

pub(crate) struct Cluster {
    socket_dir: String,
    _keeper: Child,
}

impl Cluster {
    /// The one that all tests of this process share.
    pub(crate) fn shared() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(Self::start)
    }

    fn start() -> Self {
        let mut keeper = keeper_command()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("could not start the shell that keeps PostgreSQL");
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let socket_dir = line.trim().to_owned();
        assert!(
            !socket_dir.is_empty(),
            "PostgreSQL 15 did not start; is the package postgresql-15 installed?"
        );
        Self { socket_dir, _keeper: keeper }
    }

    /// A new, empty database owned by a role that is no superuser; its URL for the server.
    pub(crate) async fn new_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("fleet_{}", NEXT.fetch_add(1, Ordering::SeqCst));
        let mut admin = self.admin("postgres").await;
        for sql in [
            format!("CREATE ROLE {name} LOGIN NOSUPERUSER NOBYPASSRLS"),
            format!("CREATE DATABASE {name} OWNER {name}"),
        ] {
            sqlx::query(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
        }
        admin.close().await.unwrap();
        self.url(&name, &name)
    }

    /// A connection of the superuser, whom row-level security does not bind.
    pub(crate) async fn admin(&self, database: &str) -> PgConnection {
        PgConnection::connect(&self.url("postgres", database)).await.unwrap()
    }

    pub(crate) fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://localhost/{database}?host={}&user={role}", self.socket_dir)
    }

    pub(crate) fn socket_dir(&self) -> &str {
        &self.socket_dir
    }
}

/// PostgreSQL refuses to run as root.
#[expect(clippy::disallowed_methods, reason = "tests start programs")]
fn keeper_command() -> Command {
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]);
        command.args(["sh", "-c", KEEPER]);
        command
    } else {
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER]);
        command
    }
}
