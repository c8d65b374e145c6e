//! A tree with a name and a life cycle. Knows no format.

use std::{str::FromStr, time::Duration};

use semver::Version;

use crate::{
    payload::{ComponentKind, Library, Platform},
    spec::Publisher,
    tree::{FileTree, InstallPath},
};

/// The newest date that anything in a package carries, in seconds since 1970.
///
/// Comes from `SOURCE_DATE_EPOCH` or from the newest component, never from the clock. Installers
/// hold it in 32 bits, so it ends in 2106.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceDate(u32);

impl SourceDate {
    #[must_use]
    pub const fn from_unix(seconds: u32) -> Self {
        Self(seconds)
    }

    #[must_use]
    pub const fn unix(self) -> u32 {
        self.0
    }

    /// As a calendar has it, in UTC.
    #[must_use]
    pub fn timestamp(self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH + Duration::from_secs(u64::from(self.0))
    }
}

impl FromStr for SourceDate {
    type Err = std::num::ParseIntError;

    /// Reads what `SOURCE_DATE_EPOCH` holds.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Everything that a format needs to know.
#[derive(Debug, Clone)]
pub struct Package {
    pub metadata: Metadata,
    pub tree: FileTree,
    pub lifecycle: Lifecycle,
    pub built_at: SourceDate,
}

/// What a package says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    pub name: &'static str,
    pub version: Version,
    pub platform: Platform,
    /// One line, no full stop.
    pub summary: &'static str,
    /// Lines of less than 80 characters, an empty one between paragraphs.
    pub description: &'static str,
    /// Whose package it is.
    pub publisher: Publisher,
    /// SPDX expression.
    pub license: &'static str,
    /// Packages that own the same files. They have to be removed first: formats do not offer to
    /// replace them, because a package that is replaced cleans up after its successor is laid,
    /// and Fleet's deletes `/opt/orbit` then.
    pub conflicts: &'static [&'static str],
    /// Packages that most want beside it.
    pub recommends: &'static [&'static str],
    /// What its programs need of a Linux system, sorted by name.
    pub libraries: Vec<Library>,
}

impl Metadata {
    /// Of everything that we make.
    pub(crate) const LICENSE: &str = "Apache-2.0 OR MIT";
}

/// What must happen on a device besides files being laid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    /// What runs in the background. None: a package of commands alone.
    pub service: Option<Service>,
    /// Whom the service runs as. None: root.
    pub account: Option<Account>,
    pub pointers: Vec<Pointer>,
    /// What removal keeps and purge deletes.
    pub state: Vec<InstallPath>,
}

impl Lifecycle {
    /// Of a package whose files are all there is to it.
    #[must_use]
    pub fn none() -> Self {
        Self { service: None, account: None, pointers: Vec::new(), state: Vec::new() }
    }

    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::none()
    }
}

/// A program that its system's service manager runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// As the manager knows it.
    pub name: &'static str,
    /// Enable and start it on first installation.
    pub start: bool,
}

/// A user of the system, with a group of the same name, that exists for a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    pub name: &'static str,
    /// What it is for, as `/etc/passwd` tells.
    pub purpose: &'static str,
    /// Its home, an absolute path.
    pub home: &'static str,
}

impl Account {
    /// The line of sysusers.d(5) that asks for it.
    #[must_use]
    pub fn sysusers(&self) -> String {
        format!("u {} - \"{}\" {}", self.name, self.purpose, self.home)
    }
}

/// A symlink that is no part of the tree, because updates move it: it names the version of a
/// component that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    pub component: ComponentKind,
    /// Where it is.
    pub link: InstallPath,
    /// The packaged file that it leads to unless an update has brought a newer version.
    pub packaged: InstallPath,
    /// Of the packaged file.
    pub version: Version,
}
