//! When keys sign, and how long they are still believed: without clock, database or keys.

use jiff::{SignedDuration, Timestamp};

/// How long whoever checks tokens may keep the published keys. A key is published at least as long
/// before it signs.
pub const JWKS_MAX_AGE: SignedDuration = SignedDuration::from_mins(5);

/// The longest that a key is published before it signs.
const MAX_LEAD: SignedDuration = SignedDuration::from_hours(24);

/// The stages of a key's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyState {
    /// Published, signs nothing yet.
    Next,
    /// Signs.
    Active,
    /// Signs nothing any more; what it signed is still believed.
    Retiring,
    /// Nothing that it signed is believed.
    Gone,
}

impl KeyState {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Gone => "gone",
        }
    }
}

/// From when a key signs, and from when it is gone, once that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term {
    pub active_from: Timestamp,
    pub gone_at: Option<Timestamp>,
}

/// How keys follow one another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Succession {
    /// How long a key signs.
    pub rotation: SignedDuration,
    /// How long after its last signature a key is believed: the life of an access token.
    pub outlives: SignedDuration,
}

impl Term {
    pub(super) fn is_gone(&self, now: Timestamp) -> bool {
        self.gone_at.is_some_and(|gone| gone <= now)
    }
}

/// Which of `terms` signs at `now`: of those that have begun, the latest.
pub(super) fn active(terms: &[Term], now: Timestamp) -> Option<usize> {
    let begun = terms.iter().enumerate();
    let begun = begun.filter(|(_, term)| term.active_from <= now && !term.is_gone(now));
    begun.max_by_key(|(_, term)| term.active_from).map(|(index, _)| index)
}

/// The state of `terms[index]` at `now`.
pub(super) fn state(terms: &[Term], index: usize, now: Timestamp) -> KeyState {
    let term = &terms[index];
    if term.is_gone(now) {
        KeyState::Gone
    } else if term.active_from > now {
        KeyState::Next
    } else if active(terms, now) == Some(index) {
        KeyState::Active
    } else {
        KeyState::Retiring
    }
}

impl Succession {
    /// When the key that has to be made at `now` is to begin to sign; nothing when none has to be.
    pub(super) fn due(&self, terms: &[Term], now: Timestamp) -> Option<Timestamp> {
        let Some(active) = active(terms, now) else { return Some(now) };
        let has_next = terms.iter().any(|term| term.active_from > now && !term.is_gone(now));
        let handover = later(terms[active].active_from, self.rotation);
        let lead = MAX_LEAD.min(self.rotation / 2);
        (!has_next && later(now, lead) >= handover).then(|| handover.max(later(now, JWKS_MAX_AGE)))
    }

    /// When a key is gone whose successor begins at `handover`.
    pub(super) fn gone_after(&self, handover: Timestamp) -> Timestamp {
        later(handover, self.outlives)
    }
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SUCCESSION: Succession = Succession {
        rotation: SignedDuration::from_hours(24 * 30),
        outlives: SignedDuration::from_mins(15),
    };

    /// What the server does: makes the key that is due, and sets the end of those before it.
    fn tend(terms: &mut Vec<Term>, now: Timestamp) {
        let Some(active_from) = SUCCESSION.due(terms, now) else { return };
        for term in terms.iter_mut().filter(|term| term.gone_at.is_none()) {
            term.gone_at = Some(SUCCESSION.gone_after(active_from));
        }
        terms.push(Term { active_from, gone_at: None });
    }

    proptest! {
        #[test]
        fn somebody_always_signs_and_nothing_signed_is_lost_early(gaps in prop::collection::vec(0_i64..4_000_000, 1..60)) {
            let mut now = Timestamp::UNIX_EPOCH;
            let mut terms = Vec::new();
            let mut signed: Vec<(usize, Timestamp)> = Vec::new();
            for gap in gaps {
                now += SignedDuration::from_secs(gap);
                let known = terms.len();
                tend(&mut terms, now);
                prop_assert!(terms.len() <= known + 1);
                prop_assert_eq!(SUCCESSION.due(&terms, now), None);
                let states: Vec<_> = (0..terms.len()).map(|index| state(&terms, index, now)).collect();
                prop_assert_eq!(states.iter().filter(|state| **state == KeyState::Active).count(), 1);
                prop_assert!(states.iter().filter(|state| **state == KeyState::Next).count() <= 1);
                for (index, at) in &signed {
                    if now.duration_since(*at) < SUCCESSION.outlives {
                        prop_assert!(!terms[*index].is_gone(now));
                    }
                }
                signed.push((active(&terms, now).unwrap(), now));
            }
        }
    }

    #[test]
    fn a_key_goes_through_all_states_in_order() {
        let begin = Timestamp::UNIX_EPOCH;
        let mut terms = Vec::new();
        tend(&mut terms, begin);
        assert_eq!(state(&terms, 0, begin), KeyState::Active);
        let day = SignedDuration::from_hours(24);
        let eve = begin + day * 29;
        tend(&mut terms, eve);
        assert_eq!(
            (state(&terms, 0, eve), state(&terms, 1, eve)),
            (KeyState::Active, KeyState::Next)
        );
        let handover = begin + day * 30;
        let after = [KeyState::Retiring, KeyState::Active];
        assert_eq!([state(&terms, 0, handover), state(&terms, 1, handover)], after);
        let end = handover + SUCCESSION.outlives;
        assert_eq!(state(&terms, 0, end - SignedDuration::from_millis(1)), KeyState::Retiring);
        assert_eq!(state(&terms, 0, end), KeyState::Gone);
    }
}
