//! What follows from the command line's description, and from packages, read by those it is for.

use std::os::unix::fs::PermissionsExt as _;

use crate::{
    package::windows_program,
    run::{Home, tool},
};

#[test]
fn completions_are_there_for_every_shell_and_bash_can_load_its_own() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = home.fleetctl(["generate", "completions", shell]).ok();
        assert!(script.contains("enroll-secrets"), "{shell}");
        home.write(shell, script);
    }
    let bash = home.path("bash");
    tool("bash", ["-n".as_ref(), bash.as_os_str()]);
    let asked = format!(
        "source {}; COMP_WORDS=(fleetctl devices li); COMP_CWORD=2; _fleetctl fleetctl li devices; \
         echo \"${{COMPREPLY[@]}}\"",
        bash.display()
    );
    assert_eq!(tool("bash", ["-c", &asked]).trim(), "list");
}

#[test]
fn groff_reads_every_manual_page_without_a_warning() {
    let home = Home::new();
    home.fleetctl(["generate", "man", "--out-dir", "man1"]).ok();
    let pages: Vec<_> =
        std::fs::read_dir(home.path("man1")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(pages.len() > 30, "{}", pages.len());
    for page in &pages {
        let output = crate::run::program("groff".as_ref())
            .args(["-man", "-Tutf8", "-ww", "-z"])
            .arg(page)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{}: {said}", page.display());
    }
    assert!(home.path("man1/fleetctl-devices-list.1").is_file());
}

#[test]
fn the_reference_names_every_command_and_no_hidden_flag() {
    let text = Home::new().fleetctl(["generate", "markdown"]).ok();
    for command in ["package", "api-keys rotate", "debug connection", "updates add"] {
        assert!(text.contains(&format!("\n## `fleetctl {command}`\n")), "{command}");
    }
    assert!(text.contains("| `--enroll-secret-file <FILE>` |"));
    assert!(!text.contains("--local-wix-dir"));
    assert_eq!(text.matches("| `--color <WHEN>` |").count(), 1, "global options are told once");
}

const SECRET: &str = "a \"quoted\" & <secret>";

/// A home with a package of `kind`, called `fleetd`, that carries neither server nor secret.
fn bare(kind: &str) -> Home {
    bare_of(kind, "#!/bin/sh\n".into())
}

/// The same with `program` for Linux and macOS in it.
fn bare_of(kind: &str, program: Vec<u8>) -> Home {
    let home = Home::new();
    home.write("bin/orbit", program);
    home.write("bin/orbit.exe", windows_program(0x8664));
    home.write("secret.txt", SECRET);
    let outfile = format!("--outfile=fleetd.{kind}");
    let fixed = ["package", "--type", kind, "--components=bin", "--without-osqueryd", &outfile];
    let system = ["--package-version=1.2.3", "--use-system-configuration"];
    let system = if kind == "pkg" { &system[..] } else { &system[..1] };
    home.fleetctl([&fixed[..], system].concat()).ok();
    home
}

const ENROLLMENT: [&str; 4] =
    ["--fleet-url", "fleet.example.com", "--enroll-secret-file", "secret.txt"];

fn mdm<'a>(package: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let url = "--package-url=https://dl.example.com/a&b";
    [&["generate", "mdm", "--package", package, url, "--out-dir=mdm"], more].concat()
}

fn mode(home: &Home, name: &str) -> u32 {
    home.path(name).metadata().unwrap().permissions().mode() & 0o777
}

/// Fails for a property list without a key that Apple's schema calls required, or of another type, and
/// for what the agent and the package do not fit to.
const APPLES_SCHEMA: &str = r#"
import hashlib, plistlib, sys, uuid
PAYLOAD = {"PayloadType": str, "PayloadVersion": int, "PayloadIdentifier": str, "PayloadUUID": str}
def has(it, keys):
    for key, kind in keys.items():
        assert type(it[key]) is kind, (key, it)
def payload(it):
    has(it, PAYLOAD)
    assert it["PayloadVersion"] == 1 and str(uuid.UUID(it["PayloadUUID"])).upper() == it["PayloadUUID"]
profile = plistlib.load(open("mdm/fleetd.mobileconfig", "rb"))
payload(profile)
has(profile, {"PayloadContent": list, "PayloadOrganization": str})
assert profile["PayloadType"] == "Configuration" and profile["PayloadScope"] == "System"
fleet, managed = profile["PayloadContent"]
for it in fleet, managed:
    payload(it)
assert len({it["PayloadUUID"] for it in (profile, fleet, managed)}) == 3
assert fleet["PayloadType"] == "com.fleetdm.fleetd.config"
assert fleet["FleetURL"] == "https://fleet.example.com/" and fleet["EnrollSecret"] == sys.argv[1]
assert managed["PayloadType"] == "com.apple.servicemanagement"
(rule,) = managed["Rules"]
assert rule["RuleType"] == "Label" and rule["RuleValue"] == "com.fleetdm.orbit"
(item,) = plistlib.load(open("mdm/manifest.plist", "rb"))["items"]
metadata, (asset,) = item["metadata"], item["assets"]
has(metadata, {"bundle-identifier": str, "bundle-version": str, "kind": str, "title": str})
assert metadata["kind"] == "software" and metadata["bundle-version"] == "1.2.3"
assert metadata["bundle-identifier"] == "com.fleetdm.orbit.base.pkg" and len(metadata["title"]) > 1
has(asset, {"kind": str, "url": str, "sha256-size": int, "sha256s": list})
assert asset["kind"] == "software-package" and asset["url"] == "https://dl.example.com/a&b"
package, size = open("fleetd.pkg", "rb").read(), asset["sha256-size"]
pieces = [package[at:at + size] for at in range(0, len(package), size)]
assert len(pieces) == 2, len(pieces)
assert asset["sha256s"] == [hashlib.sha256(it).hexdigest() for it in pieces]
"#;

#[test]
fn macs_are_told_server_secret_and_the_digests_of_every_piece_of_the_package() {
    // More than one digest is of, and nothing that gzip makes less of.
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    });
    let home = bare_of("pkg", b"#!/bin/sh\n".iter().copied().chain(noise.take(11 << 20)).collect());
    let run = |home: &Home| home.fleetctl(mdm("fleetd.pkg", &ENROLLMENT)).ok();
    let told = run(&home);
    assert!(told.contains("fleetd.mobileconfig") && !told.contains(SECRET), "{told}");
    assert_eq!(
        (mode(&home, "mdm/fleetd.mobileconfig"), mode(&home, "mdm/manifest.plist")),
        (0o600, 0o644)
    );
    let checked = crate::run::program("python3".as_ref())
        .args(["-c", APPLES_SCHEMA, SECRET])
        .current_dir(home.path(""))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let before = std::fs::read(home.path("mdm/fleetd.mobileconfig")).unwrap();
    run(&home);
    assert_eq!(std::fs::read(home.path("mdm/fleetd.mobileconfig")).unwrap(), before);
}

/// What Microsoft's page on `EnterpriseDesktopAppManagement` says of the elements.
const MICROSOFTS_SCHEMA: &str = "\
<!ELEMENT SyncML (SyncBody)> <!ATTLIST SyncML xmlns CDATA #FIXED 'SYNCML:SYNCML1.2'>
<!ELEMENT SyncBody (Add, Exec, Final)> <!ELEMENT Final EMPTY>
<!ELEMENT Add (CmdID, Item)> <!ELEMENT Exec (CmdID, Item)> <!ELEMENT CmdID (#PCDATA)>
<!ELEMENT Item (Target, Meta?, Data?)> <!ELEMENT Target (LocURI)> <!ELEMENT LocURI (#PCDATA)>
<!ELEMENT Meta (Format, Type)>
<!ELEMENT Format (#PCDATA)> <!ATTLIST Format xmlns CDATA #FIXED 'syncml:metinf'>
<!ELEMENT Type (#PCDATA)> <!ATTLIST Type xmlns CDATA #FIXED 'syncml:metinf'>
<!ELEMENT Data (MsiInstallJob)>
<!ELEMENT MsiInstallJob (Product)> <!ATTLIST MsiInstallJob id CDATA #REQUIRED>
<!ELEMENT Product (Download, Validation, Enforcement)> <!ATTLIST Product Version CDATA #REQUIRED>
<!ELEMENT Download (ContentURLList)> <!ELEMENT ContentURLList (ContentURL+)>
<!ELEMENT ContentURL (#PCDATA)> <!ELEMENT Validation (FileHash)> <!ELEMENT FileHash (#PCDATA)>
<!ELEMENT Enforcement (CommandLine, TimeOut, RetryCount, RetryInterval)>
<!ELEMENT CommandLine (#PCDATA)> <!ELEMENT TimeOut (#PCDATA)>
<!ELEMENT RetryCount (#PCDATA)> <!ELEMENT RetryInterval (#PCDATA)>
";

#[test]
fn windows_is_told_to_install_the_very_package_with_server_and_secret() {
    let home = bare("msi");
    home.fleetctl(mdm("fleetd.msi", &ENROLLMENT)).ok();
    assert_eq!(mode(&home, "mdm/install.syncml"), 0o600);
    let [syncml, msi] = ["mdm/install.syncml", "fleetd.msi"].map(|name| home.path(name));
    let schema = home.write("syncml.dtd", MICROSOFTS_SCHEMA);
    let flags = ["--noout".as_ref(), "--dtdvalid".as_ref(), schema.as_os_str(), syncml.as_os_str()];
    tool("xmllint", flags);
    let said = |element: &str| {
        let path = format!("string(//*[local-name()='{element}'])");
        tool("xmllint", ["--xpath".as_ref(), path.as_ref(), syncml.as_os_str()]).trim().to_owned()
    };
    let exported = tool("msiinfo", ["export".as_ref(), msi.as_os_str(), "Property".as_ref()]);
    let code = exported.lines().find_map(|line| line.trim_end().strip_prefix("ProductCode\t"));
    let braces = code.unwrap().replace('{', "%7B").replace('}', "%7D");
    let node = "./Device/Vendor/MSFT/EnterpriseDesktopAppManagement/MSI";
    assert_eq!(said("LocURI"), format!("{node}/{braces}/DownloadInstall"));
    assert_eq!(said("ContentURL"), "https://dl.example.com/a&b");
    let sum = tool("sha256sum", [msi.as_os_str()]);
    assert_eq!(said("FileHash").to_lowercase(), sum.split(' ').next().unwrap());
    let expected = "/quiet /norestart FLEET_URL=\"https://fleet.example.com/\" FLEET_SECRET=\"a \"\"quoted\"\" & <secret>\"";
    assert_eq!(said("CommandLine"), expected);
}

#[test]
fn what_devices_could_not_install_or_enroll_with_is_refused() {
    let home = bare("pkg");
    let refused = |home: &Home, package: &str, more: &[&str], told: &str| {
        let said = home.fleetctl(mdm(package, more)).fails(2);
        assert!(said.contains(told), "{said}");
        assert!(!home.path("mdm").exists());
    };
    refused(&home, "fleetd.pkg", &[], "the package carries no server");
    refused(&home, "fleetd.pkg", &ENROLLMENT[..2], "--enroll-secret-file");
    refused(&home, "secret.txt", &ENROLLMENT, "no package of type");
    home.write("secret.txt", "");
    refused(&home, "fleetd.pkg", &ENROLLMENT, "holds no enroll secret");
    let flags =
        ["generate", "mdm", "--package=fleetd.pkg", "--package-url=http://dl.example.com/x"];
    let said = home.fleetctl(flags).fails(2);
    assert!(said.contains("--package-url must begin with https"), "{said}");
    let home = bare("deb");
    refused(&home, "fleetd.deb", &ENROLLMENT, "device management installs .pkg and .msi");
}
