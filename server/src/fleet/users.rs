//! People of an organization.

use uuid::Uuid;
use wire::{
    Permission, Role, UserId,
    api::{NewUser, User},
};

use super::{
    Access, Actor, Fleet,
    errors::{FieldErrors, ManageError, taken},
    identity::tidy_email,
    page::{Listed, Page},
    passwords::check_password,
    store::NewUserRow,
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

    /// Adds a person. Nobody grants a role above their own.
    pub async fn add_user(&self, actor: &Actor, new: NewUser) -> Result<User, ManageError> {
        actor.require(Permission::UsersWrite)?;
        actor.require_reach(new.role)?;
        let mut errors = FieldErrors::default();
        let email = tidy_email(&mut errors, &new.email);
        errors.check_name(&new.name, "/name");
        check_password(&mut errors, &new.password.0, &self.0.config.auth.password);
        errors.into_result().map_err(ManageError::Invalid)?;
        let password_hash = self.0.passwords.hash(new.password.clone()).await?;
        let id = UserId(Uuid::now_v7());
        let row = NewUserRow { email: &email, name: &new.name, password_hash: &password_hash };
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        org.add_user(id, row, new.role, self.now())
            .await
            .map_err(taken("a user with this e-mail address"))?;
        let user = org.user(id).await?.ok_or(ManageError::Unknown("user"))?;
        org.commit().await?;
        actor.did("user.created", format!("user {id} as {}", new.role));
        Ok(user)
    }

    /// Takes a person out of the organization: their sessions end and their API keys are revoked.
    pub async fn remove_user(&self, actor: &Actor, id: UserId) -> Result<(), ManageError> {
        actor.require(Permission::UsersWrite)?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        let owners = org.count_owners().await?;
        let user = org.user(id).await?.ok_or(ManageError::Unknown("user"))?;
        actor.require_reach(user.role)?;
        if user.role == Role::Owner && owners <= 1 {
            return Err(ManageError::LastOwner);
        }
        org.remove_user(id, self.now()).await?;
        org.commit().await?;
        actor.did("user.deleted", format!("user {id}"));
        Ok(())
    }
}
