//! Sessions of people, and the hashes of their tokens.

use jiff::Timestamp;
use wire::{UserId, api::ClientKind};

use super::{CredentialKind, Hash, OrgStore, StoreError, row::Columns as _};

/// A session as it is stored.
#[derive(Debug)]
pub(in crate::fleet) struct SessionRow {
    pub id: String,
    pub user_id: UserId,
    pub expires_at: Timestamp,
    pub client: ClientKind,
    pub access_hash: String,
    pub access_expires_at: Timestamp,
    /// The refresh token before the present one.
    pub previous_refresh_hash: Option<String>,
    /// With the refresh token before, what the present tokens were made from.
    pub successor_salt: Option<String>,
    pub refreshed_at: Timestamp,
}

/// The tokens that a session gets when it begins and whenever it is refreshed.
#[derive(Debug, Clone)]
pub(in crate::fleet) struct NewTokens {
    pub access: Hash,
    pub access_expires_at: Timestamp,
    pub refresh: Hash,
}

impl OrgStore {
    /// Begins a session.
    pub(in crate::fleet) async fn add_session(
        &mut self,
        session: &SessionRow,
        tokens: &NewTokens,
        (address, user_agent): (&str, &str),
    ) -> Result<(), StoreError> {
        self.query(
            "INSERT INTO sessions (org_id, id, user_id, created_at, expires_at, client, access_hash,
             access_expires_at, refresh_hash, refreshed_at, address, user_agent)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $4, $10, $11)",
        )
        .bind(session.id.clone())
        .bind(session.user_id.to_string())
        .bind(session.refreshed_at.as_millisecond())
        .bind(session.expires_at.as_millisecond())
        .bind(client_name(session.client))
        .bind(tokens.access.as_text())
        .bind(tokens.access_expires_at.as_millisecond())
        .bind(tokens.refresh.as_text())
        .bind(address.to_owned())
        .bind(user_agent.to_owned())
        .execute(self.connection())
        .await?;
        self.add_tokens(&session.id, tokens).await
    }

    async fn add_tokens(&mut self, id: &str, tokens: &NewTokens) -> Result<(), StoreError> {
        self.add_credential(CredentialKind::AccessToken, &tokens.access, id).await?;
        self.add_credential(CredentialKind::RefreshToken, &tokens.refresh, id).await
    }

    /// A session that has neither ended nor run out.
    pub(in crate::fleet) async fn session(
        &mut self,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<SessionRow>, StoreError> {
        let row = self
            .query(
                "SELECT id, user_id, expires_at, client, access_hash, access_expires_at,
                 previous_refresh_hash, successor_salt, refreshed_at FROM sessions
                 WHERE org_id = $1 AND id = $2 AND ended_at IS NULL AND expires_at > $3",
            )
            .bind(id.to_owned())
            .bind(now.as_millisecond())
            .fetch_optional(self.connection())
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(SessionRow {
            id: row.text("id")?,
            user_id: row.parsed("user_id")?,
            expires_at: row.time("expires_at")?,
            client: if row.text("client")? == "cli" {
                ClientKind::Cli
            } else {
                ClientKind::Browser
            },
            access_hash: row.text("access_hash")?,
            access_expires_at: row.time("access_expires_at")?,
            previous_refresh_hash: row.optional_text("previous_refresh_hash")?,
            successor_salt: row.optional_text("successor_salt")?,
            refreshed_at: row.time("refreshed_at")?,
        }))
    }

    /// Puts new tokens in place of the ones that belong to `old_refresh`. Of several that try at
    /// once, one succeeds: `false` for the others.
    pub(in crate::fleet) async fn rotate_tokens(
        &mut self,
        id: &str,
        (old_refresh, salt): (&Hash, &str),
        tokens: &NewTokens,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let rotated = self
            .query(
                "UPDATE sessions SET access_hash = $4, access_expires_at = $5, refresh_hash = $6,
                 previous_refresh_hash = $3, refreshed_at = $7, successor_salt = $8
                 WHERE org_id = $1 AND id = $2 AND refresh_hash = $3 AND ended_at IS NULL",
            )
            .bind(id.to_owned())
            .bind(old_refresh.as_text())
            .bind(tokens.access.as_text())
            .bind(tokens.access_expires_at.as_millisecond())
            .bind(tokens.refresh.as_text())
            .bind(now.as_millisecond())
            .bind(salt.to_owned())
            .execute(self.connection())
            .await?;
        if rotated.rows_affected() != 1 {
            return Ok(false);
        }
        self.remove_credentials(CredentialKind::AccessToken, id).await?;
        self.add_tokens(id, tokens).await?;
        Ok(true)
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
        self.remove_credentials(CredentialKind::AccessToken, id).await?;
        self.remove_credentials(CredentialKind::RefreshToken, id).await?;
        Ok(ended.rows_affected() == 1)
    }

    /// Deletes sessions that ran out or ended before `before`, with their tokens.
    pub(in crate::fleet) async fn sweep_sessions(
        &mut self,
        before: Timestamp,
    ) -> Result<u64, StoreError> {
        self.query(
            "DELETE FROM credentials WHERE org_id = $1 AND kind IN ('access_token', 'refresh_token')
             AND subject_id IN (SELECT id FROM sessions WHERE org_id = $1 AND expires_at <= $2)",
        )
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

fn client_name(client: ClientKind) -> &'static str {
    match client {
        ClientKind::Browser => "browser",
        ClientKind::Cli => "cli",
    }
}
