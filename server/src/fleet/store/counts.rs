//! How many of each thing there are, for a monitoring system: numbers alone.

use jiff::Timestamp;
use wire::api::DeviceState;

use super::{Access, OrgStore, Store, StoreError, accounts::EVERYBODY, row::Columns as _};

/// Sessions that have not run out, by how long ago their persons did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) struct Ages {
    pub now: Timestamp,
    /// Whoever did nothing since has run out.
    pub timeout: Timestamp,
    /// Whoever did nothing since is warned.
    pub warning: Timestamp,
    /// Whoever did nothing since is idle.
    pub idle: Timestamp,
}

impl Store {
    /// How many people there are, and mails to be sent.
    pub(in crate::fleet) async fn people_and_mails(&self) -> Result<(u64, u64), StoreError> {
        let mut tx = self.begin_with(Access::Read, EVERYBODY).await?;
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM users) AS people, (SELECT COUNT(*) FROM mails) AS mails",
        )
        .fetch_one(&mut *tx.inner)
        .await?;
        tx.commit().await?;
        Ok((u64::from(row.count("people")?), u64::from(row.count("mails")?)))
    }

    /// How many connections there are, and how many of them nobody uses.
    pub(in crate::fleet) fn connections(&self) -> (u64, u64) {
        (u64::from(self.pool.size()), self.pool.num_idle() as u64)
    }
}

impl OrgStore {
    /// How many sessions are in each state, by its name.
    pub(in crate::fleet) async fn session_counts(
        &mut self,
        ages: Ages,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let rows = self
            .query(
                "SELECT CASE WHEN last_action_at <= $4 THEN 'warning'
                 WHEN last_action_at <= $5 THEN 'idle'
                 WHEN acted <> 0 THEN 'active' ELSE 'authenticated' END AS life, COUNT(*) AS n
                 FROM sessions
                 WHERE org_id = $1 AND ended_at IS NULL AND expires_at > $2 AND last_action_at > $3
                 GROUP BY 1",
            )
            .bind(ages.now.as_millisecond())
            .bind(ages.timeout.as_millisecond())
            .bind(ages.warning.as_millisecond())
            .bind(ages.idle.as_millisecond())
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(|row| Ok((row.text("life")?, u64::from(row.count("n")?)))).collect()
    }

    /// How many devices are in each state.
    pub(in crate::fleet) async fn device_counts(
        &mut self,
    ) -> Result<Vec<(DeviceState, u64)>, StoreError> {
        let rows = self
            .query("SELECT state, COUNT(*) AS n FROM devices WHERE org_id = $1 GROUP BY state")
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(|row| Ok((row.parsed("state")?, u64::from(row.count("n")?)))).collect()
    }

    /// How many access tokens are refused by their ids.
    pub(in crate::fleet) async fn revoked_tokens(&mut self) -> Result<u64, StoreError> {
        let row = self
            .query("SELECT COUNT(*) AS n FROM revoked_tokens WHERE org_id = $1")
            .fetch_one(self.connection())
            .await?;
        Ok(u64::from(row.count("n")?))
    }
}
