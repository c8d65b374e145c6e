//! Packages and repositories that are signed by a key of OpenPGP.

use serde_json::Value;

use crate::run::{Home, tool};

const PASSPHRASE: &str = "the passphrase nobody may see";
const USER: &str = "it@example.com";

/// A home with a program to package, and `key.asc` made by gpg, locked by [`PASSPHRASE`].
pub(crate) fn home() -> Home {
    let home = Home::new();
    home.write("bin/orbit", "#!/bin/sh\n");
    home.write("passphrase.txt", format!("{PASSPHRASE}\n"));
    home.write("gpg/gpg-agent.conf", "s2k-count 65536\n");
    let gpg = home.path("gpg");
    let gpg = gpg.to_str().unwrap();
    let (secret, public) = (home.path("key.asc"), home.path("public.asc"));
    tool("chmod", ["700", gpg]);
    let fixed =
        ["--homedir", gpg, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase"];
    let run = |args: &[&str]| tool("gpg", [&fixed[..], &[PASSPHRASE], args].concat());
    run(&["--quick-generate-key", USER, "ed25519", "sign", "2y"]);
    let secret = secret.to_str().unwrap();
    run(&["--armor", "--output", secret, "--export-secret-keys", USER]);
    run(&["--armor", "--output", public.to_str().unwrap(), "--export", USER]);
    tool("gpgconf", ["--homedir", gpg, "--kill", "gpg-agent"]);
    home
}

pub(crate) const PACKAGE: &str = "package --components bin --without-osqueryd --package-version 1.2.3 --out-dir dist \
                       --output json --type";
pub(crate) const KEY: &str = "--openpgp-key key.asc --openpgp-passphrase-file passphrase.txt";

pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn json(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

#[test]
fn packages_are_signed_and_tell_by_whom() {
    let home = home();
    let made = json(&home.fleetctl(words(&format!("{PACKAGE} deb,rpm {KEY}"))).ok());
    let listed =
        tool("gpg", ["--homedir", home.path("gpg").to_str().unwrap(), "--with-colons", "-k"]);
    for artifact in &made {
        let signer = artifact["signer"].as_str().unwrap();
        assert!(listed.contains(&format!("fpr:::::::::{signer}:")), "{signer} {listed}");
    }
    let rpm = home.path("dist/fleetd-1.2.3-1.x86_64.rpm");
    let (rpm, database) = (rpm.to_str().unwrap(), home.path("db"));
    let database = database.to_str().unwrap();
    tool("rpm", ["--dbpath", database, "--import", home.path("public.asc").to_str().unwrap()]);
    let said = tool("rpm", ["--dbpath", database, "--checksig", rpm]);
    assert!(said.contains("digests signatures OK"), "{said}");
    assert_eq!(std::fs::read_dir(home.path("dist")).unwrap().count(), 2);
    let unsigned = json(&home.fleetctl(words(&format!("{PACKAGE} deb"))).ok());
    assert_eq!(unsigned[0]["signer"], Value::Null);
}

#[test]
fn the_key_and_its_passphrase_may_be_in_the_environment() {
    let key = std::fs::read_to_string;
    let home = home();
    let text = key(home.path("key.asc")).unwrap();
    let home =
        home.with("FLEETCTL_OPENPGP_KEY", text).with("FLEETCTL_OPENPGP_PASSPHRASE", PASSPHRASE);
    let made = json(&home.fleetctl(words(&format!("{PACKAGE} deb"))).ok());
    assert!(made[0]["signer"].is_string());
}

#[test]
fn what_cannot_sign_is_told_before_any_work() {
    let home = home();
    home.write("wrong.txt", "wrong\n");
    home.write("two.txt", "two\nlines\n");
    for (flags, said) in [
        ("--openpgp-key key.asc --openpgp-passphrase-file wrong.txt", "the passphrase is wrong"),
        ("--openpgp-key key.asc --openpgp-passphrase-file two.txt", "does not hold one line"),
        ("--openpgp-key public.asc", "it is a public key, and signing needs the secret one"),
        ("--openpgp-key none.asc", "cannot be read"),
        ("--openpgp-key bin/orbit", "it is not an OpenPGP key"),
        ("--openpgp-passphrase-file wrong.txt", "goes together with --openpgp-key"),
        ("--openpgp-key key.asc", "give --openpgp-passphrase-file or FLEETCTL_OPENPGP_PASSPHRASE"),
    ] {
        let error = home.fleetctl(words(&format!("{PACKAGE} rpm {flags}"))).fails(2);
        assert!(error.contains(said) && !error.contains(PASSPHRASE), "{flags}: {error}");
        assert!(!home.path("dist").exists(), "{flags}");
    }
    let error = home.fleetctl(words(&format!("{PACKAGE} msi {KEY}"))).fails(2);
    assert!(error.contains("--openpgp-key is for packages of type deb and rpm"), "{error}");
}

#[test]
fn a_program_that_signs_something_else_makes_no_package() {
    let home = home();
    for (script, said) in [
        ("cat > asked; head -c 64 /dev/zero", "is not verified by its certificate"),
        ("cat > asked; exit 3", "ended with exit status: 3"),
    ] {
        let program = home.write("sign", format!("#!/bin/sh\n{script}\n"));
        tool("chmod", ["+x", program.to_str().unwrap()]);
        let key = "--openpgp-key public.asc --openpgp-sign-command ./sign";
        let error = home.fleetctl(words(&format!("{PACKAGE} rpm {key}"))).fails(1);
        assert!(error.contains(said), "{error}");
        assert_eq!(std::fs::read_dir(home.path("dist")).unwrap().count(), 0);
        let asked = std::fs::read(home.path("asked")).unwrap();
        assert!(asked.starts_with(b"fleetd-sign-1 ed25519 "));
    }
    let both = format!("{KEY} --openpgp-sign-command ./sign");
    let error = home.fleetctl(words(&format!("{PACKAGE} rpm {both}"))).fails(2);
    assert!(error.contains("it is a secret key, and a public one is wanted"), "{error}");
}

#[test]
fn a_repository_is_made_kept_and_listed() {
    for (kind, ending) in [("apt", "deb"), ("dnf", "rpm")] {
        let home = home();
        home.fleetctl(words(&format!("{PACKAGE} {ending} {KEY}"))).ok();
        let newer = PACKAGE.replace("1.2.3", "1.10.0");
        home.fleetctl(words(&format!("{newer} {ending} {KEY}"))).ok();
        let repo = |verb: &str, rest: &str| {
            home.fleetctl(words(&format!("repo {kind} {verb} --path repo {rest}")))
        };
        let none = repo("add", &format!("{KEY} dist/nothing.{ending}")).fails(2);
        assert!(none.contains("there is no repository in"), "{none}");
        let unsigned = repo("init", "--name Example").fails(2);
        assert!(unsigned.contains("--openpgp-key is missing"), "{unsigned}");
        repo("init", &format!("--name Example {KEY}")).ok();
        let twice = repo("init", &format!("--name Example {KEY}")).fails(2);
        assert!(twice.contains("there is a repository in"), "{twice}");
        let files: Vec<_> = std::fs::read_dir(home.path("dist"))
            .unwrap()
            .map(|file| file.unwrap().path().to_str().unwrap().to_owned())
            .collect();
        let add = format!("{KEY} --output json {}", files.join(" "));
        assert_eq!(json(&repo("add", &add).ok()).len(), 2);
        assert_eq!(json(&repo("add", &add).ok()).len(), 0);
        let missing = repo("add", &format!("{KEY} missing.{ending}")).fails(1);
        assert!(missing.contains("missing"), "{missing}");
        repo("sign", KEY).ok();
        let removed = json(&repo("prune", &format!("--keep 1 {KEY} --output json")).ok());
        assert_eq!(removed.len(), 1);
        let listed = json(&repo("list", "--output json").ok());
        assert_eq!(listed.len(), 1);
        let version = listed[0]["version"].as_str().unwrap();
        assert!(version.starts_with("1.10.0"), "{version}");
        assert!(home.path("repo").join(listed[0]["file"].as_str().unwrap()).exists());
    }
}
