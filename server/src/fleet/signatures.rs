//! Signatures of devices: whether a request was signed with the key that its device has enrolled
//! with, lately, and not twice.
//!
//! Which signatures have been seen is known to each server by itself. Of several that share a database each takes the
//! same request once, as long as it is fresh.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use jiff::{SignedDuration, Timestamp};
use wire::{
    api::FieldError,
    signature::{self, FRESH_SECONDS},
};

use super::{Fleet, enroll::EnrollError, origin::Origin, store::SeenDevice};

/// A signature is fresh for no longer, whatever clock it was made by.
const REMEMBERED_FOR: SignedDuration = SignedDuration::from_secs(2 * FRESH_SECONDS);

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

/// The signatures of the last minutes, by the first bytes of each, which are as good as random.
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
        let Some(key) = key else {
            let required = self.config().devices.require_signature;
            return if required { Err(SignatureError::Missing.into()) } else { Ok(()) };
        };
        self.accept(key, origin, now).map_err(|error| match error {
            SignatureError::Missing => EnrollError::Invalid(vec![FieldError {
                pointer: "/device_key".to_owned(),
                detail: "must be an Ed25519 key in hexadecimal that has signed the request"
                    .to_owned(),
                rule: None,
            }]),
            SignatureError::Wrong(_) | SignatureError::Stale | SignatureError::Repeated => {
                error.into()
            }
        })
    }

    fn accept(&self, key: &str, origin: &Origin, now: Timestamp) -> Result<(), SignatureError> {
        let shown = origin.signature.as_ref().ok_or(SignatureError::Missing)?;
        let shown = shown.as_ref().map_err(|error| SignatureError::Wrong(error.clone()))?;
        let public = hex::decode(key).ok().filter(|_| shown.key_id == key);
        let public = UnparsedPublicKey::new(&ED25519, public.ok_or(SignatureError::Missing)?);
        public
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

#[cfg(test)]
mod tests {
    use super::*;

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
