//! One's own sessions and those of others, and ending them.

use serde_json::{Value, json};
use uuid::Uuid;
use wire::{
    Permission, SessionId, UserId,
    api::{Revocation, Session},
};

use super::{
    Access, Actor, Fleet,
    actor::in_person,
    audit::EventKind,
    errors::{FieldErrors, ManageError},
    fingerprint::ClientHints,
    sessions::life_of,
    store::{OrgStore, SessionRow, Whose},
};

impl Fleet {
    /// The sessions of the person who asks that go on, the oldest first.
    pub async fn sessions(&self, actor: &Actor) -> Result<Vec<Session>, ManageError> {
        in_person(actor)?;
        let org = self.0.store.org(actor.org_id, Access::Read).await?;
        self.live_sessions(org, actor, actor.user_id).await
    }

    /// The same of a person of the organization, for whoever may see its people.
    pub async fn sessions_of(
        &self,
        actor: &Actor,
        id: UserId,
    ) -> Result<Vec<Session>, ManageError> {
        actor.require(Permission::UsersRead)?;
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        org.user(id).await?.ok_or(ManageError::Unknown("user"))?;
        self.live_sessions(org, actor, id).await
    }

    async fn live_sessions(
        &self,
        mut org: OrgStore,
        actor: &Actor,
        id: UserId,
    ) -> Result<Vec<Session>, ManageError> {
        let now = self.now();
        let rows = org.sessions_of(id).await?;
        org.commit().await?;
        let live = rows.into_iter().filter(|row| !self.has_run_out(row, now));
        let own = in_person(actor).map_or("", |session| &session.id);
        Ok(live.filter_map(|row| self.show(row, own)).collect())
    }

    fn show(&self, row: SessionRow, own: &str) -> Option<Session> {
        let times = life_of(&row).times(&self.0.config.auth.session.timers(), self.now());
        let hints = ClientHints { user_agent: &row.user_agent, ..ClientHints::default() };
        Some(Session {
            id: row.id.parse().ok()?,
            client: row.client,
            device: hints.describe(),
            place: self.0.places.as_ref().and_then(|places| places.of(&row.address)),
            address: row.address,
            created_at: row.created_at,
            last_action_at: row.last_action_at,
            state: times.state,
            expires_at: times.expires_at,
            current: row.id == own,
            user_agent: row.user_agent,
        })
    }

    /// Ends a session of the person who asks. Another than the one that they ask with takes a recent
    /// password, so that whoever stole one cannot keep its person out.
    pub async fn end_session(&self, actor: &Actor, id: SessionId) -> Result<(), ManageError> {
        if in_person(actor)?.id != id.to_string() {
            actor.require_recent_login(&self.0.config.auth.session, self.now())?;
        }
        self.end_session_of(actor, id, Some(actor.user_id)).await
    }

    async fn end_session_of(
        &self,
        actor: &Actor,
        id: SessionId,
        owner: Option<UserId>,
    ) -> Result<(), ManageError> {
        let id = id.to_string();
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        let session = org.session(&id).await?;
        let session = session.filter(|session| owner.is_none_or(|owner| owner == session.user_id));
        let session = session.ok_or(ManageError::Unknown("session"))?;
        if owner.is_none() {
            self.within_reach(&mut org, actor, session.user_id).await?;
        }
        org.end_session(&id, self.now()).await?;
        let deed = (EventKind::SessionEnded, format!("session {id}"));
        self.record_deed(&mut org, actor, deed, Value::Null);
        org.commit().await?;
        Ok(())
    }

    /// Ends every session of the person who asks, who showed their password lately.
    pub async fn end_sessions(&self, actor: &Actor) -> Result<(), ManageError> {
        actor.require_recent_login(&self.0.config.auth.session, self.now())?;
        let org = self.0.store.org(actor.org_id, Access::Write).await?;
        self.end_all(org, actor, Whose::Person(actor.user_id)).await
    }

    async fn end_all(
        &self,
        mut org: OrgStore,
        actor: &Actor,
        whose: Whose<'_>,
    ) -> Result<(), ManageError> {
        let name = match whose {
            Whose::Everybody => "everybody".to_owned(),
            Whose::Person(id) | Whose::PersonBut(id, _) => {
                org.lock_person(id).await?;
                format!("user {id}")
            }
        };
        let ended = org.end_sessions(whose, self.now()).await?;
        let deed = (EventKind::SessionEnded, format!("sessions of {name}"));
        self.record_deed(&mut org, actor, deed, json!({"sessions": ended}));
        org.commit().await?;
        Ok(())
    }

    /// Refuses tokens from here on: one, a session's, a person's, everybody's. Nobody signs out
    /// whoever may do more than they.
    pub async fn revoke(&self, actor: &Actor, what: Revocation) -> Result<(), ManageError> {
        actor.require_network()?;
        actor.require(Permission::UsersWrite)?;
        match what {
            Revocation::Token { jti } => self.revoke_token(actor, &jti).await,
            Revocation::Session { id } => self.end_session_of(actor, id, None).await,
            Revocation::User { id } => {
                let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
                self.within_reach(&mut org, actor, id).await?;
                self.end_all(org, actor, Whose::Person(id)).await
            }
            Revocation::Organization => {
                actor.require(Permission::OrganizationWrite)?;
                let org = self.0.store.org(actor.org_id, Access::Write).await?;
                self.end_all(org, actor, Whose::Everybody).await
            }
        }
    }

    /// Nobody need know the token: it is kept for as long as any could last that is good now.
    async fn revoke_token(&self, actor: &Actor, jti: &str) -> Result<(), ManageError> {
        let mut errors = FieldErrors::default();
        let jti = jti.parse::<Uuid>();
        errors.refuse_if(jti.is_err(), "/jti", "must be the `jti` of an access token");
        errors.into_result().map_err(ManageError::Invalid)?;
        // As tokens have it, however it was typed.
        let jti = jti.unwrap_or_default().to_string();
        let until = self.now() + self.0.config.auth.jwt.access_ttl.as_signed();
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        org.revoke_token(&jti, until).await?;
        let deed = (EventKind::AccessTokenRevoked, format!("access token {jti}"));
        self.record_deed(&mut org, actor, deed, Value::Null);
        org.commit().await?;
        Ok(())
    }
}
