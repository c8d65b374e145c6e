//! What time it is, as far as that decides whether metadata has expired.
//!
//! This device's clock may be wrong in both directions, and nobody but the device's server tells
//! another time: over TLS, so no mirror and nobody on the way can choose it. The server itself could
//! tell a date that has passed and so keep alive what has expired. It could as well not answer at
//! all: it may delay an update, and never choose one or take one back, since versions only rise.

use jiff::Timestamp;

/// The time to judge by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    pub now: Timestamp,
    /// The time to judge by what has expired by then; none: it has expired.
    pub instead: Option<Timestamp>,
}

impl From<Timestamp> for Judged {
    fn from(now: Timestamp) -> Self {
        Self { now, instead: None }
    }
}

/// The server's date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// It is not earlier.
    pub least: Timestamp,
    /// The same, if all that this device's clock went ahead since was sleep.
    pub likely: Timestamp,
}

/// The time to judge by; none: nobody knows.
///
/// A clock that is before the date of a program on this device, `floor`, is wrong: battery and
/// network time are missing. Then the server's date, as it told it last, stands in. So it does where
/// the clock is behind it, lest expired metadata counts as good; where the clock is ahead, what has
/// expired by it is judged by the server's date too, lest it stops updates for ever. Nothing of it is
/// kept, so a clock that was wrong once does no harm once it is right.
#[must_use]
pub fn judge_by(own: Timestamp, floor: Timestamp, server: Option<Told>) -> Option<Judged> {
    let Some(server) = server else { return (own >= floor).then(|| own.into()) };
    if own < floor {
        return Some(server.least.into());
    }
    let is_ahead = server.likely < own;
    let instead = is_ahead.then(|| server.likely.max(floor));
    Some(Judged { now: own.max(server.least), instead })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn told(text: &str) -> Option<Told> {
        Some(Told { least: at(text), likely: at(text) })
    }

    #[test]
    fn a_clock_before_the_newest_program_is_not_believed() {
        let (lost, built) = (at("1970-01-01T00:05:00Z"), at("2026-03-01T00:00:00Z"));
        let (today, server) = (at("2026-05-01T00:00:00Z"), told("2026-05-01T00:00:00Z"));
        assert_eq!(judge_by(today, built, server), Some(today.into()));
        assert_eq!(judge_by(today, built, None), Some(today.into()));
        assert_eq!(judge_by(lost, built, server), Some(today.into()));
        assert_eq!(judge_by(lost, built, None), None);
        // A program dated in the future, of a publisher whose clock was wrong, blocks nobody either.
        assert_eq!(judge_by(today, at("2099-01-01T00:00:00Z"), server), Some(today.into()));
    }

    #[test]
    fn a_clock_behind_the_servers_keeps_nothing_alive() {
        let (behind, built) = (at("2026-04-20T00:00:00Z"), at("2026-03-01T00:00:00Z"));
        let judged = judge_by(behind, built, told("2026-05-01T00:00:00Z"));
        assert_eq!(judged, Some(at("2026-05-01T00:00:00Z").into()));
    }

    #[test]
    fn a_clock_ahead_of_the_servers_ends_nothing_for_ever() {
        let (ahead, built) = (at("2026-05-11T00:00:00Z"), at("2026-03-01T00:00:00Z"));
        let instead = |server| judge_by(ahead, built, server).map(|it| (it.now, it.instead));
        let today = at("2026-05-01T00:00:00Z");
        assert_eq!(instead(told("2026-05-01T00:00:00Z")), Some((ahead, Some(today))));
        assert_eq!(instead(told("2020-01-01T00:00:00Z")), Some((ahead, Some(built))));
        // It slept since the server told its date.
        let slept = Told { least: today, likely: ahead };
        assert_eq!(instead(Some(slept)), Some((ahead, None)));
    }
}
