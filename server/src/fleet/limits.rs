//! Limits on attempts. Two kinds, by what they cost:
//!
//! - What guesses secrets (signing in, refreshing, codes) is counted in the database, so that the
//!   limits hold across servers and restarts, to the attempt. Of devices, which may come by the thousand,
//!   failures alone are ([`limiter`](super::limiter)).
//! - Requests of the API are leased from the database, some at a time, because a write for each
//!   would cost more than the request ([`leases`](super::leases)). These limits hold as far.
//!
//! Both are exact sliding windows: never more than the limit within any window. Agents' requests that
//! are good are in neither: a device behind the same address as a thousand others is not to wait for them.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;

use super::{
    Actor, Fleet, Inner, StoreError,
    errors::TooMany,
    leases::PATIENCE,
    limiter::network_of,
    store::{Attempt, Bucket, Tx},
};

/// One limit, as headers tell it: the name, how many within how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub name: &'static str,
    pub limit: u32,
    pub window: SignedDuration,
    /// Where nobody is shut out: each attempt beyond the limit waits twice as long as the one before,
    /// at most this long.
    pub longest_wait: Option<SignedDuration>,
}

/// What a request is about. Each part has its own count: whoever has used up the API's still signs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Api,
    /// Signing in and out, and one's own account.
    Accounts,
}

/// How a caller stands with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub policy: Policy,
    /// How many more are allowed at this moment.
    pub remaining: u32,
    /// When there are more, or all again.
    pub resets_after: SignedDuration,
}

/// Attempts that count until they are given back.
#[derive(Debug)]
pub(super) struct Taken(Vec<String>);

/// Either it was one attempt too many, or the database is away.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Policy {
    /// At most `limit` within any `window`.
    pub(super) const fn new(name: &'static str, limit: u32, window: SignedDuration) -> Self {
        Self { name, limit, window, longest_wait: None }
    }

    /// How the database names what is counted for `whom`.
    pub(super) fn name_for(&self, whom: &str) -> String {
        format!("{} {whom}", self.name)
    }

    /// How many there may be, at least one.
    pub(super) fn most(&self) -> u32 {
        self.limit.max(1)
    }

    /// The limit as it is for `whom`.
    pub(super) fn bucket(&self, whom: &str) -> Bucket {
        let Self { limit, window, longest_wait, .. } = *self;
        Bucket { name: self.name_for(whom), limit, window, longest_wait }
    }

    /// The refusal of whoever has to wait until `until`.
    pub(super) fn refuse(self, until: Timestamp, now: Timestamp) -> TooMany {
        let wait = until.duration_since(now);
        TooMany { quota: Quota { policy: self, remaining: 0, resets_after: wait } }
    }
}

impl Fleet {
    /// Takes an attempt for each policy and whom it is about, or for none.
    pub(super) async fn take(&self, limits: &[(Policy, String)]) -> Result<Taken, LimitError> {
        let now = self.now();
        let buckets: Vec<_> = limits.iter().map(|(policy, whom)| policy.bucket(whom)).collect();
        match self.0.store.take_attempt(&buckets, now).await? {
            Attempt::Taken(ids) => Ok(Taken(ids)),
            Attempt::Full { bucket, until } => Err(limits[bucket].0.refuse(until, now).into()),
        }
    }

    /// Takes an attempt in a transaction that holds what it is about.
    pub(super) async fn take_held(
        &self,
        tx: &mut Tx,
        (policy, whom): (Policy, &str),
    ) -> Result<(), LimitError> {
        let now = self.now();
        match tx.take_held_attempt(&policy.bucket(whom), now).await? {
            None => Ok(()),
            Some(until) => Err(policy.refuse(until, now).into()),
        }
    }

    /// What was taken does not count: it was no failure.
    pub(super) async fn give_back(&self, taken: Taken) -> Result<(), StoreError> {
        self.0.store.give_back_attempt(&taken.0).await
    }

    /// Set-up codes that were tried, of one network.
    pub(super) fn setup_policy() -> Policy {
        Policy::new("set-up", 10, SignedDuration::from_mins(15))
    }

    /// Accounts that were asked for from one network.
    pub(super) fn registration_policy() -> Policy {
        Policy::new("registration", 10, SignedDuration::from_mins(15))
    }

    /// Mails of one kind that strangers have sent to one address.
    pub(super) fn mail_policy() -> Policy {
        Policy::new("mail", 3, SignedDuration::from_hours(1))
    }

    /// Mails that strangers of one network have sent, whoever to.
    pub(super) fn mail_network_policy() -> Policy {
        Policy::new("mail-network", 30, SignedDuration::from_hours(1))
    }

    /// Sign-ins that failed, of one account from one network.
    pub(super) fn login_policy(&self) -> Policy {
        let limits = &self.0.config.limits;
        let (limit, window) = (limits.login_attempts, limits.login_window.as_signed());
        Policy::new("login", limit, window)
    }

    /// Sign-ins that failed of one account, from networks that its person has not signed in from.
    /// Whoever has many networks guesses slowly; nobody is shut out for longer than the window, nor
    /// where they have been before.
    pub(super) fn login_account_policy(&self) -> Policy {
        let limits = &self.0.config.limits;
        let longest_wait = Some(limits.login_window.as_signed());
        let window = SignedDuration::from_hours(24);
        let policy = Policy::new("login-account", limits.login_attempts_per_account, window);
        Policy { longest_wait, ..policy }
    }

    /// Sign-ins that failed from one network, whatever the account.
    pub(super) fn login_network_policy(&self) -> Policy {
        let limits = &self.0.config.limits;
        let (limit, window) = (limits.login_attempts_per_network, limits.login_window.as_signed());
        Policy::new("login-network", limit, window)
    }

    /// Refreshes of one session.
    pub(super) fn refresh_policy(&self) -> Policy {
        minute("refresh", self.0.config.limits.refreshes_per_minute)
    }

    /// Counts a request of somebody who is known.
    pub async fn count_request(&self, actor: &Actor, part: Part) -> Result<Quota, TooMany> {
        let leases = match part {
            Part::Api => &self.0.requests,
            Part::Accounts => &self.0.account_requests,
        };
        let (whom, own) = (actor.principal(), actor.requests_per_minute());
        leases.take((&self.0.store, &self.0.clock), &whom, own).await
    }

    /// Counts a request that shows no good token.
    pub async fn count_stranger(&self, address: IpAddr, part: Part) -> Result<Quota, TooMany> {
        let leases = match part {
            Part::Api => &self.0.anonymous,
            Part::Accounts => &self.0.strangers,
        };
        leases.take((&self.0.store, &self.0.clock), &network_of(address), None).await
    }

    /// Gives back what was leased and is not used, so that other servers and the next one have it.
    pub(super) async fn give_back_leases(&self) {
        let Inner { requests, account_requests, anonymous, strangers, store, .. } = &*self.0;
        let (all, now) = ([requests, account_requests, anonymous, strangers], self.now());
        let leases: Vec<_> = all.into_iter().flat_map(|it| it.give_back(now)).collect();
        let given_back = timeout(PATIENCE, store.give_back_leases(&leases)).await;
        if !matches!(given_back, Ok(Ok(()))) {
            tracing::warn!("could not give back leased requests; they count for a minute");
        }
    }
}

/// `limit` in a minute.
pub(super) const fn minute(name: &'static str, limit: u32) -> Policy {
    Policy::new(name, limit, SignedDuration::from_mins(1))
}
