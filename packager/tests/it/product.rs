//! Packages of the product's own programs.

use std::{collections::BTreeMap, fs};

use bytes::Bytes;
use camino::Utf8Path;
use packager::{
    AssembleError, Package, Program,
    format::{deb::Deb, rpm::Rpm},
    payload::Os,
    product::{self, Documents, Release},
};

use crate::fixture::{DATE, as_root, output, platform, run, write};

fn release() -> Release {
    let program = Program::open(Utf8Path::new("/bin/true"), platform()).unwrap();
    Release { version: "1.2.3".parse().unwrap(), program, built_at: DATE }
}

fn documents() -> Documents {
    let page = |name: &str| {
        let title = name.trim_end_matches(".1").to_uppercase();
        let text = format!(".TH {title} 1\n.SH NAME\n{name} \\- a page\n");
        (name.to_owned(), Bytes::from(text))
    };
    Documents {
        manual: BTreeMap::from([page("fleetctl.1"), page("fleetctl-devices.1")]),
        bash: "complete -W 'devices' fleetctl\n".into(),
        zsh: "#compdef fleetctl\n".into(),
        fish: "complete -c fleetctl\n".into(),
    }
}

pub(crate) fn fleetctl() -> Package {
    product::fleetctl(&release(), &documents()).unwrap()
}

pub(crate) fn fleet_server() -> Package {
    product::fleet_server(&release()).unwrap()
}

#[test]
fn the_command_line_lays_out_like_this() {
    snapbox::assert_data_eq!(
        fleetctl().tree.to_string(),
        snapbox::str![[r#"
-rwxr-xr-x root root [..] /usr/bin/fleetctl
-rw-r--r-- root root [..] /usr/share/bash-completion/completions/fleetctl
-rw-r--r-- root root [..] /usr/share/fish/vendor_completions.d/fleetctl.fish
-rw-r--r-- root root [..] /usr/share/man/man1/fleetctl-devices.1.gz
-rw-r--r-- root root [..] /usr/share/man/man1/fleetctl.1.gz
-rw-r--r-- root root [..] /usr/share/zsh/site-functions/_fleetctl
-rw-r--r-- root root [..] /usr/share/zsh/vendor-completions/_fleetctl

"#]]
    );
}

#[test]
fn the_server_lays_out_like_this() {
    snapbox::assert_data_eq!(
        fleet_server().tree.to_string(),
        snapbox::str![[r#"
drwxr-x--- root fleet-server [..] /etc/fleet-server
-rw-r----- root fleet-server [..] /etc/fleet-server/config.yaml
-rwxr-xr-x root root [..] /usr/bin/fleet-server
-rw-r--r-- root root [..] /usr/lib/systemd/system/fleet-server.service
-rw-r--r-- root root [..] /usr/lib/sysusers.d/fleet-server.conf

"#]]
    );
}

#[test]
fn a_package_of_commands_runs_no_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let deb = write(&fleetctl(), &Deb::default(), folder.path());
    let control = folder.path().join("control");
    run("dpkg-deb", &["-e", deb.to_str().unwrap(), control.to_str().unwrap()]);
    let members: Vec<_> =
        fs::read_dir(control).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(members, ["control"]);
    let rpm = write(&fleetctl(), &Rpm::default(), folder.path());
    let rpm = rpm.to_str().unwrap();
    assert_eq!(run("rpm", &["-qp", "--scripts", rpm]), "");
    assert!(!run("rpm", &["-qp", "--requires", rpm]).contains("/bin/sh"));
}

#[test]
fn dpkg_and_rpm_are_told_who_owns_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let deb = write(&fleet_server(), &Deb::default(), folder.path());
    let deb = deb.to_str().unwrap();
    assert_eq!(run("dpkg-deb", &["--info", deb, "conffiles"]), "/etc/fleet-server/config.yaml\n");
    let listing = run("dpkg-deb", &["--contents", deb]);
    let config = listing.lines().find(|line| line.ends_with("/etc/fleet-server/config.yaml"));
    assert!(config.unwrap().starts_with("-rw-r----- root/fleet-server "), "{listing}");
    let depends = run("dpkg-deb", &["--field", deb, "Depends"]);
    let sysusers = "systemd | systemd-standalone-sysusers | systemd-sysusers";
    assert!(depends.contains("libc6") && depends.trim().ends_with(sysusers), "{depends}");
    let rpm = write(&fleet_server(), &Rpm::default(), folder.path());
    let query = |args: &[&str]| run("rpm", &[&["-qp"], args, &[rpm.to_str().unwrap()]].concat());
    assert_eq!(query(&["--configfiles"]), "/etc/fleet-server/config.yaml\n");
    let owners = query(&["--queryformat", "[%{FILENAMES} %{FILEUSERNAME} %{FILEGROUPNAME}\\n]"]);
    assert!(owners.contains("/etc/fleet-server/config.yaml root fleet-server\n"), "{owners}");
    assert!(query(&["--requires"]).contains("/usr/bin/systemd-sysusers\n"));
}

#[test]
fn scripts_of_the_server_are_posix_shell() {
    let folder = tempfile::tempdir().unwrap();
    let deb = write(&fleet_server(), &Deb::default(), folder.path());
    let control = folder.path().join("control");
    run("dpkg-deb", &["-e", deb.to_str().unwrap(), control.to_str().unwrap()]);
    for script in ["postinst", "prerm", "postrm"] {
        run("dash", &["-n", control.join(script).to_str().unwrap()]);
    }
    let rpm = write(&fleet_server(), &Rpm::default(), folder.path());
    for tag in ["PREIN", "POSTIN", "PREUN", "POSTUN"] {
        let format = format!("%{{{tag}}}");
        let text = run("rpm", &["-qp", "--queryformat", &format, rpm.to_str().unwrap()]);
        let script = folder.path().join(tag);
        fs::write(&script, text).unwrap();
        run("dash", &["-n", script.to_str().unwrap()]);
    }
}

/// Unpacks the server's deb; gives the folder.
fn unpacked() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let deb = write(&fleet_server(), &Deb::default(), folder.path());
    run("dpkg-deb", &["-x", deb.to_str().unwrap(), folder.path().to_str().unwrap()]);
    folder
}

#[test]
fn systemd_finds_the_servers_unit_well_and_well_locked() {
    let folder = unpacked();
    let unit = folder.path().join("usr/lib/systemd/system/fleet-server.service");
    let text = fs::read_to_string(&unit).unwrap();
    let program = "/usr/bin/fleet-server";
    assert!(text.contains(program));
    fs::write(&unit, text.replace(program, "/bin/true")).unwrap();
    let unit = unit.to_str().unwrap();
    assert_eq!(run("systemd-analyze", &["verify", "--man=no", unit]), "");
    // At most 2.0 on systemd's scale of exposure, from 0 to 10.
    run("systemd-analyze", &["security", "--offline=true", "--threshold=20", unit]);
}

#[test]
fn sysusers_makes_the_account() {
    let folder = unpacked();
    let root = format!("--root={}", folder.path().display());
    as_root("systemd-sysusers", &[&root, "fleet-server.conf"]);
    let users = fs::read_to_string(folder.path().join("etc/passwd")).unwrap();
    let user = users.lines().find(|line| line.starts_with("fleet-server:")).unwrap();
    assert!(user.ends_with(":Fleet server:/var/lib/fleet-server:/usr/sbin/nologin"), "{user}");
}

#[test]
fn manual_pages_are_read_by_man() {
    let folder = tempfile::tempdir().unwrap();
    let deb = write(&fleetctl(), &Deb::default(), folder.path());
    run("dpkg-deb", &["-x", deb.to_str().unwrap(), folder.path().to_str().unwrap()]);
    let page = folder.path().join("usr/share/man/man1/fleetctl-devices.1.gz");
    let text = output(
        "sh",
        &["-c", r#"gzip -dc "$1" | groff -man -Tascii"#, "sh", page.to_str().unwrap()],
    );
    assert!(text.contains("FLEETCTL-DEVICES(1)"), "{text}");
}

#[test]
fn only_linux_has_such_packages() {
    let mut release = release();
    release.program.platform.os = Os::Windows;
    let no_layout = AssembleError::NoLayout { os: Os::Windows };
    assert_eq!(product::fleetctl(&release, &documents()).unwrap_err(), no_layout);
    assert_eq!(product::fleet_server(&release).unwrap_err(), no_layout);
    assert_eq!(product::fleet_server_image(&release, &[]).unwrap_err(), no_layout);
}

#[test]
fn a_page_stays_in_its_folder() {
    for name in ["../x.1", "a/../../x.1"] {
        let manual = BTreeMap::from([(name.to_owned(), Bytes::new())]);
        let documents = Documents { manual, ..documents() };
        let laid_out = product::fleetctl(&release(), &documents);
        assert!(matches!(laid_out, Err(AssembleError::Path(_))), "{name}");
    }
}
