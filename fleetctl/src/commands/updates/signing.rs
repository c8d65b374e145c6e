//! From an edit to signatures: which keys are needed, where they are, and what opens them.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use jiff::Timestamp;
use packager::sign::{Scheme, Signer as _};
use serde::Serialize;
use update::{
    Edit, Editor, Expiries, KeyDir, KeyName, PublicKey, SigningKey, Terms,
    editor::{ChangeError, Done, Need, OpenError, PendingSummary},
    keys::NewKey,
};

use super::passphrases::PassphraseArgs;
use crate::{
    commands::{
        expiry::now,
        package::signing::{Command, KeyRef, Token},
    },
    config::user_name,
    exit::Stop,
    flags::Output,
    output::Table,
    session::Session,
};

#[derive(Debug, Clone, Args)]
pub(crate) struct PathArgs {
    /// Folder of the repository and its keys
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) path: Utf8PathBuf,
}

/// Where keys are, besides the repository's own folder, and what opens them.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeyArgs {
    /// Folder with more keys, e.g. on a USB stick; may be repeated
    #[arg(long = "keys", value_name = "DIR")]
    folders: Vec<Utf8PathBuf>,
    /// Public key (a file, PEM) whose private half a program or a token has, and where:
    /// ann.pub=exec:/usr/local/bin/sign, ann.pub=pkcs11:KEY; may be repeated
    #[arg(long = "signer", value_name = "FILE=KEY", value_parser = parse_signer)]
    signers: Vec<(Utf8PathBuf, KeyRef)>,
    #[command(flatten)]
    pub(crate) passphrases: PassphraseArgs,
    /// Who you are, for the log [default: your user name]
    #[arg(long = "as", value_name = "NAME")]
    who: Option<String>,
}

/// Flags of every command that changes what is published.
#[derive(Debug, Clone, Args)]
pub(crate) struct ChangeArgs {
    #[command(flatten)]
    pub(crate) path: PathArgs,
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
    /// Publish nothing yet: keep the change for those who have the keys (`change show`)
    #[arg(long)]
    stage: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// The repository in a folder that the command line names.
pub(crate) fn open(path: &Utf8Path) -> Result<Editor, Stop> {
    Editor::open(path).map_err(|error| {
        let help = error.help();
        if matches!(error, OpenError::NoRepository { .. }) {
            Stop::Usage { problems: vec![error.to_string()], help }
        } else {
            Stop::advised(error, help)
        }
    })
}

/// Does `edit` with the keys at hand, or keeps it for others.
pub(crate) async fn carry_out(
    edit: &Edit,
    args: &ChangeArgs,
    session: &Session,
) -> anyhow::Result<()> {
    carry_out_in(open(&args.path.path)?, (edit, Vec::new()), args, session).await
}

/// The same in a repository that is open already, with keys that `edit` brings in. They are kept once
/// nothing else is in the way.
pub(crate) async fn carry_out_in(
    mut editor: Editor,
    (edit, new): (&Edit, Vec<NewKey>),
    args: &ChangeArgs,
    session: &Session,
) -> anyhow::Result<()> {
    let needs = editor.check(edit).map_err(refused)?;
    let who = args.keys.who();
    if args.stage {
        editor.check_can_stage().map_err(|error| refused(error.into()))?;
        args.keys.keep(new)?;
        let terms = Terms { keys: &[], expiries: &Expiries::default(), now: now(), who: &who };
        let pending = editor.begin(edit, &terms).await.map_err(refused)?;
        return show_pending(&pending.summary(), args.output, session);
    }
    let mut keys = args.keys.unlock(editor.keys(), &needs, &new)?;
    keys.extend(args.keys.keep(new)?);
    let terms = Terms { keys: &keys, expiries: &Expiries::default(), now: now(), who: &who };
    let done = editor.apply(edit, &terms).await.map_err(refused)?;
    show_done(&done, args.output, session)
}

impl KeyArgs {
    /// Who does it.
    pub(crate) fn who(&self) -> String {
        self.who.clone().or_else(user_name).unwrap_or_else(|| "unknown".to_owned())
    }

    /// Every folder to look for keys in.
    pub(crate) fn folders(&self, own: Option<&KeyDir>) -> Vec<KeyDir> {
        own.cloned().into_iter().chain(self.folders.iter().map(KeyDir::new)).collect()
    }

    /// Enough keys for `needs`, together with the `new` ones; each is unlocked once.
    pub(crate) fn unlock(
        &self,
        own: &KeyDir,
        needs: &[Need],
        new: &[NewKey],
    ) -> anyhow::Result<Vec<SigningKey>> {
        let at_hand = self.at_hand(Some(own))?;
        let new: BTreeSet<_> = new.iter().map(|key| key.public().id()).collect();
        let mut wanted = BTreeSet::new();
        for need in needs {
            let ids: Vec<_> = need.keys.iter().filter(|id| at_hand.contains_key(*id)).collect();
            let brought = need.keys.iter().filter(|id| new.contains(*id)).count();
            if need.is_required && ((ids.len() + brought) as u64) < need.threshold {
                return Err(not_at_hand(need, ids.len()).into());
            }
            let count = usize::try_from(need.threshold).unwrap_or(usize::MAX);
            wanted.extend(ids.into_iter().take(count.saturating_sub(brought)).cloned());
        }
        wanted.iter().map(|id| at_hand[id].open(&self.passphrases)).collect()
    }

    /// Writes new keys, each with a passphrase of its own.
    fn keep(&self, new: Vec<NewKey>) -> anyhow::Result<Vec<SigningKey>> {
        let kept = new.into_iter().map(|key| {
            let passphrase = self.passphrases.new_for(key.name())?;
            Ok(key.keep(&passphrase)?)
        });
        kept.collect()
    }

    /// The keys in all folders and those that programs have, by id.
    pub(crate) fn at_hand(&self, own: Option<&KeyDir>) -> anyhow::Result<BTreeMap<String, AtHand>> {
        let mut found = BTreeMap::new();
        for (file, key) in &self.signers {
            let public = PublicKey::read(file)?;
            let name = file.file_stem().unwrap_or_default().to_owned();
            found.insert(public.id(), AtHand::Elsewhere { name, public, key: key.clone() });
        }
        for folder in self.folders(own) {
            for key in folder.list()? {
                if folder.file(&key.name).is_file() {
                    let at_hand = || AtHand::File(folder.clone(), key.name);
                    found.entry(key.public.id()).or_insert_with(at_hand);
                }
            }
        }
        Ok(found)
    }
}

/// Where a key is that can sign.
#[derive(Debug)]
pub(crate) enum AtHand {
    /// In a folder.
    File(KeyDir, KeyName),
    /// With a program, or in a token.
    Elsewhere { name: String, public: PublicKey, key: KeyRef },
}

impl AtHand {
    pub(crate) fn open(&self, passphrases: &PassphraseArgs) -> anyhow::Result<SigningKey> {
        let (name, public, key) = match self {
            Self::File(folder, name) => return passphrases.unlock(folder, name),
            Self::Elsewhere { name, public, key } => (name, public, key),
        };
        let scheme = match public.kind() {
            "ed25519" => Scheme::Ed25519,
            "ecdsa" => Scheme::EcdsaP256Sha256,
            kind => {
                let problem =
                    format!("programs and tokens have keys of ed25519 and P-256, not {kind}");
                return Err(Stop::usage(problem).into());
            }
        };
        Ok(match key {
            KeyRef::Token(uri) => {
                let pin = || uri.pin().or_else(|| passphrases.pin(name));
                let token = Token::open(uri, scheme, &pin);
                let token =
                    token.map_err(|error| Stop::usage(format!("the key {name}: {error}")))?;
                SigningKey::elsewhere(public.clone(), move |message| Ok(token.sign(message)?))
            }
            KeyRef::Program(program) | KeyRef::File(program) => {
                let command = Command::of_key(program, scheme, public.id());
                SigningKey::elsewhere(public.clone(), move |message| Ok(command.sign(message)?))
            }
        })
    }
}

fn parse_signer(text: &str) -> Result<(Utf8PathBuf, KeyRef), String> {
    let wanted = "it is not FILE=exec:PROGRAM or FILE=pkcs11:KEY, the file of a public key and where \
                  its private half is";
    let (file, key) = text.split_once('=').ok_or(wanted)?;
    match KeyRef::parse(std::path::Path::new(key))? {
        key @ (KeyRef::Program(_) | KeyRef::Token(_)) if !file.is_empty() => Ok((file.into(), key)),
        KeyRef::Program(_) | KeyRef::Token(_) | KeyRef::File(_) => Err(wanted.to_owned()),
    }
}

fn not_at_hand(need: &Need, found: usize) -> Stop {
    let Need { role, threshold, .. } = need;
    Stop::failed(
        format!(
            "the {role} metadata needs {threshold} signatures, and {found} of its keys are here"
        ),
        "--keys DIR names a folder with more keys, --signer a program or a token that has one; --stage keeps the \
         change for those who have them",
    )
}

/// A change that cannot be made, as the command line's mistake where it is one.
pub(crate) fn refused(error: ChangeError) -> Stop {
    let help = error.help();
    if let ChangeError::Unusable { problems } = &error {
        return Stop::Usage { problems: problems.iter().map(ToString::to_string).collect(), help };
    }
    if error.is_usage() {
        return Stop::Usage { problems: vec![error.to_string()], help };
    }
    Stop::advised(error, help)
}

#[derive(Debug, Serialize)]
struct ShownDone<'a> {
    what: &'a str,
    targets: &'a [String],
    files: &'a [String],
}

pub(crate) fn show_done(done: &Done, output: Output, session: &Session) -> anyhow::Result<()> {
    let shown = ShownDone { what: &done.what, targets: &done.targets, files: &done.files };
    session.shell.data(output.format, &shown, |shown| {
        let targets = shown.targets.iter().chain(shown.files);
        Table::list(["published"], targets.map(|name| [name.clone()]))
    })
}

pub(crate) fn show_pending(
    summary: &PendingSummary,
    output: Output,
    session: &Session,
) -> anyhow::Result<()> {
    session.shell.data(output.format, summary, |summary| {
        let missing = |count: usize| if count == 0 { String::new() } else { count.to_string() };
        let signatures = summary.signatures.iter().map(|it| {
            let state = format!(
                "{} of {} signatures{}",
                it.signed.len(),
                it.threshold,
                if it.is_required { "" } else { " (if they can be had)" }
            );
            [format!("{} {}", it.role, it.version), state, missing(it.missing.len())]
        });
        let differences = summary.differences.iter().map(|it| {
            let absent = || "-".to_owned();
            [
                format!("{}: {}", it.role, it.subject),
                it.before.clone().unwrap_or_else(absent),
                it.after.clone().unwrap_or_else(absent),
            ]
        });
        let head = [[format!("change {}", summary.id), summary.what.clone(), summary.who.clone()]];
        Table::list(
            ["what", "before / state", "after / keys missing"],
            head.into_iter().chain(signatures).chain(differences),
        )
    })
}

/// Whether `expires` is further away than `within`, so that there is nothing to do.
pub(crate) fn is_far(expires: Timestamp, within: std::time::Duration) -> bool {
    jiff::SignedDuration::try_from(within)
        .is_ok_and(|within| expires.duration_since(now()) > within)
}
