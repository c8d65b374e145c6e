//! An exact sliding window: never more than `limit` within any `window`. In memory, bounded.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::{
    errors::TooMany,
    limits::{Policy, Quota},
};

/// How many callers are remembered. Beyond it the quietest are forgotten first.
const MAX_KEYS: usize = 50_000;

/// Counts attempts by key.
#[derive(Debug)]
pub(super) struct Limiter {
    policy: Policy,
    attempts: Mutex<BTreeMap<String, VecDeque<Timestamp>>>,
}

impl Limiter {
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, attempts: Mutex::default() }
    }

    /// How many attempts `key` has left at `now`, at least one; takes none.
    fn left(&self, key: &str, now: Timestamp) -> Result<usize, TooMany> {
        let (attempts, limit) = (self.attempts(), most(&self.policy));
        let Some(times) = attempts.get(key) else { return Ok(limit) };
        check_times(self.policy, times, now)?;
        let recent = times.iter().filter(|time| now.duration_since(**time) < self.policy.window);
        Ok(limit.saturating_sub(recent.count()))
    }

    /// Takes an attempt of `key`, or refuses. Of many at once, exactly `limit` pass.
    pub(super) fn take(&self, key: &str, now: Timestamp) -> Result<Quota, TooMany> {
        self.take_of(key, None, now)
    }

    /// The same where `key` may have a limit of its own.
    pub(super) fn take_of(
        &self,
        key: &str,
        own: Option<u32>,
        now: Timestamp,
    ) -> Result<Quota, TooMany> {
        let policy = Policy { limit: own.unwrap_or(self.policy.limit), ..self.policy };
        let mut attempts = self.attempts();
        self.make_room(&mut attempts, now);
        let times = attempts.entry(key.to_owned()).or_default();
        self.forget_old(times, now);
        check_times(policy, times, now)?;
        // A trial counts when it began, and others may have begun and failed since.
        let place = times.partition_point(|time| *time <= now);
        times.insert(place, now);
        let oldest = times.front().copied().unwrap_or(now);
        Ok(Quota {
            policy,
            remaining: u32::try_from(most(&policy).saturating_sub(times.len())).unwrap_or(u32::MAX),
            resets_after: policy.window - now.duration_since(oldest),
        })
    }

    fn forget_old(&self, times: &mut VecDeque<Timestamp>, now: Timestamp) {
        while times.front().is_some_and(|time| now.duration_since(*time) >= self.policy.window) {
            times.pop_front();
        }
    }

    fn make_room(&self, attempts: &mut BTreeMap<String, VecDeque<Timestamp>>, now: Timestamp) {
        if attempts.len() < MAX_KEYS {
            return;
        }
        attempts.retain(|_, times| {
            self.forget_old(times, now);
            !times.is_empty()
        });
        while attempts.len() >= MAX_KEYS {
            let quietest = attempts.iter().min_by_key(|(_, times)| times.len());
            let Some(key) = quietest.map(|(key, _)| key.clone()) else { return };
            attempts.remove(&key);
        }
    }

    fn attempts(&self) -> MutexGuard<'_, BTreeMap<String, VecDeque<Timestamp>>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many attempts there may be, at least one.
fn most(policy: &Policy) -> usize {
    usize::try_from(policy.limit).unwrap_or(usize::MAX).max(1)
}

/// Refuses one more attempt beside those at `times`, if it is one too many.
fn check_times(policy: Policy, times: &VecDeque<Timestamp>, now: Timestamp) -> Result<(), TooMany> {
    // Of more than the limit, the one that has to pass is the limit's from the end. They are in the order
    // of time, so it alone is looked at, however many there are.
    let Some(place) = times.len().checked_sub(most(&policy)) else { return Ok(()) };
    let resets_after = policy.window - now.duration_since(times[place]);
    if resets_after <= SignedDuration::ZERO {
        return Ok(());
    }
    Err(TooMany { quota: Quota { policy, remaining: 0, resets_after } })
}

/// Limits failures and nothing else: who succeeds is never counted. Of many trials at once no more
/// are under way than may still fail; the others wait for them.
#[derive(Debug)]
pub(super) struct Gate {
    failures: Limiter,
    under_way: Mutex<BTreeMap<String, usize>>,
    left: Notify,
}

/// A trial under way.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    gate: &'a Gate,
    key: String,
    began: Timestamp,
}

impl Gate {
    pub(super) fn new(policy: Policy) -> Self {
        let failures = Limiter::new(policy);
        Self { failures, under_way: Mutex::default(), left: Notify::new() }
    }

    /// Lets a trial of `key` begin, or refuses when too many have failed.
    pub(super) async fn enter(&self, key: String, now: Timestamp) -> Result<Trial<'_>, TooMany> {
        loop {
            let mut left = pin!(self.left.notified());
            // From here on nothing that leaves is missed.
            left.as_mut().enable();
            if self.take_place(&key, now)? {
                return Ok(Trial { gate: self, key, began: now });
            }
            left.await;
        }
    }

    fn take_place(&self, key: &str, now: Timestamp) -> Result<bool, TooMany> {
        let mut under_way = self.under_way();
        let may_fail = self.failures.left(key, now)?;
        let trials = under_way.get(key).copied().unwrap_or_default();
        if trials < may_fail {
            under_way.insert(key.to_owned(), trials + 1);
        }
        Ok(trials < may_fail)
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trial<'_> {
    /// Counts it. A trial that is dropped without has not failed.
    pub(super) fn failed(self) {
        // There is an attempt left for each trial under way.
        let _ = self.gate.failures.take(&self.key, self.began);
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let mut under_way = self.gate.under_way();
        if let Some(trials) = under_way.get_mut(&self.key) {
            *trials -= 1;
            if *trials == 0 {
                under_way.remove(&self.key);
            }
        }
        drop(under_way);
        self.gate.left.notify_waiters();
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
    use proptest::prelude::*;

    use super::{super::limits::minute, *};

    proptest! {
        /// Rows: L6
        #[test]
        fn never_more_than_the_limit_within_any_window(gaps in prop::collection::vec(0_i64..400, 1..200)) {
            let window = SignedDuration::from_millis(1000);
            let limiter = Limiter::new(Policy::new("k", 5, window));
            let mut now = Timestamp::UNIX_EPOCH;
            let mut passed: Vec<Timestamp> = Vec::new();
            for gap in gaps {
                now += SignedDuration::from_millis(gap);
                match limiter.take("k", now) {
                    Ok(quota) => {
                        prop_assert!(quota.remaining < 5 && quota.resets_after <= window);
                        passed.push(now);
                    }
                    Err(too_many) => {
                        let later = now + too_many.quota.resets_after;
                        prop_assert!(limiter.left("k", later).is_ok());
                        prop_assert!(limiter.left("k", later - SignedDuration::from_millis(1)).is_err());
                    }
                }
            }
            for window in passed.windows(6) {
                prop_assert!(window[5].duration_since(window[0]) >= SignedDuration::from_millis(1000));
            }
        }
    }

    #[tokio::test]
    async fn of_many_trials_at_once_no_more_fail_than_may_and_all_that_succeed_pass() {
        let gate = Gate::new(minute("k", 5));
        let now = Timestamp::UNIX_EPOCH;
        let trial = |fails: bool| {
            let entering = gate.enter("k".to_owned(), now);
            async move {
                let trial = entering.await?;
                tokio::task::yield_now().await;
                if fails {
                    trial.failed();
                }
                Ok::<_, TooMany>(())
            }
        };
        let good = futures_util::future::join_all((0..100).map(|_| trial(false))).await;
        assert!(good.iter().all(Result::is_ok));
        let bad = futures_util::future::join_all((0..100).map(|_| trial(true))).await;
        assert_eq!(bad.iter().filter(|outcome| outcome.is_ok()).count(), 5);
        assert!(gate.under_way().is_empty());
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one_caller() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
