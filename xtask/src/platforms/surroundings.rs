//! What a program that is tried sees of its machine: a name server of the trial's own in the place of
//! the machine's, no list of hosts, and authorities that the trial may add to.

use std::{
    fmt::Write as _,
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use rustix::process::geteuid;

use super::runner::Runner;
use crate::{deployment::Desk, process::Daemon};

/// The server's name, which no name server of the world knows: nothing below `test` is ever given
/// to anybody.
pub(super) const NAME: &str = "fleet.example.test";

/// Debian's dnsmasq, which is on the search path of administrators alone.
const NAME_SERVER: &str = "/usr/sbin/dnsmasq";

/// The authorities that this machine trusts.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A name server, and files that programs find in the place of the machine's.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// Starts a program in them.
    script: PathBuf,
    /// What is at [`AUTHORITIES`] there.
    authorities: PathBuf,
    name_server: Daemon,
}

impl Surroundings {
    /// Starts the name server, and writes the files below the desk's folder.
    pub(super) fn new(desk: &Desk) -> anyhow::Result<Self> {
        ensure!(
            geteuid().is_root(),
            "only root may give a program another name server; run this as root"
        );
        let dir = desk.dir.join("surroundings");
        fs::create_dir(&dir).context("could not make a folder for surroundings")?;
        let address = address();
        let authorities = fs::read(AUTHORITIES)
            .with_context(|| format!("could not read the authorities in `{AUTHORITIES}`"))?;
        let files = [
            ("/etc/resolv.conf", format!("nameserver {address}\n").into_bytes()),
            ("/etc/hosts", Vec::new()),
            ("/etc/nsswitch.conf", b"hosts: dns\n".to_vec()),
            (AUTHORITIES, authorities),
        ];
        let mut script = String::from("#!/bin/sh\nset -e\n");
        for (path, content) in files {
            let own = own(&dir, path);
            fs::write(&own, content)
                .with_context(|| format!("could not write `{}`", own.display()))?;
            let _ = writeln!(script, "mount --bind '{}' {path}", own.display());
        }
        script.push_str("exec \"$@\"\n");
        let path = dir.join("start");
        fs::write(&path, script)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .context("could not write a script that starts programs")?;
        let name_server = serve_names(desk, address)?;
        Ok(Self { script: path, authorities: own(&dir, AUTHORITIES), name_server })
    }

    /// The line of shell `line`, as it is run in them.
    pub(super) fn around(&self, line: &str) -> String {
        format!("unshare --mount '{}' {line}", self.script.display())
    }

    /// Fails unless the name server was asked for [`NAME`].
    pub(super) fn expect_asked(&self) -> anyhow::Result<()> {
        let log = self.name_server.output();
        let question = format!("query[A] {NAME} ");
        ensure!(log.contains(&question), "the name server was not asked:\n{log}");
        Ok(())
    }

    /// Has the system that `runner` stands for trust the authority in the file `name` of the desk's
    /// folder, in PEM format: where its administrators add one, too.
    pub(super) fn trust(&self, desk: &Desk, runner: &Runner, name: &str) -> anyhow::Result<()> {
        if let Some(windows) = runner.wine() {
            return windows.trust(desk, &runner.path(name));
        }
        desk.run(&format!("cat {name} >> '{}'", self.authorities.display())).map(|_| ())
    }
}

/// Where the file that stands for `path` is.
fn own(dir: &Path, path: &str) -> PathBuf {
    dir.join(path.trim_start_matches('/').replace('/', "-"))
}

/// Of the loopback interface, and another one in every run, as there is one port for name servers.
fn address() -> Ipv4Addr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, a | 64, b, c)
}

/// Knows one name, and asks nobody.
fn serve_names(desk: &Desk, address: Ipv4Addr) -> anyhow::Result<Daemon> {
    let line = format!(
        "{NAME_SERVER} --conf-file=/dev/null --keep-in-foreground --pid-file --user=root \
         --bind-interfaces --listen-address={address} --no-resolv --no-hosts --local=/{NAME}/ \
         --host-record={NAME},127.0.0.1 --log-queries --log-facility=-"
    );
    let server = desk.start("name-server", &line)?;
    server.wait_for("its start", |log| log.contains(": started,").then_some(()))?;
    Ok(server)
}
