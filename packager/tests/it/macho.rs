//! Signatures of programs for macOS, taken apart by python and judged by openssl and LLVM.

mod bundles;
pub(crate) mod program;

use std::{fs, io::Cursor, sync::Arc};

use packager::{
    sign::{
        CodeSigner, SignError, Trust, VerifyError, bundle,
        macho::{self, Details, Sealed},
    },
    tree::Source,
};
use proptest::prelude::*;
use serde_json::Value;

use self::program::{ARM64, X86_64, thin, universal};
use crate::{fixture::run, pki::Pki};

const ENTITLEMENTS: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<plist version=\"1.0\"><dict>
<key>com.apple.security.cs.allow-jit</key><true/>
<key>b</key><array><string>one</string><integer>-2</integer></array>
<key>a</key><dict><key>in</key><false/></dict>
</dict></plist>";

fn details() -> Details {
    Details { identifier: "com.example.agent".to_owned(), ..Details::default() }
}

fn sign(program: &[u8], details: &Details, by: &CodeSigner) -> Result<Vec<u8>, SignError> {
    let mut out = Vec::new();
    macho::sign(&mut Cursor::new(program), details, by, &mut out)?;
    Ok(out)
}

fn verify(program: &[u8], trust: &Trust) -> Result<Vec<Sealed>, VerifyError> {
    macho::verify(&mut Cursor::new(program), &Details::default(), trust)
}

fn both(length: usize) -> Vec<u8> {
    universal(&[(X86_64, thin(X86_64, length)), (ARM64, thin(ARM64, length + 5))])
}

/// What python reads from `program`; openssl judges each message, LLVM the rest.
fn judge(pki: &Pki, program: &[u8]) -> Vec<Value> {
    let path = pki.path("program");
    fs::write(&path, program).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/macho.py");
    let said: Vec<Value> = serde_json::from_str(&run("python3", &[script, &path])).unwrap();
    for number in 0..said.len() {
        let [message, directory] =
            ["message", "directory"].map(|part| format!("{path}.{number}.{part}"));
        let args = ["cms", "-verify", "-binary", "-inform", "DER", "-in", &message, "-content"];
        let trust =
            ["-CAfile", "root.crt", "-purpose", "any", "-ignore_critical", "-out", "/dev/null"];
        let said = pki.openssl(&[&args[..], &[directory.as_str()], &trust].concat());
        assert!(said.contains("successful"), "{said}");
    }
    let headers = run("llvm-objdump", &["--macho", "--arch=all", "--private-headers", &path]);
    assert_eq!(headers.matches("cmd LC_CODE_SIGNATURE").count(), said.len(), "{headers}");
    said
}

#[test]
fn every_program_in_a_file_is_signed_as_codesign_does() {
    let pki = Arc::new(Pki::new());
    pki.certify("app", "rsa:2048", "application");
    let entitlements = Some(ENTITLEMENTS.as_bytes().to_vec());
    let details = Details { entitlements, signed_at: Some(1_790_000_000), ..details() };
    let signed = sign(&both(9_000), &details, &pki.stamped("app")).unwrap();
    let said = judge(&pki, &signed);
    assert_eq!([&said[0]["cpu"], &said[1]["cpu"]], [X86_64, ARM64]);
    for said in &said {
        assert_eq!(said["version"], 0x2_0500);
        assert_eq!(said["page"], 4096);
        assert_eq!(said["flags"], 0x1_0000);
        assert_eq!(said["identifier"], "com.example.agent");
        assert_eq!(said["team"], "TEAM012345");
        assert_eq!(said["segment"], serde_json::json!([0, 0x4000, 1]));
        assert_eq!(said["runtime"], 0xe_0200);
        assert_eq!(said["entitlements"], ENTITLEMENTS);
        assert_eq!(said["der"], DER_ENTITLEMENTS);
        assert_eq!(said["requirements"], DEVELOPER_ID);
        let slots: Vec<_> = said["slots"].as_object().unwrap().keys().collect();
        assert_eq!(slots, ["2", "5", "7"]);
    }
    let message = pki.path("program.1.message");
    let shown = pki.openssl(&["cms", "-cmsout", "-print", "-inform", "DER", "-in", &message]);
    for part in
        ["timeStampToken", "signingTime", "1.2.840.113635.100.9.1", "1.2.840.113635.100.9.2"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let sealed = verify(&signed, &pki.trust()).unwrap();
    let said: Vec<_> = said.iter().map(|said| said["digest"].as_str().unwrap()).collect();
    for (sealed, said) in sealed.iter().zip(said) {
        assert_eq!(sealed.code_digest.map(|byte| format!("{byte:02x}")).concat(), said);
        assert_eq!(sealed.requirement.as_deref(), Some(DEVELOPER_ID_TEXT));
        let seal = sealed.seal.as_ref().unwrap();
        assert!(sealed.hardened && seal.trusted && seal.timestamp.is_some());
    }
}

/// As DER, from Apple's kind of it: `70` for all, `b0` for dictionaries, sorted keys.
const DER_ENTITLEMENTS: &str = "704a020101b045300e0c0161b00930070c02696e010100300d0c016230080c036f6e650201fe30240c1f\
    636f6d2e6170706c652e73656375726974792e63732e616c6c6f772d6a69740101ff";
/// What codesign writes for a Developer ID, with another name and team.
const DEVELOPER_ID: &str = "fade0c01000000b4000000010000000300000014fade0c00000000a00000000100000006000000020000\
    0011636f6d2e6578616d706c652e6167656e74000000000000060000000f000000060000000e00000001\
    0000000a2a864886f76364060206000000000000000000060000000e000000000000000a2a864886f763\
    6406010d0000000000000000000b000000000000000a7375626a6563742e4f550000000000010000000a\
    5445414d3031323334350000";
const DEVELOPER_ID_TEXT: &str = "identifier \"com.example.agent\" and anchor apple generic and \
    certificate 1[field.1.2.840.113635.100.6.2.6] /* exists */ and \
    certificate leaf[field.1.2.840.113635.100.6.1.13] /* exists */ and \
    certificate leaf[subject.OU] = TEAM012345";

#[test]
fn nothing_but_the_signature_is_changed_and_the_same_key_gives_the_same_bytes() {
    let pki = Pki::new();
    pki.certify("code", "rsa:2048", "code");
    let by = pki.signer("code");
    for cpu in [X86_64, ARM64] {
        let program = thin(cpu, 5_003);
        let signed = sign(&program, &details(), &by).unwrap();
        assert_eq!(signed[0x1000..program.len()], program[0x1000..]);
        assert_eq!(sign(&signed, &details(), &by).unwrap(), signed, "a signature replaces another");
        let other = Details { identifier: "x".to_owned(), ..details() };
        let again = sign(&sign(&program, &other, &by).unwrap(), &details(), &by).unwrap();
        assert_eq!(again, signed);
        let said = judge(&pki, &signed);
        assert_eq!(said[0]["team"], Value::Null);
        let sealed = verify(&signed, &pki.trust()).unwrap();
        let root = pki.openssl(&["x509", "-in", "root.crt", "-noout", "-fingerprint", "-sha1"]);
        let root = root.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase();
        let expected =
            format!("identifier \"com.example.agent\" and certificate root = H\"{root}\"");
        assert_eq!(sealed[0].requirement.as_deref(), Some(expected.as_str()));
    }
}

#[test]
fn what_was_changed_or_signed_by_strangers_is_refused() {
    let (pki, other) = (Pki::new(), Pki::new());
    pki.certify("code", "rsa:2048", "code");
    pki.certify("server", "rsa:2048", "server");
    let program = both(100);
    let by = pki.signer("code");
    let signed = sign(&program, &details(), &by).unwrap();
    let second = u32::from_be_bytes(*signed[8 + 20 + 8..].first_chunk().unwrap()) as usize;
    for at in [0x4000 + 8, 0x5010, 0x8010, second + 0x1010, second + 0x4040] {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        verify(&changed, &pki.trust()).unwrap_err();
    }
    verify(&[signed.as_slice(), b"more"].concat(), &pki.trust()).unwrap_err();
    let mut between = signed.clone();
    between[second - 1] = 1;
    assert!(matches!(verify(&between, &pki.trust()), Err(VerifyError::Changed)));
    let thin = sign(&thin(ARM64, 64), &details(), &by).unwrap();
    verify(&[thin.as_slice(), b"more"].concat(), &pki.trust()).unwrap_err();
    assert!(matches!(verify(&program, &pki.trust()), Err(VerifyError::NotSigned)));
    assert!(matches!(verify(&signed, &other.trust()), Err(VerifyError::Untrusted { .. })));
    let server = sign(&program, &details(), &pki.signer("server")).unwrap();
    assert!(matches!(verify(&server, &pki.trust()), Err(VerifyError::Untrusted { .. })));
    let info = Details { info: Some(b"<plist/>".to_vec()), ..details() };
    let with_info = sign(&thin, &info, &by).unwrap();
    macho::verify(&mut Cursor::new(&with_info), &info, &pki.trust()).unwrap();
    let info = Details { info: Some(b"<plist />".to_vec()), ..details() };
    macho::verify(&mut Cursor::new(&with_info), &info, &pki.trust()).unwrap_err();
}

/// `program` with signatures that say they are nobody's, as linkers make them.
fn unsigned(mut program: Vec<u8>) -> Vec<u8> {
    let mut replace = |from: &[u8], at: usize, to: &[u8]| {
        let place = program.windows(from.len()).position(|it| it == from).unwrap() + at;
        program[place..place + to.len()].copy_from_slice(to);
    };
    // The directory's flags, and the name that the list has for the message.
    replace(&0xfade_0c02_u32.to_be_bytes(), 12, &2_u32.to_be_bytes());
    replace(&0xfade_0cc0_u32.to_be_bytes(), 12 + 2 * 8, &0x2_0000_u32.to_be_bytes());
    program
}

#[test]
fn no_signature_vouches_for_the_program_of_another_processor() {
    let pki = Arc::new(Pki::new());
    pki.certify("code", "rsa:2048", "code");
    pki.certify("other", "rsa:2048", "code");
    let signed = |cpu, by: &str, identifier: &str| {
        let details = Details { identifier: identifier.to_owned(), ..details() };
        sign(&thin(cpu, 700), &details, &pki.signer(by)).unwrap()
    };
    let judged = |intel: Vec<u8>, arm: Vec<u8>| {
        let both = universal(&[(X86_64, intel), (ARM64, arm)]);
        verify(&both, &pki.trust()).unwrap();
        bundle::verify_program(&Source::Bytes(both.into()), &pki.trust())
    };
    let arm = signed(ARM64, "code", "a");
    let same = judged(signed(X86_64, "code", "a"), arm.clone()).unwrap();
    assert!(same.seal.is_some_and(|seal| seal.trusted));
    let nobodys = judged(unsigned(signed(X86_64, "code", "a")), arm.clone()).unwrap();
    assert_eq!(nobodys.seal, None);
    for other in [signed(X86_64, "other", "a"), signed(X86_64, "code", "b")] {
        assert!(matches!(judged(other, arm.clone()), Err(VerifyError::Different)));
    }
    let resources = Details { resources: Some(b"<plist/>".to_vec()), ..details() };
    let alone = sign(&both(64), &resources, &pki.signer("code")).unwrap();
    let alone = bundle::verify_program(&Source::Bytes(alone.into()), &pki.trust());
    assert!(matches!(alone, Err(VerifyError::Alone)));
}

#[test]
fn what_cannot_be_signed_is_told() {
    let pki = Pki::new();
    pki.certify("code", "rsa:2048", "code");
    pki.certify("p256", "EC:P-256", "code");
    let by = pki.signer("code");
    let refused = |program: &[u8], details: &Details, by: &CodeSigner| {
        sign(program, details, by).unwrap_err().to_string()
    };
    let program = thin(ARM64, 64);
    assert!(refused(&program, &details(), &pki.signer("p256")).contains("a key of RSA"));
    assert!(refused(b"#!/bin/sh\n", &details(), &by).contains("it is none for macOS"));
    assert!(refused(&thin(12, 64), &details(), &by).contains("processor"));
    let more = [program.as_slice(), b"more"].concat();
    assert!(refused(&more, &details(), &by).contains("behind its last segment"));
    let mut full = program.clone();
    full[32 + 72 + 80 + 72 + 24] = 1;
    assert!(refused(&full, &details(), &by).contains("no room for a signature"));
    for (xml, problem) in [
        ("{}", "no property list"),
        (
            "<plist version=\"1.0\"><dict><key>a</key><real>1.5</real></dict></plist>",
            "whole numbers",
        ),
    ] {
        let details = Details { entitlements: Some(xml.into()), ..details() };
        assert!(refused(&program, &details, &by).contains(problem));
    }
}

#[test]
fn programs_for_one_processor_each_are_joined_and_keep_their_signatures() {
    let pki = Pki::new();
    pki.certify("code", "rsa:2048", "code");
    let by = pki.signer("code");
    let thin = [X86_64, ARM64].map(|cpu| sign(&thin(cpu, 700), &details(), &by).unwrap());
    let join = |parts: [&[u8]; 2]| {
        let [one, other] = &mut parts.map(Cursor::new);
        let mut out = Vec::new();
        macho::join(&mut [one, other], &mut out).map(|()| out).map_err(|error| error.to_string())
    };
    let joined = join([&thin[0], &thin[1]]).unwrap();
    assert_eq!(joined, universal(&[(X86_64, thin[0].clone()), (ARM64, thin[1].clone())]));
    assert_eq!(verify(&joined, &pki.trust()).unwrap().len(), 2);
    assert_eq!(judge(&pki, &joined).len(), 2);
    assert_eq!(
        join([&thin[0], &thin[0]]).unwrap_err(),
        "two of the programs are for the same processor"
    );
    for other in [joined.as_slice(), b"#!/bin/sh\n", &thin[0][..100]] {
        assert!(join([&thin[1], other]).unwrap_err().contains("none for a single processor"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_program_that_breaks_off_or_is_damaged_never_trips(
        cut in 0_usize..40_000, at in 0_usize..40_000, value: u8,
    ) {
        let pki = SHARED.get_or_init(|| {
            let pki = Pki::new();
            pki.certify("code", "rsa:2048", "code");
            let signed = sign(&both(300), &details(), &pki.signer("code")).unwrap();
            (pki, signed)
        });
        let (pki, signed) = pki;
        let mut damaged = signed.clone();
        let at = at % damaged.len();
        damaged[at] = value;
        damaged.truncate(damaged.len() - cut % damaged.len());
        let _ = verify(&damaged, &pki.trust());
        let _ = macho::read(&mut Cursor::new(&damaged));
        let _ = sign(&damaged, &details(), &pki.signer("code"));
    }
}

static SHARED: std::sync::OnceLock<(Pki, Vec<u8>)> = std::sync::OnceLock::new();
