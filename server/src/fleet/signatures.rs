//! Signatures of devices: whether a request was signed with the key that its device has enrolled
//! with, lately, and not twice.
//!
//! Which signatures have been seen is known to each server by itself: devices ask all the time, and a write for each
//! request would cost more than the request. Of several that share a database each takes the same request once, as long
//! as it is fresh. An enrollment that admitted a device, and ended the key that there was, the database knows: all together
//! take it once. One that was refused changed nothing, and each server knows it by itself as any other request.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm,
};
use jiff::{SignedDuration, Timestamp};
use wire::{
    api::FieldError,
    signature::{self, Algorithm, FRESH_SECONDS},
};

use super::{
    Fleet, StoreError,
    enroll::EnrollError,
    limits::{LimitError, Policy},
    origin::Origin,
    store::{SeenDevice, Tx},
};

/// A signature is fresh for no longer, whatever clock it was made by.
const REMEMBERED_FOR: SignedDuration = SignedDuration::from_secs(2 * FRESH_SECONDS);

/// How often a signature admits a device. For longer than it is fresh: that is judged when a request comes, and
/// this when its transaction gets to it.
const ENROLLMENTS: Policy =
    Policy::new("signature", 1, SignedDuration::from_secs(2 * REMEMBERED_FOR.as_secs()));

/// Why a request does not count as its device's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// There is none, or it is not of the device's key: the agent has to enroll again.
    #[error("the request is not signed with a key that its device has enrolled with")]
    Missing,
    /// It names the device's key, and is not of this request: something on the way has changed it.
    #[error("the request is not as its device has signed it: {0}")]
    Wrong(signature::SignatureError),
    #[error("the request was signed too long ago, or by a clock that is wrong")]
    Stale,
    #[error("the request was sent before")]
    Repeated,
}

/// The signatures of the last minutes, by the first bytes of each, which are as good as random. Of ECDSA's they
/// are `r`'s: whoever has seen one can make another of the same, but not with another `r`.
#[derive(Debug, Default)]
pub(super) struct SeenSignatures(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    latest: BTreeSet<u64>,
    before: BTreeSet<u64>,
    since: Timestamp,
}

impl Seen {
    /// Whether it was not there yet.
    fn insert(&mut self, signature: u64, now: Timestamp) -> bool {
        let age = now.duration_since(self.since);
        if age >= REMEMBERED_FOR {
            self.before = mem::take(&mut self.latest);
            if age >= REMEMBERED_FOR * 2 {
                self.before.clear();
            }
            self.since = now;
        }
        !self.before.contains(&signature) && self.latest.insert(signature)
    }
}

impl Fleet {
    /// Refuses a request of a device that signs and has not signed this one, or of one that does not sign
    /// where it must.
    pub(super) fn check_signature(
        &self,
        device: &SeenDevice,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        match &device.device_key {
            Some(key) => self.accept(key, origin, now),
            None if self.config().devices.require_signature => Err(SignatureError::Missing),
            None => Ok(()),
        }
    }

    /// Refuses an enrollment with a key that has not signed it, or without one where there must be one.
    pub(super) fn check_device_key(
        &self,
        key: Option<&str>,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<(), EnrollError> {
        let checked = self.check_enrollment(key, origin, now);
        if matches!(checked, Err(EnrollError::Signature(SignatureError::Missing))) {
            return Err(EnrollError::Invalid(vec![FieldError {
                pointer: "/device_key".to_owned(),
                detail:
                    "must be a key in hexadecimal, of Ed25519 or an uncompressed point of P-256, \
                         that has signed the request"
                        .to_owned(),
                rule: None,
            }]));
        }
        checked
    }

    /// Refuses an enrollment that was not signed with `key`, or one without a key where there must be one.
    pub(super) fn check_enrollment(
        &self,
        key: Option<&str>,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<(), EnrollError> {
        match key {
            Some(key) => Ok(self.accept(key, origin, now)?),
            None if self.config().devices.require_signature => Err(EnrollError::KeyRequired),
            None => Ok(()),
        }
    }

    /// Whether a signed enrollment was sent to no server before. The transaction holds the device, so that
    /// of several at once one is the first.
    pub(super) async fn is_first(&self, tx: &mut Tx, origin: &Origin) -> Result<bool, StoreError> {
        let Some(Ok(shown)) = &origin.signature else { return Ok(true) };
        // Of ECDSA's `r` alone, as in memory.
        let whom = hex::encode(shown.signature.get(..32).unwrap_or_default());
        match self.take_held(tx, (ENROLLMENTS, &whom)).await {
            Ok(()) => Ok(true),
            Err(LimitError::TooMany(_)) => Ok(false),
            Err(LimitError::Store(error)) => Err(error),
        }
    }

    fn accept(&self, key: &str, origin: &Origin, now: Timestamp) -> Result<(), SignatureError> {
        let shown = origin.signature.as_ref().ok_or(SignatureError::Missing)?;
        let shown = shown.as_ref().map_err(|error| SignatureError::Wrong(error.clone()))?;
        let public = hex::decode(key).ok().filter(|_| shown.key_id == key);
        let public = public.ok_or(SignatureError::Missing)?;
        let algorithm = Algorithm::of_key(&public).ok_or(SignatureError::Missing)?;
        // RFC 9421, section 3.2, step 6: what a signature says of its algorithm must fit its key.
        if shown.algorithm != algorithm {
            return Err(SignatureError::Wrong(signature::SignatureError::Parameters));
        }
        UnparsedPublicKey::new(verification(algorithm), public)
            .verify(shown.base.as_bytes(), &shown.signature)
            .map_err(|_| SignatureError::Wrong(signature::SignatureError::OtherMessage))?;
        if now.as_second().abs_diff(shown.created) > FRESH_SECONDS.unsigned_abs() {
            return Err(SignatureError::Stale);
        }
        let start = shown.signature.first_chunk().ok_or(SignatureError::Missing)?;
        let mut seen = self.0.signatures.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.insert(u64::from_le_bytes(*start), now) {
            Ok(())
        } else {
            Err(SignatureError::Repeated)
        }
    }
}

fn verification(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::Ed25519 => &ED25519,
        Algorithm::EcdsaP256Sha256 => &ECDSA_P256_SHA256_FIXED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9421, appendix B.2.4, with `test-key-ecc-p256` of B.1.3.
    #[test]
    fn signatures_of_p256_are_those_of_rfc_9421() {
        const PUBLIC: &str = "04a885586552c2acf6471878cfd7b0935b4ffe0fd2dfc341248ea17bc41e058af0\
                              31ce2737d2d30ce0617e851e83c61ef5679d151867657649035d90a74cd9e85d";
        const SIGNATURE: &str = "c0d9925008706f92f1b4eb4ea4d6ba5b9c63d3aee6e6116b8f45d0e1fbe96822\
                                 f1d0d2a87203eab8b8326a19f30e70c0532e5e09d95850490b223fb7da889ab3";
        let covered = [
            ("@status", "200"),
            ("content-type", "application/json"),
            (
                "content-digest",
                "sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:",
            ),
            ("content-length", "23"),
        ];
        let parameters = r#"("@status" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256""#;
        let base = signature::base(&covered, parameters);
        let [public, signature] = [PUBLIC, SIGNATURE].map(|text| hex::decode(text).unwrap());
        let algorithm = Algorithm::of_key(&public).unwrap();
        let public = UnparsedPublicKey::new(verification(algorithm), public);
        public.verify(base.as_bytes(), &signature).unwrap();
        for changed in 0..signature.len() {
            let mut other = signature.clone();
            other[changed] ^= 1;
            public.verify(base.as_bytes(), &other).unwrap_err();
        }
        public.verify(&base.as_bytes()[1..], &signature).unwrap_err();
    }

    #[test]
    fn signatures_are_remembered_for_as_long_as_they_are_fresh_and_not_forever() {
        let (mut seen, start) = (Seen::default(), Timestamp::UNIX_EPOCH);
        let at = |seconds| start + SignedDuration::from_secs(seconds);
        let fresh = 2 * FRESH_SECONDS;
        assert!(seen.insert(1, at(10_000)) && !seen.insert(1, at(10_000)));
        assert!(!seen.insert(1, at(10_000 + fresh - 1)));
        assert!(seen.insert(2, at(10_000 + fresh - 1)));
        assert!(!seen.insert(2, at(10_000 + 2 * fresh - 2)));
        assert!(seen.insert(1, at(10_000 + 3 * fresh)));
        assert!(seen.insert(3, at(20_000)) && seen.insert(2, at(20_000)));
        assert_eq!((seen.latest.len(), seen.before.len()), (2, 0));
    }
}
