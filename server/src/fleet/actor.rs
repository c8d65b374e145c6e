//! Who asks, and what they may do.

use std::{collections::BTreeSet, net::IpAddr};

use wire::{ApiKeyId, OrgId, Permission, Role, UserId};

/// A person or script that proved who they are. Only [`Fleet::authenticate`](crate::Fleet::authenticate)
/// makes one, so holding one is the proof.
#[derive(Debug, Clone)]
pub struct Actor {
    pub(super) org_id: OrgId,
    pub(super) user_id: UserId,
    pub(super) role: Role,
    pub(super) permissions: BTreeSet<Permission>,
    pub(super) proof: Proof,
    pub(super) address: IpAddr,
}

/// How they proved it.
#[derive(Debug, Clone)]
pub(super) enum Proof {
    Session { id: String },
    ApiKey { id: ApiKeyId },
}

/// They may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Forbidden {
    #[error("this needs the permission `{0}`")]
    Lacking(Permission),
    #[error("an API key cannot do this; sign in as a person")]
    PeopleOnly,
    #[error("nobody grants or takes away a role above their own")]
    AboveOwnRole,
}

impl Actor {
    /// Passes if they may do what `permission` says.
    pub(super) fn require(&self, permission: Permission) -> Result<(), Forbidden> {
        if self.permissions.contains(&permission) {
            return Ok(());
        }
        Err(Forbidden::Lacking(permission))
    }

    /// Passes if a person, not an API key, asks, and may do what `permission` says.
    pub(super) fn require_in_person(&self, permission: Permission) -> Result<(), Forbidden> {
        match self.proof {
            Proof::Session { .. } => self.require(permission),
            Proof::ApiKey { .. } => Err(Forbidden::PeopleOnly),
        }
    }

    /// Passes if they may give `role` to somebody, or take it away. A key grants no more than it
    /// may do itself, so neither ownership nor a role that manages keys.
    pub(super) fn require_reach(&self, role: Role) -> Result<(), Forbidden> {
        let within_scopes = match self.proof {
            Proof::Session { .. } => true,
            Proof::ApiKey { .. } => self.covers(role),
        };
        if role <= self.role && within_scopes { Ok(()) } else { Err(Forbidden::AboveOwnRole) }
    }

    /// Whether they may do all that `role` grants.
    fn covers(&self, role: Role) -> bool {
        role.permissions().all(|permission| self.permissions.contains(&permission))
    }

    /// How the audit log names them.
    pub(super) fn label(&self) -> String {
        match &self.proof {
            Proof::Session { .. } => format!("user {}", self.user_id),
            Proof::ApiKey { id } => format!("api key {id} of user {}", self.user_id),
        }
    }
}
