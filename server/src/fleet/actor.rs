//! Who asks, and what they may do.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::Timestamp;
use wire::{ApiKeyId, OrgId, Permission, RoleName, TeamId, UserId, api::ApiKeyKind};

use super::{
    StoreError, limiter::network_of, networks::Networks, session_life::Life, store::OrgStore,
};
use crate::config::auth::{IpBinding, Session as Rules};

/// A person or script that proved who they are. Only [`Fleet::authenticate`](crate::Fleet::authenticate)
/// makes one, so holding one is the proof.
#[derive(Debug, Clone)]
pub struct Actor {
    pub(super) org_id: OrgId,
    /// The person; of a service's key, its own id.
    pub(super) user_id: UserId,
    pub(super) rights: Rights,
    pub(super) proof: Proof,
    pub(super) address: IpAddr,
    /// Where the organization lets them ask from.
    pub(super) networks: Networks,
}

/// What somebody may do at this moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Rights {
    /// In the whole organization.
    pub everywhere: BTreeSet<Permission>,
    /// In teams besides.
    pub in_teams: BTreeMap<TeamId, BTreeSet<Permission>>,
}

/// Where somebody may do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    Everywhere,
    /// In these teams, at least one.
    Teams(BTreeSet<TeamId>),
}

/// How they proved it.
#[derive(Debug, Clone)]
pub(super) enum Proof {
    Session(SessionProof),
    ApiKey {
        id: ApiKeyId,
        kind: ApiKeyKind,
        /// How many requests a minute it may send, where that is its own.
        requests_per_minute: Option<u32>,
    },
}

/// A session, as far as it matters to what its person may do.
#[derive(Debug, Clone)]
pub(super) struct SessionProof {
    pub id: String,
    pub life: Life,
    /// When its person last showed a password, and from where.
    pub authenticated_at: Timestamp,
    pub authenticated_from: String,
    /// How, as `amr` has it.
    pub methods: String,
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
    /// Allowed to those who showed their password a moment ago, from where they are.
    #[error("show your password once more: POST /auth/step-up")]
    StepUp,
    #[error("the organization does not let anybody in from {0}")]
    Network(IpAddr),
}

impl Rights {
    /// What a person may do who has `role` in the organization, and roles in teams.
    pub(super) async fn of(
        org: &mut OrgStore,
        user_id: UserId,
        role: &RoleName,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            everywhere: org.role_permissions(role).await?.unwrap_or_default(),
            in_teams: org.team_permissions(user_id).await?,
        })
    }

    /// Those, in the whole organization.
    pub(super) fn everywhere(permissions: BTreeSet<Permission>) -> Self {
        Self { everywhere: permissions, in_teams: BTreeMap::new() }
    }

    /// As much of them as `scopes` allow.
    pub(super) fn within(mut self, scopes: &BTreeSet<Permission>) -> Self {
        self.everywhere.retain(|permission| scopes.contains(permission));
        for permissions in self.in_teams.values_mut() {
            permissions.retain(|permission| scopes.contains(permission));
        }
        self
    }

    /// Where `permission` is granted, if anywhere.
    fn reach(&self, permission: Permission) -> Option<Reach> {
        if self.everywhere.contains(&permission) {
            return Some(Reach::Everywhere);
        }
        let teams: BTreeSet<TeamId> = self
            .in_teams
            .iter()
            .filter(|(_, permissions)| permissions.contains(&permission))
            .map(|(team, _)| *team)
            .collect();
        if teams.is_empty() { None } else { Some(Reach::Teams(teams)) }
    }
}

impl Reach {
    /// For queries: `*`, or the teams' ids, separated by commas.
    pub(super) fn as_filter(&self) -> String {
        match self {
            Self::Everywhere => "*".to_owned(),
            Self::Teams(teams) => {
                teams.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
            }
        }
    }

    /// Whether it covers what belongs to `team`; what belongs to none is everywhere alone.
    pub(super) fn covers(&self, team: Option<TeamId>) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Teams(teams) => team.is_some_and(|team| teams.contains(&team)),
        }
    }
}

impl Actor {
    /// Passes if they may do what `permission` says in the whole organization.
    pub(super) fn require(&self, permission: Permission) -> Result<(), Forbidden> {
        if self.rights.everywhere.contains(&permission) {
            return Ok(());
        }
        Err(Forbidden::Lacking(permission))
    }

    /// Passes if they ask from where the organization lets them.
    pub fn require_network(&self) -> Result<(), Forbidden> {
        if self.networks.admit(self.address) {
            Ok(())
        } else {
            Err(Forbidden::Network(self.address))
        }
    }

    /// Where they may do what `permission` says; refuses if nowhere.
    pub(super) fn reach(&self, permission: Permission) -> Result<Reach, Forbidden> {
        self.rights.reach(permission).ok_or(Forbidden::Lacking(permission))
    }

    /// Passes if they may do what `permission` says to what belongs to `team`, or to no team.
    pub(super) fn require_in(
        &self,
        permission: Permission,
        team: Option<TeamId>,
    ) -> Result<(), Forbidden> {
        let covered = self.reach(permission)?.covers(team);
        if covered { Ok(()) } else { Err(Forbidden::Lacking(permission)) }
    }

    /// Passes if a person, not an API key, asks, and may do what `permission` says.
    pub(super) fn require_in_person(&self, permission: Permission) -> Result<(), Forbidden> {
        match self.proof {
            Proof::Session(_) => self.require(permission),
            Proof::ApiKey { .. } => Err(Forbidden::PeopleOnly),
        }
    }

    /// Passes if a person asks who showed their password lately, and from the same network: for
    /// what would make a stolen session permanent.
    pub(super) fn require_recent_login(
        &self,
        rules: &Rules,
        now: Timestamp,
    ) -> Result<(), Forbidden> {
        let Proof::Session(session) = &self.proof else { return Err(Forbidden::PeopleOnly) };
        let age = now.duration_since(session.authenticated_at);
        if age < rules.recent_login.as_signed() {
            self.require_home(rules)
        } else {
            Err(Forbidden::StepUp)
        }
    }

    /// Passes if a person asks from the network that they showed their password from: for what
    /// takes the password itself, so that it does not matter how long ago that was.
    pub(super) fn require_home(&self, rules: &Rules) -> Result<(), Forbidden> {
        let Proof::Session(session) = &self.proof else { return Err(Forbidden::PeopleOnly) };
        if rules.ip_binding == IpBinding::Off || self.is_at_home(session) {
            Ok(())
        } else {
            Err(Forbidden::StepUp)
        }
    }

    /// The same of a person. An API key signs in nowhere, and may what its scopes say.
    pub(super) fn require_recent_login_of_people(
        &self,
        rules: &Rules,
        now: Timestamp,
    ) -> Result<(), Forbidden> {
        match self.proof {
            Proof::Session(_) => self.require_recent_login(rules, now),
            Proof::ApiKey { .. } => Ok(()),
        }
    }

    /// Whether they ask from the network that they signed in from.
    pub(super) fn is_at_home(&self, session: &SessionProof) -> bool {
        let home = session.authenticated_from.parse().map(network_of);
        home.is_ok_and(|home| home == network_of(self.address))
    }

    /// Passes if they may give somebody what `permissions` allow, or take it away: nobody grants
    /// more than they may do themselves, so no key makes owners or people who manage keys.
    pub(super) fn require_all(&self, permissions: &BTreeSet<Permission>) -> Result<(), Forbidden> {
        let covered = permissions.is_subset(&self.rights.everywhere);
        if covered { Ok(()) } else { Err(Forbidden::AboveOwnRole) }
    }

    /// Whom limits count: a person or a key.
    pub(super) fn principal(&self) -> String {
        match &self.proof {
            Proof::Session(_) => format!("user {}", self.user_id),
            Proof::ApiKey { id, .. } => format!("key {id}"),
        }
    }

    /// How many requests a minute are theirs, where that is not what anybody has.
    pub(super) fn requests_per_minute(&self) -> Option<u32> {
        match &self.proof {
            Proof::Session(_) => None,
            Proof::ApiKey { requests_per_minute, .. } => *requests_per_minute,
        }
    }

    /// How the audit log names them.
    pub(super) fn label(&self) -> String {
        match &self.proof {
            Proof::Session(_) => format!("user {}", self.user_id),
            Proof::ApiKey { id, kind: ApiKeyKind::Service, .. } => format!("service key {id}"),
            Proof::ApiKey { id, kind: ApiKeyKind::Person, .. } => {
                format!("api key {id} of user {}", self.user_id)
            }
        }
    }
}

/// The session of who asks. An API key is nobody who could be asked.
pub(super) fn in_person(actor: &Actor) -> Result<&SessionProof, Forbidden> {
    match &actor.proof {
        Proof::Session(session) => Ok(session),
        Proof::ApiKey { .. } => Err(Forbidden::PeopleOnly),
    }
}
