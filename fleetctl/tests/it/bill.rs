//! `fleetctl package --sbom`: what stands in the bill of materials, and what does not.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _};

use serde_json::Value;

use crate::run::{Home, tool};

const SECRET: &str = "the secret nobody may see";

fn home() -> Home {
    let home = Home::new();
    for name in ["orbit", "osqueryd"] {
        home.write(&format!("bin/{name}"), format!("#!/bin/sh\necho {name}\n"));
    }
    home.write("bin/orbit.version", "2.3.4\n");
    home.write("bin/osqueryd.version", "5.9.1\n");
    home.write("secret.txt", format!("{SECRET}\n"));
    home
}

fn package(home: &Home, types: &str) -> String {
    let flags = ["package", "--sbom", "--components=bin", "--output=json", "--arch=amd64"];
    let enroll = ["--fleet-url=https://fleet.example.com", "--enroll-secret-file=secret.txt"];
    home.fleetctl([&flags[..], &["--type", types], &enroll].concat()).ok()
}

fn sum(home: &Home, file: &str) -> String {
    let path = home.path(file);
    let said = tool("sha256sum", [path.to_str().unwrap()]);
    said.split(' ').next().unwrap().to_owned()
}

fn hash(component: &Value) -> &str {
    assert_eq!(component["hashes"][0]["alg"], "SHA-256", "{component}");
    component["hashes"][0]["content"].as_str().unwrap()
}

#[test]
fn a_bill_names_the_package_its_programs_and_its_files() {
    let home = home();
    let made: Vec<Value> = serde_json::from_str(&package(&home, "deb,rpm")).unwrap();
    for artifact in &made {
        let (package, path) = (artifact["path"].as_str(), artifact["sbom"].as_str().unwrap());
        assert_eq!(path.strip_suffix(".cdx.json"), package);
        let text = std::fs::read_to_string(home.path(path)).unwrap();
        let bill: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&bill["bomFormat"], &bill["specVersion"]),
            (&"CycloneDX".into(), &"1.5".into())
        );
        let whole = &bill["metadata"]["component"];
        assert_eq!((&whole["name"], &whole["version"]), (&"fleetd".into(), &"2.3.4".into()));
        assert_eq!(hash(whole), sum(&home, package.unwrap()));
        let parts = bill["components"].as_array().unwrap();
        let names = |kind: &str| {
            let of_kind = parts.iter().filter(|part| part["type"] == kind);
            of_kind.map(|part| (part["name"].as_str().unwrap(), part)).collect::<BTreeMap<_, _>>()
        };
        let (programs, files) = (names("application"), names("file"));
        assert_eq!(programs.keys().copied().collect::<Vec<_>>(), ["orbit", "osqueryd"]);
        assert_eq!(programs["osqueryd"]["version"], "5.9.1");
        assert_eq!(hash(files["/opt/orbit/bin/orbit/packaged/orbit"]), sum(&home, "bin/orbit"));
        assert!(!files.keys().any(|path| path.contains("secret")), "{files:?}");
        assert!(!text.contains(SECRET) && !text.contains(&sum(&home, "secret.txt")));
    }
}

#[test]
fn the_same_package_has_the_same_bill() {
    let home = home();
    let read = || {
        package(&home, "deb");
        std::fs::read(home.path("fleetd_2.3.4_amd64.deb.cdx.json")).unwrap()
    };
    assert_eq!(read(), read());
    let mode = home.path("fleetd_2.3.4_amd64.deb.cdx.json").metadata().unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}
