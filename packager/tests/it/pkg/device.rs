//! A Mac that is none: a root folder of its own, with stand-ins for what only macOS has. They write
//! down how they are called.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use packager::{Draft, format::pkg::Pkg};

use super::{Unpacked, package};
use crate::fixture::{as_root, draft, output};

const ICON: &str = "Library/LaunchAgents/com.fleetdm.fleet-desktop.plist";
pub(crate) const PLIST: &str = "Library/LaunchDaemons/com.fleetdm.orbit.plist";

/// Stands in for every program of a package. As orbit it points to the programs and takes over the
/// secret, as the agent's own tests ask of the real one.
pub(crate) const ORBIT: &str = r#"#!/bin/sh
set -eu
echo "orbit $*" >> /calls
[ ! -e /orbit-fails ] || exit 1
[ "$*" = "installer configure" ] || exit 0
cd /opt/orbit
for packaged in bin/*/packaged/*; do
    [ "${packaged##*/}" != VERSION ] || continue
    folder=${packaged%/packaged/*}
    link=$folder/${packaged##*/}
    [ -x "$link" ] || ln -sfn "packaged/${packaged##*/}" "$link"
done
if [ -e packaged.secret ] && ! cmp -s packaged.secret installed.json; then
    (umask 077; cp packaged.secret secret.txt; cp packaged.secret installed.json)
fi
[ -e installed.json ] || : > installed.json
"#;

const STAND_INS: [(&str, &str); 7] = [
    (
        "launchctl",
        r#"case $2 in
    gui/501*)
        case $1 in
            bootstrap) : > /shown ;;
            bootout) rm /shown ;;
            print) [ -e /shown ] ;;
        esac
        exit ;;
esac
case $1 in
    bootstrap) [ "$(cat /refusals)" -eq 0 ] || { echo $(($(cat /refusals) - 1)) > /refusals; exit 5; } ;;
    bootout | print) [ -e /loaded ] || exit 3 ;;
    print-disabled) [ ! -e /disabled ] || printf '\t"com.fleetdm.orbit" => disabled\n' ;;
esac
case $1 in
    bootstrap) : > /loaded ;;
    bootout) rm -f /loaded ;;
    enable) rm -f /disabled ;;
esac
"#,
    ),
    ("pkill", "exit 1\n"),
    ("pkgutil", "[ \"$1\" != --file-info ] || echo 'pkgid: com.fleetdm.orbit.base.pkg'\n"),
    ("sleep", ""),
    ("stat", "echo 501\n"),
    ("ps", "printf '    0 /sbin/launchd\\n  501 /opt/orbit/bin/desktop/fleet-desktop\\n'\n"),
    ("dscl", ""),
];

/// What a shell sets up before it becomes root there: the tools of this machine, and `/usr/local` and
/// everything else of the device's own.
const ENTER: &str = r#"
root=$1; shift
mount --bind /usr "$root/usr"
mount --bind "$root/local" "$root/usr/local"
mount --bind /dev "$root/dev"
PATH=/stand-ins:/usr/bin:/usr/sbin exec chroot "$root" "$@"
"#;

struct Device {
    folder: tempfile::TempDir,
    shell: &'static str,
}

impl Device {
    fn new(shell: &'static str) -> Self {
        let device = Self { folder: tempfile::tempdir().unwrap(), shell };
        for folder in ["usr", "local", "dev", "tmp", "stand-ins", "Library", "var/log", "package"] {
            fs::create_dir_all(device.path(folder)).unwrap();
        }
        for link in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{link}"), device.path(link)).unwrap();
        }
        for (name, body) in STAND_INS {
            let text = format!("#!/bin/sh\necho \"{name} $*\" >> /calls\n{body}");
            device.program(&format!("stand-ins/{name}"), &text);
        }
        fs::write(device.path("refusals"), "0").unwrap();
        device
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn program(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Where a symlink leads.
    fn link(&self, path: &str) -> String {
        fs::read_link(self.path(path)).unwrap().to_str().unwrap().to_owned()
    }

    /// Runs `script` as root of the device; gives its output, which ends with its exit code.
    fn shell(&self, script: &str) -> String {
        let id = output("id", &["-u"]);
        let user: &[&str] = if id.trim() == "0" { &[] } else { &["--map-root-user"] };
        let root = self.folder.path().to_str().unwrap();
        let shell = ["sh", "-ec", ENTER, "sh", root, self.shell, "-c", script, self.shell];
        output("unshare", &[user, &["--mount"], &shell].concat())
    }

    /// What `installer -pkg … -target /` does. Gives what was called.
    fn install(&self, draft: Draft, version: &str) -> String {
        let (calls, said) = self.try_install(draft, version);
        assert!(said.ends_with("exit 0\n"), "{said}");
        calls
    }

    fn try_install(&self, draft: Draft, version: &str) -> (String, String) {
        let unpacked = Unpacked::new(&package(draft, version), &Pkg::default());
        let _ = fs::remove_dir_all(self.path("package"));
        copy(&unpacked.path("Payload"), &self.path("package/Payload"));
        copy(&unpacked.path("Scripts"), &self.path("package/Scripts"));
        fs::write(self.path("calls"), "").unwrap();
        let said = self.shell(
            r#"cd /package/Scripts
            run() { "$0" "$@" fleetd.pkg / / / || { echo "exit $?"; exit 0; }; }
            run ./preinstall
            cp -a /package/Payload/. /
            # Until everything that was started has ended.
            mkfifo /started
            cat /started &
            exec 9> /started
            run ./postinstall
            exec 9>&-
            wait
            rm /started
            echo "exit 0""#,
        );
        (self.read("calls"), said)
    }

    fn uninstall(&self, flags: &str) -> String {
        fs::write(self.path("calls"), "").unwrap();
        let script = format!("\"$0\" /opt/orbit/uninstall.sh {flags}; echo exit $?");
        let said = self.shell(&script);
        assert!(said.ends_with("exit 0\n"), "{said}");
        self.read("calls")
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    as_root("cp", &["-a", &format!("{}/.", from.display()), to.to_str().unwrap()]);
}

const SHELLS: [&str; 2] = ["/usr/bin/dash", "/usr/bin/bash"];

#[test]
fn a_first_installation_starts_the_agent() {
    for shell in SHELLS {
        let device = Device::new(shell);
        fs::write(device.path("refusals"), "2").unwrap();
        let calls = device.install(draft(), "1.0.0");
        snapbox::assert_data_eq!(
            calls,
            snapbox::str![[r#"
orbit installer configure
pkill -x fleet-desktop
launchctl bootout system/com.fleetdm.orbit
launchctl enable system/com.fleetdm.orbit
launchctl bootstrap system /Library/LaunchDaemons/com.fleetdm.orbit.plist
sleep 1
launchctl bootstrap system /Library/LaunchDaemons/com.fleetdm.orbit.plist
sleep 1
launchctl bootstrap system /Library/LaunchDaemons/com.fleetdm.orbit.plist
launchctl kickstart system/com.fleetdm.orbit
stat -f %u /dev/console
launchctl print gui/501/com.fleetdm.fleet-desktop
launchctl bootstrap gui/501 /Library/LaunchAgents/com.fleetdm.fleet-desktop.plist

"#]]
        );
        let calls = device.install(draft(), "1.0.0");
        assert!(calls.contains("pkill -x fleet-desktop\n"), "{calls}");
        assert!(!calls.contains("bootstrap gui"), "launchd starts what it shows again: {calls}");
        assert_eq!(device.link("local/bin/orbit"), "/opt/orbit/bin/orbit/orbit");
        assert_eq!(device.link("opt/orbit/bin/orbit/orbit"), "packaged/orbit");
        assert!(device.path("var/log/orbit").is_dir());
        let secret = fs::metadata(device.path("opt/orbit/secret.txt")).unwrap();
        assert_eq!(secret.permissions().mode() & 0o7777, 0o600);
    }
}

#[test]
fn an_upgrade_keeps_state_newer_programs_and_a_newer_secret() {
    for shell in SHELLS {
        let device = Device::new(shell);
        device.install(draft(), "1.0.0");
        let newer = "opt/orbit/bin/orbit/2.0.0/orbit";
        device.program(newer, ORBIT);
        fs::remove_file(device.path("opt/orbit/bin/orbit/orbit")).unwrap();
        symlink("2.0.0/orbit", device.path("opt/orbit/bin/orbit/orbit")).unwrap();
        let key = "opt/orbit/secret-orbit-node-key.txt";
        fs::write(device.path(key), "node key").unwrap();
        fs::write(device.path("opt/orbit/secret.txt"), "rotated").unwrap();
        let calls = device.install(draft(), "1.1.0");
        assert!(calls.contains("launchctl kickstart system/com.fleetdm.orbit"), "{calls}");
        assert_eq!(device.link("opt/orbit/bin/orbit/orbit"), "2.0.0/orbit");
        assert_eq!(device.read(key), "node key");
        assert_eq!(device.read("opt/orbit/secret.txt"), "rotated");
        let other = Draft { enroll_secret: Some("another".into()), ..draft() };
        device.install(other, "1.1.0");
        assert_eq!(device.read("opt/orbit/secret.txt"), "another\n");
    }
}

#[test]
fn a_service_that_an_administrator_disabled_stays_so() {
    for shell in SHELLS {
        let device = Device::new(shell);
        fs::write(device.path("disabled"), "").unwrap();
        let calls = device.install(draft(), "1.0.0");
        assert!(calls.contains("launchctl enable"), "the first installation is wanted: {calls}");
        fs::write(device.path("disabled"), "").unwrap();
        let calls = device.install(draft(), "1.1.0");
        assert!(!calls.contains("enable") && !calls.contains("bootstrap"), "{calls}");
    }
}

#[test]
fn an_agent_that_installs_its_own_package_is_restarted_later() {
    for shell in SHELLS {
        let device = Device::new(shell);
        device.install(draft(), "1.0.0");
        fs::write(device.path("opt/orbit/.inband_upgrade"), "").unwrap();
        let calls = device.install(draft(), "1.1.0");
        let later = calls.split_once("sleep 30\n");
        let (now, later) = later.unwrap_or_else(|| panic!("{calls}"));
        assert!(!now.contains("launchctl b"), "{calls}");
        assert!(later.contains("launchctl bootout"), "{calls}");
        assert!(!device.path("opt/orbit/.inband_upgrade").exists());
    }
}

#[test]
fn fleets_own_agent_is_replaced() {
    for shell in SHELLS {
        let device = Device::new(shell);
        device.program("opt/orbit/bin/orbit/macos/stable/orbit", "Fleet's");
        device.program("opt/orbit/bin/osqueryd/macos-app/stable/osqueryd", "Fleet's");
        fs::write(device.path("loaded"), "").unwrap();
        let calls = device.install(draft(), "1.0.0");
        assert!(calls.starts_with("launchctl bootout system/com.fleetdm.orbit\n"), "{calls}");
        assert!(!device.path("opt/orbit/bin/orbit/macos").exists());
        assert!(!device.path("opt/orbit/bin/osqueryd/macos-app").exists());
    }
}

#[test]
fn what_is_not_ours_is_left_alone() {
    for shell in SHELLS {
        let device = Device::new(shell);
        device.program("local/bin/orbit", "somebody else's");
        device.install(draft(), "1.0.0");
        assert_eq!(device.read("local/bin/orbit"), "somebody else's");
        device.uninstall("--purge");
        assert_eq!(device.read("local/bin/orbit"), "somebody else's");
    }
}

#[test]
fn failures_are_told_to_the_installer() {
    for shell in SHELLS {
        let device = Device::new(shell);
        fs::write(device.path("refusals"), "40").unwrap();
        let (_, said) = device.try_install(draft(), "1.0.0");
        assert!(said.contains("launchd does not take") && said.contains("exit 1\n"), "{said}");
        let device = Device::new(shell);
        fs::write(device.path("orbit-fails"), "").unwrap();
        let (calls, said) = device.try_install(draft(), "1.0.0");
        assert!(said.contains("exit 1\n") && !calls.contains("launchctl b"), "{calls}{said}");
    }
}

#[test]
fn other_volumes_are_refused() {
    let device = Device::new("/usr/bin/dash");
    device.install(draft(), "1.0.0");
    let said =
        device.shell("sh /package/Scripts/preinstall fleetd.pkg /Volumes/x /Volumes/x /; echo $?");
    assert!(said.contains("startup volume only") && said.contains("1\n"), "{said}");
}

#[test]
fn removal_keeps_the_device_itself_and_purge_nothing() {
    for shell in SHELLS {
        let device = Device::new(shell);
        device.install(draft(), "1.0.0");
        let key = device.path("opt/orbit/secret-orbit-node-key.txt");
        fs::write(&key, "node key").unwrap();
        let calls = device.uninstall("");
        assert!(calls.contains("launchctl bootout system"), "{calls}");
        assert!(calls.contains("launchctl bootout gui/501/com.fleetdm.fleet-desktop"), "{calls}");
        assert!(calls.contains("pkgutil --forget com.fleetdm.orbit.base.pkg"), "{calls}");
        let mut left: Vec<_> = fs::read_dir(device.path("opt/orbit"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["installed.json", "secret-orbit-node-key.txt", "secret.txt"]);
        assert!(!device.path(ICON).exists());
        assert!(!device.path(PLIST).exists() && !device.path("local/bin/orbit").is_symlink());
        device.install(draft(), "1.0.0");
        assert_eq!(fs::read_to_string(&key).unwrap(), "node key");
        let calls = device.uninstall("--purge");
        assert!(calls.contains("orbit installer purge"), "{calls}");
        for gone in ["opt/orbit", "var/log/orbit", PLIST] {
            assert!(!device.path(gone).exists(), "{gone}");
        }
    }
}

#[test]
fn a_service_that_is_not_wanted_is_not_started() {
    let device = Device::new("/usr/bin/dash");
    let draft = Draft { service: false, ..draft() };
    let calls = device.install(draft.clone(), "1.0.0");
    assert!(!calls.contains("bootstrap") && !calls.contains("enable"), "{calls}");
    fs::write(device.path("loaded"), "").unwrap();
    let calls = device.install(draft, "1.1.0");
    assert!(calls.contains("launchctl kickstart -k"), "what runs gets the new program: {calls}");
}
