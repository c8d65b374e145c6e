//! Teams.

use jiff::Timestamp;
use sqlx::any::AnyRow;
use wire::{TeamId, api::Team};

use super::{Keyset, OrgStore, StoreError, row::Columns as _};

impl OrgStore {
    /// Adds a team. A name that exists already is a duplicate.
    pub(in crate::fleet) async fn add_team(&mut self, team: &Team) -> Result<(), StoreError> {
        self.query("INSERT INTO teams (org_id, id, name, created_at) VALUES ($1, $2, $3, $4)")
            .bind(team.id.to_string())
            .bind(team.name.clone())
            .bind(team.created_at.as_millisecond())
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// A page of this organization's teams, each with how many devices it has: of those in `within`
    /// (ids separated by commas), or of all (`*`).
    pub(in crate::fleet) async fn teams(
        &mut self,
        within: &str,
        page: &Keyset,
    ) -> Result<Vec<Team>, StoreError> {
        let rows = self
            .query(
                "SELECT t.id, t.name, t.created_at, (SELECT COUNT(*) FROM devices d
                 WHERE d.org_id = $1 AND d.team_id = t.id) AS device_count
                 FROM teams t WHERE t.org_id = $1 AND t.id > $2
                 AND ($4 = '*' OR $4 LIKE '%' || t.id || '%') ORDER BY t.id LIMIT $3",
            )
            .bind(page.after.clone())
            .bind(page.limit)
            .bind(within.to_owned())
            .fetch_all(self.connection())
            .await?;
        rows.iter().map(team).collect()
    }

    pub(in crate::fleet) async fn team(&mut self, id: TeamId) -> Result<Option<Team>, StoreError> {
        let row = self
            .query(
                "SELECT t.id, t.name, t.created_at, (SELECT COUNT(*) FROM devices d
                 WHERE d.org_id = $1 AND d.team_id = t.id) AS device_count
                 FROM teams t WHERE t.org_id = $1 AND t.id = $2",
            )
            .bind(id.to_string())
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(team).transpose()
    }

    /// Renames a team, and tells whether there is one. A name that exists already is a duplicate.
    pub(in crate::fleet) async fn rename_team(
        &mut self,
        id: TeamId,
        name: &str,
    ) -> Result<bool, StoreError> {
        let done = self
            .query("UPDATE teams SET name = $3 WHERE org_id = $1 AND id = $2")
            .bind(id.to_string())
            .bind(name.to_owned())
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Revokes the team's enroll secrets, and waits for enrollments that are using them, so that
    /// no device can join the team any more.
    pub(in crate::fleet) async fn close_team(
        &mut self,
        id: TeamId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.query(
            "UPDATE enroll_secrets SET revoked_at = COALESCE(revoked_at, $3), team_id = NULL
             WHERE org_id = $1 AND team_id = $2",
        )
        .bind(id.to_string())
        .bind(now.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    pub(in crate::fleet) async fn remove_team(&mut self, id: TeamId) -> Result<(), StoreError> {
        self.query("DELETE FROM teams WHERE org_id = $1 AND id = $2")
            .bind(id.to_string())
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

fn team(row: &AnyRow) -> Result<Team, StoreError> {
    Ok(Team {
        id: row.parsed("id")?,
        name: row.text("name")?,
        created_at: row.time("created_at")?,
        device_count: u64::from(row.count("device_count")?),
    })
}
