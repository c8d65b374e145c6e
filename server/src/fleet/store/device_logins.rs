//! Sign-ins that one machine asks for and a person approves on another.

use jiff::{SignedDuration, Timestamp};
use sqlx::any::AnyRow;
use wire::{OrgId, UserId};

use super::{Access, Hash, Store, StoreError, Tx, row::Columns as _};

/// A sign-in that was asked for.
#[derive(Debug, Clone)]
pub(in crate::fleet) struct DeviceLoginRow {
    /// What asks, and from where.
    pub client: String,
    pub address: String,
    pub user_agent: String,
    pub fingerprint: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// How long to wait between two polls.
    pub interval: SignedDuration,
    pub polled_at: Timestamp,
    pub decision: Decision,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) enum Decision {
    Pending,
    Approved(Approval),
    Denied,
    Redeemed,
}

/// Who approved it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) struct Approval {
    pub org_id: OrgId,
    pub user_id: UserId,
    /// When they had last proved who they are.
    pub authenticated_at: Timestamp,
}

/// `SELECT` of a whole row, with what follows it.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT client, address, user_agent, fingerprint, created_at, expires_at, interval_ms,
             polled_at, state, organization, user_id, authenticated_at FROM device_logins ",
            $rest
        )
    };
}

impl Store {
    /// Adds a sign-in, with the hashes of its two codes. A user code that is in use is a duplicate.
    pub(in crate::fleet) async fn add_device_login(
        &self,
        (code, user_code): (&Hash, &Hash),
        login: &DeviceLoginRow,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin(Access::Note).await?;
        sqlx::query(
            "INSERT INTO device_logins (code_hash, user_code_hash, client, address, user_agent,
             fingerprint, created_at, expires_at, interval_ms, polled_at, state)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'pending')",
        )
        .bind(code.as_text())
        .bind(user_code.as_text())
        .bind(login.client.clone())
        .bind(login.address.clone())
        .bind(login.user_agent.clone())
        .bind(login.fingerprint.clone())
        .bind(login.created_at.as_millisecond())
        .bind(login.expires_at.as_millisecond())
        .bind(millis(login.interval))
        .bind(login.polled_at.as_millisecond())
        .execute(&mut *tx.inner)
        .await?;
        tx.commit().await
    }

    pub(in crate::fleet) async fn device_login(
        &self,
        code: &Hash,
    ) -> Result<Option<DeviceLoginRow>, StoreError> {
        let query = sqlx::query(select!("WHERE code_hash = $1")).bind(code.as_text());
        let mut tx = self.begin(Access::Read).await?;
        let row = query.fetch_optional(&mut *tx.inner).await?;
        tx.commit().await?;
        row.as_ref().map(login).transpose()
    }

    pub(in crate::fleet) async fn device_login_by_user_code(
        &self,
        user_code: &Hash,
    ) -> Result<Option<DeviceLoginRow>, StoreError> {
        let query = sqlx::query(select!("WHERE user_code_hash = $1")).bind(user_code.as_text());
        let mut tx = self.begin(Access::Read).await?;
        let row = query.fetch_optional(&mut *tx.inner).await?;
        tx.commit().await?;
        row.as_ref().map(login).transpose()
    }

    /// Notes a poll, and how long to wait for the next.
    pub(in crate::fleet) async fn note_device_poll(
        &self,
        code: &Hash,
        interval: SignedDuration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin(Access::Note).await?;
        sqlx::query(
            "UPDATE device_logins SET polled_at = $2, interval_ms = $3 WHERE code_hash = $1",
        )
        .bind(code.as_text())
        .bind(now.as_millisecond())
        .bind(millis(interval))
        .execute(&mut *tx.inner)
        .await?;
        tx.commit().await
    }

    /// Forgets sign-ins that ran out before `before`.
    pub(in crate::fleet) async fn sweep_device_logins(
        &self,
        before: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin(Access::Note).await?;
        sqlx::query("DELETE FROM device_logins WHERE expires_at <= $1")
            .bind(before.as_millisecond())
            .execute(&mut *tx.inner)
            .await?;
        tx.commit().await
    }
}

impl Tx {
    /// Approves a sign-in for somebody, or denies it. `false` when it was decided before, or has
    /// run out.
    pub(in crate::fleet) async fn decide_device_login(
        &mut self,
        user_code: &Hash,
        approved_by: Option<Approval>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let decided = sqlx::query(
            "UPDATE device_logins
             SET state = $2, organization = $3, user_id = $4, authenticated_at = $6
             WHERE user_code_hash = $1 AND state = 'pending' AND expires_at > $5",
        )
        .bind(user_code.as_text())
        .bind(if approved_by.is_some() { "approved" } else { "denied" })
        .bind(approved_by.map(|by| by.org_id.to_string()))
        .bind(approved_by.map(|by| by.user_id.to_string()))
        .bind(now.as_millisecond())
        .bind(approved_by.map(|by| by.authenticated_at.as_millisecond()))
        .execute(&mut *self.inner)
        .await?;
        Ok(decided.rows_affected() == 1)
    }

    /// Uses up an approved sign-in. Of several that try at once, one succeeds.
    pub(in crate::fleet) async fn redeem_device_login(
        &mut self,
        code: &Hash,
    ) -> Result<bool, StoreError> {
        let redeemed = sqlx::query(
            "UPDATE device_logins SET state = 'redeemed' WHERE code_hash = $1 AND state = 'approved'",
        )
        .bind(code.as_text())
        .execute(&mut *self.inner)
        .await?;
        Ok(redeemed.rows_affected() == 1)
    }
}

fn millis(length: SignedDuration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

fn login(row: &AnyRow) -> Result<DeviceLoginRow, StoreError> {
    let (org_id, user_id) = (row.optional_parsed("organization")?, row.optional_parsed("user_id")?);
    let authenticated_at = row.optional_time("authenticated_at")?;
    Ok(DeviceLoginRow {
        client: row.text("client")?,
        address: row.text("address")?,
        user_agent: row.text("user_agent")?,
        fingerprint: row.text("fingerprint")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        interval: SignedDuration::from_millis(row.number("interval_ms")?),
        polled_at: row.time("polled_at")?,
        decision: match (row.text("state")?.as_str(), org_id, user_id, authenticated_at) {
            ("approved", Some(org_id), Some(user_id), Some(authenticated_at)) => {
                Decision::Approved(Approval { org_id, user_id, authenticated_at })
            }
            ("pending", ..) => Decision::Pending,
            ("denied", ..) => Decision::Denied,
            _ => Decision::Redeemed,
        },
    })
}
