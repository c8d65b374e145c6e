//! Limits on failures, for all servers with one database: who succeeds is never counted.
//!
//! A failure is written to the database before anybody hears of it. One that is one too many is answered
//! as if nobody had looked at it, and so is a success that comes after too many failures. So of however
//! many trials at once, on however many servers, nobody learns more than one after the other would tell.
//!
//! Whoever has failed too often is refused from memory until there is room, so a flood costs the database
//! nothing.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    panic::resume_unwind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    errors::TooMany,
    limits::{LimitError, Policy},
    store::{Attempt, Store, Tx},
};

/// How many callers are remembered. Forgetting one costs a look into the database.
const MAX_KEYS: usize = 50_000;

/// How many trials of one caller are under way here at once: the database has others to serve. The rest
/// waits for them.
const AT_ONCE: usize = 8;

/// Lets trials begin. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    policy: Policy,
    callers: Arc<Mutex<BTreeMap<String, Caller>>>,
}

/// What one process knows of a caller.
#[derive(Debug)]
struct Caller {
    places: Arc<Semaphore>,
    /// Until then the database has too many failures.
    full_until: Option<Timestamp>,
}

/// A trial under way. One that is dropped has neither failed nor succeeded: its caller has gone before
/// anything was found out.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    gate: &'a Gate,
    caller: String,
    began: Timestamp,
    place: Arc<OwnedSemaphorePermit>,
}

impl Caller {
    fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), full_until: None }
    }

    fn is_full(&self, now: Timestamp) -> bool {
        self.full_until.is_some_and(|until| until > now)
    }
}

impl Gate {
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, callers: Arc::default() }
    }

    /// How its limit is called.
    pub(super) fn name(&self) -> &'static str {
        self.policy.name
    }

    /// Lets a trial of `caller` begin, or refuses when too many are known to have failed.
    pub(super) async fn enter(&self, caller: String, now: Timestamp) -> Result<Trial<'_>, TooMany> {
        let places = self.places_of(&caller, now)?;
        let place = places.acquire_owned().await.expect("the semaphore is never closed");
        // Those that it waited for may have failed.
        self.places_of(&caller, now)?;
        Ok(Trial { gate: self, caller, began: now, place: Arc::new(place) })
    }

    fn places_of(&self, caller: &str, now: Timestamp) -> Result<Arc<Semaphore>, TooMany> {
        let mut callers = self.callers();
        if callers.len() >= MAX_KEYS && !callers.contains_key(caller) {
            make_room(&mut callers, now);
        }
        let known = callers.entry(caller.to_owned()).or_insert_with(Caller::new);
        match known.full_until.filter(|until| *until > now) {
            Some(until) => Err(self.policy.refuse(until, now)),
            None => Ok(Arc::clone(&known.places)),
        }
    }

    /// Writes a failure down that began at `began`.
    async fn count(&self, store: &Store, caller: &str, began: Timestamp) -> Result<(), LimitError> {
        match store.take_attempt(&[self.policy.bucket(caller)], began).await? {
            Attempt::Taken(_) => Ok(()),
            Attempt::Full { until, .. } => Err(self.refuse(caller, (until, began)).into()),
        }
    }

    /// The refusal of a trial that began at `began`, and of all until `until`.
    fn refuse(&self, caller: &str, (until, began): (Timestamp, Timestamp)) -> TooMany {
        self.note_full(caller, until);
        self.policy.refuse(until, began)
    }

    /// Remembers that `caller` has failed too often.
    fn note_full(&self, caller: &str, until: Timestamp) {
        if let Some(known) = self.callers().get_mut(caller) {
            known.full_until = Some(until);
        }
    }

    fn callers(&self) -> MutexGuard<'_, BTreeMap<String, Caller>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets who has nothing under way and may try; if that is nobody, somebody.
fn make_room(callers: &mut BTreeMap<String, Caller>, now: Timestamp) {
    callers.retain(|_, caller| caller.is_full(now) || Arc::strong_count(&caller.places) > 1);
    while callers.len() >= MAX_KEYS {
        callers.pop_first();
    }
}

impl Trial<'_> {
    /// Counts the failure, or refuses the trial because it is one too many. Who hangs up meanwhile is
    /// counted all the same, and keeps their place until then.
    pub(super) async fn failed(&self, store: &Store) -> Result<(), LimitError> {
        let (gate, caller, began) = (self.gate.clone(), self.caller.clone(), self.began);
        let (store, place) = (store.clone(), Arc::clone(&self.place));
        let counted = tokio::spawn(async move {
            let counted = gate.count(&store, &caller, began).await;
            drop(place);
            counted
        });
        // Nobody aborts it, so it has ended or panicked.
        counted.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
    }

    /// Refuses a trial that would succeed, if too many have failed by now. Nothing that it does is to be
    /// kept then.
    pub(super) async fn may_succeed(&self, tx: &mut Tx) -> Result<(), LimitError> {
        let bucket = self.gate.policy.bucket(&self.caller);
        match tx.full_until(&bucket, self.began).await? {
            None => Ok(()),
            Some(until) => Err(self.gate.refuse(&self.caller, (until, self.began)).into()),
        }
    }
}

/// How limits name a caller: an address, or of IPv6 the /64 that one customer usually gets.
pub(super) fn network_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use camino::Utf8Path;
    use tokio::time::timeout;

    use super::{super::limits::minute, *};
    use crate::Config;

    #[test]
    fn whoever_may_try_is_forgotten_before_whoever_may_not() {
        let (gate, now) = (Gate::new(minute("k", 5)), Timestamp::UNIX_EPOCH);
        let later = now + gate.policy.window;
        let name = |number: usize| format!("{number:05}");
        for number in 0..MAX_KEYS {
            drop(gate.places_of(&name(number), now));
        }
        gate.note_full(&name(7), later);
        drop(gate.places_of("another", now));
        assert_eq!(gate.callers().len(), 2);
        assert!(gate.places_of(&name(7), now).is_err());
        assert!(gate.places_of(&name(7), later).is_ok());
        for number in 0..MAX_KEYS {
            drop(gate.places_of(&name(number), now));
            gate.note_full(&name(number), later);
        }
        drop(gate.places_of("yet another", now));
        assert_eq!(gate.callers().len(), MAX_KEYS);
    }

    /// A new database in `dir`.
    async fn store_in(dir: &Utf8Path) -> Store {
        let database = Config::in_dir(dir.to_owned()).database;
        std::fs::write(database.sqlite_path().unwrap(), "").unwrap();
        let store = Store::connect(&database).await.unwrap();
        store.migrate(&database).await.unwrap();
        store
    }

    #[tokio::test]
    async fn whoever_hangs_up_while_their_failure_is_written_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let store = store_in(Utf8Path::from_path(dir.path()).unwrap()).await;
        let (gate, now) = (Gate::new(minute("k", 1)), Timestamp::UNIX_EPOCH);
        let enter = || gate.enter("somebody".to_owned(), now);
        let trial = enter().await.unwrap();
        // Nobody else writes meanwhile, so the failure waits.
        let turn = store.apart().await.unwrap();
        let failed = timeout(Duration::ZERO, trial.failed(&store)).await;
        assert!(failed.is_err(), "it was written in spite of another's turn: {failed:?}");
        drop(trial);
        let mut others = Vec::new();
        for _ in 1..AT_ONCE {
            others.push(enter().await.unwrap());
        }
        let last = timeout(Duration::ZERO, enter()).await;
        assert!(last.is_err(), "the place is kept until the failure is written");
        drop(turn);
        let last = enter().await.unwrap();
        let error = last.failed(&store).await.unwrap_err();
        assert!(matches!(error, LimitError::TooMany(_)), "{error:?}");
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one_caller() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
