//! The life of packages for arm64: dpkg, rpm, systemd and the scripts are this machine's, the program
//! that they bring runs under qemu, which the kernel starts for it.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};
use xshell::{Shell, cmd};

use super::{
    deb,
    suite::{Stage, Suite},
};
use crate::{
    cleanup::{Cleanup, TemporaryDir},
    dist::{self, Purpose, target::Reach},
    workspace::Workspace,
};

/// Packages for arm64, older first.
pub(super) const NAMES: [&str; 2] = ["arm64-1.0.0", "arm64-1.1.0"];

/// What the kernel calls the rule by which it starts qemu.
const RULE: &str = "fleetd-acceptance-arm64";
/// Programs for Linux on arm64, by how their files begin; `F`: in containers, too, which have no qemu.
const WHAT: &str = concat!(
    r"M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:",
    r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:",
    "/usr/bin/qemu-aarch64-static:F"
);

/// How one format's own program is called.
struct Manager {
    format: &'static str,
    install: &'static str,
    upgrade: &'static str,
    verify: &'static str,
    /// What that says when every file is as packaged.
    unchanged: &'static str,
    remove: &'static str,
}

/// As long as it lives, the kernel runs programs for arm64.
struct Emulation {
    _rule: Cleanup,
    _dir: TemporaryDir,
}

impl Emulation {
    /// Says so to the kernel. Source: binfmt_misc(4) and qemu's `qemu-binfmt-conf.sh`.
    fn start() -> anyhow::Result<Self> {
        let dir = TemporaryDir::new()?;
        let rules = dir.path().join("rules");
        fs::create_dir(&rules).context("could not make a folder for the kernel's rules")?;
        let sh = Shell::new().context("could not start in the current directory")?;
        cmd!(sh, "mount -t binfmt_misc binfmt_misc {rules}").quiet().run()?;
        let rule = rules.join(RULE);
        let undo = {
            let (rules, rule) = (rules.clone(), rule.clone());
            Cleanup::new(move || {
                let _ = fs::write(rule, "-1");
                let _ = Shell::new().and_then(|sh| cmd!(sh, "umount {rules}").quiet().run());
            })
        };
        if rule.exists() {
            fs::write(&rule, "-1").context("could not withdraw the rule of an earlier run")?;
        }
        fs::write(rules.join("register"), format!(":{RULE}:{WHAT}"))
            .context("could not have the kernel run programs for arm64")?;
        Ok(Self { _rule: undo, _dir: dir })
    }
}

/// Builds `orbit` for arm64, as `cargo xtask platforms` does; gives its path.
pub(super) fn program(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let reach = Reach::named("aarch64-unknown-linux-musl").context("there is no such target")?;
    Ok(dist::build(workspace, reach, &["orbit"], Purpose::Proof)?.join("orbit"))
}

/// A .deb on a Debian for amd64 that takes packages for arm64, too.
pub(super) fn deb_life(suite: &mut Suite<'_>) -> anyhow::Result<()> {
    let _emulation = Emulation::start()?;
    suite.stage.run("dpkg --add-architecture arm64")?;
    let manager = Manager {
        format: "deb",
        install: "dpkg --install {}",
        upgrade: "dpkg --install {}",
        verify: "dpkg --verify fleetd",
        unchanged: deb::UNCHANGED,
        remove: "dpkg --remove fleetd:arm64",
    };
    life(suite, &manager)?;
    suite.check("dpkg purges it, and nothing is left", |stage| {
        stage.run("dpkg --purge fleetd:arm64")?;
        stage.run("test ! -e /opt/orbit && test ! -e /etc/default/orbit").map(|_| ())
    });
    Ok(())
}

/// An .rpm; of the machine's architecture rpm is told to think nothing.
pub(super) fn rpm_life(suite: &mut Suite<'_>) -> anyhow::Result<()> {
    let _emulation = Emulation::start()?;
    let manager = Manager {
        format: "rpm",
        install: "rpm --install --nodeps --ignorearch {}",
        upgrade: "rpm --upgrade --nodeps --ignorearch {}",
        verify: "rpm --verify --nodeps fleetd || true",
        unchanged: "",
        remove: "rpm --erase --nodeps fleetd",
    };
    life(suite, &manager)
}

fn life(suite: &mut Suite<'_>, manager: &Manager) -> anyhow::Result<()> {
    let [first, second] = NAMES;
    let &Manager { format, install, upgrade, verify, unchanged, remove } = manager;
    suite.check("it is installed", |stage| stage.install(install, first, format));
    suite.check("the service is active", |stage| stage.expect_service("active"));
    suite.check("the unit is enabled", |stage| stage.expect_unit("enabled"));
    suite.check("the device is listed", |stage| stage.device().map(|_| ()));
    let id = suite.stage.device()?.id;
    suite.check("what runs is the packaged program, for arm64", |stage| expect(stage, first));
    suite.check("every file is as packaged", |stage| {
        let said = stage.run(verify)?;
        if said == unchanged { Ok(()) } else { bail!("it says {said:?}") }
    });
    let before = suite.stage.main_pid()?;
    suite.check("it is upgraded while it runs", |stage| stage.install(upgrade, second, format));
    suite.check("the service runs anew", |stage| stage.expect_other_process(&before));
    suite.check("what runs is the new program", |stage| expect(stage, second));
    suite.check("it is the same device", |stage| stage.expect_device(&id));
    suite.check("it is removed, and stopped first", |stage| {
        stage.run(remove)?;
        stage.expect_service("inactive")?;
        stage.run("! grep --text --files-with-matches '/opt/[o]rbit' /proc/[0-9]*/cmdline")?;
        stage.run("test ! -e /opt/orbit/bin/orbit/packaged").map(|_| ())
    });
    suite.check("installed again, it is the same device", |stage| {
        stage.install(install, second, format)?;
        stage.expect_device(&id)
    });
    Ok(())
}

/// Fails unless the program of the package `name` is in its place, and qemu runs it.
fn expect(stage: &Stage<'_>, name: &str) -> anyhow::Result<()> {
    let inside = stage.container.root.join("srv").join(name);
    fs::copy(stage.shelf.program(name), inside).context("could not copy the program")?;
    stage.run(&format!("cmp /opt/orbit/bin/orbit/packaged/orbit /srv/{name}"))?;
    let machine = stage.run("od -An -tx1 -j18 -N2 /opt/orbit/bin/orbit/packaged/orbit")?;
    if machine.trim() != "b7 00" {
        bail!("the program is for another processor: {machine}");
    }
    let pid = stage.main_pid()?;
    let running =
        stage.run(&format!("readlink /proc/{pid}/exe; tr '\\0' ' ' < /proc/{pid}/cmdline"))?;
    if !running.contains("qemu-aarch64") || !running.contains("/opt/orbit/bin/orbit") {
        bail!("what runs is {running}");
    }
    Ok(())
}
