//! What time it is, as far as that decides whether metadata has expired.

use jiff::Timestamp;

/// The time to judge by; none: nobody knows.
///
/// A clock that is before the date of a program on this device, `floor`, is wrong: battery and
/// network time are missing. Then the server's date, as it told it last, stands in. Nothing of it is
/// kept, so a clock that was wrong once does no harm once it is right.
#[must_use]
pub fn judge_by(own: Timestamp, floor: Timestamp, server: Option<Timestamp>) -> Option<Timestamp> {
    if own >= floor { Some(own) } else { server }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_the_newest_program_is_not_believed() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (lost, built) = (at("1970-01-01T00:05:00Z"), at("2026-03-01T00:00:00Z"));
        let (today, told) = (at("2026-05-01T00:00:00Z"), at("2026-05-02T00:00:00Z"));
        assert_eq!(judge_by(today, built, Some(told)), Some(today));
        assert_eq!(judge_by(lost, built, Some(told)), Some(told));
        assert_eq!(judge_by(lost, built, None), None);
        // A program dated in the future, of a publisher whose clock was wrong, blocks nobody either.
        assert_eq!(judge_by(today, at("2099-01-01T00:00:00Z"), Some(told)), Some(told));
    }
}
