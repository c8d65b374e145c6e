//! Requests, limited for all servers with one database, without asking it about each: every server
//! leases slots of a caller's limit for a few seconds ([`share`]), and counts in memory what it uses
//! of them.
//!
//! Whoever has used up a limit is refused from memory until there can be room, so a flood costs the
//! database nothing. While the database does not answer, each server counts for itself.

pub(super) mod share;

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Semaphore, time::timeout};

use self::share::{Claim, Claimed, LEASED_FOR, Share};
use super::{
    errors::TooMany,
    limits::{Policy, Quota},
    store::{GivenBack, Store},
};
use crate::clock::Clock;

/// How many callers are remembered. Beyond it the quietest are forgotten first.
const MAX_KEYS: usize = 50_000;

/// How many claims of one limit are under way at most: the database has others to serve.
const CLAIMS_AT_ONCE: usize = 3;

/// How long a claim may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// How long after a claim that failed nobody asks, nor waits for another try.
const PAUSE: SignedDuration = LEASED_FOR;

/// How long rows are kept: as long as they count, and a minute for clocks that differ.
pub(super) const KEPT_FOR: SignedDuration = SignedDuration::from_mins(2);

/// Limits a kind of requests by whoever sends them.
#[derive(Debug)]
pub(super) struct Leases {
    policy: Policy,
    callers: Mutex<BTreeMap<String, Caller>>,
    claims: Semaphore,
    failed_at: Mutex<Option<Timestamp>>,
}

#[derive(Debug)]
struct Caller {
    share: Share,
    /// Of those who find nothing leased, one claims, and the others wait for what it is given.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A request whose claim is under way. Dropped before it is answered, because its client has gone, it counts
/// all the same: whoever hangs up again and again is refused like everybody else.
struct Unanswered<'a> {
    leases: &'a Leases,
    policy: Policy,
    whom: &'a str,
    /// When it came; none: it is answered.
    at: Option<Timestamp>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let Some(at) = self.at else { return };
        // One that is refused has not got anything either.
        let _ = self.leases.of(self.whom, at, |caller| caller.share.take_alone(self.policy, at));
    }
}

/// What became of a request without asking the database.
enum Tried {
    Taken(Quota),
    NothingLeased(Arc<tokio::sync::Mutex<()>>),
}

impl Leases {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            callers: Mutex::default(),
            claims: Semaphore::new(CLAIMS_AT_ONCE),
            failed_at: Mutex::default(),
        }
    }

    /// Counts a request of `whom`, who may have a limit of their own, or refuses it. Of many at once,
    /// on however many servers, exactly as many pass as may.
    pub(super) async fn take(
        &self,
        (store, clock): (&Store, &Clock),
        whom: &str,
        own: Option<u32>,
    ) -> Result<Quota, TooMany> {
        let policy = Policy { limit: own.unwrap_or(self.policy.limit), ..self.policy };
        loop {
            let turn = match self.try_take(policy, whom, clock.now())? {
                Tried::Taken(quota) => return Ok(quota),
                Tried::NothingLeased(turn) => turn,
            };
            let _turn = turn.lock().await;
            let now = clock.now();
            if let Tried::Taken(quota) = self.try_take(policy, whom, now)? {
                return Ok(quota);
            }
            let claim = self.of(whom, now, |caller| {
                // Whoever waits for the turn holds on to it.
                let waiting = Arc::strong_count(&caller.turn).saturating_sub(1);
                caller.share.claim(policy, (whom, waiting), now)
            });
            let mut unanswered = Unanswered { leases: self, policy, whom, at: Some(now) };
            let claimed = self.ask((store, clock), &claim).await;
            unanswered.at = None;
            let now = clock.now();
            let taken = self.of(whom, now, |caller| match claimed {
                Some(claimed) => caller.share.claimed(policy, (&claim, claimed), now),
                None => caller.share.take_alone(policy, now).map(Some),
            });
            if let Some(quota) = taken? {
                return Ok(quota);
            }
        }
    }

    /// What is leased and will not be used, for [`Store::give_back_leases`].
    pub(super) fn give_back(&self, now: Timestamp) -> Vec<GivenBack> {
        let mut callers = self.callers();
        let given_back = |(whom, caller): (&String, &mut Caller)| {
            let lease = caller.share.give_back(self.policy.window, now)?;
            let holder = caller.share.holder().to_owned();
            Some(GivenBack { bucket: self.policy.name_for(whom), holder, lease })
        };
        callers.iter_mut().filter_map(given_back).collect()
    }

    fn try_take(&self, policy: Policy, whom: &str, now: Timestamp) -> Result<Tried, TooMany> {
        let is_away = self.is_away(now);
        self.of(whom, now, |caller| {
            if is_away {
                return caller.share.take_alone(policy, now).map(Tried::Taken);
            }
            let taken = caller.share.take(policy, now)?;
            Ok(taken.map_or_else(|| Tried::NothingLeased(Arc::clone(&caller.turn)), Tried::Taken))
        })
    }

    async fn ask(&self, (store, clock): (&Store, &Clock), claim: &Claim) -> Option<Claimed> {
        let was_away = {
            let mut failed_at = lock(&self.failed_at);
            if let Some(at) = &mut *failed_at {
                // Whoever comes meanwhile does not wait for this try.
                *at = clock.now();
            }
            failed_at.is_some()
        };
        let asked = timeout(PATIENCE, async {
            let _permit = self.claims.acquire().await.expect("the semaphore is never closed");
            store.claim_lease(claim).await
        });
        let asked = asked.await;
        let claimed = matches!(asked, Ok(Ok(_)));
        *lock(&self.failed_at) = (!claimed).then(|| clock.now());
        match asked {
            Ok(Ok(claimed)) => return Some(claimed),
            Ok(Err(error)) if !was_away => self.warn(&error),
            Err(elapsed) if !was_away => self.warn(&elapsed),
            Ok(Err(_)) | Err(_) => {}
        }
        None
    }

    fn warn(&self, error: &(dyn Error + 'static)) {
        let limit = self.policy.name;
        tracing::warn!(error, limit, "could not lease requests; this server counts them alone");
    }

    /// Whether the database did not answer a moment ago.
    fn is_away(&self, now: Timestamp) -> bool {
        let failed_at = *lock(&self.failed_at);
        failed_at.is_some_and(|at| (SignedDuration::ZERO..PAUSE).contains(&now.duration_since(at)))
    }

    fn of<T>(&self, whom: &str, now: Timestamp, act: impl FnOnce(&mut Caller) -> T) -> T {
        let mut callers = self.callers();
        if let Some(caller) = callers.get_mut(whom) {
            return act(caller);
        }
        self.make_room(&mut callers, now);
        let caller = Caller { share: Share::new(now), turn: Arc::default() };
        act(callers.entry(whom.to_owned()).or_insert(caller))
    }

    fn make_room(&self, callers: &mut BTreeMap<String, Caller>, now: Timestamp) {
        if callers.len() < MAX_KEYS {
            return;
        }
        callers.retain(|_, caller| !caller.share.is_idle(self.policy.window, now));
        while callers.len() >= MAX_KEYS {
            let quietest = callers.iter().min_by_key(|(_, caller)| caller.share.weight());
            let Some(whom) = quietest.map(|(whom, _)| whom.clone()) else { return };
            callers.remove(&whom);
        }
    }

    fn callers(&self) -> MutexGuard<'_, BTreeMap<String, Caller>> {
        lock(&self.callers)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
