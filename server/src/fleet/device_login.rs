//! Signing in where there is no browser (RFC 8628): a program shows a code, and a person who is, or
//! signs, in elsewhere types it and approves.

use std::net::IpAddr;

use jiff::SignedDuration;
use serde_json::Value;
use wire::api::{
    ClientKind, DeviceApproval, DeviceCodeRequest, DeviceTokenRequest, Hidden, LoginRequest,
    PendingDeviceLogin,
};

use super::{
    Access, Actor, Fleet, StoreError,
    actor::{Forbidden, in_person},
    audit::{Event, EventKind},
    errors::{FieldErrors, SignInError},
    fingerprint::ClientHints,
    identity::{fold_email, tidy},
    limiter::network_of,
    limits::{LimitError, Policy},
    secrets,
    sessions::{Beginning, Caller, Proven, Tokens},
    store::{Approval, Decision, DeviceLoginRow, Hash, OrgStore},
};

/// How long a code can be approved and redeemed.
pub const LASTS: SignedDuration = SignedDuration::from_mins(10);

/// How long a program waits between two polls; five seconds longer each time that it does not.
pub const INTERVAL: SignedDuration = SignedDuration::from_secs(5);

/// Codes asked for from one network, and wrong codes typed by one person.
const ASKED: Policy = Policy::new("device-code", 30, SignedDuration::from_mins(15));
const TYPED: Policy = Policy::new("user-code", 5, SignedDuration::from_mins(15));

/// The codes of a sign-in just asked for.
#[derive(Debug)]
pub struct Codes {
    pub device_code: Hidden,
    pub user_code: String,
}

/// Why there are no tokens for a device code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceLoginError {
    #[error("nobody has approved the code yet")]
    Pending,
    #[error("polls come too fast; wait five seconds longer from here on")]
    SlowDown,
    #[error("the person refused")]
    Denied,
    #[error("the code has run out; ask for another")]
    Expired,
    /// Never given out, or redeemed before.
    #[error("there is no such code")]
    Unknown,
    #[error(transparent)]
    SignIn(#[from] SignInError),
}

impl From<StoreError> for DeviceLoginError {
    fn from(error: StoreError) -> Self {
        Self::SignIn(error.into())
    }
}

/// Why a code could not be approved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalError {
    /// Mistyped, decided before, or run out.
    #[error("there is no such code, or it has run out")]
    Unknown,
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Limit(#[from] LimitError),
    #[error(transparent)]
    SignIn(#[from] SignInError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fleet {
    /// Begins a sign-in for a program that calls itself what the request says.
    pub async fn begin_device_login(
        &self,
        request: DeviceCodeRequest,
        caller: Caller<'_>,
    ) -> Result<Codes, SignInError> {
        let mut errors = FieldErrors::default();
        errors.check_name(&request.client, "/client");
        errors.into_result().map_err(SignInError::Invalid)?;
        self.take(&[(ASKED, network_of(caller.address))]).await?;
        let now = self.now();
        let codes = Codes {
            device_code: Hidden(secrets::new_token()),
            user_code: secrets::new_user_code(),
        };
        let login = DeviceLoginRow {
            client: tidy(&request.client),
            address: caller.address.to_string(),
            user_agent: tidy(caller.hints.user_agent),
            fingerprint: caller.hints.fingerprint(),
            created_at: now,
            expires_at: now + LASTS,
            interval: INTERVAL,
            polled_at: now - INTERVAL,
            decision: Decision::Pending,
        };
        let hashes = (Hash::of(&codes.device_code.0), hash_of(&codes.user_code));
        self.0.store.add_device_login((&hashes.0, &hashes.1), &login).await?;
        Ok(codes)
    }

    /// The tokens of an approved sign-in. They are given once.
    pub async fn redeem_device_login(
        &self,
        request: DeviceTokenRequest,
        caller: Caller<'_>,
    ) -> Result<Tokens, DeviceLoginError> {
        let now = self.now();
        let code = Hash::of(&request.device_code.0);
        let login = self.0.store.device_login(&code).await?.ok_or(DeviceLoginError::Unknown)?;
        if login.expires_at <= now {
            return Err(DeviceLoginError::Expired);
        }
        let early = now.duration_since(login.polled_at) < login.interval;
        let interval = if early { login.interval + INTERVAL } else { login.interval };
        match login.decision {
            Decision::Approved(approval) => self.begin_approved(&code, approval, caller).await,
            Decision::Denied => Err(DeviceLoginError::Denied),
            Decision::Redeemed => Err(DeviceLoginError::Unknown),
            Decision::Pending => {
                self.0.store.note_device_poll(&code, interval, now).await?;
                Err(if early { DeviceLoginError::SlowDown } else { DeviceLoginError::Pending })
            }
        }
    }

    /// The session that somebody approved of. It lasts as long as if it had begun when they last
    /// proved who they are, and not at all if they were shut out since.
    async fn begin_approved(
        &self,
        code: &Hash,
        Approval { org_id, user_id, authenticated_at }: Approval,
        caller: Caller<'_>,
    ) -> Result<Tokens, DeviceLoginError> {
        let mut org = self.0.store.org(org_id, Access::Write).await?;
        org.lock_person(user_id).await?;
        if !org.apart().redeem_device_login(code).await? {
            return Err(DeviceLoginError::Unknown);
        }
        let beginning = Beginning {
            authenticated_at,
            expires_at: authenticated_at + self.0.config.auth.jwt.refresh_ttl.as_signed(),
            ..self.beginning((org_id, user_id), ClientKind::Cli, caller)
        };
        Ok(self.begin_session(org, beginning, caller).await?)
    }

    /// What asks to be signed in with this code, to be shown before it is approved.
    pub async fn pending_device_login(
        &self,
        actor: &Actor,
        user_code: &str,
    ) -> Result<PendingDeviceLogin, ApprovalError> {
        in_person(actor)?;
        self.find_pending(user_code, &actor.user_id.to_string()).await
    }

    /// The same for whoever is not signed in, by network.
    pub async fn device_login_to_show(
        &self,
        user_code: &str,
        caller: Caller<'_>,
    ) -> Result<PendingDeviceLogin, ApprovalError> {
        self.find_pending(user_code, &network_of(caller.address)).await
    }

    async fn find_pending(
        &self,
        user_code: &str,
        whom: &str,
    ) -> Result<PendingDeviceLogin, ApprovalError> {
        let taken = self.take(&[(TYPED, whom.to_owned())]).await?;
        let now = self.now();
        let found = self.0.store.device_login_by_user_code(&hash_of(user_code)).await?;
        let pending =
            |login: &DeviceLoginRow| login.decision == Decision::Pending && login.expires_at > now;
        let login = found.filter(pending).ok_or(ApprovalError::Unknown)?;
        self.give_back(taken).await?;
        let hints = ClientHints { user_agent: &login.user_agent, ..ClientHints::default() };
        Ok(PendingDeviceLogin {
            device: hints.describe(),
            client: login.client,
            address: login.address,
            created_at: login.created_at,
            expires_at: login.expires_at,
        })
    }

    /// Lets the person who asks sign in elsewhere, which takes a recent sign-in; or refuses it.
    pub async fn decide_device_login(
        &self,
        actor: &Actor,
        approval: DeviceApproval,
    ) -> Result<(), ApprovalError> {
        let proof = in_person(actor)?;
        if approval.approve {
            actor.require_recent_login(&self.0.config.auth.session, self.now())?;
        }
        self.find_pending(&approval.user_code, &actor.user_id.to_string()).await?;
        let by = Approval {
            org_id: actor.org_id,
            user_id: actor.user_id,
            authenticated_at: proof.authenticated_at,
        };
        let mut org = self.0.store.org(actor.org_id, Access::Note).await?;
        org.lock_person(actor.user_id).await?;
        // Whoever ended it meanwhile wants nothing to follow from it.
        org.session(&proof.id).await?.ok_or(SignInError::SessionExpired)?;
        let who = actor.label();
        let event = decision_event(&who, approval.approve, actor.address);
        self.decide(org, (&approval, by), &event).await
    }

    /// The same for a person who signs in just for this.
    pub async fn decide_device_login_with_password(
        &self,
        approval: DeviceApproval,
        login: LoginRequest,
        caller: Caller<'_>,
    ) -> Result<(), ApprovalError> {
        self.device_login_to_show(&approval.user_code, caller).await?;
        let email = fold_email(&login.email);
        let authenticated_at = self.now();
        let proven = self.prove(&email, login.password, caller.address).await?;
        let Proven { user_id, org_id, password_changed_at } = proven;
        let mut org = self.0.store.org(org_id, Access::Note).await?;
        org.lock_person(user_id).await?;
        if org.apart().password_changed_at(user_id).await? != Some(password_changed_at) {
            return Err(SignInError::WrongLogin.into());
        }
        let by = Approval { org_id, user_id, authenticated_at };
        let who = format!("user {user_id}");
        let event = decision_event(&who, approval.approve, caller.address);
        self.decide(org, (&approval, by), &event).await
    }

    async fn decide(
        &self,
        mut org: OrgStore,
        (approval, by): (&DeviceApproval, Approval),
        event: &Event<'_>,
    ) -> Result<(), ApprovalError> {
        let (code, by) = (hash_of(&approval.user_code), approval.approve.then_some(by));
        if !org.apart().decide_device_login(&code, by, self.now()).await? {
            return Err(ApprovalError::Unknown);
        }
        self.record_in(&mut org, event);
        Ok(org.commit().await?)
    }
}

fn decision_event(actor: &str, approved: bool, address: IpAddr) -> Event<'_> {
    Event {
        name: EventKind::DeviceLoginDecided,
        actor,
        subject: "session",
        address,
        outcome: if approved { "approved" } else { "denied" },
        changes: Value::Null,
    }
}

/// The hash of a user code, however it was typed.
fn hash_of(user_code: &str) -> Hash {
    Hash::of(&secrets::tidy_user_code(user_code))
}
