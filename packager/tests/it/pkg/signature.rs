//! The signature of a pkg, taken out by python and judged by openssl.

use std::{fs, io::Cursor, sync::Arc};

use packager::{
    Format as _,
    format::pkg::{self, Pkg},
    sign::{CodeSigner, Keys, Seal, SignError, Trust, VerifyError},
};

use super::package;
use crate::{
    fixture::{bytes, draft, output, run},
    pki::Pki,
};

/// Writes the table's checksum and both signatures of a xar to files beside it.
const TAKE_APART: &str = "
import hashlib, struct, sys, zlib
import xml.etree.ElementTree as tree
path = sys.argv[1]
data = open(path, 'rb').read()
magic, size, version, squeezed, plain, algorithm = struct.unpack('>4sHHQQI', data[:28])
table = data[size:size + squeezed]
text = zlib.decompress(table)
assert magic == b'xar!' and len(text) == plain and algorithm == 1
heap = data[size + squeezed:]
checksum = hashlib.sha1(table).digest()
assert heap[:20] == checksum
open(path + '.checksum', 'wb').write(checksum)
toc = tree.fromstring(text).find('toc')
for name, style in (('signature', 'RSA'), ('x-signature', 'CMS')):
    found = toc.find(name)
    assert found.get('style') == style
    offset, size = int(found.find('offset').text), int(found.find('size').text)
    open(path + '.' + style, 'wb').write(heap[offset:offset + size])
    key = '{http://www.w3.org/2000/09/xmldsig#}'
    print(len(found.findall(f'{key}KeyInfo/{key}X509Data/{key}X509Certificate')))
";

fn sign(unsigned: &[u8], by: &CodeSigner) -> Result<Vec<u8>, SignError> {
    let mut keys = Keys::default();
    keys.macos_installer = Some(by.clone());
    let mut out = Cursor::new(Vec::new());
    let signature = Pkg::default().signature(&keys).unwrap();
    signature.add(&mut Cursor::new(unsigned), &mut out)?;
    Ok(out.into_inner())
}

fn verify(bytes: &[u8], trust: &Trust) -> Result<Seal, VerifyError> {
    pkg::verify(&mut Cursor::new(bytes), trust)
}

fn unsigned() -> Vec<u8> {
    bytes(&package(draft(), "1.2.3"), &Pkg::default())
}

#[test]
fn openssl_accepts_both_signatures_over_the_table() {
    let pki = Arc::new(Pki::new());
    pki.certify("installer", "rsa:2048", "installer");
    let unsigned = unsigned();
    let signed = sign(&unsigned, &pki.stamped("installer")).unwrap();
    assert_eq!(signed.len(), unsigned.len(), "a signature moves nothing");
    let path = pki.path("signed.pkg");
    fs::write(&path, &signed).unwrap();
    assert_eq!(run("python3", &["-c", TAKE_APART, &path]), "2\n2\n");
    let [rsa, cms, checksum] = ["RSA", "CMS", "checksum"].map(|end| format!("{path}.{end}"));
    pki.openssl(&["x509", "-in", "installer.crt", "-pubkey", "-noout", "-out", "public.pem"]);
    let args = ["dgst", "-sha256", "-verify", "public.pem", "-signature", &rsa];
    assert!(pki.openssl(&[&args[..], &[checksum.as_str()]].concat()).contains("Verified OK"));
    let args = ["cms", "-verify", "-binary", "-inform", "DER", "-in", &cms, "-content"];
    let trust = ["-CAfile", "root.crt", "-purpose", "any", "-ignore_critical", "-out", "/dev/null"];
    let said = pki.openssl(&[&args[..], &[checksum.as_str()], &trust].concat());
    assert!(said.contains("successful"), "{said}");
    let shown = pki.openssl(&["asn1parse", "-inform", "DER", "-in", &cms]);
    assert!(shown.contains("id-smime-aa-timeStampToken"), "{shown}");
}

#[test]
fn readers_find_every_member_of_a_signed_package() {
    let pki = Pki::new();
    pki.certify("installer", "rsa:4096", "installer");
    let unsigned = unsigned();
    let (before, after) = (pki.path("before.pkg"), pki.path("after.pkg"));
    fs::write(&before, &unsigned).unwrap();
    let by = pki.signer("installer");
    let signed = sign(&unsigned, &by).unwrap();
    assert_eq!(sign(&unsigned, &by).unwrap(), signed, "the same key gives the same bytes");
    fs::write(&after, &signed).unwrap();
    assert!(output("7z", &["t", &after]).contains("Everything is Ok"));
    assert_eq!(run("bsdtar", &["-tf", &after]), run("bsdtar", &["-tf", &before]));
    let content = |path: &str| run("bsdtar", &["-xOf", path, "Distribution"]);
    assert_eq!(content(&after), content(&before));
}

#[test]
fn what_was_changed_or_signed_by_others_is_refused() {
    let (pki, other) = (Arc::new(Pki::new()), Pki::new());
    pki.certify("installer", "rsa:2048", "installer");
    pki.certify("code", "rsa:2048", "code");
    pki.certify("p256", "EC:P-256", "installer");
    let unsigned = unsigned();
    let signed = sign(&unsigned, &pki.stamped("installer")).unwrap();
    let seal = verify(&signed, &pki.trust()).unwrap();
    assert!(seal.trusted && seal.timestamp.is_some() && seal.chain.len() == 2);
    assert!(matches!(verify(&unsigned, &pki.trust()), Err(VerifyError::NotSigned)));
    assert!(matches!(verify(&signed, &other.trust()), Err(VerifyError::Untrusted { .. })));
    for at in [100, 40_000, signed.len() - 1] {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        verify(&changed, &pki.trust()).unwrap_err();
    }
    let code = sign(&unsigned, &pki.signer("code")).unwrap();
    assert!(matches!(verify(&code, &pki.trust()), Err(VerifyError::Untrusted { .. })));
    let said = |error: SignError| error.to_string();
    assert!(said(sign(&signed, &pki.signer("installer")).unwrap_err()).contains("already"));
    assert!(said(sign(&unsigned, &pki.signer("p256")).unwrap_err()).contains("a key of RSA"));
}
