//! `fleetctl api-keys`: credentials for scripts.

use std::{collections::BTreeSet, time::Duration};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use wire::{
    Permission, Role,
    api::{ApiKey, ApiKeyKind, CreatedApiKey, NewApiKey, RotateApiKey},
    settings::parse_duration,
};

use super::{expiry, find, state};
use crate::{
    client::Client,
    flags::Output,
    output::{Table, time},
    session::Session,
};

/// Lists, creates, rotates and revokes API keys
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl api-keys create --name ci --role viewer --expires-in 90d
  export FLEET_API_KEY=$(fleetctl api-keys create --name ci --scope devices:read --quiet)
  fleetctl api-keys rotate ci --overlap 1h")]
pub(crate) enum ApiKeysCommand {
    /// Lists the API keys, without their values
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  fleetctl api-keys list --output json"
    )]
    List(Output),
    /// Creates an API key and prints it, this once
    #[command(after_help = "\
Examples:
  fleetctl api-keys create --name ci --role viewer --if-absent
  fleetctl api-keys create --name report --scope devices:read --scope teams:read --expires-in 30d
  export FLEET_API_KEY=$(fleetctl api-keys create --name ci --role viewer --quiet)")]
    Create(CreateArgs),
    /// Gives an API key a new value and prints it, this once
    #[command(after_help = "Examples:\n  fleetctl api-keys rotate ci --overlap 1h")]
    Rotate(RotateArgs),
    /// Revokes an API key
    #[command(visible_alias = "rm", after_help = "Examples:\n  fleetctl api-keys revoke ci")]
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What to call it
    #[arg(long)]
    name: String,
    /// Permission to give it, e.g. devices:read; may be repeated
    #[arg(
        long = "scope",
        value_name = "PERMISSION",
        value_delimiter = ',',
        required_unless_present = "role"
    )]
    scopes: Vec<Permission>,
    /// Give it all that this role may do, save managing API keys
    #[arg(long)]
    role: Option<Role>,
    /// Make it a service's: it outlives its creator's role
    #[arg(long)]
    service: bool,
    /// Make none when a good key of this name exists; it is shown without its value
    #[arg(long)]
    if_absent: bool,
    /// How long it is good, e.g. 12h or 90d; for ever unless given
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_in: Option<Duration>,
    /// How many requests a minute it may send; as many as anybody unless given
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    requests_per_minute: Option<u32>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// API key's name or id
    key: String,
    /// How long the old value still works, at most 24h [default: not at all]
    #[arg(long, value_name = "DURATION", value_parser = overlap)]
    overlap: Option<u32>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// API key's name or id
    key: String,
}

pub(crate) async fn run(command: ApiKeysCommand, session: &Session) -> anyhow::Result<()> {
    let mut client = session.client()?;
    match command {
        ApiKeysCommand::List(output) => {
            let keys: Vec<ApiKey> = client.list("/api-keys", &[]).await?;
            let now = expiry::now();
            session.shell.data(output.format, &keys, |keys| table(keys, now))
        }
        ApiKeysCommand::Create(args) => {
            let new = NewApiKey {
                name: args.name,
                kind: if args.service { ApiKeyKind::Service } else { ApiKeyKind::Person },
                if_absent: args.if_absent,
                scopes: scopes(args.scopes, args.role),
                expires_at: args.expires_in.map(expiry::after).transpose()?,
                requests_per_minute: args.requests_per_minute,
            };
            let created = client.create("/api-keys", &new).await?;
            show(session, args.output, &created)
        }
        ApiKeysCommand::Rotate(args) => {
            let overlap_seconds = args.overlap.unwrap_or_default();
            let key = named(&mut client, &args.key).await?;
            let path = format!("/api-keys/{}/rotate", key.id);
            let created = client.create(&path, &RotateApiKey { overlap_seconds }).await?;
            show(session, args.output, &created)
        }
        ApiKeysCommand::Revoke(args) => {
            let key = named(&mut client, &args.key).await?;
            client.delete(&format!("/api-keys/{}", key.id)).await?;
            session.shell.done(format!("API key `{}` is revoked", key.name));
            Ok(())
        }
    }
}

/// The permissions named and those of `role`, each once. No API key may manage API keys.
fn scopes(named: Vec<Permission>, role: Option<Role>) -> Vec<Permission> {
    let managing = [Permission::ApiKeysRead, Permission::ApiKeysWrite];
    let granted = role.into_iter().flat_map(Role::permissions);
    let granted = granted.filter(|permission| !managing.contains(permission));
    named.into_iter().chain(granted).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Seconds, at most a day of them.
fn overlap(text: &str) -> Result<u32, String> {
    let seconds = parse_duration(text)?.as_secs();
    u32::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds <= 86_400)
        .ok_or_else(|| "it is more than 24h".to_owned())
}

fn show(session: &Session, output: Output, created: &CreatedApiKey) -> anyhow::Result<()> {
    let Some(key) = &created.key else { return show_existing(session, output, created) };
    if session.shell.is_quiet() {
        return session.shell.line(&key.0);
    }
    session.shell.data(output.format, created, |created| {
        Table::properties([
            ("Name", created.api_key.name.clone()),
            ("Id", created.api_key.id.to_string()),
            ("Scopes", listed(&created.api_key.scopes)),
            ("Expires", time(created.api_key.expires_at)),
            ("Key", key.0.clone()),
        ])
    })?;
    session.shell.note("the key is shown this once; give it as FLEET_API_KEY");
    Ok(())
}

/// A key that exists: its value was told when it was made. Who wants the value alone gets nothing.
fn show_existing(
    session: &Session,
    output: Output,
    existing: &CreatedApiKey,
) -> anyhow::Result<()> {
    if session.shell.is_quiet() {
        return Ok(());
    }
    session.shell.data(output.format, existing, |existing| {
        Table::properties([
            ("Name", existing.api_key.name.clone()),
            ("Id", existing.api_key.id.to_string()),
            ("Scopes", listed(&existing.api_key.scopes)),
            ("Expires", time(existing.api_key.expires_at)),
        ])
    })?;
    session.shell.note("there is such a key; nothing was made");
    Ok(())
}

async fn named(client: &mut Client, wanted: &str) -> anyhow::Result<ApiKey> {
    let keys: Vec<ApiKey> = client.list("/api-keys", &[]).await?;
    let live = keys
        .into_iter()
        .filter(|key| key.revoked_at.is_none() || key.id.to_string() == wanted)
        .collect();
    Ok(find::only("API key", wanted, live, |key| (key.id.to_string(), vec![&key.name]))?)
}

fn table(keys: &[ApiKey], now: Timestamp) -> Table {
    Table::list(
        ["name", "state", "key", "scopes", "created", "last used", "expires", "id"],
        keys.iter().map(|key| {
            [
                key.name.clone(),
                state(key.revoked_at, key.expires_at, now).to_owned(),
                format!("{}…{}", key.prefix, key.last4),
                listed(&key.scopes),
                time(Some(key.created_at)),
                time(key.last_used_at),
                time(key.expires_at),
                key.id.to_string(),
            ]
        }),
    )
}

fn listed(scopes: &[Permission]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",")
}
