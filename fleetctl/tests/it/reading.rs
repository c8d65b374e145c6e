//! `fleetctl package inspect`, `verify` and `diff`.

use serde_json::Value;

use crate::run::{Home, program};

const SECRET: &str = "the secret nobody may see";

/// A home with a deb and an rpm, made with `flags`.
fn home(flags: &[&str]) -> Home {
    let home = Home::new();
    home.write("bin/orbit", std::fs::read("/bin/true").unwrap());
    home.write("secret.txt", format!("{SECRET}\n"));
    pack(&home, "agent", flags);
    home
}

/// Makes `<name>.deb` and `<name>.rpm`.
fn pack(home: &Home, name: &str, flags: &[&str]) {
    for kind in ["deb", "rpm"] {
        let outfile = format!("{name}.{kind}");
        let fixed = ["package", "--type", kind, "--components", "bin", "--outfile", &outfile];
        let enroll = ["--fleet-url", "fleet.example.com", "--enroll-secret-file", "secret.txt"];
        home.fleetctl([&fixed[..], &enroll, flags].concat()).ok();
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_secret_is_shown_only_when_asked_for() {
    let home = home(&["--proxy", "http://ann:pa55word@proxy:3128"]);
    for file in ["agent.deb", "agent.rpm"] {
        for output in ["table", "json", "yaml"] {
            let inspect = ["package", "inspect", file, "--scripts", "--output", output];
            let shown = home.fleetctl(inspect).ok();
            assert!(shown.contains("/opt/orbit/secret.txt"), "{shown}");
            assert!(!shown.contains(SECRET) && !shown.contains("pa55word"), "{shown}");
            let shown = home.fleetctl([&inspect[..], &["--show-secret"]].concat()).ok();
            assert!(shown.contains(SECRET) && shown.contains("pa55word"), "{shown}");
        }
    }
}

#[test]
fn json_has_the_shape_that_the_documentation_tells() {
    let home = home(&[]);
    let inspected = json(&home.fleetctl(["package", "inspect", "agent.deb", "-o", "json"]).ok());
    let keys: Vec<_> = inspected.as_object().unwrap().keys().map(String::as_str).collect();
    let expected =
        ["type", "metadata", "enroll_secret", "settings", "signatures", "scripts", "files"];
    assert_eq!(keys, expected);
    assert_eq!(inspected["type"], "deb");
    assert_eq!(inspected["metadata"]["name"], "fleetd");
    assert_eq!(inspected["settings"]["ORBIT_FLEET_URL"], "https://fleet.example.com/");
    assert_eq!(inspected["enroll_secret"]["value"], Value::Null);
    let file = |path: &str| {
        let mut files = inspected["files"].as_array().unwrap().iter();
        files.find(|file| file["path"] == path).unwrap().clone()
    };
    assert_eq!(file("/opt/orbit/secret.txt")["sha256"], Value::Null, "it would tell of the secret");
    assert_eq!(file("/opt/orbit/secret.txt")["mode"], "0600");
    assert_eq!(file("/etc/default/orbit")["config"], true);
    let verified = json(&home.fleetctl(["package", "verify", "agent.rpm", "-o", "json"]).ok());
    assert_eq!(verified["good"], true);
    let outcomes: Vec<_> = verified["checks"].as_array().unwrap().iter().collect();
    assert!(outcomes.iter().all(|check| check["what"].is_string() && check["outcome"].is_string()));
}

#[test]
fn a_damaged_package_is_not_good() {
    let home = home(&[]);
    let mut bytes = std::fs::read(home.path("agent.rpm")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    home.write("damaged.rpm", bytes);
    let ended = home.fleetctl(["package", "verify", "damaged.rpm"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    home.write("text.deb", "hello");
    let said = home.fleetctl(["package", "verify", "text.deb"]).fails(2);
    assert!(said.contains("no package of type deb, rpm, msi or pkg"), "{said}");
    let said = home.fleetctl(["package", "inspect", "absent.deb"]).fails(2);
    assert!(said.contains("`absent.deb` cannot be read"), "{said}");
}

#[test]
fn diff_ends_as_diff_does_and_keeps_secrets() {
    let home = home(&[]);
    home.write("secret.txt", "another secret");
    pack(&home, "other", &["--debug"]);
    assert_eq!(home.fleetctl(["package", "diff", "agent.deb", "agent.deb"]).ok(), "");
    let ended = home.fleetctl(["package", "diff", "agent.deb", "other.deb", "-o", "json"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(!ended.stdout.contains("secret nobody") && !ended.stdout.contains("another secret"));
    let differences = json(&ended.stdout);
    let has = |part: &str, name: &str| {
        differences.as_array().unwrap().iter().any(|it| it["part"] == part && it["name"] == name)
    };
    assert!(has("setting", "ORBIT_DEBUG") && has("setting", "enroll secret"));
    assert!(has("file", "/opt/orbit/secret.txt") && has("file", "/etc/default/orbit"));
    home.fleetctl(["package", "diff", "agent.deb", "absent.deb"]).fails(2);
}

#[test]
fn a_signature_is_checked_against_the_key_that_is_named() {
    let home = home(&[]);
    let gpg = |script: &str| {
        let script = format!("export GNUPGHOME=$PWD/gnupg; mkdir -p -m 700 gnupg; {script}");
        let ended = program("sh".as_ref())
            .args(["-euc", &script])
            .current_dir(home.path(""))
            .output()
            .unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    };
    for name in ["one", "two"] {
        gpg(&format!(
            "gpg --batch -q --passphrase '' --quick-gen-key {name}@example.com ed25519 sign never;
             gpg --batch -q --export-secret-keys {name}@example.com > {name}.key;
             gpg --batch -q --export {name}@example.com > {name}.pub"
        ));
    }
    gpg("gpgconf --kill all");
    pack(&home, "signed", &["--openpgp-key", "one.key"]);
    for file in ["signed.deb", "signed.rpm"] {
        let verify = |flags: &[&str]| home.fleetctl([&["package", "verify", file], flags].concat());
        let shown = verify(&["--key", "one.pub"]).ok();
        assert!(shown.contains("signature by one@example.com"), "{shown}");
        assert_eq!(verify(&["--key", "two.pub"]).code, 1);
        verify(&["--key", "two.pub", "--key", "one.pub"]).ok();
        let unchecked = verify(&[]);
        assert_eq!(unchecked.code, 1);
        assert!(unchecked.stdout.contains("not checked"), "{unchecked:?}");
        verify(&["--no-signature"]).ok();
    }
    let unsigned = home.fleetctl(["package", "verify", "agent.deb", "--key", "one.pub"]);
    assert_eq!(unsigned.code, 1);
    assert!(unsigned.stdout.contains("is not signed"), "{unsigned:?}");
    let said = home.fleetctl(["package", "verify", "agent.deb", "--key", "secret.txt"]).fails(2);
    assert!(said.contains("--key `secret.txt` cannot be used"), "{said}");
}

/// Memory and time are bounded by what the process may have.
#[test]
fn nothing_in_a_package_decides_how_much_memory_is_taken() {
    let home = home(&[]);
    let original = std::fs::read(home.path("agent.rpm")).unwrap();
    for number in 0..24_usize {
        let mut bytes = original.clone();
        // Counts and lengths of both headers, and what follows them.
        let at = 96 + 8 + (number % 8) + (number / 8) * 16;
        bytes[at] = 0xff;
        home.write("changed.rpm", bytes);
        let ended = program("prlimit".as_ref())
            .args(["--as=700000000", "--cpu=20", env!("CARGO_BIN_EXE_fleetctl")])
            .args(["package", "verify"])
            .arg(home.path("changed.rpm"))
            .output()
            .unwrap();
        assert!(matches!(ended.status.code(), Some(0..=2)), "byte {at}: {ended:?}");
    }
}
