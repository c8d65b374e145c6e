//! With a node key: the server is polled for configuration, and osqueryd runs as it says.

use std::time::{Duration, Instant};

use wire::{
    NodeKey,
    orbit::{AgentConfig, MAX_DEBUG_SECONDS},
};

use super::{
    Action, Carried, Enrolling, Event, FetchFailure, Flags, State, Stopping, pace::Backoff,
};

/// See [`State::Running`].
#[derive(Debug)]
pub struct Running {
    carried: Carried,
    key: NodeKey,
    /// Whether the server has ever accepted the key.
    key_worked: bool,
    /// How often enrolling has failed since a key last worked.
    enroll_backoff: Backoff,
    poll_backoff: Backoff,
    poll: Poll,
    /// What the server last said, before the last start too; nothing until it has spoken.
    flags: Flags,
}

#[derive(Debug)]
enum Poll {
    /// The server is asked at this time.
    Waiting(Instant),
    /// The server's answer is awaited.
    Asking,
    /// The key to ask with from here on is being saved; the server is asked at this time.
    Saving(NodeKey, Instant),
}

impl Running {
    /// With a key from an earlier run, which counts as one that has worked.
    pub(super) fn resume(carried: Carried, key: NodeKey, flags: Flags, now: Instant) -> Self {
        Self {
            carried,
            key,
            key_worked: true,
            enroll_backoff: Backoff::default(),
            poll_backoff: Backoff::default(),
            poll: Poll::Waiting(now),
            flags,
        }
    }

    /// With a key just issued and saved: the server is asked at once.
    pub(super) fn enrolled(
        carried: Carried,
        key: NodeKey,
        enroll_backoff: Backoff,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> Self {
        out.push(Action::FetchConfig(key.clone()));
        let resumed = Self::resume(carried, key, Flags::new(), now);
        Self { key_worked: false, enroll_backoff, poll: Poll::Asking, ..resumed }
    }

    pub(super) fn on(mut self, event: Event, now: Instant, out: &mut Vec<Action>) -> State {
        if let Some(reason) = self.carried.meet(&event, now, out) {
            return Stopping::begin(self.carried, reason, now, out);
        }
        match event {
            Event::Timer => self.timer(now, out),
            Event::ConfigFetched(answer) if matches!(self.poll, Poll::Asking) => {
                return self.answered(answer, now, out);
            }
            Event::NodeKeySaved(outcome) => self.saved(outcome.is_ok()),
            Event::UpdatesSeen(_)
            | Event::OsquerydExited
            | Event::OsquerydOutdated
            | Event::ShutdownRequested
            | Event::ConfigFetched(_)
            | Event::Enrolled(_) => {}
        }
        State::Running(self)
    }

    /// The server lets the key before in until this one is used, so requests under way are not refused.
    fn saved(&mut self, well: bool) {
        match std::mem::replace(&mut self.poll, Poll::Asking) {
            Poll::Saving(key, at) => {
                if well {
                    self.key = key;
                }
                self.poll = Poll::Waiting(at);
            }
            unasked @ (Poll::Waiting(_) | Poll::Asking) => self.poll = unasked,
        }
    }

    fn timer(&mut self, now: Instant, out: &mut Vec<Action>) {
        match self.poll {
            Poll::Waiting(at) if at <= now => {
                out.push(Action::FetchConfig(self.key.clone()));
                self.poll = Poll::Asking;
            }
            Poll::Waiting(_) | Poll::Asking | Poll::Saving(..) => {}
        }
    }

    fn answered(
        mut self,
        answer: Result<AgentConfig, FetchFailure>,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> State {
        let retry = self.carried.pace.poll;
        let mut next_key = None;
        let delay = match answer {
            Ok(config) => {
                next_key = config.orbit_node_key;
                self.key_worked = true;
                self.carried.test.passed(out);
                self.enroll_backoff.reset();
                self.poll_backoff.reset();
                let debug = config.debug_for_seconds.map(|it| it.min(MAX_DEBUG_SECONDS));
                let debug = debug.map(|seconds| Duration::from_secs(seconds.into()));
                self.carried.verbosity.wish(debug, now, out);
                if self.flags != config.command_line_startup_flags {
                    self.flags = config.command_line_startup_flags;
                    out.push(Action::KeepFlags(self.flags.clone()));
                }
                self.carried.jittered(retry.first)
            }
            Err(FetchFailure::KeyRejected) => return self.rejected(now, out),
            Err(FetchFailure::Failed) => {
                let usual = self.poll_backoff.fail(retry);
                self.carried.jittered(usual)
            }
            Err(FetchFailure::Busy(after)) => {
                let usual = self.poll_backoff.fail(retry);
                let usual = self.carried.jittered(usual);
                self.carried.obeying(after, usual)
            }
        };
        self.poll = match next_key {
            Some(key) => {
                out.push(Action::ReplaceNodeKey(key.clone()));
                Poll::Saving(key, now + delay)
            }
            None => Poll::Waiting(now + delay),
        };
        self.carried.want_osqueryd(Some(self.flags.clone()), now, out);
        State::Running(self)
    }

    /// The key is forgotten, and with it osqueryd's right to run: the enroll secret that it was
    /// given may be outdated too.
    fn rejected(mut self, now: Instant, out: &mut Vec<Action>) -> State {
        out.push(Action::ForgetNodeKey);
        self.carried.want_osqueryd(None, now, out);
        State::Enrolling(Enrolling::again(self.carried, self.enroll_backoff, self.key_worked, now))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let own = match self.poll {
            Poll::Waiting(at) => Some(at),
            Poll::Asking | Poll::Saving(..) => None,
        };
        super::earlier(own, self.carried.deadline())
    }
}
