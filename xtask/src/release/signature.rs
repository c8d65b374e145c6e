//! The signature over a release, in the format of [minisign](https://jedisct1.github.io/minisign/).
//!
//! It covers `SHA256SUMS`, which names every other file. Its trusted comment names version and
//! commit, so that an old release cannot be passed off as a new one.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};

use super::checksums;
use crate::{terminal, version::Version, workspace::Workspace};

/// Where the password of the secret key may stand: a program's arguments are for all to see.
const PASSWORD_VARIABLE: &str = "FLEETD_RELEASE_KEY_PASSWORD";

#[derive(Debug, clap::Args)]
pub(super) struct KeygenArgs {
    /// Folder for `fleetd.key` and `fleetd.pub`, made when missing
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// File with a password for the key; else FLEETD_RELEASE_KEY_PASSWORD, else it is asked for
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Do not encrypt the secret key
    #[arg(long, conflicts_with = "password_file")]
    no_password: bool,
}

/// Who signs. No `Debug`: that of the key shows it.
pub(super) struct Signer {
    secret: SecretKey,
    public: PublicKey,
}

/// Makes a key pair without a password in `dir`.
pub(super) fn keygen_unprotected(workspace: &Workspace, dir: &Path) -> anyhow::Result<()> {
    let args = KeygenArgs { out: dir.to_owned(), password_file: None, no_password: true };
    write_keys(workspace, &args).map(|_| ())
}

/// Makes a key pair; refuses to replace one.
pub(super) fn keygen(workspace: &Workspace, args: &KeygenArgs) -> anyhow::Result<()> {
    let public = write_keys(workspace, args)?;
    terminal::note("keep `fleetd.key` to yourself; publish this:");
    terminal::line(&public);
    Ok(())
}

/// Gives the public key as text.
fn write_keys(workspace: &Workspace, args: &KeygenArgs) -> anyhow::Result<String> {
    let (key, public) = (args.out.join("fleetd.key"), args.out.join("fleetd.pub"));
    if let Some(there) = [&key, &public].into_iter().find(|path| path.exists()) {
        bail!("`{}` exists", there.display());
    }
    let pair = if args.no_password {
        KeyPair::generate_unencrypted_keypair()
    } else {
        let password = password(workspace, args.password_file.as_deref())?;
        KeyPair::generate_encrypted_keypair(password)
    };
    let pair = pair.context("could not make a key")?;
    fs::create_dir_all(&args.out)
        .with_context(|| format!("could not make `{}`", args.out.display()))?;
    create(&key, 0o600, &pair.sk.to_box(Some("fleetd release key"))?.to_string())?;
    create(&public, 0o644, &pair.pk.to_box()?.to_string())?;
    Ok(pair.pk.to_base64())
}

/// Writes a file that was not there, readable for whom `mode` says from the start.
fn create(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let problem = || format!("could not write `{}`", path.display());
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(mode).open(path).with_context(problem)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(problem)
}

/// None if there is none but on the user's keyboard.
fn password(workspace: &Workspace, file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let given = match file {
        Some(path) => Some(
            fs::read_to_string(path)
                .with_context(|| format!("could not read `{}`", path.display()))?,
        ),
        None => workspace.sh.var(PASSWORD_VARIABLE).ok(),
    };
    let line = given.map(|text| text.trim_end_matches(['\n', '\r']).to_owned());
    Ok(line.filter(|line| !line.is_empty()))
}

/// The key as it stands in the file, encrypted or not. The library refuses keys that minisign has
/// written without a password, as these have no checksum.
fn plain(text: &str) -> anyhow::Result<SecretKey> {
    let encoded = text.lines().nth(1).context("it is no key of minisign")?;
    let bytes = STANDARD.decode(encoded.trim()).context("it is no key of minisign")?;
    SecretKey::from_bytes(&bytes).context("it is no key of minisign")
}

impl Signer {
    /// Reads the secret key, with its password if it has one.
    pub(super) fn unlock(
        workspace: &Workspace,
        key: &Path,
        password_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let problem = || format!("could not use the key `{}`", key.display());
        let text = fs::read_to_string(key).with_context(problem)?;
        let mut secret = plain(&text).with_context(problem)?;
        if secret.is_encrypted() {
            let password = password(workspace, password_file)?;
            let boxed = SecretKeyBox::from_string(&text).with_context(problem)?;
            secret = SecretKey::from_box(boxed, password).with_context(problem)?;
        }
        let public = PublicKey::from_secret_key(&secret).with_context(problem)?;
        Ok(Self { secret, public })
    }

    /// Writes `<sums>.minisig` beside the checksums.
    pub(super) fn sign(&self, sums: &Path, version: &Version) -> anyhow::Result<()> {
        let path = sums.with_file_name(format!("{}.minisig", checksums::NAME));
        let problem = || format!("could not sign `{}`", sums.display());
        let Version { text, commit, date, .. } = version;
        let name = checksums::NAME;
        let comment =
            format!("timestamp:{date}\tfile:{name}\thashed\tversion:{text}\tcommit:{commit}");
        let bytes = fs::read(sums).with_context(problem)?;
        let signature = minisign::sign(
            Some(&self.public),
            &self.secret,
            bytes.as_slice(),
            Some(&comment),
            Some("signature of a fleetd release"),
        );
        fs::write(&path, signature.with_context(problem)?.into_string()).with_context(problem)
    }
}
