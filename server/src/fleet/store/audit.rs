//! The audit trail: appended to in the transaction that it tells of, read, cut at the old end.

use std::mem;

use jiff::Timestamp;
use sqlx::any::AnyRow;
use wire::audit::{AuditEvent, AuditHead};

use super::{
    OrgStore, StoreError, Tx,
    row::{Columns as _, corrupt},
};

/// Which events a page shows.
#[derive(Debug, Clone, Default)]
pub(in crate::fleet) struct AuditFilter {
    /// The number after which the page begins.
    pub after: u64,
    /// This event alone; empty for all.
    pub event: String,
    pub limit: u32,
}

impl Tx {
    /// Appends what was recorded. Who appends waits for every other transaction that has appended to
    /// the same trail, so it is the last that a transaction does, and trails come in the order of
    /// their organizations: then no two transactions wait for each other.
    pub(super) async fn append_recorded(mut self) -> Result<Self, StoreError> {
        let mut recorded = mem::take(&mut self.recorded);
        recorded.sort_by_key(|(org_id, _)| *org_id);
        for (org_id, event) in &mut recorded {
            let mut org = self.enter(*org_id).await?;
            org.append_event(event).await?;
            self = org.leave();
        }
        self.recorded = recorded;
        Ok(self)
    }
}

impl OrgStore {
    /// Has the commit append `event` to the organization's trail; its number and hashes are filled
    /// in then.
    pub(in crate::fleet) fn record_event(&mut self, event: AuditEvent) {
        self.tx.recorded.push((self.org_id, event));
    }

    async fn append_event(&mut self, event: &mut AuditEvent) -> Result<(), StoreError> {
        let head = match self.next_in_trail().await? {
            Some(head) => head,
            None => self.first_in_trail().await?,
        };
        event.seq = head.seq;
        event.previous = head.hash;
        event.hash = event.digest();
        self.insert_event(event).await?;
        self.query("UPDATE audit_heads SET hash = $2 WHERE org_id = $1")
            .bind(event.hash.clone())
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Takes the next number, and with it the turn to append: others wait for this transaction.
    async fn next_in_trail(&mut self) -> Result<Option<AuditHead>, StoreError> {
        let row = self
            .query("UPDATE audit_heads SET seq = seq + 1 WHERE org_id = $1 RETURNING seq, hash")
            .fetch_optional(self.connection())
            .await?;
        row.map(|row| Ok(AuditHead { seq: number(&row, "seq")?, hash: row.text("hash")? }))
            .transpose()
    }

    /// The same where nothing was appended before.
    async fn first_in_trail(&mut self) -> Result<AuditHead, StoreError> {
        self.query(
            "INSERT INTO audit_heads (org_id, seq, hash) VALUES ($1, 0, '')
             ON CONFLICT (org_id) DO NOTHING",
        )
        .execute(self.connection())
        .await?;
        let head = self.next_in_trail().await?;
        head.ok_or_else(|| StoreError::Corrupt("an audit trail has no head".to_owned()))
    }

    async fn insert_event(&mut self, event: &AuditEvent) -> Result<(), StoreError> {
        self.query(
            "INSERT INTO audit_events (org_id, seq, at, event, actor, subject, outcome, address,
             user_agent, route, request_id, changes, previous, hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(to_number(event.seq))
        .bind(event.at.as_millisecond())
        .bind(event.event.clone())
        .bind(event.actor.clone())
        .bind(event.subject.clone())
        .bind(event.outcome.clone())
        .bind(event.address.clone())
        .bind(event.user_agent.clone())
        .bind(event.route.clone())
        .bind(event.request_id.clone())
        .bind(event.changes.to_string())
        .bind(event.previous.clone())
        .bind(event.hash.clone())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// The newest event's number and hash.
    pub(in crate::fleet) async fn audit_head(&mut self) -> Result<AuditHead, StoreError> {
        let row = self
            .query("SELECT seq, hash FROM audit_heads WHERE org_id = $1")
            .fetch_optional(self.connection())
            .await?;
        match row {
            Some(row) => Ok(AuditHead { seq: number(&row, "seq")?, hash: row.text("hash")? }),
            None => Ok(AuditHead { seq: 0, hash: String::new() }),
        }
    }

    /// Events in their order.
    pub(in crate::fleet) async fn audit_events(
        &mut self,
        filter: &AuditFilter,
    ) -> Result<Vec<AuditEvent>, StoreError> {
        let rows = self
            .query(
                "SELECT seq, at, event, actor, subject, outcome, address, user_agent, route,
                 request_id, changes, previous, hash FROM audit_events WHERE org_id = $1 AND seq > $2
                 AND ($3 = '' OR event = $3) ORDER BY seq LIMIT $4",
            )
            .bind(to_number(filter.after))
            .bind(filter.event.clone())
            .bind(i64::from(filter.limit))
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(event).collect()
    }

    /// Deletes events from before `before`.
    pub(in crate::fleet) async fn sweep_audit(
        &mut self,
        before: Timestamp,
    ) -> Result<(), StoreError> {
        self.query("DELETE FROM audit_events WHERE org_id = $1 AND at < $2")
            .bind(before.as_millisecond())
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

fn event(row: &AnyRow) -> Result<AuditEvent, StoreError> {
    Ok(AuditEvent {
        seq: number(row, "seq")?,
        at: row.time("at")?,
        event: row.text("event")?,
        actor: row.text("actor")?,
        subject: row.text("subject")?,
        outcome: row.text("outcome")?,
        address: row.text("address")?,
        user_agent: row.text("user_agent")?,
        route: row.text("route")?,
        request_id: row.text("request_id")?,
        changes: serde_json::from_str(&row.text("changes")?)
            .map_err(|error| corrupt("changes", error))?,
        previous: row.text("previous")?,
        hash: row.text("hash")?,
    })
}

fn number(row: &AnyRow, name: &str) -> Result<u64, StoreError> {
    u64::try_from(row.number(name)?).map_err(|error| corrupt(name, error))
}

fn to_number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
