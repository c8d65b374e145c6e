//! The rpm, read and installed by rpm.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use packager::{Draft, format::rpm::Rpm};

use crate::fixture::{as_root, draft, package, run, write};

fn rpm(folder: &Path, draft: Draft, version: &str) -> PathBuf {
    write(&package(draft, version), &Rpm::default(), folder)
}

fn query(path: &Path, args: &[&str]) -> String {
    run("rpm", &[&["-qp"], args, &[path.to_str().unwrap()]].concat())
}

const CONFIG_FILES: &str = "/etc/default/orbit\n/etc/orbit/osquery.flags\n";

#[test]
fn header_says_what_a_distribution_expects() {
    let folder = tempfile::tempdir().unwrap();
    let path = rpm(folder.path(), draft(), "1.2.3-rc.1");
    assert_eq!(path.file_name().unwrap(), "fleetd-1.2.3~rc.1-1.x86_64.rpm");
    let format = "%{NEVRA} %{LICENSE} %{OS} %{BUILDHOST} %{PAYLOADCOMPRESSOR} %{PAYLOADFLAGS}\\n";
    let said = query(&path, &["--queryformat", format]);
    assert_eq!(said, "fleetd-1.2.3~rc.1-1.x86_64 Apache-2.0 OR MIT linux localhost zstd 3\n");
    assert_eq!(query(&path, &["--configfiles"]), CONFIG_FILES);
    assert_eq!(query(&path, &["--conflicts"]), "fleet-osquery\n");
    assert_eq!(query(&path, &["--recommends"]), "ca-certificates\n");
    assert!(query(&path, &["--changelog"]).contains("- Release 1.2.3~rc.1."));
    assert!(query(&path, &["--queryformat", "%{FILEFLAGS:fflags}"]).starts_with("cn"));
    snapbox::assert_data_eq!(
        query(&path, &["--requires"]),
        snapbox::str![[r#"
/bin/sh
/bin/sh
/bin/sh
/bin/sh
coreutils
libc.so.6(GLIBC_2.[..])(64bit)
rpmlib(CompressedFileNames) <= 3.0.4-1
rpmlib(FileDigests) <= 4.6.0-1
rpmlib(PayloadFilesHavePrefix) <= 4.0-1
rpmlib(PayloadIsZstd) <= 5.4.18-1

"#]]
    );
}

#[test]
fn rpm_checks_and_unpacks_every_compression() {
    let folder = tempfile::tempdir().unwrap();
    let package = package(draft(), "1.2.3");
    for compression in ["none", "gzip:9", "xz:1", "zstd:3", "zstd:19"] {
        let format = Rpm { compression: compression.parse().unwrap(), ..Rpm::default() };
        let path = write(&package, &format, folder.path());
        let checked = run("rpm", &["--checksig", "--verbose", path.to_str().unwrap()]);
        for digest in ["Header SHA256 digest: OK", "Payload SHA256 digest: OK"] {
            assert!(checked.contains(digest), "{compression}: {checked}");
        }
        let unpacked = folder.path().join(compression);
        fs::create_dir(&unpacked).unwrap();
        let script = r#"cd "$1" && rpm2cpio "$2" | cpio -id --quiet --no-absolute-filenames"#;
        let (to, from) = (unpacked.to_str().unwrap(), path.to_str().unwrap());
        run("sh", &["-ec", script, "sh", to, from]);
        let orbit = unpacked.join("opt/orbit/bin/orbit/packaged/orbit");
        assert_eq!(fs::read(orbit).unwrap(), fs::read("/bin/true").unwrap(), "{compression}");
    }
}

#[test]
fn a_damaged_package_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = rpm(folder.path(), draft(), "1.2.3");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 100;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let said = crate::fixture::output("rpm", &["--checksig", path.to_str().unwrap()]);
    assert!(said.contains("NOT OK"), "{said}");
}

/// A system with rpm's database, a shell, and a systemctl that writes down what it is asked.
pub(crate) struct System {
    folder: tempfile::TempDir,
}

const PROGRAMS: [&str; 10] =
    ["sh", "ln", "mv", "readlink", "rm", "sort", "tail", "tr", "cat", "mkdir"];

const SYSTEMCTL: &str = "#!/bin/sh\necho \"$@\" >>/asked\n\
    case \"$*\" in *is-enabled*) [ ! -e /disabled ] ;; esac\n";

impl System {
    pub(crate) fn new() -> Self {
        let system = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["usr/bin", "usr/lib", "usr/lib64", "run/systemd/system", "var/lib/rpm"] {
            fs::create_dir_all(system.path(folder)).unwrap();
        }
        for (link, target) in [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
            symlink(target, system.path(link)).unwrap();
        }
        PROGRAMS.iter().for_each(|program| system.add_program(program));
        system.add_script("systemctl", SYSTEMCTL);
        system
    }

    pub(crate) fn add_script(&self, name: &str, text: &str) {
        let script = self.path("usr/bin").join(name);
        fs::write(&script, text).unwrap();
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Copies a program of this system and the libraries that it needs.
    pub(crate) fn add_program(&self, program: &str) {
        let found = run("sh", &["-c", "readlink -f \"$(command -v \"$0\")\"", program]);
        fs::copy(found.trim(), self.path("usr/bin").join(program)).unwrap();
        let libraries = run("ldd", &[found.trim()]);
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            let to = self.path(library.trim_start_matches('/'));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(library, to).unwrap();
        }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("root").join(path)
    }

    /// Runs rpm, and returns what systemctl was asked meanwhile.
    fn rpm(&self, args: &[&str]) -> String {
        let root = self.path("");
        as_root("rpm", &[&["--root", root.to_str().unwrap(), "--nodeps"], args].concat());
        self.asked()
    }

    /// What stand-ins have written down since this was last asked for.
    pub(crate) fn asked(&self) -> String {
        let asked = fs::read_to_string(self.path("asked")).unwrap_or_default();
        let _ = fs::remove_file(self.path("asked"));
        asked
    }

    pub(crate) fn install(&self, draft: Draft, version: &str) -> String {
        let path = rpm(self.folder.path(), draft, version);
        self.rpm(&["-U", "--oldpackage", path.to_str().unwrap()])
    }

    fn pointer(&self) -> PathBuf {
        fs::read_link(self.path("opt/orbit/bin/orbit/orbit")).unwrap()
    }
}

#[test]
fn installing_enables_upgrading_only_restarts_and_erasing_stops_first() {
    let system = System::new();
    assert_eq!(
        system.install(draft(), "1.0.0"),
        "--quiet --no-reload enable orbit.service\ndaemon-reload\n\
         --quiet is-enabled orbit.service\n--quiet --no-block restart orbit.service\n"
    );
    assert_eq!(system.pointer(), Path::new("packaged/orbit"));
    assert_eq!(
        system.install(draft(), "1.1.0"),
        "daemon-reload\n--quiet --no-block try-restart orbit.service\ndaemon-reload\n"
    );
    assert_eq!(system.pointer(), Path::new("packaged/orbit"));
    assert_eq!(
        system.rpm(&["-e", "fleetd"]),
        "--quiet stop orbit.service\n--quiet --no-reload disable orbit.service\ndaemon-reload\n"
    );
    assert!(!system.path("opt/orbit/bin").exists(), "programs and pointers go");
}

#[test]
fn upgrades_keep_what_administrators_the_agent_and_updates_wrote() {
    let system = System::new();
    system.install(draft(), "1.0.0");
    let (config, key) =
        (system.path("etc/default/orbit"), system.path("opt/orbit/secret-orbit-node-key.txt"));
    fs::write(&config, "ORBIT_FLEET_URL=mine\n").unwrap();
    fs::write(&key, "node key").unwrap();
    let newer = system.path("opt/orbit/bin/orbit/2.0.0");
    fs::create_dir(&newer).unwrap();
    fs::copy("/bin/true", newer.join("orbit")).unwrap();
    let pointer = system.path("opt/orbit/bin/orbit/orbit");
    fs::remove_file(&pointer).unwrap();
    symlink("2.0.0/orbit", pointer).unwrap();
    system.install(draft(), "1.1.0");
    assert_eq!(fs::read_to_string(&config).unwrap(), "ORBIT_FLEET_URL=mine\n");
    assert_eq!(system.pointer(), Path::new("2.0.0/orbit"));
    system.rpm(&["-e", "fleetd"]);
    assert_eq!(fs::read_to_string(key).unwrap(), "node key", "erasing keeps state");
    let saved = system.path("etc/default/orbit.rpmsave");
    assert_eq!(fs::read_to_string(saved).unwrap(), "ORBIT_FLEET_URL=mine\n");
}

#[test]
fn a_service_that_is_not_wanted_is_not_enabled() {
    let system = System::new();
    let asked = system.install(Draft { service: false, ..draft() }, "1.0.0");
    assert_eq!(asked, "daemon-reload\n--quiet --no-block try-restart orbit.service\n");
}

#[test]
fn files_are_laid_where_systemd_does_not_run() {
    let system = System::new();
    fs::remove_dir(system.path("run/systemd/system")).unwrap();
    fs::remove_file(system.path("usr/bin/systemctl")).unwrap();
    system.install(draft(), "1.0.0");
    assert_eq!(system.pointer(), Path::new("packaged/orbit"));
    system.rpm(&["-e", "fleetd"]);
    assert!(!system.path("opt/orbit/bin").exists());
}
