//! Invitations: who gets one may join the organization with the role that it names.

use std::net::IpAddr;

use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;
use wire::{
    InvitationId, Permission, RoleName, UserId,
    api::{AcceptInvitation, CreatedInvitation, Hidden, Invitation, NewInvitation},
};

use super::{
    Access, Actor, Fleet,
    audit::{Event, EventKind},
    errors::{AccountError, FieldErrors, ManageError},
    identity::tidy_email,
    mail::MailKind,
    page::{Listed, Page},
    password_rules::check_password,
    roles::known_role,
    secrets,
    store::{Credential, CredentialKind, Hash, NewUserRow, OrgStore},
};

/// How long an invitation can be accepted.
const LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Fleet {
    /// A page of the invitations that nobody has accepted.
    pub async fn invitations(
        &self,
        actor: &Actor,
        page: Page,
    ) -> Result<Listed<Invitation>, ManageError> {
        actor.require(Permission::UsersRead)?;
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let invitations = org.invitations(&page.keyset()).await?;
        org.commit().await?;
        Ok(page.list(invitations, |invitation| invitation.id.to_string()))
    }

    /// Invites the owner of an address. With mail configured they get the token by mail; without,
    /// whoever invites gets it, to pass on. An earlier invitation of the address ends.
    pub async fn invite(
        &self,
        actor: &Actor,
        new: NewInvitation,
    ) -> Result<CreatedInvitation, ManageError> {
        actor.require(Permission::UsersInvite)?;
        actor.require_recent_login_of_people(&self.0.config.auth.session, self.now())?;
        let mut errors = FieldErrors::default();
        let email = tidy_email(&mut errors, &new.email);
        errors.into_result().map_err(ManageError::Invalid)?;
        let now = self.now();
        let invitation = Invitation {
            id: InvitationId(Uuid::now_v7()),
            email,
            role: new.role,
            invited_by: actor.user_id,
            created_at: now,
            expires_at: now + LIFETIME,
        };
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        actor.require_all(&known_role(&mut org, &invitation.role).await?)?;
        if org.user_by_email(&invitation.email).await?.is_some() {
            return Err(ManageError::Duplicate("a user with this e-mail address"));
        }
        org.put_invitation(&invitation).await?;
        let token = self.deliver_invitation(&mut org, actor, &invitation).await?;
        let deed = (EventKind::UserInvited, format!("invitation {}", invitation.id));
        let changes = json!({"email": invitation.email, "role": invitation.role});
        self.record_deed(&mut org, actor, deed, changes);
        org.commit().await?;
        self.0.mail_queued.notify();
        Ok(CreatedInvitation { invitation, token })
    }

    async fn deliver_invitation(
        &self,
        org: &mut OrgStore,
        actor: &Actor,
        invitation: &Invitation,
    ) -> Result<Option<Hidden>, ManageError> {
        if self.has_mail() {
            let data = json!({"org_id": actor.org_id, "invitation_id": invitation.id});
            let to = (MailKind::Invitation, invitation.email.as_str());
            self.queue_mail(org.apart(), to, data).await?;
            return Ok(None);
        }
        let token = Hidden(secrets::new_token());
        org.put_invitation_token(invitation.id, &Hash::of(&token.0)).await?;
        Ok(Some(token))
    }

    /// Takes an invitation back.
    pub async fn withdraw_invitation(
        &self,
        actor: &Actor,
        id: InvitationId,
    ) -> Result<(), ManageError> {
        actor.require(Permission::UsersInvite)?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        if !org.remove_invitation(id).await? {
            return Err(ManageError::Unknown("invitation"));
        }
        let deed = (EventKind::InvitationWithdrawn, format!("invitation {id}"));
        self.record_deed(&mut org, actor, deed, Value::Null);
        org.commit().await?;
        Ok(())
    }

    /// Joins the organization that the token's invitation is for. Who has an account keeps its name
    /// and password; else both are to be given.
    pub async fn accept_invitation(
        &self,
        request: AcceptInvitation,
        address: IpAddr,
    ) -> Result<(), AccountError> {
        let hash = Hash::of(&request.token.0);
        let found = self.0.store.credential(CredentialKind::Invitation, &hash).await?;
        let Credential { org_id, subject_id } = found.ok_or(AccountError::WrongToken)?;
        let mut org = self.0.store.org(org_id, Access::Read).await?;
        let invitation = org.invitation(&subject_id).await?.ok_or(AccountError::WrongToken)?;
        let organization = org.organization_name().await?;
        org.commit().await?;
        if invitation.expires_at <= self.now() {
            return Err(AccountError::WrongToken);
        }
        let account = self.0.store.account_of(&invitation.email).await?;
        let fresh = match &account {
            Some(_) => None,
            None => Some(self.new_account(&request, (&invitation.email, &organization)).await?),
        };
        let user_id = account.map_or_else(|| UserId(Uuid::now_v7()), |account| account.user_id);
        let mut org = self.0.store.org(org_id, Access::Write).await?;
        if !org.remove_invitation(invitation.id).await? {
            return Err(AccountError::WrongToken);
        }
        self.join(&mut org, (user_id, &invitation), fresh).await?;
        let event = Event {
            name: EventKind::InvitationAccepted,
            actor: &format!("user {user_id}"),
            subject: &format!("invitation {}", invitation.id),
            address,
            outcome: "ok",
            changes: json!({"role": invitation.role}),
        };
        self.record_in(&mut org, &event);
        org.commit().await?;
        Ok(())
    }

    /// Name and password hash of an account to be made.
    async fn new_account(
        &self,
        request: &AcceptInvitation,
        (email, organization): (&str, &str),
    ) -> Result<(String, String), AccountError> {
        let mut errors = FieldErrors::default();
        let (name, password) = (request.name.clone(), request.password.clone());
        let (name, password) = match (name, password) {
            (Some(name), Some(password)) => (name, password),
            (name, password) => {
                errors.refuse_if(name.is_none(), "/name", "is needed for a new account");
                errors.refuse_if(password.is_none(), "/password", "is needed for a new account");
                errors.into_result().map_err(AccountError::Invalid)?;
                return Err(AccountError::WrongToken);
            }
        };
        errors.check_name(&name, "/name");
        let names = [email, name.as_str(), organization];
        let rules = &self.0.config.auth.password;
        check_password(&mut errors, ("/password", &password.0), &names, rules);
        errors.into_result().map_err(AccountError::Invalid)?;
        let hash = self.0.passwords.hash(password).await?;
        Ok((name, hash))
    }

    async fn join(
        &self,
        org: &mut OrgStore,
        (user_id, invitation): (UserId, &Invitation),
        fresh: Option<(String, String)>,
    ) -> Result<(), AccountError> {
        let now = self.now();
        // A role that was deleted since makes nobody more than a viewer.
        let role = match org.role_permissions(&invitation.role).await? {
            Some(_) => invitation.role.clone(),
            None => RoleName::from(wire::Role::Viewer),
        };
        let gone = |error: super::StoreError| {
            if error.is_duplicate() { AccountError::WrongToken } else { error.into() }
        };
        match fresh {
            Some((name, hash)) => {
                let user =
                    NewUserRow { email: &invitation.email, name: &name, password_hash: &hash };
                org.add_user(user_id, user, &role, now).await.map_err(gone)
            }
            None => org.add_member(user_id, &role, now).await.map_err(gone),
        }
    }
}
