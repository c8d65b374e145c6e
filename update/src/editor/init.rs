//! A new repository: keys, and signed metadata that lists nothing.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    num::NonZeroU64,
};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use tough::schema::{Root, Snapshot, Targets, Timestamp as TimestampRole};

use super::{
    Editor, Expiries, Founding, KEYS_DIR, LOG_FILE, OpenError, REPOSITORY_DIR, TARGETS_DIR,
    authority::set_root_keys,
    document::{Document, SPEC_VERSION, SignError, expiry},
    log::{Log, LogError, NewEntry},
};
use crate::{
    disk::{self, Access},
    keys::{Algorithm, KeyDir, KeyError, SigningKey, TufRole},
};

/// Makes keys and an empty, signed repository in `dir`, which must hold neither, nor a log.
///
/// Both are made beside their place and moved there when they are whole.
pub async fn init(
    dir: &Utf8Path,
    founding: &Founding,
    expiries: &Expiries,
    now: Timestamp,
) -> Result<Editor, InitError> {
    let ours = [KEYS_DIR, REPOSITORY_DIR, LOG_FILE].map(|name| dir.join(name));
    if let Some(path) = ours.into_iter().find(|it| it.symlink_metadata().is_ok()) {
        return Err(InitError::Exists { path });
    }
    if founding.root_threshold.get() > founding.root.len() as u64 {
        return Err(InitError::Threshold);
    }
    let written = |path: &Utf8Path| {
        let path = path.to_owned();
        move |source| InitError::Write { path, source }
    };
    disk::make_dir(dir.as_std_path(), Access::World).map_err(written(dir))?;
    let building =
        tempfile::Builder::new().prefix(".init-").tempdir_in(dir).map_err(written(dir))?;
    let building = Utf8Path::from_path(building.path())
        .ok_or_else(|| InitError::NotUtf8 { dir: dir.to_owned() })?;

    let new_keys = NewKeys::generate(&building.join(KEYS_DIR), founding)?;
    let new_repository = building.join(REPOSITORY_DIR);
    disk::make_dir(new_repository.join(TARGETS_DIR).as_std_path(), Access::World)
        .map_err(written(&new_repository))?;
    let mut entry = NewEntry {
        time: now,
        who: founding.who.clone(),
        what: "init".to_owned(),
        files: BTreeMap::new(),
    };
    for document in new_keys.sign_nothing(expiries, now).await? {
        let (name, file) = (document.file_name(), document.file());
        let path = new_repository.join(&name);
        disk::replace(path.as_std_path(), &file.bytes, Access::World).map_err(written(&path))?;
        entry.files.insert(name, file.digest());
    }
    Log::new(building.join(LOG_FILE)).append(entry)?;
    for name in [LOG_FILE, KEYS_DIR, REPOSITORY_DIR] {
        let to = dir.join(name);
        fs::rename(building.join(name), &to).map_err(written(&to))?;
    }
    disk::sync_dir(dir.as_std_path()).map_err(written(dir))?;
    Ok(Editor::open(dir)?)
}

/// The metadata of a role that lists nothing.
pub(super) fn no_targets() -> Targets {
    Targets {
        delegations: None,
        ..Targets::new(SPEC_VERSION.to_owned(), NonZeroU64::MIN, Timestamp::UNIX_EPOCH)
    }
}

/// What the keys of the root are called: `root`, `root-2`, `root-3`.
fn root_key_name(index: usize) -> String {
    if index == 0 { "root".to_owned() } else { format!("root-{}", index + 1) }
}

/// Keys for each role.
struct NewKeys {
    root: Vec<SigningKey>,
    root_threshold: NonZeroU64,
    targets: SigningKey,
    snapshot: SigningKey,
    timestamp: SigningKey,
}

impl NewKeys {
    fn generate(dir: &Utf8Path, founding: &Founding) -> Result<Self, InitError> {
        let dir = KeyDir::new(dir);
        let generate = |name: &str, passphrase| {
            dir.generate(name, Algorithm::Ed25519, passphrase).map_err(InitError::Key)
        };
        let root = founding.root.iter().enumerate();
        Ok(Self {
            root: root
                .map(|(index, passphrase)| generate(&root_key_name(index), passphrase))
                .collect::<Result<_, _>>()?,
            root_threshold: founding.root_threshold,
            targets: generate("targets", &founding.targets)?,
            snapshot: generate("snapshot", &founding.snapshot)?,
            timestamp: generate("timestamp", &founding.timestamp)?,
        })
    }

    /// Signed metadata of a repository without targets.
    async fn sign_nothing(
        &self,
        expiries: &Expiries,
        now: Timestamp,
    ) -> Result<[Document; 4], SignError> {
        let spec = || SPEC_VERSION.to_owned();
        let mut root = Document::of("root", &self.root(expiry(now, expiries.root)))?;
        for key in &self.root {
            root.sign(key).await?;
        }
        let targets = Targets { expires: expiry(now, expiries.targets), ..no_targets() };
        let mut targets = Document::of("targets", &targets)?;
        targets.sign(&self.targets).await?;
        let mut snapshot = Snapshot::new(spec(), NonZeroU64::MIN, expiry(now, expiries.snapshot));
        snapshot.meta.insert("targets.json".to_owned(), targets.listed());
        let mut snapshot = Document::of("snapshot", &snapshot)?;
        snapshot.sign(&self.snapshot).await?;
        let mut timestamp =
            TimestampRole::new(spec(), NonZeroU64::MIN, expiry(now, expiries.timestamp));
        timestamp.meta.insert("snapshot.json".to_owned(), snapshot.listed());
        let mut timestamp = Document::of("timestamp", &timestamp)?;
        timestamp.sign(&self.timestamp).await?;
        Ok([root, targets, snapshot, timestamp])
    }

    /// Root metadata that gives each role its keys.
    fn root(&self, expires: Timestamp) -> Root {
        let mut root = Root {
            spec_version: SPEC_VERSION.to_owned(),
            consistent_snapshot: true,
            version: NonZeroU64::MIN,
            expires,
            keys: HashMap::new(),
            roles: HashMap::new(),
            _extra: HashMap::new(),
        };
        let roots: Vec<_> = self.root.iter().map(SigningKey::public).collect();
        set_root_keys(&mut root, TufRole::Root, (&roots, self.root_threshold));
        for (role, key) in [
            (TufRole::Targets, &self.targets),
            (TufRole::Snapshot, &self.snapshot),
            (TufRole::Timestamp, &self.timestamp),
        ] {
            set_root_keys(&mut root, role, (&[key.public()], NonZeroU64::MIN));
        }
        root
    }
}

/// Why a repository cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// There are keys, a repository or a log already; nothing of them was touched.
    #[error("`{path}` is there already")]
    Exists {
        /// What is in the way.
        path: Utf8PathBuf,
    },
    /// More signatures wanted than there are keys.
    #[error("the threshold of the root is higher than the number of its keys")]
    Threshold,
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A key cannot be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Metadata cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A file or directory cannot be written.
    #[error("could not write `{path}`")]
    Write {
        /// The file or directory.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory's name is no UTF-8.
    #[error("the full name of `{dir}` is not UTF-8")]
    NotUtf8 {
        /// The directory.
        dir: Utf8PathBuf,
    },
    /// What was made cannot be read back.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl InitError {
    /// What to do next, for the errors where that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Exists { .. } => Some(
                "choose another directory, or `fleetctl updates add` to publish in this one"
                    .to_owned(),
            ),
            Self::Threshold
            | Self::Log(_)
            | Self::Key(_)
            | Self::Sign(_)
            | Self::Write { .. }
            | Self::NotUtf8 { .. }
            | Self::Open(_) => None,
        }
    }
}
