//! `fleetctl updates`: the repository that components are published in.

mod passphrases;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use update::{
    Addition, Channel, Component, Editor, Expiries, TargetName, TufRole, UpdatePlatform,
    editor::{AddError, InitPassphrases, OpenError, PublishKeys, Status},
};

use super::expiry::now;
use crate::{
    cli::Output,
    exit::Stop,
    output::{Table, time},
    session::Session,
};

const ENVIRONMENT: &str = "\
Environment:
  FLEET_ROOT_PASSPHRASE, FLEET_TARGETS_PASSPHRASE,
  FLEET_SNAPSHOT_PASSPHRASE, FLEET_TIMESTAMP_PASSPHRASE
                     Passphrases of the keys; asked for unless set";

/// Makes and fills a repository of updates (TUF)
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl updates init --path tuf
  fleetctl updates add --path tuf --target ./orbit --name orbit --platform linux --version 1.2.3 -t stable
  fleetctl updates roots --path tuf > root.json")]
pub(crate) enum UpdatesCommand {
    /// Makes keys and an empty repository
    #[command(after_help = format!("{ENVIRONMENT}\n\nExamples:\n  fleetctl updates init --path tuf"))]
    Init(PathArgs),
    /// Publishes a component
    #[command(after_help = format!("{ENVIRONMENT}\n
Examples:
  fleetctl updates add --path tuf --target ./orbit --name orbit --platform linux --version 1.2.3 \\
      -t stable -t edge"))]
    Add(AddArgs),
    /// Shows what is published and until when it is valid
    #[command(after_help = "Examples:\n  fleetctl updates status --path tuf --output json")]
    Status(StatusArgs),
    /// Prints the root metadata that packages and agents trust
    #[command(after_help = "Examples:\n  fleetctl updates roots --path tuf > root.json")]
    Roots(PathArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PathArgs {
    /// Folder of the repository and its keys
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: Utf8PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    path: PathArgs,
    /// File to publish
    #[arg(long, value_name = "FILE")]
    target: Utf8PathBuf,
    /// What it is: orbit, osqueryd or desktop
    #[arg(long, value_name = "COMPONENT")]
    name: Component,
    /// Where it runs: linux, linux-arm64, macos, macos-app, windows or windows-arm64
    #[arg(long)]
    platform: UpdatePlatform,
    /// Its version, X.Y.Z
    #[arg(long)]
    version: Channel,
    /// Channel to publish it on, besides its version: stable, edge, X or X.Y; may be repeated
    #[arg(short, long = "tag", value_name = "CHANNEL", value_delimiter = ',')]
    tags: Vec<Channel>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    path: PathArgs,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(command: UpdatesCommand, session: &Session) -> anyhow::Result<()> {
    match command {
        UpdatesCommand::Init(args) => init(args, session).await,
        UpdatesCommand::Add(args) => add(args, session).await,
        UpdatesCommand::Status(args) => {
            let status = Shown::of(&open(&args.path)?.status());
            session.shell.data(args.output.format, &status, Shown::table)
        }
        UpdatesCommand::Roots(args) => {
            session.shell.raw(open(&args)?.root_json())?;
            session.shell.line("")
        }
    }
}

/// The repository in a folder that the command line names.
fn open(args: &PathArgs) -> Result<Editor, Stop> {
    Editor::open(&args.path).map_err(|error| {
        let help = error.help();
        if matches!(error, OpenError::NoRepository { .. }) {
            Stop::Usage { problems: vec![error.to_string()], help }
        } else {
            Stop::advised(error, help)
        }
    })
}

async fn init(args: PathArgs, session: &Session) -> anyhow::Result<()> {
    let new = |role| passphrases::new(role);
    let passphrases = InitPassphrases {
        root: new(TufRole::Root)?,
        targets: new(TufRole::Targets)?,
        snapshot: new(TufRole::Snapshot)?,
        timestamp: new(TufRole::Timestamp)?,
    };
    let made = update::init(&args.path, &passphrases, &Expiries::default(), now()).await;
    let editor = made.map_err(|error| {
        let help = error.help();
        Stop::advised(error, help)
    })?;
    session.shell.done(format!("the repository to publish is `{}`", editor.repository_dir()));
    session.shell.note(format!(
        "move `{}` to a safe place offline; publishing does not need it",
        editor.keys().file(TufRole::Root)
    ));
    Ok(())
}

async fn add(args: AddArgs, session: &Session) -> anyhow::Result<()> {
    let mut editor = open(&args.path)?;
    let additions = [Addition {
        file: args.target,
        component: args.name,
        platform: args.platform,
        version: args.version,
        tags: args.tags,
    }];
    editor.check(&additions).map_err(refused)?;
    let unlock = |role| passphrases::unlock(editor.keys(), role);
    let keys = PublishKeys {
        targets: unlock(TufRole::Targets)?,
        snapshot: unlock(TufRole::Snapshot)?,
        timestamp: unlock(TufRole::Timestamp)?,
    };
    let added = editor.add(&additions, &keys, &Expiries::default(), now()).await;
    let targets = added.map_err(refused)?;
    let names: Vec<_> = targets.iter().map(TargetName::to_string).collect();
    session.shell.data(args.output.format, &names, |names| {
        Table::list(["published"], names.iter().map(|name| [name.clone()]))
    })
}

/// A file or name that cannot be published is the command line's mistake.
fn refused(error: AddError) -> Stop {
    let help = error.help();
    if let AddError::Unusable { problems } = error {
        return Stop::Usage { problems: problems.iter().map(ToString::to_string).collect(), help };
    }
    Stop::advised(error, help)
}

/// What a repository holds, as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    roles: Vec<ShownRole>,
    targets: Vec<ShownTarget>,
}

#[derive(Debug, Serialize)]
struct ShownRole {
    role: &'static str,
    version: u64,
    expires: Timestamp,
}

#[derive(Debug, Serialize)]
struct ShownTarget {
    name: String,
    version: Option<String>,
    size: u64,
    sha256: String,
}

impl Shown {
    fn of(status: &Status) -> Self {
        let roles = status.roles.iter().map(|role| ShownRole {
            role: role.role.as_str(),
            version: role.version,
            expires: role.expires,
        });
        let targets = status.targets.iter().map(|target| ShownTarget {
            name: target.name.clone(),
            version: target.version.clone(),
            size: target.length,
            sha256: target.sha256.clone(),
        });
        Self { roles: roles.collect(), targets: targets.collect() }
    }

    fn table(&self) -> Table {
        let roles = self.roles.iter().map(|role| {
            let until = format!("until {}", time(Some(role.expires)));
            [role.role.to_owned(), role.version.to_string(), until]
        });
        let targets = self.targets.iter().map(|target| {
            let version = target.version.clone().unwrap_or_default();
            [target.name.clone(), version, format!("{} bytes", target.size)]
        });
        Table::list(["name", "version", "state"], roles.chain(targets))
    }
}
