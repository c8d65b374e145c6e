//! Ends of things that last a while.

use jiff::Timestamp;
use wire::settings::parse_duration;

use crate::exit::Stop;

/// The time that is `duration` (e.g. `30d`) from now.
pub(crate) fn after(duration: &str) -> Result<Timestamp, Stop> {
    let length = parse_duration(duration)
        .map_err(|reason| Stop::usage(format!("--expires-in: {reason}")))?;
    now()
        .checked_add(length)
        .map_err(|_| Stop::usage(format!("--expires-in: `{duration}` is too long")))
}

#[expect(clippy::disallowed_methods, reason = "expiry is told from the moment of asking")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
