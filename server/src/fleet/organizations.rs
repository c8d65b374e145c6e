//! Organizations: the tenants.

use serde_json::json;
use uuid::Uuid;
use wire::{
    OrgId, Permission, Role, RoleName, UserId,
    api::{Billing, ChangeOrganization, Membership, NewUser, Organization, SwitchOrganization},
};

use super::{
    Access, Actor, Fleet,
    actor::Proof,
    audit::EventKind,
    errors::{FieldErrors, ManageError, SignInError},
    identity::tidy_email,
    networks::Networks,
    password_rules::check_password,
    sessions::{Beginning, Caller, Tokens},
    store::{KeyRules, NewUserRow},
};

/// In seconds; the longest that an organization's keys may be bounded to.
const TEN_YEARS: u64 = 3650 * 24 * 60 * 60;

impl Fleet {
    /// The organizations that the person who asks belongs to, longest first. An API key is for one.
    pub async fn memberships(&self, actor: &Actor) -> Result<Vec<Membership>, ManageError> {
        let orgs = match actor.proof {
            Proof::Session(_) => self.0.store.organizations_of(actor.user_id).await?,
            Proof::ApiKey { .. } => vec![actor.org_id],
        };
        let mut found = Vec::new();
        for org_id in orgs {
            let mut org = self.0.store.org(org_id, Access::Read).await?;
            let (user, organization) =
                (org.user(actor.user_id).await?, org.organization_name().await?);
            org.commit().await?;
            let role = user.map_or_else(service_role, |user| user.role);
            found.push(Membership { org_id, organization, role, current: org_id == actor.org_id });
        }
        Ok(found)
    }

    /// Ends the session, and begins one in another organization of the same person, which lasts as
    /// long as the one before would have: nobody proved anything anew.
    pub async fn switch_organization(
        &self,
        actor: &Actor,
        SwitchOrganization { org_id }: SwitchOrganization,
        caller: Caller<'_>,
    ) -> Result<Tokens, SignInError> {
        let Proof::Session(session) = &actor.proof else {
            return Err(SignInError::PeopleOnly);
        };
        if org_id == actor.org_id {
            return Err(SignInError::SameOrganization);
        }
        if !self.0.store.organizations_of(actor.user_id).await?.contains(&org_id) {
            return Err(SignInError::NotAMember);
        }
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        org.lock_person(actor.user_id).await?;
        let session = org.session(&session.id).await?.ok_or(SignInError::SessionExpired)?;
        org.end_session(&session.id, self.now()).await?;
        let deed = (EventKind::SessionEnded, format!("session {}", session.id));
        self.record_deed(&mut org, actor, deed, json!({"switched_to": org_id}));
        let mut org = org.leave().within(org_id).await?;
        let deed = (EventKind::SessionSwitched, format!("user {}", actor.user_id));
        self.record_deed(&mut org, actor, deed, json!({"from": actor.org_id}));
        let beginning = Beginning {
            org_id,
            user_id: actor.user_id,
            client: session.client,
            authenticated_at: session.authenticated_at,
            address: session.address,
            methods: session.methods,
            expires_at: session.expires_at,
            password_changed_at: None,
        };
        self.begin_session(org, beginning, caller).await
    }

    /// The organization that `actor` is signed in to. Whoever belongs to it may know its name.
    pub async fn organization(&self, actor: &Actor) -> Result<Organization, ManageError> {
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let organization = org.organization(self.0.config.api_keys.environment).await?;
        org.commit().await?;
        Ok(organization)
    }

    /// Renames the organization, or says which networks its people and keys may ask from, what its API keys
    /// are for, and how long they may last. Nobody shuts themselves out.
    pub async fn change_organization(
        &self,
        actor: &Actor,
        change: ChangeOrganization,
    ) -> Result<Organization, ManageError> {
        actor.require(Permission::OrganizationWrite)?;
        let mut errors = FieldErrors::default();
        if let Some(name) = &change.name {
            errors.check_name(name, "/name");
        }
        let networks = change.allowed_networks.map(|networks| Networks::read(&networks));
        match &networks {
            Some(Err(detail)) => errors.refuse_if(true, "/allowed_networks", detail),
            Some(Ok(networks)) if !networks.admit(actor.address) => {
                let detail = format!("must have the one that you ask from, {}", actor.address);
                errors.refuse_if(true, "/allowed_networks", detail);
            }
            Some(Ok(_)) | None => {}
        }
        let too_long = change.key_max_ttl_seconds.is_some_and(|seconds| seconds > TEN_YEARS);
        errors.refuse_if(too_long, "/key_max_ttl_seconds", "must be at most ten years");
        errors.into_result().map_err(ManageError::Invalid)?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        let before = org.organization(self.0.config.api_keys.environment).await?;
        if let Some(name) = &change.name {
            org.rename_organization(name).await?;
            let deed = (EventKind::OrganizationRenamed, format!("organization {}", actor.org_id));
            self.record_deed(&mut org, actor, deed, json!({"before": before.name, "after": name}));
        }
        if let Some(Ok(networks)) = networks {
            org.set_allowed_networks(&networks).await?;
            let deed =
                (EventKind::OrganizationNetworksChanged, format!("organization {}", actor.org_id));
            let changes = json!({"before": before.allowed_networks, "after": networks.to_list()});
            self.record_deed(&mut org, actor, deed, changes);
        }
        if change.key_environment.is_some() || change.key_max_ttl_seconds.is_some() {
            let rules = org.key_rules().await?;
            let longest = change.key_max_ttl_seconds.or(rules.max_ttl_seconds);
            org.set_key_rules(KeyRules {
                environment: change.key_environment.or(rules.environment),
                max_ttl_seconds: longest.filter(|seconds| *seconds > 0),
            })
            .await?;
        }
        let after = org.organization(self.0.config.api_keys.environment).await?;
        let rules = |of: &Organization| json!({"environment": of.key_environment, "max_ttl_seconds": of.key_max_ttl_seconds});
        if rules(&before) != rules(&after) {
            let deed =
                (EventKind::OrganizationKeyRulesChanged, format!("organization {}", actor.org_id));
            let changes = json!({"before": rules(&before), "after": rules(&after)});
            self.record_deed(&mut org, actor, deed, changes);
        }
        org.commit().await?;
        Ok(after)
    }

    /// Deletes the organization with all that is in it, and the people who are in no other. The
    /// audit trail stays, and ends with this.
    pub async fn delete_organization(&self, actor: &Actor) -> Result<(), ManageError> {
        actor.require_in_person(Permission::OrganizationWrite)?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        org.lock("owners").await?;
        let name = org.organization(self.0.config.api_keys.environment).await?.name;
        org.remove_organization(self.now()).await?;
        let deed = (EventKind::OrganizationDeleted, format!("organization {}", actor.org_id));
        self.record_deed(&mut org, actor, deed, json!({"name": name}));
        org.commit().await?;
        Ok(())
    }

    /// What the organization uses. Nobody is billed for it.
    pub async fn billing(&self, actor: &Actor) -> Result<Billing, ManageError> {
        actor.require(Permission::BillingRead)?;
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let (devices, users) = org.usage().await?;
        org.commit().await?;
        Ok(Billing { plan: "self-hosted".to_owned(), devices, users })
    }

    /// Makes another organization and its first person, who is its owner whatever `owner` says.
    /// For the operator of the server: no route leads here.
    pub async fn found_organization(
        &self,
        name: &str,
        owner: NewUser,
    ) -> Result<(OrgId, UserId), ManageError> {
        let mut errors = FieldErrors::default();
        errors.check_name(name, "/organization");
        errors.check_name(&owner.name, "/name");
        let email = tidy_email(&mut errors, &owner.email);
        let names = [email.as_str(), &owner.name, name];
        let password = ("/password", owner.password.0.as_str());
        check_password(&mut errors, password, &names, &self.0.config.auth.password);
        errors.into_result().map_err(ManageError::Invalid)?;
        self.refuse_breached(("/password", &owner.password), ManageError::Invalid).await?;
        let password_hash = self.0.passwords.hash(owner.password.clone()).await?;
        let (org_id, user_id) = (OrgId(Uuid::now_v7()), UserId(Uuid::now_v7()));
        let (email, owner_name) = (email.as_str(), owner.name.as_str());
        let password_hash = password_hash.as_str();
        let user = NewUserRow { email, name: owner_name, password_hash, email_verified_at: None };
        self.0.store.add_organization((org_id, name), (user_id, user), self.now()).await?;
        tracing::info!(org.id = %org_id, role = %Role::Owner, "founded organization `{name}`");
        Ok((org_id, user_id))
    }
}

/// What a service's key has for a role: it is no person's.
fn service_role() -> RoleName {
    "service".parse().expect("it is short and plain")
}
