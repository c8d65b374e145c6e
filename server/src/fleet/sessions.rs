//! Signing in with a password, and the session that follows: an opaque access token, and an opaque
//! refresh token that is replaced whenever it is used.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;
use wire::{
    ApiKeyId, OrgId, Permission, TeamId, UserId,
    api::{ApiKeyKind, ClientKind, CurrentUser, Hidden, LoginRequest, User},
};

use super::{
    Access, Actor, Fleet, StoreError,
    actor::{Forbidden, Proof, Rights},
    audit::{self, Event, Happening},
    errors::{ManageError, SignInError},
    identity::tidy,
    limiter::network_of,
    secrets,
    store::{Credential, CredentialKind, Hash, Login, NewTokens, OrgStore, SessionRow},
};

/// How long after a refresh the token before it still gives the same successor: two requests of one
/// client may have been under way at the same moment, or the answer to the first was lost.
const REUSE_GRACE: SignedDuration = SignedDuration::from_secs(10);

/// Who asks for a session: where from, and with which program.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    pub address: IpAddr,
    pub user_agent: &'a str,
}

/// The tokens of a session, in the clear: to be handed over and forgotten.
#[derive(Debug)]
pub struct Tokens {
    pub access: Hidden,
    /// How long the access token lasts.
    pub access_ttl: SignedDuration,
    pub refresh: Hidden,
    /// How long the session can still be refreshed.
    pub refresh_ttl: SignedDuration,
    /// Where the refresh token goes.
    pub client: ClientKind,
    pub user: CurrentUser,
}

impl Fleet {
    /// Signs a person in. Wrong guesses are limited per account and address.
    pub async fn login(
        &self,
        request: LoginRequest,
        caller: Caller<'_>,
    ) -> Result<Tokens, SignInError> {
        let email = request.email.trim().to_lowercase();
        let now = self.now();
        let account = format!("{} from {}", tidy(&email), network_of(caller.address));
        if let Err(too_many) = self.0.logins.take(&account, now) {
            audit::log_limited(Happening::SessionLogin, caller.address);
            return Err(too_many.into());
        }
        let outcome = self.check_login(&email, request.password).await;
        match outcome {
            Ok((user_id, org_id)) => {
                self.0.logins.give_back(&account, now);
                let mut org = self.0.store.org(org_id, Access::Write).await?;
                self.record_in(&mut org, &login_event(&email, caller.address, "ok")).await?;
                self.begin_session(org, (org_id, user_id), request.client, caller).await
            }
            Err(SignInError::WrongLogin) => {
                let org_id = self.organization_of(&email).await?;
                self.record(org_id, &login_event(&email, caller.address, "refused")).await?;
                Err(SignInError::WrongLogin)
            }
            Err(error) => {
                self.0.logins.give_back(&account, now);
                Err(error)
            }
        }
    }

    /// The organization that a refused sign-in is recorded in: of the person whom the address names.
    async fn organization_of(&self, email: &str) -> Result<Option<OrgId>, StoreError> {
        let found = if email.contains('\0') { None } else { self.0.store.login(email).await? };
        Ok(found.and_then(|login| login.org_id))
    }

    async fn check_login(
        &self,
        email: &str,
        password: Hidden,
    ) -> Result<(UserId, OrgId), SignInError> {
        let found = if email.contains('\0') { None } else { self.0.store.login(email).await? };
        let hash = found.as_ref().map(|login| login.password_hash.clone());
        let matches = self.0.passwords.verify(password, hash).await?;
        match found {
            Some(Login { user_id, org_id: Some(org_id), .. }) if matches => Ok((user_id, org_id)),
            Some(_) | None => Err(SignInError::WrongLogin),
        }
    }

    /// Begins a session of a person who proved who they are, and commits.
    pub(super) async fn begin_session(
        &self,
        mut org: OrgStore,
        (org_id, user_id): (OrgId, UserId),
        client: ClientKind,
        caller: Caller<'_>,
    ) -> Result<Tokens, SignInError> {
        let now = self.now();
        let (access, refresh) = (Hidden(secrets::new_token()), Hidden(secrets::new_token()));
        let tokens = self.new_tokens(&access, &refresh, now);
        let session = SessionRow {
            id: Uuid::now_v7().to_string(),
            user_id,
            expires_at: now + self.0.config.auth.refresh_ttl.as_signed(),
            client,
            access_hash: String::new(),
            access_expires_at: tokens.access_expires_at,
            previous_refresh_hash: None,
            successor_salt: None,
            refreshed_at: now,
        };
        let address = caller.address.to_string();
        org.add_session(&session, &tokens, (&address, &tidy(caller.user_agent))).await?;
        org.note_login(user_id, now).await?;
        let user = org.user(user_id).await?.ok_or(SignInError::WrongLogin)?;
        let user = current_user(&mut org, org_id, user).await?;
        org.commit().await?;
        Ok(self.hand_over((access, refresh), &session, user, now))
    }

    /// Replaces a session's tokens. The old refresh token gives the same new ones for some seconds;
    /// using it after that ends the session: somebody else has it.
    pub async fn refresh(&self, token: &str, caller: Caller<'_>) -> Result<Tokens, SignInError> {
        let now = self.now();
        let hash = Hash::of(token);
        let found = self.0.store.credential(CredentialKind::RefreshToken, &hash).await?;
        let Credential { org_id, subject_id } = found.ok_or(SignInError::WrongRefreshToken)?;
        let mut org = self.0.store.org(org_id, Access::Write).await?;
        let session = org.session(&subject_id, now).await?.ok_or(SignInError::WrongRefreshToken)?;
        let salt = secrets::new_token();
        let (access, refresh) = secrets::successors(&salt, token);
        let tokens = self.new_tokens(&access, &refresh, now);
        if !org.rotate_tokens(&session.id, (&hash, &salt), &tokens, now).await? {
            return self.answer_reuse(org, (org_id, session), token, caller).await;
        }
        let user = org.user(session.user_id).await?.ok_or(SignInError::WrongRefreshToken)?;
        let user = current_user(&mut org, org_id, user).await?;
        org.commit().await?;
        Ok(self.hand_over((access, refresh), &session, user, now))
    }

    /// What a refresh token that was used before gets: what it got then, if that is seconds ago;
    /// otherwise its session ends.
    async fn answer_reuse(
        &self,
        mut org: OrgStore,
        (org_id, seen): (OrgId, SessionRow),
        token: &str,
        caller: Caller<'_>,
    ) -> Result<Tokens, SignInError> {
        let now = self.now();
        // Read again: the request that won the race may have committed after the first look.
        let session = org.session(&seen.id, now).await?.unwrap_or(seen);
        if let Some(pair) = repeated(&session, token, now) {
            let user = org.user(session.user_id).await?.ok_or(SignInError::WrongRefreshToken)?;
            let user = current_user(&mut org, org_id, user).await?;
            org.commit().await?;
            let access_ttl = session.access_expires_at.duration_since(now);
            return Ok(Tokens { access_ttl, ..self.hand_over(pair, &session, user, now) });
        }
        org.end_session(&session.id, now).await?;
        let reuse = Event {
            name: Happening::SessionRefreshTokenReused,
            actor: &format!("user {}", session.user_id),
            subject: &format!("session {}", session.id),
            address: caller.address,
            outcome: "session ended",
            changes: Value::Null,
        };
        self.record_in(&mut org, &reuse).await?;
        org.commit().await?;
        Err(SignInError::WrongRefreshToken)
    }

    /// Ends the actor's session; its tokens are refused at once. An API key has none.
    pub async fn logout(&self, actor: &Actor) -> Result<(), ManageError> {
        let Proof::Session { id } = &actor.proof else {
            return Err(Forbidden::PeopleOnly.into());
        };
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        org.end_session(id, self.now()).await?;
        let deed = (Happening::SessionEnded, format!("session {id}"));
        self.record_deed(&mut org, actor, deed, Value::Null).await?;
        org.commit().await?;
        Ok(())
    }

    /// Who the actor is, and what they may do.
    pub async fn current_user(&self, actor: &Actor) -> Result<CurrentUser, ManageError> {
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        if let Proof::ApiKey { id, kind: ApiKeyKind::Service } = actor.proof {
            return self.current_service(org, actor, id).await;
        }
        let user = org.user(actor.user_id).await?.ok_or(ManageError::Unknown("user"))?;
        let mut current = current_user(&mut org, actor.org_id, user).await?;
        org.commit().await?;
        if let Proof::ApiKey { id, .. } = actor.proof {
            current.api_key_id = Some(id);
            current.permissions = actor.rights.everywhere.iter().copied().collect();
            current.team_permissions = listed(&actor.rights.in_teams);
        }
        Ok(current)
    }

    /// The same for a service's key, which is nobody's.
    async fn current_service(
        &self,
        mut org: OrgStore,
        actor: &Actor,
        id: ApiKeyId,
    ) -> Result<CurrentUser, ManageError> {
        let row = org.api_key(&id.to_string()).await?.ok_or(ManageError::Unknown("API key"))?;
        let organization = org.organization_name().await?;
        org.commit().await?;
        Ok(CurrentUser {
            id: actor.user_id,
            email: String::new(),
            name: row.key.name,
            org_id: actor.org_id,
            organization,
            role: "service".parse().expect("it is short and plain"),
            permissions: actor.rights.everywhere.iter().copied().collect(),
            team_permissions: BTreeMap::new(),
            api_key_id: Some(id),
        })
    }

    fn new_tokens(&self, access: &Hidden, refresh: &Hidden, now: Timestamp) -> NewTokens {
        NewTokens {
            access: Hash::of(&access.0),
            access_expires_at: now + self.0.config.auth.access_ttl.as_signed(),
            refresh: Hash::of(&refresh.0),
        }
    }

    fn hand_over(
        &self,
        (access, refresh): (Hidden, Hidden),
        session: &SessionRow,
        user: CurrentUser,
        now: Timestamp,
    ) -> Tokens {
        Tokens {
            access,
            access_ttl: self.0.config.auth.access_ttl.as_signed(),
            refresh,
            refresh_ttl: session.expires_at.duration_since(now),
            client: session.client,
            user,
        }
    }
}

/// The tokens that `session` has, if `token` is the one that they replaced a moment ago.
fn repeated(session: &SessionRow, token: &str, now: Timestamp) -> Option<(Hidden, Hidden)> {
    let previous = session.previous_refresh_hash.as_deref()?;
    let recent = now.duration_since(session.refreshed_at) <= REUSE_GRACE;
    if !recent || !Hash::of(token).is(previous) {
        return None;
    }
    let pair = secrets::successors(session.successor_salt.as_deref()?, token);
    Hash::of(&pair.0.0).is(&session.access_hash).then_some(pair)
}

async fn current_user(
    org: &mut OrgStore,
    org_id: OrgId,
    user: User,
) -> Result<CurrentUser, StoreError> {
    let rights = Rights::of(org, user.id, &user.role).await?;
    Ok(CurrentUser {
        id: user.id,
        email: user.email,
        name: user.name,
        org_id,
        organization: org.organization_name().await?,
        role: user.role,
        permissions: rights.everywhere.into_iter().collect(),
        team_permissions: listed(&rights.in_teams),
        api_key_id: None,
    })
}

fn listed(in_teams: &BTreeMap<TeamId, BTreeSet<Permission>>) -> BTreeMap<TeamId, Vec<Permission>> {
    in_teams
        .iter()
        .map(|(team, permissions)| (*team, permissions.iter().copied().collect()))
        .collect()
}

fn login_event<'a>(email: &'a str, address: IpAddr, outcome: &'a str) -> Event<'a> {
    Event {
        name: Happening::SessionLogin,
        actor: email,
        subject: "session",
        address,
        outcome,
        changes: Value::Null,
    }
}
