//! The deb, read and installed by dpkg.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use packager::{Draft, format::deb::Deb};

use crate::fixture::{as_root, draft, package, run, write};

fn deb(folder: &Path, draft: Draft, version: &str) -> PathBuf {
    write(&package(draft, version), &Deb::default(), folder)
}

#[test]
fn control_fields_are_what_a_distribution_expects() {
    let folder = tempfile::tempdir().unwrap();
    let path = deb(folder.path(), draft(), "1.2.3-rc.1");
    assert_eq!(path.file_name().unwrap(), "fleetd_1.2.3~rc.1_amd64.deb");
    let fields = run("dpkg-deb", &["--field", path.to_str().unwrap()]);
    snapbox::assert_data_eq!(
        fields,
        snapbox::str![[r#"
Package: fleetd
Version: 1.2.3~rc.1
Architecture: amd64
Maintainer: Example Inc. <it@example.com>
Installed-Size: [..]
Depends: libc6 (>= 2.[..])
Recommends: ca-certificates
Conflicts: fleet-osquery
Section: admin
Priority: optional
Homepage: https://it.example.com/
Description: Fleet agent, enrolls this device with its server and runs osquery
 The agent, orbit, enrolls the device with the Fleet server that this package
 was built for. It keeps osquery running, hands it the queries that the server
 asks, and returns the answers.
 .
 The package carries the server's address in /etc/default/orbit. Settings there
 can be edited, and survive upgrades. Removing the package keeps the device's
 identity.

"#]]
    );
}

const CONFFILES: &str = "/etc/default/orbit\n/etc/orbit/osquery.flags\n";

#[test]
fn what_an_administrator_edits_is_a_conffile() {
    let folder = tempfile::tempdir().unwrap();
    let path = deb(folder.path(), draft(), "1.2.3");
    let path = path.to_str().unwrap();
    assert_eq!(run("dpkg-deb", &["--info", path, "conffiles"]), CONFFILES);
}

#[test]
fn dpkg_unpacks_every_compression() {
    let folder = tempfile::tempdir().unwrap();
    let package = package(draft(), "1.2.3");
    for compression in ["none", "gzip:9", "xz:1", "zstd:3", "zstd:19"] {
        let format = Deb { compression: compression.parse().unwrap(), ..Deb::default() };
        let path = write(&package, &format, folder.path());
        let unpacked = folder.path().join(compression);
        run("dpkg-deb", &["-x", path.to_str().unwrap(), unpacked.to_str().unwrap()]);
        let orbit = unpacked.join("opt/orbit/bin/orbit/packaged/orbit");
        assert_eq!(fs::read(&orbit).unwrap(), fs::read("/bin/true").unwrap(), "{compression}");
        let secret = unpacked.join("opt/orbit/secret.txt");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "s3cret with $pecial \"chars\"\n");
        assert_eq!(fs::metadata(secret).unwrap().permissions().mode() & 0o7777, 0o600);
    }
}

#[test]
fn scripts_are_posix_shell() {
    let folder = tempfile::tempdir().unwrap();
    for service in [true, false] {
        let path = deb(folder.path(), Draft { service, ..draft() }, "1.2.3");
        let control = folder.path().join(service.to_string());
        run("dpkg-deb", &["-e", path.to_str().unwrap(), control.to_str().unwrap()]);
        for script in ["postinst", "prerm", "postrm"] {
            run("dash", &["-n", control.join(script).to_str().unwrap()]);
        }
    }
}

/// A system of which only dpkg knows.
struct System {
    folder: tempfile::TempDir,
}

impl System {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = folder.path().join("root/var/lib/dpkg");
        for name in ["info", "updates", "triggers"] {
            fs::create_dir_all(admin.join(name)).unwrap();
        }
        for name in ["status", "available"] {
            fs::write(admin.join(name), "").unwrap();
        }
        Self { folder }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("root").join(path)
    }

    fn dpkg(&self, args: &[&str]) {
        let root = format!("--root={}", self.path("").display());
        let common = [root.as_str(), "--force-script-chrootless", "--force-depends"];
        as_root("dpkg", &[&common, args].concat());
    }

    fn install(&self, draft: Draft, version: &str) {
        let path = deb(self.folder.path(), draft, version);
        self.dpkg(&["--install", path.to_str().unwrap()]);
    }

    fn pointer(&self) -> String {
        let target = fs::read_link(self.path("opt/orbit/bin/orbit/orbit")).unwrap();
        target.to_str().unwrap().to_owned()
    }

    fn is_enabled(&self) -> bool {
        self.path("etc/systemd/system/multi-user.target.wants/orbit.service").is_symlink()
    }

    fn disable(&self) {
        let root = format!("--root={}", self.path("").display());
        as_root("systemctl", &["--quiet", &root, "disable", "orbit.service"]);
    }

    /// What an updater does.
    fn update_to(&self, version: &str) {
        let program = self.path("opt/orbit/bin/orbit").join(version).join("orbit");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::copy("/bin/true", program).unwrap();
        let pointer = self.path("opt/orbit/bin/orbit/orbit");
        fs::remove_file(&pointer).unwrap();
        symlink(format!("/opt/orbit/bin/orbit/{version}/orbit"), pointer).unwrap();
    }
}

#[test]
fn upgrades_keep_what_administrators_and_the_agent_wrote() {
    let system = System::new();
    system.install(draft(), "1.0.0");
    assert!(system.is_enabled());
    assert_eq!(system.pointer(), "packaged/orbit");
    let (conffile, key) =
        (system.path("etc/default/orbit"), system.path("opt/orbit/secret-orbit-node-key.txt"));
    fs::write(&conffile, "ORBIT_FLEET_URL=mine\n").unwrap();
    fs::write(&key, "node key").unwrap();
    let flags = system.path("etc/orbit/osquery.flags");
    fs::write(&flags, "--verbose\n").unwrap();
    system.disable();
    system.install(draft(), "1.1.0");
    assert_eq!(fs::read_to_string(&conffile).unwrap(), "ORBIT_FLEET_URL=mine\n");
    assert_eq!(fs::read_to_string(&flags).unwrap(), "--verbose\n");
    assert_eq!(fs::read_to_string(&key).unwrap(), "node key");
    assert!(!system.is_enabled(), "a disabled service stays disabled");
}

#[test]
fn removal_keeps_state_and_purge_deletes_it() {
    let system = System::new();
    system.install(draft(), "1.0.0");
    let key = system.path("opt/orbit/secret-orbit-node-key.txt");
    fs::write(&key, "node key").unwrap();
    system.dpkg(&["--remove", "fleetd"]);
    assert!(key.exists() && system.path("etc/default/orbit").exists());
    assert!(!system.path("opt/orbit/bin").exists(), "programs and pointers go");
    assert!(!system.path("opt/orbit/secret.txt").exists());
    system.install(draft(), "1.0.0");
    assert!(system.is_enabled());
    assert_eq!(system.pointer(), "packaged/orbit");
    assert_eq!(fs::read_to_string(&key).unwrap(), "node key");
    system.dpkg(&["--purge", "fleetd"]);
    for gone in ["opt/orbit", "etc/default/orbit", "usr/bin/orbit", "usr/lib/systemd"] {
        assert!(!system.path(gone).exists(), "{gone}");
    }
    assert!(!system.is_enabled());
}

#[test]
fn newer_versions_from_updates_stay_in_use() {
    let system = System::new();
    system.install(draft(), "1.9.0");
    system.update_to("1.10.0");
    system.install(draft(), "1.9.1");
    assert_eq!(system.pointer(), "/opt/orbit/bin/orbit/1.10.0/orbit");
    system.install(draft(), "1.10.0-rc.1");
    assert_eq!(system.pointer(), "/opt/orbit/bin/orbit/1.10.0/orbit", "it has been released");
    system.install(draft(), "1.11.0");
    assert_eq!(system.pointer(), "packaged/orbit");
    system.update_to("2.0.0");
    fs::remove_dir_all(system.path("opt/orbit/bin/orbit/2.0.0")).unwrap();
    system.install(draft(), "1.11.1");
    assert_eq!(system.pointer(), "packaged/orbit", "it led nowhere");
    system.update_to("stable");
    system.install(draft(), "1.11.2");
    assert_eq!(system.pointer(), "packaged/orbit", "that is no version");
}

#[test]
fn a_service_that_is_not_wanted_is_not_enabled() {
    let system = System::new();
    let draft = Draft { service: false, ..draft() };
    system.install(draft.clone(), "1.0.0");
    assert!(!system.is_enabled());
    assert!(system.path("usr/lib/systemd/system/orbit.service").exists());
    system.install(draft, "1.1.0");
    assert!(!system.is_enabled());
}
