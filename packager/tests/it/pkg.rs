//! The pkg, read by bsdtar, 7z, xmllint and python, and its scripts run in a root of their own.

mod bundle;
mod device;
mod schema;
mod signature;

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use packager::{
    Component, ComponentKind, Draft, Format, Package, Payload, Platform, assemble,
    format::pkg::{Identifier, Pkg},
    payload::{Arch, Content, Os},
    tree::Source,
};

use crate::fixture::{DATE, draft, run, spec, write};

pub(crate) const MAC: Platform = Platform { os: Os::Macos, arch: Arch::Universal };

/// A program of whatever bytes.
fn component(kind: ComponentKind, version: &str, program: &[u8]) -> Component {
    let content = Content::Program(Source::Bytes(program.to_vec().into()));
    Component { kind, version: version.parse().unwrap(), content, libraries: Vec::new() }
}

pub(crate) fn package(draft: Draft, version: &str) -> Package {
    let components =
        ComponentKind::ALL.map(|kind| component(kind, version, device::ORBIT.as_bytes()));
    assemble(&spec(draft), &Payload::new(MAC, components).unwrap(), DATE).unwrap()
}

/// A pkg taken apart by bsdtar.
struct Unpacked {
    folder: tempfile::TempDir,
}

impl Unpacked {
    fn new(package: &Package, format: &Pkg) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = write(package, format, folder.path());
        let unpacked = Self { folder };
        unpack(&path, &unpacked.path("product"));
        for part in ["Payload", "Scripts"] {
            unpack(&unpacked.path("product/fleetd.pkg").join(part), &unpacked.path(part));
        }
        unpacked
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }
}

fn unpack(archive: &Path, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let (archive, folder) = (archive.to_str().unwrap(), folder.to_str().unwrap());
    run("bsdtar", &["-xpf", archive, "-C", folder]);
}

#[test]
fn the_product_has_a_distribution_and_one_component() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&package(draft(), "1.2.3-rc.1"), &Pkg::default(), folder.path());
    assert_eq!(path.file_name().unwrap(), "fleetd-1.2.3-rc.1.pkg");
    let path = path.to_str().unwrap();
    let listed = run("bsdtar", &["-tf", path]);
    let mut listed: Vec<_> = listed.lines().collect();
    listed.sort_unstable();
    let parts = ["Bom", "PackageInfo", "Payload", "Scripts"].map(|it| format!("fleetd.pkg/{it}"));
    assert_eq!(
        listed,
        [&["Distribution", "fleetd.pkg"], &parts.each_ref().map(|it| it.as_str())[..]].concat()
    );
    assert!(run("7z", &["t", path]).contains("Everything is Ok"));
}

#[test]
fn the_documents_are_what_the_installer_knows() {
    let identifier: Identifier = "com.example.agent".parse().unwrap();
    let format = Pkg { identifier, ..Pkg::default() };
    let unpacked = Unpacked::new(&package(draft(), "1.2.3"), &format);
    schema::validate(&unpacked.path("product/Distribution"), schema::DISTRIBUTION);
    schema::validate(&unpacked.path("product/fleetd.pkg/PackageInfo"), schema::PACKAGE_INFO);
    let value = |path: &str, document: &str| {
        let document = unpacked.path(document);
        run("xmllint", &["--xpath", &format!("string({path})"), document.to_str().unwrap()])
    };
    let distribution = |path: &str| value(path, "product/Distribution");
    assert_eq!(distribution("//product/@id").trim_end(), "com.example.agent");
    assert_eq!(distribution("//options/@hostArchitectures").trim_end(), "arm64,x86_64");
    assert_eq!(distribution("//pkg-ref[@version]").trim_end(), "#fleetd.pkg");
    let about = |path: &str| value(path, "product/fleetd.pkg/PackageInfo");
    assert_eq!(about("//@identifier").trim_end(), "com.example.agent.base.pkg");
    assert_eq!(about("//pkg-info/@version").trim_end(), "1.2.3");
    let laid = walk(&unpacked.path("Payload"), ".").len();
    assert_eq!(about("//@numberOfFiles").trim_end(), laid.to_string());
}

/// Path, mode, owner, size and checksum of `folder` and everything in it, as lsbom lists them.
fn walk(folder: &Path, name: &str) -> Vec<String> {
    let about = fs::symlink_metadata(folder).unwrap();
    let mut line = format!("{name}\t{:o}\t0/0", about.mode());
    if about.is_dir() {
        let inside = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let inside = inside.flat_map(|entry| {
            walk(&entry.path(), &format!("{name}/{}", entry.file_name().to_str().unwrap()))
        });
        return [line].into_iter().chain(inside).collect();
    }
    let cksum = if about.is_symlink() {
        let target = fs::read_link(folder).unwrap();
        run("sh", &["-c", r#"printf %s "$1" | cksum"#, "sh", target.to_str().unwrap()])
    } else {
        run("cksum", &[folder.to_str().unwrap()])
    };
    write!(line, "\t{}\t{}", about.len(), cksum.split(' ').next().unwrap()).unwrap();
    if about.is_symlink() {
        write!(line, "\t{}", fs::read_link(folder).unwrap().display()).unwrap();
    }
    vec![line]
}

/// What the bill of materials lists, and what the payload has.
fn bill_and_payload(unpacked: &Unpacked) -> (Vec<String>, Vec<String>) {
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lsbom.py");
    let bom = unpacked.path("product/fleetd.pkg/Bom");
    let listed = run("python3", &[reader, bom.to_str().unwrap()]);
    let mut laid = walk(&unpacked.path("Payload"), ".");
    laid.sort();
    (listed.lines().map(str::to_owned).collect(), laid)
}

#[test]
fn the_bill_of_materials_lists_what_the_payload_lays() {
    let (listed, laid) =
        bill_and_payload(&Unpacked::new(&package(draft(), "1.2.3"), &Pkg::default()));
    assert_eq!(listed, laid);
    assert!(laid.len() > 15);
}

#[test]
fn the_payload_is_one_gzip_member() {
    let orbit = device::ORBIT.repeat(4000);
    let components = [component(ComponentKind::Orbit, "1.0.0", orbit.as_bytes())];
    let payload = Payload::new(MAC, components).unwrap();
    let package = assemble(&spec(draft()), &payload, DATE).unwrap();
    let unpacked = Unpacked::new(&package, &Pkg::default());
    let script = "import sys, zlib\n\
                  member = zlib.decompressobj(31)\n\
                  text = member.decompress(open(sys.argv[1], 'rb').read())\n\
                  print(member.eof, len(member.unused_data), len(text) > 2000000)";
    let path = unpacked.path("product/fleetd.pkg/Payload");
    assert_eq!(run("python3", &["-c", script, path.to_str().unwrap()]), "True 0 True\n");
}

#[test]
fn the_daemon_is_one_that_launchd_understands_and_tells_no_secret() {
    let nasty = "a&b <c> \"d\" 'e' ü";
    let draft = Draft { end_user_email: Some(nasty.into()), enable_scripts: true, ..draft() };
    let unpacked = Unpacked::new(&package(draft, "1.2.3"), &Pkg::default());
    let plist = unpacked.path("Payload").join(device::PLIST);
    assert_eq!(fs::metadata(&plist).unwrap().permissions().mode() & 0o7777, 0o644);
    let daemon = plist_as_json(&plist);
    let vars = &daemon["EnvironmentVariables"];
    assert_eq!(daemon["Label"], "com.fleetdm.orbit");
    assert_eq!(daemon["ProgramArguments"], serde_json::json!(["/opt/orbit/bin/orbit/orbit"]));
    assert_eq!(daemon["KeepAlive"], true);
    assert!(daemon.get("Disabled").is_none());
    assert_eq!(vars["ORBIT_FLEET_URL"], "https://fleet.example.com:8443/");
    assert_eq!(vars["ORBIT_END_USER_EMAIL"], nasty);
    assert_eq!(vars["ORBIT_LOG_FILE"], "/var/log/orbit/orbit.log");
    assert!(!fs::read_to_string(plist).unwrap().contains("s3cret"));
}

#[test]
fn a_service_that_is_not_wanted_is_disabled() {
    let package = package(Draft { service: false, ..draft() }, "1.2.3");
    let unpacked = Unpacked::new(&package, &Pkg::default());
    let daemon = plist_as_json(&unpacked.path("Payload").join(device::PLIST));
    assert_eq!(daemon["Disabled"], true);
    assert!(!unpacked.text("Scripts/postinstall").contains("bootstrap"));
}

fn plist_as_json(path: &Path) -> serde_json::Value {
    let script = "import json, plistlib, sys\n\
                  print(json.dumps(plistlib.load(open(sys.argv[1], 'rb'))))";
    serde_json::from_str(&run("python3", &["-c", script, path.to_str().unwrap()])).unwrap()
}

#[test]
fn the_secret_is_for_root_alone_and_in_no_document() {
    let unpacked = Unpacked::new(&package(draft(), "1.2.3"), &Pkg::default());
    let secret = unpacked.path("Payload/opt/orbit/packaged.secret");
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_to_string(secret).unwrap(), "s3cret with $pecial \"chars\"\n");
    for public in ["product/Distribution", "product/fleetd.pkg/PackageInfo", "Scripts/postinstall"]
    {
        assert!(!unpacked.text(public).contains("s3cret"), "{public}");
    }
}

#[test]
fn without_a_secret_the_package_waits_for_a_profile() {
    let unpacked = Unpacked::new(&package(Draft::default(), "1.2.3"), &Pkg::default());
    assert!(!unpacked.path("Payload/opt/orbit/packaged.secret").exists());
    let daemon = plist_as_json(&unpacked.path("Payload").join(device::PLIST));
    assert!(daemon["EnvironmentVariables"].get("ORBIT_FLEET_URL").is_none());
    let draft = Draft { use_system_configuration: true, ..Draft::default() };
    let unpacked = Unpacked::new(&package(draft, "1.2.3"), &Pkg::default());
    let daemon = plist_as_json(&unpacked.path("Payload").join(device::PLIST));
    assert_eq!(daemon["EnvironmentVariables"]["ORBIT_USE_SYSTEM_CONFIGURATION"], "true");
}

#[test]
fn passwords_are_refused_where_everybody_could_read_them() {
    let draft = Draft { proxy: Some("http://user:pw@proxy:3128".into()), ..draft() };
    let components = [component(ComponentKind::Orbit, "1.0.0", b"")];
    let payload = Payload::new(MAC, components).unwrap();
    let refused = assemble(&spec(draft), &payload, DATE).unwrap_err().to_string();
    assert!(refused.contains("proxy URL") && !refused.contains("pw@"), "{refused}");
}

#[test]
fn scripts_are_portable_shell() {
    for service in [true, false] {
        let package = package(Draft { service, ..draft() }, "1.2.3");
        let unpacked = Unpacked::new(&package, &Pkg::default());
        let scripts =
            ["Scripts/preinstall", "Scripts/postinstall", "Payload/opt/orbit/uninstall.sh"];
        for script in scripts {
            let script = unpacked.path(script);
            assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o7777, 0o755);
            let script = script.to_str().unwrap();
            run("dash", &["-n", script]);
            run("bash", &["--posix", "-n", script]);
            run("shellcheck", &["--shell=sh", "--severity=style", script]);
        }
    }
}

#[test]
fn identifiers_are_names_in_reverse() {
    for good in ["com.example.agent", "com.example-2.x"] {
        assert_eq!(good.parse::<Identifier>().unwrap().to_string(), good);
    }
    for bad in ["", "agent", "com..agent", "com.a b", "com.<x>", "com.ä", ".com.x"] {
        assert!(bad.parse::<Identifier>().is_err(), "{bad:?}");
    }
}

#[test]
fn the_tree_is_that_of_the_contract() {
    let package = package(draft(), "1.2.3");
    snapbox::assert_data_eq!(
        Pkg::default().tree(&package).to_string(),
        snapbox::str![[r#"
-rw-r--r-- root wheel [..] /Library/LaunchAgents/com.fleetdm.fleet-desktop.plist
-rw-r--r-- root wheel [..] /Library/LaunchDaemons/com.fleetdm.orbit.plist
drwxr-xr-x root wheel     0 /opt/orbit
drwxr-xr-x root wheel     0 /opt/orbit/bin
drwxr-xr-x root wheel     0 /opt/orbit/bin/desktop
drwxr-xr-x root wheel     0 /opt/orbit/bin/desktop/packaged
-rw-r--r-- root wheel [..] /opt/orbit/bin/desktop/packaged/VERSION
-rwxr-xr-x root wheel [..] /opt/orbit/bin/desktop/packaged/fleet-desktop
drwxr-xr-x root wheel     0 /opt/orbit/bin/orbit
drwxr-xr-x root wheel     0 /opt/orbit/bin/orbit/packaged
-rw-r--r-- root wheel [..] /opt/orbit/bin/orbit/packaged/VERSION
-rwxr-xr-x root wheel [..] /opt/orbit/bin/orbit/packaged/orbit
drwxr-xr-x root wheel     0 /opt/orbit/bin/osqueryd
drwxr-xr-x root wheel     0 /opt/orbit/bin/osqueryd/packaged
-rw-r--r-- root wheel [..] /opt/orbit/bin/osqueryd/packaged/VERSION
-rwxr-xr-x root wheel [..] /opt/orbit/bin/osqueryd/packaged/osqueryd
drwxr-xr-x root wheel     0 /opt/orbit/licenses
-rw-r--r-- root wheel 11358 /opt/orbit/licenses/LICENSE-APACHE
-rw-r--r-- root wheel  1075 /opt/orbit/licenses/LICENSE-MIT
-rw------- root wheel    46 /opt/orbit/osquery.flags
-rw------- root wheel    28 /opt/orbit/packaged.secret
-rwxr-xr-x root wheel [..] /opt/orbit/uninstall.sh

"#]]
    );
}
