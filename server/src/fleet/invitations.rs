//! Invitations: who gets one may join the organization with the role that it names.

use std::{collections::BTreeSet, net::IpAddr};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;
use wire::{
    InvitationId, Permission, RoleName, UserId,
    api::{AcceptInvitation, ApiKey, CreatedInvitation, Hidden, Invitation, NewInvitation},
};

use super::{
    Access, Actor, Fleet, StoreError,
    actor::in_person,
    audit::{Event, EventKind},
    errors::{AccountError, FieldErrors, ManageError},
    identity::{is_folded, tidy_email},
    mail::MailKind,
    page::{Listed, Page},
    password_rules::check_password,
    roles::known_role,
    secrets,
    store::{AccountRow, Credential, CredentialKind, Hash, NewUserRow, OrgStore},
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
        self.put_invitation(actor, email, new.role).await
    }

    /// The same for an address as it is compared, once it is clear that `actor` may.
    pub(super) async fn put_invitation(
        &self,
        actor: &Actor,
        email: String,
        role: RoleName,
    ) -> Result<CreatedInvitation, ManageError> {
        let now = self.now();
        let invitation = Invitation {
            id: InvitationId(Uuid::now_v7()),
            email,
            role,
            invited_by: actor.user_id,
            created_at: now,
            expires_at: now + LIFETIME,
        };
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        actor.require_all(&known_role(&mut org, &invitation.role).await?)?;
        if org.user_by_email(&invitation.email).await?.is_some() {
            return Err(ManageError::Duplicate("a user with this e-mail address"));
        }
        if let Some(before) = org.invitation_of(&invitation.email).await? {
            self.require_taking_back(&mut org, actor, &before).await?;
            org.remove_invitation(before.id).await?;
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

    /// Passes if `actor` may take back what somebody else may have offered.
    async fn require_taking_back(
        &self,
        org: &mut OrgStore,
        actor: &Actor,
        invitation: &Invitation,
    ) -> Result<(), ManageError> {
        let offered = org.role_permissions(&invitation.role).await?.unwrap_or_default();
        Ok(actor.require_all(&offered)?)
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
        let invitation = org.invitation(&id.to_string()).await?;
        let invitation = invitation.ok_or(ManageError::Unknown("invitation"))?;
        self.require_taking_back(&mut org, actor, &invitation).await?;
        if !org.remove_invitation(id).await? {
            return Err(ManageError::Unknown("invitation"));
        }
        let deed = (EventKind::InvitationWithdrawn, format!("invitation {id}"));
        self.record_deed(&mut org, actor, deed, Value::Null);
        org.commit().await?;
        Ok(())
    }

    /// Joins the organization that the token's invitation is for. Who has an account there is none of
    /// `actor`'s gives its password, and keeps it and the name; who has none gives both anew.
    pub async fn accept_invitation(
        &self,
        actor: Option<&Actor>,
        request: AcceptInvitation,
        address: IpAddr,
    ) -> Result<(), AccountError> {
        let hash = Hash::of(&request.token.0);
        let found = self.0.store.credential(CredentialKind::Invitation, &hash).await?;
        let credential = found.ok_or(AccountError::WrongToken)?;
        let org_id = credential.org_id;
        let (invitation, organization) = self.open_invitation(&credential).await?;
        let joiner = match self.0.store.account_of(&invitation.email).await? {
            Some(account) => {
                // Whoever has just made it with this token has used that up: no guess is counted.
                self.open_invitation(&credential).await?;
                let names = (account.email.as_str(), organization.as_str());
                let as_new = self.check_new_account(&request, names).await;
                self.prove_own(&account, actor, (request.password, address), as_new).await?;
                Joiner::Known(account)
            }
            None => {
                let names = (invitation.email.as_str(), organization.as_str());
                let NewAccount { name, password } = self.check_new_account(&request, names).await?;
                Joiner::New { name, password_hash: self.0.passwords.hash(password).await? }
            }
        };
        let mut org = self.0.store.org(org_id, Access::Write).await?;
        let user_id = self.join(&mut org, &invitation, joiner).await?;
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

    /// The invitation, if it can be accepted, and the name of its organization.
    async fn open_invitation(
        &self,
        credential: &Credential,
    ) -> Result<(Invitation, String), AccountError> {
        let mut org = self.0.store.org(credential.org_id, Access::Read).await?;
        let invitation = org.invitation(&credential.subject_id).await?;
        let invitation = invitation.ok_or(AccountError::WrongToken)?;
        let organization = org.organization_name().await?;
        let stands = self.still_stands(&mut org, &invitation).await?;
        org.commit().await?;
        if stands { Ok((invitation, organization)) } else { Err(AccountError::WrongToken) }
    }

    /// Whether an invitation can be accepted: in time, and whoever sent it could send it today.
    async fn still_stands(
        &self,
        org: &mut OrgStore,
        invitation: &Invitation,
    ) -> Result<bool, StoreError> {
        let now = self.now();
        let offered = org.role_permissions(&invitation.role).await?;
        let sender = invitation.invited_by;
        let rights = match org.user(sender).await?.filter(|sender| sender.disabled_at.is_none()) {
            Some(sender) => org.role_permissions(&sender.role).await?.unwrap_or_default(),
            // A service's key invites as itself.
            None => match org.api_key(&sender.to_string()).await? {
                Some(row) if is_good(&row.key, now) => row.key.scopes.into_iter().collect(),
                _ => BTreeSet::new(),
            },
        };
        let may_invite = [Permission::UsersInvite, Permission::UsersWrite];
        let still_may = may_invite.iter().any(|permission| rights.contains(permission));
        let within = offered.is_some_and(|offered| offered.is_subset(&rights));
        // One from before addresses were compared as they are today is sent again.
        let in_time = invitation.expires_at > now && is_folded(&invitation.email);
        Ok(in_time && still_may && within)
    }

    /// Passes if the account is that of `actor`, or the password is its password, and, where the
    /// server sends mail, one was answered: whoever made the account may know that password. What
    /// would be wrong with a new account is told before that the password is: without mail, whoever
    /// invites has the token, and is not to learn who has an account.
    async fn prove_own(
        &self,
        account: &AccountRow,
        actor: Option<&Actor>,
        (password, address): (Option<Hidden>, IpAddr),
        as_new: Result<NewAccount, AccountError>,
    ) -> Result<(), AccountError> {
        let session = actor.and_then(|actor| in_person(actor).ok().map(|_| actor.user_id));
        if session != Some(account.user_id) {
            let Some(password) = password else {
                return Err(as_new.err().unwrap_or(AccountError::WrongPassword));
            };
            let taken = self.take_guess(&account.email, address).await?;
            let hash = Some(account.password_hash.clone());
            if !self.0.passwords.verify(password, hash).await? {
                return Err(as_new.err().unwrap_or(AccountError::WrongPassword));
            }
            self.give_back(taken).await?;
        }
        if self.has_mail() && account.email_verified_at.is_none() {
            return Err(AccountError::Unverified);
        }
        Ok(())
    }

    /// What is wrong with who accepts, if they have no account.
    async fn check_new_account(
        &self,
        request: &AcceptInvitation,
        (email, organization): (&str, &str),
    ) -> Result<NewAccount, AccountError> {
        let mut errors = FieldErrors::default();
        let (Some(name), Some(password)) = (request.name.clone(), request.password.clone()) else {
            let known = "if the address has an account, its password is wrong";
            let detail = format!("is needed for a new account; {known}");
            errors.refuse_if(request.name.is_none(), "/name", detail);
            errors.refuse_if(request.password.is_none(), "/password", "is needed, or a session");
            return Err(AccountError::Invalid(errors.into_result().err().unwrap_or_default()));
        };
        errors.check_name(&name, "/name");
        let names = [email, name.as_str(), organization];
        let rules = &self.0.config.auth.password;
        check_password(&mut errors, ("/password", &password.0), &names, rules);
        errors.into_result().map_err(AccountError::Invalid)?;
        self.refuse_breached(("/password", &password), AccountError::Invalid).await?;
        Ok(NewAccount { name, password })
    }

    /// Uses the invitation up. Who just lost the account to another password does not join.
    async fn join(
        &self,
        org: &mut OrgStore,
        invitation: &Invitation,
        joiner: Joiner,
    ) -> Result<UserId, AccountError> {
        let (now, email) = (self.now(), invitation.email.as_str());
        let gone = |error: StoreError| {
            if error.is_duplicate() { AccountError::WrongToken } else { error.into() }
        };
        if let Joiner::Known(account) = &joiner {
            org.lock_person(account.user_id).await?;
            let set_at = org.apart().password_changed_at(account.user_id).await?;
            if set_at != Some(account.password_changed_at) {
                return Err(AccountError::WrongPassword);
            }
        }
        if !org.remove_invitation(invitation.id).await? {
            return Err(AccountError::WrongToken);
        }
        match joiner {
            Joiner::Known(account) => {
                org.add_member(account.user_id, &invitation.role, now).await.map_err(gone)?;
                Ok(account.user_id)
            }
            Joiner::New { name, password_hash } => {
                let user_id = UserId(Uuid::now_v7());
                let email_verified_at = self.has_mail().then_some(now);
                let (name, password_hash) = (name.as_str(), password_hash.as_str());
                let user = NewUserRow { email, name, password_hash, email_verified_at };
                org.add_user(user_id, user, &invitation.role, now).await.map_err(gone)?;
                Ok(user_id)
            }
        }
    }
}

/// An account to be made.
struct NewAccount {
    name: String,
    password: Hidden,
}

/// Who accepts an invitation.
enum Joiner {
    Known(AccountRow),
    New { name: String, password_hash: String },
}

fn is_good(key: &ApiKey, now: Timestamp) -> bool {
    key.revoked_at.is_none() && key.expires_at.is_none_or(|end| end > now)
}
