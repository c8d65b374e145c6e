//! How fast things are tried: delays, their growth, and chance.

use std::time::Duration;

/// Delays between attempts.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Between attempts to enroll.
    pub enroll: Retry,
    /// Between attempts that a person must make succeed: a refused or missing enroll secret, an
    /// address that is no Fleet server.
    pub enroll_slow: Duration,
    /// Between attempts to write a node key that the disk did not take.
    pub save: Duration,
    /// Between polls; failures make it grow.
    pub poll: Retry,
    /// The longest `Retry-After` that is obeyed.
    pub longest_obeyed: Duration,
    /// Between an osqueryd, or a fleet-desktop, that crashed and the next.
    pub osqueryd: Retry,
    /// One that ran for so long was well.
    pub osqueryd_settled: Duration,
    /// How long osqueryd may take to end before it is killed.
    pub osqueryd_grace: Duration,
    /// How long a killed osqueryd is waited for at shutdown.
    pub shutdown_grace: Duration,
    /// Between two looks for updates.
    pub update: Duration,
    /// How long osqueryd waits for the first look.
    pub early_update: Duration,
    /// Within what time a new version of the agent must have reached the server.
    pub health_window: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            enroll: Retry { first: seconds(10), most: seconds(160) },
            enroll_slow: seconds(300),
            save: seconds(30),
            poll: Retry { first: seconds(30), most: seconds(300) },
            longest_obeyed: LONGEST_OBEYED,
            osqueryd: Retry { first: seconds(1), most: seconds(60) },
            osqueryd_settled: seconds(60),
            osqueryd_grace: seconds(10),
            shutdown_grace: seconds(2),
            update: wire::settings::DEFAULT_UPDATE_INTERVAL,
            early_update: seconds(60),
            health_window: seconds(600),
        }
    }
}

/// A delay that doubles with each failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    pub first: Duration,
    /// It grows no further than this.
    pub most: Duration,
}

/// For no longer than this the server is left alone because it asks to be.
pub(crate) const LONGEST_OBEYED: Duration = update::connection::LONGEST_RESPITE;

/// How often in a row a program may end by itself, without having run well, before it is worth a word.
pub(crate) const LOOP: u32 = 5;

/// How often something failed in a row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backoff(u32);

impl Backoff {
    /// Counts a failure and tells how long to wait after it.
    pub(crate) fn fail(&mut self, retry: Retry) -> Duration {
        let delay = retry.first.saturating_mul(1 << self.0.min(20)).min(retry.most);
        self.0 = self.0.saturating_add(1);
        delay
    }

    pub(crate) fn reset(&mut self) {
        self.0 = 0;
    }
}

/// Chance, seeded from outside.
#[derive(Debug)]
pub(super) struct Dice(fastrand::Rng);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Four to six fifths of `delay`, so that devices that started together drift apart.
    pub(super) fn jittered(&mut self, delay: Duration) -> Duration {
        delay * 4 / 5 + self.fraction_of(delay * 2 / 5)
    }

    /// From nothing up to `most`.
    pub(super) fn fraction_of(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.0.f64())
    }
}
