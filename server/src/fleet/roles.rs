//! Roles that an organization makes of the permissions there are, and roles in teams.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wire::{
    Permission, Role, RoleName, TeamId, UserId,
    api::{ChangeRole, FieldError, NewRole, RoleInfo, SetTeamRole, TeamMember},
};

use super::{
    Access, Actor, Fleet,
    audit::EventKind,
    errors::{FieldErrors, ManageError, taken},
    store::OrgStore,
};

/// How many roles an organization may make.
const MAX_ROLES: usize = 100;

/// What there is already.
const SAME_NAME: &str = "a role with this name";

impl Fleet {
    /// Every role of the organization: the four that all have, least first, then its own.
    pub async fn roles(&self, actor: &Actor) -> Result<Vec<RoleInfo>, ManageError> {
        actor.require(Permission::RolesRead)?;
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let made = org.roles().await?;
        org.commit().await?;
        let built_in = Role::ALL.into_iter().map(|role| RoleInfo {
            name: role.into(),
            description: String::new(),
            permissions: role.permissions().collect(),
            built_in: true,
        });
        Ok(built_in.chain(made).collect())
    }

    /// Makes a role. Nobody puts more into one than they may do themselves.
    pub async fn add_role(&self, actor: &Actor, new: NewRole) -> Result<RoleInfo, ManageError> {
        actor.require(Permission::RolesWrite)?;
        let permissions: BTreeSet<_> = new.permissions.into_iter().collect();
        actor.require_all(&permissions)?;
        let mut errors = FieldErrors::default();
        errors.check_description(&new.description, "/description");
        errors.into_result().map_err(ManageError::Invalid)?;
        require_free(&new.name)?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        org.lock("roles").await?;
        if org.roles().await?.len() >= MAX_ROLES {
            return Err(wrong_role(format!("an organization makes at most {MAX_ROLES} roles")));
        }
        let role = RoleInfo {
            name: new.name,
            description: new.description,
            permissions: permissions.into_iter().collect(),
            built_in: false,
        };
        let added = org.add_role(&role, self.now()).await;
        added.map_err(taken(SAME_NAME))?;
        let deed = (EventKind::RoleCreated, format!("role {}", role.name));
        self.record_deed(&mut org, actor, deed, json!({"permissions": role.permissions}));
        org.commit().await?;
        Ok(role)
    }

    /// Changes what a role is called, what it is for and what it grants. Nobody changes one that grants more than they may
    /// do themselves, before or after: whoever has it would get, or lose, what is not theirs to give. What
    /// it grants that only a newer version knows would be lost, so that is not changed here.
    pub async fn change_role(
        &self,
        actor: &Actor,
        name: &RoleName,
        change: ChangeRole,
    ) -> Result<RoleInfo, ManageError> {
        actor.require(Permission::RolesWrite)?;
        actor.require_recent_login_of_people(&self.0.config.auth.session, self.now())?;
        check_change(&change)?;
        if name.built_in().is_some() {
            return Err(ManageError::BuiltInRole);
        }
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        org.lock("roles").await?;
        let before = org.made_role(name).await?.ok_or(ManageError::Unknown("role"))?;
        let after = changed(&before, change);
        let granted = before.permissions.iter().chain(&after.permissions).copied().collect();
        actor.require_all(&granted)?;
        if after != before {
            if after.name != before.name {
                require_free(&after.name)?;
                let renamed = org.rename_role(name, &after.name).await;
                renamed.map_err(taken(SAME_NAME))?;
            }
            if after.permissions == before.permissions {
                org.describe_role(&after).await?;
            } else {
                let unknown = org.unknown_permissions(&after.name).await?;
                if !unknown.is_empty() {
                    return Err(ManageError::UnknownPermissions(unknown.join("`, `")));
                }
                org.change_role(&after).await?;
            }
            let deed = (EventKind::RoleChanged, format!("role {}", after.name));
            let changes = json!({"before": told(&before), "after": told(&after)});
            self.record_deed(&mut org, actor, deed, changes);
        }
        org.commit().await?;
        Ok(after)
    }

    /// Deletes a role that nobody has.
    pub async fn remove_role(&self, actor: &Actor, name: &RoleName) -> Result<(), ManageError> {
        actor.require(Permission::RolesWrite)?;
        if name.built_in().is_some() {
            return Err(ManageError::BuiltInRole);
        }
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        org.lock("roles").await?;
        let role = org.made_role(name).await?.ok_or(ManageError::Unknown("role"))?;
        actor.require_all(&role.permissions.iter().copied().collect())?;
        if org.is_role_used(name).await? {
            return Err(ManageError::RoleInUse);
        }
        org.remove_role(name).await?;
        let deed = (EventKind::RoleDeleted, format!("role {name}"));
        self.record_deed(&mut org, actor, deed, json!({"before": told(&role), "after": null}));
        org.commit().await?;
        Ok(())
    }

    /// Who has a role in a team.
    pub async fn team_members(
        &self,
        actor: &Actor,
        team_id: TeamId,
    ) -> Result<Vec<TeamMember>, ManageError> {
        actor.require(Permission::UsersRead)?;
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        org.team(team_id).await?.ok_or(ManageError::Unknown("team"))?;
        let members = org.team_members(team_id).await?;
        org.commit().await?;
        Ok(members)
    }

    /// Gives somebody a role in a team. It counts beside the one in the organization.
    pub async fn set_team_role(
        &self,
        actor: &Actor,
        (team_id, user_id): (TeamId, UserId),
        SetTeamRole { role }: SetTeamRole,
    ) -> Result<TeamMember, ManageError> {
        actor.require(Permission::TeamsWrite)?;
        actor.require_recent_login_of_people(&self.0.config.auth.session, self.now())?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        org.team(team_id).await?.ok_or(ManageError::Unknown("team"))?;
        let user = org.user(user_id).await?.ok_or(ManageError::Unknown("user"))?;
        let granted = known_role(&mut org, &role).await?;
        actor.require_all(&of_teams(granted))?;
        let before = org.team_role((team_id, user_id)).await?;
        self.require_taking(&mut org, actor, before.as_ref()).await?;
        org.set_team_role((team_id, user_id), &role, self.now()).await?;
        let deed = (EventKind::TeamRoleChanged, format!("user {user_id} in team {team_id}"));
        let changes = json!({"before": before, "after": role});
        self.record_deed(&mut org, actor, deed, changes);
        org.commit().await?;
        Ok(TeamMember { user_id, email: user.email, name: user.name, role })
    }

    /// Takes somebody's role in a team away. Who has none keeps none.
    pub async fn remove_team_role(
        &self,
        actor: &Actor,
        (team_id, user_id): (TeamId, UserId),
    ) -> Result<(), ManageError> {
        actor.require(Permission::TeamsWrite)?;
        let mut org = self.0.store.org(actor.org_id, Access::Write).await?;
        org.team(team_id).await?.ok_or(ManageError::Unknown("team"))?;
        let before = org.team_role((team_id, user_id)).await?;
        let before = before.ok_or(ManageError::Unknown("member"))?;
        self.require_taking(&mut org, actor, Some(&before)).await?;
        org.remove_team_role((team_id, user_id)).await?;
        let deed = (EventKind::TeamRoleChanged, format!("user {user_id} in team {team_id}"));
        let changes = json!({"before": before, "after": null});
        self.record_deed(&mut org, actor, deed, changes);
        org.commit().await?;
        Ok(())
    }

    /// Passes if `actor` may take a role in a team away.
    async fn require_taking(
        &self,
        org: &mut OrgStore,
        actor: &Actor,
        role: Option<&RoleName>,
    ) -> Result<(), ManageError> {
        let Some(role) = role else { return Ok(()) };
        let permissions = org.role_permissions(role).await?.unwrap_or_default();
        Ok(actor.require_all(&of_teams(permissions))?)
    }
}

/// What `role` may do; refuses one that there is not.
pub(super) async fn known_role(
    org: &mut OrgStore,
    role: &RoleName,
) -> Result<BTreeSet<Permission>, ManageError> {
    // Whoever deletes the role meanwhile waits, and then finds it used.
    org.lock("roles").await?;
    let permissions = org.role_permissions(role).await?;
    permissions.ok_or_else(|| wrong_role(format!("there is no role `{role}`")))
}

/// Passes if a change does not contradict itself.
fn check_change(change: &ChangeRole) -> Result<(), ManageError> {
    let ChangeRole { name: _, description, permissions, add_permissions, remove_permissions } =
        change;
    let mut errors = FieldErrors::default();
    errors.check_description(description.as_deref().unwrap_or_default(), "/description");
    let in_part = !add_permissions.is_empty() || !remove_permissions.is_empty();
    errors.refuse_if(
        permissions.is_some() && in_part,
        "/permissions",
        "goes with neither `add_permissions` nor `remove_permissions`",
    );
    let both = add_permissions.iter().any(|permission| remove_permissions.contains(permission));
    errors.refuse_if(both, "/add_permissions", "adds what `remove_permissions` takes away");
    errors.into_result().map_err(ManageError::Invalid)
}

/// The role as it is after a change.
fn changed(before: &RoleInfo, change: ChangeRole) -> RoleInfo {
    let granted = change.permissions.unwrap_or_else(|| before.permissions.clone());
    let mut permissions: BTreeSet<_> = granted.into_iter().collect();
    permissions.extend(change.add_permissions);
    permissions.retain(|permission| !change.remove_permissions.contains(permission));
    RoleInfo {
        name: change.name.unwrap_or_else(|| before.name.clone()),
        description: change.description.unwrap_or_else(|| before.description.clone()),
        permissions: permissions.into_iter().collect(),
        ..before.clone()
    }
}

/// Passes if an organization may call a role so, unless it has one already.
fn require_free(name: &RoleName) -> Result<(), ManageError> {
    // A service's key calls itself so, a device's token too.
    let reserved = ["service", "device"].contains(&name.as_str());
    if reserved || name.built_in().is_some() {
        return Err(ManageError::Duplicate(SAME_NAME));
    }
    Ok(())
}

/// What the audit trail says of a role.
fn told(role: &RoleInfo) -> Value {
    json!({"name": role.name, "description": role.description, "permissions": role.permissions})
}

fn of_teams(permissions: BTreeSet<Permission>) -> BTreeSet<Permission> {
    permissions.into_iter().filter(|permission| permission.is_of_teams()).collect()
}

fn wrong_role(detail: String) -> ManageError {
    ManageError::Invalid(vec![FieldError { pointer: "/role".to_owned(), detail, rule: None }])
}
