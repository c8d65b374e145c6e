//! Keys that sign, and the signatures they make.

use std::{fmt, io::Read, sync::Arc};

use pgp::{
    composed::{
        ArmorOptions, CleartextSignedMessage, DetachedSignature, PublicOrSecret, SignedPublicKey,
        SignedSecretKey,
    },
    crypto::hash::HashAlgorithm,
    errors::Error,
    packet::{
        SecretKey, SecretSubkey, Signature, SignatureConfig, SignatureType, Subpacket,
        SubpacketData,
    },
    ser::Serialize as _,
    types::{
        EcdsaPublicParams, KeyDetails, Password, PublicParams, S2kParams, SecretParams,
        StringToKey, Timestamp,
    },
};

use super::{
    KeyError,
    certificate::{self, Part},
    remote,
};
use crate::{
    package::SourceDate,
    sign::{Scheme, SignError, Signer},
};

/// A key that signs, and the certificate that it belongs to.
#[derive(Clone)]
pub struct SigningKey {
    certificate: Arc<SignedPublicKey>,
    part: Part,
    since: u32,
    secret: Secret,
}

#[derive(Clone)]
enum Secret {
    Primary(Arc<SecretKey>),
    Subkey(Arc<SecretSubkey>),
    Remote(Arc<dyn Signer>),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// Whether the secret key in `file`, armored or binary, is locked. False for what is not one: that
/// is for [`SigningKey::from_secret_key`] to tell.
#[must_use]
pub fn needs_passphrase(file: &[u8]) -> bool {
    let locked = |params: &SecretParams| params.is_encrypted() && !is_stub(params);
    secret_key(file).is_ok_and(|key| {
        let mut subkeys = key.secret_subkeys.iter();
        locked(key.primary_key.secret_params())
            || subkeys.any(|subkey| locked(subkey.key.secret_params()))
    })
}

impl SigningKey {
    /// The newest key in `file` that may sign at `now`. `file` is a secret key, armored or binary, as `gpg
    /// --export-secret-keys` writes it; a passphrase that it does not need is ignored.
    pub fn from_secret_key(
        file: &[u8],
        passphrase: Option<&str>,
        now: SourceDate,
    ) -> Result<Self, KeyError> {
        let key = secret_key(file)?;
        let certificate = key.to_public_key();
        let parts = certificate::that_sign(&certificate, now.unix())?;
        for (part, since) in parts {
            let params = match part {
                Part::Primary => key.primary_key.secret_params(),
                Part::Subkey(index) => match secret_subkey(&key, &certificate, index) {
                    Some(subkey) => subkey.secret_params(),
                    None => continue,
                },
            };
            if is_stub(params) {
                continue;
            }
            let secret = unlocked(&key, &certificate, part, passphrase)?;
            return Ok(Self { certificate: Arc::new(certificate), part, since, secret });
        }
        Err(KeyError::Elsewhere)
    }

    /// The key of `certificate`, a public key armored or binary, whose secret part `signer` has.
    pub fn from_signer(
        certificate: &[u8],
        signer: Arc<dyn Signer>,
        now: SourceDate,
    ) -> Result<Self, KeyError> {
        let certificate = public_key(certificate)?;
        let parts = certificate::that_sign(&certificate, now.unix())?;
        let fits = |part| remote::scheme(key_of(&certificate, part)) == Some(signer.scheme());
        let found = parts.into_iter().find(|(part, _)| fits(*part));
        let Some((part, since)) = found else {
            let fingerprint = certificate::fingerprint(&certificate.primary_key);
            return Err(KeyError::OtherKey { fingerprint });
        };
        let certificate = Arc::new(certificate);
        Ok(Self { certificate, part, since, secret: Secret::Remote(signer) })
    }

    /// How the newest key of `certificate`, a public key, that may sign at `now` signs, and its fingerprint in
    /// capital hexadecimal: what a [`Signer`] for [`Self::from_signer`] has to be made for.
    pub fn wanted(certificate: &[u8], now: SourceDate) -> Result<(Scheme, String), KeyError> {
        let certificate = public_key(certificate)?;
        let parts = certificate::that_sign(&certificate, now.unix())?;
        let mut keys = parts.iter().map(|(part, _)| key_of(&certificate, *part));
        let found = keys.find_map(|key| remote::scheme(key).map(|scheme| (scheme, key)));
        let (scheme, key) = found.ok_or_else(|| KeyError::Unsupported {
            fingerprint: certificate::fingerprint(&certificate.primary_key),
            reason: "nobody else can sign by its algorithm".to_owned(),
        })?;
        Ok((scheme, format!("{:X}", key.fingerprint())))
    }

    /// Of the key itself, which may be a subkey; in capital hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("{:X}", self.public().fingerprint())
    }

    /// Whether it is one of RSA, which rpm keeps in a place of their own.
    pub(crate) fn is_rsa(&self) -> bool {
        matches!(self.public().public_params(), PublicParams::RSA(_))
    }

    /// Whether rpm's own reader of signatures, which all have before rpm 4.18 and some have since, knows its
    /// algorithm. The curves of NIST are known to those that use Sequoia alone.
    #[must_use]
    pub fn every_rpm_verifies(&self) -> bool {
        !matches!(self.public().public_params(), PublicParams::ECDSA(_))
    }

    fn public(&self) -> &dyn KeyDetails {
        key_of(&self.certificate, self.part)
    }

    /// Of the primary key of its certificate: what people compare.
    #[must_use]
    pub fn primary_fingerprint(&self) -> String {
        certificate::fingerprint(&self.certificate.primary_key)
    }

    /// Its certificate, for those who verify.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        self.certificate.to_bytes().expect("writing to memory does not fail")
    }

    /// Its certificate, armored.
    #[must_use]
    pub fn armored_certificate(&self) -> String {
        let options = ArmorOptions::default();
        self.certificate.to_armored_string(options).expect("writing to memory does not fail")
    }

    /// A detached signature over what `content` gives, binary.
    pub fn sign(&self, content: &mut dyn Read, date: SourceDate) -> Result<Vec<u8>, SignError> {
        let made = self.signature(content, SignatureType::Binary, date)?;
        Ok(DetachedSignature::new(made).to_bytes().expect("writing to memory does not fail"))
    }

    /// A detached signature over `content`, armored.
    pub fn sign_armored(&self, mut content: &[u8], date: SourceDate) -> Result<String, SignError> {
        let made = self.signature(&mut content, SignatureType::Binary, date)?;
        let armored = DetachedSignature::new(made).to_armored_string(ArmorOptions::default());
        Ok(armored.expect("writing to memory does not fail"))
    }

    /// `text`, whose lines have no space at their ends, framed by its signature.
    pub fn sign_text(&self, text: &str, date: SourceDate) -> Result<String, SignError> {
        // The line end before the signature is the frame's.
        let text = text.strip_suffix('\n').unwrap_or(text);
        let made = self.signature(&mut text.as_bytes(), SignatureType::Text, date)?;
        let framed = CleartextSignedMessage::new_many(text, |_| Ok(vec![made]))
            .and_then(|message| message.to_armored_string(ArmorOptions::default()));
        Ok(framed.expect("writing to memory does not fail"))
    }

    pub(super) fn signature(
        &self,
        content: &mut dyn Read,
        kind: SignatureType,
        date: SourceDate,
    ) -> Result<Signature, SignError> {
        let public = self.public();
        let mut config = SignatureConfig::v4(kind, public.algorithm(), hash(public));
        let created = Timestamp::from_secs(date.unix().max(self.since));
        let subpacket = |data| Subpacket::regular(data).map_err(refused);
        config.hashed_subpackets = vec![
            subpacket(SubpacketData::SignatureCreationTime(created))?,
            subpacket(SubpacketData::IssuerFingerprint(public.fingerprint()))?,
        ];
        config.unhashed_subpackets =
            vec![subpacket(SubpacketData::IssuerKeyId(public.legacy_key_id()))?];
        match &self.secret {
            Secret::Primary(key) => local(config, &**key, content),
            Secret::Subkey(key) => local(config, &**key, content),
            Secret::Remote(signer) => match self.part {
                Part::Primary => {
                    remote::sign(config, (&**signer, &self.certificate.primary_key), content)
                }
                Part::Subkey(index) => {
                    let key = &self.certificate.public_subkeys[index].key;
                    remote::sign(config, (&**signer, key), content)
                }
            },
        }
    }
}

fn local(
    config: SignatureConfig,
    key: &dyn pgp::types::SigningKey,
    content: &mut dyn Read,
) -> Result<Signature, SignError> {
    let mut hasher = config.into_hasher().map_err(refused)?;
    std::io::copy(content, &mut hasher).map_err(SignError::Read)?;
    hasher.sign(key, &Password::empty()).map_err(refused)
}

pub(super) fn refused(error: impl std::error::Error + Send + Sync + 'static) -> SignError {
    SignError::Refused(Box::new(error))
}

/// As long as the curve, where it is a curve; SHA-256 is what the oldest readers know.
fn hash(key: &dyn KeyDetails) -> HashAlgorithm {
    let PublicParams::ECDSA(curve) = key.public_params() else {
        return HashAlgorithm::Sha256;
    };
    match curve {
        EcdsaPublicParams::P384 { .. } => HashAlgorithm::Sha384,
        EcdsaPublicParams::P521 { .. } => HashAlgorithm::Sha512,
        EcdsaPublicParams::P256 { .. }
        | EcdsaPublicParams::Secp256k1 { .. }
        | EcdsaPublicParams::Unsupported { .. } => HashAlgorithm::Sha256,
    }
}

fn key_of(certificate: &SignedPublicKey, part: Part) -> &dyn KeyDetails {
    match part {
        Part::Primary => &certificate.primary_key,
        Part::Subkey(index) => &certificate.public_subkeys[index].key,
    }
}

fn public_key(file: &[u8]) -> Result<SignedPublicKey, KeyError> {
    match one_key(file)? {
        PublicOrSecret::Public(certificate) => Ok(certificate),
        PublicOrSecret::Secret(_) => Err(KeyError::SecretKey),
    }
}

fn secret_key(file: &[u8]) -> Result<SignedSecretKey, KeyError> {
    match one_key(file)? {
        PublicOrSecret::Secret(key) => Ok(key),
        PublicOrSecret::Public(_) => Err(KeyError::PublicKey),
    }
}

fn one_key(file: &[u8]) -> Result<PublicOrSecret, KeyError> {
    let mut keys = read(file)?;
    match keys.len() {
        1 => Ok(keys.swap_remove(0)),
        0 => Err(KeyError::NotAKey { reason: "there is no key in it".to_owned() }),
        count => Err(KeyError::Several { count }),
    }
}

/// Every key in `file`, armored or binary.
pub(super) fn read(file: &[u8]) -> Result<Vec<PublicOrSecret>, KeyError> {
    let wrong = |error: Error| KeyError::NotAKey { reason: error.to_string() };
    if file.trim_ascii().is_empty() {
        return Err(KeyError::NotAKey { reason: "it is empty".to_owned() });
    }
    let (keys, _) = PublicOrSecret::from_reader_many(file).map_err(wrong)?;
    keys.collect::<Result<_, _>>().map_err(wrong)
}

/// The secret part of subkey `index` of `certificate`, which is the certificate of `key`.
fn secret_subkey<'a>(
    key: &'a SignedSecretKey,
    certificate: &SignedPublicKey,
    index: usize,
) -> Option<&'a SecretSubkey> {
    let wanted = certificate.public_subkeys[index].key.fingerprint();
    let mut subkeys = key.secret_subkeys.iter().map(|subkey| &subkey.key);
    subkeys.find(|subkey| subkey.fingerprint() == wanted)
}

/// Whether it only says where the secret is: on a card, or not in this file.
fn is_stub(params: &SecretParams) -> bool {
    const OF_GNUPG: u8 = 101;
    let SecretParams::Encrypted(params) = params else {
        return false;
    };
    match params.string_to_key_params() {
        S2kParams::Aead { s2k, .. }
        | S2kParams::Cfb { s2k, .. }
        | S2kParams::MalleableCfb { s2k, .. } => {
            matches!(s2k, StringToKey::Private { typ: OF_GNUPG, .. })
        }
        S2kParams::Unprotected | S2kParams::LegacyCfb { .. } => false,
    }
}

/// With the secret in the clear, so that a wrong passphrase shows now and deriving is done once.
fn unlocked(
    key: &SignedSecretKey,
    certificate: &SignedPublicKey,
    part: Part,
    passphrase: Option<&str>,
) -> Result<Secret, KeyError> {
    let broken = |error: Error| KeyError::NotAKey { reason: error.to_string() };
    match part {
        Part::Primary => {
            let locked = &key.primary_key;
            let password = password(locked.secret_params(), passphrase)?;
            let plain = locked.unlock(&password, |_, plain| Ok(plain.clone()));
            let plain = SecretParams::Plain(opened(plain, locked.secret_params())?);
            let key = SecretKey::new(locked.public_key().clone(), plain).map_err(broken)?;
            Ok(Secret::Primary(Arc::new(key)))
        }
        Part::Subkey(index) => {
            let locked = secret_subkey(key, certificate, index).ok_or(KeyError::Elsewhere)?;
            let password = password(locked.secret_params(), passphrase)?;
            let plain = locked.unlock(&password, |_, plain| Ok(plain.clone()));
            let plain = SecretParams::Plain(opened(plain, locked.secret_params())?);
            let key = SecretSubkey::new(locked.public_key().clone(), plain).map_err(broken)?;
            Ok(Secret::Subkey(Arc::new(key)))
        }
    }
}

fn password(params: &SecretParams, passphrase: Option<&str>) -> Result<Password, KeyError> {
    match passphrase {
        _ if !params.is_encrypted() => Ok(Password::empty()),
        Some(passphrase) => Ok(Password::from(passphrase)),
        None => Err(KeyError::NoPassphrase),
    }
}

fn opened<T>(
    result: Result<Result<T, Error>, Error>,
    params: &SecretParams,
) -> Result<T, KeyError> {
    result.and_then(|inner| inner).map_err(|error| {
        if params.is_encrypted() {
            KeyError::WrongPassphrase
        } else {
            KeyError::NotAKey { reason: error.to_string() }
        }
    })
}
