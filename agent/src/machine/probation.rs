//! A new version of the agent has to reach the server within a time. If it does not, the version
//! before it is put to the same test: only where that one does better was the new one to blame.

use std::time::Instant;

use super::{Action, Pace};

/// Whose fault it would be if the server were not reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Probation {
    /// Nobody's: the version that runs has proven itself before.
    #[default]
    None,
    /// That of the version that runs, which is new.
    Own,
    /// That of the version before it here, which did not reach the server in time.
    Suspect,
}

/// A probation and its end.
#[derive(Debug)]
pub(super) struct Test {
    probation: Probation,
    until: Instant,
}

impl Test {
    pub(super) fn new(probation: Probation, pace: &Pace, now: Instant) -> Self {
        Self { probation, until: now + pace.health_window }
    }

    /// The server was reached.
    pub(super) fn passed(&mut self, out: &mut Vec<Action>) {
        match std::mem::take(&mut self.probation) {
            Probation::None => {}
            Probation::Own => out.push(Action::ProveOrbit),
            Probation::Suspect => out.push(Action::CondemnOrbit),
        }
    }

    /// Tells whether another version must take over, because time is up for this one.
    #[must_use]
    pub(super) fn timer(&mut self, now: Instant, out: &mut Vec<Action>) -> bool {
        if self.until > now {
            return false;
        }
        match std::mem::take(&mut self.probation) {
            Probation::None => false,
            Probation::Own => {
                out.push(Action::RevertOrbit);
                true
            }
            Probation::Suspect => {
                out.push(Action::AcquitOrbit);
                false
            }
        }
    }

    /// An orderly end is not the new version's fault: the start does not count.
    pub(super) fn broken_off(&mut self, out: &mut Vec<Action>) {
        if std::mem::take(&mut self.probation) == Probation::Own {
            out.push(Action::ForgiveStart);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.probation != Probation::None).then_some(self.until)
    }
}
