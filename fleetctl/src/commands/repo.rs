//! `fleetctl repo`: signed repositories that plain `apt` and `dnf` install and upgrade from.

mod apt;
mod dnf;
mod fetch;
mod publish;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use packager::{
    SourceDate,
    repository::{KEY_FILE, Listed, RepositoryError},
    sign::openpgp::SigningKey,
};

use super::expiry::now;
use crate::{
    config::Environment, exit::Stop, flags::Output, openpgp::OpenPgpArgs, output::Table,
    session::Session,
};

/// What the help of every verb that signs ends with, before its example.
const ENVIRONMENT: &str = "\
Environment:
  FLEETCTL_OPENPGP_KEY         Secret key to sign with, armored, unless --openpgp-key names a file
  FLEETCTL_OPENPGP_PASSPHRASE  Passphrase of the key; asked for unless given
  SOURCE_DATE_EPOCH            Date of the index, in seconds since 1970, instead of now";

/// Makes and keeps signed repositories of packages
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl repo apt init --path apt --name Example --openpgp-key key.asc
  fleetctl repo dnf init --path dnf --name Example --openpgp-key key.asc")]
pub(crate) enum RepoCommand {
    /// For Debian and Ubuntu
    #[command(subcommand)]
    Apt(apt::AptCommand),
    /// For Fedora, RHEL and openSUSE
    #[command(subcommand)]
    Dnf(dnf::DnfCommand),
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct PathArgs {
    /// Folder of the repository
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
}

/// How a verb that only signs is called.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct SignArgs<At: Args> {
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    key: OpenPgpArgs,
}

/// How `prune` is called.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct PruneArgs<At: Args> {
    #[command(flatten)]
    at: At,
    /// How many versions stay of each package and architecture
    #[arg(long, value_name = "N")]
    keep: NonZeroUsize,
    #[command(flatten)]
    key: OpenPgpArgs,
    #[command(flatten)]
    output: Output,
}

/// How `list` is called.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct ListArgs<At: Args> {
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(command: RepoCommand, session: &Session) -> anyhow::Result<()> {
    match command {
        RepoCommand::Apt(command) => apt::run(command, session).await,
        RepoCommand::Dnf(command) => dnf::run(command, session).await,
    }
}

/// What an index is signed with, and the date it gets.
struct Signing {
    key: SigningKey,
    date: SourceDate,
}

impl Signing {
    /// Every repository is signed.
    fn of(args: &OpenPgpArgs) -> anyhow::Result<Self> {
        let environment = Environment::read()?;
        let date = match &environment.source_date {
            Some(text) => text.parse().map_err(|error| {
                Stop::usage(format!("SOURCE_DATE_EPOCH `{text}` cannot be used: {error}"))
            })?,
            None => SourceDate::from_unix(u32::try_from(now().as_second()).unwrap_or(u32::MAX)),
        };
        let key = args.key(&environment.openpgp).map_err(Stop::usage)?;
        let missing = "--openpgp-key is missing: a repository is always signed";
        Ok(Self { key: key.ok_or_else(|| Stop::usage(missing))?, date })
    }

    fn tell_made(&self, path: &Path, session: &Session) {
        session.shell.done(format!("the repository to publish is `{}`", path.display()));
        session.shell.note(format!(
            "readers need `{}`, whose fingerprint is {}",
            path.join(KEY_FILE).display(),
            self.key.primary_fingerprint()
        ));
    }

    fn tell_signed(&self, session: &Session) {
        session.shell.done(format!("the index is signed by {}", self.key.fingerprint()));
    }
}

/// What the user gave that cannot be done is his mistake.
fn refused(error: RepositoryError) -> Stop {
    let help = if matches!(error, RepositoryError::None { .. }) {
        Some("make one with `init`".to_owned())
    } else if matches!(error, RepositoryError::Differs { .. }) {
        Some("a version that is published never changes: give the new package another".to_owned())
    } else if matches!(error, RepositoryError::Ahead { .. }) {
        Some("publish them first, or fetch into another folder".to_owned())
    } else {
        None
    };
    if error.is_input() {
        return Stop::Usage { problems: vec![error.to_string()], help };
    }
    Stop::advised(error, help)
}

fn show(packages: &[Listed], output: Output, session: &Session) -> anyhow::Result<()> {
    session.shell.data(output.format, packages, |packages| {
        let rows = packages.iter().map(|it| {
            [it.name.clone(), it.version.clone(), it.architecture.clone(), it.file.clone()]
        });
        Table::list(["name", "version", "arch", "file"], rows)
    })
}
