//! Who somebody is, in words: for `/auth/user`, and with tokens that were just made.

use std::collections::{BTreeMap, BTreeSet};

use wire::{
    ApiKeyId, OrgId, Permission, TeamId,
    api::{ApiKeyKind, Checked, CurrentUser},
};

use super::{
    Access, Actor, Fleet, StoreError,
    actor::{Proof, Rights},
    errors::ManageError,
    sessions::life_of,
    store::{Member, OrgStore, SessionRow},
};

impl Fleet {
    /// Who the actor is, and what they may do.
    pub async fn current_user(&self, actor: &Actor) -> Result<CurrentUser, ManageError> {
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        if let Proof::ApiKey { id, kind: ApiKeyKind::Service, .. } = actor.proof {
            return self.current_service(org, actor, id).await;
        }
        let member = org.member(actor.user_id).await?.ok_or(ManageError::Unknown("user"))?;
        let mut current = self.describe(&mut org, (actor.org_id, member), None).await?;
        org.commit().await?;
        match &actor.proof {
            Proof::ApiKey { id, .. } => {
                current.api_key_id = Some(*id);
                current.permissions = actor.rights.everywhere.iter().copied().collect();
                current.team_permissions = listed(&actor.rights.in_teams);
            }
            Proof::Session(session) => {
                let timers = self.0.config.auth.session.timers();
                current.mfa = shows_second_factor(&session.methods);
                current.session = Some(session.life.times(&timers, self.now()));
            }
        }
        Ok(current)
    }

    /// The same in short, as it is known without asking the database once more: for whoever asks about
    /// each request of others.
    #[must_use]
    pub fn check(&self, actor: &Actor) -> Checked {
        Checked {
            id: actor.user_id,
            org_id: actor.org_id,
            permissions: actor.rights.everywhere.iter().copied().collect(),
            team_permissions: listed(&actor.rights.in_teams),
            api_key_id: match &actor.proof {
                Proof::ApiKey { id, .. } => Some(*id),
                Proof::Session(_) => None,
            },
        }
    }

    /// The same for a service's key, which is nobody's.
    async fn current_service(
        &self,
        mut org: OrgStore,
        actor: &Actor,
        id: ApiKeyId,
    ) -> Result<CurrentUser, ManageError> {
        let row = org.api_key(&id.to_string()).await?.ok_or(ManageError::Unknown("API key"))?;
        let organization = org.organization_name().await?;
        org.commit().await?;
        Ok(CurrentUser {
            id: actor.user_id,
            email: String::new(),
            email_verified: false,
            mfa: false,
            name: row.key.name,
            org_id: actor.org_id,
            organization,
            role: "service".parse().expect("it is short and plain"),
            permissions: actor.rights.everywhere.iter().copied().collect(),
            team_permissions: BTreeMap::new(),
            api_key_id: Some(id),
            session: None,
        })
    }

    /// A person in words, with how `session` stands.
    pub(super) async fn describe(
        &self,
        org: &mut OrgStore,
        (org_id, member): (OrgId, Member),
        session: Option<&SessionRow>,
    ) -> Result<CurrentUser, StoreError> {
        let Member { user, email_verified, organization } = member;
        let rights = Rights::of(org, user.id, &user.role).await?;
        let timers = self.0.config.auth.session.timers();
        Ok(CurrentUser {
            id: user.id,
            email: user.email,
            email_verified,
            mfa: session.is_some_and(|session| shows_second_factor(&session.methods)),
            name: user.name,
            org_id,
            organization,
            role: user.role,
            permissions: rights.everywhere.into_iter().collect(),
            team_permissions: listed(&rights.in_teams),
            api_key_id: None,
            session: session.map(|session| life_of(session).times(&timers, self.now())),
        })
    }
}

/// Whether more than one factor was shown, in the words of RFC 8176.
fn shows_second_factor(methods: &str) -> bool {
    methods.split_whitespace().any(|method| method == "mfa")
}

fn listed(in_teams: &BTreeMap<TeamId, BTreeSet<Permission>>) -> BTreeMap<TeamId, Vec<Permission>> {
    in_teams
        .iter()
        .map(|(team, permissions)| (*team, permissions.iter().copied().collect()))
        .collect()
}
