//! OpenPGP signatures, judged by gpg, rpm and debsig-verify, with keys that gpg made.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
    sync::Arc,
};

use packager::{
    Format, SourceDate,
    format::{deb::Deb, rpm::Rpm},
    sign::{
        Keys, Scheme, SignError, Signer,
        openpgp::{
            Certificates, Found, KeyError, SigningKey, Verdict, check_deb, check_rpm,
            needs_passphrase,
        },
    },
};
use pgp::{
    composed::{Deserializable as _, SignedSecretKey},
    crypto::hash::HashAlgorithm,
    types::{Password, SignatureBytes, SigningKey as _},
};

use crate::fixture::{DATE, bytes, draft, output, package, run};

/// When keys of these tests are made and used: after the packages' date.
pub(crate) const NOW: SourceDate = SourceDate::from_unix(1_795_000_000);
pub(crate) const PASSPHRASE: &str = "correct horse \"battery\" staple";

/// A home of gpg.
pub(crate) struct Gpg(tempfile::TempDir);

impl Gpg {
    pub(crate) fn new() -> Self {
        Self(tempfile::Builder::new().prefix("gpg").tempdir().unwrap())
    }

    pub(crate) fn run(&self, args: &[&str]) -> String {
        run("gpg", &self.args(args))
    }

    fn args<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        let home = self.0.path().to_str().unwrap();
        let fixed = ["--homedir", home, "--batch", "--yes", "--quiet", "--pinentry-mode"];
        [&fixed[..], &["loopback", "--passphrase", PASSPHRASE], args].concat()
    }

    /// Makes a key, a day before [`NOW`].
    pub(crate) fn make(&self, user: &str, algorithm: &str, usage: &str, expires: &str) {
        let day_before = format!("{}!", NOW.unix() - 86_400);
        let args = ["--faked-system-time", &day_before, "--quick-generate-key", user, algorithm];
        self.run(&[&args[..], &[usage, expires]].concat());
    }

    pub(crate) fn secret(&self, user: &str) -> Vec<u8> {
        self.exported("--export-secret-keys", user)
    }

    pub(crate) fn public(&self, user: &str) -> Vec<u8> {
        self.exported("--export", user)
    }

    fn exported(&self, command: &str, user: &str) -> Vec<u8> {
        let file = self.0.path().join("exported");
        self.run(&["--output", file.to_str().unwrap(), command, user]);
        fs::read(file).unwrap()
    }

    pub(crate) fn fingerprint(&self, user: &str) -> String {
        let listed = self.run(&["--with-colons", "--list-keys", user]);
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// Whether gpg itself takes `signature` for one over `content`, and what it says.
    pub(crate) fn verify(&self, signature: &[u8], content: &[u8]) -> String {
        let [sig, file] = ["sig", "content"].map(|name| self.0.path().join(name));
        fs::write(&sig, signature).unwrap();
        fs::write(&file, content).unwrap();
        let time = format!("{}!", NOW.unix());
        self.run(&["--faked-system-time", &time, "--verify", path(&sig), path(&file)])
    }
}

impl Drop for Gpg {
    /// Its agent would stay for as long as the folder does.
    fn drop(&mut self) {
        run("gpgconf", &["--homedir", self.0.path().to_str().unwrap(), "--kill", "gpg-agent"]);
    }
}

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

fn sign(format: &dyn Format, package: &[u8], key: SigningKey) -> Result<Vec<u8>, SignError> {
    let mut keys = Keys::default();
    keys.openpgp = Some(key);
    let mut out = Cursor::new(Vec::new());
    format.sign(&mut Cursor::new(package), &keys, &mut out)?;
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
    let home = gpg.0.path().to_str().unwrap();
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
    let file = gpg.0.path().join("gpg-with-passphrase");
    let (passphrase, time) = (gpg.0.path().join("passphrase"), NOW.unix());
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
    let made = gpg.0.path().join("openpgp-revocs.d").join(format!("{}.rev", gpg.fingerprint(user)));
    let text = fs::read_to_string(&made).unwrap().replace(":-----BEGIN", "-----BEGIN");
    fs::write(&made, text).unwrap();
    gpg.run(&["--import", path(&made)]);
    let error = SigningKey::from_secret_key(&gpg.secret(user), Some(PASSPHRASE), NOW);
    assert!(matches!(error, Err(KeyError::Revoked { .. })), "{error:?}");
    let found = check(&Rpm::default(), &rpm, &gpg.public(user));
    assert!(matches!(&found[0].verdict, Verdict::Bad { reason } if reason.contains("revoked")));
}

/// A key that is behind a [`Signer`], as one in a token is.
#[derive(Debug)]
struct Token(Scheme, SignedSecretKey);

impl Signer for Token {
    fn scheme(&self) -> Scheme {
        self.0
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let wide = self.0 == Scheme::EcdsaP384Sha384;
        let hash = if wide { HashAlgorithm::Sha384 } else { HashAlgorithm::Sha256 };
        let digest = if self.0 == Scheme::Ed25519 {
            message.to_vec()
        } else {
            hash.digest(message).unwrap()
        };
        let password = Password::from(PASSPHRASE);
        let made = self.1.primary_key.sign(&password, hash, &digest).unwrap();
        let SignatureBytes::Mpis(numbers) = made else { panic!("{made:?}") };
        let ecdsa = matches!(self.0, Scheme::EcdsaP256Sha256 | Scheme::EcdsaP384Sha384);
        let parts = numbers.iter().map(AsRef::as_ref);
        if !ecdsa {
            let width = if self.0 == Scheme::Ed25519 { 32 } else { 256 };
            return Ok(parts.flat_map(|part: &[u8]| padded(part, width)).collect());
        }
        let integers: Vec<u8> = parts.flat_map(|part: &[u8]| integer(part)).collect();
        Ok([&[0x30, integers.len() as u8], &integers[..]].concat())
    }
}

fn padded(number: &[u8], width: usize) -> Vec<u8> {
    [&vec![0; width - number.len()], number].concat()
}

fn integer(number: &[u8]) -> Vec<u8> {
    let number = if number[0] < 0x80 { number.to_vec() } else { padded(number, number.len() + 1) };
    [&[2, number.len() as u8], &number[..]].concat()
}

#[test]
fn a_key_that_somebody_else_holds_signs_for_its_certificate() {
    let gpg = Gpg::new();
    for (algorithm, scheme) in [
        ("rsa2048", Scheme::RsaSha256),
        ("ed25519", Scheme::Ed25519),
        ("nistp256", Scheme::EcdsaP256Sha256),
        ("nistp384", Scheme::EcdsaP384Sha384),
    ] {
        let user = format!("{algorithm}@example.com");
        gpg.make(&user, algorithm, "sign", "never");
        let secret = gpg.secret(&user);
        let token = Token(scheme, SignedSecretKey::from_bytes(&secret[..]).unwrap());
        let token: Arc<dyn Signer> = Arc::new(token);
        let public = gpg.public(&user);
        let key = SigningKey::from_signer(&public, Arc::clone(&token), NOW).unwrap();
        let made = key.sign(&mut &b"content"[..], DATE).unwrap();
        gpg.verify(&made, b"content");
        let text = "Origin: it\n- dashed\n";
        let framed = key.sign_text(text, DATE).unwrap();
        let direct = self::key(&gpg, &user).sign_text(text, DATE).unwrap();
        assert_eq!(framed, direct, "{algorithm}");
        let deb = signed(&Deb::default(), key, "1.2.3");
        assert!(check(&Deb::default(), &deb, &public)[0].is_good());
        let wrong = SigningKey::from_signer(&secret, Arc::clone(&token), NOW);
        assert!(matches!(wrong, Err(KeyError::SecretKey)), "{wrong:?}");
        let other = gpg.public("rsa2048@example.com");
        if scheme != Scheme::RsaSha256 {
            let wrong = SigningKey::from_signer(&other, token, NOW);
            assert!(matches!(wrong, Err(KeyError::OtherKey { .. })), "{wrong:?}");
        }
    }
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
