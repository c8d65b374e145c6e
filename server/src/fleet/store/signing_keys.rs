//! Keys that sign access tokens. They are the server's, not an organization's.

use jiff::Timestamp;
use sqlx::{Executor as _, any::AnyRow};

use super::{Access, Store, StoreError, Tx, row::Columns as _};

/// A signing key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fleet) struct SigningKeyRow {
    pub kid: String,
    pub alg: String,
    /// The public half, as JSON.
    pub public_jwk: String,
    /// The private half, encrypted.
    pub sealed_key: String,
    /// The master key that it is encrypted with, by name.
    pub sealed_by: String,
    pub created_at: Timestamp,
    pub active_from: Timestamp,
    pub gone_at: Option<Timestamp>,
}

/// A transaction in which nobody else changes signing keys.
pub(in crate::fleet) struct SigningKeyChange(Tx);

const COLUMNS: &str =
    "SELECT kid, alg, public_jwk, sealed_key, sealed_by, created_at, active_from, gone_at
     FROM signing_keys ORDER BY active_from, kid";

impl Store {
    /// Every key, gone ones too until they are swept, the oldest first.
    pub(in crate::fleet) async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        let rows = self.pool.fetch_all(COLUMNS).await?;
        rows.iter().map(key).collect()
    }

    /// Waits until nobody else changes keys, and keeps others waiting.
    pub(in crate::fleet) async fn change_signing_keys(
        &self,
    ) -> Result<SigningKeyChange, StoreError> {
        let mut tx = self.begin(Access::Write).await?;
        tx.lock("signing keys").await?;
        Ok(SigningKeyChange(tx))
    }
}

impl SigningKeyChange {
    /// As [`Store::signing_keys`].
    pub(in crate::fleet) async fn keys(&mut self) -> Result<Vec<SigningKeyRow>, StoreError> {
        let rows = sqlx::query(COLUMNS).fetch_all(&mut *self.0.inner).await?;
        rows.iter().map(key).collect()
    }

    pub(in crate::fleet) async fn add(&mut self, key: &SigningKeyRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO signing_keys (kid, alg, public_jwk, sealed_key, sealed_by, created_at,
             active_from) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(key.kid.clone())
        .bind(key.alg.clone())
        .bind(key.public_jwk.clone())
        .bind(key.sealed_key.clone())
        .bind(key.sealed_by.clone())
        .bind(key.created_at.as_millisecond())
        .bind(key.active_from.as_millisecond())
        .execute(&mut *self.0.inner)
        .await?;
        Ok(())
    }

    /// Sets when a key is gone.
    pub(in crate::fleet) async fn end(
        &mut self,
        kid: &str,
        gone_at: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE signing_keys SET gone_at = $2 WHERE kid = $1")
            .bind(kid.to_owned())
            .bind(gone_at.as_millisecond())
            .execute(&mut *self.0.inner)
            .await?;
        Ok(())
    }

    /// Moves on when a key begins to sign.
    pub(in crate::fleet) async fn begin_at(
        &mut self,
        kid: &str,
        active_from: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE signing_keys SET active_from = $2 WHERE kid = $1")
            .bind(kid.to_owned())
            .bind(active_from.as_millisecond())
            .execute(&mut *self.0.inner)
            .await?;
        Ok(())
    }

    /// Forgets keys that were gone before `before`.
    pub(in crate::fleet) async fn forget(&mut self, before: Timestamp) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM signing_keys WHERE gone_at IS NOT NULL AND gone_at <= $1")
            .bind(before.as_millisecond())
            .execute(&mut *self.0.inner)
            .await?;
        Ok(())
    }

    pub(in crate::fleet) async fn commit(self) -> Result<(), StoreError> {
        self.0.commit().await
    }
}

fn key(row: &AnyRow) -> Result<SigningKeyRow, StoreError> {
    Ok(SigningKeyRow {
        kid: row.text("kid")?,
        alg: row.text("alg")?,
        public_jwk: row.text("public_jwk")?,
        sealed_key: row.text("sealed_key")?,
        sealed_by: row.text("sealed_by")?,
        created_at: row.time("created_at")?,
        active_from: row.time("active_from")?,
        gone_at: row.optional_time("gone_at")?,
    })
}
