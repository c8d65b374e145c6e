//! `fleetctl repo apt`: a repository for Debian and Ubuntu.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use packager::repository::apt::{Apt, MAIN, Settings};

use super::{
    ENVIRONMENT, ListArgs, PathArgs, PruneArgs, SignArgs, Signing,
    fetch::{self, FetchArgs},
    publish::{self, PublishArgs},
    refused, show,
};
use crate::{exit::Stop, flags::Output, openpgp::OpenPgpArgs, session::Session};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl repo apt init --path apt --name Example --openpgp-key key.asc
  fleetctl repo apt add --path apt --openpgp-key key.asc fleetd_1.2.3_amd64.deb")]
pub(crate) enum AptCommand {
    /// Makes an empty repository, or one more suite of it
    #[command(after_help = format!("{ENVIRONMENT}\n\nExamples:\n  fleetctl repo apt init --path apt --name Example --openpgp-key key.asc"))]
    Init(InitArgs),
    /// Adds packages
    #[command(after_help = format!("{ENVIRONMENT}\n\nExamples:\n  fleetctl repo apt add --path apt --openpgp-key key.asc fleetd_1.2.3_amd64.deb"))]
    Add(AddArgs),
    /// Signs the index anew: with another key, or with a new date
    #[command(after_help = format!("{ENVIRONMENT}\n\nExamples:\n  fleetctl repo apt sign --path apt --openpgp-key new-key.asc"))]
    Sign(SignArgs<SuiteArgs>),
    /// Removes all but the newest versions
    #[command(after_help = format!("{ENVIRONMENT}\n\nExamples:\n  fleetctl repo apt prune --path apt --keep 3 --openpgp-key key.asc"))]
    Prune(PruneArgs<SuiteArgs>),
    /// Brings a bucket of S3, or of what speaks as it does, up to date
    #[command(after_help = format!("{}\n\nExamples:\n  fleetctl repo apt publish --path apt s3://packages/apt", publish::ENVIRONMENT))]
    Publish(PublishArgs),
    /// Makes a folder, or brings it up to date, from a bucket
    #[command(after_help = format!("{}\n\nExamples:\n  fleetctl repo apt fetch --path apt s3://packages/apt", publish::ENVIRONMENT))]
    Fetch(FetchArgs),
    /// Shows what is published
    #[command(after_help = "Examples:\n  fleetctl repo apt list --path apt --output json")]
    List(ListArgs<SuiteArgs>),
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct SuiteArgs {
    #[command(flatten)]
    path: PathArgs,
    /// Suite of the repository: what a line of sources names
    #[arg(long, default_value = "stable")]
    suite: String,
}

impl SuiteArgs {
    fn repository(&self) -> Result<Apt, Stop> {
        Apt::at(&self.path.path, &self.suite).map_err(refused)
    }
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    at: SuiteArgs,
    /// Who publishes it
    #[arg(long)]
    name: String,
    /// Days until readers believe an index no more; add, sign and prune begin anew [default: forever]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..))]
    valid_days: Option<u16>,
    #[command(flatten)]
    key: OpenPgpArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Packages to add
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    at: SuiteArgs,
    /// Component to add them to
    #[arg(long, default_value = MAIN)]
    component: String,
    #[command(flatten)]
    key: OpenPgpArgs,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(command: AptCommand, session: &Session) -> anyhow::Result<()> {
    match command {
        AptCommand::Init(args) => init(args, session),
        AptCommand::Add(args) => {
            let Signing { key, date } = Signing::of(&args.key)?;
            let added = args.at.repository()?.add(&args.files, &args.component, (&key, date));
            show(&added.map_err(refused)?, args.output, session)
        }
        AptCommand::Sign(args) => {
            let signing = Signing::of(&args.key)?;
            args.at.repository()?.sign(&signing.key, signing.date).map_err(refused)?;
            signing.tell_signed(session);
            Ok(())
        }
        AptCommand::Prune(args) => {
            let Signing { key, date } = Signing::of(&args.key)?;
            let removed = args.at.repository()?.prune(args.keep, &key, date);
            show(&removed.map_err(refused)?, args.output, session)
        }
        AptCommand::Publish(args) => publish::run(args, session).await,
        AptCommand::Fetch(args) => fetch::run(args, session).await,
        AptCommand::List(args) => {
            show(&args.at.repository()?.list().map_err(refused)?, args.output, session)
        }
    }
}

fn init(args: InitArgs, session: &Session) -> anyhow::Result<()> {
    let signing = Signing::of(&args.key)?;
    let settings = Settings { name: args.name, valid_days: args.valid_days };
    args.at.repository()?.init(settings, &signing.key, signing.date).map_err(refused)?;
    signing.tell_made(&args.at.path.path, session);
    Ok(())
}
