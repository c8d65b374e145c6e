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
        let mut keeper = shell(KEEPER, &[])
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

    /// A new, empty database; its URL for the server, whose role owns nothing. The owner's URL is
    /// [`owner_of`] that.
    pub(crate) async fn new_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("fleet_{}", NEXT.fetch_add(1, Ordering::SeqCst));
        let mut admin = self.admin("postgres").await;
        for sql in [
            format!("CREATE ROLE {name} LOGIN NOSUPERUSER NOBYPASSRLS"),
            format!("CREATE ROLE {name}_owner LOGIN NOSUPERUSER NOBYPASSRLS"),
            format!("CREATE DATABASE {name} OWNER {name}_owner"),
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

/// A script with arguments. PostgreSQL and PgBouncer refuse to run as root.
#[expect(clippy::disallowed_methods, reason = "tests start programs")]
fn shell(script: &str, args: &[&str]) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--", "sh"]);
        command
    } else {
        Command::new("sh")
    };
    command.args(["-c", script, "sh"]).args(args);
    command
}

/// The URL of the role that owns the database of `url`.
pub(crate) fn owner_of(url: &str) -> String {
    format!("{url}_owner")
}

/// PgBouncer in transaction mode before one database, with two connections to it.
pub(crate) struct Bouncer {
    socket_dir: String,
    _keeper: Child,
}

const BOUNCER: &str = r#"
set -eu
trap '' INT TERM
dir=$(mktemp -d /tmp/fleetd-pgbouncer.XXXXXX)
cat >"$dir/ini" <<END
[databases]
* = host=$1 user=$2
[pgbouncer]
unix_socket_dir = $dir
listen_port = 6432
auth_type = any
pool_mode = transaction
server_reset_query_always = 1
default_pool_size = 2
max_client_conn = 100
ignore_startup_parameters = extra_float_digits
logfile = $dir/log
pidfile = $dir/pid
END
/usr/sbin/pgbouncer -q "$dir/ini" &
pid=$!
stop() { kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -rf "$dir"; }
trap stop EXIT
until [ -S "$dir/.s.PGSQL.6432" ]; do kill -0 "$pid"; sleep 0.1; done
echo "$dir"
read -r _ || true
"#;

impl Bouncer {
    /// One before the database of `url`, as that URL's role.
    pub(crate) fn before(url: &str) -> Self {
        let name = url.split(['/', '?']).nth(3).unwrap();
        let mut keeper = shell(BOUNCER, &[Cluster::shared().socket_dir(), name])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("could not start the shell that keeps PgBouncer");
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let socket_dir = line.trim().to_owned();
        assert!(
            !socket_dir.is_empty(),
            "PgBouncer did not start; is the package pgbouncer installed?"
        );
        Self { socket_dir, _keeper: keeper }
    }

    /// The same database, through it.
    pub(crate) fn url(&self, url: &str) -> String {
        let name = url.split(['/', '?']).nth(3).unwrap();
        format!(
            "postgres://localhost:6432/{name}?host={}&user={name}&statement-cache-capacity=0",
            self.socket_dir
        )
    }
}
