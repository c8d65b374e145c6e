//! Refresh tokens: each works once and gives its successor. All that came from one sign-in are a
//! family, and whoever uses one a second time ends it.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use wire::{OrgId, api::Hidden};

use super::{
    Access, Fleet,
    audit::{Event as Recorded, EventKind},
    errors::SignInError,
    fingerprint::ClientHints,
    identity::tidy,
    keys::Ring,
    limiter::network_of,
    metrics::Suspicion,
    secrets,
    session_life::Event,
    sessions::{Caller, Tokens, life_of},
    store::{Credential, CredentialKind, Hash, OrgStore, Rotation, SessionRow},
};

/// How long after a refresh the token before it still gives the same successor: two requests of one
/// client may have been under way at the same moment, or the answer to the first was lost.
const REUSE_GRACE: SignedDuration = SignedDuration::from_secs(10);

impl Fleet {
    /// Replaces a session's tokens. The old refresh token gives the same new one for some seconds;
    /// using it after that ends the session: somebody else has it.
    pub async fn refresh(&self, token: &str, caller: Caller<'_>) -> Result<Tokens, SignInError> {
        let result = self.rotate(token, caller).await;
        self.0.metrics.count_refresh(&result);
        result
    }

    async fn rotate(&self, token: &str, caller: Caller<'_>) -> Result<Tokens, SignInError> {
        let now = self.now();
        let hash = Hash::of(token);
        // Not later: the ring may have to write, and a writer waits for the one before.
        let ring = self.ring().await?;
        let kind = CredentialKind::RefreshToken;
        let found = self.0.store.follow_credential(kind, &hash, Access::Note).await?;
        let (found, mut org) = found.ok_or(SignInError::WrongRefreshToken)?;
        let Credential { org_id, subject_id } = found;
        let salt = secrets::new_token();
        let refresh = secrets::successor(&salt, token);
        let rotation = Rotation { old: &hash, salt: &salt, new: &Hash::of(&refresh.0) };
        // First, because it is all that most requests need to know of the session, and holds it. What
        // is refused below is undone with the transaction.
        let rotated = org.rotate_refresh_token(&subject_id, rotation, now).await?;
        let is_first = rotated.is_some();
        let session = match rotated {
            Some(session) => Some(session),
            None => org.held_session(&subject_id).await?,
        };
        let session = session.ok_or(SignInError::WrongRefreshToken)?;
        self.take_held(org.apart(), (self.refresh_policy(), &subject_id)).await?;
        let timers = self.0.config.auth.session.timers();
        life_of(&session)
            .after(Event::Refresh, &timers, now)
            .map_err(|_| SignInError::SessionExpired)?;
        if is_elsewhere(&session, caller) {
            drop(org);
            self.end_family((org_id, &session), Suspicion::OtherProgramElsewhere, caller).await?;
            return Err(SignInError::WrongRefreshToken);
        }
        if !is_first {
            return self.answer_reuse(org, (org_id, session), token, (&ring, caller)).await;
        }
        self.note_client(&mut org, &session, caller).await?;
        self.renew(org, (org_id, session), refresh, (&ring, caller)).await
    }

    async fn renew(
        &self,
        mut org: OrgStore,
        (org_id, session): (OrgId, SessionRow),
        refresh: Hidden,
        (ring, caller): (&Ring, Caller<'_>),
    ) -> Result<Tokens, SignInError> {
        let member = org.member(session.user_id).await?;
        let member = member.filter(|member| member.user.disabled_at.is_none());
        let member = member.ok_or(SignInError::WrongRefreshToken)?;
        let user = self.describe(&mut org, (org_id, member), Some(&session)).await?;
        let jti = self.record_issue(&mut org, &session, caller);
        let tokens = self.hand_over(ring, &session, (jti, Some(refresh)), user)?;
        org.commit().await?;
        Ok(tokens)
    }

    /// What a refresh token that was used before gets: what it got then, if that is seconds ago;
    /// otherwise its session ends.
    async fn answer_reuse(
        &self,
        org: OrgStore,
        (org_id, session): (OrgId, SessionRow),
        token: &str,
        (ring, caller): (&Ring, Caller<'_>),
    ) -> Result<Tokens, SignInError> {
        if let Some(refresh) = repeated(&session, token, self.now()) {
            return self.renew(org, (org_id, session), refresh, (ring, caller)).await;
        }
        drop(org);
        self.end_family((org_id, &session), Suspicion::RefreshTokenReused, caller).await?;
        Err(SignInError::WrongRefreshToken)
    }

    /// Notes that the session is used with another program than before.
    async fn note_client(
        &self,
        org: &mut OrgStore,
        session: &SessionRow,
        caller: Caller<'_>,
    ) -> Result<(), SignInError> {
        let fingerprint = caller.hints.fingerprint();
        if fingerprint == session.fingerprint {
            return Ok(());
        }
        org.note_client(&session.id, (&tidy(caller.hints.user_agent), &fingerprint)).await?;
        let before = ClientHints { user_agent: &session.user_agent, ..ClientHints::default() };
        let event = Recorded {
            name: EventKind::SessionClientChanged,
            actor: &format!("user {}", session.user_id),
            subject: &format!("session {}", session.id),
            address: caller.address,
            outcome: "ok",
            changes: json!({"before": before.describe(), "after": caller.hints.describe()}),
        };
        self.record_in(org, &event);
        Ok(())
    }

    /// Ends a session whose refresh token somebody else has, and records why.
    async fn end_family(
        &self,
        (org_id, session): (OrgId, &SessionRow),
        suspicion: Suspicion,
        caller: Caller<'_>,
    ) -> Result<(), SignInError> {
        let name = match suspicion {
            Suspicion::RefreshTokenReused => EventKind::SessionRefreshTokenReused,
            Suspicion::OtherProgramElsewhere => EventKind::SessionStolen,
        };
        let mut org = self.0.store.org(org_id, Access::Write).await?;
        org.end_session(&session.id, self.now()).await?;
        self.tell_of_refresh_reuse(org.apart(), session.user_id, caller.address).await?;
        let event = Recorded {
            name,
            actor: &format!("user {}", session.user_id),
            subject: &format!("session {}", session.id),
            address: caller.address,
            outcome: "session ended",
            changes: Value::Null,
        };
        self.record_in(&mut org, &event);
        org.commit().await?;
        self.0.metrics.count_suspicion(suspicion);
        Ok(())
    }
}

/// Whether another program in another network shows the token: it was stolen. One of the two alone
/// changes every day.
fn is_elsewhere(session: &SessionRow, caller: Caller<'_>) -> bool {
    let home = session.address.parse().map(network_of);
    let moved = home.is_ok_and(|home| home != network_of(caller.address));
    let known = !session.fingerprint.is_empty();
    known && moved && caller.hints.fingerprint() != session.fingerprint
}

/// The refresh token that `session` has, if `token` is the one that it replaced a moment ago.
fn repeated(session: &SessionRow, token: &str, now: Timestamp) -> Option<Hidden> {
    let previous = session.previous_refresh_hash.as_deref()?;
    let recent = now.duration_since(session.refreshed_at) <= REUSE_GRACE;
    if !recent || !Hash::of(token).is(previous) {
        return None;
    }
    let refresh = secrets::successor(session.successor_salt.as_deref()?, token);
    Hash::of(&refresh.0).is(&session.refresh_hash).then_some(refresh)
}
