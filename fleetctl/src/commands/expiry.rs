//! Ends of things that last a while.

use std::time::Duration;

use jiff::Timestamp;

use crate::exit::Stop;

/// The time that is `duration` from now.
pub(crate) fn after(duration: Duration) -> Result<Timestamp, Stop> {
    now()
        .checked_add(duration)
        .map_err(|_| Stop::usage("--expires-in goes beyond the end of the calendar"))
}

#[expect(clippy::disallowed_methods, reason = "expiry is told from the moment of asking")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
