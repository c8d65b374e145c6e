//! Lengths of time as people write them: `30s`, `15m`, `7d`.

use std::{fmt, str::FromStr, time::Duration};

use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time, from a millisecond to ten years, so that now and this make a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

impl Period {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    #[must_use]
    pub const fn as_duration(self) -> Duration {
        self.0
    }

    /// For arithmetic with times.
    #[must_use]
    pub fn as_signed(self) -> SignedDuration {
        SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX)
    }
}

/// A length of time, or none: written `0`, something has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime(pub Option<Period>);

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(0) => Ok(Self(None)),
            Written::Number(number) => {
                Err(serde::de::Error::custom(PeriodError::Unreadable(number.to_string())))
            }
            Written::Text(text) if text == "0" => Ok(Self(None)),
            Written::Text(text) => {
                text.parse().map(|period| Self(Some(period))).map_err(serde::de::Error::custom)
            }
        }
    }
}

impl Serialize for Lifetime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(period) => period.serialize(serializer),
            None => serializer.serialize_u64(0),
        }
    }
}

/// The longest of all.
const MAX: Period = Period::seconds(3650 * DAY);
const SHORTEST: Duration = Duration::from_millis(1);
/// Hours and days in seconds, to be given to [`at_most`].
pub(super) const HOUR: u64 = 60 * 60;
pub(super) const DAY: u64 = 24 * HOUR;

/// Why a text is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeriodError {
    #[error("`{0}` is not a length of time such as `30s`, `15m` or `7d`")]
    Unreadable(String),
    #[error("`{0}` is too long: at most {1}")]
    TooLong(String, Period),
}

/// Reads a period of at most so many seconds, for `#[serde(deserialize_with)]`: refused while it is
/// read, it is told with its line.
pub(super) fn at_most<'de, D: Deserializer<'de>, const SECONDS: u64>(
    deserializer: D,
) -> Result<Period, D::Error> {
    let period = Period::deserialize(deserializer)?;
    let most = Period::seconds(SECONDS);
    if period > most {
        let error = PeriodError::TooLong(period.to_string(), most);
        return Err(serde::de::Error::custom(error));
    }
    Ok(period)
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let refuse = || PeriodError::Unreadable(text.to_owned());
        let span: Span = text.parse().map_err(|_| refuse())?;
        let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| refuse())?;
        match Duration::try_from(length) {
            Ok(length) if length > MAX.0 => Err(PeriodError::TooLong(text.to_owned(), MAX)),
            Ok(length) if length >= SHORTEST => Ok(Self(length)),
            Ok(_) | Err(_) => Err(refuse()),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            _ if self.0.subsec_nanos() != 0 => write!(f, "{}ms", self.0.as_millis()),
            _ if seconds.is_multiple_of(86_400) => write!(f, "{}d", seconds / 86_400),
            _ if seconds.is_multiple_of(3600) => write!(f, "{}h", seconds / 3600),
            _ if seconds.is_multiple_of(60) => write!(f, "{}m", seconds / 60),
            _ => write!(f, "{seconds}s"),
        }
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        for text in ["15m", "7d", "90s", "36h", "250ms"] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
        for bad in ["", "0s", "-1m", "soon", "15", "1y", "1ns", "3651d", "999999999999d"] {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
        assert_eq!("3650d".parse::<Period>().unwrap(), MAX);
    }
}
