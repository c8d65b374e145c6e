//! Installers as their files tell of themselves: ours, and those of others that keep to their formats.
//!
//! ```text
//! file ──open──▶ Contents ──layout::check──▶ more checks
//!                   └───── diff::between ───▶ differences of two
//! ```
//!
//! - [`deb`], [`rpm`], [`msi`], [`pkg`]: a reader for each format, which hashes every file once and compares
//!   it with what the format recorded.
//! - [`decode`], [`tar`], [`cpio`]: what those have in common.
//! - [`files`]: what is found, within bounds.
//! - [`settings`]: what an agent's package tells its agent.
//! - [`layout`]: what is expected of a package whatever its format.
//! - [`diff`]: what is different between two.
//!
//! **Invariant:** nothing in a file decides how much memory is taken or how long it takes: counts, lengths and
//! ratios beyond what packages have are refused by a named error. Files are streamed and never held.

mod cpio;
mod deb;
mod decode;
pub mod diff;
mod error;
mod files;
pub mod layout;
mod msi;
mod pkg;
mod rpm;
pub mod settings;
mod tar;
mod xml;

use std::{collections::BTreeMap, fmt, io::SeekFrom};

use serde::Serialize;

use crate::format::ReadSeek;

pub use self::{
    error::ReadError,
    files::{Found, FoundKind},
    pkg::check_code,
    settings::Settings,
};

/// A package, as its file tells.
#[derive(Debug, Clone)]
pub struct Contents {
    pub kind: Kind,
    /// What it says of itself, in the format's own order: names in lower case, without what is empty.
    pub metadata: Vec<(&'static str, String)>,
    /// What it lays, by path. An msi's paths begin with the installer's name of a folder.
    pub files: BTreeMap<String, Found>,
    /// What it runs when it is installed or removed, by name.
    pub scripts: BTreeMap<String, String>,
    pub signatures: Vec<Signature>,
    pub settings: Settings,
    /// What the format records of itself, compared with what is there.
    pub checks: Vec<Check>,
}

impl Contents {
    /// What the package says of itself under `name`; empty if it says nothing.
    #[must_use]
    pub fn says(&self, name: &str) -> &str {
        self.metadata.iter().find(|(its, _)| *its == name).map_or("", |(_, value)| value)
    }
}

/// A format that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Deb,
    Rpm,
    Msi,
    Pkg,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
            Self::Msi => "msi",
            Self::Pkg => "pkg",
        })
    }
}

/// A signature that is there. Whether it is good is not for here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// Where it is, as the format calls it.
    pub place: String,
    /// `openpgp`, `authenticode`, `cms`, `rsa`.
    pub scheme: &'static str,
    /// In bytes.
    pub size: u64,
}

/// Something that was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub what: String,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "outcome", content = "reason")]
pub enum Outcome {
    Passed,
    Failed(String),
    /// It could not be made, for this reason.
    Unchecked(String),
    /// The format leaves it out, and this package does.
    Absent(String),
}

impl Check {
    pub(crate) fn new(what: impl Into<String>, outcome: Outcome) -> Self {
        Self { what: what.into(), outcome }
    }

    /// Fails with all of `wrong`, shortened, unless there is nothing in it.
    pub(crate) fn of_many(what: impl Into<String>, wrong: &[String]) -> Self {
        const SHOWN: usize = 5;
        let outcome = match wrong {
            [] => Outcome::Passed,
            some if some.len() <= SHOWN => Outcome::Failed(some.join("; ")),
            many => {
                let rest = many.len() - SHOWN;
                Outcome::Failed(format!("{}; and {rest} more", many[..SHOWN].join("; ")))
            }
        };
        Self::new(what, outcome)
    }

    /// Whether `found` is what was recorded.
    pub(crate) fn same(what: impl Into<String>, recorded: &str, found: &str) -> Self {
        let same = recorded.eq_ignore_ascii_case(found);
        let outcome = if same {
            Outcome::Passed
        } else {
            Outcome::Failed(format!("it is {found}, {recorded} was recorded"))
        };
        Self::new(what, outcome)
    }
}

/// Reads all of `file`, which may stand anywhere. Hashes every file in the package.
pub fn open(file: &mut dyn ReadSeek) -> Result<Contents, ReadError> {
    let mut magic = [0; 8];
    file.seek(SeekFrom::Start(0)).map_err(ReadError::Read)?;
    let read = decode::fill(file, &mut magic).map_err(ReadError::Read)?;
    file.seek(SeekFrom::Start(0)).map_err(ReadError::Read)?;
    match &magic[..read] {
        b"!<arch>\n" => deb::read(file),
        [0xed, 0xab, 0xee, 0xdb, ..] => rpm::read(file),
        [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1] => msi::read(file),
        [b'x', b'a', b'r', b'!', ..] => pkg::read(file),
        _ => Err(ReadError::Unknown),
    }
}
