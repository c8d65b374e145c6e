//! Publishing files: what additions make of a repository.

use std::collections::{BTreeMap, HashMap};

use camino::Utf8Path;
use rayon::prelude::*;
use tough::schema::Target;

use super::{
    Addition, AdditionProblem, ChangeError,
    change::{Change, NewFile, Source},
    document::sha256_hashes,
    publication::clear,
    published::Published,
    release,
    staging::{StagedCopy, StagedFile, hash, look, stage},
};
use crate::{
    disk::{self, Access, Durable},
    names::{Channel, ProgramTarget, compressed_name, patch_name},
};

/// Whether `additions` can be published, as far as their names and the heads of their files tell.
pub(super) fn check(additions: &[Addition]) -> Result<(), ChangeError> {
    let named = name_targets(additions).map(drop);
    let looks = additions.par_iter().filter_map(|addition| look(addition).err());
    match (looks.collect::<Vec<_>>(), named) {
        (looks, named) if looks.is_empty() => named,
        (mut problems, Err(ChangeError::Unusable { problems: names })) => {
            problems.extend(names);
            Err(ChangeError::Unusable { problems })
        }
        (problems, _) => Err(ChangeError::Unusable { problems }),
    }
}

/// What publishing `additions`, whose files are `files`, makes of the repository.
pub(super) fn plan(
    published: &Published,
    additions: &[Addition],
    files: &[StagedFile],
) -> Result<Change, ChangeError> {
    let names = name_targets(additions)?;
    let mut change = Change::new(told(&names));
    for (addition, file) in additions.iter().zip(files) {
        let target = describe(addition, file);
        for name in targets_of(addition) {
            change.files.push(new_file(&name.to_string(), file));
            list(&mut change, published, (&name.to_string(), &target));
            if let Some(name) = name.of_component() {
                release::follow(&mut change, published, (&name, &target));
            }
        }
        let version = name_of(addition, &addition.version).to_string();
        if let Some(copy) = &file.compressed {
            list_beside(&mut change, published, (&version, compressed_name(&version), copy));
        }
        for (from, copy) in &file.patches {
            list_beside(&mut change, published, (&version, patch_name(&version, from), copy));
        }
    }
    Ok(change)
}

/// Lists what a version's file can be made of, unless only others could sign for it. Channels need
/// none: it is found by its version.
fn list_beside(
    change: &mut Change,
    published: &Published,
    (version, name, copy): (&str, String, &StagedCopy),
) {
    if change.owner_of(published, &name) != change.owner_of(published, version) {
        return;
    }
    let hashes = sha256_hashes(&copy.sha256);
    let (custom, _extra) = (HashMap::new(), HashMap::new());
    let to = published_as(&name, &copy.sha256);
    change.files.push(NewFile { from: Source::Staged(copy.path.clone()), to });
    list(change, published, (&name, &Target { length: copy.length, hashes, custom, _extra }));
}

/// Lists `target` under `name` in the metadata of the role that answers for it.
pub(super) fn list(change: &mut Change, published: &Published, (name, target): (&str, &Target)) {
    let owner = change.owner_of(published, name);
    change.role_mut(published, &owner).insert(name, target);
    change.targets.insert(name.to_owned());
}

fn told(names: &[ProgramTarget]) -> String {
    let names: Vec<_> = names.iter().map(ProgramTarget::to_string).collect();
    format!("add {}", names.join(", "))
}

/// The targets that an addition becomes: its version and each tag.
fn targets_of(addition: &Addition) -> impl Iterator<Item = ProgramTarget> {
    let channels = std::iter::once(&addition.version).chain(&addition.tags);
    channels.map(|channel| name_of(addition, channel))
}

fn name_of(addition: &Addition, channel: &Channel) -> ProgramTarget {
    let (program, platform) = (addition.program.clone(), addition.platform);
    ProgramTarget { program, platform, channel: channel.clone() }
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

fn new_file(name: &str, file: &StagedFile) -> NewFile {
    NewFile { from: Source::Staged(file.path.clone()), to: published_as(name, &file.sha256) }
}

/// Where readers look for the file of a target, below the directory of targets.
pub(super) fn published_as(name: &str, sha256: &[u8]) -> String {
    let hash = hex::encode(sha256);
    match name.rsplit_once('/') {
        Some((dir, file)) => format!("{dir}/{hash}.{file}"),
        None => format!("{hash}.{name}"),
    }
}

/// The targets of all additions, each once.
pub(super) fn name_targets(additions: &[Addition]) -> Result<Vec<ProgramTarget>, ChangeError> {
    let mut problems = Vec::new();
    let mut names = BTreeMap::new();
    for addition in additions {
        if !addition.version.is_full_version() {
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
        Err(ChangeError::Unusable { problems })
    }
}

/// Files that are hashed at the same time.
const AT_ONCE: usize = 64;

/// Copies every file to `staged`, which is emptied before.
pub(super) fn stage_all(
    additions: &[Addition],
    staged: &Utf8Path,
) -> Result<Vec<StagedFile>, ChangeError> {
    // The folder itself need not outlast a power cut: what is in it is moved, or of no use.
    let passing = (Access::Owner, Durable::Together);
    let made = clear(staged).and_then(|()| disk::lay_dir(staged.as_std_path(), passing));
    made.map_err(|source| ChangeError::Write { path: staged.to_owned(), source })?;
    let durable = Durable::of(additions.len());
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    // Hashed on all cores, so many at a time as can be remembered; laid down one by one, since those
    // who add names to one folder wait for each other.
    for some in additions.chunks(AT_ONCE) {
        let hashed: Vec<_> = some.par_iter().map(|addition| hash(addition, staged)).collect();
        for (addition, hashed) in some.iter().zip(hashed) {
            match hashed.and_then(|it| stage(addition, it, (staged, durable))) {
                Ok(file) => files.push(file),
                Err(problem) => problems.push(problem),
            }
        }
    }
    disk::sync(staged.as_std_path(), durable)
        .map_err(|source| ChangeError::Write { path: staged.to_owned(), source })?;
    if problems.is_empty() { Ok(files) } else { Err(ChangeError::Unusable { problems }) }
}

/// A device that asks for version 1.2.3 twice must not get two programs.
pub(super) fn check_versions(
    published: &Published,
    additions: &[Addition],
    files: &[StagedFile],
) -> Result<(), ChangeError> {
    let taken = additions.iter().zip(files).flat_map(|(addition, file)| {
        targets_of(addition).filter(|target| is_taken(published, target, &file.sha256))
    });
    let problems: Vec<_> = taken.map(|target| AdditionProblem::VersionTaken { target }).collect();
    if problems.is_empty() { Ok(()) } else { Err(ChangeError::Unusable { problems }) }
}

/// Whether `target` is that of one version, which has another content already.
pub(super) fn is_taken(published: &Published, target: &ProgramTarget, sha256: &[u8]) -> bool {
    let is_other = |listed: &Target| listed.hashes.sha256[..] != *sha256;
    target.channel.is_full_version()
        && published.target(&target.to_string()).is_some_and(|(_, listed)| is_other(&listed))
}
