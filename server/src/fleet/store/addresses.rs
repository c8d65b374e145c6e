//! Addresses as they were stored before they were compared as they are today.

use jiff::Timestamp;
use wire::UserId;

use super::{
    Access, OrgStore, Store, StoreError,
    row::{Columns as _, corrupt},
};

impl Store {
    /// Whose addresses would become one, as far as was known when addresses were last looked through;
    /// `None` if they never were.
    pub(in crate::fleet) async fn address_clashes(
        &self,
    ) -> Result<Option<Vec<Vec<UserId>>>, StoreError> {
        let mut tx = self.begin(Access::Read).await?;
        let row = sqlx::query("SELECT clashes FROM address_folding WHERE id = 1")
            .fetch_optional(&mut *tx.inner)
            .await?;
        tx.commit().await?;
        let Some(row) = row else { return Ok(None) };
        let clashes = serde_json::from_str(&row.text("clashes")?);
        clashes.map(Some).map_err(|error| corrupt("clashes", error))
    }

    /// Notes that addresses were looked through, and whose would become one.
    pub(in crate::fleet) async fn note_address_clashes(
        &self,
        clashes: &[Vec<UserId>],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin(Access::Note).await?;
        sqlx::query(
            "INSERT INTO address_folding (id, folded_at, clashes) VALUES (1, $1, $2)
             ON CONFLICT (id) DO UPDATE SET folded_at = excluded.folded_at, clashes = excluded.clashes",
        )
        .bind(now.as_millisecond())
        .bind(serde_json::to_string(clashes).expect("ids are plain strings"))
        .execute(&mut *tx.inner)
        .await?;
        tx.commit().await
    }
}

impl OrgStore {
    /// Writes a person's address in another form, which nobody has shown to be theirs yet. `false` when
    /// it is not `before` any more. One that somebody else has is a duplicate.
    pub(in crate::fleet) async fn refold_email(
        &mut self,
        id: UserId,
        (before, after): (&str, &str),
    ) -> Result<bool, StoreError> {
        let written = sqlx::query(
            "UPDATE users SET email = $3, email_verified_at = NULL WHERE id = $1 AND email = $2",
        )
        .bind(id.to_string())
        .bind(before.to_owned())
        .bind(after.to_owned())
        .execute(self.connection())
        .await?;
        Ok(written.rows_affected() == 1)
    }
}
