//! What a repository holds, and until when.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tough::schema::Root;

use super::{authority::Authority, published::Published};
use crate::keys::TufRole;

/// What a repository holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Root, targets, delegated roles, snapshot, timestamp.
    pub roles: Vec<RoleStatus>,
    /// Every target, sorted by name.
    pub targets: Vec<TargetStatus>,
}

/// The state of one role's metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoleStatus {
    /// Which role: one of TUF's, or a delegated one.
    pub role: String,
    /// The version of its metadata.
    pub version: u64,
    /// Until when it is valid.
    pub expires: Timestamp,
    /// Whether that is far enough away.
    pub state: Freshness,
    /// How many signatures it needs.
    pub threshold: u64,
    /// The ids of the keys that may sign it, in lower-case hexadecimal.
    pub keys: Vec<String>,
    /// What a delegated role may speak for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

/// How close the end of a validity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Freshness {
    /// Nothing to do.
    Valid,
    /// Inside the warning window: sign anew.
    Expiring,
    /// Readers refuse it.
    Expired,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetStatus {
    /// Its name, e.g. `orbit/linux/stable/orbit`.
    pub name: String,
    /// The version of the component, if the publisher told it.
    pub version: Option<String>,
    /// In bytes.
    #[serde(rename = "size")]
    pub length: u64,
    /// In lower-case hexadecimal.
    pub sha256: String,
    /// The role that lists it.
    pub role: String,
}

/// The state of everything in `published`.
pub(super) fn of(published: &Published, now: Timestamp) -> Status {
    Status { roles: roles(published, now), targets: targets(published) }
}

fn roles(published: &Published, now: Timestamp) -> Vec<RoleStatus> {
    let top = |role: TufRole, version, expires| {
        let authority = Authority::of_root(&published.root, role);
        role_status((role.as_str(), version, expires), &authority, now)
    };
    let Root { version, expires, .. } = published.root;
    let mut roles = vec![top(TufRole::Root, version.get(), expires)];
    let targets = &published.targets;
    roles.push(top(TufRole::Targets, targets.version.get(), targets.expires));
    let delegations = targets.delegations.as_ref();
    for role in delegations.map(|it| it.roles.as_slice()).unwrap_or_default() {
        let Some(targets) = published.delegated.get(&role.name) else { continue };
        let authority = Authority::of_delegation(delegations, &role.name);
        let about = (role.name.as_str(), targets.version.get(), targets.expires);
        let paths = super::patterns::texts(&role.paths);
        roles.push(RoleStatus { paths, ..role_status(about, &authority, now) });
    }
    let snapshot = &published.snapshot;
    roles.push(top(TufRole::Snapshot, snapshot.version.get(), snapshot.expires));
    let timestamp = &published.timestamp;
    roles.push(top(TufRole::Timestamp, timestamp.version.get(), timestamp.expires));
    roles
}

fn role_status(
    (role, version, expires): (&str, u64, Timestamp),
    authority: &Authority,
    now: Timestamp,
) -> RoleStatus {
    RoleStatus {
        role: role.to_owned(),
        version,
        expires,
        state: freshness(expires, warning_window(role), now),
        threshold: authority.threshold,
        keys: authority.keys.keys().cloned().collect(),
        paths: Vec::new(),
    }
}

fn freshness(expires: Timestamp, window: SignedDuration, now: Timestamp) -> Freshness {
    if expires <= now {
        Freshness::Expired
    } else if expires.duration_since(now) <= window {
        Freshness::Expiring
    } else {
        Freshness::Valid
    }
}

/// How long before its end a role's metadata is to be signed anew. Offline keys take weeks to bring
/// together; the others are at hand, and whoever renews them at half of their life never sees this.
fn warning_window(role: &str) -> SignedDuration {
    let days = match TufRole::named(role) {
        Some(TufRole::Root) => 60,
        Some(TufRole::Targets) | None => 30,
        Some(TufRole::Snapshot) => 10,
        Some(TufRole::Timestamp) => 3,
    };
    SignedDuration::from_hours(24 * days)
}

fn targets(published: &Published) -> Vec<TargetStatus> {
    let listed = published.roles().flat_map(|(role, targets)| {
        targets.names().filter_map(move |name| {
            let target = targets.get(name)?;
            Some(TargetStatus {
                name: name.to_owned(),
                version: target.custom.get("version").and_then(|it| it.as_str()).map(str::to_owned),
                length: target.length,
                sha256: hex::encode(&target.hashes.sha256),
                role: role.to_owned(),
            })
        })
    });
    let mut targets: Vec<_> = listed.collect();
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    targets
}
