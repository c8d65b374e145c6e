//! `fleetctl teams`: parts of the organization that devices belong to.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use reqwest::Method;
use wire::{
    RoleName, TeamId,
    api::{ChangeTeam, NewTeam, SetTeamRole, Team, TeamMember},
};

use super::{find, users};
use crate::{
    client::Client,
    flags::Output,
    output::{Table, time},
    prompt,
    session::Session,
};

/// Lists, creates, renames and deletes teams, and says who has which role in them
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl teams create Workstations
  fleetctl enroll-secrets create --name workstations --team Workstations")]
pub(crate) enum TeamsCommand {
    /// Lists the teams
    #[command(visible_alias = "ls", after_help = "Examples:\n  fleetctl teams list --output json")]
    List(Output),
    /// Creates a team
    #[command(after_help = "Examples:\n  fleetctl teams create Workstations")]
    Create(CreateArgs),
    /// Renames a team
    #[command(after_help = "Examples:\n  fleetctl teams rename Workstations Desktops")]
    Rename(RenameArgs),
    /// Lists who has a role in a team
    #[command(after_help = "Examples:\n  fleetctl teams members Workstations")]
    Members(MembersArgs),
    /// Gives a person a role in a team, beside the one in the organization
    #[command(
        after_help = "Examples:\n  fleetctl teams set-role Workstations bob@example.com operator"
    )]
    SetRole(SetRoleArgs),
    /// Takes a person's role in a team away
    #[command(after_help = "Examples:\n  fleetctl teams remove-role Workstations bob@example.com")]
    RemoveRole(RemoveRoleArgs),
    /// Deletes a team; its devices stay in the organization
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  fleetctl teams delete Workstations --yes"
    )]
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Team's name
    name: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct RenameArgs {
    /// Team's name or id
    team: String,
    /// Name to give it
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct MembersArgs {
    /// Team's name or id
    team: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct SetRoleArgs {
    /// Team's name or id
    team: String,
    /// Person's email address or id
    user: String,
    /// viewer, operator, admin, owner or a role of the organization's own; it counts for what is
    /// the team's: devices, enroll secrets, telemetry, updates
    role: RoleName,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveRoleArgs {
    /// Team's name or id
    team: String,
    /// Person's email address or id
    user: String,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Team's name or id
    team: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(command: TeamsCommand, session: &Session) -> anyhow::Result<()> {
    let mut client = session.client()?;
    match command {
        TeamsCommand::List(output) => {
            let teams = all(&mut client).await?;
            session.shell.data(output.format, &teams, |teams| table(teams))
        }
        TeamsCommand::Create(args) => {
            let team: Team = client.create("/teams", &NewTeam { name: args.name }).await?;
            if session.shell.is_quiet() {
                return session.shell.line(team.id);
            }
            session.shell.data(args.output.format, &team, |team| table(std::slice::from_ref(team)))
        }
        TeamsCommand::Rename(args) => {
            let team = named(&mut client, &args.team).await?;
            let (path, change) =
                (format!("/teams/{}", team.id), ChangeTeam { name: Some(args.name) });
            let after: Team = client.change(Method::PATCH, &path, &change).await?;
            session.shell.done(format!("team `{}` is called `{}` now", team.name, after.name));
            Ok(())
        }
        TeamsCommand::Members(args) => {
            let team = named(&mut client, &args.team).await?;
            let path = format!("/teams/{}/members", team.id);
            let members: Vec<TeamMember> = client.list(&path, &[]).await?;
            session.shell.data(args.output.format, &members, |members| member_table(members))
        }
        TeamsCommand::SetRole(args) => {
            let path = member_path(&mut client, &args.team, &args.user).await?;
            let role = SetTeamRole { role: args.role };
            let member: TeamMember = client.change(Method::PUT, &path, &role).await?;
            session.shell.done(format!("{} has the role {} there", member.email, member.role));
            Ok(())
        }
        TeamsCommand::RemoveRole(args) => {
            let path = member_path(&mut client, &args.team, &args.user).await?;
            client.delete(&path).await?;
            session.shell.done(format!("{} has no role there", args.user));
            Ok(())
        }
        TeamsCommand::Delete(args) => {
            let team = named(&mut client, &args.team).await?;
            prompt::confirm(args.yes, &format!("Delete team `{}`?", team.name))?;
            client.delete(&format!("/teams/{}", team.id)).await?;
            session.shell.done(format!("team `{}` is deleted", team.name));
            Ok(())
        }
    }
}

async fn member_path(client: &mut Client, team: &str, user: &str) -> anyhow::Result<String> {
    let (team, user) = (named(client, team).await?, users::named(client, user).await?);
    Ok(format!("/teams/{}/members/{}", team.id, user.id))
}

fn member_table(members: &[TeamMember]) -> Table {
    Table::list(
        ["email", "name", "role", "id"],
        members.iter().map(|member| {
            let (email, name) = (member.email.clone(), member.name.clone());
            [email, name, member.role.to_string(), member.user_id.to_string()]
        }),
    )
}

/// The team that `wanted` names or is the id of.
pub(crate) async fn named(client: &mut Client, wanted: &str) -> anyhow::Result<Team> {
    let teams = all(client).await?;
    Ok(find::only("team", wanted, teams, |team| (team.id.to_string(), vec![&team.name]))?)
}

/// Names of the teams, as far as whoever asks may see them: an API key may be for less.
pub(crate) async fn names(client: &mut Client) -> BTreeMap<TeamId, String> {
    let teams = all(client).await.unwrap_or_default();
    teams.into_iter().map(|team| (team.id, team.name)).collect()
}

/// What to show for a device's or secret's team.
pub(crate) fn shown(names: &BTreeMap<TeamId, String>, team: Option<TeamId>) -> String {
    team.map_or_else(String::new, |id| names.get(&id).cloned().unwrap_or_else(|| id.to_string()))
}

async fn all(client: &mut Client) -> anyhow::Result<Vec<Team>> {
    client.list("/teams", &[]).await
}

fn table(teams: &[Team]) -> Table {
    Table::list(
        ["name", "devices", "created", "id"],
        teams.iter().map(|team| {
            [
                team.name.clone(),
                team.device_count.to_string(),
                time(Some(team.created_at)),
                team.id.to_string(),
            ]
        }),
    )
}
