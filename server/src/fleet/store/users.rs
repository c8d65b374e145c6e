//! People, and which organizations they belong to with which role.

use jiff::Timestamp;
use sqlx::any::AnyRow;
use wire::{OrgId, RoleName, UserId, api::User};

use super::{Access, Keyset, OrgStore, Store, StoreError, Whose, row::Columns as _};

/// What signing in needs to know about a person.
#[derive(Debug)]
pub(in crate::fleet) struct Login {
    pub user_id: UserId,
    /// PHC string (argon2id) or bcrypt's own.
    pub password_hash: String,
    pub password_changed_at: Timestamp,
    /// The organization that they belong to longest; `None` if they belong to none.
    pub org_id: Option<OrgId>,
}

/// A person as a member of the organization.
#[derive(Debug)]
pub(in crate::fleet) struct Member {
    pub user: User,
    pub email_verified: bool,
    /// What the organization is called.
    pub organization: String,
}

/// A person to be added.
#[derive(Debug, Clone, Copy)]
pub(in crate::fleet) struct NewUserRow<'a> {
    pub email: &'a str,
    pub name: &'a str,
    pub password_hash: &'a str,
    /// When a mail to the address was answered, if one was.
    pub email_verified_at: Option<Timestamp>,
}

impl Store {
    /// Finds a person who may sign in by their address, which is in lower case.
    pub(in crate::fleet) async fn login(&self, email: &str) -> Result<Option<Login>, StoreError> {
        let mut tx = self.begin_with(Access::Read, ("app.address", email)).await?;
        let row = sqlx::query(
            "SELECT id, password_hash, password_changed_at FROM users
             WHERE email = $1 AND disabled_at IS NULL",
        )
        .bind(email.to_owned())
        .fetch_optional(&mut *tx.inner)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let user_id: UserId = row.parsed("id")?;
        tx.set("app.user_id", &user_id.to_string()).await?;
        let membership = sqlx::query(
            "SELECT org_id FROM memberships WHERE user_id = $1 AND disabled_at IS NULL
             ORDER BY created_at, org_id LIMIT 1",
        )
        .bind(user_id.to_string())
        .fetch_optional(&mut *tx.inner)
        .await?;
        tx.commit().await?;
        Ok(Some(Login {
            user_id,
            password_hash: row.text("password_hash")?,
            password_changed_at: row.time("password_changed_at")?,
            org_id: membership.map(|row| row.parsed("org_id")).transpose()?,
        }))
    }
}

impl OrgStore {
    /// Adds a person to the server and to this organization.
    pub(in crate::fleet) async fn add_user(
        &mut self,
        id: UserId,
        user: NewUserRow<'_>,
        role: &RoleName,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.tx.about(id).await?;
        sqlx::query(
            "INSERT INTO users (id, email, name, password_hash, created_at, password_changed_at,
             email_verified_at) VALUES ($1, $2, $3, $4, $5, $5, $6)",
        )
        .bind(id.to_string())
        .bind(user.email.to_owned())
        .bind(user.name.to_owned())
        .bind(user.password_hash.to_owned())
        .bind(now.as_millisecond())
        .bind(user.email_verified_at.map(Timestamp::as_millisecond))
        .execute(self.connection())
        .await?;
        self.add_member(id, role, now).await
    }

    /// Adds somebody who has an account to this organization. Who is in it already is a duplicate.
    pub(in crate::fleet) async fn add_member(
        &mut self,
        id: UserId,
        role: &RoleName,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.query(
            "INSERT INTO memberships (org_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)",
        )
        .bind(id.to_string())
        .bind(role.to_string())
        .bind(now.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// A page of this organization's people.
    pub(in crate::fleet) async fn users(&mut self, page: &Keyset) -> Result<Vec<User>, StoreError> {
        let rows = self
            .query(
                "SELECT u.id, u.email, u.name, m.role, m.disabled_at, u.created_at, u.last_login_at
                 FROM memberships m JOIN users u ON u.id = m.user_id
                 WHERE m.org_id = $1 AND u.id > $2 ORDER BY u.id LIMIT $3",
            )
            .bind(page.after.clone())
            .bind(page.limit)
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(user).collect()
    }

    /// One of this organization's people.
    pub(in crate::fleet) async fn user(&mut self, id: UserId) -> Result<Option<User>, StoreError> {
        let row = self
            .query(
                "SELECT u.id, u.email, u.name, m.role, m.disabled_at, u.created_at, u.last_login_at
                 FROM memberships m JOIN users u ON u.id = m.user_id
                 WHERE m.org_id = $1 AND u.id = $2 AND u.disabled_at IS NULL",
            )
            .bind(id.to_string())
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(user).transpose()
    }

    /// The same, with what else is told of somebody who is signed in.
    pub(in crate::fleet) async fn member(
        &mut self,
        id: UserId,
    ) -> Result<Option<Member>, StoreError> {
        let row = self
            .query(
                "SELECT u.id, u.email, u.name, m.role, m.disabled_at, u.created_at, u.last_login_at,
                 u.email_verified_at, (SELECT name FROM organizations WHERE id = $1) AS organization
                 FROM memberships m JOIN users u ON u.id = m.user_id
                 WHERE m.org_id = $1 AND u.id = $2 AND u.disabled_at IS NULL",
            )
            .bind(id.to_string())
            .fetch_optional(self.connection())
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Member {
            user: user(&row)?,
            email_verified: row.optional_time("email_verified_at")?.is_some(),
            organization: row.text("organization")?,
        }))
    }

    /// The person with that address, in lower case.
    pub(in crate::fleet) async fn user_by_email(
        &mut self,
        email: &str,
    ) -> Result<Option<UserId>, StoreError> {
        let row = self
            .query(
                "SELECT u.id FROM memberships m JOIN users u ON u.id = m.user_id
                 WHERE m.org_id = $1 AND u.email = $2",
            )
            .bind(email.to_owned())
            .fetch_optional(self.connection())
            .await?;
        row.map(|row| row.parsed("id")).transpose()
    }

    /// What this organization is called.
    pub(in crate::fleet) async fn organization_name(&mut self) -> Result<String, StoreError> {
        self.query("SELECT name FROM organizations WHERE id = $1")
            .fetch_one(self.connection())
            .await?
            .text("name")
    }

    /// Keeps the owners as they are until this transaction ends, and counts them.
    pub(in crate::fleet) async fn count_owners(&mut self) -> Result<i64, StoreError> {
        self.lock("owners").await?;
        self.query(
            "SELECT COUNT(*) AS n FROM memberships
             WHERE org_id = $1 AND role = 'owner' AND disabled_at IS NULL",
        )
        .fetch_one(self.connection())
        .await?
        .number("n")
    }

    /// Gives a person another role.
    pub(in crate::fleet) async fn set_role(
        &mut self,
        id: UserId,
        role: &RoleName,
    ) -> Result<(), StoreError> {
        self.query("UPDATE memberships SET role = $3 WHERE org_id = $1 AND user_id = $2")
            .bind(id.to_string())
            .bind(role.to_string())
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Shuts a person out since then, or lets them in.
    pub(in crate::fleet) async fn set_disabled(
        &mut self,
        id: UserId,
        since: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.query("UPDATE memberships SET disabled_at = $3 WHERE org_id = $1 AND user_id = $2")
            .bind(id.to_string())
            .bind(since.map(Timestamp::as_millisecond))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Takes a person out of this organization, ends their sessions and revokes their API keys in
    /// it, and forgets them altogether when they belong to no other.
    pub(in crate::fleet) async fn remove_user(
        &mut self,
        id: UserId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let user_id = id.to_string();
        self.lock_person(id).await?;
        self.query(
            "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $3)
             WHERE org_id = $1 AND created_by = $2 AND kind = 'person'",
        )
        .bind(user_id.clone())
        .bind(now.as_millisecond())
        .execute(self.connection())
        .await?;
        self.end_sessions(Whose::Person(id), now).await?;
        self.query("DELETE FROM sessions WHERE org_id = $1 AND user_id = $2")
            .bind(user_id.clone())
            .execute(self.connection())
            .await?;
        self.query("DELETE FROM memberships WHERE org_id = $1 AND user_id = $2")
            .bind(user_id.clone())
            .execute(self.connection())
            .await?;
        self.tx.set("app.user_id", &user_id).await?;
        sqlx::query(
            "DELETE FROM users WHERE id = $1
             AND NOT EXISTS (SELECT 1 FROM memberships WHERE user_id = $1)",
        )
        .bind(user_id)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Remembers that a person signed in.
    pub(in crate::fleet) async fn note_login(
        &mut self,
        id: UserId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE users SET last_login_at = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(now.as_millisecond())
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

fn user(row: &AnyRow) -> Result<User, StoreError> {
    Ok(User {
        id: row.parsed("id")?,
        email: row.text("email")?,
        name: row.text("name")?,
        role: row.parsed("role")?,
        disabled_at: row.optional_time("disabled_at")?,
        created_at: row.time("created_at")?,
        last_login_at: row.optional_time("last_login_at")?,
    })
}
