//! Sessions of people, and the hashes of their refresh tokens.

use jiff::Timestamp;
use sqlx::any::AnyRow;
use wire::{UserId, api::ClientKind};

use super::{CredentialKind, Hash, OrgStore, StoreError, row::Columns as _};

/// A session as it is stored.
#[derive(Debug, Clone)]
pub(in crate::fleet) struct SessionRow {
    pub id: String,
    pub user_id: UserId,
    pub created_at: Timestamp,
    /// When it ends whatever its person does.
    pub expires_at: Timestamp,
    pub client: ClientKind,
    pub refresh_hash: String,
    /// The refresh token before the present one.
    pub previous_refresh_hash: Option<String>,
    /// With the refresh token before, what the present one was made from.
    pub successor_salt: Option<String>,
    pub refreshed_at: Timestamp,
    pub last_action_at: Timestamp,
    /// Whether there was an action since the sign-in.
    pub acted: bool,
    /// When its person last proved who they are, how, and from where.
    pub authenticated_at: Timestamp,
    pub methods: String,
    pub address: String,
    pub user_agent: String,
    pub fingerprint: String,
}

/// Whose sessions. Who ends a person's takes [`OrgStore::lock_person`] before, and before anything
/// that they are recorded in.
#[derive(Debug, Clone, Copy)]
pub(in crate::fleet) enum Whose<'a> {
    Everybody,
    Person(UserId),
    /// All of a person but this one.
    PersonBut(UserId, &'a str),
}

/// A refresh token in place of another.
#[derive(Debug, Clone, Copy)]
pub(in crate::fleet) struct Rotation<'a> {
    pub old: &'a Hash,
    pub salt: &'a str,
    pub new: &'a Hash,
}

macro_rules! columns {
    () => {
        "id, user_id, created_at, expires_at, client, refresh_hash,
         previous_refresh_hash, successor_salt, refreshed_at, last_action_at, acted,
         authenticated_at, methods, address, user_agent, fingerprint"
    };
}

/// `SELECT` of a whole row, with what follows it.
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT ", columns!(), " FROM sessions ", $rest)
    };
}

/// A change of a row, which gives all of it.
macro_rules! returning {
    ($change:literal) => {
        concat!($change, " RETURNING ", columns!())
    };
}

impl OrgStore {
    /// Begins a session.
    pub(in crate::fleet) async fn add_session(
        &mut self,
        session: &SessionRow,
        refresh: &Hash,
    ) -> Result<(), StoreError> {
        self.query(
            "INSERT INTO sessions (org_id, id, user_id, created_at, expires_at, client, refresh_hash,
             refreshed_at, last_action_at, acted, authenticated_at, methods, address, user_agent,
             fingerprint) VALUES ($1, $2, $3, $4, $5, $6, $7, $4, $4, 0, $8, $9, $10, $11, $12)",
        )
        .bind(session.id.clone())
        .bind(session.user_id.to_string())
        .bind(session.created_at.as_millisecond())
        .bind(session.expires_at.as_millisecond())
        .bind(client_name(session.client))
        .bind(refresh.as_text())
        .bind(session.authenticated_at.as_millisecond())
        .bind(session.methods.clone())
        .bind(session.address.clone())
        .bind(session.user_agent.clone())
        .bind(session.fingerprint.clone())
        .execute(self.connection())
        .await?;
        self.add_credential(CredentialKind::RefreshToken, refresh, &session.id).await
    }

    /// A session that was not ended. Whether it has run out, its times tell.
    pub(in crate::fleet) async fn session(
        &mut self,
        id: &str,
    ) -> Result<Option<SessionRow>, StoreError> {
        let row = self
            .query(select!("WHERE org_id = $1 AND id = $2 AND ended_at IS NULL"))
            .bind(id.to_owned())
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(session).transpose()
    }

    /// The same, once whoever changes it has ended their transaction, and held until this one ends.
    pub(in crate::fleet) async fn held_session(
        &mut self,
        id: &str,
    ) -> Result<Option<SessionRow>, StoreError> {
        // SQLite has no `FOR UPDATE`; a change that changes nothing locks the row on both.
        let row = self
            .query(returning!(
                "UPDATE sessions SET refreshed_at = refreshed_at
                 WHERE org_id = $1 AND id = $2 AND ended_at IS NULL"
            ))
            .bind(id.to_owned())
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(session).transpose()
    }

    /// The sessions of a person that were not ended, the oldest first.
    pub(in crate::fleet) async fn sessions_of(
        &mut self,
        user_id: UserId,
    ) -> Result<Vec<SessionRow>, StoreError> {
        let rows = self
            .query(select!(
                "WHERE org_id = $1 AND user_id = $2 AND ended_at IS NULL ORDER BY created_at, id"
            ))
            .bind(user_id.to_string())
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(session).collect()
    }

    /// Puts a new refresh token in place of the old one, and gives the session as it is then, which
    /// nobody else changes before this transaction ends. Of several that try at once, one succeeds:
    /// `None` for the others.
    pub(in crate::fleet) async fn rotate_refresh_token(
        &mut self,
        id: &str,
        rotation: Rotation<'_>,
        now: Timestamp,
    ) -> Result<Option<SessionRow>, StoreError> {
        let rotated = self
            .query(returning!(
                "UPDATE sessions SET refresh_hash = $4, previous_refresh_hash = $3,
                 refreshed_at = $5, successor_salt = $6
                 WHERE org_id = $1 AND id = $2 AND refresh_hash = $3 AND ended_at IS NULL"
            ))
            .bind(id.to_owned())
            .bind(rotation.old.as_text())
            .bind(rotation.new.as_text())
            .bind(now.as_millisecond())
            .bind(rotation.salt.to_owned())
            .fetch_optional(self.connection())
            .await?;
        let Some(row) = rotated else { return Ok(None) };
        self.add_credential(CredentialKind::RefreshToken, rotation.new, id).await?;
        session(&row).map(Some)
    }

    /// Notes an action of the session's person, unless its last one was before `since`.
    pub(in crate::fleet) async fn note_action(
        &mut self,
        id: &str,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.query(
            "UPDATE sessions SET last_action_at = $4, acted = 1 WHERE org_id = $1 AND id = $2
             AND ended_at IS NULL AND last_action_at > $3 AND last_action_at <= $4",
        )
        .bind(id.to_owned())
        .bind(since.as_millisecond())
        .bind(now.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Notes that the session's person proved once more who they are, from `address`.
    pub(in crate::fleet) async fn note_authentication(
        &mut self,
        id: &str,
        address: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.query(
            "UPDATE sessions SET authenticated_at = $3, address = $4, last_action_at = $3, acted = 1
             WHERE org_id = $1 AND id = $2 AND ended_at IS NULL",
        )
        .bind(id.to_owned())
        .bind(now.as_millisecond())
        .bind(address.to_owned())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Notes what the session is used with from here on.
    pub(in crate::fleet) async fn note_client(
        &mut self,
        id: &str,
        (user_agent, fingerprint): (&str, &str),
    ) -> Result<(), StoreError> {
        self.query(
            "UPDATE sessions SET user_agent = $3, fingerprint = $4 WHERE org_id = $1 AND id = $2",
        )
        .bind(id.to_owned())
        .bind(user_agent.to_owned())
        .bind(fingerprint.to_owned())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Ends a session: its tokens are refused from here on. `false` when it had ended before.
    pub(in crate::fleet) async fn end_session(
        &mut self,
        id: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let ended = self
            .query("UPDATE sessions SET ended_at = $3 WHERE org_id = $1 AND id = $2 AND ended_at IS NULL")
            .bind(id.to_owned())
            .bind(now.as_millisecond())
            .execute(self.connection())
            .await?;
        self.remove_credentials(CredentialKind::RefreshToken, id).await?;
        Ok(ended.rows_affected() == 1)
    }

    /// Ends sessions; how many there were. Sign-ins elsewhere that were approved for the same people
    /// and not yet begun end too.
    pub(in crate::fleet) async fn end_sessions(
        &mut self,
        whose: Whose<'_>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let (user_id, kept) = match whose {
            Whose::Everybody => (String::new(), ""),
            Whose::Person(id) => (id.to_string(), ""),
            Whose::PersonBut(id, kept) => (id.to_string(), kept),
        };
        // Before the sessions: whoever begins one of an approved sign-in holds its row until then.
        self.query(
            "DELETE FROM device_logins
             WHERE organization = $1 AND ($2 = '' OR user_id = $2) AND state = 'approved'",
        )
        .bind(user_id.clone())
        .execute(self.connection())
        .await?;
        // The rows first, as refreshing does: this waits for a refresh, and then finds its token.
        let ended = self
            .query(
                "UPDATE sessions SET ended_at = $3
                 WHERE org_id = $1 AND ($2 = '' OR user_id = $2) AND id <> $4 AND ended_at IS NULL",
            )
            .bind(user_id.clone())
            .bind(now.as_millisecond())
            .bind(kept.to_owned())
            .execute(self.connection())
            .await?;
        self.query(
            "DELETE FROM credentials WHERE org_id = $1 AND kind = 'refresh_token' AND subject_id IN
             (SELECT id FROM sessions
              WHERE org_id = $1 AND ($2 = '' OR user_id = $2) AND id <> $3)",
        )
        .bind(user_id)
        .bind(kept.to_owned())
        .execute(self.connection())
        .await?;
        Ok(ended.rows_affected())
    }

    /// Refuses one access token until it would have ended.
    pub(in crate::fleet) async fn revoke_token(
        &mut self,
        jti: &str,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.query(
            "INSERT INTO revoked_tokens (org_id, jti, expires_at) VALUES ($1, $2, $3)
             ON CONFLICT (org_id, jti) DO NOTHING",
        )
        .bind(jti.to_owned())
        .bind(expires_at.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    pub(in crate::fleet) async fn is_revoked(&mut self, jti: &str) -> Result<bool, StoreError> {
        let row = self
            .query("SELECT COUNT(*) AS n FROM revoked_tokens WHERE org_id = $1 AND jti = $2")
            .bind(jti.to_owned())
            .fetch_one(self.connection())
            .await?;
        Ok(row.number("n")? > 0)
    }

    /// Deletes sessions that ran out or ended before `before`, with their tokens.
    pub(in crate::fleet) async fn sweep_sessions(
        &mut self,
        before: Timestamp,
    ) -> Result<u64, StoreError> {
        self.query(
            "DELETE FROM credentials WHERE org_id = $1 AND kind = 'refresh_token'
             AND subject_id IN (SELECT id FROM sessions WHERE org_id = $1 AND expires_at <= $2)",
        )
        .bind(before.as_millisecond())
        .execute(self.connection())
        .await?;
        self.query("DELETE FROM revoked_tokens WHERE org_id = $1 AND expires_at <= $2")
            .bind(before.as_millisecond())
            .execute(self.connection())
            .await?;
        let swept = self
            .query(
                "DELETE FROM sessions WHERE org_id = $1 AND (expires_at <= $2 OR ended_at <= $2)",
            )
            .bind(before.as_millisecond())
            .execute(self.connection())
            .await?;
        Ok(swept.rows_affected())
    }
}

fn session(row: &AnyRow) -> Result<SessionRow, StoreError> {
    Ok(SessionRow {
        id: row.text("id")?,
        user_id: row.parsed("user_id")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        client: if row.text("client")? == "cli" { ClientKind::Cli } else { ClientKind::Browser },
        refresh_hash: row.text("refresh_hash")?,
        previous_refresh_hash: row.optional_text("previous_refresh_hash")?,
        successor_salt: row.optional_text("successor_salt")?,
        refreshed_at: row.time("refreshed_at")?,
        last_action_at: row.time("last_action_at")?,
        acted: row.number("acted")? != 0,
        authenticated_at: row.time("authenticated_at")?,
        methods: row.text("methods")?,
        address: row.text("address")?,
        user_agent: row.text("user_agent")?,
        fingerprint: row.text("fingerprint")?,
    })
}

fn client_name(client: ClientKind) -> &'static str {
    match client {
        ClientKind::Browser => "browser",
        ClientKind::Cli => "cli",
    }
}
