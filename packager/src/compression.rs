//! How a format's members are squeezed: which algorithm, how hard, and on how many cores.
//!
//! The number of cores never changes the bytes. What zstd and xz make is one frame and one stream:
//! dpkg reads no further than the first.

mod encoder;
mod gzip;
mod workers;

pub(crate) use encoder::Encoder;
pub(crate) use gzip::{GzipWriter, Shape, gzipped};
pub(crate) use workers::Workers;

use std::{fmt, num::NonZeroUsize, ops::RangeInclusive, str::FromStr, thread};

use crate::error::SpecError;

/// As many threads as this process may run at once.
#[must_use]
pub fn all_cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// An algorithm and its level. Written `none`, `gzip`, `gzip:9`, `xz:6`, `zstd:3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    algorithm: Algorithm,
    level: u8,
}

/// What packages can be squeezed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    None,
    Gzip,
    Xz,
    Zstd,
}

impl Compression {
    /// Nothing is squeezed.
    pub const NONE: Self = Self { algorithm: Algorithm::None, level: 0 };

    /// `algorithm` at the level that is best for its time.
    #[must_use]
    pub const fn of(algorithm: Algorithm) -> Self {
        Self { algorithm, level: algorithm.default_level() }
    }

    /// `algorithm` at `level`; None if it has no such level.
    #[must_use]
    pub fn with_level(algorithm: Algorithm, level: u8) -> Option<Self> {
        algorithm.levels().contains(&level).then_some(Self { algorithm, level })
    }

    #[must_use]
    pub const fn algorithm(self) -> Algorithm {
        self.algorithm
    }

    #[must_use]
    pub const fn level(self) -> u8 {
        self.level
    }
}

impl Algorithm {
    /// As it is written in options.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }

    #[must_use]
    pub const fn levels(self) -> RangeInclusive<u8> {
        match self {
            Self::None => 0..=0,
            Self::Gzip => 1..=9,
            Self::Xz => 0..=9,
            Self::Zstd => 1..=19,
        }
    }

    /// Beyond these, a package gets a few percent smaller for many times the time.
    const fn default_level(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip | Self::Xz => 6,
            Self::Zstd => 3,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.algorithm {
            Algorithm::None => f.write_str("none"),
            Algorithm::Gzip | Algorithm::Xz | Algorithm::Zstd => {
                write!(f, "{}:{}", self.algorithm.name(), self.level)
            }
        }
    }
}

impl FromStr for Compression {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let wrong = |reason: String| SpecError::Compression { given: text.to_owned(), reason };
        let (name, level) = text.split_once(':').map_or((text, None), |(a, b)| (a, Some(b)));
        let algorithm = match name {
            "none" => Algorithm::None,
            "gzip" => Algorithm::Gzip,
            "xz" => Algorithm::Xz,
            "zstd" => Algorithm::Zstd,
            _ => return Err(wrong("it is none of none, gzip, xz and zstd".into())),
        };
        let Some(level) = level else { return Ok(Self::of(algorithm)) };
        let levels = algorithm.levels();
        level.parse().ok().and_then(|level| Self::with_level(algorithm, level)).ok_or_else(|| {
            wrong(format!("its level is not within {} and {}", levels.start(), levels.end()))
        })
    }
}
