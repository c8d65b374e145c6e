//! Roles that organizations made, and roles in teams.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sqlx::any::AnyRow;
use wire::{
    Permission, RoleName, TeamId, UserId,
    api::{RoleInfo, TeamMember},
};

use super::{
    OrgStore, StoreError,
    row::{Columns as _, corrupt},
};

impl OrgStore {
    /// What a role may do; `None` when there is no such role.
    pub(in crate::fleet) async fn role_permissions(
        &mut self,
        name: &RoleName,
    ) -> Result<Option<BTreeSet<Permission>>, StoreError> {
        if let Some(role) = name.built_in() {
            return Ok(Some(role.permissions().collect()));
        }
        let row = self
            .query("SELECT permissions FROM roles WHERE org_id = $1 AND name = $2")
            .bind(name.to_string())
            .fetch_optional(self.connection())
            .await?;
        row.map(|row| permissions(&row.text("permissions")?)).transpose()
    }

    /// What somebody may do in teams besides, by team.
    pub(in crate::fleet) async fn team_permissions(
        &mut self,
        user_id: UserId,
    ) -> Result<BTreeMap<TeamId, BTreeSet<Permission>>, StoreError> {
        let rows = self
            .query("SELECT team_id, role FROM team_members WHERE org_id = $1 AND user_id = $2")
            .bind(user_id.to_string())
            .fetch_all(self.connection())
            .await?;
        let mut found = BTreeMap::new();
        for row in rows {
            let role: RoleName = row.parsed("role")?;
            let permissions = self.role_permissions(&role).await?.unwrap_or_default();
            let of_teams = permissions.into_iter().filter(|permission| permission.is_of_teams());
            found.insert(row.parsed("team_id")?, of_teams.collect());
        }
        Ok(found)
    }

    /// The roles that this organization made, by name.
    pub(in crate::fleet) async fn roles(&mut self) -> Result<Vec<RoleInfo>, StoreError> {
        let rows = self
            .query(
                "SELECT name, description, permissions FROM roles WHERE org_id = $1 ORDER BY name",
            )
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(role).collect()
    }

    /// A role that this organization made.
    pub(in crate::fleet) async fn made_role(
        &mut self,
        name: &RoleName,
    ) -> Result<Option<RoleInfo>, StoreError> {
        let row = self
            .query(
                "SELECT name, description, permissions FROM roles WHERE org_id = $1 AND name = $2",
            )
            .bind(name.to_string())
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(role).transpose()
    }

    /// Adds a role. A name that exists already is a duplicate.
    pub(in crate::fleet) async fn add_role(
        &mut self,
        role: &RoleInfo,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.query(
            "INSERT INTO roles (org_id, name, description, permissions, created_at)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(role.name.to_string())
        .bind(role.description.clone())
        .bind(written(&role.permissions))
        .bind(now.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// What a role that this organization made grants, and this version does not know: a newer one wrote it.
    pub(in crate::fleet) async fn unknown_permissions(
        &mut self,
        name: &RoleName,
    ) -> Result<Vec<String>, StoreError> {
        let row = self
            .query("SELECT permissions FROM roles WHERE org_id = $1 AND name = $2")
            .bind(name.to_string())
            .fetch_optional(self.connection())
            .await?;
        let Some(row) = row else { return Ok(Vec::new()) };
        let mut names = names(&row.text("permissions")?)?;
        names.retain(|name| name.parse::<Permission>().is_err());
        Ok(names)
    }

    /// Calls a role something else, wherever it is named. A name that exists already is a duplicate.
    pub(in crate::fleet) async fn rename_role(
        &mut self,
        name: &RoleName,
        to: &RoleName,
    ) -> Result<(), StoreError> {
        for statement in [
            "UPDATE roles SET name = $3 WHERE org_id = $1 AND name = $2",
            "UPDATE memberships SET role = $3 WHERE org_id = $1 AND role = $2",
            "UPDATE team_members SET role = $3 WHERE org_id = $1 AND role = $2",
            "UPDATE invitations SET role = $3 WHERE org_id = $1 AND role = $2",
        ] {
            self.query(statement)
                .bind(name.to_string())
                .bind(to.to_string())
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }

    /// Writes down what a role is for from here on.
    pub(in crate::fleet) async fn describe_role(
        &mut self,
        role: &RoleInfo,
    ) -> Result<(), StoreError> {
        self.query("UPDATE roles SET description = $3 WHERE org_id = $1 AND name = $2")
            .bind(role.name.to_string())
            .bind(role.description.clone())
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Writes down what a role is for and what it grants from here on, and nothing else.
    pub(in crate::fleet) async fn change_role(
        &mut self,
        role: &RoleInfo,
    ) -> Result<(), StoreError> {
        self.query(
            "UPDATE roles SET description = $3, permissions = $4 WHERE org_id = $1 AND name = $2",
        )
        .bind(role.name.to_string())
        .bind(role.description.clone())
        .bind(written(&role.permissions))
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Whether anybody has the role, in the organization or in a team, or is invited to it.
    pub(in crate::fleet) async fn is_role_used(
        &mut self,
        name: &RoleName,
    ) -> Result<bool, StoreError> {
        let row = self
            .query(
                "SELECT (SELECT COUNT(*) FROM memberships WHERE org_id = $1 AND role = $2)
                 + (SELECT COUNT(*) FROM team_members WHERE org_id = $1 AND role = $2)
                 + (SELECT COUNT(*) FROM invitations WHERE org_id = $1 AND role = $2) AS n",
            )
            .bind(name.to_string())
            .fetch_one(self.connection())
            .await?;
        Ok(row.number("n")? > 0)
    }

    pub(in crate::fleet) async fn remove_role(
        &mut self,
        name: &RoleName,
    ) -> Result<bool, StoreError> {
        let removed = self
            .query("DELETE FROM roles WHERE org_id = $1 AND name = $2")
            .bind(name.to_string())
            .execute(self.connection())
            .await?;
        Ok(removed.rows_affected() == 1)
    }

    /// Who has a role in a team.
    pub(in crate::fleet) async fn team_members(
        &mut self,
        team_id: TeamId,
    ) -> Result<Vec<TeamMember>, StoreError> {
        let rows = self
            .query(
                "SELECT u.id, u.email, u.name, t.role FROM team_members t
                 JOIN users u ON u.id = t.user_id
                 WHERE t.org_id = $1 AND t.team_id = $2 ORDER BY u.id",
            )
            .bind(team_id.to_string())
            .fetch_all(self.connection())
            .await?;
        rows.iter()
            .map(|row| {
                Ok(TeamMember {
                    user_id: row.parsed("id")?,
                    email: row.text("email")?,
                    name: row.text("name")?,
                    role: row.parsed("role")?,
                })
            })
            .collect()
    }

    /// The role that somebody has in a team.
    pub(in crate::fleet) async fn team_role(
        &mut self,
        (team_id, user_id): (TeamId, UserId),
    ) -> Result<Option<RoleName>, StoreError> {
        let row = self
            .query(
                "SELECT role FROM team_members WHERE org_id = $1 AND team_id = $2 AND user_id = $3",
            )
            .bind(team_id.to_string())
            .bind(user_id.to_string())
            .fetch_optional(self.connection())
            .await?;
        row.map(|row| row.parsed("role")).transpose()
    }

    pub(in crate::fleet) async fn set_team_role(
        &mut self,
        (team_id, user_id): (TeamId, UserId),
        role: &RoleName,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.query(
            "INSERT INTO team_members (org_id, team_id, user_id, role, created_at)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (org_id, team_id, user_id) DO UPDATE SET role = excluded.role",
        )
        .bind(team_id.to_string())
        .bind(user_id.to_string())
        .bind(role.to_string())
        .bind(now.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    pub(in crate::fleet) async fn remove_team_role(
        &mut self,
        (team_id, user_id): (TeamId, UserId),
    ) -> Result<(), StoreError> {
        self.query("DELETE FROM team_members WHERE org_id = $1 AND team_id = $2 AND user_id = $3")
            .bind(team_id.to_string())
            .bind(user_id.to_string())
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

fn role(row: &AnyRow) -> Result<RoleInfo, StoreError> {
    Ok(RoleInfo {
        name: row.parsed("name")?,
        description: row.text("description")?,
        permissions: permissions(&row.text("permissions")?)?.into_iter().collect(),
        built_in: false,
    })
}

fn written(permissions: &[Permission]) -> String {
    serde_json::to_string(permissions).expect("permissions are plain strings")
}

/// What is written down. A permission that this version does not know grants nothing.
fn permissions(text: &str) -> Result<BTreeSet<Permission>, StoreError> {
    Ok(names(text)?.iter().filter_map(|name| name.parse().ok()).collect())
}

fn names(text: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(text).map_err(|error| corrupt("permissions", error))
}
