//! `fleetctl updates change`: a change that several people sign, wherever their keys are.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use update::{
    Expiries, Terms,
    editor::{Need, Pending, PendingError},
};

use super::signing::{KeyArgs, PathArgs, open, refused, show_done, show_pending};
use crate::{commands::expiry::now, exit::Stop, flags::Output, session::Session};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl updates change show --path tuf
  fleetctl updates change sign --folder /media/usb/change --keys /media/usb/keys")]
pub(crate) enum ChangeCommand {
    /// Shows what would change, and whose signatures are missing
    #[command(after_help = "\
Examples:
  fleetctl updates change show --path tuf
  fleetctl updates change show --folder /media/usb/change")]
    Show(ShowArgs),
    /// Copies the change to a folder that can be signed elsewhere
    #[command(after_help = "\
Examples:
  fleetctl updates change export --path tuf /media/usb/change")]
    Export(CopyArgs),
    /// Signs the change with the keys at hand
    #[command(after_help = "\
Examples:
  fleetctl updates change sign --folder /media/usb/change --keys ~/keys
  fleetctl updates change sign --path tuf --keys /media/usb")]
    Sign(SignArgs),
    /// Takes over the signatures of a copy
    #[command(after_help = "\
Examples:
  fleetctl updates change import-signature --path tuf /media/usb/change")]
    ImportSignature(CopyArgs),
    /// Publishes the change, once enough people signed it
    #[command(after_help = "Examples:\n  fleetctl updates change apply --path tuf")]
    Apply(ApplyArgs),
    /// Forgets the change
    #[command(after_help = "Examples:\n  fleetctl updates change cancel --path tuf")]
    Cancel(PathArgs),
}

#[derive(Debug, Args)]
pub(crate) struct WhereArgs {
    #[command(flatten)]
    path: PathArgs,
    /// Folder of the change itself, where there is no repository
    #[arg(long, value_name = "DIR")]
    folder: Option<Utf8PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    place: WhereArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// The copy
    #[arg(value_name = "DIR")]
    copy: Utf8PathBuf,
    #[command(flatten)]
    place: WhereArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    #[command(flatten)]
    place: WhereArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    path: PathArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(command: ChangeCommand, session: &Session) -> anyhow::Result<()> {
    match command {
        ChangeCommand::Show(args) => {
            show_pending(&args.place.open()?.summary(), args.output, session)
        }
        ChangeCommand::Export(args) => {
            args.place.open()?.export(&args.copy).map_err(unusable)?;
            session.shell.done(format!("`{}` can be signed", args.copy));
            Ok(())
        }
        ChangeCommand::Sign(args) => sign(args, session).await,
        ChangeCommand::ImportSignature(args) => {
            let copy = Pending::open(&args.copy).map_err(unusable)?;
            let taken = args.place.open()?.import(&copy).map_err(unusable)?;
            session.shell.done(format!("{taken} new signatures"));
            Ok(())
        }
        ChangeCommand::Apply(args) => apply(args, session).await,
        ChangeCommand::Cancel(args) => {
            open(&args.path)?.cancel_pending().await.map_err(refused)?;
            session.shell.done("the change is forgotten");
            Ok(())
        }
    }
}

impl WhereArgs {
    fn open(&self) -> anyhow::Result<Pending> {
        let opened = match &self.folder {
            Some(folder) => Pending::open(folder),
            None => open(&self.path.path)?.pending(),
        };
        Ok(opened.map_err(unusable)?)
    }
}

async fn sign(args: SignArgs, session: &Session) -> anyhow::Result<()> {
    let mut pending = args.place.open()?;
    let own = match &args.place.folder {
        Some(_) => None,
        None => Some(open(&args.place.path.path)?.keys().clone()),
    };
    let at_hand = args.keys.at_hand(own.as_ref())?;
    let missing = pending.summary().signatures.into_iter().flat_map(|it| it.missing);
    let mut keys = Vec::new();
    for id in missing.collect::<std::collections::BTreeSet<_>>() {
        if let Some(key) = at_hand.get(&id) {
            keys.push(key.open(&args.keys.passphrases)?);
        }
    }
    if keys.is_empty() {
        let problem = "none of the keys here is one whose signature is missing";
        return Err(Stop::failed(problem, "--keys DIR names a folder with keys").into());
    }
    let roles = pending.sign(&keys).await.map_err(unusable)?;
    session.shell.done(format!("signed {}", roles.join(", ")));
    show_pending(&pending.summary(), args.output, session)
}

async fn apply(args: ApplyArgs, session: &Session) -> anyhow::Result<()> {
    let mut editor = open(&args.path.path)?;
    let summary = editor.pending().map_err(unusable)?.summary();
    if !summary.is_signed {
        let problem = "signatures are missing; nothing was published";
        return Err(Stop::failed(problem, "`fleetctl updates change show` tells whose").into());
    }
    let needs: Vec<Need> = editor.pending_needs().map_err(unusable)?;
    let keys = args.keys.unlock(editor.keys(), &needs, &[])?;
    let who = args.keys.who();
    let terms = Terms { keys: &keys, expiries: &Expiries::default(), now: now(), who: &who };
    let done = editor.apply_pending(&terms).await.map_err(refused)?;
    show_done(&done, args.output, session)
}

fn unusable(error: PendingError) -> Stop {
    let help = error.help();
    if matches!(error, PendingError::NoChange { .. } | PendingError::AnotherChange { .. }) {
        return Stop::Usage { problems: vec![error.to_string()], help };
    }
    Stop::advised(error, help)
}
