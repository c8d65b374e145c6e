//! OpenPGP signatures, judged by gpg, rpm and debsig-verify, with keys that gpg made.

mod gpg;
mod token;

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

pub(crate) use self::gpg::{Gpg, NOW, PASSPHRASE};
use crate::fixture::{DATE, bytes, draft, output, package, run};
use packager::{
    Format, SourceDate,
    format::{deb::Deb, rpm::Rpm},
    sign::{
        Keys, SignError,
        openpgp::{
            Certificates, Found, KeyError, SigningKey, Verdict, check_deb, check_rpm,
            needs_passphrase,
        },
    },
};

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn key(gpg: &Gpg, user: &str) -> SigningKey {
    SigningKey::from_secret_key(&gpg.secret(user), Some(PASSPHRASE), NOW).unwrap()
}

/// A package of `format` signed by `key`.
pub(crate) fn signed(format: &dyn Format, key: SigningKey, version: &str) -> Vec<u8> {
    sign(format, &bytes(&package(draft(), version), format), key).unwrap()
}

/// The package in `package`, signed by `key`.
pub(crate) fn sign(
    format: &dyn Format,
    package: &[u8],
    key: SigningKey,
) -> Result<Vec<u8>, SignError> {
    let mut keys = Keys::default();
    keys.openpgp = Some(key);
    let mut out = Cursor::new(Vec::new());
    format.signature(&keys).unwrap().add(&mut Cursor::new(package), &mut out)?;
    Ok(out.into_inner())
}

fn check(format: &dyn Format, package: &[u8], public: &[u8]) -> Vec<Found> {
    let certificates = Certificates::parse(public).unwrap();
    let mut package = Cursor::new(package);
    match format.name() {
        "rpm" => check_rpm(&mut package, &certificates).unwrap(),
        _ => check_deb(&mut package, &certificates).unwrap(),
    }
}

/// What rpm says of `package` when it knows `public` and nothing else.
fn rpm_says(package: &[u8], public: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let [database, key, file] = ["db", "key.asc", "it.rpm"].map(|name| folder.path().join(name));
    let armored = Certificates::parse(public).unwrap().armored();
    fs::write(&key, armored).unwrap();
    fs::write(&file, package).unwrap();
    run("rpm", &["--dbpath", path(&database), "--import", path(&key)]);
    output("rpm", &["--dbpath", path(&database), "--checksig", "--verbose", path(&file)])
}

#[test]
fn rpm_and_gpg_accept_what_keys_of_every_kind_sign() {
    let gpg = Gpg::new();
    for (user, algorithm, kind) in [
        ("rsa@example.com", "rsa3072", "RSA/SHA256"),
        ("ed25519@example.com", "ed25519", "EdDSA/SHA256"),
    ] {
        gpg.make(user, algorithm, "sign", "2y");
        let key = key(&gpg, user);
        assert_eq!(key.fingerprint(), gpg.fingerprint(user));
        let rpm = signed(&Rpm::default(), key.clone(), "1.2.3");
        let said = rpm_says(&rpm, &gpg.public(user));
        assert!(said.contains(&format!("Header V4 {kind} Signature, key ID")), "{said}");
        assert!(!said.contains("NOKEY") && !said.contains("BAD"), "{said}");
        assert!(said.lines().skip(1).all(|line| line.ends_with(": OK")), "{said}");
        let made = key.sign(&mut &b"content"[..], DATE).unwrap();
        gpg.verify(&made, b"content");
    }
}

#[test]
fn a_signature_moves_nothing_in_an_rpm_and_is_the_same_each_time() {
    let gpg = Gpg::new();
    gpg.make("it@example.com", "ed25519", "sign", "never");
    let key = key(&gpg, "it@example.com");
    for format in [&Rpm::default() as &dyn Format, &Deb::default()] {
        let unsigned = bytes(&package(draft(), "1.2.3"), format);
        let once = sign(format, &unsigned, key.clone()).unwrap();
        assert_eq!(once, sign(format, &unsigned, key.clone()).unwrap());
        // Signed anew, it is signed once.
        assert_eq!(once, sign(format, &once, key.clone()).unwrap());
        if format.name() == "rpm" {
            assert_eq!(once.len(), unsigned.len());
        }
    }
}

#[test]
fn a_subkey_signs_where_there_is_one() {
    let gpg = Gpg::new();
    let user = "it@example.com";
    gpg.make(user, "ed25519", "cert", "never");
    let primary = gpg.fingerprint(user);
    let time = format!("{}!", NOW.unix() - 3600);
    gpg.run(&["--faked-system-time", &time, "--quick-add-key", &primary, "rsa2048", "sign", "1y"]);
    let key = key(&gpg, user);
    assert_eq!(key.primary_fingerprint(), primary);
    assert_ne!(key.fingerprint(), primary);
    let rpm = signed(&Rpm::default(), key, "1.2.3");
    let found = check(&Rpm::default(), &rpm, &gpg.public(user));
    assert!(found.iter().all(Found::is_good) && found.len() == 1, "{found:?}");
    let said = rpm_says(&rpm, &gpg.public(user));
    assert!(said.contains("Header V4 RSA/SHA256 Signature, key ID"), "{said}");
    assert!(!said.contains("NOKEY") && !said.contains("BAD"), "{said}");
}

#[test]
fn debsig_verify_accepts_a_deb() {
    let gpg = Gpg::new();
    let user = "it@example.com";
    for algorithm in ["rsa2048", "ed25519"] {
        let user = format!("{algorithm}.{user}");
        gpg.make(&user, algorithm, "sign", "never");
        let deb = signed(&Deb::default(), key(&gpg, &user), "1.2.3");
        let said = debsig_says(&gpg, &user, &deb);
        assert!(said.contains("Verified package from"), "{said}");
        let mut changed = deb.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        let said = debsig_says(&gpg, &user, &changed);
        assert!(said.contains("Failed verification"), "{said}");
        let found = check(&Deb::default(), &changed, &gpg.public(&user));
        assert!(matches!(found[0].verdict, Verdict::Bad { .. }), "{found:?}");
    }
}

fn debsig_says(gpg: &Gpg, user: &str, deb: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let id = &gpg.fingerprint(user)[24..];
    let [policies, keyrings] = ["policies", "keyrings"].map(|name| folder.path().join(name));
    fs::create_dir_all(policies.join(id)).unwrap();
    fs::create_dir_all(keyrings.join(id)).unwrap();
    fs::write(keyrings.join(id).join("demo.gpg"), gpg.public(user)).unwrap();
    let policy = format!(
        r#"<?xml version="1.0"?><!DOCTYPE Policy SYSTEM "https://www.debian.org/debsig/1.0/policy.dtd">
<Policy xmlns="https://www.debian.org/debsig/1.0/">
<Origin Name="demo" id="{id}" Description="it"/>
<Selection><Required Type="origin" File="demo.gpg" id="{id}"/></Selection>
<Verification MinOptional="0"><Required Type="origin" File="demo.gpg" id="{id}"/></Verification>
</Policy>"#
    );
    fs::write(policies.join(id).join("demo.pol"), policy).unwrap();
    let file = folder.path().join("it.deb");
    fs::write(&file, deb).unwrap();
    let args = ["--verbose", "--policies-dir", path(&policies), "--keyrings-dir"];
    output("debsig-verify", &[&args[..], &[path(&keyrings), path(&file)]].concat())
}

#[test]
fn what_was_changed_is_found_and_who_is_not_known_is_told() {
    let gpg = Gpg::new();
    gpg.make("it@example.com", "ed25519", "sign", "never");
    gpg.make("other@example.com", "ed25519", "sign", "never");
    let (own, other) = (gpg.public("it@example.com"), gpg.public("other@example.com"));
    for format in [&Rpm::default() as &dyn Format, &Deb::default()] {
        let unsigned = bytes(&package(draft(), "1.2.3"), format);
        assert_eq!(check(format, &unsigned, &own), []);
        let package = sign(format, &unsigned, key(&gpg, "it@example.com")).unwrap();
        let found = check(format, &package, &own);
        let [one] = &found[..] else { panic!("{found:?}") };
        let fingerprint = gpg.fingerprint("it@example.com");
        let user = Some("it@example.com".to_owned());
        assert_eq!(one.verdict, Verdict::Good { fingerprint: fingerprint.clone(), user });
        assert_eq!(one.issuer, Some(fingerprint));
        // The key is younger than the package.
        assert_eq!(one.created, Some(SourceDate::from_unix(NOW.unix() - 86_400)));
        assert_eq!(check(format, &package, &other)[0].verdict, Verdict::Unknown);
        let mut changed = package.clone();
        let place = find(&changed, b"fleetd").expect("a package has its name in it");
        let place = if format.name() == "deb" { place.max(200) } else { last(&changed) };
        changed[place] ^= 0x20;
        assert!(matches!(check(format, &changed, &own)[0].verdict, Verdict::Bad { .. }));
    }
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text).or(Some(0))
}

/// Where an rpm's header, which comes after its signatures, names the package.
fn last(bytes: &[u8]) -> usize {
    bytes.windows(6).rposition(|window| window == b"fleetd").unwrap()
}

#[test]
fn signatures_by_other_programs_are_verified() {
    let gpg = Gpg::new();
    let user = "it@example.com";
    gpg.make(user, "rsa2048", "sign", "never");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("it.rpm");
    fs::write(&file, bytes(&package(draft(), "1.2.3"), &Rpm::default())).unwrap();
    let home = gpg.home().to_str().unwrap();
    let macros = [
        format!("_gpg_name {user}"),
        format!("_gpg_path {home}"),
        format!("__gpg {}", wrapper(&gpg).display()),
    ];
    let defines = macros.iter().flat_map(|it| ["--define", it.as_str()]).collect::<Vec<_>>();
    run("rpmsign", &[&defines[..], &["--addsign", path(&file)]].concat());
    let package = fs::read(&file).unwrap();
    let found = check(&Rpm::default(), &package, &gpg.public(user));
    assert!(!found.is_empty() && found.iter().all(Found::is_good), "{found:?}");
}

/// gpg with the passphrase that rpmsign would ask for.
fn wrapper(gpg: &Gpg) -> PathBuf {
    let file = gpg.home().join("gpg-with-passphrase");
    let (passphrase, time) = (gpg.home().join("passphrase"), NOW.unix());
    fs::write(&passphrase, PASSPHRASE).unwrap();
    let script = format!(
        "#!/bin/sh\nexec gpg --batch --pinentry-mode loopback --faked-system-time {time}! \
         --passphrase-file '{}' \"$@\"\n",
        passphrase.display()
    );
    fs::write(&file, script).unwrap();
    run("chmod", &["+x", path(&file)]);
    file
}

#[test]
fn what_cannot_sign_is_refused_with_its_reason() {
    let gpg = Gpg::new();
    let refused = |file: &[u8], passphrase| {
        SigningKey::from_secret_key(file, passphrase, NOW).unwrap_err().to_string()
    };
    gpg.make("it@example.com", "ed25519", "sign", "never");
    let secret = gpg.secret("it@example.com");
    assert!(needs_passphrase(&secret));
    assert_eq!(refused(&secret, Some("wrong")), "the passphrase is wrong");
    assert_eq!(refused(&secret, None), "it needs a passphrase");
    let public = gpg.public("it@example.com");
    let message = "it is a public key, and signing needs the secret one";
    assert_eq!(refused(&public, Some(PASSPHRASE)), message);
    assert!(!needs_passphrase(&public));
    for nothing in ["", "no key", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nabc"] {
        let said = refused(nothing.as_bytes(), None);
        assert!(said.starts_with("it is not an OpenPGP key: "), "{said}");
    }
    let both = [secret.clone(), secret].concat();
    assert_eq!(refused(&both, Some(PASSPHRASE)), "it holds 2 keys, and one is needed");
    gpg.make("cert@example.com", "ed25519", "cert", "never");
    let said = refused(&gpg.secret("cert@example.com"), Some(PASSPHRASE));
    assert!(said.starts_with("neither the key ") && said.ends_with(" may sign"), "{said}");
    gpg.make("old@example.com", "ed25519", "sign", "seconds=60");
    let said = refused(&gpg.secret("old@example.com"), Some(PASSPHRASE));
    assert!(said.ends_with(" expired on 2026-11-17"), "{said}");
    gpg.make("weak@example.com", "rsa1024", "sign", "never");
    let said = refused(&gpg.secret("weak@example.com"), Some(PASSPHRASE));
    assert!(said.ends_with("1024 bits of RSA are too few"), "{said}");
    gpg.make("dsa@example.com", "dsa2048", "sign", "never");
    let said = refused(&gpg.secret("dsa@example.com"), Some(PASSPHRASE));
    assert!(said.contains("DSA is not an algorithm"), "{said}");
}

#[test]
fn a_revoked_key_neither_signs_nor_verifies() {
    let gpg = Gpg::new();
    let user = "it@example.com";
    gpg.make(user, "ed25519", "sign", "never");
    let rpm = signed(&Rpm::default(), key(&gpg, user), "1.2.3");
    let made = gpg.home().join("openpgp-revocs.d").join(format!("{}.rev", gpg.fingerprint(user)));
    let text = fs::read_to_string(&made).unwrap().replace(":-----BEGIN", "-----BEGIN");
    fs::write(&made, text).unwrap();
    gpg.run(&["--import", path(&made)]);
    let error = SigningKey::from_secret_key(&gpg.secret(user), Some(PASSPHRASE), NOW);
    assert!(matches!(error, Err(KeyError::Revoked { .. })), "{error:?}");
    let found = check(&Rpm::default(), &rpm, &gpg.public(user));
    assert!(matches!(&found[0].verdict, Verdict::Bad { reason } if reason.contains("revoked")));
}

mod any_bytes {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn are_refused_or_read_as_keys_and_packages(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let _ = SigningKey::from_secret_key(&bytes, Some(PASSPHRASE), NOW);
            let certificates = Certificates::parse(&bytes).unwrap_or_default();
            let _ = check_deb(&mut Cursor::new(&bytes), &certificates);
            let _ = check_rpm(&mut Cursor::new(&bytes), &certificates);
            let _ = certificates.check(&bytes, &mut Cursor::new(&bytes));
        }
    }
}
