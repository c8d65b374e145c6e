//! Flags of `fleetctl package` that cannot be what was meant, and what is said of them.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use crate::run::{Ended, Home, tool};

fn home() -> Home {
    let home = Home::new();
    home.write("bin/orbit", "#!/bin/sh\n");
    home
}

fn package<S: AsRef<OsStr> + ?Sized>(home: &Home, flags: &[&S]) -> Ended {
    let fixed = ["package", "--type", "deb", "--components", "bin"].map(OsStr::new);
    home.fleetctl(fixed.into_iter().chain(flags.iter().map(|flag| flag.as_ref())))
}

#[test]
fn a_password_in_an_address_is_in_no_error() {
    for flags in [
        ["--fleet-url", "ftp://ann:hunter2@fleet"],
        ["--proxy", "ftp://ann:hunter2@proxy"],
        ["--update-url", "ftp://ann:hunter2@updates"],
        ["--update-url", "https://ann:hunter2@updates:99999"],
        ["--update-url", "https://ann:hunter2@"],
    ] {
        let said = package(&home(), &flags).fails(2);
        assert!(!said.contains("hunter2"), "{said}");
        let fetched = ["package", "--type", "deb", "--update-roots", "{}"];
        let said = home().fleetctl([&fetched[..], &flags].concat()).fails(2);
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_file_that_cannot_be_replaced_is_told_of_once() {
    let home = home();
    home.write("agent.deb/in-the-way", "");
    let said = package(&home, &["--outfile", "agent.deb"]).fails(1);
    assert!(said.contains("error: could not write `agent.deb`: Is a directory"), "{said}");
    assert_eq!(said.matches("Is a directory").count(), 1, "{said}");
}

#[test]
fn a_name_that_json_cannot_tell_is_refused_before_any_work() {
    let home = home();
    for flag in ["--out-dir", "--outfile"] {
        let said = package(&home, &[OsStr::new(flag), OsStr::from_bytes(b"d\xff.deb")]).fails(2);
        assert!(said.contains(flag) && said.contains("is not UTF-8"), "{said}");
    }
}

#[test]
fn a_type_and_an_architecture_given_twice_count_once() {
    let home = home();
    let flags = ["--type", "deb", "--arch", "arm64,arm64", "--outfile", "agent.deb"];
    assert_eq!(package(&home, &flags).ok().lines().count(), 2, "the head and one file");
}

#[test]
fn the_usage_that_an_unknown_flag_is_answered_with_demands_no_other_flag() {
    let said = package(&home(), &["--no-such-flag"]).fails(2);
    assert!(said.contains("Usage: fleetctl package --type <TYPE>"), "{said}");
    assert!(!said.contains("--cache-dir"), "{said}");
}

#[test]
fn switches_take_values_as_gos_flags_do() {
    let home = home();
    let settings = |flags: &[&str]| {
        let out = ["--outfile", "agent.deb", "--fleet-url", "f", "--enroll-secret", "s"];
        package(&home, &[&out[..], flags].concat()).ok();
        let deb = home.path("agent.deb");
        tool("dpkg-deb", [OsStr::new("--extract"), deb.as_os_str(), home.path("root").as_os_str()]);
        std::fs::read_to_string(home.path("root/etc/default/orbit")).unwrap()
    };
    for on in ["--debug", "--debug=true", "--debug=1", "--debug=T"] {
        assert!(settings(&[on]).contains("ORBIT_DEBUG"), "{on}");
    }
    for off in ["--debug=false", "--debug=0", "--debug=FALSE"] {
        assert!(!settings(&[off, "--quiet=false"]).contains("ORBIT_DEBUG"), "{off}");
    }
    let home = home.with("FLEETCTL_ENABLE_SCRIPTS", "true");
    let dry = |flag| package(&home, &["--dry-run=true", "--outfile", "a.deb", flag]).ok();
    assert_eq!(dry("--enable-scripts=false").matches("/etc/default/orbit").count(), 1);
    assert!(!home.path("a.deb").exists());
}

#[test]
fn a_switchs_value_is_no_word_of_its_own_and_help_stays_short() {
    for flags in [["--debug", "false"], ["--debug=maybe", "--offline"]] {
        assert!(package(&home(), &flags).fails(2).contains("error: "));
    }
    let help = package(&home(), &["--insecure=false", "--help"]).ok();
    assert!(help.contains("--insecure\n") && !help.contains("true|false"), "{help}");
    for refused in ["--notarize", "--notarize=true"] {
        package(&home(), &[refused, "--dry-run"]).fails(2);
    }
    package(&home(), &["--notarize=false", "--disable-keystore=true", "--dry-run"]).ok();
}

#[test]
fn what_the_agent_does_for_osqueryd_costs_no_warning() {
    let home = home();
    for flags in [
        &["--proxy", "http://ann:hunter2@proxy.example.com:3128"][..],
        &["--proxy", "socks5h://proxy.example.com"],
        &["--insecure"],
    ] {
        let said = package(&home, &[&["--dry-run"][..], flags].concat()).stderr;
        assert!(!said.contains("warning") && !said.contains("hunter2"), "{flags:?}: {said}");
    }
}

#[test]
fn a_mistake_names_the_flag_and_the_file() {
    let home = home();
    home.write("x.pem", "no certificate");
    let said = package(
        &home,
        &[
            "--update-tls-certificate",
            "x.pem",
            "--fleet-tls-client-key",
            "x.pem",
            "--cpu-quota",
            "70000",
            "--maintainer",
            "Example Inc.",
            "--fleet-url",
            "fleet",
        ],
    );
    let said = said.fails(2);
    for line in [
        "--update-tls-certificate `x.pem` cannot be used: no certificate in it",
        "--fleet-tls-client-key goes together with --fleet-tls-client-certificate, which is missing",
        "--fleet-tls-client-key `x.pem` cannot be used: no unencrypted private key in it",
        "--cpu-quota cannot be used: 70000 % is not within 1 % and 10000 %",
        "--maintainer cannot be used: it is not of the form `Name <user@example.com>`",
        "--fleet-url goes together with the enroll secret, which is missing",
    ] {
        assert!(said.contains(line), "{line}\n---\n{said}");
    }
    for (quota, reason) in
        [("99999999999", "is not within 1 %"), ("0", "0 % is not"), ("x", "not a number")]
    {
        let said = package(&home, &["--cpu-quota", quota, "--dry-run"]).fails(2);
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn of_several_files_that_cannot_all_be_written_none_is() {
    let home = home();
    home.write("out/fleetd-0.1.0-1.x86_64.rpm/in-the-way", "");
    let said = package(&home, &["--type", "rpm", "--out-dir", "out"]).fails(1);
    assert!(said.contains("could not write `out/fleetd-0.1.0-1.x86_64.rpm`"), "{said}");
    assert_eq!(std::fs::read_dir(home.path("out")).unwrap().count(), 1, "only what was in the way");
}
