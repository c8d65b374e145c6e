//! Organizations: the tenants.

use uuid::Uuid;
use wire::{OrgId, Role, UserId, api::NewUser};

use super::{
    Fleet,
    errors::{FieldErrors, ManageError},
    identity::tidy_email,
    passwords::check_password,
    store::NewUserRow,
};

impl Fleet {
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
        check_password(&mut errors, &owner.password.0, &self.0.config.auth.password);
        errors.into_result().map_err(ManageError::Invalid)?;
        let password_hash = self.0.passwords.hash(owner.password.clone()).await?;
        let (org_id, user_id) = (OrgId(Uuid::now_v7()), UserId(Uuid::now_v7()));
        let user = NewUserRow { email: &email, name: &owner.name, password_hash: &password_hash };
        self.0.store.add_organization((org_id, name), (user_id, user), self.now()).await?;
        tracing::info!(org.id = %org_id, role = %Role::Owner, "founded organization `{name}`");
        Ok((org_id, user_id))
    }
}
