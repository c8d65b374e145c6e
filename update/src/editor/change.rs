//! What a change makes of a repository, before anybody signs it.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use tough::schema::{Delegations, Root};

use super::{
    OpenError,
    authority::Authority,
    listing::Listing,
    published::{Current, Published},
    top::Top,
};
use crate::keys::TufRole;

/// The roles that get new metadata, and the files that appear.
#[derive(Debug, Clone, Default)]
pub(super) struct Change {
    /// For people, e.g. `add orbit/linux/1.2.3/orbit`.
    pub(super) what: String,
    pub(super) root: Option<Root>,
    /// `targets` and delegated roles, by name.
    pub(super) roles: BTreeMap<String, Listing>,
    /// Whether a new snapshot is wanted though nothing below it changes.
    pub(super) snapshot: bool,
    /// Whether a new timestamp is wanted though nothing below it changes.
    pub(super) timestamp: bool,
    pub(super) files: Vec<NewFile>,
    /// The targets that are other ones afterwards.
    pub(super) targets: BTreeSet<String>,
    /// Whether versions begin again: somebody else has counted too far.
    pub(super) restart: bool,
}

/// A target's file on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewFile {
    /// Where it is now.
    pub(super) from: Source,
    /// Where it is published, below the directory of targets.
    pub(super) to: String,
}

/// Where a file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// This file.
    Staged(Utf8PathBuf),
    /// These bytes.
    Content(Vec<u8>),
    /// One that is published already, below the directory of targets.
    Published(String),
}

impl Change {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    /// The root, to be changed.
    pub(super) fn root_mut(&mut self, top: &Top) -> &mut Root {
        self.root.get_or_insert_with(|| top.root.clone())
    }

    /// The metadata of `targets` or a delegated role, to be changed.
    pub(super) fn role_mut(&mut self, published: &Published, name: &str) -> &mut Listing {
        let nothing = || Listing::from(super::init::no_targets());
        let published = || published.role(name).cloned().unwrap_or_else(nothing);
        self.roles.entry(name.to_owned()).or_insert_with(published)
    }

    /// The delegations, in the order in which clients ask them, as they will be.
    pub(super) fn top<'a>(&'a self, published: &'a Published) -> &'a Listing {
        self.roles.get("targets").unwrap_or(&published.targets)
    }

    /// The role that answers for `target`: the first delegated one that covers it, else `targets`.
    pub(super) fn owner_of(&self, published: &Published, target: &str) -> String {
        let delegations = self.top(published).delegations.as_ref();
        let roles = delegations.map(|it| it.roles.as_slice()).unwrap_or_default();
        let owner = roles.iter().find(|role| super::patterns::covers(&role.paths, target));
        owner.map_or_else(|| "targets".to_owned(), |role| role.name.clone())
    }

    /// Adds what follows from the rest: metadata of a role whose keys change is signed anew.
    pub(super) fn complete(&mut self, current: &Current) -> Result<(), OpenError> {
        if self.has_roles() {
            self.complete_roles(current.published()?);
        }
        self.snapshot |= !self.roles.is_empty();
        self.timestamp |= self.snapshot;
        Ok(())
    }

    /// Whether what stands below the snapshot, or who may sign it, changes.
    pub(super) fn has_roles(&self) -> bool {
        self.root.is_some() || !self.roles.is_empty()
    }

    fn complete_roles(&mut self, published: &Published) {
        if let Some(root) = self.root.clone() {
            let changed =
                |role| Authority::of_root(&root, role) != Authority::of_root(&published.root, role);
            if changed(TufRole::Targets) {
                self.role_mut(published, "targets");
            }
            self.snapshot |= changed(TufRole::Snapshot);
            self.timestamp |= changed(TufRole::Timestamp);
        }
        for name in self.role_names(published) {
            let before = published.targets.delegations.as_ref();
            let after = self.top(published).delegations.as_ref();
            if Authority::of_delegation(before, &name) != Authority::of_delegation(after, &name) {
                self.role_mut(published, &name);
            }
        }
    }

    fn role_names(&self, published: &Published) -> Vec<String> {
        let delegations = self.top(published).delegations.as_ref();
        let roles = delegations.map(|it| it.roles.as_slice()).unwrap_or_default();
        roles.iter().map(|role| role.name.clone()).collect()
    }

    /// Whose signatures each role's new metadata needs now, all of them.
    pub(super) fn demands_now(&self, current: &Current) -> Result<Vec<Demand>, OpenError> {
        let targets = if self.has_roles() { Some(&current.published()?.targets) } else { None };
        let delegations = targets.and_then(|it| it.delegations.as_ref());
        Ok(self.demands(&current.top.root, delegations))
    }

    /// Whose signatures each role's new metadata needs, all of them; `root` and `delegations` are the
    /// published ones. The latter are of no matter where no role's metadata changes.
    pub(super) fn demands(&self, root: &Root, delegations: Option<&Delegations>) -> Vec<Demand> {
        let targets = self.roles.get("targets");
        let delegations = targets.map_or(delegations, |it| it.delegations.as_ref());
        let wanted = [(self.snapshot, "snapshot"), (self.timestamp, "timestamp")];
        let online = wanted.into_iter().filter_map(|(wanted, name)| wanted.then_some(name));
        let signed = self.root.iter().map(|_| "root");
        let signed = signed.chain(self.roles.keys().map(String::as_str)).chain(online);
        let demands = signed.flat_map(|name| match TufRole::named(name) {
            Some(role) => self.demands_of_root(root, role),
            None => {
                let authority = Authority::of_delegation(delegations, name);
                vec![Demand { role: name.to_owned(), authority, is_required: true }]
            }
        });
        demands.collect()
    }

    /// New root metadata must please the old root and itself. The rest must please the new root; that
    /// it pleases the old one too, if it can, spares readers a moment in which nothing fits.
    fn demands_of_root(&self, root: &Root, role: TufRole) -> Vec<Demand> {
        let after = Authority::of_root(self.root.as_ref().unwrap_or(root), role);
        let before = Authority::of_root(root, role);
        let demand = |authority, is_required| Demand {
            role: role.as_str().to_owned(),
            authority,
            is_required,
        };
        let mut demands = Vec::new();
        if before != after {
            demands.push(demand(before, role == TufRole::Root));
        }
        demands.push(demand(after, true));
        demands
    }
}

/// Signatures that a role's metadata needs.
#[derive(Debug, Clone)]
pub(super) struct Demand {
    pub(super) role: String,
    pub(super) authority: Authority,
    /// Whether nothing is published without them.
    pub(super) is_required: bool,
}
