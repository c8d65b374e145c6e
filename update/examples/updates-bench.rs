//! What `cargo xtask bench updates` measures: the work of `fleetctl updates` and of the agent, one piece
//! a call. Keys lie open beside the repository, since passphrases are slow on purpose.
//!
//! ```text
//! updates-bench init TUF
//! updates-bench add TUF FOLDER           every file of the folder, called by its version
//! updates-bench pack TUF FILE VERSION    one file, compressed and patched; prints the lengths
//! updates-bench timestamp TUF
//! updates-bench verify TUF               hashes every file
//! updates-bench refresh ROOT URL CACHE
//! ```

use std::{error::Error, fs, io::Write as _, num::NonZeroU64, process::ExitCode, sync::Arc};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use update::{
    Addition, Component, Connection, Edit, Editor, Expiries, Founding, Passphrase, PublicKey,
    Repository, RepositoryConfig, SigningKey, Terms, UpdatePlatform, audit::audit,
    editor::KeyChange,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The roles that sign what changes often.
const ROLES: [&str; 3] = ["targets", "snapshot", "timestamp"];

/// Before the 32 bytes of a public ed25519 key (RFC 8410, 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// As `fleetctl` has it.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Outcome<()> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match arguments[..] {
            ["init", tuf] => init(tuf.into()).await,
            ["add", tuf, folder] => {
                apply(tuf.into(), Edit::Add(all_of(folder.into())?)).await.map(drop)
            }
            ["pack", tuf, file, version] => pack(tuf.into(), file.into(), version).await,
            ["timestamp", tuf] => {
                apply(tuf.into(), Edit::Renew("timestamp".to_owned())).await.map(drop)
            }
            ["verify", tuf] => verify(tuf.into()).await,
            ["refresh", root, url, cache] => refresh(root, url, cache).await,
            _ => Err("this is no command".into()),
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "it does what fleetctl does")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// A repository whose keys, the root's excepted, are replaced by open ones.
async fn init(tuf: &Utf8Path) -> Outcome<()> {
    let passphrase = || Passphrase::new("of no use to anybody".to_owned());
    let founding = Founding {
        root: vec![passphrase()?],
        root_threshold: NonZeroU64::MIN,
        targets: passphrase()?,
        snapshot: passphrase()?,
        timestamp: passphrase()?,
        who: "bench".to_owned(),
    };
    let mut editor = update::init(tuf, &founding, &Expiries::default(), now()).await?;
    let mut changes = Vec::new();
    for role in editor.status(now())?.roles.into_iter().filter(|it| ROLES.contains(&&*it.role)) {
        fs::write(
            key_file(tuf, &role.role),
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())?,
        )?;
        let (_, add) = key(tuf, &role.role)?;
        let (add, remove) = (vec![add], role.keys);
        changes.push(KeyChange { role: role.role, add, remove, threshold: None });
    }
    let mut keys = keys(tuf)?;
    for name in ["root", "targets", "snapshot", "timestamp"] {
        keys.push(editor.keys().unlock(name, &passphrase()?)?);
    }
    let edit = Edit::SetKeys { changes, is_compromised: false };
    editor.apply(&edit, &terms(&keys, &Expiries::default())).await?;
    Ok(())
}

fn key_file(tuf: &Utf8Path, role: &str) -> Utf8PathBuf {
    tuf.join(format!("{role}.pk8"))
}

fn keys(tuf: &Utf8Path) -> Outcome<Vec<SigningKey>> {
    ROLES.iter().map(|role| Ok(key(tuf, role)?.0)).collect()
}

fn key(tuf: &Utf8Path, role: &str) -> Outcome<(SigningKey, PublicKey)> {
    let pair = Ed25519KeyPair::from_pkcs8(&fs::read(key_file(tuf, role))?)?;
    let der = [&SPKI[..], pair.public_key().as_ref()].concat();
    let pem = STANDARD.encode(der);
    let public = format!("-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n");
    let public = PublicKey::from_pem(&public)?;
    let pair = Arc::new(pair);
    let sign = move |message: &[u8]| Ok(pair.sign(message).as_ref().to_vec());
    Ok((SigningKey::elsewhere(public.clone(), sign), public))
}

fn terms<'a>(keys: &'a [SigningKey], expiries: &'a Expiries) -> Terms<'a> {
    Terms { keys, expiries, now: now(), who: "bench" }
}

async fn apply(tuf: &Utf8Path, edit: Edit) -> Outcome<Editor> {
    let mut editor = Editor::open(tuf)?;
    editor.apply(&edit, &terms(&keys(tuf)?, &Expiries::default())).await?;
    Ok(editor)
}

fn addition(file: Utf8PathBuf, version: &str) -> Outcome<Addition> {
    Ok(Addition {
        file,
        program: Component::Orbit.into(),
        platform: UpdatePlatform::Linux,
        version: version.parse()?,
        tags: Vec::new(),
        is_compressed: false,
    })
}

fn all_of(folder: &Utf8Path) -> Outcome<Vec<Addition>> {
    let mut additions = Vec::new();
    for entry in folder.read_dir_utf8()? {
        let entry = entry?;
        additions.push(addition(entry.path().to_owned(), entry.file_name())?);
    }
    Ok(additions)
}

async fn pack(tuf: &Utf8Path, file: &Utf8Path, version: &str) -> Outcome<()> {
    let tags = vec!["stable".parse()?];
    let addition = Addition { tags, is_compressed: true, ..addition(file.to_owned(), version)? };
    let editor = apply(tuf, Edit::Add(vec![addition])).await?;
    let of_this = |name: &str| name.contains(&format!("/{version}/"));
    for target in editor.status(now())?.targets.into_iter().filter(|it| of_this(&it.name)) {
        let kind = target.name.rsplit_once('.').map_or("", |(_, kind)| kind);
        let kind = if matches!(kind, "zst" | "patch") { kind } else { "full" };
        writeln!(std::io::stdout(), "{kind} {}", target.length)?;
    }
    Ok(())
}

async fn verify(tuf: &Utf8Path) -> Outcome<()> {
    let problems = audit(&tuf.join("repository"), now()).await?.problems;
    if problems.is_empty() { Ok(()) } else { Err(problems.join(", ").into()) }
}

async fn refresh(root: &str, url: &str, cache: &str) -> Outcome<()> {
    let mut repository = Repository::open(RepositoryConfig {
        location: url.parse()?,
        pinned_root: fs::read(root)?,
        cache_dir: cache.into(),
        connection: Connection::default(),
        offline: false,
    })?;
    Ok(repository.refresh(now()).await?)
}
