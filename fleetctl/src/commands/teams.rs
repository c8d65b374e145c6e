//! `fleetctl teams`: parts of the organization that devices belong to.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use wire::{
    TeamId,
    api::{NewTeam, Team},
};

use super::find;
use crate::{
    client::Client,
    flags::Output,
    output::{Table, time},
    prompt,
    session::Session,
};

/// Lists, creates and deletes teams
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
        TeamsCommand::Delete(args) => {
            let team = named(&mut client, &args.team).await?;
            prompt::confirm(args.yes, &format!("Delete team `{}`?", team.name))?;
            client.delete(&format!("/teams/{}", team.id)).await?;
            session.shell.done(format!("team `{}` is deleted", team.name));
            Ok(())
        }
    }
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
