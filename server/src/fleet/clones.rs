//! Whether two machines use one key: what each use of it leaves behind, and what gives two away.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::limiter::network_of;

/// Of an agent's instances, so many are remembered.
const MAX_INSTANCES: usize = 4;

/// The longest name of an instance, in characters.
const MAX_INSTANCE: usize = 64;

/// Another network counts as a switch when the one before it was no longer ago.
const SWITCHES_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// Where a key was last used from, as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct KeyUse {
    network: String,
    /// How often the network has changed, each time soon after the time before.
    switches: u32,
    /// When it last did, in milliseconds.
    switched_at: i64,
    /// Names that agents chose when they started, the latest first.
    instances: Vec<String>,
}

/// Why a key seems to be used by two machines at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// An agent is back that another had taken the place of: it had never stopped.
    Instances,
    /// It comes from one network and another in turns.
    Networks,
}

impl Suspicion {
    /// As the audit trail has it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Instances => "two agents take turns",
            Self::Networks => "two networks take turns",
        }
    }
}

impl KeyUse {
    /// What another use leaves behind, and what it tells. `most`: so many switches are suspicious, if
    /// any number is.
    pub(super) fn then(
        &self,
        address: IpAddr,
        instance: Option<&str>,
        (most, now): (u32, Timestamp),
    ) -> (Self, Option<Suspicion>) {
        let mut next = self.clone();
        let moved = next.switch(network_of(address), now) && most > 0 && next.switches >= most;
        if moved {
            next.switches = 0;
        }
        let returned = instance.is_some_and(|instance| next.meet(instance));
        let suspicion = match (returned, moved) {
            (true, _) => Some(Suspicion::Instances),
            (false, true) => Some(Suspicion::Networks),
            (false, false) => None,
        };
        (next, suspicion)
    }

    /// Whether it comes from another network than the last time.
    fn switch(&mut self, network: String, now: Timestamp) -> bool {
        if self.network == network {
            return false;
        }
        let first = self.network.is_empty();
        self.network = network;
        if first {
            return false;
        }
        let now = now.as_millisecond();
        let ago = SignedDuration::from_millis(now.saturating_sub(self.switched_at));
        let soon = ago <= SWITCHES_WITHIN;
        self.switches = if soon { self.switches.saturating_add(1) } else { 1 };
        self.switched_at = now;
        true
    }

    /// Whether an agent is back after another one.
    fn meet(&mut self, instance: &str) -> bool {
        let instance: String = instance.chars().take(MAX_INSTANCE).collect();
        let before = self.instances.iter().position(|known| *known == instance);
        match before {
            Some(0) => return false,
            Some(place) => drop(self.instances.remove(place)),
            None => {}
        }
        self.instances.insert(0, instance);
        self.instances.truncate(MAX_INSTANCES);
        before.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each of several uses tells: seconds since the one before, the last number of the address,
    /// and the instance.
    fn told(uses: &[(i64, u8, Option<&str>)]) -> Vec<Option<Suspicion>> {
        let (mut key, mut now) = (KeyUse::default(), Timestamp::UNIX_EPOCH);
        uses.iter()
            .map(|(seconds, host, instance)| {
                now += SignedDuration::from_secs(*seconds);
                let (next, told) = key.then([192, 0, 2, *host].into(), *instance, (4, now));
                key = next;
                told
            })
            .collect()
    }

    #[test]
    fn agents_that_take_turns_are_two() {
        let restarts = ["a", "a", "b", "b", "c"].map(|name| (30, 1, Some(name)));
        assert_eq!(told(&restarts), [None; 5]);
        let turns = ["a", "b", "a", "b"].map(|name| (30, 1, Some(name)));
        let suspected = Some(Suspicion::Instances);
        assert_eq!(told(&turns), [None, None, suspected, suspected]);
        let three = ["a", "b", "c", "a"].map(|name| (30, 1, Some(name)));
        assert_eq!(told(&three)[3], suspected);
    }

    #[test]
    fn networks_that_take_turns_are_two_machines_and_a_journey_is_one() {
        let turns: Vec<_> = (0..6).map(|turn| (30, turn % 2, None)).collect();
        let mut expected = vec![None; 6];
        expected[4] = Some(Suspicion::Networks);
        assert_eq!(told(&turns), expected, "the fourth switch");
        let journey: Vec<_> = (0..20).map(|stop| (301, stop, None)).collect();
        assert!(told(&journey).iter().all(Option::is_none));
    }
}
