//! `fleetctl enroll-secrets`: what admits devices.

use std::{collections::BTreeMap, time::Duration};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use wire::{
    EnrollSecret, TeamId,
    api::{CreatedEnrollSecret, EnrollSecretInfo, NewEnrollSecret},
    settings::parse_duration,
};

use super::{expiry, find, state, teams};
use crate::{
    client::Client,
    exit::Stop,
    flags::Output,
    output::{Format, Table, time},
    prompt,
    session::Session,
};

/// Lists, creates and revokes enroll secrets
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl enroll-secrets create --name laptops --quiet > secret.txt
  fleetctl enroll-secrets list
  fleetctl enroll-secrets revoke laptops")]
pub(crate) enum EnrollSecretsCommand {
    /// Lists the enroll secrets, without their values
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  fleetctl enroll-secrets list --output json"
    )]
    List(Output),
    /// Creates an enroll secret and prints it, this once
    #[command(after_help = "\
Examples:
  fleetctl enroll-secrets create --name laptops
  fleetctl enroll-secrets create --name kiosks --team Kiosks --expires-in 7d --max-uses 50
  fleetctl enroll-secrets create --name till --hardware-id C02XK0AAJG5J --max-uses 1
  fleetctl enroll-secrets create --name laptops --quiet > secret.txt")]
    Create(CreateArgs),
    /// Revokes an enroll secret: it admits nobody any more
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  fleetctl enroll-secrets revoke laptops"
    )]
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What to call it
    #[arg(long)]
    name: String,
    /// Team that its devices join (name or id)
    #[arg(long)]
    team: Option<String>,
    /// How long it is good, e.g. 12h or 30d; for ever unless given
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_in: Option<Duration>,
    /// How many devices it admits; any number unless given
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    max_uses: Option<u32>,
    /// Devices that it admits wait until `fleetctl devices approve`
    #[arg(long)]
    needs_approval: bool,
    /// Hardware UUID or serial number of a device that it is for; may be repeated. Any unless given
    #[arg(long = "hardware-id", value_name = "ID", value_delimiter = ',')]
    hardware_ids: Vec<String>,
    /// Read the secret from standard input instead of having one made; at least 16 bytes
    #[arg(long)]
    secret_stdin: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Enroll secret's name or id
    secret: String,
}

pub(crate) async fn run(command: EnrollSecretsCommand, session: &Session) -> anyhow::Result<()> {
    let mut client = session.client()?;
    match command {
        EnrollSecretsCommand::List(output) => list(session, &mut client, output).await,
        EnrollSecretsCommand::Create(args) => create(session, &mut client, args).await,
        EnrollSecretsCommand::Revoke(args) => {
            let secret = named(&mut client, &args.secret).await?;
            client.delete(&format!("/enroll-secrets/{}", secret.id)).await?;
            session.shell.done(format!("enroll secret `{}` is revoked", secret.name));
            Ok(())
        }
    }
}

async fn list(session: &Session, client: &mut Client, output: Output) -> anyhow::Result<()> {
    let secrets: Vec<EnrollSecretInfo> = client.list("/enroll-secrets", &[]).await?;
    let teams = match output.format {
        Format::Table if secrets.iter().any(|secret| secret.team_id.is_some()) => {
            teams::names(client).await
        }
        Format::Table | Format::Json | Format::Yaml => BTreeMap::new(),
    };
    let now = expiry::now();
    session.shell.data(output.format, &secrets, |secrets| table(secrets, &teams, now))
}

async fn create(session: &Session, client: &mut Client, args: CreateArgs) -> anyhow::Result<()> {
    let expires_at = args.expires_in.map(expiry::after).transpose()?;
    let secret = if args.secret_stdin { Some(given()?) } else { None };
    let team_id = match &args.team {
        Some(team) => Some(teams::named(client, team).await?.id),
        None => None,
    };
    let new = NewEnrollSecret {
        name: args.name,
        team_id,
        secret,
        expires_at,
        max_uses: args.max_uses,
        needs_approval: args.needs_approval,
        hardware_ids: args.hardware_ids,
    };
    let created: CreatedEnrollSecret = client.create("/enroll-secrets", &new).await?;
    if session.shell.is_quiet() {
        return session.shell.line(created.secret.expose());
    }
    session.shell.data(args.output.format, &created, |created| {
        Table::properties([
            ("Name", created.info.name.clone()),
            ("Id", created.info.id.to_string()),
            ("Expires", time(created.info.expires_at)),
            ("Hardware", created.info.hardware_ids.join(", ")),
            ("Secret", created.secret.expose().to_owned()),
        ])
    })?;
    session.shell.note("the secret is shown this once; `fleetctl package` takes it");
    Ok(())
}

fn given() -> anyhow::Result<EnrollSecret> {
    let text = prompt::stdin_line()?;
    EnrollSecret::new(text.0.as_str())
        .map_err(|reason| Stop::usage(format!("the secret cannot be used: {reason}")).into())
}

pub(crate) async fn named(client: &mut Client, wanted: &str) -> anyhow::Result<EnrollSecretInfo> {
    let secrets: Vec<EnrollSecretInfo> = client.list("/enroll-secrets", &[]).await?;
    let live = secrets
        .into_iter()
        .filter(|secret| secret.revoked_at.is_none() || secret.id.to_string() == wanted)
        .collect();
    Ok(find::only("enroll secret", wanted, live, |secret| {
        (secret.id.to_string(), vec![&secret.name])
    })?)
}

fn table(secrets: &[EnrollSecretInfo], teams: &BTreeMap<TeamId, String>, now: Timestamp) -> Table {
    Table::list(
        ["name", "state", "team", "uses", "created", "last used", "expires", "id"],
        secrets.iter().map(|secret| {
            let used_up = secret.max_uses.is_some_and(|most| secret.use_count >= most);
            [
                secret.name.clone(),
                if used_up && secret.revoked_at.is_none() {
                    "used up".to_owned()
                } else {
                    state(secret.revoked_at, secret.expires_at, now).to_owned()
                },
                teams::shown(teams, secret.team_id),
                match secret.max_uses {
                    Some(most) => format!("{} of {most}", secret.use_count),
                    None => secret.use_count.to_string(),
                },
                time(Some(secret.created_at)),
                time(secret.last_used_at),
                time(secret.expires_at),
                secret.id.to_string(),
            ]
        }),
    )
}
