//! Keys that sign access tokens: made here, encrypted at rest, rotated, and published.
//!
//! A key is *next* (published), *active* (signs), *retiring* (what it signed is still believed),
//! *gone*. Which of them follows from the times in its row, so that servers with one database agree
//! without talking: [`schedule`]. [`master`] is what private halves are encrypted with, [`pair`] the
//! keys themselves.

mod master;
mod pair;
mod schedule;

use std::sync::{Arc, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{DecodingKey, jwk::Jwk};

use self::{
    master::MasterKey,
    pair::SigningKey,
    schedule::{Succession, Term},
};
pub use self::{
    master::MasterKeyError,
    pair::KeyFailure,
    schedule::{JWKS_MAX_AGE, KeyState},
};
use super::{Fleet, StoreError, store::SigningKeyRow, tokens::DEVICE_TTL};
use crate::config::{Config, auth::Algorithm};

/// How old what is known of the keys may be. A key dropped by another server, or by the command
/// line, signs and proves nothing after it.
const KNOWN_FOR: SignedDuration = SignedDuration::from_secs(1);

/// How far the clocks of servers with one database may be apart.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// The `kid` of HS256, which has one key, the secret.
const SECRET_KID: &str = "secret";

/// The keys of this server.
#[derive(Debug)]
pub(super) struct Keys {
    alg: Algorithm,
    master: MasterKey,
    /// With HS256, the only key.
    secret: Option<Arc<Ring>>,
    succession: Succession,
    ring: RwLock<Option<Arc<Ring>>>,
}

/// What is known of the keys at a moment.
#[derive(Debug)]
pub(super) struct Ring {
    read_at: Timestamp,
    keys: Vec<Key>,
}

/// A key of the configured algorithm.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub kid: String,
    pub verifier: DecodingKey,
    public: Option<Jwk>,
    /// Absent when it was encrypted with another master key.
    signer: Option<Arc<SigningKey>>,
    term: Term,
}

/// A key, as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    pub kid: String,
    pub alg: String,
    pub state: KeyState,
    pub created_at: Timestamp,
    pub active_from: Timestamp,
    pub gone_at: Option<Timestamp>,
    /// Whether this server can sign with it.
    pub usable: bool,
}

/// Why keys could not be used or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    #[error("HS256 signs with auth.jwt.secret, which is rotated by changing it")]
    Secret,
    #[error(transparent)]
    Failure(#[from] KeyFailure),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Keys {
    pub(super) fn new(config: &Config) -> Result<Self, MasterKeyError> {
        let jwt = &config.auth.jwt;
        let secret = jwt.secret.as_ref().filter(|_| jwt.alg == Algorithm::HS256);
        Ok(Self {
            alg: jwt.alg,
            master: MasterKey::load(config)?,
            secret: secret.map(|secret| Arc::new(Ring::of_secret(secret.expose().as_bytes()))),
            succession: Succession {
                rotation: jwt.rotation.as_signed(),
                outlives: jwt.access_ttl.as_signed().max(DEVICE_TTL) + SKEW,
            },
            ring: RwLock::default(),
        })
    }

    fn known(&self, now: Timestamp) -> Option<Arc<Ring>> {
        if let Some(ring) = &self.secret {
            return Some(Arc::clone(ring));
        }
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let age = now.duration_since(ring.read_at);
        (SignedDuration::ZERO..KNOWN_FOR).contains(&age).then_some(ring)
    }

    /// Takes what the database has. Keys that were parsed before are not parsed again.
    fn learn(&self, rows: &[SigningKeyRow], now: Timestamp) -> Arc<Ring> {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let before = ring.as_ref().map_or(&[][..], |ring| &ring.keys);
        let known = |row: &SigningKeyRow| before.iter().find(|key| key.kid == row.kid).cloned();
        let rows = rows.iter().filter(|row| row.alg == self.alg.as_str());
        let keys = rows
            .filter(|row| !term(row).is_gone(now))
            .filter_map(|row| {
                let key = known(row).or_else(|| self.parse(row))?;
                Some(Key { term: term(row), ..key })
            })
            .collect();
        let learned = Arc::new(Ring { read_at: now, keys });
        *ring = Some(Arc::clone(&learned));
        learned
    }

    fn parse(&self, row: &SigningKeyRow) -> Option<Key> {
        let public: Jwk = serde_json::from_str(&row.public_jwk).ok()?;
        let private = self.master.open(&label(&row.alg, &row.kid), &row.sealed_key);
        if private.is_none() {
            tracing::warn!(
                kid = row.kid,
                "a signing key was encrypted with another master key (auth.jwt.secret, or \
                 master.key in the data directory), so another is made; tokens that it signed stay good"
            );
        }
        Some(Key {
            kid: row.kid.clone(),
            verifier: DecodingKey::from_jwk(&public).ok()?,
            public: Some(public),
            signer: private.and_then(|key| SigningKey::parse(self.alg, &key).ok()).map(Arc::new),
            term: term(row),
        })
    }

    /// The row of a new key.
    fn make(&self, now: Timestamp) -> Result<SigningKeyRow, KeyFailure> {
        let private = pair::generate(self.alg)?;
        let public = SigningKey::parse(self.alg, &private)?.public().ok_or(KeyFailure)?;
        let kid = public.common.key_id.clone().ok_or(KeyFailure)?;
        Ok(SigningKeyRow {
            public_jwk: serde_json::to_string(&public).map_err(|_| KeyFailure)?,
            sealed_key: self.master.seal(&label(self.alg.as_str(), &kid), &private),
            sealed_by: self.master.name().to_owned(),
            alg: self.alg.as_str().to_owned(),
            created_at: now,
            active_from: now,
            gone_at: None,
            kid,
        })
    }

    /// Whether this server made the key, or one with the same master key and algorithm.
    fn is_own(&self, row: &SigningKeyRow) -> bool {
        row.sealed_by == self.master.name() && row.alg == self.alg.as_str()
    }

    fn due(&self, rows: &[SigningKeyRow], now: Timestamp) -> Option<Timestamp> {
        let terms: Vec<_> = rows.iter().filter(|row| self.is_own(row)).map(term).collect();
        self.succession.due(&terms, now)
    }
}

impl Ring {
    fn of_secret(secret: &[u8]) -> Self {
        let key = Key {
            kid: SECRET_KID.to_owned(),
            verifier: DecodingKey::from_secret(secret),
            public: None,
            signer: Some(Arc::new(SigningKey::of_secret(secret))),
            term: Term { active_from: Timestamp::MIN, gone_at: None },
        };
        Self { read_at: Timestamp::MIN, keys: vec![key] }
    }

    /// The key called `kid`, if what it signed is believed.
    pub(super) fn key(&self, kid: &str, now: Timestamp) -> Option<&Key> {
        self.keys.iter().find(|key| key.kid == kid && !key.term.is_gone(now))
    }

    /// Signs `message` with the active key, whose name `message` has to carry.
    pub(super) fn sign(
        &self,
        now: Timestamp,
        message: impl FnOnce(&str) -> String,
    ) -> Result<(String, Vec<u8>), KeyFailure> {
        let usable: Vec<&Key> = self.keys.iter().filter(|key| key.signer.is_some()).collect();
        let terms: Vec<Term> = usable.iter().map(|key| key.term).collect();
        let key = usable[schedule::active(&terms, now).ok_or(KeyFailure)?];
        let message = message(&key.kid);
        let signature = key.signer.as_ref().ok_or(KeyFailure)?.sign(message.as_bytes())?;
        Ok((message, signature))
    }
}

impl Fleet {
    /// The keys that are believed at this moment, as whoever checks tokens by themselves wants them
    /// (RFC 7517). With HS256 there are none to publish.
    pub async fn jwks(&self) -> Result<Vec<Jwk>, KeyError> {
        let ring = self.ring().await?;
        let now = self.now();
        let keys = ring.keys.iter().filter(|key| !key.term.is_gone(now));
        Ok(keys.filter_map(|key| key.public.clone()).collect())
    }

    /// Every key that is not gone yet, the oldest first.
    pub async fn signing_keys(&self) -> Result<Vec<KeyInfo>, KeyError> {
        let now = self.now();
        let rows = self.0.store.signing_keys().await?;
        let rows: Vec<_> = rows.into_iter().filter(|row| !term(row).is_gone(now)).collect();
        let terms: Vec<_> = rows.iter().map(term).collect();
        let keys = rows.into_iter().enumerate().map(|(index, row)| KeyInfo {
            state: schedule::state(&terms, index, now),
            usable: self.0.keys.is_own(&row),
            kid: row.kid,
            alg: row.alg,
            created_at: row.created_at,
            active_from: row.active_from,
            gone_at: row.gone_at,
        });
        Ok(keys.collect())
    }

    /// Lets another key take over: as soon as whoever keeps the published keys has read them anew;
    /// or, when `at_once`, now, and nothing that was signed before is believed any more.
    pub async fn rotate_signing_key(&self, at_once: bool) -> Result<(), KeyError> {
        let keys = &self.0.keys;
        if keys.secret.is_some() {
            return Err(KeyError::Secret);
        }
        let now = self.now();
        let fresh = self.make_key().await?;
        let mut change = self.0.store.change_signing_keys().await?;
        let rows = change.keys().await?;
        let handover = if at_once { now } else { now + JWKS_MAX_AGE };
        let gone_at = if at_once { now } else { keys.succession.gone_after(handover) };
        let next = rows.iter().find(|row| keys.is_own(row) && row.active_from > now);
        let next = next.filter(|_| !at_once);
        for row in rows.iter().filter(|row| !term(row).is_gone(now)) {
            let ends = next.is_none_or(|next| next.kid != row.kid);
            let sooner = row.gone_at.is_none_or(|end| end > gone_at);
            if ends && sooner && (at_once || keys.is_own(row)) {
                change.end(&row.kid, gone_at).await?;
            }
        }
        match next {
            Some(next) => change.begin_at(&next.kid, next.active_from.min(handover)).await?,
            None => change.add(&SigningKeyRow { active_from: handover, ..fresh }).await?,
        }
        let rows = change.keys().await?;
        change.commit().await?;
        keys.learn(&rows, now);
        Ok(())
    }

    /// What is known of the keys, at most a second old. Makes the one that is due.
    pub(super) async fn ring(&self) -> Result<Arc<Ring>, KeyError> {
        let now = self.now();
        if let Some(ring) = self.0.keys.known(now) {
            return Ok(ring);
        }
        let rows = self.0.store.signing_keys().await?;
        if self.0.keys.due(&rows, now).is_none() {
            return Ok(self.0.keys.learn(&rows, now));
        }
        self.add_due_key(now).await
    }

    async fn add_due_key(&self, now: Timestamp) -> Result<Arc<Ring>, KeyError> {
        let keys = &self.0.keys;
        let fresh = self.make_key().await?;
        let mut change = self.0.store.change_signing_keys().await?;
        let rows = change.keys().await?;
        // Another server may have been faster.
        if let Some(due) = keys.due(&rows, now) {
            // One that signs at once has begun by the clocks of all.
            let active_from = if due <= now { now - SKEW } else { due };
            let kid = fresh.kid.clone();
            change.add(&SigningKeyRow { active_from, ..fresh }).await?;
            for row in rows.iter().filter(|row| row.gone_at.is_none() && keys.is_own(row)) {
                change.end(&row.kid, keys.succession.gone_after(due)).await?;
            }
            tracing::info!(kid, %active_from, "made a signing key");
        }
        let rows = change.keys().await?;
        change.commit().await?;
        Ok(keys.learn(&rows, now))
    }

    /// Ends keys that nobody tends any more, of another master key or algorithm, and forgets those
    /// that are gone.
    pub(super) async fn sweep_signing_keys(&self) -> Result<(), StoreError> {
        let (keys, now) = (&self.0.keys, self.now());
        let mut change = self.0.store.change_signing_keys().await?;
        for row in change.keys().await? {
            let abandoned = row.active_from + keys.succession.rotation * 2 < now;
            if row.gone_at.is_none() && !keys.is_own(&row) && abandoned {
                change.end(&row.kid, now).await?;
            }
        }
        change.forget(now - SignedDuration::from_hours(24)).await?;
        change.commit().await
    }

    async fn make_key(&self) -> Result<SigningKeyRow, KeyError> {
        let (fleet, now) = (self.clone(), self.now());
        let made = tokio::task::spawn_blocking(move || fleet.0.keys.make(now));
        Ok(made.await.map_err(|_| KeyFailure)??)
    }
}

fn term(row: &SigningKeyRow) -> Term {
    Term { active_from: row.active_from, gone_at: row.gone_at }
}

/// What a private key is sealed for: nothing else can be put in its place.
fn label(alg: &str, kid: &str) -> String {
    format!("{alg} {kid}")
}
