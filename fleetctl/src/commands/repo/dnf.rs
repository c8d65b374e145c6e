//! `fleetctl repo dnf`: a repository for Fedora, RHEL and openSUSE.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use packager::repository::dnf::Dnf;

use super::{
    ENVIRONMENT, ListArgs, PathArgs, PruneArgs, SignArgs, Signing,
    fetch::{self, FetchArgs},
    publish::{self, PublishArgs},
    refused, show,
};
use crate::{flags::Output, openpgp::OpenPgpArgs, session::Session};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl repo dnf init --path dnf --name Example --openpgp-key key.asc
  fleetctl repo dnf add --path dnf --openpgp-key key.asc fleetd-1.2.3-1.x86_64.rpm")]
pub(crate) enum DnfCommand {
    /// Makes an empty repository
    #[command(after_help = format!("{ENVIRONMENT}\n\nExamples:\n  fleetctl repo dnf init --path dnf --name Example --openpgp-key key.asc"))]
    Init(InitArgs),
    /// Adds packages
    #[command(after_help = format!("{ENVIRONMENT}\n\nExamples:\n  fleetctl repo dnf add --path dnf --openpgp-key key.asc fleetd-1.2.3-1.x86_64.rpm"))]
    Add(AddArgs),
    /// Signs the index anew: with another key, or with a new date
    #[command(after_help = format!("{ENVIRONMENT}\n\nExamples:\n  fleetctl repo dnf sign --path dnf --openpgp-key new-key.asc"))]
    Sign(SignArgs<PathArgs>),
    /// Removes all but the newest versions
    #[command(after_help = format!("{ENVIRONMENT}\n\nExamples:\n  fleetctl repo dnf prune --path dnf --keep 3 --openpgp-key key.asc"))]
    Prune(PruneArgs<PathArgs>),
    /// Brings a bucket of S3, or of what speaks as it does, up to date
    #[command(after_help = format!("{}\n\nExamples:\n  fleetctl repo dnf publish --path dnf s3://packages/dnf", publish::ENVIRONMENT))]
    Publish(PublishArgs),
    /// Makes a folder, or brings it up to date, from a bucket
    #[command(after_help = format!("{}\n\nExamples:\n  fleetctl repo dnf fetch --path dnf s3://packages/dnf", publish::ENVIRONMENT))]
    Fetch(FetchArgs),
    /// Shows what is published
    #[command(after_help = "Examples:\n  fleetctl repo dnf list --path dnf --output json")]
    List(ListArgs<PathArgs>),
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    at: PathArgs,
    /// Who publishes it
    #[arg(long)]
    name: String,
    #[command(flatten)]
    key: OpenPgpArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Packages to add
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    at: PathArgs,
    #[command(flatten)]
    key: OpenPgpArgs,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(command: DnfCommand, session: &Session) -> anyhow::Result<()> {
    match command {
        DnfCommand::Init(args) => init(args, session),
        DnfCommand::Add(args) => {
            let Signing { key, date } = Signing::of(&args.key)?;
            let added = Dnf::at(&args.at.path).add(&args.files, &key, date);
            show(&added.map_err(refused)?, args.output, session)
        }
        DnfCommand::Sign(args) => {
            let signing = Signing::of(&args.key)?;
            Dnf::at(&args.at.path).sign(&signing.key, signing.date).map_err(refused)?;
            signing.tell_signed(session);
            Ok(())
        }
        DnfCommand::Prune(args) => {
            let Signing { key, date } = Signing::of(&args.key)?;
            let removed = Dnf::at(&args.at.path).prune(args.keep, &key, date);
            show(&removed.map_err(refused)?, args.output, session)
        }
        DnfCommand::Publish(args) => publish::run(args, session).await,
        DnfCommand::Fetch(args) => fetch::run(args, session).await,
        DnfCommand::List(args) => {
            show(&Dnf::at(&args.at.path).list().map_err(refused)?, args.output, session)
        }
    }
}

fn init(args: InitArgs, session: &Session) -> anyhow::Result<()> {
    let signing = Signing::of(&args.key)?;
    Dnf::at(&args.at.path).init(&args.name, &signing.key, signing.date).map_err(refused)?;
    signing.tell_made(&args.at.path, session);
    Ok(())
}
