//! Flags of `fleetctl package` that cannot be what was meant, and what is said of them.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use crate::run::{Ended, Home};

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
