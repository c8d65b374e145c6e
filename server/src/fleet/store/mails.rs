//! The queue of mail to be sent, which outlives the process.

use jiff::Timestamp;

use super::{Access, Store, StoreError, Tx, row::Columns as _};

/// A mail to be sent.
#[derive(Debug, Clone)]
pub(in crate::fleet) struct MailRow {
    pub id: String,
    pub kind: String,
    pub recipient: String,
    /// JSON, whatever the kind needs. No secret.
    pub data: String,
    pub created_at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
}

impl Tx {
    /// Queues a mail.
    pub(in crate::fleet) async fn add_mail(&mut self, mail: &MailRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO mails (id, kind, recipient, data, created_at, due_at)
             VALUES ($1, $2, $3, $4, $5, $5)",
        )
        .bind(mail.id.clone())
        .bind(mail.kind.clone())
        .bind(mail.recipient.clone())
        .bind(mail.data.clone())
        .bind(mail.created_at.as_millisecond())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }
}

impl Store {
    /// Takes the mail that is due longest. Nobody else gets it before `again_at`.
    pub(in crate::fleet) async fn claim_mail(
        &self,
        now: Timestamp,
        again_at: Timestamp,
    ) -> Result<Option<MailRow>, StoreError> {
        let mut tx = self.begin(Access::Note).await?;
        let row = sqlx::query(
            "SELECT id, kind, recipient, data, created_at, attempts FROM mails WHERE due_at <= $1
             ORDER BY due_at, id LIMIT 1",
        )
        .bind(now.as_millisecond())
        .fetch_optional(&mut *tx.inner)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let mail = MailRow {
            id: row.text("id")?,
            kind: row.text("kind")?,
            recipient: row.text("recipient")?,
            data: row.text("data")?,
            created_at: row.time("created_at")?,
            attempts: row.count("attempts")?,
        };
        let claimed = sqlx::query(
            "UPDATE mails SET due_at = $2, attempts = attempts + 1 WHERE id = $1 AND attempts = $3",
        )
        .bind(mail.id.clone())
        .bind(again_at.as_millisecond())
        .bind(i64::from(mail.attempts))
        .execute(&mut *tx.inner)
        .await?;
        tx.commit().await?;
        Ok((claimed.rows_affected() == 1).then_some(mail))
    }

    /// Takes a mail out of the queue: it was sent, or never will be.
    pub(in crate::fleet) async fn remove_mail(&self, id: &str) -> Result<(), StoreError> {
        let mut tx = self.begin(Access::Note).await?;
        sqlx::query("DELETE FROM mails WHERE id = $1")
            .bind(id.to_owned())
            .execute(&mut *tx.inner)
            .await?;
        tx.commit().await
    }

    /// Puts off a mail that could not be sent.
    pub(in crate::fleet) async fn postpone_mail(
        &self,
        id: &str,
        due_at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin(Access::Note).await?;
        sqlx::query("UPDATE mails SET due_at = $2 WHERE id = $1")
            .bind(id.to_owned())
            .bind(due_at.as_millisecond())
            .execute(&mut *tx.inner)
            .await?;
        tx.commit().await
    }
}
