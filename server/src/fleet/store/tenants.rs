//! Organizations, and the set-up code that makes the first.

use jiff::Timestamp;
use sqlx::{Executor as _, any::AnyRow};
use wire::{
    OrgId, Role, UserId,
    api::{KeyEnvironment, Organization},
};

use super::{
    super::networks::Networks,
    Access, Hash, NewUserRow, OrgStore, Store, StoreError, Tx,
    row::{Columns as _, corrupt},
};

/// What an organization says of its API keys; nothing: as the server says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::fleet) struct KeyRules {
    pub environment: Option<KeyEnvironment>,
    pub max_ttl_seconds: Option<u64>,
}

/// Whose audit trail there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    pub org_id: OrgId,
    pub name: String,
    /// When the organization was deleted; `None` while it is.
    pub ended_at: Option<Timestamp>,
}

impl Store {
    /// Whether anybody can sign in yet: no organization is without an owner.
    pub(in crate::fleet) async fn has_users(&self) -> Result<bool, StoreError> {
        let row = self.pool.fetch_one("SELECT COUNT(*) AS n FROM organizations").await?;
        Ok(row.number("n")? > 0)
    }

    /// Every organization's id, for work that goes through all of them.
    pub(in crate::fleet) async fn organizations(&self) -> Result<Vec<OrgId>, StoreError> {
        let rows = self.pool.fetch_all("SELECT id FROM organizations ORDER BY id").await?;
        rows.iter().map(|row| row.parsed("id")).collect()
    }

    /// The organizations that are and those that were and have audit trails still, oldest first.
    pub(in crate::fleet) async fn trails(&self) -> Result<Vec<Trail>, StoreError> {
        let mut tx = self.begin(Access::Read).await?;
        let rows = sqlx::query(
            "SELECT id, name, NULL AS ended_at FROM organizations
             UNION ALL SELECT id, name, ended_at FROM ended_organizations ORDER BY id",
        )
        .fetch_all(&mut *tx.inner)
        .await?;
        tx.commit().await?;
        let trail = |row: &AnyRow| {
            let ended_at = row.optional_time("ended_at")?;
            Ok(Trail { org_id: row.parsed("id")?, name: row.text("name")?, ended_at })
        };
        rows.iter().map(trail).collect()
    }

    /// The organization, if there is exactly one.
    pub(in crate::fleet) async fn only_organization(&self) -> Result<Option<OrgId>, StoreError> {
        let rows = self.pool.fetch_all("SELECT id FROM organizations LIMIT 2").await?;
        match rows.as_slice() {
            [row] => row.parsed("id").map(Some),
            _ => Ok(None),
        }
    }

    /// Puts a new set-up code in place of an older one.
    pub(in crate::fleet) async fn put_setup_code(
        &self,
        code: &Hash,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin(Access::Write).await?;
        sqlx::query(
            "INSERT INTO setup_code (id, code_hash, created_at) VALUES (1, $1, $2)
             ON CONFLICT (id) DO UPDATE SET code_hash = excluded.code_hash, created_at = excluded.created_at",
        )
        .bind(code.as_text())
        .bind(now.as_millisecond())
        .execute(&mut *tx.inner)
        .await?;
        tx.commit().await
    }

    /// Whether `code` is the set-up code, and was made after `since`.
    pub(in crate::fleet) async fn is_setup_code(
        &self,
        code: &Hash,
        since: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = "SELECT COUNT(*) AS n FROM setup_code WHERE code_hash = $1 AND created_at > $2";
        let mut tx = self.begin(Access::Read).await?;
        let row = sqlx::query(sql)
            .bind(code.as_text())
            .bind(since.as_millisecond())
            .fetch_one(&mut *tx.inner)
            .await?;
        tx.commit().await?;
        Ok(row.number("n")? > 0)
    }

    /// Uses up the set-up code and makes the organization, in one step. `None` when the code is
    /// not (or no longer) the one in place.
    pub(in crate::fleet) async fn redeem_setup_code(
        &self,
        code: &Hash,
        (org_id, name): (OrgId, &str),
        now: Timestamp,
    ) -> Result<Option<OrgStore>, StoreError> {
        let mut tx = self.begin(Access::Write).await?;
        let spent = sqlx::query("DELETE FROM setup_code WHERE code_hash = $1")
            .bind(code.as_text())
            .execute(&mut *tx.inner)
            .await?;
        if spent.rows_affected() != 1 {
            return Ok(None);
        }
        tx.add_organization_row((org_id, name), now).await?;
        tx.enter(org_id).await.map(Some)
    }

    /// Makes an organization with its owner.
    pub(in crate::fleet) async fn add_organization(
        &self,
        (org_id, name): (OrgId, &str),
        owner: (UserId, NewUserRow<'_>),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin(Access::Write).await?;
        tx.add_organization_row((org_id, name), now).await?;
        let mut org = tx.enter(org_id).await?;
        org.add_user(owner.0, owner.1, &Role::Owner.into(), now).await?;
        org.commit().await
    }
}

impl Tx {
    /// Whether anybody can sign in yet: no organization is without an owner.
    pub(in crate::fleet) async fn has_users(&mut self) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT COUNT(*) AS n FROM organizations")
            .fetch_one(&mut *self.inner)
            .await?;
        Ok(row.number("n")? > 0)
    }

    /// Makes an organization that nobody belongs to yet.
    pub(in crate::fleet) async fn add_organization_row(
        &mut self,
        (org_id, name): (OrgId, &str),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO organizations (id, name, created_at) VALUES ($1, $2, $3)")
            .bind(org_id.to_string())
            .bind(name.to_owned())
            .bind(now.as_millisecond())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Remembers that an organization was, for as long as it has an audit trail.
    async fn note_ended(&mut self, org_id: OrgId, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO ended_organizations (id, name, ended_at)
             SELECT id, name, $2 FROM organizations WHERE id = $1",
        )
        .bind(org_id.to_string())
        .bind(now.as_millisecond())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Forgets an organization that was.
    async fn forget_ended(&mut self, org_id: OrgId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM ended_organizations WHERE id = $1")
            .bind(org_id.to_string())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }
}

impl OrgStore {
    /// The organization; `environment` is what its keys are for unless it says otherwise.
    pub(in crate::fleet) async fn organization(
        &mut self,
        environment: KeyEnvironment,
    ) -> Result<Organization, StoreError> {
        let row = self
            .query(
                "SELECT id, name, created_at, allowed_networks, key_environment, key_max_ttl
                 FROM organizations WHERE id = $1",
            )
            .fetch_one(self.connection())
            .await?;
        let rules = key_rules(&row)?;
        Ok(Organization {
            id: row.parsed("id")?,
            name: row.text("name")?,
            created_at: row.time("created_at")?,
            allowed_networks: networks(&row)?.to_list(),
            key_environment: rules.environment.unwrap_or(environment),
            key_max_ttl_seconds: rules.max_ttl_seconds,
        })
    }

    /// What this organization says of its API keys.
    pub(in crate::fleet) async fn key_rules(&mut self) -> Result<KeyRules, StoreError> {
        let row = self
            .query("SELECT key_environment, key_max_ttl FROM organizations WHERE id = $1")
            .fetch_one(self.connection())
            .await?;
        key_rules(&row)
    }

    pub(in crate::fleet) async fn set_key_rules(
        &mut self,
        rules: KeyRules,
    ) -> Result<(), StoreError> {
        self.query("UPDATE organizations SET key_environment = $2, key_max_ttl = $3 WHERE id = $1")
            .bind(rules.environment.map(|it| it.as_str().to_owned()))
            .bind(rules.max_ttl_seconds.map(u64::cast_signed))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// The networks that this organization's people and keys may ask from.
    pub(in crate::fleet) async fn allowed_networks(&mut self) -> Result<Networks, StoreError> {
        let row = self
            .query("SELECT allowed_networks FROM organizations WHERE id = $1")
            .fetch_one(self.connection())
            .await?;
        networks(&row)
    }

    pub(in crate::fleet) async fn set_allowed_networks(
        &mut self,
        networks: &Networks,
    ) -> Result<(), StoreError> {
        self.query("UPDATE organizations SET allowed_networks = $2 WHERE id = $1")
            .bind(networks.to_list().join(","))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    pub(in crate::fleet) async fn rename_organization(
        &mut self,
        name: &str,
    ) -> Result<(), StoreError> {
        self.query("UPDATE organizations SET name = $2 WHERE id = $1")
            .bind(name.to_owned())
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Deletes everything of this organization but its audit trail, and the people who belong to
    /// no other.
    pub(in crate::fleet) async fn remove_organization(
        &mut self,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let members = self
            .query("SELECT user_id FROM memberships WHERE org_id = $1")
            .fetch_all(self.connection())
            .await?;
        for row in members {
            self.remove_user(row.parsed("user_id")?, now).await?;
        }
        // What points to teams goes before them.
        self.query("DELETE FROM devices WHERE org_id = $1").execute(self.connection()).await?;
        self.query("DELETE FROM enroll_secrets WHERE org_id = $1")
            .execute(self.connection())
            .await?;
        let org_id = self.org_id;
        self.apart().note_ended(org_id, now).await?;
        self.query("DELETE FROM organizations WHERE id = $1").execute(self.connection()).await?;
        Ok(())
    }

    /// Forgets an organization that was deleted, if its trail has no event any more.
    pub(in crate::fleet) async fn forget_empty_trail(&mut self) -> Result<(), StoreError> {
        let row = self
            .query("SELECT COUNT(*) AS n FROM audit_events WHERE org_id = $1")
            .fetch_one(self.connection())
            .await?;
        if row.number("n")? > 0 {
            return Ok(());
        }
        self.query("DELETE FROM audit_heads WHERE org_id = $1").execute(self.connection()).await?;
        let org_id = self.org_id;
        self.apart().forget_ended(org_id).await
    }

    /// How many devices and people there are.
    pub(in crate::fleet) async fn usage(&mut self) -> Result<(u64, u64), StoreError> {
        let row = self
            .query(
                "SELECT (SELECT COUNT(*) FROM devices WHERE org_id = $1) AS devices,
                 (SELECT COUNT(*) FROM memberships WHERE org_id = $1) AS users",
            )
            .fetch_one(self.connection())
            .await?;
        Ok((u64::from(row.count("devices")?), u64::from(row.count("users")?)))
    }
}

fn networks(row: &AnyRow) -> Result<Networks, StoreError> {
    let text = row.text("allowed_networks")?;
    let listed: Vec<_> =
        text.split(',').filter(|text| !text.is_empty()).map(str::to_owned).collect();
    Networks::read(&listed).map_err(|error| corrupt("allowed_networks", error))
}

fn key_rules(row: &AnyRow) -> Result<KeyRules, StoreError> {
    Ok(KeyRules {
        environment: row.optional_parsed("key_environment")?,
        max_ttl_seconds: row.optional_number("key_max_ttl")?.map(i64::cast_unsigned),
    })
}
