//! Keys that somebody else holds.

use std::{io::Cursor, sync::Arc};

use packager::{
    format::deb::Deb,
    sign::{
        Scheme, SignError, Signer,
        openpgp::{Certificates, KeyError, SigningKey, check_deb},
    },
};
use pgp::{
    composed::{Deserializable as _, SignedSecretKey},
    crypto::hash::HashAlgorithm,
    types::{Password, SignatureBytes, SigningKey as _},
};

use super::{Gpg, NOW, PASSPHRASE, signed};
use crate::fixture::DATE;

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
        let wanted = SigningKey::wanted(&public, NOW).unwrap();
        assert_eq!(wanted, (scheme, gpg.fingerprint(&user)));
        let key = SigningKey::from_signer(&public, Arc::clone(&token), NOW).unwrap();
        let made = key.sign(&mut &b"content"[..], DATE).unwrap();
        gpg.verify(&made, b"content");
        let text = "Origin: it\n- dashed\n";
        let framed = key.sign_text(text, DATE).unwrap();
        let direct = super::key(&gpg, &user).sign_text(text, DATE).unwrap();
        assert_eq!(framed, direct, "{algorithm}");
        let deb = signed(&Deb::default(), key, "1.2.3");
        assert!(
            check_deb(&mut Cursor::new(&deb), &Certificates::parse(&public).unwrap()).unwrap()[0]
                .is_good()
        );
        let wrong = SigningKey::from_signer(&secret, Arc::clone(&token), NOW);
        assert!(matches!(wrong, Err(KeyError::SecretKey)), "{wrong:?}");
        let other = gpg.public("rsa2048@example.com");
        if scheme != Scheme::RsaSha256 {
            let wrong = SigningKey::from_signer(&other, token, NOW);
            assert!(matches!(wrong, Err(KeyError::OtherKey { .. })), "{wrong:?}");
        }
    }
}
