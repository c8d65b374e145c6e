//! The repository as readers see it, verified.

use std::{
    collections::BTreeMap,
    fs, io,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};
use tough::schema::{RoleType, Target, Targets};

use super::{
    add::published_as,
    authority::Authority,
    listing::Listing,
    signed::{self, Unchecked},
    top::{RoleFile, TARGETS, Top, read},
};
use crate::{release::Release, verify::VerifyError};

/// What is published now. Roles that list targets, which may list ten thousands, are looked into when
/// somebody first asks: a timestamp is renewed without.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) top: Arc<Top>,
    published: OnceLock<Arc<Published>>,
    /// What was looked into before, which may be good still.
    before: Option<Arc<Published>>,
}

impl Current {
    /// Reads the metadata in `dir`, refusing what is not signed by the keys of the root: nobody is to
    /// be made to sign what somebody else put there.
    pub(super) fn read(dir: &Utf8Path) -> Result<Self, OpenError> {
        Self::of(Top::read(dir, None)?, None)
    }

    /// The same as it is now. What has not changed is not read anew.
    pub(super) fn read_again(self: &Arc<Self>) -> Result<Arc<Self>, OpenError> {
        let top = Top::read(&self.top.dir, Some(&self.top))?;
        if Arc::ptr_eq(&top, &self.top) {
            return Ok(Arc::clone(self));
        }
        let before = self.published.get().or(self.before.as_ref()).cloned();
        Self::of(top, before).map(Arc::new)
    }

    fn of(top: Arc<Top>, before: Option<Arc<Published>>) -> Result<Self, OpenError> {
        let current = Self { top, published: OnceLock::new(), before };
        // What no hash guards is guarded by its own signatures.
        if !current.top.is_pinned() {
            current.published()?;
        }
        Ok(current)
    }

    /// With the roles that list targets, each held against its signatures.
    pub(super) fn published(&self) -> Result<&Arc<Published>, OpenError> {
        if let Some(published) = self.published.get() {
            return Ok(published);
        }
        let published = Arc::new(Published::of(Arc::clone(&self.top), self.before.as_deref())?);
        Ok(self.published.get_or_init(|| published))
    }
}

/// The newest metadata of each role.
#[derive(Debug)]
pub(super) struct Published {
    top: Arc<Top>,
    pub(super) targets: Arc<Listing>,
    /// By the name of the role.
    pub(super) delegated: BTreeMap<String, Arc<Listing>>,
}

impl Deref for Published {
    type Target = Top;

    fn deref(&self) -> &Top {
        &self.top
    }
}

impl Published {
    /// Reads the metadata in `dir`, all of it.
    pub(super) fn read(dir: &Utf8Path) -> Result<Arc<Self>, OpenError> {
        Current::read(dir)?.published().cloned()
    }

    /// What was looked into `before`, and is the same file of the same signers, is still right.
    fn of(top: Arc<Top>, before: Option<&Self>) -> Result<Self, OpenError> {
        let before = before.filter(|it| it.root_bytes == top.root_bytes);
        let file = listed(&top, TARGETS)?;
        let targets = match before.filter(|it| it.is_same(TARGETS, file)) {
            Some(before) => Arc::clone(&before.targets),
            None => {
                let authority = Authority::of_type(&top.root, RoleType::Targets);
                let targets = signed::listing(&file.path, &file.bytes, &authority, |it| {
                    top.root.verify_role(it)
                })?;
                Arc::new(as_listed(file, targets)?)
            }
        };
        let before = before.filter(|it| Arc::ptr_eq(&it.targets, &targets));
        let delegated = load_delegated(&top, &targets, before)?;
        Ok(Self { top, targets, delegated })
    }

    fn is_same(&self, name: &str, file: &RoleFile) -> bool {
        self.files.get(name).is_some_and(|it| it.is_pinned() && it.listed == file.listed)
    }

    /// The metadata of `targets` or of a delegated role.
    pub(super) fn role(&self, name: &str) -> Option<&Listing> {
        if name == "targets" {
            Some(&self.targets)
        } else {
            self.delegated.get(name).map(|it| &**it)
        }
    }

    /// The metadata of a delegated role, as it is published.
    pub(super) fn delegated_bytes(&self, name: &str) -> Option<&[u8]> {
        self.delegated.get(name)?;
        self.files.get(&file_name(name)).map(|file| &file.bytes[..])
    }

    /// Every role that lists targets, as clients ask them.
    pub(super) fn roles(&self) -> impl Iterator<Item = (&str, &Listing)> {
        let delegated = self.delegated.iter().map(|(name, targets)| (name.as_str(), &**targets));
        std::iter::once(("targets", &*self.targets)).chain(delegated)
    }

    /// What is listed as `target`, and by which role.
    pub(super) fn target(&self, target: &str) -> Option<(&str, Target)> {
        self.roles().find_map(|(role, targets)| Some((role, targets.get(target)?)))
    }

    /// The release manifest that is listed as `name`, if one is.
    pub(super) fn release(&self, name: &str) -> Result<Option<Release>, OpenError> {
        let Some((_, target)) = self.target(name) else { return Ok(None) };
        let path = self.targets_dir().join(published_as(name, &target.hashes.sha256));
        let bytes = read(&path)?;
        if Sha256::digest(&bytes)[..] != target.hashes.sha256[..] {
            return Err(OpenError::Mismatch { path });
        }
        Release::from_json(&bytes).map(Some).map_err(|_| OpenError::Mismatch { path })
    }
}

/// The highest N of the files `N.<name>` in `dir`, published or left by an interrupted change.
pub(super) fn newest_version(dir: &Utf8Path, name: &str) -> Result<Option<u64>, OpenError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(OpenError::Read { path: dir.to_owned(), source }),
    };
    let mut newest = None;
    for entry in entries {
        let entry = entry.map_err(|source| OpenError::Read { path: dir.to_owned(), source })?;
        let file = entry.file_name();
        let version =
            file.to_str().and_then(|it| it.strip_suffix(name)?.strip_suffix('.')?.parse().ok());
        newest = newest.max(version);
    }
    Ok(newest)
}

/// Why a repository cannot be opened for changes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is none.
    #[error("`{dir}` is not a TUF repository")]
    NoRepository {
        /// Where it was looked for.
        dir: Utf8PathBuf,
    },
    /// A file that cannot be read.
    #[error("could not read `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is no metadata.
    #[error("`{path}` is not TUF metadata")]
    Malformed {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A file without the signatures that the root asks for.
    #[error("`{path}` is not signed as the root metadata demands")]
    Unsigned {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A root that the one before it did not sign, or that is called by another's version.
    #[error("`{path}` does not follow the root metadata before it")]
    Root {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: VerifyError,
    },
    /// A change of keys that was broken off and cannot be finished.
    #[error("could not finish the change of keys in `{path}`")]
    Unfinished {
        /// What is left of it.
        path: Utf8PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Files that do not belong together.
    #[error("`{path}` is not the file that the metadata above it lists")]
    Mismatch {
        /// The file.
        path: Utf8PathBuf,
    },
}

impl OpenError {
    /// What to do next, for the errors where that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NoRepository { .. } => Some("`fleetctl updates init` makes one".to_owned()),
            Self::Read { .. }
            | Self::Malformed { .. }
            | Self::Unsigned { .. }
            | Self::Root { .. }
            | Self::Unfinished { .. }
            | Self::Mismatch { .. } => None,
        }
    }
}

/// The metadata of every role that `targets` delegates to. One that the snapshot does not list was
/// never published.
fn load_delegated(
    top: &Top,
    targets: &Listing,
    before: Option<&Published>,
) -> Result<BTreeMap<String, Arc<Listing>>, OpenError> {
    let mut loaded = BTreeMap::new();
    let Some(delegations) = &targets.delegations else { return Ok(loaded) };
    for role in &delegations.roles {
        let name = file_name(&role.name);
        if !top.snapshot.meta.contains_key(&name) {
            continue;
        }
        let file = listed(top, &name)?;
        let same =
            before.filter(|it| it.is_same(&name, file)).and_then(|it| it.delegated.get(&role.name));
        let targets = match same {
            Some(targets) => Arc::clone(targets),
            None => {
                let authority = Authority::of_delegation(Some(delegations), &role.name);
                let targets = Unchecked::<Targets>::parse(&file.path, &file.bytes)?
                    .signed_by(&authority, |it| delegations.verify_role(it, &role.name))?;
                Arc::new(as_listed(file, targets.into())?)
            }
        };
        loaded.insert(role.name.clone(), targets);
    }
    Ok(loaded)
}

/// The file that the snapshot lists as `name`.
fn listed<'a>(top: &'a Top, name: &str) -> Result<&'a RoleFile, OpenError> {
    match (top.files.get(name), top.snapshot.meta.get(name)) {
        (Some(file), _) => Ok(file),
        (None, Some(listed)) => {
            let path = top.dir.join(format!("{}.{name}", listed.version));
            Err(OpenError::Read { path, source: io::ErrorKind::NotFound.into() })
        }
        (None, None) => Err(OpenError::Mismatch { path: top.dir.join(name) }),
    }
}

/// What was in `file`, if that is the file that the snapshot lists.
fn as_listed(file: &RoleFile, targets: Listing) -> Result<Listing, OpenError> {
    if file.is_listed() && targets.version == file.listed.version {
        Ok(targets)
    } else {
        Err(OpenError::Mismatch { path: file.path.clone() })
    }
}

/// The name under which the snapshot lists the metadata of a role.
fn file_name(role: &str) -> String {
    format!("{role}.json")
}
