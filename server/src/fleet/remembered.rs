//! What the database said a moment ago, of tokens and keys that are shown again and again.
//!
//! Known for a second, and not at all once this server has written what rights may depend on. So
//! what is revoked or changed counts with the next request here, and within a second on every other
//! server with the same database. When the database is away for longer, nobody is let in.
//!
//! Whoever is answered when half of that has passed has it read again meanwhile: who asks all the time
//! waits for the database once.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

/// How long what was read is relied upon.
const KNOWN_FOR: SignedDuration = SignedDuration::from_secs(1);

/// How old an answer is that is read again beside being relied upon.
const READ_AGAIN_AFTER: SignedDuration = SignedDuration::from_millis(500);

/// How many are remembered at most.
const MAX_KNOWN: usize = 20_000;

/// Answers of the database, by what was asked about.
#[derive(Debug)]
pub(super) struct Remembered<T>(Mutex<BTreeMap<String, Known<T>>>);

#[derive(Debug)]
struct Known<T> {
    answer: T,
    read_at: Timestamp,
    /// [`Store::changes`](super::store::Store::changes) before it was read.
    changes: u64,
    /// Whether somebody reads it again.
    read_again: bool,
}

/// What is known.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub answer: T,
    /// Whether whoever got this is to have it read again; of many, one.
    pub is_aging: bool,
}

impl<T> Known<T> {
    fn is_good(&self, changes: u64, now: Timestamp) -> bool {
        let age = now.duration_since(self.read_at);
        self.changes == changes && (SignedDuration::ZERO..KNOWN_FOR).contains(&age)
    }
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Remembered<T> {
    /// What is known of `name`, if it is good still.
    pub(super) fn find(&self, name: &str, changes: u64, now: Timestamp) -> Option<Found<T>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_mut(name).filter(|known| known.is_good(changes, now))?;
        let is_old = now.duration_since(known.read_at) >= READ_AGAIN_AFTER;
        let is_aging = is_old && !std::mem::replace(&mut known.read_again, is_old);
        Some(Found { answer: known.answer.clone(), is_aging })
    }

    /// Remembers what was read when there had been so many changes.
    pub(super) fn keep(&self, name: &str, answer: &T, (changes, now): (u64, Timestamp)) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.retain(|_, known| known.is_good(changes, now));
        }
        if known.len() < MAX_KNOWN || known.contains_key(name) {
            let read = Known { answer: answer.clone(), read_at: now, changes, read_again: false };
            known.insert(name.to_owned(), read);
        }
    }

    /// Changes what is remembered of `name`, if anything is, as the database was changed.
    pub(super) fn change(&self, name: &str, change: impl FnOnce(&mut T)) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get_mut(name) {
            change(&mut known.answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_those_who_ask_reads_again_what_is_half_as_old_as_it_may_be() {
        let known = Remembered::default();
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        let find =
            |changes, now| known.find("a", changes, at(now)).map(|it| (it.answer, it.is_aging));
        known.keep("a", &1, (0, at(0)));
        assert_eq!(find(0, 499), Some((1, false)));
        assert_eq!([find(0, 500), find(0, 501)], [Some((1, true)), Some((1, false))]);
        assert_eq!([find(0, 999), find(0, 1000)], [Some((1, false)), None]);
        assert_eq!(find(1, 600), None, "something was written");
        known.keep("a", &2, (1, at(700)));
        assert_eq!([find(1, 1100), find(1, 1200)], [Some((2, false)), Some((2, true))]);
    }
}
