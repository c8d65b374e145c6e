//! What the environment says, and what it must not say.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use crate::{
    run::{Home, program},
    server::{API_KEY, Server},
};

const PACKAGE: [&str; 6] = ["package", "--type", "deb", "--components", "bin", "--dry-run"];

#[test]
fn an_empty_variable_counts_as_none() {
    let server = Server::start();
    let mut home = Home::new().with("FLEET_URL", &*server.url).with("FLEET_API_KEY", API_KEY);
    home.write("bin/orbit", "#!/bin/sh\n");
    for name in [
        "FLEET_CONTEXT",
        "FLEET_CONFIG",
        "FLEET_CERTIFICATE",
        "FLEET_ENROLL_SECRET",
        "SOURCE_DATE_EPOCH",
        "FLEETCTL_HOST_IDENTIFIER",
        "FLEETCTL_ENABLE_SCRIPTS",
        "FLEETCTL_END_USER_EMAIL",
        "FLEETCTL_OSQUERY_DB",
        "FLEETCTL_NATIVE_TOOLING",
        "FLEETCTL_USE_SYSTEM_CONFIGURATION",
        "FLEETCTL_DISABLE_KEYSTORE",
        "FLEETCTL_DEVICE_KEY",
        "FLEETCTL_FLEET_MANAGED_HOST_IDENTITY_CERTIFICATE",
        "FLEETCTL_MACOS_DEVID_PEM_CONTENT",
        "FLEETCTL_APP_STORE_CONNECT_API_KEY_ID",
        "FLEETCTL_APP_STORE_CONNECT_API_KEY_ISSUER",
        "FLEETCTL_APP_STORE_CONNECT_API_KEY_CONTENT",
    ] {
        home = home.with(name, "");
    }
    home.fleetctl(["devices", "list"]).ok();
    home.fleetctl(PACKAGE).ok();
}

#[test]
fn every_variable_of_a_refused_flag_is_refused() {
    for (name, value) in [
        ("FLEETCTL_USE_SYSTEM_CONFIGURATION", "true"),
        ("FLEETCTL_FLEET_MANAGED_HOST_IDENTITY_CERTIFICATE", "true"),
    ] {
        let home = Home::new().with(name, value);
        home.write("bin/orbit", "#!/bin/sh\n");
        let flag = name.trim_start_matches("FLEETCTL_").to_lowercase().replace('_', "-");
        let said = home.fleetctl(PACKAGE).fails(2);
        assert!(said.contains(&format!("--{flag} is ")), "{said}");
    }
}

#[test]
fn a_variable_that_is_no_text_is_refused_not_ignored() {
    let home = Home::new();
    for name in ["FLEET_URL", "FLEET_API_KEY", "FLEET_CERTIFICATE"] {
        let output = program(env!("CARGO_BIN_EXE_fleetctl").as_ref())
            .args(["devices", "list"])
            .env_clear()
            .env("HOME", home.path(""))
            .env(name, OsStr::from_bytes(b"\xff"))
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), &*said),
            (Some(2), &*format!("error: {name} is not UTF-8\n"))
        );
    }
}

#[test]
fn the_line_end_of_an_api_key_is_no_part_of_it() {
    let server = Server::start();
    let home = |key: String| Home::new().with("FLEET_URL", &*server.url).with("FLEET_API_KEY", key);
    home(format!("{API_KEY}\r\n")).fleetctl(["devices", "list"]).ok();
    let said = home(format!("{API_KEY}\n{API_KEY}")).fleetctl(["devices", "list"]).fails(2);
    assert!(said.contains("FLEET_API_KEY is no API key") && !said.contains(API_KEY), "{said}");
}

#[test]
fn a_certificate_in_the_environment_is_used_for_the_contexts_own_server_too() {
    let home = Home::new();
    home.fleetctl(["context", "set", "a", "--url", "https://127.0.0.1:1"]).ok();
    home.write("ca.pem", "no certificate");
    let home = home.with("FLEET_URL", "https://127.0.0.1:1").with("FLEET_CERTIFICATE", "ca.pem");
    let said = home.fleetctl(["devices", "list"]).fails(2);
    assert!(said.contains("could not use `ca.pem`: it contains no certificate"), "{said}");
}
