//! How long the agent logs more than its settings say, as the server wishes it.

use std::time::{Duration, Instant};

use super::Action;

/// Two wishes that end so close to each other are one: answers take a while on their way.
const SAME: Duration = Duration::from_secs(60);

/// When it ends; none: it logs as its settings say.
#[derive(Debug)]
pub(super) struct Verbosity(Option<Instant>);

impl Verbosity {
    /// `left` is what an earlier run of the agent has left of it.
    pub(super) fn new(left: Option<Duration>, now: Instant) -> Self {
        Self(left.map(|left| now + left))
    }

    /// Takes what the server wishes for from `now` on.
    pub(super) fn wish(&mut self, lasts: Option<Duration>, now: Instant, out: &mut Vec<Action>) {
        let until = lasts.map(|lasts| now + lasts);
        let differ = |a: Instant, b: Instant| a.max(b) - a.min(b) >= SAME;
        let is_news = match (self.0, until) {
            (Some(before), Some(until)) => differ(before, until),
            (None, None) => false,
            (Some(_), None) | (None, Some(_)) => true,
        };
        if is_news {
            out.push(lasts.map_or(Action::LogAsUsual, Action::LogMore));
            self.0 = until;
        }
    }

    pub(super) fn timer(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.0.is_some_and(|until| until <= now) {
            self.0 = None;
            out.push(Action::LogAsUsual);
        }
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.0
    }
}
