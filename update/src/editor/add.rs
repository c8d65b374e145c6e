//! Publishing files: from additions to a signed change.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    num::NonZeroU64,
};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use tough::schema::{Snapshot, Target, Targets, Timestamp as TimestampRole};

use super::{
    Addition, Expiries, OpenError, PublishKeys, REPOSITORY_DIR, STAGED_DIR, TARGETS_DIR,
    metadata::{SPEC_VERSION, SignError, SignedFile, expiry, sha256_hashes, sign},
    publication::{Publication, PublishError, Step, clear},
    published::{Published, newest_version},
    staging::{StagedFile, look, stage},
};
use crate::{
    disk::{self, Access},
    keys::TufRole,
    names::TargetName,
};

/// Whether `additions` can be published, as far as their names and the heads of their files tell.
pub(super) fn check(additions: &[Addition]) -> Result<(), AddError> {
    let named = name_targets(additions).map(drop);
    let looks = additions.iter().filter_map(|addition| look(addition).err());
    match (looks.collect::<Vec<_>>(), named) {
        (looks, named) if looks.is_empty() => named,
        (mut problems, Err(AddError::Unusable { problems: names })) => {
            problems.extend(names);
            Err(AddError::Unusable { problems })
        }
        (problems, _) => Err(AddError::Unusable { problems }),
    }
}

/// Stages the files of `additions` and signs the metadata that lists them. When that fails, nothing
/// stays staged.
pub(super) async fn prepare(
    dir: &Utf8Path,
    additions: &[Addition],
    keys: &PublishKeys,
    validity: (&Expiries, Timestamp),
) -> Result<Publication, AddError> {
    let lock = lock(dir).await?;
    let staged = dir.join(STAGED_DIR);
    match stage_and_sign(&dir.join(REPOSITORY_DIR), &staged, additions, (keys, validity)).await {
        Ok((steps, targets)) => Ok(Publication { steps, targets, staged, lock }),
        Err(error) => {
            clear(&staged).map_err(|source| AddError::Stage { path: staged, source })?;
            Err(error)
        }
    }
}

async fn stage_and_sign(
    repository: &Utf8Path,
    staged: &Utf8Path,
    additions: &[Addition],
    signing: (&PublishKeys, (&Expiries, Timestamp)),
) -> Result<(Vec<Step>, Vec<TargetName>), AddError> {
    let published = Published::read(repository)?;
    check_keys(&published, signing.0)?;
    let names = name_targets(additions)?;
    let files = stage_all(additions, staged)?;
    let additions: Vec<_> = additions.iter().zip(&files).collect();
    check_versions(&published, &additions)?;

    let mut steps = Vec::new();
    let mut targets = published.targets.clone();
    for (addition, file) in additions {
        for name in targets_of(addition) {
            steps.push(link_step(repository, &name, file));
            targets.add_target(tuf_name(&name), describe(addition, file));
        }
    }
    let signed = sign_all(repository, &published, targets, signing).await?;
    steps.extend(signed.into_iter().map(|file| {
        let path = repository.join(file.name());
        Step::Write { path, bytes: file.into_bytes() }
    }));
    Ok((steps, names))
}

/// Signs new targets metadata and what stands above it, in the order in which it is to be
/// published.
async fn sign_all(
    repository: &Utf8Path,
    published: &Published,
    targets: Targets,
    (keys, (expiries, now)): (&PublishKeys, (&Expiries, Timestamp)),
) -> Result<[SignedFile; 3], AddError> {
    let version = next_version(repository, "targets.json", published.targets.version)?;
    let targets = Targets { version, expires: expiry(now, expiries.targets), ..targets };
    let targets = sign(targets, &keys.targets).await?;

    let version = next_version(repository, "snapshot.json", published.snapshot.version)?;
    let mut snapshot =
        Snapshot { version, expires: expiry(now, expiries.snapshot), ..published.snapshot.clone() };
    snapshot.meta.insert("targets.json".to_owned(), targets.metafile());
    let snapshot = sign(snapshot, &keys.snapshot).await?;

    let version = published.timestamp.version.saturating_add(1);
    let expires = expiry(now, expiries.timestamp);
    let mut timestamp = TimestampRole::new(SPEC_VERSION.to_owned(), version, expires);
    timestamp.meta.insert("snapshot.json".to_owned(), snapshot.metafile());
    let timestamp = sign(timestamp, &keys.timestamp).await?;
    Ok([targets, snapshot, timestamp])
}

/// One more than any version there is, so that no version is ever two files, even after an
/// interrupted change.
fn next_version(
    repository: &Utf8Path,
    name: &str,
    published: NonZeroU64,
) -> Result<NonZeroU64, OpenError> {
    let on_disk = newest_version(repository, name)?.and_then(NonZeroU64::new);
    Ok(on_disk.map_or(published, |it| it.max(published)).saturating_add(1))
}

/// The targets that an addition becomes: its version and each tag.
fn targets_of(addition: &Addition) -> impl Iterator<Item = TargetName> {
    std::iter::once(&addition.version).chain(&addition.tags).map(|channel| TargetName {
        component: addition.component,
        platform: addition.platform,
        channel: channel.clone(),
    })
}

fn tuf_name(name: &TargetName) -> tough::TargetName {
    tough::TargetName::new(name.to_string()).expect("our names have no empty or dotted parts")
}

/// What targets metadata says of a file. Agents and `fleetctl package` read `custom`.
fn describe(addition: &Addition, file: &StagedFile) -> Target {
    let mut custom = HashMap::from([("version".to_owned(), addition.version.as_str().into())]);
    custom.extend(file.modified.map(|it| ("modified".to_owned(), it.to_string().into())));
    Target {
        length: file.length,
        hashes: sha256_hashes(&file.sha256),
        custom,
        _extra: HashMap::new(),
    }
}

fn link_step(repository: &Utf8Path, name: &TargetName, file: &StagedFile) -> Step {
    let path = name.to_string();
    let (dir, file_name) = path.rsplit_once('/').expect("a target's name has four parts");
    let published = format!("{}.{file_name}", hex::encode(file.sha256));
    Step::Link {
        from: file.path.clone(),
        to: repository.join(TARGETS_DIR).join(dir).join(published),
    }
}

async fn lock(dir: &Utf8Path) -> Result<fs::File, AddError> {
    let path = dir.join(".lock");
    let at = path.clone();
    let locking = tokio::task::spawn_blocking(move || {
        fs::File::create(&at).and_then(|file| file.lock().map(|()| file))
    });
    let locked = locking.await.expect("locking a file does not panic");
    locked.map_err(|source| AddError::Stage { path, source })
}

fn check_keys(published: &Published, keys: &PublishKeys) -> Result<(), AddError> {
    let pairs = [
        (TufRole::Targets, &keys.targets),
        (TufRole::Snapshot, &keys.snapshot),
        (TufRole::Timestamp, &keys.timestamp),
    ];
    match pairs.into_iter().find(|(role, key)| !published.trusts(*role, key)) {
        Some((role, _)) => Err(AddError::UntrustedKey { role }),
        None => Ok(()),
    }
}

/// The targets of all additions, each once.
fn name_targets(additions: &[Addition]) -> Result<Vec<TargetName>, AddError> {
    let mut problems = Vec::new();
    let mut names = BTreeMap::new();
    for addition in additions {
        if !addition.version.is_version() {
            problems.push(AdditionProblem::NoVersion {
                file: addition.file.clone(),
                version: addition.version.to_string(),
            });
        }
        for name in targets_of(addition) {
            let first = names.entry(name.clone()).or_insert(&addition.file);
            if *first != &addition.file {
                problems.push(AdditionProblem::Twice { target: name });
            }
        }
    }
    if problems.is_empty() {
        Ok(names.into_keys().collect())
    } else {
        Err(AddError::Unusable { problems })
    }
}

fn stage_all(additions: &[Addition], staged: &Utf8Path) -> Result<Vec<StagedFile>, AddError> {
    let made = clear(staged).and_then(|()| disk::make_dir(staged.as_std_path(), Access::Owner));
    made.map_err(|source| AddError::Stage { path: staged.to_owned(), source })?;
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for addition in additions {
        match stage(addition, staged) {
            Ok(file) => files.push(file),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(AddError::Unusable { problems }) }
}

/// A device that asks for version 1.2.3 twice must not get two programs.
fn check_versions(
    published: &Published,
    additions: &[(&Addition, &StagedFile)],
) -> Result<(), AddError> {
    let taken = additions.iter().filter_map(|(addition, file)| {
        let target = targets_of(addition).next()?;
        let before = published.targets.targets.get(&tuf_name(&target))?;
        (before.hashes.sha256[..] != file.sha256[..])
            .then_some(AdditionProblem::VersionTaken { target })
    });
    let problems: Vec<_> = taken.collect();
    if problems.is_empty() { Ok(()) } else { Err(AddError::Unusable { problems }) }
}

/// Why files cannot be published. Readers see the repository as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// Files or names that cannot be published, all of them.
    #[error("{}", .problems.iter().map(|it| it.to_string()).collect::<Vec<_>>().join("; "))]
    Unusable {
        /// What is wrong.
        problems: Vec<AdditionProblem>,
    },
    /// The repository cannot be read, or is not to be trusted.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Clients would refuse what this key signs.
    #[error("the root metadata does not list the key given for {role}")]
    UntrustedKey {
        /// The role.
        role: TufRole,
    },
    /// Metadata cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The directory cannot be written.
    #[error("could not write `{path}`")]
    Stage {
        /// The file or directory.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the repository cannot be written.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl AddError {
    /// What to do next, for the errors where that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::UntrustedKey { role } => {
                Some(format!("sign with the {role} key that was made with this repository"))
            }
            Self::Open(error) => error.help(),
            Self::Unusable { .. } | Self::Sign(_) | Self::Stage { .. } | Self::Publish(_) => None,
        }
    }
}

/// Why one file cannot be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdditionProblem {
    /// It cannot be read or copied.
    #[error("could not read `{file}`: {source}")]
    Unreadable {
        /// The file.
        file: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory, or worse.
    #[error("`{file}` is not a file")]
    NotAFile {
        /// What was given.
        file: Utf8PathBuf,
    },
    /// Nothing in it.
    #[error("`{file}` is empty")]
    Empty {
        /// The file.
        file: Utf8PathBuf,
    },
    /// A program where an archive belongs, or the other way round.
    #[error(
        "`{file}` cannot be published as `{wanted}`: one is a gzipped archive, the other is not"
    )]
    WrongKind {
        /// The file.
        file: Utf8PathBuf,
        /// What agents look for.
        wanted: &'static str,
    },
    /// A channel where a version belongs.
    #[error("`{version}` is not a version for `{file}` (1.2.3)")]
    NoVersion {
        /// The file.
        file: Utf8PathBuf,
        /// What was given.
        version: String,
    },
    /// Two files for one target.
    #[error("two files are to become `{target}`")]
    Twice {
        /// The target.
        target: TargetName,
    },
    /// The version was published before with another content.
    #[error("`{target}` is published already with another content: give the file a new version")]
    VersionTaken {
        /// The target.
        target: TargetName,
    },
}
