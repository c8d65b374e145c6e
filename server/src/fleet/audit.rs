//! The audit seam: every event of security goes through [`record`], as a log line with the target
//! `audit` and dotted fields. Secrets never reach it.

use std::net::IpAddr;

use wire::OrgId;

use super::Actor;

/// One event.
#[derive(Debug)]
pub(super) struct Event<'a> {
    /// `noun.verb` in the past tense, e.g. `enroll_secret.created`.
    pub name: &'static str,
    pub org_id: Option<OrgId>,
    /// Who did it, as far as is known.
    pub actor: &'a str,
    /// What it was done to.
    pub subject: &'a str,
    pub address: IpAddr,
    /// `ok`, or why it was refused.
    pub outcome: &'a str,
}

/// Writes `event` down.
pub(super) fn record(event: &Event<'_>) {
    let Event { name, org_id, actor, subject, address, outcome } = event;
    tracing::info!(
        target: "audit",
        { event.name = name, org.id = org_id.map(tracing::field::display), actor, subject,
          client.address = %address, outcome },
        "{name} ({outcome})",
    );
}

impl Actor {
    /// Writes down that this actor did something to `subject`.
    pub(super) fn did(&self, name: &'static str, subject: impl ToString) {
        record(&Event {
            name,
            org_id: Some(self.org_id),
            actor: &self.label(),
            subject: &subject.to_string(),
            address: self.address,
            outcome: "ok",
        });
    }
}
