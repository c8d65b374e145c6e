//! Enroll secrets: many at once, for the organization or a team.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;
use wire::{
    EnrollSecret, EnrollSecretId, Permission,
    api::{CreatedEnrollSecret, EnrollSecretInfo, NewEnrollSecret},
};

use super::{
    Access, Actor, Fleet,
    audit::EventKind,
    errors::{FieldErrors, ManageError, taken},
    identity::check_identifier,
    key_form::{self, KeyKind},
    page::{Listed, Page},
    store::{Hash, NewEnrollSecretRow},
};

/// The shortest secret that an administrator may choose, in bytes (128 bits).
const MIN_SECRET_LEN: usize = 16;

/// The most devices that one secret may name.
const MAX_HARDWARE_IDS: usize = 1_000;

impl Fleet {
    /// A page of the organization's enroll secrets, without their values.
    pub async fn enroll_secrets(
        &self,
        actor: &Actor,
        page: Page,
    ) -> Result<Listed<EnrollSecretInfo>, ManageError> {
        let within = actor.reach(Permission::EnrollSecretsRead)?.as_filter();
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let secrets = org.enroll_secrets(&within, &page.keyset()).await?;
        org.commit().await?;
        Ok(page.list(secrets, |secret| secret.id.to_string()))
    }

    pub async fn enroll_secret(
        &self,
        actor: &Actor,
        id: EnrollSecretId,
    ) -> Result<EnrollSecretInfo, ManageError> {
        let reach = actor.reach(Permission::EnrollSecretsRead)?;
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let secret = org.enroll_secret(&id.to_string()).await?;
        let secret = secret.filter(|secret| reach.covers(secret.team_id));
        org.commit().await?;
        secret.ok_or(ManageError::Unknown("enroll secret"))
    }

    /// Makes an enroll secret, of 154 random bits unless a value is given. The value is told here
    /// and never again: only its hash is kept.
    pub async fn add_enroll_secret(
        &self,
        actor: &Actor,
        new: NewEnrollSecret,
    ) -> Result<CreatedEnrollSecret, ManageError> {
        actor.require_in(Permission::EnrollSecretsWrite, new.team_id)?;
        let now = self.now();
        let hardware_ids = self.check_enroll_secret(&new)?;
        let id = EnrollSecretId(Uuid::now_v7());
        let row = NewEnrollSecretRow {
            id,
            name: &new.name,
            team_id: new.team_id,
            expires_at: new.expires_at,
            max_uses: new.max_uses,
            needs_approval: new.needs_approval,
            hardware_ids: &hardware_ids,
        };
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        let secret = match &new.secret {
            Some(secret) => secret.clone(),
            None => {
                let config = &self.0.config.api_keys;
                let environment = org.key_rules().await?.environment.unwrap_or(config.environment);
                let value = key_form::new_key(config, environment, KeyKind::Enroll);
                EnrollSecret::new(value.0.clone()).expect("a key is a secret")
            }
        };
        if let Some(team_id) = new.team_id {
            org.team(team_id).await?.ok_or(ManageError::Unknown("team"))?;
        }
        org.add_enroll_secret(&row, &Hash::of(secret.expose()), now)
            .await
            .map_err(taken("an enroll secret with this value"))?;
        let info = org
            .enroll_secret(&id.to_string())
            .await?
            .ok_or(ManageError::Unknown("enroll secret"))?;
        let deed = (EventKind::EnrollSecretCreated, format!("enroll secret {id}"));
        let changes = json!({
            "name": new.name, "team_id": new.team_id, "hardware_ids": hardware_ids.len(),
        });
        self.record_deed(&mut org, actor, deed, changes);
        org.commit().await?;
        Ok(CreatedEnrollSecret { info, secret })
    }

    /// The hardware ids as they are kept, if all is well.
    fn check_enroll_secret(&self, new: &NewEnrollSecret) -> Result<Vec<String>, ManageError> {
        let mut errors = FieldErrors::default();
        errors.check_name(&new.name, "/name");
        let too_short =
            new.secret.as_ref().is_some_and(|secret| secret.expose().len() < MIN_SECRET_LEN);
        errors.refuse_if(
            too_short,
            "/secret",
            format!("must have at least {MIN_SECRET_LEN} bytes"),
        );
        let past = new.expires_at.is_some_and(|end| end <= self.now());
        errors.refuse_if(past, "/expires_at", "must be in the future");
        errors.refuse_if(new.max_uses == Some(0), "/max_uses", "must be at least 1");
        let hardware_ids = tidy_hardware_ids(&mut errors, &new.hardware_ids);
        errors.into_result().map_err(ManageError::Invalid)?;
        Ok(hardware_ids)
    }

    /// Refuses an enroll secret from here on. Devices that enrolled by it stay.
    pub async fn revoke_enroll_secret(
        &self,
        actor: &Actor,
        id: EnrollSecretId,
    ) -> Result<(), ManageError> {
        let reach = actor.reach(Permission::EnrollSecretsWrite)?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        let secret = org.enroll_secret(&id.to_string()).await?;
        if !secret.is_some_and(|secret| reach.covers(secret.team_id)) {
            return Err(ManageError::Unknown("enroll secret"));
        }
        if !org.revoke_enroll_secret(id, self.now()).await? {
            return Err(ManageError::Unknown("enroll secret"));
        }
        let deed = (EventKind::EnrollSecretRevoked, format!("enroll secret {id}"));
        self.record_deed(&mut org, actor, deed, Value::Null);
        org.commit().await?;
        Ok(())
    }
}

/// Each once, as devices' own are compared with them.
fn tidy_hardware_ids(errors: &mut FieldErrors, given: &[String]) -> Vec<String> {
    errors.refuse_if(
        given.len() > MAX_HARDWARE_IDS,
        "/hardware_ids",
        format!("must be at most {MAX_HARDWARE_IDS}"),
    );
    let mut ids = BTreeSet::new();
    for (index, id) in given.iter().take(MAX_HARDWARE_IDS).enumerate() {
        let pointer = format!("/hardware_ids/{index}");
        let id = id.trim().to_lowercase();
        errors.refuse_if(id.is_empty(), &pointer, "must not be empty");
        check_identifier(errors, &id, &pointer);
        ids.insert(id);
    }
    ids.into_iter().collect()
}
