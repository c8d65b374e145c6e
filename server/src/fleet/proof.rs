//! From a presented access token or API key to the [`Actor`] behind it.

use std::{collections::BTreeSet, net::IpAddr};

use jiff::Timestamp;
use wire::{
    OrgId, Permission, UserId,
    api::{ApiKey, ApiKeyKind, KeyEnvironment},
};

use super::{
    Access, Fleet, StoreError,
    actor::{Actor, Proof, Rights, SessionProof},
    key_form::{self, FormError},
    keys::KeyError,
    metrics::TokenWork,
    networks::Networks,
    session_life::{Event, RanOut},
    store::{ApiKeyRow, Credential, CredentialKind, Hash},
    tokens::TokenError,
};
use crate::config::auth::IpBinding;

/// Why a proof was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Unknown, malformed, ended: the same for all.
    #[error("sign in, or present an API key")]
    Unauthenticated,
    #[error("the API key has expired")]
    KeyExpired,
    #[error("the API key is revoked")]
    KeyRevoked,
    #[error("this key is for devices, not for people and scripts")]
    KeyOfOtherKind,
    #[error("this key is for another environment than its organization or this server")]
    KeyOfOtherEnvironment,
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    RanOut(#[from] RanOut),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FormError> for ProofError {
    fn from(error: FormError) -> Self {
        match error {
            FormError::Malformed => Self::Unauthenticated,
            FormError::WrongKind => Self::KeyOfOtherKind,
        }
    }
}

impl Fleet {
    /// Whether `token` is to be taken for an API key. No access token begins so.
    #[must_use]
    pub fn looks_like_api_key(&self, token: &str) -> bool {
        key_form::begins_like_a_key(&self.0.config.api_keys, token)
    }

    /// Finds out who presents `token`, and what they may do at this moment. An action keeps their
    /// session alive.
    pub async fn authenticate(
        &self,
        token: &str,
        address: IpAddr,
        is_action: bool,
    ) -> Result<Actor, ProofError> {
        let actor = if self.looks_like_api_key(token) {
            let environment = key_form::check(&self.0.config.api_keys, token)?;
            self.authenticate_api_key((&Hash::of(token), environment), address).await?
        } else {
            let event = if is_action { Event::Action } else { Event::Poll };
            self.authenticate_access_token(token, address, event).await?
        };
        actor.note_asking();
        Ok(actor)
    }

    async fn authenticate_access_token(
        &self,
        token: &str,
        address: IpAddr,
        event: Event,
    ) -> Result<Actor, ProofError> {
        let now = self.now();
        let ring = self.ring().await?;
        let check = || self.0.tokens.check(&ring, token, now);
        let bearer = self.0.metrics.measured(TokenWork::Verify, check)?;
        let standing = self.standing(&bearer, now).await?.ok_or(ProofError::Unauthenticated)?;
        let timers = self.0.config.auth.session.timers();
        let life = standing.proof.life.after(event, &timers, now)?;
        if event == Event::Action {
            self.note_action(&bearer, standing.proof.life, now).await?;
        }
        let session = SessionProof { life, ..standing.proof };
        let actor = Actor {
            org_id: bearer.org_id,
            user_id: bearer.user_id,
            rights: standing.rights,
            proof: Proof::Session(session.clone()),
            address,
            networks: standing.networks,
        };
        let bound = self.0.config.auth.session.ip_binding == IpBinding::Always;
        if bound && !actor.is_at_home(&session) {
            return Err(ProofError::Unauthenticated);
        }
        Ok(actor)
    }

    async fn authenticate_api_key(
        &self,
        (hash, environment): (&Hash, KeyEnvironment),
        address: IpAddr,
    ) -> Result<Actor, ProofError> {
        let now = self.now();
        let known = self.known_key(hash, now).await;
        // Of a key that nobody knows, the word in it tells why.
        let stranger = matches!(known, Err(ProofError::Unauthenticated));
        if stranger && environment != self.0.config.api_keys.environment {
            return Err(ProofError::KeyOfOtherEnvironment);
        }
        let known = known?;
        if known.environment != environment {
            return Err(ProofError::KeyOfOtherEnvironment);
        }
        let KnownKey { org_id, row, user_id, rights, networks, .. } = known;
        check_key(&row, hash, now)?;
        let ApiKey { id, kind, requests_per_minute, .. } = row.key;
        let proof = Proof::ApiKey { id, kind, requests_per_minute };
        let actor = Actor { org_id, user_id, rights, proof, address, networks };
        if self.note_key_use(&actor, &row).await? {
            self.0.known_keys.change(&hash.as_text(), |known| {
                known.row.key.last_used_at = Some(now);
                known.row.key.last_used_ip = Some(address.to_string());
            });
        }
        Ok(actor)
    }

    /// What the database says of a key, and of whoever it speaks for.
    async fn known_key(&self, hash: &Hash, now: Timestamp) -> Result<KnownKey, ProofError> {
        let changes = self.0.store.changes();
        let Some(known) = self.0.known_keys.find(&hash.as_text(), changes, now) else {
            return self.learn_key(hash).await;
        };
        if known.is_aging {
            let (fleet, hash) = (self.clone(), hash.clone());
            // What could not be read is read by whoever comes when it is too old.
            tokio::spawn(async move { fleet.learn_key(&hash).await.is_ok() });
        }
        Ok(known.answer)
    }

    async fn learn_key(&self, hash: &Hash) -> Result<KnownKey, ProofError> {
        let (changes, now) = (self.0.store.changes(), self.now());
        let known = self.read_key(hash, now).await?;
        self.0.known_keys.keep(&hash.as_text(), &known, (changes, now));
        Ok(known)
    }

    async fn read_key(&self, hash: &Hash, now: Timestamp) -> Result<KnownKey, ProofError> {
        let kind = CredentialKind::ApiKey;
        let found = self.0.store.follow_credential(kind, hash, Access::Read).await?;
        let (found, mut org) = found.ok_or(ProofError::Unauthenticated)?;
        let Credential { org_id, subject_id } = found;
        let row = org.api_key(&subject_id).await?.ok_or(ProofError::Unauthenticated)?;
        check_key(&row, hash, now)?;
        let mut scopes: BTreeSet<_> = row.key.scopes.iter().copied().collect();
        scopes.remove(&Permission::ApiKeysWrite);
        let (user_id, rights) = match row.key.kind {
            ApiKeyKind::Service => (UserId(row.key.id.0), Rights::everywhere(scopes)),
            ApiKeyKind::Person => {
                let creator = org.user(row.key.created_by).await?;
                let creator = creator.filter(|creator| creator.disabled_at.is_none());
                let creator = creator.ok_or(ProofError::Unauthenticated)?;
                let rights = Rights::of(&mut org, creator.id, &creator.role).await?;
                (creator.id, rights.within(&scopes))
            }
        };
        let networks = org.allowed_networks().await?;
        let environment = org.key_rules().await?.environment;
        org.commit().await?;
        let environment = environment.unwrap_or(self.0.config.api_keys.environment);
        Ok(KnownKey { org_id, row, user_id, rights, networks, environment })
    }
}

/// An API key and what it may do at this moment.
#[derive(Debug, Clone)]
pub(super) struct KnownKey {
    org_id: OrgId,
    row: ApiKeyRow,
    user_id: UserId,
    rights: Rights,
    networks: Networks,
    environment: KeyEnvironment,
}

fn check_key(row: &ApiKeyRow, hash: &Hash, now: Timestamp) -> Result<(), ProofError> {
    let is_previous = row.previous_hash.as_deref().is_some_and(|previous| hash.is(previous));
    if !hash.is(&row.key_hash) && !is_previous {
        return Err(ProofError::Unauthenticated);
    }
    if row.key.revoked_at.is_some() {
        return Err(ProofError::KeyRevoked);
    }
    let ended = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
    if ended(row.key.expires_at) || (is_previous && ended(row.previous_until)) {
        return Err(ProofError::KeyExpired);
    }
    Ok(())
}
