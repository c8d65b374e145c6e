//! What will be on a device's disk.

use packager::{
    AssembleError, ComponentKind, Draft, Format, assemble,
    format::{deb::Deb, rpm::Rpm},
    tree::{InstallPath, Node, Source},
};

use crate::fixture::{DATE, draft, full_payload, package, payload, spec};

#[test]
fn a_plain_package_lays_out_like_this() {
    let package = package(draft(), "1.2.3");
    snapbox::assert_data_eq!(
        package.tree.to_string(),
        snapbox::str![[r#"
-rw------- root root [..] /etc/default/orbit
drwxr-xr-x root root     0 /etc/orbit
-rw------- root root    46 /etc/orbit/osquery.flags
drwxr-xr-x root root     0 /opt/orbit
drwxr-xr-x root root     0 /opt/orbit/bin
drwxr-xr-x root root     0 /opt/orbit/bin/orbit
drwxr-xr-x root root     0 /opt/orbit/bin/orbit/packaged
-rw-r--r-- root root [..] /opt/orbit/bin/orbit/packaged/VERSION
-rwxr-xr-x root root [..] /opt/orbit/bin/orbit/packaged/orbit
lrwxrwxrwx root root     0 /opt/orbit/osquery.flags -> /etc/orbit/osquery.flags
-rw------- root root    28 /opt/orbit/secret.txt
lrwxrwxrwx root root     0 /usr/bin/orbit -> /opt/orbit/bin/orbit/orbit
-rw-r--r-- root root [..] /usr/lib/systemd/system/orbit.service

"#]]
    );
}

#[test]
fn formats_add_their_own_documents() {
    let package = package(Draft::default(), "1.2.3");
    let added = |format: &dyn Format| -> Vec<String> {
        let tree = format.tree(&package);
        let new = tree.iter().filter(|(path, _)| package.tree.get(path).is_none());
        new.map(|(path, _)| path.to_string()).collect()
    };
    assert_eq!(
        added(&Deb::default()),
        [
            "/usr/share/doc/fleetd",
            "/usr/share/doc/fleetd/changelog.gz",
            "/usr/share/doc/fleetd/copyright",
            "/usr/share/lintian/overrides/fleetd"
        ]
    );
    assert_eq!(
        added(&Rpm::default()),
        [
            "/usr/share/licenses/fleetd",
            "/usr/share/licenses/fleetd/LICENSE-APACHE",
            "/usr/share/licenses/fleetd/LICENSE-MIT"
        ]
    );
}

#[test]
fn without_a_secret_there_is_no_secret_file() {
    let package = package(Draft::default(), "1.2.3");
    assert!(!package.tree.to_string().contains("secret.txt"));
}

#[test]
fn a_quota_is_set_only_when_asked_for() {
    assert!(!unit(Draft::default()).contains("CPUQuota"));
    let unit = unit(Draft { cpu_quota: Some(20), ..Draft::default() });
    assert!(unit.contains("\nCPUQuota=20%\n"), "{unit}");
}

#[test]
fn neither_url_nor_secret_is_in_the_unit() {
    let unit = unit(draft());
    assert!(!unit.contains("fleet.example.com") && !unit.contains("s3cret"), "{unit}");
}

#[test]
fn the_tray_icon_must_be_in_the_payload_that_shows_it() {
    let spec = spec(Draft { fleet_desktop: true, ..Draft::default() });
    let missing = assemble(&spec, &payload("1.2.3"), DATE).unwrap_err();
    assert_eq!(missing, AssembleError::Missing { kind: ComponentKind::Desktop });
    assert!(assemble(&spec, &full_payload("1.2.3"), DATE).is_ok());
}

fn unit(draft: Draft) -> String {
    text_of(draft, "/usr/lib/systemd/system/orbit.service")
}

/// A text file of the package.
pub(crate) fn text_of(draft: Draft, path: &str) -> String {
    let package = package(draft, "1.2.3");
    let entry = package.tree.get(&InstallPath::new(path).unwrap()).unwrap();
    let Node::File { source: Source::Bytes(bytes), .. } = &entry.node else {
        panic!("`{path}` is not a text of the package's own");
    };
    String::from_utf8(bytes.to_vec()).unwrap()
}
