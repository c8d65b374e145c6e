//! A PostgreSQL 15 of the benchmark's own, in a temporary directory, on a Unix socket.

use std::process::{Command, Stdio};

use anyhow::Context as _;
use rustix::process::geteuid;

use crate::{cleanup::TemporaryDir, process::Daemon};

/// Starts it in `$1`; its log shows when it answers. Nothing has to outlive the machine: who is
/// measured is who asks.
const START: &str = r#"
set -eu
bin=/usr/lib/postgresql/15/bin
$bin/initdb -D "$1/data" -A trust -U postgres -E UTF8 --locale=C.UTF-8 --no-sync
exec $bin/postgres -D "$1/data" -k "$1" -c listen_addresses='' -c fsync=off -c max_connections=200
"#;

#[derive(Debug)]
pub(super) struct Database {
    socket: String,
    _server: Daemon,
    _dir: TemporaryDir,
}

impl Database {
    pub(super) fn start() -> anyhow::Result<Self> {
        let dir = TemporaryDir::new()?;
        let home = dir.path().join("home");
        let socket = home.display().to_string();
        shell(
            &format!("chmod 755 {0} && install -d {1} {socket}", dir.path().display(), owner()),
            &[],
        )
        .status()
        .context("could not make PostgreSQL's directory")?;
        let log = dir.path().join("postgresql.log");
        let server = Daemon::start("postgres", unprivileged(START, &[&socket]), &log)?;
        let ready = "database system is ready to accept connections";
        server.wait_for("it was ready", |log| log.contains(ready).then_some(()))?;
        Ok(Self { socket, _server: server, _dir: dir })
    }

    /// The directory of its socket.
    pub(super) fn socket(&self) -> &str {
        &self.socket
    }

    /// The URL of `database` for a role.
    pub(super) fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://localhost/{database}?host={}&user={role}", self.socket)
    }

    /// Makes a database, with a role that owns it and one that does not.
    pub(super) fn make(&self, name: &str) -> anyhow::Result<()> {
        for sql in [
            format!("CREATE ROLE {name} LOGIN NOSUPERUSER NOBYPASSRLS"),
            format!("CREATE ROLE {name}_owner LOGIN NOSUPERUSER NOBYPASSRLS"),
            format!("CREATE DATABASE {name} OWNER {name}_owner"),
        ] {
            let url = self.url("postgres", "postgres");
            let script = "psql --quiet --no-psqlrc -v ON_ERROR_STOP=1 \"$1\" -c \"$2\"";
            let made = shell(script, &[&url, &sql]).output().context("could not run psql")?;
            let told = String::from_utf8_lossy(&made.stderr);
            anyhow::ensure!(made.status.success(), "could not make a database: {told}");
        }
        Ok(())
    }
}

/// Whose PostgreSQL's directory is: it refuses to run as root.
fn owner() -> &'static str {
    if geteuid().is_root() { "-o postgres -g postgres" } else { "" }
}

fn unprivileged(script: &str, args: &[&str]) -> Command {
    if !geteuid().is_root() {
        return shell(script, args);
    }
    let mut all = vec![script];
    all.extend(args);
    let drop = "script=$1; shift; exec setpriv --reuid=postgres --regid=postgres --clear-groups -- sh -c \"$script\" sh \"$@\"";
    shell(drop, &all)
}

#[expect(clippy::disallowed_methods, reason = "it starts the database")]
fn shell(script: &str, args: &[&str]) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]).args(args).stdin(Stdio::null()).current_dir("/");
    command
}
