//! People of an organization.

use serde_json::json;
use uuid::Uuid;
use wire::{
    Permission, Role, UserId,
    api::{AddedUser, ChangeUser, NewUser, User},
};

use super::{
    Access, Actor, Fleet,
    actor::Forbidden,
    audit::EventKind,
    errors::{FieldErrors, ManageError, taken},
    identity::tidy_email,
    page::{Listed, Page},
    password_rules::check_password,
    roles::known_role,
    store::{NewUserRow, OrgStore, Whose},
};

impl Fleet {
    /// A page of the organization's people.
    pub async fn users(&self, actor: &Actor, page: Page) -> Result<Listed<User>, ManageError> {
        actor.require(Permission::UsersRead)?;
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let users = org.users(&page.keyset()).await?;
        org.commit().await?;
        Ok(page.list(users, |user| user.id.to_string()))
    }

    pub async fn user(&self, actor: &Actor, id: UserId) -> Result<User, ManageError> {
        actor.require(Permission::UsersRead)?;
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let user = org.user(id).await?;
        org.commit().await?;
        user.ok_or(ManageError::Unknown("user"))
    }

    /// Adds a person. Nobody grants a role above their own. On a server with several organizations
    /// they are invited: the answer does not tell whether the address has an account in another, and
    /// nobody else knows the password of one.
    pub async fn add_user(&self, actor: &Actor, new: NewUser) -> Result<AddedUser, ManageError> {
        actor.require(Permission::UsersWrite)?;
        actor.require_recent_login_of_people(&self.0.config.auth.session, self.now())?;
        let mut errors = FieldErrors::default();
        let email = tidy_email(&mut errors, &new.email);
        errors.check_name(&new.name, "/name");
        let names = [email.as_str(), &new.name];
        let password = ("/password", new.password.0.as_str());
        check_password(&mut errors, password, &names, &self.0.config.auth.password);
        errors.into_result().map_err(ManageError::Invalid)?;
        self.refuse_breached(("/password", &new.password), ManageError::Invalid).await?;
        if self.0.store.only_organization().await?.is_none() {
            return self.put_invitation(actor, email, new.role).await.map(AddedUser::Invited);
        }
        let password_hash = self.0.passwords.hash(new.password.clone()).await?;
        let id = UserId(Uuid::now_v7());
        let (name, password_hash) = (new.name.as_str(), password_hash.as_str());
        let row = NewUserRow { email: &email, name, password_hash, email_verified_at: None };
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        actor.require_all(&known_role(&mut org, &new.role).await?)?;
        org.add_user(id, row, &new.role, self.now())
            .await
            .map_err(taken("a user with this e-mail address"))?;
        let user = org.user(id).await?.ok_or(ManageError::Unknown("user"))?;
        let deed = (EventKind::UserCreated, format!("user {id}"));
        self.record_deed(&mut org, actor, deed, json!({"role": new.role}));
        org.commit().await?;
        Ok(AddedUser::Added(user))
    }

    /// Gives a person another role, shuts them out, or lets them in again.
    pub async fn change_user(
        &self,
        actor: &Actor,
        id: UserId,
        change: ChangeUser,
    ) -> Result<User, ManageError> {
        actor.require(Permission::UsersWrite)?;
        actor.require_recent_login_of_people(&self.0.config.auth.session, self.now())?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        let before = self.within_reach(&mut org, actor, id).await?;
        org.lock_person(id).await?;
        let role = change.role.unwrap_or_else(|| before.role.clone());
        let disabled = change.disabled.unwrap_or(before.disabled_at.is_some());
        actor.require_all(&known_role(&mut org, &role).await?)?;
        let stays_owner = role == Role::Owner && !disabled;
        self.keep_an_owner(&mut org, &before, stays_owner).await?;
        let now = self.now();
        if role != before.role {
            org.set_role(id, &role).await?;
            let deed = (EventKind::UserRoleChanged, format!("user {id}"));
            let changes = json!({"before": before.role, "after": role});
            self.record_deed(&mut org, actor, deed, changes);
        }
        if disabled != before.disabled_at.is_some() {
            org.set_disabled(id, disabled.then_some(now)).await?;
            let name = if disabled { EventKind::UserDisabled } else { EventKind::UserEnabled };
            if disabled {
                org.end_sessions(Whose::Person(id), now).await?;
            }
            self.record_deed(&mut org, actor, (name, format!("user {id}")), json!(null));
        }
        let after = org.user(id).await?.ok_or(ManageError::Unknown("user"))?;
        org.commit().await?;
        Ok(after)
    }

    /// Takes a person out of the organization: their sessions end and their API keys are revoked.
    pub async fn remove_user(&self, actor: &Actor, id: UserId) -> Result<(), ManageError> {
        actor.require(Permission::UsersWrite)?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        let user = self.within_reach(&mut org, actor, id).await?;
        self.keep_an_owner(&mut org, &user, false).await?;
        org.remove_user(id, self.now()).await?;
        let deed = (EventKind::UserDeleted, format!("user {id}"));
        self.record_deed(&mut org, actor, deed, json!({"role": user.role}));
        org.commit().await?;
        Ok(())
    }

    /// The person, if `actor` may do all that they may do.
    pub(super) async fn within_reach(
        &self,
        org: &mut OrgStore,
        actor: &Actor,
        id: UserId,
    ) -> Result<User, ManageError> {
        org.lock("owners").await?;
        let user = org.user(id).await?.ok_or(ManageError::Unknown("user"))?;
        let theirs = org.role_permissions(&user.role).await?.unwrap_or_default();
        actor.require_all(&theirs).map_err(|_| Forbidden::AboveOwnRole)?;
        Ok(user)
    }

    /// Refuses to change the last owner who may sign in, unless they stay one.
    async fn keep_an_owner(
        &self,
        org: &mut OrgStore,
        user: &User,
        stays_owner: bool,
    ) -> Result<(), ManageError> {
        let is_owner = user.role == Role::Owner && user.disabled_at.is_none();
        if is_owner && !stays_owner && org.count_owners().await? <= 1 {
            return Err(ManageError::LastOwner);
        }
        Ok(())
    }
}
