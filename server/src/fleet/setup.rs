//! The first owner: made with a code that the server prints while nobody exists. There is no
//! default password.

use jiff::SignedDuration;
use serde_json::Value;
use uuid::Uuid;
use wire::{
    OrgId, Role, UserId,
    api::{FieldError, Hidden, RegisterRequest},
};

use super::{
    Fleet, StoreError,
    audit::{Event, EventKind},
    errors::{FieldErrors, SignInError},
    identity::tidy_email,
    limiter::network_of,
    password_rules::check_password,
    secrets,
    sessions::{Caller, Tokens},
    store::{Hash, NewUserRow},
};

/// How long a set-up code can be used, in hours. The next start of the server makes a new one.
pub const SETUP_CODE_HOURS: i64 = 24;

impl Fleet {
    /// While nobody exists: a fresh set-up code; codes made before are worthless. Afterwards: none.
    pub async fn new_setup_code(&self) -> Result<Option<Hidden>, StoreError> {
        if self.0.store.has_users().await? {
            return Ok(None);
        }
        let code = secrets::new_setup_code();
        self.0.store.put_setup_code(&Hash::of(&code.0), self.now()).await?;
        Ok(Some(code))
    }

    /// Makes the first organization and its owner, and signs them in. The code works once.
    pub async fn register(
        &self,
        code: &Hidden,
        request: RegisterRequest,
        caller: Caller<'_>,
    ) -> Result<Tokens, SignInError> {
        if self.0.store.has_users().await? {
            return Err(SignInError::AlreadySetUp);
        }
        self.take(&[(Self::setup_policy(), network_of(caller.address))]).await?;
        let code = Hash::of(&secrets::tidy_setup_code(&code.0));
        let since = self.now() - SignedDuration::from_hours(SETUP_CODE_HOURS);
        if !self.0.store.is_setup_code(&code, since).await? {
            self.record(None, &setup_event(caller, "refused")).await?;
            return Err(SignInError::WrongSetupCode);
        }
        let email = self.check_registration(&request).map_err(SignInError::Invalid)?;
        self.refuse_breached(("/password", &request.password), SignInError::Invalid).await?;
        let password_hash = self.0.passwords.hash(request.password.clone()).await?;
        let (org_id, user_id) = (OrgId(Uuid::now_v7()), UserId(Uuid::now_v7()));
        let now = self.now();
        let founded =
            self.0.store.redeem_setup_code(&code, (org_id, &request.organization), now).await?;
        let mut org = founded.ok_or(SignInError::WrongSetupCode)?;
        let (email, name) = (email.as_str(), request.name.as_str());
        let password_hash = password_hash.as_str();
        let user = NewUserRow { email, name, password_hash, email_verified_at: None };
        org.add_user(user_id, user, &Role::Owner.into(), now).await?;
        self.record_in(&mut org, &setup_event(caller, "ok"));
        let beginning = self.beginning((org_id, user_id), request.client, caller);
        self.begin_session(org, beginning, caller).await
    }

    /// The address, in the form in which it is kept, of who registers; or all that is wrong.
    pub(super) fn check_registration(
        &self,
        request: &RegisterRequest,
    ) -> Result<String, Vec<FieldError>> {
        let mut errors = FieldErrors::default();
        let email = tidy_email(&mut errors, &request.email);
        errors.check_name(&request.name, "/name");
        errors.check_name(&request.organization, "/organization");
        let names = [email.as_str(), &request.name, &request.organization];
        let password = ("/password", request.password.0.as_str());
        check_password(&mut errors, password, &names, &self.0.config.auth.password);
        errors.into_result()?;
        Ok(email)
    }
}

fn setup_event<'a>(caller: Caller<'_>, outcome: &'a str) -> Event<'a> {
    Event {
        name: EventKind::ServerSetUp,
        actor: "set-up code",
        subject: "organization",
        address: caller.address,
        outcome,
        changes: Value::Null,
    }
}
