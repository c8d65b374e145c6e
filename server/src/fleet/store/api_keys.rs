//! API keys: their rows, and the hashes that lead to them.

use jiff::Timestamp;
use sqlx::any::AnyRow;
use wire::{
    ApiKeyId, Permission, UserId,
    api::{ApiKey, ApiKeyKind},
};

use super::{
    CredentialKind, Hash, Keyset, OrgStore, StoreError,
    row::{Columns as _, corrupt},
};

/// An API key as it is stored.
#[derive(Debug, Clone)]
pub(in crate::fleet) struct ApiKeyRow {
    pub key: ApiKey,
    pub key_hash: String,
    /// The value before the last rotation, and until when it works.
    pub previous_hash: Option<String>,
    pub previous_until: Option<Timestamp>,
}

/// An API key to be added.
#[derive(Debug)]
pub(in crate::fleet) struct NewApiKeyRow<'a> {
    pub id: ApiKeyId,
    pub name: &'a str,
    pub kind: ApiKeyKind,
    pub prefix: &'a str,
    pub last4: &'a str,
    pub scopes: &'a [Permission],
    pub created_by: UserId,
    pub expires_at: Option<Timestamp>,
    pub requests_per_minute: Option<u32>,
}

/// `SELECT` of a whole row, with what follows it.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, kind, prefix, last4, scopes, created_by, created_at, expires_at,
             last_used_at, last_used_ip, revoked_at, requests_per_minute, key_hash, previous_hash,
             previous_until FROM api_keys ",
            $rest
        )
    };
}

impl OrgStore {
    pub(in crate::fleet) async fn add_api_key(
        &mut self,
        key: &NewApiKeyRow<'_>,
        hash: &Hash,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let scopes = serde_json::to_string(key.scopes).expect("permissions are plain strings");
        self.query(
            "INSERT INTO api_keys (org_id, id, name, prefix, last4, scopes, created_by, created_at,
             expires_at, key_hash, kind, requests_per_minute)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(key.id.to_string())
        .bind(key.name.to_owned())
        .bind(key.prefix.to_owned())
        .bind(key.last4.to_owned())
        .bind(scopes)
        .bind(key.created_by.to_string())
        .bind(now.as_millisecond())
        .bind(key.expires_at.map(Timestamp::as_millisecond))
        .bind(hash.as_text())
        .bind(key.kind.as_str())
        .bind(key.requests_per_minute.map(i64::from))
        .execute(self.connection())
        .await?;
        self.add_credential(CredentialKind::ApiKey, hash, &key.id.to_string()).await
    }

    /// A page of this organization's API keys, revoked ones too.
    pub(in crate::fleet) async fn api_keys(
        &mut self,
        page: &Keyset,
    ) -> Result<Vec<ApiKey>, StoreError> {
        let rows = self
            .query(select!("WHERE org_id = $1 AND id > $2 ORDER BY id LIMIT $3"))
            .bind(page.after.clone())
            .bind(page.limit)
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(|row| api_key(row).map(|row| row.key)).collect()
    }

    pub(in crate::fleet) async fn api_key(
        &mut self,
        id: &str,
    ) -> Result<Option<ApiKeyRow>, StoreError> {
        let row = self
            .query(select!("WHERE org_id = $1 AND id = $2"))
            .bind(id.to_owned())
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(api_key).transpose()
    }

    /// The oldest key of that name that is neither revoked nor expired.
    pub(in crate::fleet) async fn api_key_named(
        &mut self,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<ApiKey>, StoreError> {
        let row = self
            .query(select!(
                "WHERE org_id = $1 AND name = $2 AND revoked_at IS NULL
                 AND (expires_at IS NULL OR expires_at > $3) ORDER BY id LIMIT 1"
            ))
            .bind(name.to_owned())
            .bind(now.as_millisecond())
            .fetch_optional(self.connection())
            .await?;
        Ok(row.as_ref().map(api_key).transpose()?.map(|row| row.key))
    }

    /// Refuses a key from here on; one that was revoked before keeps its time.
    pub(in crate::fleet) async fn revoke_api_key(
        &mut self,
        id: ApiKeyId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.query(
            "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $3) WHERE org_id = $1 AND id = $2",
        )
        .bind(id.to_string())
        .bind(now.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Gives a key a new value; the one before works until `previous_until`. `false` when the key
    /// was rotated or revoked meanwhile.
    pub(in crate::fleet) async fn rotate_api_key(
        &mut self,
        old: &ApiKeyRow,
        (hash, prefix, last4): (&Hash, &str, &str),
        previous_until: Timestamp,
    ) -> Result<bool, StoreError> {
        let id = old.key.id.to_string();
        let rotated = self
            .query(
                "UPDATE api_keys SET key_hash = $4, last4 = $5, previous_hash = $3,
                 previous_until = $6, prefix = $7 WHERE org_id = $1 AND id = $2 AND key_hash = $3 AND revoked_at IS NULL",
            )
            .bind(id.clone())
            .bind(old.key_hash.clone())
            .bind(hash.as_text())
            .bind(last4.to_owned())
            .bind(previous_until.as_millisecond())
            .bind(prefix.to_owned())
            .execute(self.connection())
            .await?;
        if rotated.rows_affected() != 1 {
            return Ok(false);
        }
        self.query(
            "DELETE FROM credentials WHERE org_id = $1 AND subject_id = $2 AND kind = 'api_key' AND hash <> $3",
        )
        .bind(id.clone())
        .bind(old.key_hash.clone())
        .execute(self.connection())
        .await?;
        self.add_credential(CredentialKind::ApiKey, hash, &id).await?;
        Ok(true)
    }

    /// Remembers a key's use, at most once a minute; `false` when somebody else just did.
    pub(in crate::fleet) async fn note_api_key_use(
        &mut self,
        id: ApiKeyId,
        address: &str,
        (long_ago, now): (Timestamp, Timestamp),
    ) -> Result<bool, StoreError> {
        let noted = self
            .query(
                "UPDATE api_keys SET last_used_at = $3, last_used_ip = $4
                 WHERE org_id = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at <= $5)",
            )
            .bind(id.to_string())
            .bind(now.as_millisecond())
            .bind(address.to_owned())
            .bind(long_ago.as_millisecond())
            .execute(self.connection())
            .await?;
        Ok(noted.rows_affected() == 1)
    }
}

fn api_key(row: &AnyRow) -> Result<ApiKeyRow, StoreError> {
    let scopes =
        serde_json::from_str(&row.text("scopes")?).map_err(|error| corrupt("scopes", error))?;
    let key = ApiKey {
        id: row.parsed("id")?,
        name: row.text("name")?,
        kind: if row.text("kind")? == ApiKeyKind::Service.as_str() {
            ApiKeyKind::Service
        } else {
            ApiKeyKind::Person
        },
        prefix: row.text("prefix")?,
        last4: row.text("last4")?,
        scopes,
        created_by: row.parsed("created_by")?,
        created_at: row.time("created_at")?,
        expires_at: row.optional_time("expires_at")?,
        last_used_at: row.optional_time("last_used_at")?,
        last_used_ip: row.optional_text("last_used_ip")?,
        revoked_at: row.optional_time("revoked_at")?,
        requests_per_minute: row
            .optional_number("requests_per_minute")?
            .map(|number| {
                u32::try_from(number).map_err(|error| corrupt("requests_per_minute", error))
            })
            .transpose()?,
    };
    Ok(ApiKeyRow {
        key,
        key_hash: row.text("key_hash")?,
        previous_hash: row.optional_text("previous_hash")?,
        previous_until: row.optional_time("previous_until")?,
    })
}
