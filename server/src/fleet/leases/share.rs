//! One process's share of a limit that all servers with one database keep together: the arithmetic,
//! without I/O.
//!
//! Slots are leased a few seconds ahead: a row says how many, and until when they may be used. It
//! counts against everybody else until a window after that. Once its holder takes slots anew, the row
//! says how many were used, and when the last was. So a row never says less than its holder has used,
//! nor counts for a shorter time: whoever adds up its own uses and the rows of others counts
//! everything that was used within the window, and of all servers together never more than the limit
//! pass within any.

use std::{collections::VecDeque, mem};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::super::{
    errors::TooMany,
    limits::{Policy, Quota},
};

/// How long leased slots may be used.
pub(super) const LEASED_FOR: SignedDuration = SignedDuration::from_secs(5);

/// So many slots, which count until a window after `at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) struct Slots {
    pub at: Timestamp,
    pub n: u32,
}

/// A row of a holder. One without slots is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) struct Lease {
    pub serial: i64,
    pub slots: Slots,
}

/// What a holder asks for.
#[derive(Debug, Clone)]
pub(in crate::fleet) struct Claim {
    pub bucket: String,
    pub holder: String,
    /// Of the row that is asked for.
    pub serial: i64,
    pub now: Timestamp,
    pub window: SignedDuration,
    /// Earlier rows of the holder, as they have ended.
    pub ended: Vec<Lease>,
    limit: u32,
    /// What the holder itself has used within the window.
    own: u64,
    wanted: u32,
}

/// What a holder is told.
#[derive(Debug, Clone)]
pub(in crate::fleet) struct Claimed {
    /// None: there is no room.
    pub granted: Option<Slots>,
    /// What others hold, in the order of time.
    pub others: Vec<Slots>,
}

impl Claim {
    /// What there is room for beside what others hold.
    pub(in crate::fleet) fn grant(&self, others: &[Slots]) -> Option<Slots> {
        let held: u64 = others.iter().map(|slots| u64::from(slots.n)).sum();
        let room = u64::from(self.limit).saturating_sub(self.own + held);
        let n = u32::try_from(room).unwrap_or(u32::MAX).min(self.wanted);
        // A single slot is for whoever asks, and used at once.
        let at = if n == 1 { self.now } else { self.now + LEASED_FOR };
        (n > 0).then_some(Slots { at, n })
    }
}

/// Slots in the order of time, and how many they are together.
#[derive(Debug, Default)]
struct Counted {
    slots: VecDeque<Slots>,
    sum: u64,
}

impl Counted {
    fn of(slots: Vec<Slots>) -> Self {
        let sum = slots.iter().map(|slots| u64::from(slots.n)).sum();
        Self { slots: slots.into(), sum }
    }

    /// Counts one more, no earlier than the last.
    fn add(&mut self, at: Timestamp) {
        self.sum += 1;
        match self.slots.back_mut() {
            Some(last) if last.at == at && last.n < u32::MAX => last.n += 1,
            Some(_) | None => self.slots.push_back(Slots { at, n: 1 }),
        }
    }

    fn forget_old(&mut self, window: SignedDuration, now: Timestamp) {
        let is_old = |slots: &Slots| now.duration_since(slots.at) >= window;
        while let Some(first) = self.slots.front().copied().filter(is_old) {
            self.sum -= u64::from(first.n);
            self.slots.pop_front();
        }
    }
}

/// The lease that is used at present.
#[derive(Debug)]
struct Open {
    serial: i64,
    since: Timestamp,
    until: Timestamp,
    granted: u32,
    used: u32,
    /// When the last was used.
    last: Timestamp,
    /// Whether the database is known to have what was granted, or nothing if nothing was.
    is_certain: bool,
}

impl Open {
    fn nothing(serial: i64, now: Timestamp) -> Self {
        Self { serial, since: now, until: now, granted: 0, used: 0, last: now, is_certain: true }
    }

    fn has_slots(&self, now: Timestamp) -> bool {
        self.used < self.granted && now < self.until
    }

    /// The row as it has ended, if the database may have it otherwise. Of what was used alone, without
    /// being leased, no more counts than its holder has used within the window: `counted`.
    fn end(&self, counted: u64) -> Option<Lease> {
        let counted = u32::try_from(counted).unwrap_or(u32::MAX);
        let n = self.used.min(counted.max(self.granted));
        let at = if n > 0 { self.last } else { self.until };
        let is_there = self.is_certain && self.granted == n && (n == 0 || self.until == at);
        (!is_there).then_some(Lease { serial: self.serial, slots: Slots { at, n } })
    }
}

/// Nothing is taken before then.
#[derive(Debug, Clone, Copy)]
struct Full {
    limit: u32,
    until: Timestamp,
}

/// What one process knows of a bucket, and has of it.
#[derive(Debug)]
pub(super) struct Share {
    /// Another for each share: rows of one that was forgotten are somebody else's.
    holder: String,
    own: Counted,
    /// What others held when slots were claimed last.
    others: Counted,
    open: Open,
    /// Earlier leases that the database may have otherwise than they have ended.
    ended: Vec<Lease>,
    /// How many slots are claimed at a time.
    pace: u32,
    full: Option<Full>,
}

impl Share {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            holder: Uuid::new_v4().to_string(),
            own: Counted::default(),
            others: Counted::default(),
            open: Open::nothing(0, now),
            ended: Vec::new(),
            pace: 0,
            full: None,
        }
    }

    pub(super) fn holder(&self) -> &str {
        &self.holder
    }

    /// How many were used lately; whoever waits for an answer is no quiet caller either.
    pub(super) fn weight(&self) -> u64 {
        self.own.sum + if self.open.is_certain { 0 } else { 2 }
    }

    /// Whether nothing is lost with it.
    pub(super) fn is_idle(&mut self, window: SignedDuration, now: Timestamp) -> bool {
        self.own.forget_old(window, now);
        self.own.sum == 0 && self.open.until <= now
    }

    /// Uses a slot that is leased; nothing if slots have to be claimed first.
    pub(super) fn take(
        &mut self,
        policy: Policy,
        now: Timestamp,
    ) -> Result<Option<Quota>, TooMany> {
        self.check(policy, now)?;
        Ok(self.open.has_slots(now).then(|| self.use_slot(policy, now)))
    }

    /// Uses a slot, leased or not: nobody can be asked.
    pub(super) fn take_alone(&mut self, policy: Policy, now: Timestamp) -> Result<Quota, TooMany> {
        self.check(policy, now)?;
        Ok(self.use_slot(policy, now))
    }

    /// Ends the present lease and asks for another, for so many requests that wait and some more.
    pub(super) fn claim(
        &mut self,
        policy: Policy,
        (whom, waiting): (&str, usize),
        now: Timestamp,
    ) -> Claim {
        let now = now.max(self.latest());
        self.forget_old(policy.window, now);
        let limit = policy.most();
        // Whoever asks often is given much at a time, and whoever asks seldom leaves nothing over.
        let is_quick = now.duration_since(self.open.since) < LEASED_FOR;
        let pace = if is_quick { self.pace.saturating_mul(2) } else { self.open.used };
        let pace = pace.max(u32::try_from(waiting).unwrap_or(u32::MAX));
        self.pace = pace.clamp(part(limit, 1000), part(limit, 10));
        let serial = self.open.serial + 1;
        let until = now + LEASED_FOR;
        let next = Open { until, is_certain: false, ..Open::nothing(serial, now) };
        let before = mem::replace(&mut self.open, next);
        self.ended.extend(before.end(self.own.sum));
        self.ended.retain(|lease| now.duration_since(lease.slots.at) < policy.window);
        Claim {
            bucket: policy.name_for(whom),
            holder: self.holder.clone(),
            serial,
            now,
            window: policy.window,
            ended: self.ended.clone(),
            limit,
            own: self.own.sum,
            wanted: self.pace,
        }
    }

    /// Uses the first of the slots that were claimed; nothing if there was no room then, and is now.
    pub(super) fn claimed(
        &mut self,
        policy: Policy,
        (claim, claimed): (&Claim, Claimed),
        now: Timestamp,
    ) -> Result<Option<Quota>, TooMany> {
        // Otherwise the share was forgotten meanwhile, and this is another.
        if self.holder == claim.holder && self.open.serial == claim.serial {
            self.ended.clear();
            self.others = Counted::of(claimed.others);
            self.open.is_certain = true;
            if let Some(slots) = claimed.granted {
                self.open.granted = slots.n;
                self.open.until = slots.at;
                return Ok(Some(self.use_slot(policy, claim.now)));
            }
        }
        self.check(policy, now)?;
        Ok(None)
    }

    /// Ends the present lease, if slots are left of it that others could use, and still count.
    pub(super) fn give_back(&mut self, window: SignedDuration, now: Timestamp) -> Option<Lease> {
        let counts = now.duration_since(self.open.until) < window;
        if !counts || !self.open.is_certain || self.open.used >= self.open.granted {
            return None;
        }
        let next = Open::nothing(self.open.serial + 1, self.latest());
        mem::replace(&mut self.open, next).end(self.own.sum)
    }

    fn latest(&self) -> Timestamp {
        let last = self.own.slots.back().map(|slots| slots.at);
        last.map_or(self.open.since, |last| last.max(self.open.since))
    }

    fn use_slot(&mut self, policy: Policy, now: Timestamp) -> Quota {
        let at = now.max(self.latest());
        self.own.add(at);
        self.open.used = self.open.used.saturating_add(1);
        self.open.last = at;
        let left = u64::from(policy.most()).saturating_sub(self.own.sum + self.others.sum);
        let firsts = [self.own.slots.front(), self.others.slots.front()];
        let oldest = firsts.into_iter().flatten().map(|slots| slots.at).min().unwrap_or(at);
        Quota {
            policy,
            remaining: u32::try_from(left).unwrap_or(u32::MAX),
            // What others hold may be used later than now.
            resets_after: (policy.window - at.duration_since(oldest)).min(policy.window),
        }
    }

    /// Refuses one more, as far as is known without asking, if it is one too many.
    fn check(&mut self, policy: Policy, now: Timestamp) -> Result<(), TooMany> {
        let limit = policy.most();
        let full = self.full.take().filter(|full| full.limit == limit && now < full.until);
        self.full = full.or_else(|| self.is_full(policy, now));
        self.full.map_or(Ok(()), |full| Err(policy.refuse(full.until, now)))
    }

    fn is_full(&mut self, policy: Policy, now: Timestamp) -> Option<Full> {
        self.forget_old(policy.window, now);
        let limit = policy.most();
        let counted = self.own.sum + self.others.sum;
        if counted < u64::from(limit) {
            return None;
        }
        // Of a large limit, slots that become free one by one are waited for until there are some, a
        // tenth of a second's worth: each claim costs the same.
        let few = u64::from(part(limit, 600));
        let excess = counted + few - u64::from(limit);
        let mut slots: Vec<_> = self.own.slots.iter().chain(&self.others.slots).copied().collect();
        slots.sort_by_key(|slots| slots.at);
        let mut passed = 0;
        let last = slots.iter().find(|slots| {
            passed += u64::from(slots.n);
            passed >= excess
        });
        Some(Full { limit, until: last.map_or(now, |slots| slots.at + policy.window) })
    }

    fn forget_old(&mut self, window: SignedDuration, now: Timestamp) {
        self.own.forget_old(window, now);
        self.others.forget_old(window, now);
    }
}

/// So many parts of a limit are the whole; at least one slot.
fn part(limit: u32, parts: u32) -> u32 {
    (limit / parts).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{super::super::limits::minute, *};

    /// What the database does: a claim at a time.
    #[derive(Debug, Default)]
    struct Table {
        rows: BTreeMap<(String, i64), Slots>,
        claims: usize,
    }

    impl Table {
        fn write(&mut self, holder: &str, lease: Lease) {
            let name = (holder.to_owned(), lease.serial);
            if lease.slots.n == 0 {
                self.rows.remove(&name);
            } else {
                self.rows.insert(name, lease.slots);
            }
        }

        fn claim(&mut self, claim: &Claim) -> Claimed {
            self.claims += 1;
            for lease in &claim.ended {
                self.write(&claim.holder, *lease);
            }
            let since = claim.now - claim.window;
            let others = self.rows.iter().filter(|((holder, _), _)| *holder != claim.holder);
            let mut others: Vec<_> =
                others.map(|(_, slots)| *slots).filter(|slots| slots.at > since).collect();
            others.sort_by_key(|slots| slots.at);
            let granted = claim.grant(&others);
            if let Some(slots) = granted {
                self.write(&claim.holder, Lease { serial: claim.serial, slots });
            }
            Claimed { granted, others }
        }
    }

    /// Counts one by one, alone.
    struct Alone {
        policy: Policy,
        times: VecDeque<Timestamp>,
    }

    impl Alone {
        fn take(&mut self, now: Timestamp) -> Result<Quota, TooMany> {
            let Self { policy, times } = self;
            times.retain(|time| now.duration_since(*time) < policy.window);
            let left = policy.most() - u32::try_from(times.len()).unwrap();
            let Some(remaining) = left.checked_sub(1) else {
                return Err(policy.refuse(times[0] + policy.window, now));
            };
            times.push_back(now);
            let resets_after = policy.window - now.duration_since(times[0]);
            Ok(Quota { policy: *policy, remaining, resets_after })
        }
    }

    /// Asks as a server does that waits for the answer.
    fn ask(
        share: &mut Share,
        table: &mut Table,
        policy: Policy,
        now: Timestamp,
    ) -> Result<Quota, TooMany> {
        if let Some(quota) = share.take(policy, now)? {
            return Ok(quota);
        }
        let claim = share.claim(policy, ("k", 1), now);
        let claimed = table.claim(&claim);
        Ok(share.claimed(policy, (&claim, claimed), now)?.expect("no time passes"))
    }

    fn after(start: Timestamp, millis: i64) -> Timestamp {
        start + SignedDuration::from_millis(millis)
    }

    /// What happens at a server.
    #[derive(Debug, Clone)]
    enum Event {
        Asked(usize),
        /// The claim is under way while others go on.
        Slow,
        /// The claim arrives, and nobody waits for its answer any more.
        Lost,
        /// The claim never arrives.
        Cut,
        Killed,
        Stopped,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            8 => (1_usize..40).prop_map(Event::Asked),
            2 => Just(Event::Slow),
            1 => Just(Event::Lost),
            1 => Just(Event::Cut),
            1 => Just(Event::Killed),
            1 => Just(Event::Stopped),
        ]
    }

    /// A server, and its claim that is under way.
    type Node = (Share, Option<Claim>);

    fn begin(node: &mut Node, policy: Policy, now: Timestamp) {
        if node.1.is_none() && matches!(node.0.take(policy, now), Ok(None)) {
            node.1 = Some(node.0.claim(policy, ("k", 1), now));
        }
    }

    proptest! {
        /// Rows: L3, L6
        #[test]
        fn however_servers_come_and_go_never_more_than_the_limit_pass_within_any_window(
            limit in 1_u32..200,
            events in prop::collection::vec((0_usize..3, event(), 0_i64..9000), 1..120),
        ) {
            let policy = minute("k", limit);
            let mut now = Timestamp::UNIX_EPOCH;
            let mut table = Table::default();
            let mut nodes: Vec<Node> = (0..3).map(|_| (Share::new(now), None)).collect();
            let mut passed: Vec<Timestamp> = Vec::new();
            for (node, event, gap) in events {
                now = after(now, gap);
                let node = &mut nodes[node];
                match event {
                    Event::Asked(times) => {
                        if let Some(claim) = node.1.take() {
                            let claimed = table.claim(&claim);
                            let taken = node.0.claimed(policy, (&claim, claimed), now);
                            passed.extend(matches!(taken, Ok(Some(_))).then_some(claim.now));
                        }
                        let asked = (0..times).map(|_| ask(&mut node.0, &mut table, policy, now));
                        let ok = asked.filter(Result::is_ok).count();
                        passed.extend(std::iter::repeat_n(now, ok));
                    }
                    Event::Slow => begin(node, policy, now),
                    Event::Lost => {
                        begin(node, policy, now);
                        if let Some(claim) = node.1.take() {
                            table.claim(&claim);
                        }
                    }
                    Event::Cut => {
                        begin(node, policy, now);
                        node.1 = None;
                    }
                    Event::Killed => *node = (Share::new(now), None),
                    Event::Stopped => {
                        if let Some(lease) = node.0.give_back(policy.window, now) {
                            table.write(node.0.holder(), lease);
                        }
                        *node = (Share::new(now), None);
                    }
                }
            }
            passed.sort();
            for window in passed.windows(usize::try_from(limit).unwrap() + 1) {
                let [first, .., last] = window else { unreachable!() };
                prop_assert!(last.duration_since(*first) >= policy.window);
            }
        }

        /// Rows: L5, L6
        #[test]
        fn a_server_by_itself_counts_as_if_there_were_no_leases(
            limit in 1_u32..40,
            gaps in prop::collection::vec(0_i64..3000, 1..300),
        ) {
            let policy = minute("k", limit);
            let mut alone = Alone { policy, times: VecDeque::new() };
            let mut table = Table::default();
            let mut now = Timestamp::UNIX_EPOCH;
            let mut share = Share::new(now);
            for gap in gaps {
                now = after(now, gap);
                let told = |taken: Result<Quota, TooMany>| match taken {
                    Ok(quota) => (true, quota),
                    Err(too_many) => (false, too_many.quota),
                };
                let leased = told(ask(&mut share, &mut table, policy, now));
                prop_assert_eq!(leased, told(alone.take(now)));
            }
        }
    }

    #[test]
    fn much_is_claimed_for_whoever_asks_much_and_nothing_is_left_over_by_others() {
        let (policy, mut table) = (minute("k", 1_000_000), Table::default());
        let start = Timestamp::UNIX_EPOCH;
        let mut share = Share::new(start);
        for _ in 0..1_000_000 {
            ask(&mut share, &mut table, policy, start).unwrap();
        }
        assert!(ask(&mut share, &mut table, policy, start).is_err());
        assert!(table.claims < 20, "{}", table.claims);

        let (policy, mut table) = (minute("k", 100), Table::default());
        let mut share = Share::new(start);
        for number in 0..100 {
            ask(&mut share, &mut table, policy, after(start, number * 6000)).unwrap();
            let open: u32 = table.rows.values().map(|slots| slots.n).sum();
            assert_eq!(i64::from(open), number + 1);
        }
    }

    #[test]
    fn what_comes_free_of_a_large_limit_is_claimed_some_at_a_time() {
        let (policy, mut table) = (minute("k", 6000), Table::default());
        let start = Timestamp::UNIX_EPOCH;
        let mut share = Share::new(start);
        let asked =
            (0..180_000).map(|at| ask(&mut share, &mut table, policy, after(start, at)).is_ok());
        let passed = asked.filter(|passed| *passed).count();
        assert!((17_900..=18_000).contains(&passed), "{passed}");
        assert!(table.claims < 3 * 650, "{}", table.claims);
    }

    #[test]
    fn what_was_counted_alone_is_told_to_the_others_later() {
        let (policy, mut table) = (minute("k", 10), Table::default());
        let now = Timestamp::UNIX_EPOCH;
        let (mut share, mut other) = (Share::new(now), Share::new(now));
        drop(share.claim(policy, ("k", 1), now));
        for _ in 0..7 {
            share.take_alone(policy, now).unwrap();
        }
        let later = after(now, 6000);
        ask(&mut share, &mut table, policy, later).unwrap();
        let asked = (0..10).filter(|_| ask(&mut other, &mut table, policy, later).is_ok());
        assert_eq!(asked.count(), 2);
        let refused = ask(&mut other, &mut table, policy, later).unwrap_err();
        assert_eq!(refused.quota.resets_after, SignedDuration::from_secs(54));
    }
}
