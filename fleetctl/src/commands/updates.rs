//! `fleetctl updates`: the repository that components are published in.

mod bucket;
mod change;
mod keys;
mod migrate;
mod passphrases;
mod publish;
mod roles;
mod serve;
mod show;
mod signing;

use std::num::NonZeroU64;

use clap::{Args, Subcommand};
use update::{Expiries, Founding};

use self::{
    migrate::MigrateArgs,
    passphrases::PassphraseArgs,
    publish::{AddArgs, PauseArgs, PromoteArgs, PublishArgs, RemoveArgs, RenewArgs, RenewOneArgs},
    roles::RotateArgs,
    serve::ServeArgs,
    show::{DiffArgs, GcArgs, LogArgs, StatusArgs, VerifyArgs},
    signing::PathArgs,
};
use super::expiry::now;
use crate::{config::user_name, exit::Stop, session::Session};

const ENVIRONMENT: &str = "\
Environment:
  FLEET_<NAME>_PASSPHRASE
          Passphrase of the key called NAME, e.g. FLEET_TARGETS_PASSPHRASE,
          FLEET_ROOT_2_PASSPHRASE; asked for unless set";

/// Makes and fills a repository of updates (TUF)
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl updates init --path tuf
  fleetctl updates add --path tuf --target ./orbit --name orbit --platform linux --version 1.2.3 -t edge
  fleetctl updates promote --path tuf --name orbit --version 1.2.3 --to stable
  fleetctl updates timestamp --path tuf --if-within 4d
  fleetctl updates status --path tuf")]
pub(crate) enum UpdatesCommand {
    /// Makes keys and an empty repository
    #[command(after_help = format!("{ENVIRONMENT}\n\n\
Examples:
  fleetctl updates init --path tuf
  fleetctl updates init --path tuf --root-keys 3 --root-threshold 2"))]
    Init(InitArgs),
    /// Goes on with a repository of Fleet's `fleetctl updates`, of tuftool or of another TUF tool
    ///
    /// Who trusts its root goes on trusting it: the next root is signed with its keys. The other
    /// repository stays as it is; publish the new one in its place.
    #[command(after_help = format!("{ENVIRONMENT}\n\n\
Examples:
  fleetctl updates migrate --path tuf --from old-tuf
  fleetctl updates migrate --path tuf --from tuf-repo --key root.pem --key targets.pem"))]
    Migrate(MigrateArgs),
    /// Publishes a component, or an extension of osquery
    #[command(after_help = format!("{ENVIRONMENT}\n\n\
Examples:
  fleetctl updates add --path tuf --target ./orbit --name orbit --platform linux --version 1.2.3 \\
      -t stable -t edge
  fleetctl updates add --path tuf --target ./hello.ext --name extensions/hello --platform linux \\
      --version 1.0.0 -t stable"))]
    Add(AddArgs),
    /// Stops listing targets; their files stay for readers who know of them
    #[command(after_help = "\
Examples:
  fleetctl updates remove --path tuf orbit/linux/1.2.3/orbit orbit/linux/edge/orbit")]
    Remove(RemoveArgs),
    /// Makes a published version the current one of a channel
    #[command(after_help = "\
Examples:
  fleetctl updates promote --path tuf --name orbit --version 1.2.3 --to stable
  fleetctl updates promote --path tuf --name orbit --version edge --to stable --platform linux
  fleetctl updates promote --path tuf --name orbit --version 1.2.3 --to stable --waves 1%,10%@24h,100%@3d")]
    Promote(PromoteArgs),
    /// Tells devices not to begin with what is current on a channel
    #[command(after_help = "\
Examples:
  fleetctl updates pause --path tuf --name orbit --channel stable")]
    Pause(PauseArgs),
    /// Lets a paused rollout go on
    #[command(after_help = "\
Examples:
  fleetctl updates resume --path tuf --name orbit --channel stable")]
    Resume(PauseArgs),
    /// Brings a copy of the published files up to date, in an order that readers never notice
    #[command(after_help = "\
Environment:
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
          Keys of the bucket

Examples:
  fleetctl updates publish --path tuf /srv/www/updates
  fleetctl updates publish --path tuf /srv/www/updates --dry-run
  fleetctl updates publish --path tuf s3://updates/fleet --region eu-central-1
  fleetctl updates publish --path tuf s3://updates --endpoint https://minio.example.com:9000")]
    Publish(PublishArgs),
    /// Serves the published files over HTTP, to try them out; fleet-server does it for real
    #[command(after_help = "\
Examples:
  fleetctl updates serve --path tuf
  fleetctl updates serve --path tuf --listen 127.0.0.1:9000")]
    Serve(ServeArgs),
    /// Signs the timestamp anew: what a daily job does
    #[command(after_help = "\
Examples:
  fleetctl updates timestamp --path tuf --if-within 4d --passphrase-file /run/secrets/timestamp")]
    Timestamp(RenewArgs),
    /// Signs the snapshot, and the timestamp, anew
    #[command(after_help = "\
Examples:
  fleetctl updates snapshot --path tuf --if-within 15d")]
    Snapshot(RenewArgs),
    /// Signs any role's metadata anew, as it is: root, targets or a delegated role
    #[command(after_help = "\
Examples:
  fleetctl updates renew --path tuf root --keys /media/usb")]
    Renew(RenewOneArgs),
    /// Lists roles and changes who may sign for them
    #[command(subcommand)]
    Roles(roles::RolesCommand),
    /// Makes, lists and takes in signing keys
    #[command(subcommand)]
    Key(keys::KeyCommand),
    /// Replaces a key of a role by a new one
    #[command(after_help = "\
Examples:
  fleetctl updates rotate --path tuf timestamp --keys /media/usb
  fleetctl updates rotate --path tuf root --key 3fa9
  fleetctl updates rotate --path tuf snapshot --compromised --stage")]
    Rotate(RotateArgs),
    /// Signs and applies a change that waits for several people
    #[command(subcommand)]
    Change(change::ChangeCommand),
    /// Shows what is published and until when it is valid; exit code 1 when something is to be
    /// signed soon
    #[command(after_help = "\
Examples:
  fleetctl updates status --path tuf
  fleetctl updates status --path tuf --output json

A role is `expiring` when its metadata ends within 60 days (root), 30 days (targets and delegated
roles), 10 days (snapshot) or 3 days (timestamp).")]
    Status(StatusArgs),
    /// Shows who changed what, and checks that nothing was taken out
    #[command(after_help = "\
Examples:
  fleetctl updates log --path tuf
  fleetctl updates log --path tuf --verify")]
    Log(LogArgs),
    /// Shows what differs between two repositories
    #[command(after_help = "\
Examples:
  fleetctl updates diff /srv/www/updates tuf/repository")]
    Diff(DiffArgs),
    /// Checks a published repository whole, as a client does: from its first root down to the
    /// content of every file
    #[command(after_help = "\
Examples:
  fleetctl updates verify --path tuf
  fleetctl updates verify --repository /srv/www/updates --output json")]
    Verify(VerifyArgs),
    /// Removes files that no reader can want any more
    #[command(after_help = "\
Examples:
  fleetctl updates gc --path tuf --dry-run
  fleetctl updates gc --path tuf --states 3")]
    Gc(GcArgs),
    /// Prints the root metadata that packages and agents trust
    #[command(after_help = "Examples:\n  fleetctl updates roots --path tuf > root.json")]
    Roots(PathArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    path: PathArgs,
    /// How many keys the root has; they are meant for as many people
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    root_keys: NonZeroU64,
    /// How many of them must sign
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    root_threshold: NonZeroU64,
    #[command(flatten)]
    passphrases: PassphraseArgs,
}

pub(crate) async fn run(command: UpdatesCommand, session: &Session) -> anyhow::Result<()> {
    match command {
        UpdatesCommand::Init(args) => init(args, session).await,
        UpdatesCommand::Migrate(args) => migrate::run(args, session).await,
        UpdatesCommand::Add(args) => publish::add(args, session).await,
        UpdatesCommand::Remove(args) => publish::remove(args, session).await,
        UpdatesCommand::Promote(args) => publish::promote(args, session).await,
        UpdatesCommand::Pause(args) => publish::pause(args, true, session).await,
        UpdatesCommand::Resume(args) => publish::pause(args, false, session).await,
        UpdatesCommand::Publish(args) => publish::publish(&args, session).await,
        UpdatesCommand::Serve(args) => serve::serve(&args, session).await,
        UpdatesCommand::Timestamp(args) => publish::renew("timestamp", args, session).await,
        UpdatesCommand::Snapshot(args) => publish::renew("snapshot", args, session).await,
        UpdatesCommand::Renew(args) => publish::renew_one(args, session).await,
        UpdatesCommand::Roles(command) => roles::run(command, session).await,
        UpdatesCommand::Key(command) => keys::run(command, session),
        UpdatesCommand::Rotate(args) => roles::rotate(args, session).await,
        UpdatesCommand::Change(command) => change::run(command, session).await,
        UpdatesCommand::Status(args) => show::status(&args, session),
        UpdatesCommand::Log(args) => show::log(&args, session),
        UpdatesCommand::Diff(args) => show::diff(&args, session),
        UpdatesCommand::Verify(args) => show::verify(&args, session).await,
        UpdatesCommand::Gc(args) => show::gc(&args, session),
        UpdatesCommand::Roots(args) => {
            session.shell.raw(signing::open(&args.path)?.root_json())?;
            session.shell.line("")
        }
    }
}

async fn init(args: InitArgs, session: &Session) -> anyhow::Result<()> {
    if args.root_threshold > args.root_keys {
        return Err(Stop::usage("--root-threshold is higher than --root-keys").into());
    }
    let new = |name: &str| args.passphrases.new_for(name);
    let mut root = vec![new("root")?];
    for number in 2..=args.root_keys.get() {
        root.push(new(&format!("root-{number}"))?);
    }
    let founding = Founding {
        root,
        root_threshold: args.root_threshold,
        targets: new("targets")?,
        snapshot: new("snapshot")?,
        timestamp: new("timestamp")?,
        who: user_name().unwrap_or_else(|| "unknown".to_owned()),
    };
    let made = update::init(&args.path.path, &founding, &Expiries::default(), now()).await;
    let editor = made.map_err(|error| {
        let help = error.help();
        Stop::advised(error, help)
    })?;
    session.shell.done(format!("the repository to publish is `{}`", editor.repository_dir()));
    let listed = editor.keys().list()?;
    let roots = listed.iter().filter(|it| it.name.as_str().starts_with("root"));
    let files: Vec<_> = roots.map(|it| format!("`{}`", editor.keys().file(&it.name))).collect();
    let (files, them) = (files.join(", "), if files.len() == 1 { "it" } else { "them" });
    session
        .shell
        .note(format!("move {files} to a safe place offline; publishing does not need {them}"));
    Ok(())
}
