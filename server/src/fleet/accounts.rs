//! People's own accounts: asking for one, showing that an address is one's own, passwords.
//!
//! Requests of strangers are answered alike and take as long whether an account exists or not:
//! whatever depends on it happens when the mail is written, see [`mail`](super::mail).

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;
use wire::{
    OrgId, Role, UserId,
    api::{ChangeEmail, ChangePassword, FieldError, Hidden, RegisterRequest, ResetPassword},
};

use super::{
    Access, Actor, Fleet, StoreError,
    actor::{Forbidden, Proof},
    audit::{Event, EventKind},
    errors::{AccountError, FieldErrors},
    identity::{is_folded, tidy_email},
    limiter::network_of,
    limits::LimitError,
    mail::MailKind,
    password_rules::check_password,
    secrets,
    store::{
        AccountRow, Hash, NewToken, NewUserRow, Redeemed, RegistrationRow, TokenKind, Tx, Whose,
    },
};

/// How long the token works that signing in with too old a password gives.
const CHANGE_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

impl Fleet {
    /// Notes that somebody wants an account and an organization of their own. Whether the address
    /// has one already is told by mail alone.
    pub async fn ask_for_account(
        &self,
        request: RegisterRequest,
        address: IpAddr,
    ) -> Result<(), AccountError> {
        let wanted = self.0.config.auth.registration && self.has_mail();
        // The first person of a server comes with the set-up code.
        if !wanted || !self.0.store.has_users().await? {
            return Err(AccountError::Off);
        }
        self.take(&[(Self::registration_policy(), network_of(address))]).await?;
        let email = self.check_registration(&request).map_err(AccountError::Invalid)?;
        self.refuse_breached(("/password", &request.password), AccountError::Invalid).await?;
        let registration = RegistrationRow {
            id: Uuid::now_v7().to_string(),
            password_hash: self.0.passwords.hash(request.password.clone()).await?,
            email,
            name: request.name.clone(),
            organization: request.organization.clone(),
        };
        if !self.may_mail(MailKind::Registration, &registration.email).await? {
            return Ok(());
        }
        let mut tx = self.0.store.apart().await?;
        tx.add_registration(&registration, self.now()).await?;
        let to = (MailKind::Registration, registration.email.as_str());
        self.queue_mail(&mut tx, to, json!({"registration_id": registration.id})).await?;
        tx.keep().await?;
        self.0.mail_queued.notify();
        self.record(None, &event(EventKind::AccountAskedFor, &registration.email, address)).await?;
        Ok(())
    }

    /// Sends the mail of [`Fleet::ask_for_account`] again, with a fresh token. When several asked with
    /// that address, nobody could tell whose account it would confirm: none is sent.
    pub async fn resend_verification(
        &self,
        email: &str,
        address: IpAddr,
    ) -> Result<(), AccountError> {
        self.mail_to_stranger((MailKind::Registration, email), address).await
    }

    /// Sends a token to set another password, if there is such an account. At most three an hour
    /// are sent for one address; who asks more often is told nothing else.
    pub async fn forgot_password(&self, email: &str, address: IpAddr) -> Result<(), AccountError> {
        self.mail_to_stranger((MailKind::ResetPassword, email), address).await
    }

    async fn mail_to_stranger(
        &self,
        (kind, email): (MailKind, &str),
        address: IpAddr,
    ) -> Result<(), AccountError> {
        let mut errors = FieldErrors::default();
        let email = tidy_email(&mut errors, email);
        errors.into_result().map_err(AccountError::Invalid)?;
        self.take(&[(Self::mail_network_policy(), network_of(address))]).await?;
        if !self.may_mail(kind, &email).await? {
            return Ok(());
        }
        let mut tx = self.0.store.apart().await?;
        self.queue_mail(&mut tx, (kind, &email), Value::Null).await?;
        tx.keep().await?;
        self.0.mail_queued.notify();
        self.record(None, &event(EventKind::AccountMailAskedFor, &email, address)).await?;
        Ok(())
    }

    /// Whether one more mail of that kind, which somebody unknown asks for, goes to that address.
    async fn may_mail(&self, kind: MailKind, email: &str) -> Result<bool, StoreError> {
        let key = format!("{} {email}", kind.as_str());
        match self.take(&[(Self::mail_policy(), key)]).await {
            Ok(_) => Ok(true),
            Err(LimitError::TooMany(_)) => Ok(false),
            Err(LimitError::Store(error)) => Err(error),
        }
    }

    /// Uses up a token that was mailed to an address: makes the account that was asked for, or
    /// gives one the address.
    pub async fn verify_email(&self, token: &str, address: IpAddr) -> Result<(), AccountError> {
        let (hash, now) = (Hash::of(token), self.now());
        let mut tx = self.0.store.apart().await?;
        if let Some(registration) = tx.redeem_registration(&hash, now).await? {
            return self.make_account(tx, registration, address).await;
        }
        drop(tx);
        let kinds = [TokenKind::ChangeEmail];
        let before = self.0.store.token_holder(&kinds, &hash, now).await?;
        let before = before.ok_or(AccountError::WrongToken)?;
        let orgs = self.0.store.organizations_of(before.user_id).await?;
        let mut tx = self.0.store.apart().await?;
        tx.lock_person(before.user_id).await?;
        let redeemed = tx.redeem_token(&kinds, &hash, now).await?;
        let redeemed = redeemed.filter(|redeemed| is_folded(&redeemed.email));
        let Redeemed { user_id, email, .. } = redeemed.ok_or(AccountError::WrongToken)?;
        tx.set_email(user_id, &email, now).await.map_err(taken_meanwhile)?;
        tx.forget_tokens(user_id, None).await?;
        self.queue_notice(&mut tx, (MailKind::EmailChanged, &before.email), address).await?;
        let changes = json!({"before": before.email, "after": email});
        let name = EventKind::AccountEmailChanged;
        self.record_everywhere(tx, (&orgs, user_id), (name, changes), address).await?;
        self.0.mail_queued.notify();
        Ok(())
    }

    /// The account and organization that somebody asked for, whose address it is.
    async fn make_account(
        &self,
        mut tx: Tx,
        registration: RegistrationRow,
        address: IpAddr,
    ) -> Result<(), AccountError> {
        // An older version has stored an address that would not be found: to be asked for again.
        if !is_folded(&registration.email) {
            return Err(AccountError::WrongToken);
        }
        tx.forget_registrations(&registration.email).await?;
        if !tx.has_users().await? {
            return Err(AccountError::Off);
        }
        let (org_id, user_id, now) = (OrgId(Uuid::now_v7()), UserId(Uuid::now_v7()), self.now());
        tx.add_organization_row((org_id, &registration.organization), now).await?;
        let mut org = tx.within(org_id).await?;
        let (email, name, password_hash) =
            (&*registration.email, &*registration.name, &*registration.password_hash);
        let user = NewUserRow { email, name, password_hash, email_verified_at: Some(now) };
        org.add_user(user_id, user, &Role::Owner.into(), now).await.map_err(taken_meanwhile)?;
        let actor = format!("user {user_id}");
        self.record_in(&mut org, &event(EventKind::AccountCreated, &actor, address));
        org.commit().await?;
        Ok(())
    }

    /// Sets another password with a token from a mail or from a refused sign-in. Every session of
    /// the person ends.
    pub async fn reset_password(
        &self,
        request: ResetPassword,
        address: IpAddr,
    ) -> Result<(), AccountError> {
        let hash = Hash::of(&request.token.0);
        let kinds = [TokenKind::ResetPassword, TokenKind::ChangePassword];
        let holder = self.0.store.token_holder(&kinds, &hash, self.now()).await?;
        let account = holder.ok_or(AccountError::WrongToken)?;
        let new = ("/new_password", request.new_password);
        let new_hash = self.acceptable_password(&account, new).await?;
        let orgs = self.0.store.organizations_of(account.user_id).await?;
        let mut tx = self.0.store.apart().await?;
        tx.lock_person(account.user_id).await?;
        let redeemed = tx.redeem_token(&kinds, &hash, self.now()).await?;
        let Redeemed { kind, user_id, email } = redeemed.ok_or(AccountError::WrongToken)?;
        if kind == TokenKind::ResetPassword && email == account.email {
            tx.set_email(user_id, &email, self.now()).await?;
        }
        tx.note_network(user_id, &network_of(address), self.now()).await?;
        let change = PasswordChange {
            name: EventKind::PasswordReset,
            account,
            hash: new_hash,
            orgs,
            kept: Kept::None,
        };
        self.change_password_of(tx, &change, address).await
    }

    /// Sets another password for the person who asks, who gives the present one.
    pub async fn change_password(
        &self,
        actor: &Actor,
        request: ChangePassword,
    ) -> Result<(), AccountError> {
        let Proof::Session(session) = &actor.proof else {
            return Err(Forbidden::PeopleOnly.into());
        };
        let account = self.prove_password(actor, request.current_password).await?;
        let new = ("/new_password", request.new_password);
        let new_hash = self.acceptable_password(&account, new).await?;
        let change = PasswordChange {
            name: EventKind::PasswordChanged,
            orgs: self.0.store.organizations_of(account.user_id).await?,
            account,
            hash: new_hash,
            kept: if request.end_other_sessions {
                Kept::One(session.id.clone())
            } else {
                Kept::All
            },
        };
        let tx = self.0.store.apart().await?;
        self.change_password_of(tx, &change, actor.address).await
    }

    /// Mails a token to the address that the person who asks wants to have. Until it is used, they
    /// keep the present one.
    pub async fn change_email(
        &self,
        actor: &Actor,
        request: ChangeEmail,
    ) -> Result<(), AccountError> {
        if !self.has_mail() {
            return Err(AccountError::Off);
        }
        let mut errors = FieldErrors::default();
        let email = tidy_email(&mut errors, &request.email);
        errors.into_result().map_err(AccountError::Invalid)?;
        self.prove_password(actor, request.current_password).await?;
        let mut tx = self.0.store.apart().await?;
        let data = json!({"user_id": actor.user_id});
        self.queue_mail(&mut tx, (MailKind::ChangeEmail, &email), data).await?;
        tx.keep().await?;
        self.0.mail_queued.notify();
        Ok(())
    }

    /// The account of a person who asks, from the network of their sign-in, and gives the password.
    /// Wrong guesses are limited.
    async fn prove_password(
        &self,
        actor: &Actor,
        password: Hidden,
    ) -> Result<AccountRow, AccountError> {
        actor.require_home(&self.0.config.auth.session)?;
        let key = format!("password of {}", actor.user_id);
        let taken = self.take(&[(self.login_policy(), key)]).await?;
        let account = self.0.store.account(actor.user_id).await?;
        let account = account.ok_or(AccountError::WrongPassword)?;
        let hash = Some(account.password_hash.clone());
        if !self.0.passwords.verify(password, hash).await? {
            return Err(AccountError::WrongPassword);
        }
        self.give_back(taken).await?;
        Ok(account)
    }

    /// The hash of a password that the rules allow for this person.
    async fn acceptable_password(
        &self,
        account: &AccountRow,
        (pointer, password): (&str, Hidden),
    ) -> Result<String, AccountError> {
        let rules = &self.0.config.auth.password;
        let mut errors = FieldErrors::default();
        let mut names = vec![account.email.clone(), account.name.clone()];
        for org_id in self.0.store.organizations_of(account.user_id).await? {
            let mut org = self.0.store.org(org_id, Access::Read).await?;
            names.push(org.organization_name().await?);
            org.commit().await?;
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        check_password(&mut errors, (pointer, &password.0), &names, rules);
        errors.into_result().map_err(AccountError::Invalid)?;
        let mut used = vec![account.password_hash.clone()];
        used.extend(self.0.store.password_history(account.user_id, rules.history).await?);
        used.truncate(rules.history);
        if self.0.passwords.is_one_of(password.clone(), used).await? {
            let detail = format!("is one of the last {}", rules.history);
            let rule = Some("history".to_owned());
            let error = FieldError { pointer: pointer.to_owned(), detail, rule };
            return Err(AccountError::Invalid(vec![error]));
        }
        self.refuse_breached((pointer, &password), AccountError::Invalid).await?;
        Ok(self.0.passwords.hash(password).await?)
    }

    /// Sets the password, ends sessions, forgets mailed tokens, tells the person.
    async fn change_password_of(
        &self,
        mut tx: Tx,
        change: &PasswordChange,
        address: IpAddr,
    ) -> Result<(), AccountError> {
        let PasswordChange { name, account, hash, orgs, kept } = change;
        let (now, user_id) = (self.now(), account.user_id);
        let history = self.0.config.auth.password.history.saturating_sub(1);
        tx.lock_person(user_id).await?;
        if !tx.set_password(account, (hash, history), now).await? {
            return Err(AccountError::WrongPassword);
        }
        tx.forget_tokens(user_id, None).await?;
        let to = (MailKind::PasswordChanged, account.email.as_str());
        self.queue_notice(&mut tx, to, address).await?;
        for org_id in orgs {
            let mut org = tx.within(*org_id).await?;
            match kept {
                Kept::All => {}
                Kept::One(id) => drop(org.end_sessions(Whose::PersonBut(user_id, id), now).await?),
                Kept::None => drop(org.end_sessions(Whose::Person(user_id), now).await?),
            }
            tx = org.leave();
        }
        self.record_everywhere(tx, (orgs, user_id), (*name, Value::Null), address).await?;
        self.0.mail_queued.notify();
        Ok(())
    }

    /// Records what a person did to their account in every organization that they belong to, and
    /// commits.
    async fn record_everywhere(
        &self,
        mut tx: Tx,
        (orgs, user_id): (&[OrgId], UserId),
        (name, changes): (EventKind, Value),
        address: IpAddr,
    ) -> Result<(), StoreError> {
        let subject = format!("user {user_id}");
        for org_id in orgs {
            let mut org = tx.within(*org_id).await?;
            let event = Event { changes: changes.clone(), ..event(name, &subject, address) };
            self.record_in(&mut org, &event);
            tx = org.leave();
        }
        tx.keep().await
    }

    /// What signing in does once the password was right: hashes it anew if it is hashed otherwise
    /// than today; refuses one that is too old, with a token to set another.
    pub(super) async fn accept_password(
        &self,
        user_id: UserId,
        password: &Hidden,
    ) -> Result<(), AccountError> {
        let account = self.0.store.account(user_id).await?.ok_or(AccountError::WrongPassword)?;
        if self.0.passwords.is_outdated(&account.password_hash) {
            let hash = self.0.passwords.hash(password.clone()).await?;
            let hashes = (account.password_hash.as_str(), hash.as_str());
            self.0.store.rehash_password(user_id, hashes).await?;
        }
        if !self.is_expired(account.password_changed_at) {
            return Ok(());
        }
        let token = secrets::new_token();
        let mut tx = self.0.store.apart().await?;
        tx.put_token(&NewToken {
            kind: TokenKind::ChangePassword,
            hash: &Hash::of(&token),
            user_id,
            email: &account.email,
            expires_at: self.now() + CHANGE_LIFETIME,
        })
        .await?;
        tx.keep().await?;
        Err(AccountError::PasswordExpired(Hidden(token)))
    }

    fn is_expired(&self, changed_at: Timestamp) -> bool {
        let max_age = self.0.config.auth.password.max_age.0;
        max_age.is_some_and(|age| self.now().duration_since(changed_at) >= age.as_signed())
    }

    /// Tells somebody that a refresh token of theirs was used twice. To be called in the
    /// transaction that ends the session.
    pub(super) async fn tell_of_refresh_reuse(
        &self,
        tx: &mut Tx,
        user_id: UserId,
        address: IpAddr,
    ) -> Result<(), StoreError> {
        let Some(email) = tx.email_of(user_id).await? else { return Ok(()) };
        self.queue_notice(tx, (MailKind::RefreshReused, &email), address).await?;
        self.0.mail_queued.notify();
        Ok(())
    }
}

/// A password to be set.
struct PasswordChange {
    name: EventKind,
    account: AccountRow,
    hash: String,
    /// Where the person belongs to.
    orgs: Vec<OrgId>,
    kept: Kept,
}

/// Which sessions outlive a change of password.
enum Kept {
    All,
    One(String),
    None,
}

fn event(name: EventKind, who: &str, address: IpAddr) -> Event<'_> {
    Event { name, actor: who, subject: "account", address, outcome: "ok", changes: Value::Null }
}

/// The address was free when the mail was sent, and is another's now.
fn taken_meanwhile(error: StoreError) -> AccountError {
    if error.is_duplicate() { AccountError::WrongToken } else { error.into() }
}
