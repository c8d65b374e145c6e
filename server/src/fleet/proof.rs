//! From a presented access token or API key to the [`Actor`] behind it.

use std::net::IpAddr;

use jiff::Timestamp;
use wire::Permission;

use super::{
    Access, Fleet, StoreError,
    actor::{Actor, Proof},
    secrets,
    store::{ApiKeyRow, Credential, CredentialKind, Hash},
};

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
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether `token` is to be taken for an API key. No access token begins so.
#[must_use]
pub fn looks_like_api_key(token: &str) -> bool {
    token.starts_with("fleetd_")
}

impl Fleet {
    /// Finds out who presents `token`, and what they may do at this moment.
    pub async fn authenticate(&self, token: &str, address: IpAddr) -> Result<Actor, ProofError> {
        if looks_like_api_key(token) {
            if !secrets::is_api_key(token) {
                return Err(ProofError::Unauthenticated);
            }
            return self.authenticate_api_key(&Hash::of(token), address).await;
        }
        self.authenticate_access_token(&Hash::of(token), address).await
    }

    async fn authenticate_access_token(
        &self,
        hash: &Hash,
        address: IpAddr,
    ) -> Result<Actor, ProofError> {
        let now = self.now();
        let found = self.0.store.credential(CredentialKind::AccessToken, hash).await?;
        let Credential { org_id, subject_id } = found.ok_or(ProofError::Unauthenticated)?;
        let mut org = self.0.store.org(org_id, Access::Read).await?;
        let session = org.session(&subject_id, now).await?.ok_or(ProofError::Unauthenticated)?;
        if !hash.is(&session.access_hash) || session.access_expires_at <= now {
            return Err(ProofError::Unauthenticated);
        }
        let user = org.user(session.user_id).await?.ok_or(ProofError::Unauthenticated)?;
        org.commit().await?;
        Ok(Actor {
            org_id,
            user_id: user.id,
            role: user.role,
            permissions: user.role.permissions().collect(),
            proof: Proof::Session { id: session.id },
            address,
        })
    }

    async fn authenticate_api_key(
        &self,
        hash: &Hash,
        address: IpAddr,
    ) -> Result<Actor, ProofError> {
        let now = self.now();
        let found = self.0.store.credential(CredentialKind::ApiKey, hash).await?;
        let Credential { org_id, subject_id } = found.ok_or(ProofError::Unauthenticated)?;
        let mut org = self.0.store.org(org_id, Access::Read).await?;
        let row = org.api_key(&subject_id).await?.ok_or(ProofError::Unauthenticated)?;
        check_key(&row, hash, now)?;
        let creator = org.user(row.key.created_by).await?.ok_or(ProofError::Unauthenticated)?;
        org.commit().await?;
        let actor = Actor {
            org_id,
            user_id: creator.id,
            role: creator.role,
            permissions: row
                .key
                .scopes
                .iter()
                .copied()
                .filter(|scope| creator.role.grants(*scope) && *scope != Permission::ApiKeysWrite)
                .collect(),
            proof: Proof::ApiKey { id: row.key.id },
            address,
        };
        self.note_key_use(&actor, &row, now).await?;
        Ok(actor)
    }

    /// Notes the use of a key, at most once a minute.
    async fn note_key_use(
        &self,
        actor: &Actor,
        row: &ApiKeyRow,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let noted = row.key.last_used_at.map_or(i64::MIN, Timestamp::as_millisecond);
        if noted > now.as_millisecond() - 60_000 {
            return Ok(());
        }
        let address = actor.address.to_string();
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        org.note_api_key_use(row.key.id, &address, now).await?;
        org.commit().await?;
        if row.key.last_used_ip.as_deref() != Some(&address) {
            actor.did("api_key.used_from_new_address", row.key.id);
        }
        Ok(())
    }
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
