//! `fleetctl updates key`: signing keys as files.

use anyhow::Context as _;
use camino::Utf8PathBuf;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use update::{
    Editor, KeyDir, KeyName,
    keys::{Algorithm, is_encrypted},
};

use super::{passphrases::PassphraseArgs, signing::PathArgs};
use crate::{commands::expiry::now, flags::Output, output::Table, session::Session};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fleetctl updates key gen --folder /media/usb root-ann
  fleetctl updates key list --path tuf")]
pub(crate) enum KeyCommand {
    /// Makes a key: NAME.pem, encrypted, and NAME.pub for those who run the repository
    #[command(after_help = "\
Examples:
  fleetctl updates key gen --path tuf orbit
  fleetctl updates key gen --folder /media/usb root-ann --kind p256")]
    Gen(GenArgs),
    /// Lists keys and the roles that they may sign for
    #[command(after_help = "Examples:\n  fleetctl updates key list --path tuf")]
    List(ListArgs),
    /// Takes a key in that another program made (PKCS#8 PEM: ed25519 or P-256)
    #[command(after_help = "\
Examples:
  openssl genpkey -algorithm ed25519 -out key.pem
  fleetctl updates key import --path tuf orbit key.pem")]
    Import(ImportArgs),
    /// Changes the passphrase of a key
    #[command(after_help = "Examples:\n  fleetctl updates key passwd --path tuf timestamp")]
    Passwd(PasswdArgs),
}

#[derive(Debug, Args)]
pub(crate) struct FolderArgs {
    #[command(flatten)]
    path: PathArgs,
    /// Folder of the key, instead of the repository's own
    #[arg(long, value_name = "DIR")]
    folder: Option<Utf8PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct GenArgs {
    /// What to call it: small letters, digits, hyphens
    name: KeyName,
    /// What kind: ed25519 or p256
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    kind: Kind,
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    passphrases: PassphraseArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// What to call it here
    name: KeyName,
    /// The key's file
    file: Utf8PathBuf,
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    passphrases: PassphraseArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct PasswdArgs {
    /// The key
    name: KeyName,
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    passphrases: PassphraseArgs,
    /// File whose first line is the new passphrase
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<Utf8PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Kind {
    #[default]
    Ed25519,
    P256,
}

#[derive(Debug, Serialize)]
struct ShownKey {
    name: String,
    id: String,
    kind: &'static str,
    /// The roles that it may sign for.
    roles: Vec<String>,
}

pub(crate) fn run(command: KeyCommand, session: &Session) -> anyhow::Result<()> {
    match command {
        KeyCommand::Gen(args) => {
            let dir = args.folder.dir();
            let passphrase = args.passphrases.new_for(args.name.as_str())?;
            let algorithm = match args.kind {
                Kind::Ed25519 => Algorithm::Ed25519,
                Kind::P256 => Algorithm::P256,
            };
            dir.generate(&args.name, algorithm, &passphrase)?;
            show(&args.folder, Some(&args.name), (args.output, session))
        }
        KeyCommand::List(args) => show(&args.folder, None, (args.output, session)),
        KeyCommand::Import(args) => {
            let opens = if is_encrypted(&args.file)? {
                Some(args.passphrases.existing(args.name.as_str())?)
            } else {
                None
            };
            let passphrase = match &opens {
                Some(same) => same,
                None => &args.passphrases.new_for(args.name.as_str())?,
            };
            let passphrases = (opens.as_ref(), passphrase);
            args.folder.dir().import(&args.name, &args.file, passphrases)?;
            show(&args.folder, Some(&args.name), (args.output, session))
        }
        KeyCommand::Passwd(args) => passwd(&args, session),
    }
}

fn passwd(args: &PasswdArgs, session: &Session) -> anyhow::Result<()> {
    let old = args.passphrases.existing(args.name.as_str())?;
    let source = PassphraseArgs::from_file(args.new_passphrase_file.clone());
    let new = source.asked_anew(args.name.as_str()).context("could not take the new passphrase")?;
    args.folder.dir().change_passphrase(&args.name, (&old, &new))?;
    session.shell.done(format!("the key {} has a new passphrase", args.name));
    Ok(())
}

fn show(
    folder: &FolderArgs,
    only: Option<&KeyName>,
    (output, session): (Output, &Session),
) -> anyhow::Result<()> {
    let roles = Editor::open(&folder.path.path).and_then(|it| it.status(now()));
    let roles = roles.map(|it| it.roles).unwrap_or_default();
    let keys =
        folder.dir().list()?.into_iter().filter(|it| only.is_none_or(|only| *only == it.name));
    let shown = keys.map(|key| {
        let id = key.public.id();
        let theirs = roles.iter().filter(|role| role.keys.contains(&id));
        ShownKey {
            name: key.name.to_string(),
            kind: key.public.kind(),
            roles: theirs.map(|role| role.role.clone()).collect(),
            id,
        }
    });
    let shown: Vec<_> = shown.collect();
    session.shell.data(output.format, &shown, |shown| {
        let rows = shown.iter().map(|key| {
            [key.name.clone(), key.kind.to_owned(), key.roles.join(", "), key.id.clone()]
        });
        Table::list(["name", "kind", "roles", "id"], rows)
    })
}

impl FolderArgs {
    fn dir(&self) -> KeyDir {
        match &self.folder {
            Some(folder) => KeyDir::new(folder.clone()),
            None => KeyDir::new(self.path.path.join("keys")),
        }
    }
}
