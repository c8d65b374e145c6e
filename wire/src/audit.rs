//! The audit trail: what an event says, and the chain that shows whether one was changed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// One event, as `GET /audit` and `GET /audit/export` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEvent {
    /// Counts an organization's events from 1, without gaps.
    pub seq: u64,
    pub at: Timestamp,
    /// What happened, `noun.verb`, e.g. `api_key.created`.
    pub event: String,
    /// Who did it, as far as is known, e.g. `user 0190…`.
    pub actor: String,
    /// What it was done to.
    pub subject: String,
    /// `ok`, or why it was refused.
    pub outcome: String,
    /// Where it came from.
    pub address: String,
    pub user_agent: String,
    /// Method and path; empty when no request was the cause.
    pub route: String,
    /// The request's id, which the server's log and its reply name, too.
    pub request_id: String,
    /// What differs: before and after, counts. Null when there is no more to say.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub changes: Value,
    /// The `hash` of the event before; empty for the first.
    pub previous: String,
    /// [`AuditEvent::digest`] of all the others.
    pub hash: String,
}

/// Where an organization's trail ends, as `GET /audit/head` tells. Kept elsewhere, it shows later
/// whether the newest events were taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditHead {
    /// The newest event's number; 0 when there was none yet.
    pub seq: u64,
    pub hash: String,
}

/// What is wrong with a trail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenTrail {
    #[error("event {0} was changed: its hash is another")]
    Changed(u64),
    #[error("event {seq} does not follow event {before}")]
    Gap { before: u64, seq: u64 },
    #[error("event {0} does not continue the chain of the one before")]
    Forked(u64),
    #[error("the trail begins at event {0}, but does not say what came before")]
    NoBeginning(u64),
    #[error("the trail ends at event {last}, but went on to event {head}")]
    CutOff { last: u64, head: u64 },
    #[error("event {0} is not the one that the trail had")]
    Replaced(u64),
}

impl AuditEvent {
    /// SHA-256 (hex) of the compact JSON array of all fields but `hash`, in their order, beginning
    /// with `previous`.
    #[must_use]
    pub fn digest(&self) -> String {
        let fields = (
            (&self.previous, self.seq, self.at, &self.event, &self.actor, &self.subject),
            (&self.outcome, &self.address, &self.user_agent, &self.route, &self.request_id),
            &self.changes,
        );
        let text = serde_json::to_string(&fields).expect("texts and numbers are JSON");
        hex(&Sha256::digest(text.as_bytes()))
    }
}

/// Checks events one by one, in their order. The oldest may be gone: the first says what it follows.
#[derive(Debug, Clone, Default)]
pub struct TrailCheck {
    last: Option<AuditHead>,
}

impl TrailCheck {
    /// Passes if `event` is intact and follows the one before.
    pub fn take(&mut self, event: &AuditEvent) -> Result<(), BrokenTrail> {
        if event.digest() != event.hash {
            return Err(BrokenTrail::Changed(event.seq));
        }
        match &self.last {
            Some(last) if event.seq != last.seq + 1 => {
                return Err(BrokenTrail::Gap { before: last.seq, seq: event.seq });
            }
            Some(last) if event.previous != last.hash => {
                return Err(BrokenTrail::Forked(event.seq));
            }
            None if (event.seq == 1) != event.previous.is_empty() => {
                return Err(BrokenTrail::NoBeginning(event.seq));
            }
            Some(_) | None => {}
        }
        self.last = Some(AuditHead { seq: event.seq, hash: event.hash.clone() });
        Ok(())
    }

    /// Where the events taken so far end.
    #[must_use]
    pub fn end(&self) -> AuditHead {
        self.last.clone().unwrap_or(AuditHead { seq: 0, hash: String::new() })
    }

    /// Passes if the trail goes at least to `head`, which was told earlier, and `head` was the last
    /// event taken when their numbers are the same.
    pub fn reaches(&self, head: &AuditHead) -> Result<(), BrokenTrail> {
        let end = self.end();
        if end.seq < head.seq {
            return Err(BrokenTrail::CutOff { last: end.seq, head: head.seq });
        }
        if end.seq == head.seq && end.hash != head.hash {
            return Err(BrokenTrail::Replaced(head.seq));
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn trail(length: u64) -> Vec<AuditEvent> {
        let mut previous = String::new();
        (1..=length)
            .map(|seq| {
                let mut event = AuditEvent {
                    seq,
                    at: "2026-03-01T12:00:00Z".parse().unwrap(),
                    event: "team.created".to_owned(),
                    actor: "user 1".to_owned(),
                    subject: format!("team {seq}"),
                    outcome: "ok".to_owned(),
                    address: "192.0.2.1".to_owned(),
                    user_agent: String::new(),
                    route: "POST /teams".to_owned(),
                    request_id: String::new(),
                    changes: json!({"name": "Lab"}),
                    previous: previous.clone(),
                    hash: String::new(),
                };
                event.hash = event.digest();
                previous.clone_from(&event.hash);
                event
            })
            .collect()
    }

    fn check(events: &[AuditEvent]) -> Result<TrailCheck, BrokenTrail> {
        let mut check = TrailCheck::default();
        events.iter().try_for_each(|event| check.take(event))?;
        Ok(check)
    }

    #[test]
    fn a_whole_trail_and_its_newer_half_pass() {
        let events = trail(6);
        assert_eq!(check(&events).unwrap().end().seq, 6);
        assert!(check(&events[3..]).is_ok());
        assert!(check(&[]).is_ok());
    }

    #[test]
    fn every_tampering_is_named() {
        let events = trail(4);
        let changed = |index: usize, change: fn(&mut AuditEvent)| {
            let mut events = events.clone();
            change(&mut events[index]);
            check(&events).unwrap_err()
        };
        assert_eq!(changed(1, |event| event.actor.push('x')), BrokenTrail::Changed(2));
        assert_eq!(changed(2, |event| event.changes = json!(null)), BrokenTrail::Changed(3));
        let rehashed = changed(1, |event| {
            event.outcome.push('x');
            event.hash = event.digest();
        });
        assert_eq!(rehashed, BrokenTrail::Forked(3));
        let without = [events[0].clone(), events[2].clone()];
        assert_eq!(check(&without).unwrap_err(), BrokenTrail::Gap { before: 1, seq: 3 });
        let cut = check(&events[..3]).unwrap();
        let head = check(&events).unwrap().end();
        assert_eq!(cut.reaches(&head), Err(BrokenTrail::CutOff { last: 3, head: 4 }));
        let other = AuditHead { hash: "0".to_owned(), ..head };
        assert_eq!(check(&events).unwrap().reaches(&other), Err(BrokenTrail::Replaced(4)));
    }
}
