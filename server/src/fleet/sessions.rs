//! Signing in with a password, and the session that follows: a signed access token that ends soon,
//! and an opaque refresh token that is replaced whenever it is used ([`refresh`](super::refresh)).

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;
use wire::{
    OrgId, UserId,
    api::{ClientKind, CurrentUser, Hidden, LoginRequest, StepUpRequest},
};

use super::{
    Access, Actor, Fleet,
    actor::{Forbidden, Proof},
    audit::{self, Event, EventKind},
    errors::{ManageError, SignInError},
    fingerprint::ClientHints,
    identity::{fold_email, tidy},
    keys::Ring,
    limiter::network_of,
    limits::{LimitError, Taken},
    metrics::TokenWork,
    secrets,
    session_life::Life,
    store::{Hash, Login, OrgStore, SessionRow},
    tokens::Grant,
};
use crate::config::auth::OnLimit;

/// How people prove who they are, in the words of RFC 8176.
const BY_PASSWORD: &str = "pwd";

/// Who asks for a session: where from, and with which program.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    pub address: IpAddr,
    pub hints: ClientHints<'a>,
}

/// A person who showed their password a moment ago.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proven {
    pub user_id: UserId,
    /// The organization that they belong to longest.
    pub org_id: OrgId,
    /// When that password was set.
    pub password_changed_at: Timestamp,
}

/// What a session begins with. One that follows another goes on where that one was.
#[derive(Debug, Clone)]
pub(super) struct Beginning {
    pub org_id: OrgId,
    pub user_id: UserId,
    pub client: ClientKind,
    /// When its person proved who they are, from where, and how.
    pub authenticated_at: Timestamp,
    pub address: String,
    pub methods: String,
    /// When it ends whatever its person does.
    pub expires_at: Timestamp,
    /// When the password was set that its person showed; the session begins if it is still theirs.
    pub password_changed_at: Option<Timestamp>,
}

/// The tokens of a session, in the clear: to be handed over and forgotten.
#[derive(Debug)]
pub struct Tokens {
    pub access: Hidden,
    /// How long the access token lasts.
    pub access_ttl: SignedDuration,
    /// Absent when the session keeps the one that it has.
    pub refresh: Option<Hidden>,
    /// How long the session can still be refreshed.
    pub refresh_ttl: SignedDuration,
    /// Where the refresh token goes.
    pub client: ClientKind,
    pub user: CurrentUser,
}

impl Fleet {
    /// Signs a person in.
    pub async fn login(
        &self,
        request: LoginRequest,
        caller: Caller<'_>,
    ) -> Result<Tokens, SignInError> {
        let result = self.sign_in(request, caller).await;
        self.0.metrics.count_login(&result);
        result
    }

    async fn sign_in(
        &self,
        request: LoginRequest,
        caller: Caller<'_>,
    ) -> Result<Tokens, SignInError> {
        let email = fold_email(&request.email);
        let proven = self.prove(&email, request.password, caller.address).await?;
        let mut org = self.0.store.org(proven.org_id, Access::Note).await?;
        org.lock_person(proven.user_id).await?;
        self.record_in(&mut org, &login_event(&email, caller.address, "ok"));
        let who = (proven.org_id, proven.user_id);
        let beginning = Beginning {
            password_changed_at: Some(proven.password_changed_at),
            ..self.beginning(who, request.client, caller)
        };
        self.begin_session(org, beginning, caller).await
    }

    /// Takes the attempts that a guess at the password of `email` counts in: of the network, of the
    /// account there, and of the account everywhere, but where its person has signed in before.
    pub(super) async fn take_guess(
        &self,
        email: &str,
        address: IpAddr,
    ) -> Result<Taken, LimitError> {
        let (network, email) = (network_of(address), tidy(email));
        let known = self.0.store.is_known_network(&email, &network, self.now()).await?;
        let mut limits = vec![(self.login_policy(), format!("{email} from {network}"))];
        if !known {
            limits.push((self.login_account_policy(), email));
        }
        limits.push((self.login_network_policy(), network));
        self.take(&limits).await.inspect_err(|error| {
            if matches!(error, LimitError::TooMany(_)) {
                audit::log_limited(EventKind::SessionLogin, address);
            }
        })
    }

    /// Whose address and password these are. Wrong guesses are limited; whoever guesses elsewhere
    /// locks nobody out.
    pub(super) async fn prove(
        &self,
        email: &str,
        password: Hidden,
        address: IpAddr,
    ) -> Result<Proven, SignInError> {
        let taken = self.take_guess(email, address).await?;
        let found = if email.contains('\0') { None } else { self.0.store.login(email).await? };
        let org_id = found.as_ref().and_then(|login| login.org_id);
        let outcome = self.check_login(found, password).await;
        if matches!(outcome, Err(SignInError::WrongLogin)) {
            self.record(org_id, &login_event(email, address, "refused")).await?;
        } else {
            self.give_back(taken).await?;
        }
        outcome
    }

    async fn check_login(
        &self,
        found: Option<Login>,
        password: Hidden,
    ) -> Result<Proven, SignInError> {
        let hash = found.as_ref().map(|login| login.password_hash.clone());
        let matches = self.0.passwords.verify(password.clone(), hash).await?;
        match found {
            Some(Login { user_id, org_id: Some(org_id), password_changed_at, .. }) if matches => {
                self.accept_password(user_id, &password).await?;
                Ok(Proven { user_id, org_id, password_changed_at })
            }
            Some(_) | None => Err(SignInError::WrongLogin),
        }
    }

    /// What a session begins with whose person proves who they are at this moment.
    pub(super) fn beginning(
        &self,
        (org_id, user_id): (OrgId, UserId),
        client: ClientKind,
        caller: Caller<'_>,
    ) -> Beginning {
        let now = self.now();
        Beginning {
            org_id,
            user_id,
            client,
            authenticated_at: now,
            address: caller.address.to_string(),
            methods: BY_PASSWORD.to_owned(),
            expires_at: now + self.0.config.auth.jwt.refresh_ttl.as_signed(),
            password_changed_at: None,
        }
    }

    /// Begins a session, and commits. Whoever was shut out, or got another password, since they
    /// proved who they are gets none: `org` has the person's lock, or gets it here.
    pub(super) async fn begin_session(
        &self,
        mut org: OrgStore,
        beginning: Beginning,
        caller: Caller<'_>,
    ) -> Result<Tokens, SignInError> {
        let (now, org_id, user_id) = (self.now(), beginning.org_id, beginning.user_id);
        org.lock_person(user_id).await?;
        let member = org.member(user_id).await?;
        let member = member.filter(|member| member.user.disabled_at.is_none());
        let member = member.ok_or(SignInError::WrongLogin)?;
        let set_at = org.apart().password_changed_at(user_id).await?;
        if beginning.password_changed_at.is_some_and(|seen| set_at != Some(seen)) {
            return Err(SignInError::WrongLogin);
        }
        self.make_room(&mut org, user_id, now).await?;
        let refresh = Hidden(secrets::new_token());
        let session = self.new_session(beginning, caller);
        org.add_session(&session, &Hash::of(&refresh.0)).await?;
        org.note_login(user_id, now).await?;
        if let Ok(address) = session.address.parse() {
            org.apart().note_network(user_id, &network_of(address), now).await?;
        }
        let user = self.describe(&mut org, (org_id, member), Some(&session)).await?;
        let jti = self.record_issue(&mut org, &session, caller);
        org.commit().await?;
        // Not before: the ring may have to write, and a writer waits for the one before.
        let ring = self.ring().await?;
        self.hand_over(&ring, &session, (jti, Some(refresh)), user)
    }

    fn new_session(&self, beginning: Beginning, caller: Caller<'_>) -> SessionRow {
        let now = self.now();
        let life = Life::begin(now, beginning.expires_at);
        SessionRow {
            id: Uuid::now_v7().to_string(),
            user_id: beginning.user_id,
            created_at: now,
            expires_at: life.ends_at,
            client: beginning.client,
            refresh_hash: String::new(),
            previous_refresh_hash: None,
            successor_salt: None,
            refreshed_at: now,
            last_action_at: life.last_action,
            acted: life.acted,
            authenticated_at: beginning.authenticated_at,
            methods: beginning.methods,
            address: beginning.address,
            user_agent: tidy(caller.hints.user_agent),
            fingerprint: caller.hints.fingerprint(),
        }
    }

    /// Sees to it that a person's new session is not one too many. The caller has their lock.
    async fn make_room(
        &self,
        org: &mut OrgStore,
        user_id: UserId,
        now: Timestamp,
    ) -> Result<(), SignInError> {
        let rules = &self.0.config.auth.session;
        let sessions = org.sessions_of(user_id).await?;
        let live: Vec<_> =
            sessions.iter().filter(|session| !self.has_run_out(session, now)).collect();
        let most = usize::try_from(rules.max_concurrent).unwrap_or(usize::MAX);
        let surplus = (live.len() + 1).saturating_sub(most);
        if surplus > 0 && rules.on_limit == OnLimit::Reject {
            return Err(SignInError::TooManySessions);
        }
        for session in &live[..surplus] {
            org.end_session(&session.id, now).await?;
            org.touches_rights();
        }
        Ok(())
    }

    /// Takes the password once more from a person who is signed in: what is sensitive is allowed
    /// for a while, from where they are.
    pub async fn step_up(
        &self,
        actor: &Actor,
        request: StepUpRequest,
        caller: Caller<'_>,
    ) -> Result<Tokens, SignInError> {
        let Proof::Session(proof) = &actor.proof else { return Err(SignInError::PeopleOnly) };
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let member = org.member(actor.user_id).await?.ok_or(SignInError::WrongLogin)?;
        org.commit().await?;
        self.prove(&member.user.email, request.password, caller.address).await?;
        let ring = self.ring().await?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        org.note_authentication(&proof.id, &caller.address.to_string(), self.now()).await?;
        let session = org.session(&proof.id).await?.ok_or(SignInError::SessionExpired)?;
        let user = self.describe(&mut org, (actor.org_id, member), Some(&session)).await?;
        let deed = (EventKind::SessionSteppedUp, format!("session {}", proof.id));
        self.record_deed(&mut org, actor, deed, Value::Null);
        let jti = self.record_issue(&mut org, &session, caller);
        org.commit().await?;
        self.hand_over(&ring, &session, (jti, None), user)
    }

    /// Ends the actor's session; its tokens are refused at once. An API key has none.
    pub async fn logout(&self, actor: &Actor) -> Result<(), ManageError> {
        let Proof::Session(session) = &actor.proof else {
            return Err(Forbidden::PeopleOnly.into());
        };
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        org.end_session(&session.id, self.now()).await?;
        let deed = (EventKind::SessionEnded, format!("session {}", session.id));
        self.record_deed(&mut org, actor, deed, Value::Null);
        org.commit().await?;
        Ok(())
    }

    /// Records that `session` gets tokens, and names the access token to be made.
    pub(super) fn record_issue(
        &self,
        org: &mut OrgStore,
        session: &SessionRow,
        caller: Caller<'_>,
    ) -> Uuid {
        let jti = Uuid::new_v4();
        let event = Event {
            name: EventKind::SessionTokensIssued,
            actor: &format!("user {}", session.user_id),
            subject: &format!("session {}", session.id),
            address: caller.address,
            outcome: "ok",
            changes: json!({"jti_sha256": Hash::of(&jti.to_string()).as_text()}),
        };
        self.record_in(org, &event);
        jti
    }

    /// The tokens of `session`, with an access token made now.
    pub(super) fn hand_over(
        &self,
        ring: &Ring,
        session: &SessionRow,
        (jti, refresh): (Uuid, Option<Hidden>),
        user: CurrentUser,
    ) -> Result<Tokens, SignInError> {
        let now = self.now();
        let grant = Grant {
            user_id: user.id,
            email: &user.email,
            org_id: user.org_id,
            role: user.role.as_str(),
            permissions: &user.permissions,
            jti,
            session_id: &session.id,
            authenticated_at: session.authenticated_at,
            methods: &session.methods,
        };
        let issue = || self.0.tokens.issue(ring, &grant, now);
        let access = self.0.metrics.measured(TokenWork::Issue, issue)?;
        Ok(Tokens {
            access: Hidden(access),
            access_ttl: self.0.config.auth.jwt.access_ttl.as_signed(),
            refresh,
            refresh_ttl: session.expires_at.duration_since(now),
            client: session.client,
            user,
        })
    }

    pub(super) fn has_run_out(&self, session: &SessionRow, now: Timestamp) -> bool {
        let timers = self.0.config.auth.session.timers();
        life_of(session).state(&timers, now) == wire::api::SessionState::Expired
    }
}

/// Where in its life a stored session is.
pub(super) fn life_of(session: &SessionRow) -> Life {
    Life { last_action: session.last_action_at, acted: session.acted, ends_at: session.expires_at }
}

fn login_event<'a>(email: &'a str, address: IpAddr, outcome: &'a str) -> Event<'a> {
    Event {
        name: EventKind::SessionLogin,
        actor: email,
        subject: "session",
        address,
        outcome,
        changes: Value::Null,
    }
}
