//! API keys: what scripts present. A key may never do more than its creator, nor manage keys.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;
use wire::{
    ApiKeyId, Permission,
    api::{ApiKey, ApiKeyKind, CreatedApiKey, NewApiKey, RotateApiKey},
};

use super::{
    Access, Actor, Fleet,
    audit::EventKind,
    errors::{FieldErrors, ManageError},
    key_form::{self, KeyKind},
    page::{Listed, Page},
    store::{Hash, KeyRules, NewApiKeyRow},
};
use crate::config::Period;

/// The longest that an old value works beside a new one.
const MAX_OVERLAP: SignedDuration = SignedDuration::from_hours(24);

impl Fleet {
    /// A page of the organization's API keys, without their values.
    pub async fn api_keys(&self, actor: &Actor, page: Page) -> Result<Listed<ApiKey>, ManageError> {
        actor.require_in_person(Permission::ApiKeysRead)?;
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let keys = org.api_keys(&page.keyset()).await?;
        org.commit().await?;
        Ok(page.list(keys, |key| key.id.to_string()))
    }

    pub async fn api_key(&self, actor: &Actor, id: ApiKeyId) -> Result<ApiKey, ManageError> {
        actor.require_in_person(Permission::ApiKeysRead)?;
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let key = org.api_key(&id.to_string()).await?;
        org.commit().await?;
        key.map(|row| row.key).ok_or(ManageError::Unknown("API key"))
    }

    /// Makes an API key. Its value is told here and never again: only its hash is kept.
    pub async fn add_api_key(
        &self,
        actor: &Actor,
        new: NewApiKey,
    ) -> Result<CreatedApiKey, ManageError> {
        actor.require_in_person(Permission::ApiKeysWrite)?;
        let now = self.now();
        actor.require_recent_login(&self.0.config.auth.session, now)?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        let rules = org.key_rules().await?;
        let scopes = self.check_api_key(actor, (&new, rules), now)?;
        if new.if_absent {
            org.lock("api keys").await?;
            if let Some(api_key) = org.api_key_named(&new.name, now).await? {
                org.commit().await?;
                return Ok(CreatedApiKey { api_key, key: None });
            }
        }
        let kind = key_kind(new.kind);
        let config = &self.0.config.api_keys;
        let environment = rules.environment.unwrap_or(config.environment);
        let key = key_form::new_key(config, environment, kind);
        let id = ApiKeyId(Uuid::now_v7());
        let row = NewApiKeyRow {
            id,
            name: &new.name,
            kind: new.kind,
            prefix: &key_form::prefix(config, environment, kind),
            last4: last4(&key.0),
            scopes: &scopes,
            created_by: actor.user_id,
            expires_at: new.expires_at,
            requests_per_minute: new.requests_per_minute,
        };
        org.add_api_key(&row, &Hash::of(&key.0), now).await?;
        let made = org.api_key(&id.to_string()).await?.ok_or(ManageError::Unknown("API key"))?;
        let deed = (EventKind::ApiKeyCreated, format!("api key {id}"));
        let changes = json!({"name": new.name, "kind": new.kind, "scopes": scopes,
                             "requests_per_minute": new.requests_per_minute});
        self.record_deed(&mut org, actor, deed, changes);
        org.commit().await?;
        Ok(CreatedApiKey { api_key: made.key, key: Some(key) })
    }

    /// Gives a key a new value. Id, name and scopes stay; the old value works for as long as the
    /// request says, at most a day. Whoever rotates it learns the value, so they must be allowed
    /// whatever the key is.
    pub async fn rotate_api_key(
        &self,
        actor: &Actor,
        id: ApiKeyId,
        request: RotateApiKey,
    ) -> Result<CreatedApiKey, ManageError> {
        actor.require_in_person(Permission::ApiKeysWrite)?;
        actor.require_recent_login(&self.0.config.auth.session, self.now())?;
        let overlap = SignedDuration::from_secs(i64::from(request.overlap_seconds));
        let mut errors = FieldErrors::default();
        errors.refuse_if(overlap > MAX_OVERLAP, "/overlap_seconds", "must be at most 86400");
        errors.into_result().map_err(ManageError::Invalid)?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        let old = org.api_key(&id.to_string()).await?.ok_or(ManageError::Unknown("API key"))?;
        if old.key.revoked_at.is_some() {
            return Err(ManageError::KeyRevoked);
        }
        old.key.scopes.iter().try_for_each(|scope| actor.require(*scope))?;
        let (config, kind) = (&self.0.config.api_keys, key_kind(old.key.kind));
        let environment = org.key_rules().await?.environment.unwrap_or(config.environment);
        let key = key_form::new_key(config, environment, kind);
        let prefix = key_form::prefix(config, environment, kind);
        let new_value = (&Hash::of(&key.0), prefix.as_str(), last4(&key.0));
        if !org.rotate_api_key(&old, new_value, self.now() + overlap).await? {
            return Err(ManageError::KeyRotated);
        }
        let made = org.api_key(&id.to_string()).await?.ok_or(ManageError::Unknown("API key"))?;
        let deed = (EventKind::ApiKeyRotated, format!("api key {id}"));
        self.record_deed(&mut org, actor, deed, Value::Null);
        org.commit().await?;
        Ok(CreatedApiKey { api_key: made.key, key: Some(key) })
    }

    /// Refuses a key from here on.
    pub async fn revoke_api_key(&self, actor: &Actor, id: ApiKeyId) -> Result<(), ManageError> {
        actor.require_in_person(Permission::ApiKeysWrite)?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        org.api_key(&id.to_string()).await?.ok_or(ManageError::Unknown("API key"))?;
        org.revoke_api_key(id, self.now()).await?;
        let deed = (EventKind::ApiKeyRevoked, format!("api key {id}"));
        self.record_deed(&mut org, actor, deed, Value::Null);
        org.commit().await?;
        Ok(())
    }

    /// The scopes to keep: sorted, each once, none beyond what the creator may do. A service's key
    /// outlives its creator's roles in teams, so it takes none from them.
    fn check_api_key(
        &self,
        actor: &Actor,
        (new, rules): (&NewApiKey, KeyRules),
        now: Timestamp,
    ) -> Result<Vec<Permission>, ManageError> {
        let mut errors = FieldErrors::default();
        errors.check_name(&new.name, "/name");
        errors.refuse_if(new.scopes.is_empty(), "/scopes", "must name at least one permission");
        errors.refuse_if(
            new.scopes.contains(&Permission::ApiKeysWrite),
            "/scopes",
            "an API key cannot manage API keys",
        );
        let most = self.0.config.api_keys.max_requests_per_minute;
        let too_many = new.requests_per_minute.is_some_and(|it| !(1..=most).contains(&it));
        errors.refuse_if(too_many, "/requests_per_minute", format!("must be 1 to {most}"));
        let past = new.expires_at.is_some_and(|end| end <= now);
        errors.refuse_if(past, "/expires_at", "must be in the future");
        let of_server = self.0.config.api_keys.max_ttl.0;
        let of_organization = rules.max_ttl_seconds.map(Period::seconds);
        if let Some(longest) = of_server.into_iter().chain(of_organization).min() {
            let late = new.expires_at.is_none_or(|end| end > now + longest.as_signed());
            errors.refuse_if(late, "/expires_at", format!("must be within {longest}"));
        }
        errors.into_result().map_err(ManageError::Invalid)?;
        let scopes: BTreeSet<_> = new.scopes.iter().copied().collect();
        let allowed = |scope: &Permission| match new.kind {
            ApiKeyKind::Service => actor.require(*scope).is_ok(),
            ApiKeyKind::Person => actor.reach(*scope).is_ok(),
        };
        match scopes.iter().find(|scope| !allowed(scope)) {
            Some(scope) => Err(ManageError::ScopeTooWide(*scope)),
            None => Ok(scopes.into_iter().collect()),
        }
    }
}

fn key_kind(kind: ApiKeyKind) -> KeyKind {
    match kind {
        ApiKeyKind::Person => KeyKind::Person,
        ApiKeyKind::Service => KeyKind::Service,
    }
}

fn last4(key: &str) -> &str {
    &key[key.len() - 4..]
}
