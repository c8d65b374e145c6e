//! Accounts that were asked for, until whoever asked shows that the address is theirs.

use jiff::Timestamp;

use super::{Hash, StoreError, Tx, row::Columns as _};

/// Somebody who asked for an account.
#[derive(Debug, Clone)]
pub(in crate::fleet) struct RegistrationRow {
    pub id: String,
    pub email: String,
    pub name: String,
    pub password_hash: String,
    pub organization: String,
}

impl Tx {
    /// Keeps a registration. No token leads to it yet.
    pub(in crate::fleet) async fn add_registration(
        &mut self,
        registration: &RegistrationRow,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO registrations (id, email, name, password_hash, organization, created_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(registration.id.clone())
        .bind(registration.email.clone())
        .bind(registration.name.clone())
        .bind(registration.password_hash.clone())
        .bind(registration.organization.clone())
        .bind(now.as_millisecond())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// The registration with that address, if there is exactly one.
    pub(in crate::fleet) async fn only_registration(
        &mut self,
        email: &str,
    ) -> Result<Option<String>, StoreError> {
        let rows = sqlx::query("SELECT id FROM registrations WHERE email = $1 LIMIT 2")
            .bind(email.to_owned())
            .fetch_all(&mut *self.inner)
            .await?;
        match rows.as_slice() {
            [row] => row.text("id").map(Some),
            _ => Ok(None),
        }
    }

    /// Makes a token lead to a registration, instead of the one before. `false` when there is
    /// no such registration any more.
    pub(in crate::fleet) async fn put_registration_token(
        &mut self,
        id: &str,
        hash: &Hash,
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let put = sqlx::query("UPDATE registrations SET hash = $2, expires_at = $3 WHERE id = $1")
            .bind(id.to_owned())
            .bind(hash.as_text())
            .bind(expires_at.as_millisecond())
            .execute(&mut *self.inner)
            .await?;
        Ok(put.rows_affected() == 1)
    }

    /// Takes the registration that a token leads to. Of many at once, one gets it.
    pub(in crate::fleet) async fn redeem_registration(
        &mut self,
        hash: &Hash,
        now: Timestamp,
    ) -> Result<Option<RegistrationRow>, StoreError> {
        let row = sqlx::query(
            "DELETE FROM registrations WHERE hash = $1 AND expires_at > $2
             RETURNING id, email, name, password_hash, organization",
        )
        .bind(hash.as_text())
        .bind(now.as_millisecond())
        .fetch_optional(&mut *self.inner)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(RegistrationRow {
            id: row.text("id")?,
            email: row.text("email")?,
            name: row.text("name")?,
            password_hash: row.text("password_hash")?,
            organization: row.text("organization")?,
        }))
    }

    /// Forgets every registration with that address.
    pub(in crate::fleet) async fn forget_registrations(
        &mut self,
        email: &str,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM registrations WHERE email = $1")
            .bind(email.to_owned())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }
}
