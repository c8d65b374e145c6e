//! A new repository: keys, and signed metadata that lists nothing.

use std::{collections::HashMap, fs, io, num::NonZeroU64};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use tough::schema::{Role, RoleKeys, Root, Snapshot, Targets, Timestamp as TimestampRole};

use super::{
    Editor, Expiries, InitPassphrases, KEYS_DIR, OpenError, REPOSITORY_DIR, TARGETS_DIR,
    metadata::{SPEC_VERSION, SignError, SignedFile, expiry, role_type, sign},
};
use crate::{
    disk::{self, Access},
    keys::{KeyDir, KeyError, SigningKey, TufRole},
};

/// Makes keys and an empty, signed repository in `dir`, which must hold neither.
///
/// Both are made beside their place and moved there when they are whole.
pub async fn init(
    dir: &Utf8Path,
    passphrases: &InitPassphrases,
    expiries: &Expiries,
    now: Timestamp,
) -> Result<Editor, InitError> {
    let (keys, repository) = (dir.join(KEYS_DIR), dir.join(REPOSITORY_DIR));
    if let Some(path) = [&keys, &repository].into_iter().find(|it| it.symlink_metadata().is_ok()) {
        return Err(InitError::Exists { path: path.clone() });
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

    let new_keys = NewKeys::generate(&building.join(KEYS_DIR), passphrases)?;
    let new_repository = building.join(REPOSITORY_DIR);
    disk::make_dir(new_repository.join(TARGETS_DIR).as_std_path(), Access::World)
        .map_err(written(&new_repository))?;
    for file in new_keys.sign_nothing(expiries, now).await? {
        let path = new_repository.join(file.name());
        disk::replace(path.as_std_path(), &file.into_bytes(), Access::World)
            .map_err(written(&path))?;
    }
    for (from, to) in [(building.join(KEYS_DIR), keys), (new_repository, repository)] {
        fs::rename(from, &to).map_err(written(&to))?;
    }
    disk::sync_dir(dir.as_std_path()).map_err(written(dir))?;
    Ok(Editor::open(dir)?)
}

/// A key for each role.
struct NewKeys {
    root: SigningKey,
    targets: SigningKey,
    snapshot: SigningKey,
    timestamp: SigningKey,
}

impl NewKeys {
    fn generate(dir: &Utf8Path, passphrases: &InitPassphrases) -> Result<Self, InitError> {
        disk::make_dir(dir.as_std_path(), Access::Owner)
            .map_err(|source| InitError::Write { path: dir.to_owned(), source })?;
        let dir = KeyDir::new(dir);
        Ok(Self {
            root: dir.generate(TufRole::Root, &passphrases.root)?,
            targets: dir.generate(TufRole::Targets, &passphrases.targets)?,
            snapshot: dir.generate(TufRole::Snapshot, &passphrases.snapshot)?,
            timestamp: dir.generate(TufRole::Timestamp, &passphrases.timestamp)?,
        })
    }

    /// Signed metadata of a repository without targets.
    async fn sign_nothing(
        &self,
        expiries: &Expiries,
        now: Timestamp,
    ) -> Result<[SignedFile; 4], SignError> {
        let spec = || SPEC_VERSION.to_owned();
        let root = sign(self.root(expiry(now, expiries.root))?, &self.root).await?;
        let targets = Targets {
            delegations: None,
            ..Targets::new(spec(), NonZeroU64::MIN, expiry(now, expiries.targets))
        };
        let targets = sign(targets, &self.targets).await?;
        let mut snapshot = Snapshot::new(spec(), NonZeroU64::MIN, expiry(now, expiries.snapshot));
        snapshot.meta.insert("targets.json".to_owned(), targets.metafile());
        let snapshot = sign(snapshot, &self.snapshot).await?;
        let mut timestamp =
            TimestampRole::new(spec(), NonZeroU64::MIN, expiry(now, expiries.timestamp));
        timestamp.meta.insert("snapshot.json".to_owned(), snapshot.metafile());
        let timestamp = sign(timestamp, &self.timestamp).await?;
        Ok([root, targets, snapshot, timestamp])
    }

    /// Root metadata that gives each role its key.
    fn root(&self, expires: Timestamp) -> Result<Root, SignError> {
        let mut root = Root {
            spec_version: SPEC_VERSION.to_owned(),
            consistent_snapshot: true,
            version: NonZeroU64::MIN,
            expires,
            keys: HashMap::new(),
            roles: HashMap::new(),
            _extra: HashMap::new(),
        };
        let pairs = [
            (TufRole::Root, &self.root),
            (TufRole::Targets, &self.targets),
            (TufRole::Snapshot, &self.snapshot),
            (TufRole::Timestamp, &self.timestamp),
        ];
        for (role, key) in pairs {
            let key = key.signer.tuf_key();
            let failed = |source| SignError { role: Root::TYPE.to_string(), source };
            let id = key.key_id().map_err(|error| failed(Box::new(error)))?;
            let keys = RoleKeys {
                keyids: vec![id.clone()],
                threshold: NonZeroU64::MIN,
                _extra: HashMap::new(),
            };
            root.keys.insert(id, key);
            root.roles.insert(role_type(role), keys);
        }
        Ok(root)
    }
}

/// Why a repository cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// There are keys or a repository already; nothing of them was touched.
    #[error("`{path}` is there already")]
    Exists {
        /// What is in the way.
        path: Utf8PathBuf,
    },
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
            Self::Key(_)
            | Self::Sign(_)
            | Self::Write { .. }
            | Self::NotUtf8 { .. }
            | Self::Open(_) => None,
        }
    }
}
