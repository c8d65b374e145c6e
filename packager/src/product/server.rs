//! `fleet-server`: a program that systemd runs under an account of its own.

use super::{About, Release};
use crate::{
    error::AssembleError,
    package::{Account, Lifecycle, Package, Service},
    template::{SERVER_CONFIG, SERVER_UNIT},
    tree::{Entry, FileTree, InstallPath, Mode, Owner, Role},
};

pub(super) const ABOUT: About = About {
    name: "fleet-server",
    summary: "Fleet server, admits devices and people",
    description: "\
The server that agents enroll with and that people ask about their devices.
It keeps everything in SQLite, or in PostgreSQL when told to.

The service listens on the loopback interface alone, until its configuration,
/etc/fleet-server/config.yaml, says otherwise. The command that makes the first
account is in its log: journalctl --unit fleet-server",
};

const ACCOUNT: Account =
    Account { name: "fleet-server", purpose: "Fleet server", home: "/var/lib/fleet-server" };

/// Root writes, the service reads.
const OWNER: Owner = Owner { user: "root", group: ACCOUNT.name };

/// Lays out `release`, which is of `fleet-server`. Pure.
pub fn fleet_server(release: &Release) -> Result<Package, AssembleError> {
    let unit = Entry::bytes(SERVER_UNIT, Role::Data);
    let account = Entry::bytes(format!("{}\n", ACCOUNT.sysusers()), Role::Data);
    let config = Entry::bytes(SERVER_CONFIG, Role::Config);
    let config = Entry { mode: Mode::GROUP, owner: OWNER, ..config };
    let entries = [
        ("/usr/bin/fleet-server", Entry::file(release.program.source.clone(), Role::Program)),
        ("/usr/lib/systemd/system/fleet-server.service", unit),
        ("/usr/lib/sysusers.d/fleet-server.conf", account),
        ("/etc/fleet-server", Entry { mode: Mode::GROUP_DIR, owner: OWNER, ..Entry::dir() }),
        ("/etc/fleet-server/config.yaml", config),
    ];
    let mut tree = FileTree::new();
    for (path, entry) in entries {
        tree.insert(InstallPath::fixed(path), entry)?;
    }
    let lifecycle = Lifecycle {
        service: Some(Service { name: "fleet-server.service", start: true }),
        account: Some(ACCOUNT),
        pointers: Vec::new(),
        state: vec![InstallPath::fixed(ACCOUNT.home)],
    };
    Ok(Package { metadata: release.metadata(&ABOUT)?, tree, lifecycle, built_at: release.built_at })
}
