//! Signatures for Windows, judged by osslsigncode.

use std::{
    fs,
    io::{Cursor, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use packager::{
    Format as _,
    format::msi::{self, Msi},
    payload::Arch,
    sign::{CodeSigner, Keys, Trust, VerifyError, authenticode::pe},
};

use crate::{
    fixture::{bytes, draft, output},
    pki::Pki,
};

/// An installer.
fn installer() -> Vec<u8> {
    let (package, _programs) = crate::msi::package(draft(), "1.2.3", Arch::Amd64);
    bytes(&package, &Msi::default())
}

fn sign_installer(unsigned: &[u8], by: &CodeSigner) -> Vec<u8> {
    let mut keys = Keys::default();
    keys.windows = Some(by.clone());
    let mut out = Cursor::new(Vec::new());
    let signature = Msi::default().signature(&keys).unwrap();
    signature.add(&mut Cursor::new(unsigned), &mut out).unwrap();
    out.into_inner()
}

/// A real program, as short as it can be, with some bytes more.
fn program(length: usize) -> Vec<u8> {
    let mut program = crate::payload::pe(0x8664);
    // The number of entries, one of which is for the signature.
    program[0xc4] = 16;
    program.extend((0..length).map(|index| index as u8));
    program
}

fn sign_program(unsigned: &[u8], by: &CodeSigner) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    pe::sign(&mut Cursor::new(unsigned), Some("Fleet osquery"), by, &mut out).unwrap();
    out.into_inner()
}

/// A place in each long stream of an msi but the signature. Bytes behind a stream, up to the end of its
/// sector, belong to nothing, and nobody signs them.
fn in_streams(msi: &[u8]) -> Vec<usize> {
    const SECTOR: usize = 512;
    let mut file = cfb::CompoundFile::open(Cursor::new(msi)).unwrap();
    let long = |entry: &cfb::Entry| entry.is_stream() && entry.len() > 4096;
    let entries: Vec<_> = file.walk().filter(long).collect();
    let streams = entries.iter().filter(|entry| !entry.name().contains("DigitalSignature"));
    let places: Vec<_> = streams
        .map(|entry| {
            let mut start = [0; SECTOR];
            file.open_stream(entry.path()).unwrap().read_exact(&mut start).unwrap();
            msi.windows(SECTOR).position(|bytes| bytes == start).unwrap() + SECTOR / 2
        })
        .collect();
    assert!(places.len() > 1, "the cabinet and the strings: {entries:?}");
    places
}

/// What osslsigncode says of a file.
fn judge(pki: &Pki, folder: &Path, name: &str, content: &[u8]) -> String {
    let path: PathBuf = folder.join(name);
    fs::write(&path, content).unwrap();
    let root = pki.path("root.crt");
    let args = ["verify", "-CAfile", &root, "-TSA-CAfile", &root, "-in", path.to_str().unwrap()];
    output("osslsigncode", &args)
}

fn changed(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

#[test]
fn osslsigncode_accepts_what_each_kind_of_key_signs() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Arc::new(Pki::new());
    let installer = installer();
    for (name, algorithm) in [("rsa", "rsa:3072"), ("p256", "EC:P-256"), ("p384", "EC:P-384")] {
        pki.certify(name, algorithm, "code");
        let by = pki.stamped(name);
        for (file, signed) in [
            ("a.msi", sign_installer(&installer, &by)),
            ("a.exe", sign_program(&program(100_001), &by)),
        ] {
            let said = judge(&pki, folder.path(), file, &signed);
            assert!(said.contains("Succeeded"), "{file} by {name}: {said}");
            assert!(said.contains("Timestamp"), "{said}");
            for at in if file == "a.msi" { in_streams(&signed) } else { vec![signed.len() / 2] } {
                let said = judge(&pki, folder.path(), file, &changed(&signed, at));
                assert!(!said.contains("Succeeded"), "changed {file} at {at}: {said}");
            }
        }
    }
}

#[test]
fn what_is_signed_is_verified_and_what_was_changed_is_not() {
    let pki = Arc::new(Pki::new());
    pki.certify("code", "rsa:2048", "code");
    let by = pki.stamped("code");
    let trust = pki.trust();
    let signed = sign_installer(&installer(), &by);
    let seal = msi::verify(&mut Cursor::new(&signed), &trust).unwrap();
    assert!(seal.trusted && seal.timestamp.is_some());
    assert_eq!(seal.chain[0].subject(), "CN=code,O=Example Inc.");
    let exe = sign_program(&program(5_000), &by);
    let seal = pe::verify(&mut Cursor::new(&exe), &trust).unwrap();
    assert_eq!(seal.chain.len(), 2);
    for at in [0x50, 2_000, exe.len() / 4] {
        pe::verify(&mut Cursor::new(changed(&exe, at)), &trust).unwrap_err();
    }
    let error = pe::verify(&mut Cursor::new(program(5_000)), &trust).unwrap_err();
    assert!(matches!(error, VerifyError::NotSigned));
    let longer = [exe.as_slice(), b"more"].concat();
    pe::verify(&mut Cursor::new(longer), &trust).unwrap_err();
}

#[test]
fn a_timestamp_counts_for_whoever_trusts_its_authority() {
    let pki = Arc::new(Pki::new());
    pki.certify("code", "rsa:2048", "code");
    let signed = sign_installer(&installer(), &pki.stamped("code"));
    let later = Trust { now: 2_300_000_000, ..pki.trust() };
    msi::verify(&mut Cursor::new(&signed), &later).unwrap();
    let strangers = Trust { timestamp_roots: None, ..later };
    let error = msi::verify(&mut Cursor::new(&signed), &strangers).unwrap_err();
    assert!(matches!(error, VerifyError::Untrusted { .. }), "{error:?}");
}

#[test]
fn a_signature_without_timestamp_is_the_same_each_time_and_ends_with_its_certificate() {
    let pki = Pki::new();
    pki.certify("code", "rsa:2048", "code");
    let by = pki.signer("code");
    let installer = installer();
    let signed = sign_installer(&installer, &by);
    assert_eq!(signed, sign_installer(&installer, &pki.signer("code")));
    assert_eq!(sign_installer(&signed, &by), signed, "a signature replaces another");
    let exe = sign_program(&program(999), &by);
    assert_eq!(sign_program(&exe, &by), exe);
    let mut trust = pki.trust();
    msi::verify(&mut Cursor::new(&signed), &trust).unwrap();
    trust.now = 2_300_000_000;
    let error = msi::verify(&mut Cursor::new(&signed), &trust).unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
}

#[test]
fn strangers_and_certificates_for_other_things_are_not_trusted() {
    let (pki, other) = (Pki::new(), Pki::new());
    pki.certify("code", "rsa:2048", "code");
    pki.certify("server", "rsa:2048", "server");
    let signed = sign_program(&program(10), &pki.signer("code"));
    let error = pe::verify(&mut Cursor::new(&signed), &other.trust()).unwrap_err();
    assert!(matches!(error, VerifyError::Untrusted { .. }), "{error}");
    let signed = sign_program(&program(10), &pki.signer("server"));
    let error = pe::verify(&mut Cursor::new(&signed), &pki.trust()).unwrap_err();
    assert!(error.to_string().contains("for other purposes"), "{error}");
}
