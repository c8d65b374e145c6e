//! What the database said a moment ago, of tokens and keys that are shown again and again.
//!
//! Known for a second, and not at all once this server has written what rights may depend on. So
//! what is revoked or changed counts with the next request here, and within a second on every other
//! server with the same database. When the database is away for longer, nobody is let in.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

/// How long what was read is relied upon.
const KNOWN_FOR: SignedDuration = SignedDuration::from_secs(1);

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
    pub(super) fn find(&self, name: &str, changes: u64, now: Timestamp) -> Option<T> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(name)?;
        known.is_good(changes, now).then(|| known.answer.clone())
    }

    /// Remembers what was read when there had been so many changes.
    pub(super) fn keep(&self, name: &str, answer: &T, (changes, now): (u64, Timestamp)) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.retain(|_, known| known.is_good(changes, now));
        }
        if known.len() < MAX_KNOWN {
            let read = Known { answer: answer.clone(), read_at: now, changes };
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
