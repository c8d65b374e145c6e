//! What people prove themselves with, apart from any organization: passwords, and tokens that work
//! once.

use jiff::Timestamp;
use sqlx::any::AnyRow;
use wire::{OrgId, UserId};

use super::{Access, Hash, OrgStore, Store, StoreError, Tx, row::Columns as _};

/// What row-level security is told by whatever looks at all people at once.
pub(super) const EVERYBODY: (&str, &str) = ("app.survey", "people");

/// What a token that works once is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) enum TokenKind {
    /// Mailed to somebody who forgot the password.
    ResetPassword,
    /// Handed out at sign-in to somebody whose password is too old.
    ChangePassword,
    /// Mailed to an address that somebody wants to have from now on.
    ChangeEmail,
}

impl TokenKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::ResetPassword => "reset_password",
            Self::ChangePassword => "change_password",
            Self::ChangeEmail => "change_email",
        }
    }
}

/// A token to be kept.
#[derive(Debug)]
pub(in crate::fleet) struct NewToken<'a> {
    pub kind: TokenKind,
    pub hash: &'a Hash,
    pub user_id: UserId,
    pub email: &'a str,
    pub expires_at: Timestamp,
}

/// A token that was used up.
#[derive(Debug)]
pub(in crate::fleet) struct Redeemed {
    pub kind: TokenKind,
    pub user_id: UserId,
    /// The address that it is for.
    pub email: String,
}

/// A person as far as their account goes.
#[derive(Debug, Clone)]
pub(in crate::fleet) struct AccountRow {
    pub user_id: UserId,
    pub email: String,
    pub name: String,
    pub password_hash: String,
    pub password_changed_at: Timestamp,
    /// When a mail to the address was answered, if one was.
    pub email_verified_at: Option<Timestamp>,
}

/// `SELECT` of a whole row, with what follows it.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, email, name, password_hash, password_changed_at, email_verified_at
             FROM users ",
            $rest
        )
    };
}

impl Store {
    /// The account of a person, if it is not disabled.
    pub(in crate::fleet) async fn account(
        &self,
        user_id: UserId,
    ) -> Result<Option<AccountRow>, StoreError> {
        let mut tx = self.begin_with(Access::Read, ("app.account", &user_id.to_string())).await?;
        let row = sqlx::query(select!("WHERE id = $1 AND disabled_at IS NULL"))
            .bind(user_id.to_string())
            .fetch_optional(&mut *tx.inner)
            .await?;
        tx.commit().await?;
        row.as_ref().map(account).transpose()
    }

    /// The account with that address, in lower case.
    pub(in crate::fleet) async fn account_of(
        &self,
        email: &str,
    ) -> Result<Option<AccountRow>, StoreError> {
        let mut tx = self.begin_with(Access::Read, ("app.address", email)).await?;
        let row = sqlx::query(select!("WHERE email = $1 AND disabled_at IS NULL"))
            .bind(email.to_owned())
            .fetch_optional(&mut *tx.inner)
            .await?;
        tx.commit().await?;
        row.as_ref().map(account).transpose()
    }

    /// The organizations that a person belongs to and may sign in to, longest first.
    pub(in crate::fleet) async fn organizations_of(
        &self,
        user_id: UserId,
    ) -> Result<Vec<OrgId>, StoreError> {
        let mut tx = self.begin(Access::Read).await?;
        tx.set("app.user_id", &user_id.to_string()).await?;
        let rows = sqlx::query(
            "SELECT org_id FROM memberships WHERE user_id = $1 AND disabled_at IS NULL
             ORDER BY created_at, org_id",
        )
        .bind(user_id.to_string())
        .fetch_all(&mut *tx.inner)
        .await?;
        tx.commit().await?;
        rows.iter().map(|row| row.parsed("org_id")).collect()
    }

    /// Whose token it is, if it still works. It is not used up.
    pub(in crate::fleet) async fn token_holder(
        &self,
        kinds: &[TokenKind],
        hash: &Hash,
        now: Timestamp,
    ) -> Result<Option<AccountRow>, StoreError> {
        let mut tx = self.begin(Access::Read).await?;
        let row = sqlx::query(
            "SELECT kind, user_id FROM one_time_tokens WHERE hash = $1 AND expires_at > $2",
        )
        .bind(hash.as_text())
        .bind(now.as_millisecond())
        .fetch_optional(&mut *tx.inner)
        .await?;
        tx.commit().await?;
        let Some(row) = row else { return Ok(None) };
        let kind = row.text("kind")?;
        if !kinds.iter().any(|wanted| wanted.as_str() == kind) {
            return Ok(None);
        }
        self.account(row.parsed("user_id")?).await
    }

    /// A transaction about no organization.
    pub(in crate::fleet) async fn apart(&self) -> Result<Tx, StoreError> {
        self.begin(Access::Write).await
    }

    /// Passwords that a person had, newest first, at most `count`.
    pub(in crate::fleet) async fn password_history(
        &self,
        user_id: UserId,
        count: usize,
    ) -> Result<Vec<String>, StoreError> {
        let mut tx = self.begin_with(Access::Read, ("app.account", &user_id.to_string())).await?;
        let rows = sqlx::query(
            "SELECT password_hash FROM password_history WHERE user_id = $1
             ORDER BY used_until DESC LIMIT $2",
        )
        .bind(user_id.to_string())
        .bind(i64::try_from(count).unwrap_or(i64::MAX))
        .fetch_all(&mut *tx.inner)
        .await?;
        tx.commit().await?;
        rows.iter().map(|row| row.text("password_hash")).collect()
    }

    /// One password hash of each kind that people who may sign in have; several of a kind whose
    /// parameters are shorter than usual.
    pub(in crate::fleet) async fn kinds_of_passwords(&self) -> Result<Vec<String>, StoreError> {
        let mut tx = self.begin_with(Access::Read, EVERYBODY).await?;
        let rows = sqlx::query(
            "SELECT MIN(password_hash) AS password_hash FROM users WHERE disabled_at IS NULL
             GROUP BY CASE WHEN password_hash LIKE '$2%' THEN substr(password_hash, 1, 6)
                      ELSE substr(password_hash, 1, 31) END",
        )
        .fetch_all(&mut *tx.inner)
        .await?;
        tx.commit().await?;
        rows.iter().map(|row| row.text("password_hash")).collect()
    }

    /// Puts another hash of the same password in place of `old`, unless it was changed meanwhile.
    pub(in crate::fleet) async fn rehash_password(
        &self,
        user_id: UserId,
        (old, new): (&str, &str),
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_with(Access::Write, ("app.account", &user_id.to_string())).await?;
        sqlx::query("UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2")
            .bind(user_id.to_string())
            .bind(old.to_owned())
            .bind(new.to_owned())
            .execute(&mut *tx.inner)
            .await?;
        tx.commit().await
    }
}

impl Tx {
    /// Goes on within one organization.
    pub(in crate::fleet) async fn within(self, org_id: OrgId) -> Result<OrgStore, StoreError> {
        self.enter(org_id).await
    }

    /// Keeps what was written.
    pub(in crate::fleet) async fn keep(self) -> Result<(), StoreError> {
        self.commit().await
    }

    /// Gives a person another password, and remembers the one before. `false` when somebody else
    /// just did.
    pub(in crate::fleet) async fn set_password(
        &mut self,
        account: &AccountRow,
        (hash, history): (&str, usize),
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let id = account.user_id.to_string();
        let set = sqlx::query(
            "UPDATE users SET password_hash = $3, password_changed_at = $4
             WHERE id = $1 AND password_hash = $2",
        )
        .bind(id.clone())
        .bind(account.password_hash.clone())
        .bind(hash.to_owned())
        .bind(now.as_millisecond())
        .execute(&mut *self.inner)
        .await?;
        if set.rows_affected() != 1 {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO password_history (user_id, password_hash, used_until) VALUES ($1, $2, $3)",
        )
        .bind(id.clone())
        .bind(account.password_hash.clone())
        .bind(now.as_millisecond())
        .execute(&mut *self.inner)
        .await?;
        sqlx::query(
            "DELETE FROM password_history WHERE user_id = $1 AND password_hash NOT IN
             (SELECT password_hash FROM password_history WHERE user_id = $1
              ORDER BY used_until DESC LIMIT $2)",
        )
        .bind(id)
        .bind(i64::try_from(history).unwrap_or(i64::MAX))
        .execute(&mut *self.inner)
        .await?;
        Ok(true)
    }

    /// Keeps a token in place of those of its kind that the person had.
    pub(in crate::fleet) async fn put_token(
        &mut self,
        token: &NewToken<'_>,
    ) -> Result<(), StoreError> {
        self.forget_tokens(token.user_id, Some(token.kind)).await?;
        sqlx::query(
            "INSERT INTO one_time_tokens (hash, kind, user_id, email, expires_at)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(token.hash.as_text())
        .bind(token.kind.as_str())
        .bind(token.user_id.to_string())
        .bind(token.email.to_owned())
        .bind(token.expires_at.as_millisecond())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Uses a token up. Of many at once, one succeeds.
    pub(in crate::fleet) async fn redeem_token(
        &mut self,
        kinds: &[TokenKind],
        hash: &Hash,
        now: Timestamp,
    ) -> Result<Option<Redeemed>, StoreError> {
        for &kind in kinds {
            let row = sqlx::query(
                "DELETE FROM one_time_tokens WHERE hash = $1 AND kind = $2 AND expires_at > $3
                 RETURNING user_id, email",
            )
            .bind(hash.as_text())
            .bind(kind.as_str())
            .bind(now.as_millisecond())
            .fetch_optional(&mut *self.inner)
            .await?;
            if let Some(row) = row {
                let (user_id, email) = (row.parsed("user_id")?, row.text("email")?);
                return Ok(Some(Redeemed { kind, user_id, email }));
            }
        }
        Ok(None)
    }

    /// Forgets a person's tokens, of one kind or all.
    pub(in crate::fleet) async fn forget_tokens(
        &mut self,
        user_id: UserId,
        kind: Option<TokenKind>,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM one_time_tokens WHERE user_id = $1 AND ($2 = '' OR kind = $2)")
            .bind(user_id.to_string())
            .bind(kind.map_or("", TokenKind::as_str))
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// When a person's password was set; nothing if there is no such person, or they are disabled.
    pub(in crate::fleet) async fn password_changed_at(
        &mut self,
        user_id: UserId,
    ) -> Result<Option<Timestamp>, StoreError> {
        let row = sqlx::query(
            "SELECT password_changed_at FROM users WHERE id = $1 AND disabled_at IS NULL",
        )
        .bind(user_id.to_string())
        .fetch_optional(&mut *self.inner)
        .await?;
        row.map(|row| row.time("password_changed_at")).transpose()
    }

    /// A person's address.
    pub(in crate::fleet) async fn email_of(
        &mut self,
        user_id: UserId,
    ) -> Result<Option<String>, StoreError> {
        self.about(user_id).await?;
        let row = sqlx::query("SELECT email FROM users WHERE id = $1")
            .bind(user_id.to_string())
            .fetch_optional(&mut *self.inner)
            .await?;
        row.map(|row| row.text("email")).transpose()
    }

    /// Gives a person an address, which may be the one that they have, once they have answered a mail
    /// to it. One that somebody else has is a duplicate.
    pub(in crate::fleet) async fn set_email(
        &mut self,
        user_id: UserId,
        email: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE users SET email = $2, email_verified_at = $3 WHERE id = $1")
            .bind(user_id.to_string())
            .bind(email.to_owned())
            .bind(now.as_millisecond())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Deletes tokens and registrations that ran out.
    pub(in crate::fleet) async fn sweep_accounts(
        &mut self,
        now: Timestamp,
        asked_before: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM one_time_tokens WHERE expires_at <= $1")
            .bind(now.as_millisecond())
            .execute(&mut *self.inner)
            .await?;
        sqlx::query("DELETE FROM registrations WHERE created_at <= $1")
            .bind(asked_before.as_millisecond())
            .execute(&mut *self.inner)
            .await?;
        self.sweep_known_networks(now).await
    }
}

fn account(row: &AnyRow) -> Result<AccountRow, StoreError> {
    Ok(AccountRow {
        user_id: row.parsed("id")?,
        email: row.text("email")?,
        name: row.text("name")?,
        password_hash: row.text("password_hash")?,
        password_changed_at: row.time("password_changed_at")?,
        email_verified_at: row.optional_time("email_verified_at")?,
    })
}
