//! Enroll secrets: their rows, and the hashes that lead to them.

use jiff::Timestamp;
use sqlx::any::AnyRow;
use wire::{EnrollSecretId, TeamId, api::EnrollSecretInfo};

use super::{CredentialKind, Hash, Keyset, OrgStore, StoreError, row::Columns as _};

/// An enroll secret to be added.
#[derive(Debug)]
pub(in crate::fleet) struct NewEnrollSecretRow<'a> {
    pub id: EnrollSecretId,
    pub name: &'a str,
    pub team_id: Option<TeamId>,
    pub expires_at: Option<Timestamp>,
    pub max_uses: Option<u32>,
    pub needs_approval: bool,
    /// In lower case.
    pub hardware_ids: &'a [String],
}

/// `SELECT` of a whole row, with what follows it.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, team_id, created_at, expires_at, max_uses, needs_approval,
             hardware_ids, use_count, last_used_at, revoked_at FROM enroll_secrets ",
            $rest
        )
    };
}

impl OrgStore {
    /// Adds an enroll secret. A value that exists already is a duplicate.
    pub(in crate::fleet) async fn add_enroll_secret(
        &mut self,
        secret: &NewEnrollSecretRow<'_>,
        hash: &Hash,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.add_credential(CredentialKind::EnrollSecret, hash, &secret.id.to_string()).await?;
        self.query(
            "INSERT INTO enroll_secrets (org_id, id, name, team_id, created_at, expires_at, max_uses,
             needs_approval, hardware_ids) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(secret.id.to_string())
        .bind(secret.name.to_owned())
        .bind(secret.team_id.map(|id| id.to_string()))
        .bind(now.as_millisecond())
        .bind(secret.expires_at.map(Timestamp::as_millisecond))
        .bind(secret.max_uses.map(i64::from))
        .bind(i64::from(secret.needs_approval))
        .bind(secret.hardware_ids.join("\n"))
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// A page of this organization's enroll secrets, revoked ones too: of those for the teams in
    /// `within` (ids separated by commas), or of all (`*`).
    pub(in crate::fleet) async fn enroll_secrets(
        &mut self,
        within: &str,
        page: &Keyset,
    ) -> Result<Vec<EnrollSecretInfo>, StoreError> {
        let rows = self
            .query(select!(
                "WHERE org_id = $1 AND id > $2
                 AND ($4 = '*' OR $4 LIKE '%' || team_id || '%') ORDER BY id LIMIT $3"
            ))
            .bind(page.after.clone())
            .bind(page.limit)
            .bind(within.to_owned())
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(enroll_secret).collect()
    }

    pub(in crate::fleet) async fn enroll_secret(
        &mut self,
        id: &str,
    ) -> Result<Option<EnrollSecretInfo>, StoreError> {
        let row = self
            .query(select!("WHERE org_id = $1 AND id = $2"))
            .bind(id.to_owned())
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(enroll_secret).transpose()
    }

    /// Counts one use, if the secret is still good. The condition and the count are one statement,
    /// so that enrollments at the same moment cannot share the last use.
    pub(in crate::fleet) async fn use_enroll_secret(
        &mut self,
        id: EnrollSecretId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let used = self
            .query(
                "UPDATE enroll_secrets SET use_count = use_count + 1, last_used_at = $3
                 WHERE org_id = $1 AND id = $2 AND revoked_at IS NULL
                 AND (expires_at IS NULL OR expires_at > $3)
                 AND (max_uses IS NULL OR use_count < max_uses)",
            )
            .bind(id.to_string())
            .bind(now.as_millisecond())
            .execute(self.connection())
            .await?;
        Ok(used.rows_affected() == 1)
    }

    /// Notes a use that does not count, if the secret is neither revoked nor expired.
    pub(in crate::fleet) async fn share_enroll_secret(
        &mut self,
        id: EnrollSecretId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let used = self
            .query(
                "UPDATE enroll_secrets SET last_used_at = $3 WHERE org_id = $1 AND id = $2
                 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3)",
            )
            .bind(id.to_string())
            .bind(now.as_millisecond())
            .execute(self.connection())
            .await?;
        Ok(used.rows_affected() == 1)
    }

    /// Refuses a secret from here on. `false` when there is no such secret.
    pub(in crate::fleet) async fn revoke_enroll_secret(
        &mut self,
        id: EnrollSecretId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let revoked = self
            .query(
                "UPDATE enroll_secrets SET revoked_at = COALESCE(revoked_at, $3)
                 WHERE org_id = $1 AND id = $2",
            )
            .bind(id.to_string())
            .bind(now.as_millisecond())
            .execute(self.connection())
            .await?;
        Ok(revoked.rows_affected() == 1)
    }
}

fn enroll_secret(row: &AnyRow) -> Result<EnrollSecretInfo, StoreError> {
    Ok(EnrollSecretInfo {
        id: row.parsed("id")?,
        name: row.text("name")?,
        team_id: row.optional_parsed("team_id")?,
        created_at: row.time("created_at")?,
        expires_at: row.optional_time("expires_at")?,
        max_uses: row
            .optional_number("max_uses")?
            .map(u32::try_from)
            .transpose()
            .map_err(|error| super::row::corrupt("max_uses", error))?,
        needs_approval: row.number("needs_approval")? != 0,
        hardware_ids: row.text("hardware_ids")?.lines().map(str::to_owned).collect(),
        use_count: row.count("use_count")?,
        last_used_at: row.optional_time("last_used_at")?,
        revoked_at: row.optional_time("revoked_at")?,
    })
}
