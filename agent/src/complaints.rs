//! Keeps the log readable while something goes wrong for hours: what is new is said at once, what
//! is known already is repeated once an hour.

use std::{
    error::Error,
    fmt::Write as _,
    time::{Duration, Instant},
};

/// How often a failure that persists is mentioned again.
const REMINDER: Duration = Duration::from_hours(1);

/// One thing that can go wrong, e.g. reaching the server.
#[derive(Debug, Default)]
pub struct Complaint {
    /// What goes wrong, since it does, and when it was last mentioned.
    current: Option<(&'static str, Instant)>,
}

impl Complaint {
    /// Notes a failure. Tells whether it is worth a line in the log: when its kind differs from
    /// the last one's, or an hour has passed.
    pub fn raise(&mut self, kind: &'static str, now: Instant) -> bool {
        let known = self.current.is_some_and(|(current, mentioned)| {
            current == kind && now.duration_since(mentioned) < REMINDER
        });
        if !known {
            self.current = Some((kind, now));
        }
        !known
    }

    /// Notes a success. Tells whether a failure came before it.
    pub fn settle(&mut self) -> bool {
        self.current.take().is_some()
    }
}

/// The error and all that caused it, in one line.
#[must_use]
pub fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test is its own driver")]
    fn what_is_known_is_repeated_once_an_hour() {
        let start = Instant::now();
        let mut complaint = Complaint::default();
        assert!(complaint.raise("tls", start));
        assert!(!complaint.raise("tls", start + Duration::from_mins(59)));
        assert!(complaint.raise("dns", start + Duration::from_mins(59)));
        assert!(complaint.raise("tls", start + Duration::from_mins(60)));
        assert!(complaint.raise("tls", start + Duration::from_mins(120)));
        assert!(complaint.settle());
        assert!(!complaint.settle());
    }
}
