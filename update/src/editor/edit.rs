//! What can be done to a repository, as data: planned without keys, so that everything that is wrong
//! shows before anybody types a passphrase.

use camino::Utf8PathBuf;
use tough::schema::Root;

use super::{
    ChangeError, add,
    change::Change,
    listing::Listing,
    published::{Current, Published},
    release::{self, Pausing, Rollout},
    roles::{self, Delegation, KeyChange},
    staging::StagedFile,
};
use crate::{
    keys::TufRole,
    names::{
        Channel, Component, Program, TargetName, UpdatePlatform, compressed_name, is_patch_of,
    },
};

/// A change that somebody wants.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Edit {
    /// Publish files.
    Add(Vec<Addition>),
    /// Stop listing targets. Their files stay for those who read of them before.
    Remove(Vec<String>),
    /// Make a published version the current one of a channel.
    Promote(Promotion),
    /// Stop a rollout, or let it go on.
    Pause(Pausing),
    /// Sign a role's metadata again, as it is, for another while.
    Renew(String),
    /// Give roles other keys.
    SetKeys {
        /// Which ones.
        changes: Vec<KeyChange>,
        /// Whether somebody else could sign until now. Versions begin again then, so that readers
        /// who were shown versions far ahead come back.
        is_compromised: bool,
    },
    /// Let a new role speak for some targets.
    Delegate(Delegation),
    /// Take a delegated role's right away.
    Revoke(String),
}

/// A file to publish.
#[derive(Debug, Clone)]
pub struct Addition {
    /// The file.
    pub file: Utf8PathBuf,
    /// What it is.
    pub program: Program,
    /// Where it runs.
    pub platform: UpdatePlatform,
    /// Its version, a channel such as `1.2.3`. Once published, a version keeps its content for
    /// ever.
    pub version: Channel,
    /// The other channels it becomes the current file of, e.g. `stable`.
    pub tags: Vec<Channel>,
    /// Whether agents are to find it compressed, too, if that saves a tenth of it. Extensions and
    /// archives are published as they are.
    pub is_compressed: bool,
}

/// A published version that is to be the current one of a channel.
#[derive(Debug, Clone)]
pub struct Promotion {
    /// What it is.
    pub component: Component,
    /// Where it runs; none: everywhere that the version is published for.
    pub platforms: Vec<UpdatePlatform>,
    /// The version, or the channel it is the current one of.
    pub version: Channel,
    /// The channel.
    pub channel: Channel,
    /// Who is to have it when.
    pub rollout: Rollout,
}

impl Promotion {
    /// What is promoted on `platform`, and what it becomes.
    pub(super) fn targets(&self, platform: UpdatePlatform) -> (TargetName, TargetName) {
        let target = |channel: &Channel| TargetName {
            component: self.component,
            platform,
            channel: channel.clone(),
        };
        (target(&self.version), target(&self.channel))
    }
}

impl Edit {
    /// The change that this is now. `files` are those of the additions, in their order.
    pub(super) fn plan(
        &self,
        current: &Current,
        files: &[StagedFile],
    ) -> Result<Change, ChangeError> {
        if let Self::Renew(role) = self
            && let Some(change) = renew_online(role)
        {
            return Ok(change);
        }
        let published = current.published()?;
        match self {
            Self::Add(additions) => add::plan(published, additions, files),
            Self::Remove(names) => remove(published, names),
            Self::Promote(promotion) => release::promote(published, promotion),
            Self::Pause(pausing) => release::pause(published, pausing),
            Self::Renew(role) => renew(published, role),
            Self::SetKeys { changes, is_compromised } => {
                roles::set_keys(published, changes, *is_compromised)
            }
            Self::Delegate(delegation) => roles::delegate(published, delegation),
            Self::Revoke(role) => roles::revoke(published, role),
        }
    }

    /// The files that it brings.
    pub(super) fn additions(&self) -> &[Addition] {
        match self {
            Self::Add(additions) => additions,
            Self::Remove(_)
            | Self::Promote(_)
            | Self::Pause(_)
            | Self::Renew(_)
            | Self::SetKeys { .. }
            | Self::Delegate(_)
            | Self::Revoke(_) => &[],
        }
    }
}

fn remove(published: &Published, names: &[String]) -> Result<Change, ChangeError> {
    let mut change = Change::new(format!("remove {}", names.join(", ")));
    let mut missing = Vec::new();
    for name in names {
        match published.target(name) {
            Some((role, _)) => unlist(&mut change, published, (role, name)),
            None => missing.push(name.clone()),
        }
        for (role, beside) in made_into(published, name) {
            unlist(&mut change, published, (role, &beside));
        }
    }
    if missing.is_empty() { Ok(change) } else { Err(ChangeError::NoSuchTargets { missing }) }
}

/// What is of no use without `target`, which it unpacks to or patches something to.
fn made_into<'a>(published: &'a Published, target: &str) -> Vec<(&'a str, String)> {
    let compressed = compressed_name(target);
    let is_beside = |name: &&str| **name == *compressed || is_patch_of(name, target);
    let listed = published.roles().flat_map(|(role, targets)| {
        let names = targets.names().filter(is_beside);
        names.map(move |name| (role, name.to_owned())).collect::<Vec<_>>()
    });
    listed.collect()
}

fn unlist(change: &mut Change, published: &Published, (role, name): (&str, &str)) {
    change.role_mut(published, role).remove(name);
    change.targets.insert(name.to_owned());
}

/// A new timestamp, or snapshot, over what is published: what it signs are versions, lengths and
/// hashes, so nobody has to look into the metadata that they are of.
fn renew_online(role: &str) -> Option<Change> {
    let change = Change::new(format!("renew {role}"));
    match TufRole::named(role)? {
        TufRole::Timestamp => Some(Change { timestamp: true, ..change }),
        TufRole::Snapshot => Some(Change { snapshot: true, ..change }),
        TufRole::Root | TufRole::Targets => None,
    }
}

fn renew(published: &Published, role: &str) -> Result<Change, ChangeError> {
    let mut change = Change::new(format!("renew {role}"));
    if TufRole::named(role) == Some(TufRole::Root) {
        let _: &mut Root = change.root_mut(published);
    } else if published.role(role).is_some() {
        let _: &mut Listing = change.role_mut(published, role);
    } else {
        return Err(ChangeError::NoSuchRole { role: role.to_owned() });
    }
    Ok(change)
}
