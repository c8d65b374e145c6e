//! `fleetctl orgs`: the organizations that one belongs to.

use clap::{Args, Subcommand};
use reqwest::Method;
use wire::api::{ChangeOrganization, Membership, Organization, SessionTokens, SwitchOrganization};

use super::{find, login::sign_in_as};
use crate::{
    flags::Output,
    output::{Table, time},
    prompt,
    session::Session,
};

/// Lists organizations, switches between them, shows, renames and deletes one
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl orgs list
  fleetctl orgs switch Example")]
pub(crate) enum OrgsCommand {
    /// Lists the organizations that you belong to
    #[command(visible_alias = "ls", after_help = "Examples:\n  fleetctl orgs list --output json")]
    List(Output),
    /// Goes on in another organization of yours: the session ends, and another begins
    #[command(after_help = "Examples:\n  fleetctl orgs switch Example")]
    Switch(SwitchArgs),
    /// Shows the organization that you are signed in to
    #[command(after_help = "Examples:\n  fleetctl orgs show --output json")]
    Show(Output),
    /// Renames the organization that you are signed in to
    #[command(after_help = "Examples:\n  fleetctl orgs rename 'Example Ltd'")]
    Rename(RenameArgs),
    /// Deletes the organization that you are signed in to, with everything in it
    #[command(after_help = "Examples:\n  fleetctl orgs delete")]
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SwitchArgs {
    /// Organization's name or id
    organization: String,
}

#[derive(Debug, Args)]
pub(crate) struct RenameArgs {
    /// Name to give it
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(command: OrgsCommand, session: &Session) -> anyhow::Result<()> {
    let mut client = session.client()?;
    match command {
        OrgsCommand::List(output) => {
            let orgs: Vec<Membership> = client.list("/auth/orgs", &[]).await?;
            session.shell.data(output.format, &orgs, |orgs| table(orgs))
        }
        OrgsCommand::Switch(args) => {
            let orgs: Vec<Membership> = client.list("/auth/orgs", &[]).await?;
            let describe = |it: &Membership| it.org_id.to_string();
            let org = find::only("organization", &args.organization, orgs, |it| {
                (describe(it), vec![&it.organization])
            })?;
            let request = SwitchOrganization { org_id: org.org_id };
            let tokens: SessionTokens = client.create("/auth/org/switch", &request).await?;
            let (server, trust) = session.server()?;
            sign_in_as(session, server, &trust, tokens)
        }
        OrgsCommand::Show(output) => {
            let org: Organization = client.read("/organization").await?;
            session.shell.data(output.format, &org, properties)
        }
        OrgsCommand::Rename(args) => {
            let change = ChangeOrganization { name: Some(args.name), allowed_networks: None };
            let org: Organization = client.change(Method::PATCH, "/organization", &change).await?;
            session.shell.done(format!("the organization is called `{}` now", org.name));
            Ok(())
        }
        OrgsCommand::Delete(args) => {
            let org: Organization = client.read("/organization").await?;
            let question = format!("Delete `{}` with every device, team and key?", org.name);
            prompt::confirm(args.yes, &question)?;
            client.delete("/organization").await?;
            session.shell.done(format!("`{}` is deleted", org.name));
            Ok(())
        }
    }
}

fn properties(org: &Organization) -> Table {
    Table::properties([
        ("Name", org.name.clone()),
        ("Created", time(Some(org.created_at))),
        ("Id", org.id.to_string()),
    ])
}

fn table(orgs: &[Membership]) -> Table {
    Table::list(
        ["name", "role", "current", "id"],
        orgs.iter().map(|org| {
            let current = if org.current { "yes" } else { "" };
            [
                org.organization.clone(),
                org.role.to_string(),
                current.to_owned(),
                org.org_id.to_string(),
            ]
        }),
    )
}
