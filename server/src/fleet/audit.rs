//! The audit trail: every event of security becomes a row of its organization's chain, and a log
//! line with the target `audit` once it is kept. Secrets never reach it.
//!
//! What changes something is recorded in the change's own transaction, which appends it when it is
//! committed: [`Fleet::record_in`]. What changes nothing (a refusal) is [`Fleet::record`]ed by itself.

use std::{fmt::Write as _, net::IpAddr, sync::OnceLock};

use serde_json::Value;
use uuid::Uuid;
use wire::{
    OrgId, Permission,
    audit::{AuditEvent, AuditHead},
};

use super::{
    Access, Actor, Fleet, StoreError,
    errors::ManageError,
    store::{AuditFilter, OrgStore},
};

pub use super::store::Trail;

macro_rules! event_kinds {
    ($($name:ident = $text:literal,)*) => {
        /// Every kind of event there is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum EventKind {
            $(#[doc = $text] $name,)*
        }

        impl EventKind {
            /// All of them, sorted by text.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// `noun.verb`, in the past tense.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

event_kinds! {
    AccessRefused = "access.refused",
    AccessTokenRevoked = "access_token.revoked",
    AccountAskedFor = "account.asked_for",
    AccountCreated = "account.created",
    AccountEmailChanged = "account.email_changed",
    AccountEmailRefolded = "account.email_refolded",
    AccountMailAskedFor = "account.mail_asked_for",
    ApiKeyCreated = "api_key.created",
    ApiKeyRevoked = "api_key.revoked",
    ApiKeyRotated = "api_key.rotated",
    ApiKeyUsed = "api_key.used",
    ApiKeyUsedFromNewAddress = "api_key.used_from_new_address",
    DeviceAccepted = "device.accepted",
    DeviceCloneSuspected = "device.clone_suspected",
    DeviceCrashLooped = "device.crash_looped",
    DeviceDebugChanged = "device.debug_changed",
    DeviceDecommissioned = "device.decommissioned",
    DeviceDeleted = "device.deleted",
    DeviceEnrollment = "device.enrollment",
    DeviceKeyReplaced = "device.key_replaced",
    DeviceRefetchAskedFor = "device.refetch_asked_for",
    DeviceRejected = "device.rejected",
    DeviceTagged = "device.tagged",
    DeviceUpdateChannelsChanged = "device.update_channels_changed",
    DeviceLoginDecided = "device_login.decided",
    EnrollSecretCreated = "enroll_secret.created",
    EnrollSecretRevoked = "enroll_secret.revoked",
    InvitationAccepted = "invitation.accepted",
    InvitationWithdrawn = "invitation.withdrawn",
    OrganizationDeleted = "organization.deleted",
    OrganizationKeyRulesChanged = "organization.key_rules_changed",
    OrganizationNetworksChanged = "organization.networks_changed",
    OrganizationRenamed = "organization.renamed",
    PasswordChanged = "password.changed",
    PasswordReset = "password.reset",
    RoleChanged = "role.changed",
    RoleCreated = "role.created",
    RoleDeleted = "role.deleted",
    ServerSetUp = "server.set_up",
    SessionClientChanged = "session.client_changed",
    SessionEnded = "session.ended",
    SessionLogin = "session.login",
    SessionRefreshTokenReused = "session.refresh_token_reused",
    SessionSteppedUp = "session.stepped_up",
    SessionStolen = "session.stolen",
    SessionSwitched = "session.switched",
    SessionTokensIssued = "session.tokens_issued",
    TeamCreated = "team.created",
    TeamDeleted = "team.deleted",
    TeamRenamed = "team.renamed",
    TeamRoleChanged = "team_role.changed",
    UserCreated = "user.created",
    UserDeleted = "user.deleted",
    UserDisabled = "user.disabled",
    UserEnabled = "user.enabled",
    UserInvited = "user.invited",
    UserRoleChanged = "user.role_changed",
}

/// One event.
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub name: EventKind,
    /// Who did it, as far as is known.
    pub actor: &'a str,
    /// What it was done to.
    pub subject: &'a str,
    pub address: IpAddr,
    /// `ok`, or why it was refused.
    pub outcome: &'a str,
    /// What differs, before and after; [`Value::Null`] when there is no more to say.
    pub changes: Value,
}

/// The request under way: what an event says of it.
#[derive(Debug, Default)]
pub struct Request {
    /// Its id, as the log and the reply have it.
    pub id: String,
    pub user_agent: String,
    /// Method and path, without secrets.
    pub route: String,
    asker: OnceLock<(OrgId, String, IpAddr)>,
}

tokio::task_local! {
    static REQUEST: Request;
}

/// The chain of what happens before it is known which organization it concerns.
const SERVER: OrgId = OrgId(Uuid::nil());

/// The longest text of an event, in characters.
const MAX_TEXT: usize = 512;

impl Request {
    /// A request of nobody yet.
    #[must_use]
    pub fn new(id: String, user_agent: String, route: String) -> Self {
        Self { id, user_agent, route, asker: OnceLock::new() }
    }

    /// Does `work`; whatever is recorded meanwhile says that it was for this request.
    pub async fn during<T>(self, work: impl Future<Output = T>) -> T {
        REQUEST.scope(self, work).await
    }
}

impl Fleet {
    /// Has `event` appended to the chain of `org`'s organization when the transaction is committed.
    pub(super) fn record_in(&self, org: &mut OrgStore, event: &Event<'_>) {
        let (user_agent, route, request_id) = REQUEST
            .try_with(|request| {
                (plain(&request.user_agent), plain(&request.route), request.id.clone())
            })
            .unwrap_or_default();
        org.record_event(AuditEvent {
            seq: 0,
            at: self.now(),
            event: event.name.as_str().to_owned(),
            actor: plain(event.actor),
            subject: plain(event.subject),
            outcome: plain(event.outcome),
            address: event.address.to_string(),
            user_agent,
            route,
            request_id,
            changes: event.changes.clone(),
            previous: String::new(),
            hash: String::new(),
        });
    }

    /// Appends `event` to an organization's chain, by itself. Where it is not known whose event it
    /// is, it is the only organization's if there is just one, and else the server's.
    pub(super) async fn record(
        &self,
        org_id: Option<OrgId>,
        event: &Event<'_>,
    ) -> Result<(), StoreError> {
        let org_id = match org_id {
            Some(org_id) => org_id,
            None => self.0.store.only_organization().await?.unwrap_or(SERVER),
        };
        let mut org = self.0.store.org(org_id, Access::Note).await?;
        self.record_in(&mut org, event);
        org.commit().await
    }

    /// Deletes events that are kept no longer, the server's own too, and those of organizations that
    /// were deleted, who are forgotten with the last of them.
    pub(super) async fn sweep_audit(&self) -> Result<(), StoreError> {
        let Some(before) = self.0.config.audit.kept_since(self.now()) else { return Ok(()) };
        for trail in self.trails().await? {
            let mut org = self.0.store.org(trail.org_id, Access::Note).await?;
            org.sweep_audit(before).await?;
            if trail.ended_at.is_some() {
                org.forget_empty_trail().await?;
            }
            org.commit().await?;
        }
        Ok(())
    }

    /// Whose trails there are: the server's own, and those of organizations, deleted ones too. For
    /// the operator of the server: no route leads here.
    pub async fn trails(&self) -> Result<Vec<Trail>, StoreError> {
        let own = Trail { org_id: SERVER, name: "the server itself".to_owned(), ended_at: None };
        Ok([own].into_iter().chain(self.0.store.trails().await?).collect())
    }

    /// Events of any trail, oldest first: those after number `after`, at most `limit`. For the
    /// operator of the server: no route leads here.
    pub async fn trail_events(
        &self,
        org_id: Option<OrgId>,
        (after, limit): (u64, u32),
    ) -> Result<Vec<AuditEvent>, StoreError> {
        let mut org = self.0.store.org(org_id.unwrap_or(SERVER), Access::Read).await?;
        let filter = AuditFilter { after, event: String::new(), limit };
        let events = org.audit_events(&filter).await?;
        org.commit().await?;
        Ok(events)
    }

    /// Records that the person or key behind the request under way may not do what they asked.
    pub async fn record_refusal(&self, why: &str) -> Result<(), StoreError> {
        let asker = REQUEST.try_with(|request| {
            let (org_id, label, address) = request.asker.get()?;
            Some((*org_id, label.clone(), *address, request.route.clone()))
        });
        let Ok(Some((org_id, label, address, route))) = asker else { return Ok(()) };
        let event = Event {
            name: EventKind::AccessRefused,
            actor: &label,
            subject: &route,
            address,
            outcome: why,
            changes: Value::Null,
        };
        self.record(Some(org_id), &event).await
    }

    /// A page of the organization's events, oldest first: those after number `after`, of this kind
    /// if one is named.
    pub async fn audit_events(
        &self,
        actor: &Actor,
        (after, limit): (u64, u32),
        event: Option<String>,
    ) -> Result<Vec<AuditEvent>, ManageError> {
        actor.require(Permission::AuditRead)?;
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let event = event.unwrap_or_default().replace('\0', "");
        let events = org.audit_events(&AuditFilter { after, event, limit }).await?;
        org.commit().await?;
        Ok(events)
    }

    /// Where the organization's trail ends.
    pub async fn audit_head(&self, actor: &Actor) -> Result<AuditHead, ManageError> {
        actor.require(Permission::AuditRead)?;
        let mut org = self.0.store.org(actor.org_id, Access::Read).await?;
        let head = org.audit_head().await?;
        org.commit().await?;
        Ok(head)
    }
}

/// A log line alone, for what is refused because there was too much of it: a row for each would
/// let anybody fill the database.
pub(super) fn log_limited(name: EventKind, address: IpAddr) {
    log_refused(name, address, "limited");
}

/// The same, for what is refused again and again.
pub(super) fn log_refused(name: EventKind, address: IpAddr, outcome: &str) {
    let name = name.as_str();
    tracing::info!(
        target: "audit",
        { event.name = name, client.address = %address, outcome },
        "{name} ({outcome})",
    );
}

impl Actor {
    /// Remembers that the request under way is this actor's.
    pub(super) fn note_asking(&self) {
        let asker = (self.org_id, self.label(), self.address);
        // Without a request (in a test, at the console) there is nobody to note.
        let _ = REQUEST.try_with(|request| request.asker.set(asker).is_ok());
    }
}

impl Fleet {
    /// Records that `actor` did something to `subject`, in the transaction that did it.
    pub(super) fn record_deed(
        &self,
        org: &mut OrgStore,
        actor: &Actor,
        (name, subject): (EventKind, String),
        changes: Value,
    ) {
        let event = Event {
            name,
            actor: &actor.label(),
            subject: &subject,
            address: actor.address,
            outcome: "ok",
            changes,
        };
        self.record_in(org, &event);
    }
}

/// `text` with control characters written as `\u{…}`, so that a line of the log stays one and a
/// terminal is told nothing; cut to 512 characters.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars().take(MAX_TEXT) {
        if letter.is_control() {
            let _ = write!(plain, "{}", letter.escape_unicode());
        } else {
            plain.push(letter);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible() {
        assert_eq!(plain("a\r\nb\u{1b}[31m\0"), "a\\u{d}\\u{a}b\\u{1b}[31m\\u{0}");
        assert_eq!(plain("Jürgen 🦀"), "Jürgen 🦀");
        assert_eq!(plain(&"x".repeat(2000)).len(), MAX_TEXT);
    }

    #[test]
    fn names_are_sorted_nouns_and_verbs() {
        let names: Vec<_> = EventKind::ALL.iter().map(|name| name.as_str()).collect();
        assert!(names.is_sorted());
        assert!(names.iter().all(|name| name.split('.').count() == 2), "{names:?}");
    }
}
