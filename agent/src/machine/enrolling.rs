//! Without a node key: the enroll secret is shown until the server answers with one.

use std::time::Instant;

use wire::NodeKey;

use super::{Action, Carried, EnrollFailure, Event, Running, State, Stopping, pace::Backoff};

/// See [`State::Enrolling`].
#[derive(Debug)]
pub struct Enrolling {
    carried: Carried,
    backoff: Backoff,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// The server is asked at this time.
    Waiting(Instant),
    /// The server's answer is awaited.
    Asking,
    /// The key is being written; it is not used before that has succeeded.
    Saving(NodeKey),
    /// The key could not be written and is written again at this time.
    WaitingToSave(NodeKey, Instant),
}

impl Enrolling {
    /// At the start: the server is asked at once.
    pub(super) fn first(carried: Carried, now: Instant) -> Self {
        Self { carried, backoff: Backoff::default(), step: Step::Waiting(now) }
    }

    /// After the server rejected a node key. `backoff` counts the enrollments in a row that gave a
    /// key which never worked; they are paced like those that failed.
    pub(super) fn again(
        mut carried: Carried,
        mut backoff: Backoff,
        key_had_worked: bool,
        now: Instant,
    ) -> Self {
        let mut at = now;
        if !key_had_worked {
            at += carried.dice.jittered(backoff.fail(carried.pace.enroll));
        }
        Self { carried, backoff, step: Step::Waiting(at) }
    }

    pub(super) fn on(mut self, event: Event, now: Instant, out: &mut Vec<Action>) -> State {
        if let Some(reason) = self.carried.meet(&event, now, out) {
            return Stopping::begin(self.carried, reason, now, out);
        }
        match event {
            Event::Timer => self.timer(now, out),
            Event::Enrolled(answer) => self.enrolled(answer, now, out),
            Event::NodeKeySaved(outcome) => return self.saved(outcome.is_ok(), now, out),
            Event::UpdatesSeen(_)
            | Event::OsquerydExited
            | Event::OsquerydOutdated
            | Event::ShutdownRequested
            | Event::ConfigFetched(_) => {}
        }
        State::Enrolling(self)
    }

    fn timer(&mut self, now: Instant, out: &mut Vec<Action>) {
        match &self.step {
            Step::Waiting(at) if *at <= now => {
                out.push(Action::Enroll);
                self.step = Step::Asking;
            }
            Step::WaitingToSave(key, at) if *at <= now => {
                out.push(Action::SaveNodeKey(key.clone()));
                self.step = Step::Saving(key.clone());
            }
            Step::Waiting(_) | Step::Asking | Step::Saving(_) | Step::WaitingToSave(..) => {}
        }
    }

    fn enrolled(
        &mut self,
        answer: Result<NodeKey, EnrollFailure>,
        now: Instant,
        out: &mut Vec<Action>,
    ) {
        if !matches!(self.step, Step::Asking) {
            return;
        }
        self.step = match answer {
            Ok(key) => {
                out.push(Action::SaveNodeKey(key.clone()));
                Step::Saving(key)
            }
            Err(failure) => Step::Waiting(now + self.delay(failure)),
        };
    }

    fn delay(&mut self, failure: EnrollFailure) -> std::time::Duration {
        let pace = &self.carried.pace;
        let (enroll, slow) = (pace.enroll, pace.enroll_slow);
        let usual = self.backoff.fail(enroll);
        match failure {
            EnrollFailure::Failed => self.carried.jittered(usual),
            EnrollFailure::NoSecret
            | EnrollFailure::SecretRefused
            | EnrollFailure::NoSuchAddress => self.carried.jittered(slow.max(usual)),
            EnrollFailure::Busy(after) => {
                let usual = self.carried.jittered(usual);
                self.carried.obeying(after, usual)
            }
        }
    }

    fn saved(mut self, well: bool, now: Instant, out: &mut Vec<Action>) -> State {
        match self.step {
            Step::Saving(key) if well => {
                return State::Running(Running::enrolled(
                    self.carried,
                    key,
                    self.backoff,
                    now,
                    out,
                ));
            }
            Step::Saving(key) => {
                let at = now + self.carried.pace.save;
                self.step = Step::WaitingToSave(key, at);
            }
            step @ (Step::Waiting(_) | Step::Asking | Step::WaitingToSave(..)) => self.step = step,
        }
        State::Enrolling(self)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let own = match self.step {
            Step::Waiting(at) | Step::WaitingToSave(_, at) => Some(at),
            Step::Asking | Step::Saving(_) => None,
        };
        super::earlier(own, self.carried.deadline())
    }
}
