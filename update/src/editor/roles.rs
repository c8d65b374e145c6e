//! Changes of who may sign what.

use std::{collections::BTreeMap, num::NonZeroU64};

use tough::schema::{DelegatedRole, Delegations, PathSet};

use super::{
    ChangeError,
    authority::{Authority, set_root_keys},
    change::Change,
    patterns::{self, PatternError},
    published::Published,
};
use crate::keys::{KeyName, PublicKey, TufRole};

/// Other keys for a role.
#[derive(Debug, Clone)]
pub struct KeyChange {
    /// The role: one of TUF's, or a delegated one.
    pub role: String,
    /// Keys that may sign from now on.
    pub add: Vec<PublicKey>,
    /// The ids of keys that may not any more, or the beginnings of them.
    pub remove: Vec<String>,
    /// How many must sign; none: as before.
    pub threshold: Option<NonZeroU64>,
}

/// A role that may speak for some targets.
#[derive(Debug, Clone)]
pub struct Delegation {
    /// What it is called.
    pub name: KeyName,
    /// Who may sign.
    pub keys: Vec<PublicKey>,
    /// How many must sign.
    pub threshold: NonZeroU64,
    /// For which targets, e.g. `orbit/*/*/*`: at most one `*` for each level.
    pub paths: Vec<String>,
}

/// Why keys and roles cannot be so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoleProblem {
    /// A key that the role does not have, or more than one that begins so.
    #[error("the role `{role}` has no one key whose id begins with `{id}`")]
    NoSuchKey {
        /// The role.
        role: String,
        /// What was given.
        id: String,
    },
    /// A key that the role has already.
    #[error("the role `{role}` has the key {id} already")]
    KeyTwice {
        /// The role.
        role: String,
        /// The key's id.
        id: String,
    },
    /// More signatures than keys.
    #[error("the role `{role}` would need {threshold} signatures and have {keys} keys")]
    Threshold {
        /// The role.
        role: String,
        /// Signatures.
        threshold: u64,
        /// Keys.
        keys: usize,
    },
    /// A role with that name is there.
    #[error("there is a role `{role}` already")]
    RoleTaken {
        /// The name.
        role: String,
    },
    /// Not a delegated role.
    #[error("`{role}` is no delegated role")]
    NotDelegated {
        /// The name.
        role: String,
    },
    /// A delegated role without targets to speak for.
    #[error("the role `{role}` would speak for nothing: give it paths")]
    NoPaths {
        /// The name.
        role: String,
    },
    /// A pattern that clients read differently.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// Gives roles other keys.
pub(super) fn set_keys(
    published: &Published,
    changes: &[KeyChange],
    restart: bool,
) -> Result<Change, ChangeError> {
    let told: Vec<_> = changes.iter().map(told).collect();
    let mut change = Change { restart, ..Change::new(told.join("; ")) };
    for wanted in changes {
        match TufRole::named(&wanted.role) {
            Some(role) => {
                let now = Authority::of_root(change.root_mut(published), role);
                let (keys, threshold) = applied(&now, wanted)?;
                set_root_keys(change.root_mut(published), role, (&keys, threshold));
            }
            None => set_delegated_keys(&mut change, published, wanted)?,
        }
    }
    if restart {
        // The snapshot's readers forget what they saw when its keys change, and begin with this.
        change.role_mut(published, "targets");
        change.snapshot = true;
    }
    Ok(change)
}

fn told(change: &KeyChange) -> String {
    let added = change.add.iter().map(|key| format!("add key {} to {}", key.id(), change.role));
    let removed = change.remove.iter().map(|id| format!("remove key {id} from {}", change.role));
    let threshold = change.threshold.iter().map(|it| format!("threshold of {} {it}", change.role));
    added.chain(removed).chain(threshold).collect::<Vec<_>>().join(", ")
}

/// The keys and the threshold that `change` makes of `now`.
fn applied(
    now: &Authority,
    change: &KeyChange,
) -> Result<(Vec<PublicKey>, NonZeroU64), ChangeError> {
    let role = || change.role.clone();
    let mut keys: BTreeMap<String, PublicKey> =
        now.keys.iter().map(|(id, key)| (id.clone(), PublicKey::new(key.clone()))).collect();
    for beginning in &change.remove {
        let found: Vec<_> = keys.keys().filter(|id| id.starts_with(beginning)).cloned().collect();
        let [id] = &found[..] else {
            return Err(RoleProblem::NoSuchKey { role: role(), id: beginning.clone() }.into());
        };
        keys.remove(id);
    }
    for key in &change.add {
        if keys.insert(key.id(), key.clone()).is_some() {
            return Err(RoleProblem::KeyTwice { role: role(), id: key.id() }.into());
        }
    }
    let threshold = change.threshold.map_or(now.threshold, NonZeroU64::get);
    match NonZeroU64::new(threshold).filter(|it| it.get() <= keys.len() as u64) {
        Some(threshold) => Ok((keys.into_values().collect(), threshold)),
        None => {
            let keys = keys.len();
            Err(RoleProblem::Threshold { role: role(), threshold, keys }.into())
        }
    }
}

fn set_delegated_keys(
    change: &mut Change,
    published: &Published,
    wanted: &KeyChange,
) -> Result<(), ChangeError> {
    let targets = change.role_mut(published, "targets");
    let now = Authority::of_delegation(targets.delegations.as_ref(), &wanted.role);
    let no_role = || ChangeError::NoSuchRole { role: wanted.role.clone() };
    let delegations = targets.delegations.as_mut().ok_or_else(no_role)?;
    let role = delegations.roles.iter_mut().find(|it| it.name == wanted.role);
    let role = role.ok_or_else(no_role)?;
    let (keys, threshold) = applied(&now, wanted)?;
    role.keyids = keys.iter().map(key_id).collect();
    role.threshold = threshold;
    delegations.keys.extend(keys.iter().map(|key| (key_id(key), key.key.clone())));
    drop_unused_keys(delegations);
    Ok(())
}

type KeyId = tough::schema::decoded::Decoded<tough::schema::decoded::Hex>;

fn key_id(key: &PublicKey) -> KeyId {
    hex::decode(key.id()).expect("an id is hexadecimal").into()
}

fn drop_unused_keys(delegations: &mut Delegations) {
    let used: Vec<_> = delegations.roles.iter().flat_map(|it| it.keyids.clone()).collect();
    delegations.keys.retain(|id, _| used.contains(id));
}

/// Lets a new role speak for some targets, which become its own.
pub(super) fn delegate(published: &Published, wanted: &Delegation) -> Result<Change, ChangeError> {
    let name = wanted.name.as_str();
    if TufRole::named(name).is_some() || published.role(name).is_some() {
        return Err(RoleProblem::RoleTaken { role: name.to_owned() }.into());
    }
    if wanted.paths.is_empty() {
        return Err(RoleProblem::NoPaths { role: name.to_owned() }.into());
    }
    let patterns: Result<Vec<_>, _> = wanted.paths.iter().map(|it| patterns::pattern(it)).collect();
    let paths = PathSet::Paths(patterns.map_err(RoleProblem::Pattern)?);
    let nobody = Authority { keys: BTreeMap::new(), threshold: wanted.threshold.get() };
    let all = KeyChange {
        role: name.to_owned(),
        add: wanted.keys.clone(),
        remove: Vec::new(),
        threshold: None,
    };
    let (keys, threshold) = applied(&nobody, &all)?;
    let mut change = Change::new(format!("delegate {} to {name}", wanted.paths.join(", ")));
    let targets = change.role_mut(published, "targets");
    let delegations = targets.delegations.get_or_insert_with(Delegations::new);
    delegations.keys.extend(keys.iter().map(|key| (key_id(key), key.key.clone())));
    delegations.roles.push(DelegatedRole {
        name: name.to_owned(),
        keyids: keys.iter().map(key_id).collect(),
        threshold,
        paths,
        terminating: true,
        targets: None,
    });
    hand_over(&mut change, published, "targets");
    change.role_mut(published, name);
    Ok(change)
}

/// Takes a role's right away; its targets become those of `targets` again.
pub(super) fn revoke(published: &Published, name: &str) -> Result<Change, ChangeError> {
    let mut change = Change::new(format!("revoke {name}"));
    let not_delegated = || RoleProblem::NotDelegated { role: name.to_owned() };
    let targets = change.role_mut(published, "targets");
    let delegations = targets.delegations.as_mut().ok_or_else(not_delegated)?;
    let before = delegations.roles.len();
    delegations.roles.retain(|it| it.name != name);
    if delegations.roles.len() == before {
        return Err(not_delegated().into());
    }
    drop_unused_keys(delegations);
    if delegations.roles.is_empty() {
        targets.delegations = None;
    }
    let Some(theirs) = published.role(name) else { return Ok(change) };
    for target in theirs.names() {
        if let Some(about) = theirs.get(target) {
            super::add::list(&mut change, published, (target, &about));
        }
    }
    Ok(change)
}

/// Moves the targets of `from` to the roles that answer for them.
fn hand_over(change: &mut Change, published: &Published, from: &str) {
    let listing = change.role_mut(published, from);
    let listed: Vec<_> = listing.names().map(str::to_owned).collect();
    for name in listed {
        let owner = change.owner_of(published, &name);
        if owner == from {
            continue;
        }
        if let Some(target) = change.role_mut(published, from).get(&name) {
            change.role_mut(published, from).remove(&name);
            change.role_mut(published, &owner).insert(&name, &target);
            change.targets.insert(name);
        }
    }
}
