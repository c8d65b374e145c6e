//! On the way out: osqueryd is given time to end, then none.

use std::time::Instant;

use super::{Action, Carried, Event, State};

/// See [`State::Stopping`].
#[derive(Debug)]
pub struct Stopping {
    carried: Carried,
    reason: Reason,
    /// When the agent leaves, whether osqueryd has ended or not.
    give_up: Instant,
}

/// Why the agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// It was asked to.
    Shutdown,
    /// Another version of it takes over.
    Update,
}

impl Stopping {
    pub(super) fn begin(
        mut carried: Carried,
        reason: Reason,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> State {
        if reason == Reason::Shutdown {
            carried.test.broken_off(out);
        }
        carried.osqueryd.want(None);
        carried.osqueryd.settle(&carried.pace, now, out);
        let give_up = now + carried.pace.osqueryd_grace + carried.pace.shutdown_grace;
        Self { carried, reason, give_up }.unless_done(now, out)
    }

    pub(super) fn on(mut self, event: Event, now: Instant, out: &mut Vec<Action>) -> State {
        match event {
            Event::Timer => self.settle(now, out),
            Event::OsquerydExited => {
                let Carried { osqueryd, pace, dice, .. } = &mut self.carried;
                osqueryd.exited(pace, dice, now, out);
            }
            Event::ShutdownRequested => self.hurry(now, out),
            // The server has issued it; the next start is to find it.
            Event::Enrolled(Ok(key)) => out.push(Action::SaveNodeKey(key)),
            Event::Enrolled(Err(_))
            | Event::NodeKeySaved(_)
            | Event::ConfigFetched(_)
            | Event::OsquerydOutdated
            | Event::UpdatesSeen(_) => {}
        }
        self.unless_done(now, out)
    }

    fn settle(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.carried.osqueryd.settle(&self.carried.pace, now, out);
    }

    /// Asked twice, the agent waits no longer; asked once, it does not come back as another version.
    fn hurry(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.reason == Reason::Update {
            self.reason = Reason::Shutdown;
            return;
        }
        out.push(Action::KillOsqueryd);
        self.give_up = self.give_up.min(now + self.carried.pace.shutdown_grace);
    }

    fn unless_done(self, now: Instant, out: &mut Vec<Action>) -> State {
        if self.carried.osqueryd.is_gone() || self.give_up <= now {
            out.push(match self.reason {
                Reason::Shutdown => Action::Exit,
                Reason::Update => Action::HandOver,
            });
            return State::Stopped;
        }
        State::Stopping(self)
    }

    pub(super) fn deadline(&self) -> Instant {
        let osqueryd = self.carried.osqueryd.deadline(&self.carried.pace);
        osqueryd.map_or(self.give_up, |at| at.min(self.give_up))
    }
}
