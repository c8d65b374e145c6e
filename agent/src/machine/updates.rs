//! When updates are looked for: once right after the start, then at intervals. osqueryd waits for
//! the first look, so that a broken one can be replaced before it runs, but not for long.

use std::time::Instant;

use super::{Action, Pace, pace::Dice};

/// The schedule of looking for updates.
#[derive(Debug)]
pub(super) struct Updates {
    step: Step,
    /// Until when osqueryd waits for the first look.
    early_until: Option<Instant>,
}

#[derive(Debug)]
enum Step {
    /// Updates are not for this device.
    Off,
    /// They are looked for at this time.
    Waiting(Instant),
    /// The outcome is awaited.
    Looking,
}

impl Updates {
    pub(super) fn new(wanted: bool, pace: &Pace, now: Instant) -> Self {
        if wanted {
            let early_until = Some(now + pace.early_update);
            Self { step: Step::Waiting(now), early_until }
        } else {
            Self { step: Step::Off, early_until: None }
        }
    }

    pub(super) fn timer(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.early_until.is_some_and(|until| until <= now) {
            self.early_until = None;
        }
        if matches!(self.step, Step::Waiting(at) if at <= now) {
            out.push(Action::LookForUpdates);
            self.step = Step::Looking;
        }
    }

    /// Notes that a look has come to its end, whatever it has found.
    pub(super) fn looked(&mut self, pace: &Pace, dice: &mut Dice, now: Instant) {
        if matches!(self.step, Step::Looking) {
            self.step = Step::Waiting(now + dice.jittered(pace.update));
            self.early_until = None;
        }
    }

    /// Whether osqueryd is to wait.
    pub(super) fn holds_osqueryd(&self) -> bool {
        self.early_until.is_some()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let own = match self.step {
            Step::Waiting(at) => Some(at),
            Step::Off | Step::Looking => None,
        };
        super::earlier(own, self.early_until)
    }
}
