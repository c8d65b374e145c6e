//! Whose signatures count for a role.

use std::{collections::BTreeMap, num::NonZeroU64};

use tough::schema::{self, Delegations, RoleKeys, Root, key::Key};

use crate::keys::{PublicKey, TufRole};

/// The keys of a role, by their ids, and how many of them must sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) keys: BTreeMap<String, Key>,
    pub(super) threshold: u64,
}

impl Authority {
    /// Of a role that the root speaks for. A root without the role gives nobody a say.
    pub(super) fn of_root(root: &Root, role: TufRole) -> Self {
        Self::of_type(root, role_type(role))
    }

    /// The same of a role in `tough`'s words.
    pub(super) fn of_type(root: &Root, role: schema::RoleType) -> Self {
        let listed = root.roles.get(&role);
        let ids = listed.map(|it| it.keyids.as_slice()).unwrap_or_default();
        let keys = ids.iter().filter_map(|id| Some((hex::encode(&id[..]), root.keys.get(id)?)));
        Self {
            keys: keys.map(|(id, key)| (id, key.clone())).collect(),
            threshold: listed.map_or(u64::MAX, |it| it.threshold.get()),
        }
    }

    /// Of a delegated role.
    pub(super) fn of_delegation(delegations: Option<&Delegations>, name: &str) -> Self {
        let found =
            delegations.and_then(|it| Some((it, it.roles.iter().find(|it| it.name == name)?)));
        let Some((delegations, role)) = found else {
            return Self { keys: BTreeMap::new(), threshold: u64::MAX };
        };
        let keys = role
            .keyids
            .iter()
            .filter_map(|id| Some((hex::encode(&id[..]), delegations.keys.get(id)?.clone())));
        Self { keys: keys.collect(), threshold: role.threshold.get() }
    }
}

/// Gives `role` these keys in `root`; keys that no role has any more are dropped.
pub(super) fn set_root_keys(
    root: &mut Root,
    role: TufRole,
    (keys, threshold): (&[PublicKey], NonZeroU64),
) {
    let mut keyids = Vec::new();
    for key in keys {
        let id = hex::decode(key.id()).expect("an id is hexadecimal");
        root.keys.insert(id.clone().into(), key.key.clone());
        keyids.push(id.into());
    }
    let listed = RoleKeys { keyids, threshold, _extra: std::collections::HashMap::new() };
    root.roles.insert(role_type(role), listed);
    let used: Vec<_> = root.roles.values().flat_map(|it| it.keyids.clone()).collect();
    root.keys.retain(|id, _| used.contains(id));
}

/// `tough`'s word for a role.
pub(super) fn role_type(role: TufRole) -> schema::RoleType {
    match role {
        TufRole::Root => schema::RoleType::Root,
        TufRole::Targets => schema::RoleType::Targets,
        TufRole::Snapshot => schema::RoleType::Snapshot,
        TufRole::Timestamp => schema::RoleType::Timestamp,
    }
}
