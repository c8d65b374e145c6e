//! On the way out: osqueryd is given time to end, then none.

use std::time::Instant;

use super::{Action, Carried, Event, State};

/// See [`State::Stopping`].
#[derive(Debug)]
pub struct Stopping {
    carried: Carried,
    /// When the agent leaves, whether osqueryd has ended or not.
    give_up: Instant,
}

impl Stopping {
    pub(super) fn begin(mut carried: Carried, now: Instant, out: &mut Vec<Action>) -> State {
        carried.want_osqueryd(None, now, out);
        let give_up = now + carried.pace.osqueryd_grace + carried.pace.shutdown_grace;
        Self { carried, give_up }.unless_done(now, out)
    }

    pub(super) fn on(mut self, event: Event, now: Instant, out: &mut Vec<Action>) -> State {
        match event {
            Event::Timer => self.carried.timer(now, out),
            Event::OsquerydExited => self.carried.osqueryd_exited(now, out),
            // Asked twice, the agent waits no longer.
            Event::ShutdownRequested => {
                out.push(Action::KillOsqueryd);
                self.give_up = self.give_up.min(now + self.carried.pace.shutdown_grace);
            }
            // The server has issued it; the next start is to find it.
            Event::Enrolled(Ok(key)) => out.push(Action::SaveNodeKey(key)),
            Event::Enrolled(Err(_)) | Event::NodeKeySaved(_) | Event::ConfigFetched(_) => {}
        }
        self.unless_done(now, out)
    }

    fn unless_done(self, now: Instant, out: &mut Vec<Action>) -> State {
        if self.carried.osqueryd.is_gone() || self.give_up <= now {
            out.push(Action::Exit);
            return State::Stopped;
        }
        State::Stopping(self)
    }

    pub(super) fn deadline(&self) -> Instant {
        self.carried.osqueryd.deadline().map_or(self.give_up, |at| at.min(self.give_up))
    }
}
