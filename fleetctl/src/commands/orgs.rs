//! `fleetctl orgs`: the organizations that one belongs to.

use clap::{Args, Subcommand};
use reqwest::Method;
use wire::{
    api::{
        ChangeOrganization, KeyEnvironment, Membership, Organization, SessionTokens,
        SwitchOrganization,
    },
    settings::parse_duration,
};

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
    /// Shows or sets the networks that its people and API keys may ask from
    #[command(after_help = "\
Examples:
  fleetctl orgs networks
  fleetctl orgs networks --allow 203.0.113.0/24,2001:db8::/32
  fleetctl orgs networks --anywhere")]
    Networks(NetworksArgs),
    /// Shows or sets what its API keys are for, and how long they may last
    #[command(after_help = "\
Examples:
  fleetctl orgs key-rules
  fleetctl orgs key-rules --environment test
  fleetctl orgs key-rules --max-ttl 90d")]
    KeyRules(KeyRulesArgs),
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
pub(crate) struct NetworksArgs {
    /// Network (CIDR) or address to ask from, instead of those so far; may be repeated. Yours is to be
    /// among them
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    allow: Vec<String>,
    /// Let its people and API keys ask from anywhere
    #[arg(long, conflicts_with = "allow")]
    anywhere: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct KeyRulesArgs {
    /// live or test: API keys made for the other one are refused from here on
    #[arg(long)]
    environment: Option<KeyEnvironment>,
    /// How long API keys made from here on may last, e.g. 90d; 0: as long as the server allows
    #[arg(long, value_name = "DURATION", value_parser = max_ttl)]
    max_ttl: Option<u64>,
    #[command(flatten)]
    output: Output,
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
        OrgsCommand::Networks(args) => {
            let org: Organization = if args.anywhere || !args.allow.is_empty() {
                let allowed_networks = Some(args.allow);
                let change = ChangeOrganization { allowed_networks, ..Default::default() };
                client.change(Method::PATCH, "/organization", &change).await?
            } else {
                client.read("/organization").await?
            };
            session.shell.data(args.output.format, &org.allowed_networks, |it| networks(it))?;
            if org.allowed_networks.is_empty() {
                session.shell.note("its people and API keys may ask from anywhere");
            }
            Ok(())
        }
        OrgsCommand::KeyRules(args) => {
            let org: Organization = if args.environment.is_some() || args.max_ttl.is_some() {
                let change = ChangeOrganization {
                    key_environment: args.environment,
                    key_max_ttl_seconds: args.max_ttl,
                    ..Default::default()
                };
                client.change(Method::PATCH, "/organization", &change).await?
            } else {
                client.read("/organization").await?
            };
            session.shell.data(args.output.format, &org, properties)
        }
        OrgsCommand::Rename(args) => {
            let change = ChangeOrganization { name: Some(args.name), ..Default::default() };
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
        ("Networks", org.allowed_networks.join(", ")),
        ("API keys", org.key_environment.as_str().to_owned()),
        ("API keys last", org.key_max_ttl_seconds.map(shown).unwrap_or_default()),
        ("Id", org.id.to_string()),
    ])
}

/// Seconds of a length of time; `0` stands for no bound.
fn max_ttl(text: &str) -> Result<u64, String> {
    if text == "0" { Ok(0) } else { parse_duration(text).map(|time| time.as_secs()) }
}

/// e.g. `at most 90d`.
fn shown(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let fits = units.into_iter().find(|(length, _)| seconds.is_multiple_of(*length));
    fits.map_or_else(String::new, |(length, unit)| format!("at most {}{unit}", seconds / length))
}

fn networks(allowed: &[String]) -> Table {
    Table::list(["network"], allowed.iter().map(|network| [network.clone()]))
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
