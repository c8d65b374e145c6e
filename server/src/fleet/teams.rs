//! Teams: parts of an organization that devices are members of.

use serde_json::json;
use uuid::Uuid;
use wire::{
    Permission, TeamId,
    api::{ChangeTeam, NewTeam, Team},
};

use super::{
    Access, Actor, Fleet,
    audit::EventKind,
    errors::{FieldErrors, ManageError, taken},
    page::{Listed, Page},
};

impl Fleet {
    /// A page of the organization's teams.
    pub async fn teams(&self, actor: &Actor, page: Page) -> Result<Listed<Team>, ManageError> {
        let within = actor.reach(Permission::TeamsRead)?.as_filter();
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let teams = org.teams(&within, &page.keyset()).await?;
        org.commit().await?;
        Ok(page.list(teams, |team| team.id.to_string()))
    }

    pub async fn team(&self, actor: &Actor, id: TeamId) -> Result<Team, ManageError> {
        let reach = actor.reach(Permission::TeamsRead)?;
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let team = org.team(id).await?.filter(|team| reach.covers(Some(team.id)));
        org.commit().await?;
        team.ok_or(ManageError::Unknown("team"))
    }

    /// Makes a team. Names are unique in an organization.
    pub async fn add_team(&self, actor: &Actor, new: NewTeam) -> Result<Team, ManageError> {
        actor.require(Permission::TeamsWrite)?;
        let mut errors = FieldErrors::default();
        errors.check_name(&new.name, "/name");
        errors.into_result().map_err(ManageError::Invalid)?;
        let id = TeamId(Uuid::now_v7());
        let team = Team { id, name: new.name, created_at: self.now(), device_count: 0 };
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        org.add_team(&team).await.map_err(taken("a team with this name"))?;
        let deed = (EventKind::TeamCreated, format!("team {id}"));
        self.record_deed(&mut org, actor, deed, json!({"name": team.name}));
        org.commit().await?;
        Ok(team)
    }

    /// Renames a team. Whatever is in it stays there.
    pub async fn change_team(
        &self,
        actor: &Actor,
        id: TeamId,
        change: ChangeTeam,
    ) -> Result<Team, ManageError> {
        actor.require(Permission::TeamsWrite)?;
        let mut errors = FieldErrors::default();
        if let Some(name) = &change.name {
            errors.check_name(name, "/name");
        }
        errors.into_result().map_err(ManageError::Invalid)?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        let before = org.team(id).await?.ok_or(ManageError::Unknown("team"))?;
        let name = change.name.unwrap_or_else(|| before.name.clone());
        if name != before.name {
            let renamed = org.rename_team(id, &name).await;
            if !renamed.map_err(taken("a team with this name"))? {
                return Err(ManageError::Unknown("team"));
            }
            let deed = (EventKind::TeamRenamed, format!("team {id}"));
            let changes = json!({"before": before.name, "after": name});
            self.record_deed(&mut org, actor, deed, changes);
        }
        org.commit().await?;
        Ok(Team { name, ..before })
    }

    /// Deletes a team that has no devices. Its enroll secrets are revoked.
    pub async fn remove_team(&self, actor: &Actor, id: TeamId) -> Result<(), ManageError> {
        actor.require(Permission::TeamsWrite)?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        org.close_team(id, self.now()).await?;
        let team = org.team(id).await?.ok_or(ManageError::Unknown("team"))?;
        if team.device_count > 0 {
            return Err(ManageError::TeamInUse);
        }
        org.remove_team(id).await.map_err(|error| {
            if error.is_broken_reference() { ManageError::TeamInUse } else { error.into() }
        })?;
        let deed = (EventKind::TeamDeleted, format!("team {id}"));
        self.record_deed(&mut org, actor, deed, json!({"name": team.name}));
        org.commit().await?;
        Ok(())
    }
}
