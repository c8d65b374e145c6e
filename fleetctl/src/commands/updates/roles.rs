//! Who may sign what: `fleetctl updates roles` and `rotate`.

use std::num::NonZeroU64;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use update::{
    Edit, Editor, KeyName, PublicKey,
    editor::{Delegation, KeyChange, RoleStatus},
    keys::{Algorithm, NewKey},
};

use super::signing::{ChangeArgs, PathArgs, carry_out, carry_out_in, open};
use crate::{commands::expiry::now, exit::Stop, flags::Output, output::Table, session::Session};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl updates roles list --path tuf
  fleetctl updates roles add --path tuf root ann.pub bob.pub --threshold 2 --keys /media/usb")]
pub(crate) enum RolesCommand {
    /// Lists roles, their keys and what they may speak for
    #[command(after_help = "Examples:\n  fleetctl updates roles list --path tuf")]
    List(ListArgs),
    /// Lets a key sign for a role
    #[command(after_help = "\
Examples:
  fleetctl updates roles add --path tuf root ann.pub bob.pub --threshold 2 --keys /media/usb")]
    Add(AddArgs),
    /// Takes a key's right to sign for a role away
    #[command(after_help = "\
Examples:
  fleetctl updates roles remove --path tuf root 3fa9c1 --stage")]
    Remove(RemoveArgs),
    /// Says how many keys of a role must sign
    #[command(after_help = "\
Examples:
  fleetctl updates roles set-threshold --path tuf root 2")]
    SetThreshold(ThresholdArgs),
    /// Lets a new role speak for some targets, which become its own
    #[command(after_help = "\
Examples:
  fleetctl updates roles delegate --path tuf osquery osquery.pub --paths 'osqueryd/*/*/*'")]
    Delegate(DelegateArgs),
    /// Takes a delegated role's right away; its targets become those of `targets` again
    #[command(after_help = "Examples:\n  fleetctl updates roles revoke --path tuf osquery")]
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    path: PathArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The role
    role: String,
    /// File of a public key (PEM)
    #[arg(value_name = "FILE", required = true)]
    keys: Vec<Utf8PathBuf>,
    /// How many keys must sign from now on [default: as before]
    #[arg(long, value_name = "NUMBER")]
    threshold: Option<NonZeroU64>,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The role
    role: String,
    /// The key's id, or its beginning
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// How many keys must sign from now on [default: as before]
    #[arg(long, value_name = "NUMBER")]
    threshold: Option<NonZeroU64>,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ThresholdArgs {
    /// The role
    role: String,
    /// How many keys must sign
    threshold: NonZeroU64,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DelegateArgs {
    /// What to call the role
    name: KeyName,
    /// File of a public key (PEM) that may sign
    #[arg(value_name = "FILE", required = true)]
    keys: Vec<Utf8PathBuf>,
    /// How many keys must sign
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    threshold: NonZeroU64,
    /// What it may speak for: target names with at most one `*` in each level; may be repeated
    #[arg(long, value_name = "PATTERN", required = true)]
    paths: Vec<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The role
    name: String,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// The role
    role: String,
    /// The id of the key to replace, or its beginning [default: the role's only key]
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// Somebody else may have signed with it: the keys of snapshot and timestamp are replaced too,
    /// and versions begin again, so that readers who were shown versions far ahead come back
    #[arg(long)]
    compromised: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(crate) async fn run(command: RolesCommand, session: &Session) -> anyhow::Result<()> {
    let (change, args) = match command {
        RolesCommand::List(args) => return list(&args, session),
        RolesCommand::Delegate(args) => return delegate(args, session).await,
        RolesCommand::Revoke(args) => {
            return carry_out(&Edit::Revoke(args.name), &args.change, session).await;
        }
        RolesCommand::Add(args) => {
            let AddArgs { role, keys, threshold, change } = args;
            (KeyChange { role, add: read_keys(&keys)?, remove: Vec::new(), threshold }, change)
        }
        RolesCommand::Remove(args) => {
            let RemoveArgs { role, ids, threshold, change } = args;
            (KeyChange { role, add: Vec::new(), remove: ids, threshold }, change)
        }
        RolesCommand::SetThreshold(args) => {
            let ThresholdArgs { role, threshold, change } = args;
            let threshold = Some(threshold);
            (KeyChange { role, add: Vec::new(), remove: Vec::new(), threshold }, change)
        }
    };
    let edit = Edit::SetKeys { changes: vec![change], is_compromised: false };
    carry_out(&edit, &args, session).await
}

fn list(args: &ListArgs, session: &Session) -> anyhow::Result<()> {
    let roles = open(&args.path.path)?.status(now())?.roles;
    session.shell.data(args.output.format, &roles, |roles| {
        let rows = roles.iter().flat_map(|role| {
            role.keys.iter().map(|id| {
                let paths = role.paths.join(", ");
                [role.role.clone(), role.threshold.to_string(), paths, id.clone()]
            })
        });
        Table::list(["role", "threshold", "paths", "key"], rows)
    })
}

async fn delegate(args: DelegateArgs, session: &Session) -> anyhow::Result<()> {
    let edit = Edit::Delegate(Delegation {
        name: args.name,
        keys: read_keys(&args.keys)?,
        threshold: args.threshold,
        paths: args.paths,
    });
    carry_out(&edit, &args.change, session).await
}

fn read_keys(files: &[Utf8PathBuf]) -> Result<Vec<PublicKey>, Stop> {
    let (mut keys, mut problems) = (Vec::new(), Vec::new());
    for file in files {
        match PublicKey::read(file) {
            Ok(key) => keys.push(key),
            Err(error) => problems.push(format!("{:#}", anyhow::Error::new(error))),
        }
    }
    if problems.is_empty() { Ok(keys) } else { Err(Stop::Usage { problems, help: None }) }
}

pub(crate) async fn rotate(args: RotateArgs, session: &Session) -> anyhow::Result<()> {
    let editor = open(&args.change.path.path)?;
    let roles = editor.status(now())?.roles;
    let mut replaced = vec![(args.role.as_str(), args.key.as_deref())];
    if args.compromised && args.role != "root" {
        let below = ["snapshot", "timestamp"].into_iter().filter(|it| *it != args.role);
        replaced.extend(below.map(|it| (it, None)));
    }
    let mut changes = Vec::new();
    for (role, key) in replaced {
        changes.push(replacement(&roles, role, key)?);
    }
    let mut new = Vec::new();
    for change in &mut changes {
        let key = new_key(&editor, &change.role)?;
        change.add = vec![key.public()];
        new.push(key);
    }
    // New keys of the root are reason enough: its readers drop nothing for them.
    let edit = Edit::SetKeys { changes, is_compromised: args.compromised && args.role != "root" };
    carry_out_in(editor, (&edit, new), &args.change, session).await
}

/// What to take from `role`: the key asked for, or its only one.
fn replacement(roles: &[RoleStatus], role: &str, key: Option<&str>) -> Result<KeyChange, Stop> {
    let found = roles.iter().find(|it| it.role == role);
    let found = found.ok_or_else(|| Stop::usage(format!("there is no role `{role}`")))?;
    let old = match (key, &found.keys[..]) {
        (Some(key), _) => key.to_owned(),
        (None, [only]) => only.clone(),
        (None, many) => {
            let problem = format!("the role `{role}` has {} keys: name one with --key", many.len());
            return Err(Stop::usage(problem));
        }
    };
    Ok(KeyChange { role: role.to_owned(), add: Vec::new(), remove: vec![old], threshold: None })
}

/// A key for `role`, called after it: `timestamp-2`.
fn new_key(editor: &Editor, role: &str) -> anyhow::Result<NewKey> {
    let free = |number: &u32| !editor.keys().file(format!("{role}-{number}")).exists();
    let number = (2_u32..).find(free).unwrap_or(u32::MAX);
    let name: KeyName = format!("{role}-{number}").parse()?;
    Ok(editor.keys().draft(&name, Algorithm::Ed25519)?)
}
