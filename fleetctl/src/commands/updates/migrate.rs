//! `fleetctl updates migrate`: going on with a repository that another tool made.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use update::{
    Expiries, KeyDir, KeyName, Passphrase,
    editor::{Inheritance, MigrateError, migrate, roles_without_keys},
    keys::{NewKey, is_encrypted},
};

use super::{passphrases::PassphraseArgs, signing::PathArgs};
use crate::{commands::expiry::now, config::user_name, exit::Stop, session::Session};

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    path: PathArgs,
    /// Folder of the other repository: what was published, or the folder with that and keys
    #[arg(long, value_name = "DIR")]
    from: Utf8PathBuf,
    /// File of a private key of the other repository, besides those in its `keys`; may be repeated
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<Utf8PathBuf>,
    /// Who you are, for the log [default: your user name]
    #[arg(long = "as", value_name = "NAME")]
    who: Option<String>,
    #[command(flatten)]
    passphrases: PassphraseArgs,
}

/// Opens what is there, asks for what is missing, and makes the new repository beside.
pub(crate) async fn run(args: MigrateArgs, session: &Session) -> anyhow::Result<()> {
    let from = published(&args.from)?;
    let keys = taken(&args)?;
    let public: Vec<_> = keys.iter().map(|(key, _)| key.public()).collect();
    let mut replaced = BTreeMap::new();
    for role in roles_without_keys(&from, &public).map_err(refused)? {
        session.shell.note(format!("the keys of {role} are not here, so it gets a new one"));
        replaced.insert(role, args.passphrases.new_for(role.as_str())?);
    }
    let who = args.who.or_else(user_name).unwrap_or_else(|| "unknown".to_owned());
    let inheritance = Inheritance { from: &from, keys, replaced, who };
    let made = migrate(&args.path.path, inheritance, &Expiries::default(), now()).await;
    let editor = made.map_err(refused)?;
    session.shell.done(format!(
        "the repository to publish in place of `{from}` is `{}`",
        editor.repository_dir()
    ));
    Ok(())
}

/// The folder that has what was published.
fn published(from: &Utf8Path) -> Result<Utf8PathBuf, Stop> {
    let places = [from.to_owned(), from.join("repository"), from.join("metadata")];
    let found = places.into_iter().find(|dir| dir.join("timestamp.json").is_file());
    found.ok_or_else(|| Stop::usage(format!("`{from}` is not the folder of a TUF repository")))
}

/// Every key that is at hand, each with the passphrase that it has or gets.
fn taken(args: &MigrateArgs) -> anyhow::Result<Vec<(NewKey, Passphrase)>> {
    let mut files = args.keys.clone();
    if let Ok(entries) = args.from.join("keys").read_dir_utf8() {
        let theirs = entries.flatten().map(|entry| entry.into_path());
        files.extend(theirs.filter(|path| path.extension() == Some("json")));
    }
    files.sort();
    files.dedup();
    let dir = KeyDir::new(args.path.path.join("keys"));
    let mut taken: Vec<(NewKey, Passphrase)> = Vec::new();
    for file in files {
        let name = name_of(&file, &taken);
        let is_encrypted = is_encrypted(&file)?;
        let passphrase = || match is_encrypted {
            true => args.passphrases.existing(name.as_str()),
            false => args.passphrases.new_for(name.as_str()),
        };
        let opens = passphrase()?;
        for key in dir.take(&name, &file, is_encrypted.then_some(&opens))? {
            if taken.iter().all(|(it, _)| it.public().id() != key.public().id()) {
                taken.push((key, opens.clone()));
            }
        }
    }
    Ok(taken)
}

/// A key is called as its file, as far as it can be.
fn name_of(file: &Utf8Path, taken: &[(NewKey, Passphrase)]) -> KeyName {
    let stem = file.file_stem().unwrap_or_default().to_lowercase();
    let plain: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(48).collect();
    let plain = if plain.is_empty() { "key".to_owned() } else { plain };
    let is_free = |name: &String| taken.iter().all(|(it, _)| it.name() != name);
    let numbered = (2_u32..).map(|number| format!("{plain}-{number}"));
    let name = std::iter::once(plain.clone()).chain(numbered).find(is_free).unwrap_or(plain);
    name.parse().expect("letters, digits and hyphens are a name")
}

fn refused(error: MigrateError) -> Stop {
    let help = error.help();
    Stop::advised(error, help)
}
