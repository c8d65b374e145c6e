//! What a certificate says of its keys: which may sign, since when and until when.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use pgp::{
    composed::{SignedPublicKey, SignedPublicSubKey},
    packet::{Signature, SignatureType, SubpacketType},
    ser::Serialize as _,
    types::{
        EcdsaPublicParams, EddsaLegacyPublicParams, KeyDetails, KeyVersion, PublicParams, Tag,
    },
};

use super::KeyError;

/// Which of a certificate's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Primary,
    /// By its number in the certificate.
    Subkey(usize),
}

/// What is known of a key from the signatures over it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// The first second, counted from 1970, from which on the certificate vouches for it.
    pub(super) since: u32,
    /// The first second in which it is valid no more, if there is one.
    pub(super) until: Option<u64>,
    pub(super) signs: bool,
    pub(super) revoked: bool,
}

impl Standing {
    pub(super) fn is_valid(&self, at: u32) -> bool {
        !self.revoked && self.until.is_none_or(|until| u64::from(at) < until)
    }
}

/// The keys of `certificate` that may sign at `now`, seconds since 1970, with the second since when
/// they may: the newest subkey first, the primary key last. At least one.
pub(super) fn that_sign(
    certificate: &SignedPublicKey,
    now: u32,
) -> Result<Vec<(Part, u32)>, KeyError> {
    let fingerprint = fingerprint(&certificate.primary_key);
    let primary = of_primary(certificate).ok_or_else(|| KeyError::Unsupported {
        fingerprint: fingerprint.clone(),
        reason: "no signature of its own is valid".to_owned(),
    })?;
    check(&primary, now, &fingerprint)?;
    supported(&certificate.primary_key)?;
    let mut parts = Vec::new();
    let mut refused = None;
    let mut subkeys: Vec<_> = certificate.public_subkeys.iter().enumerate().collect();
    subkeys.sort_by_key(|(_, subkey)| std::cmp::Reverse(subkey.key.created_at()));
    for (index, subkey) in subkeys {
        let Some(standing) = of_subkey(certificate, subkey).filter(|standing| standing.signs)
        else {
            continue;
        };
        let checked = check(&standing, now, &self::fingerprint(&subkey.key));
        match checked.and_then(|()| supported(&subkey.key)) {
            Ok(()) => parts.push((Part::Subkey(index), standing.since.max(primary.since))),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    if primary.signs {
        parts.push((Part::Primary, primary.since));
    }
    if parts.is_empty() {
        return Err(refused.unwrap_or(KeyError::CannotSign { fingerprint }));
    }
    Ok(parts)
}

pub(super) fn fingerprint(key: &impl KeyDetails) -> String {
    format!("{:X}", key.fingerprint())
}

fn check(standing: &Standing, now: u32, fingerprint: &str) -> Result<(), KeyError> {
    let fingerprint = fingerprint.to_owned();
    match standing.until {
        _ if standing.revoked => Err(KeyError::Revoked { fingerprint }),
        Some(until) if !standing.is_valid(now) => {
            Err(KeyError::Expired { fingerprint, on: date(until) })
        }
        Some(_) | None => Ok(()),
    }
}

fn date(seconds: u64) -> Date {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let timestamp = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    timestamp.to_zoned(TimeZone::UTC).date()
}

/// Whether rpm, apt or both know what `key` does.
fn supported(key: &impl KeyDetails) -> Result<(), KeyError> {
    let reason = match (key.version(), key.public_params()) {
        (KeyVersion::V4, PublicParams::RSA(params)) => match params.to_bytes() {
            // The modulus comes first, behind its length in bits.
            Ok(bytes) if bits(&bytes) < MIN_RSA => {
                format!("{} bits of RSA are too few", bits(&bytes))
            }
            _ => return Ok(()),
        },
        (KeyVersion::V4, PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Ed25519 { .. })) => {
            return Ok(());
        }
        (KeyVersion::V4, PublicParams::ECDSA(params)) if is_nist(params) => return Ok(()),
        (KeyVersion::V4, _) => format!(
            "{:?} is not an algorithm that rpm and apt verify; RSA and Ed25519 of version 4 are",
            key.algorithm()
        ),
        (version, _) => {
            format!("it is of version {}, and rpm and apt read version 4", u8::from(version))
        }
    };
    Err(KeyError::Unsupported { fingerprint: fingerprint(key), reason })
}

const MIN_RSA: u16 = 2048;

fn bits(params: &[u8]) -> u16 {
    params.first_chunk().map_or(0, |length| u16::from_be_bytes(*length))
}

fn is_nist(params: &EcdsaPublicParams) -> bool {
    matches!(
        params,
        EcdsaPublicParams::P256 { .. }
            | EcdsaPublicParams::P384 { .. }
            | EcdsaPublicParams::P521 { .. }
    )
}

/// None if no signature of its own is valid.
pub(super) fn of_primary(certificate: &SignedPublicKey) -> Option<Standing> {
    let key = &certificate.primary_key;
    let details = &certificate.details;
    let direct = details.direct_signatures.iter().filter(|made| made.verify_key(key).is_ok());
    let users = details.users.iter().flat_map(|user| {
        let own = user
            .signatures
            .iter()
            .filter(|made| made.verify_certification(key, Tag::UserId, &user.id).is_ok());
        let own: Vec<_> = own.collect();
        let revoked = own.iter().filter(|made| is_revocation(made)).filter_map(|it| it.created());
        let revoked = revoked.max();
        own.into_iter().filter(move |made| {
            !is_revocation(made) && (revoked.is_none() || made.created() > revoked)
        })
    });
    let own: Vec<_> = direct.chain(users).collect();
    let mut revocations = details.revocation_signatures.iter();
    let revoked = revocations.any(|made| made.verify_key(key).is_ok());
    let mut standing = standing(key, &own)?;
    standing.revoked = revoked;
    // A key that says nothing of its use may do what it can.
    standing.signs |= !own.iter().any(|made| has_flags(made));
    Some(standing)
}

/// None if no valid signature binds it to the certificate.
pub(super) fn of_subkey(
    certificate: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
) -> Option<Standing> {
    let primary = &certificate.primary_key;
    let valid = |made: &&Signature| made.verify_subkey_binding(primary, &subkey.key).is_ok();
    let (revocations, bindings): (Vec<_>, Vec<_>) = subkey
        .signatures
        .iter()
        .filter(valid)
        .partition(|made| made.typ() == Some(SignatureType::SubkeyRevocation));
    let mut standing = standing(&subkey.key, &bindings)?;
    standing.revoked = !revocations.is_empty();
    // A subkey that signs has to agree to belong to the certificate.
    let agrees = |made: &&Signature| {
        made.embedded_signature()
            .is_some_and(|back| back.verify_primary_key_binding(&subkey.key, primary).is_ok())
    };
    standing.signs &= bindings.iter().any(agrees);
    Some(standing)
}

/// From the signatures over `key`, all of them valid: the newest says what it may do.
fn standing(key: &impl KeyDetails, own: &[&Signature]) -> Option<Standing> {
    let newest = own.iter().max_by_key(|made| made.created())?;
    let oldest = own.iter().filter_map(|made| made.created()).min()?;
    let created = key.created_at();
    let lasts = newest.key_expiration_time().map(|it| it.as_secs()).filter(|lasts| *lasts > 0);
    Some(Standing {
        since: created.max(oldest).as_secs(),
        until: lasts.map(|lasts| u64::from(created.as_secs()) + u64::from(lasts)),
        signs: newest.key_flags().sign(),
        revoked: false,
    })
}

fn has_flags(made: &Signature) -> bool {
    let mut told = made.config().into_iter().flat_map(|config| config.hashed_subpackets());
    told.any(|packet| packet.typ() == SubpacketType::KeyFlags)
}

fn is_revocation(made: &Signature) -> bool {
    made.typ() == Some(SignatureType::CertRevocation)
}
