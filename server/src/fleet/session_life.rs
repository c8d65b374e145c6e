//! The life of a session: which state it is in and what may come next. No clock, no database.
//!
//! Every state is counted from the last *action* of its person. A client that polls by itself says
//! so, and keeps nothing alive.

use jiff::Timestamp;

pub use wire::api::SessionState;
use wire::api::SessionTimes;

use crate::config::auth::Timers;

/// Where in its life a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    /// The last action, or the sign-in if there was none yet.
    pub last_action: Timestamp,
    /// Whether there was an action since the sign-in.
    pub acted: bool,
    /// When it ends whatever its person does.
    pub ends_at: Timestamp,
}

/// What happens to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// Its person did something.
    Action,
    /// A client asked by itself.
    Poll,
    /// A client traded its refresh token.
    Refresh,
}

/// The session has run out; only signing in again helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session has run out; sign in again")]
pub struct RanOut;

impl Life {
    /// A session whose person has just proved who they are.
    pub(super) fn begin(now: Timestamp, ends_at: Timestamp) -> Self {
        Self { last_action: now, acted: false, ends_at }
    }

    pub(super) fn state(&self, timers: &Timers, now: Timestamp) -> SessionState {
        let quiet = now.duration_since(self.last_action);
        if quiet >= timers.timeout || now >= self.ends_at {
            SessionState::Expired
        } else if quiet >= timers.warning {
            SessionState::Warning
        } else if quiet >= timers.idle {
            SessionState::Idle
        } else if self.acted {
            SessionState::Active
        } else {
            SessionState::Authenticated
        }
    }

    /// The life after `event`. Whatever happens to one that has run out, it stays so.
    pub(super) fn after(
        self,
        event: Event,
        timers: &Timers,
        now: Timestamp,
    ) -> Result<Self, RanOut> {
        if self.state(timers, now) == SessionState::Expired {
            return Err(RanOut);
        }
        Ok(match event {
            Event::Action => Self { last_action: self.last_action.max(now), acted: true, ..self },
            Event::Poll | Event::Refresh => self,
        })
    }

    /// What its person is told.
    pub(super) fn times(&self, timers: &Timers, now: Timestamp) -> SessionTimes {
        let at = |quiet| {
            let time = self.last_action.checked_add(quiet).unwrap_or(Timestamp::MAX);
            time.min(self.ends_at)
        };
        SessionTimes {
            state: self.state(timers, now),
            idle_at: at(timers.idle),
            warn_at: at(timers.warning),
            expires_at: at(timers.timeout),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;
    use crate::config::auth::Session;

    /// The diagram: from which state to which, by time or by an event.
    const ARROWS: &[(SessionState, SessionState)] = {
        use SessionState::{Active, Authenticated, Expired, Idle, Warning};
        &[
            (Authenticated, Active),
            (Authenticated, Idle),
            (Active, Idle),
            (Idle, Active),
            (Idle, Warning),
            (Warning, Active),
            (Warning, Expired),
            // The absolute end comes in any state.
            (Authenticated, Expired),
            (Active, Expired),
            (Idle, Expired),
        ]
    };

    fn timers() -> Timers {
        Session::default().timers()
    }

    fn events() -> impl Strategy<Value = Vec<(i64, Event)>> {
        let event = prop_oneof![Just(Event::Action), Just(Event::Poll), Just(Event::Refresh)];
        prop::collection::vec((0_i64..2_000_000, event), 1..60)
    }

    proptest! {
        /// Rows: S18
        #[test]
        fn no_sequence_of_events_leaves_the_diagram_and_what_has_run_out_stays_so(events in events(), lasts in 1_i64..40_000) {
            let timers = timers();
            let mut now = Timestamp::UNIX_EPOCH;
            let mut life = Life::begin(now, now + SignedDuration::from_secs(lasts));
            let mut state = life.state(&timers, now);
            prop_assert_eq!(state, SessionState::Authenticated);
            for (millis, event) in events {
                // Time passes in steps, so that no state is jumped over.
                for _ in 0..(millis / 1000) {
                    now += SignedDuration::from_secs(1);
                    let next = life.state(&timers, now);
                    prop_assert!(next == state || ARROWS.contains(&(state, next)), "{state:?} → {next:?}");
                    state = next;
                }
                match life.after(event, &timers, now) {
                    Ok(after) => {
                        prop_assert_ne!(state, SessionState::Expired);
                        if event != Event::Action {
                            prop_assert_eq!(after, life);
                        }
                        life = after;
                    }
                    Err(RanOut) => prop_assert_eq!(state, SessionState::Expired),
                }
                let next = life.state(&timers, now);
                prop_assert!(next == state || ARROWS.contains(&(state, next)), "{state:?} → {next:?}");
                state = next;
            }
        }
    }

    /// Rows: S5, S6, S7, S8, S11
    /// Rows in part: S9, S10
    #[test]
    fn states_follow_one_another_to_the_second() {
        let (timers, begin) = (timers(), Timestamp::UNIX_EPOCH);
        let life = Life::begin(begin, begin + SignedDuration::from_hours(24 * 7));
        let life = life.after(Event::Action, &timers, begin).unwrap();
        let at = |seconds| life.state(&timers, begin + SignedDuration::from_secs(seconds));
        for (second, state) in [
            (0, SessionState::Active),
            (299, SessionState::Active),
            (300, SessionState::Idle),
            (1499, SessionState::Idle),
            (1500, SessionState::Warning),
            (1799, SessionState::Warning),
            (1800, SessionState::Expired),
        ] {
            assert_eq!(at(second), state, "{second}");
        }
        let late = begin + SignedDuration::from_secs(1799);
        let woken = life.after(Event::Action, &timers, late).unwrap();
        assert_eq!(woken.state(&timers, late), SessionState::Active);
        assert_eq!(
            life.after(Event::Poll, &timers, late).unwrap().state(&timers, late),
            SessionState::Warning
        );
    }
}
