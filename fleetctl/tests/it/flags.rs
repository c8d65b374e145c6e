//! Where each flag of `fleetctl package` ends up, and whether what the documentation shows is so.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::Value;

use crate::run::{Home, tool};

/// A home with all that flags can name.
fn home() -> Home {
    let home = Home::new();
    for program in ["orbit", "osqueryd", "fleet-desktop"] {
        home.write(&format!("bin/{program}"), "#!/bin/sh\n");
    }
    for name in ["fleet", "client", "update", "update-client"] {
        let pair = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        home.write(&format!("{name}.pem"), pair.cert.pem());
        home.write(&format!("{name}.key"), pair.signing_key.serialize_pem());
    }
    home.write("osquery.flags", "--verbose\n");
    home
}

/// What `fleetctl package` puts on a device's disk.
fn unpacked(home: &Home, flags: &str) -> PathBuf {
    let fixed = "package --type deb --components bin --outfile agent.deb";
    home.fleetctl(fixed.split(' ').chain(flags.split_whitespace())).ok();
    let (deb, root) = (home.path("agent.deb"), home.path("root"));
    tool("dpkg-deb", ["--extract".as_ref(), deb.as_os_str(), root.as_os_str()]);
    root
}

#[test]
fn every_setting_reaches_the_agents_environment_file() {
    let home = home();
    let root = unpacked(
        &home,
        "--fleet-url fleet.example.com:8080 --enroll-secret secret --debug --enable-scripts
         --fleet-desktop --fleet-desktop-alternative-browser-host b.example:1
         --disable-setup-experience --disable-keystore --device-key --bypass-end-user-auth --end-user-email ann@example.com
         --host-identifier instance --osquery-db /srv/osquery.db --disable-updates
         --update-url https://updates.example.com --update-interval 1h
         --orbit-channel 1 --osqueryd-channel 5.9 --desktop-channel edge
         --proxy http://proxy.example.com:3128 --no-proxy .example.com --cpu-quota 30",
    );
    let text = fs::read_to_string(root.join("etc/default/orbit")).unwrap();
    let settings: BTreeSet<_> =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let wanted = BTreeSet::from([
        r#"HTTPS_PROXY="http://proxy.example.com:3128/""#,
        r#"NO_PROXY=".example.com""#,
        r#"ORBIT_BYPASS_END_USER_AUTH="true""#,
        r#"ORBIT_DEBUG="true""#,
        r#"ORBIT_DESKTOP_CHANNEL="edge""#,
        r#"ORBIT_DEVICE_KEY="true""#,
        r#"ORBIT_DISABLE_KEYSTORE="true""#,
        r#"ORBIT_DISABLE_SETUP_EXPERIENCE="true""#,
        r#"ORBIT_DISABLE_UPDATES="true""#,
        r#"ORBIT_ENABLE_SCRIPTS="true""#,
        r#"ORBIT_END_USER_EMAIL="ann@example.com""#,
        r#"ORBIT_FLEET_DESKTOP="true""#,
        r#"ORBIT_FLEET_DESKTOP_ALTERNATIVE_BROWSER_HOST="b.example:1""#,
        r#"ORBIT_FLEET_URL="https://fleet.example.com:8080/""#,
        r#"ORBIT_HOST_IDENTIFIER="instance""#,
        r#"ORBIT_ORBIT_CHANNEL="1""#,
        r#"ORBIT_OSQUERYD_CHANNEL="5.9""#,
        r#"ORBIT_OSQUERY_DB="/srv/osquery.db""#,
        r#"ORBIT_UPDATE_INTERVAL="1h""#,
        r#"ORBIT_UPDATE_URL="https://updates.example.com/""#,
    ]);
    assert_eq!(settings, wanted);
    let unit = fs::read_to_string(root.join("usr/lib/systemd/system/orbit.service")).unwrap();
    assert!(unit.contains("\nCPUQuota=30%\n"), "{unit}");
    assert!(root.join("opt/orbit/bin/desktop/packaged/fleet-desktop").is_file());
}

#[test]
fn every_file_that_a_flag_names_reaches_the_agents_folder() {
    let home = home();
    let root = unpacked(
        &home,
        "--fleet-certificate fleet.pem --osquery-flagfile osquery.flags --without-osqueryd
         --fleet-tls-client-certificate client.pem --fleet-tls-client-key client.key
         --update-tls-certificate update.pem --update-tls-client-key update-client.key
         --update-tls-client-certificate update-client.pem",
    );
    for (given, packed) in [
        ("fleet.pem", "fleet.pem"),
        ("client.pem", "fleet_client.crt"),
        ("client.key", "fleet_client.key"),
        ("update.pem", "update.pem"),
        ("update-client.pem", "update_client.crt"),
        ("update-client.key", "update_client.key"),
    ] {
        let there = fs::read(root.join("opt/orbit").join(packed)).unwrap();
        assert_eq!(there, fs::read(home.path(given)).unwrap(), "{packed}");
    }
    let flags = fs::read(root.join("etc/orbit/osquery.flags")).unwrap();
    assert_eq!(flags, fs::read(home.path("osquery.flags")).unwrap());
    let link = fs::read_link(root.join("opt/orbit/osquery.flags")).unwrap();
    assert_eq!(link.to_str(), Some("/etc/orbit/osquery.flags"));
    assert!(!root.join("opt/orbit/bin/osqueryd").exists());
}

#[test]
fn the_package_says_whose_it_is() {
    let home = home();
    let deb = home.path("agent.deb");
    let fields = |flags: &[&str]| {
        let fixed = ["package", "--type", "deb", "--components", "bin", "--outfile", "agent.deb"];
        home.fleetctl([&fixed[..], flags].concat()).ok();
        tool(
            "dpkg-deb",
            ["--field".as_ref(), deb.as_os_str(), "Maintainer".as_ref(), "Homepage".as_ref()],
        )
    };
    let own = [
        "--maintainer",
        "Example Inc. <it@example.com>",
        "--homepage",
        "https://it.example.com/fleet",
    ];
    let said =
        "Maintainer: Example Inc. <it@example.com>\nHomepage: https://it.example.com/fleet\n";
    assert_eq!(fields(&own), said);
    assert!(!fields(&[]).contains("Homepage"), "there is none unless it is given");
}

#[test]
fn insecurity_and_compression_are_as_asked_for() {
    let home = home();
    for (compression, member) in
        [("zstd:3", "data.tar.zst"), ("xz", "data.tar.xz"), ("gzip:9", "data.tar.gz")]
    {
        let root = unpacked(&home, &format!("--insecure --compression {compression}"));
        let text = fs::read_to_string(root.join("etc/default/orbit")).unwrap();
        assert!(text.contains("ORBIT_INSECURE=\"true\"\n"), "{text}");
        let members = tool("ar", ["t".as_ref(), home.path("agent.deb").as_os_str()]);
        assert!(members.lines().any(|line| line == member), "{members}");
    }
}

/// The keys of all objects of a JSON text, each with where it is; of lists, all members together.
fn shape(at: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| shape(&format!("{at}[]"), item, found)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            found.insert(format!("{at}.{name}"));
            shape(&format!("{at}.{name}"), value, found);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn json_has_the_shape_that_the_documentation_shows() {
    let text = fs::read_to_string("../docs/package.md").unwrap();
    let shown = text.split("```json\n").skip(1).map(|block| block.split("```").next().unwrap());
    let home = home();
    let printed = [&["--outfile", "agent.deb"][..], &["--dry-run"]].map(|flags| {
        let fixed = ["package", "--type", "deb", "--components", "bin", "--output", "json"];
        home.fleetctl([&fixed[..], flags].concat()).ok()
    });
    let shapes = |text: &str| {
        let mut found = BTreeSet::new();
        shape("", &serde_json::from_str(text).unwrap(), &mut found);
        found
    };
    let shown: Vec<_> = shown.map(shapes).collect();
    assert_eq!(shown, printed.map(|text| shapes(&text)));
}

#[test]
fn the_documentation_tells_of_every_flag() {
    let text = fs::read_to_string("../docs/package.md").unwrap();
    let help = Home::new().fleetctl(["package", "--help"]).ok();
    let flags = help.lines().filter_map(|line| line.trim_start().split_once("--"));
    let names: Vec<_> = flags
        .filter(|(before, _)| before.is_empty() || before.ends_with(", "))
        .filter_map(|(_, rest)| rest.split(|c: char| !c.is_alphanumeric() && c != '-').next())
        .filter(|name| !["context", "config", "quiet", "color", "help"].contains(name))
        .collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        assert!(text.contains(&format!("`--{name}`")), "--{name}");
    }
}
