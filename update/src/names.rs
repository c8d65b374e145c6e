//! What a repository's targets are called: `<component>/<platform>/<channel>/<file>`.
//!
//! The names are Fleet's, so that agents and tools which know one kind of repository know the
//! other. The file at the end follows from component and platform, so a [`TargetName`] holds only
//! the first three parts. What is published besides components has its names from [`Program`].

use std::{fmt, str::FromStr};

mod program;

pub use program::{ExtensionName, Program, ProgramTarget};

/// A thing that is updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The agent.
    Orbit,
    /// osquery's daemon.
    Osqueryd,
    /// The tray application, `fleet-desktop`.
    Desktop,
}

impl Component {
    /// Every component.
    pub const ALL: [Self; 3] = [Self::Orbit, Self::Osqueryd, Self::Desktop];

    /// The name in target paths, flags and directories, e.g. `osqueryd`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Orbit => "orbit",
            Self::Osqueryd => "osqueryd",
            Self::Desktop => "desktop",
        }
    }

    /// The last part of the target's name: the program itself, or an archive where Fleet publishes
    /// one.
    pub fn file_name(self, platform: UpdatePlatform) -> &'static str {
        match (self, platform.os()) {
            (Self::Orbit, Os::Windows) => "orbit.exe",
            (Self::Orbit, Os::Linux | Os::Macos) => "orbit",
            (Self::Osqueryd, Os::Windows) => "osqueryd.exe",
            (Self::Osqueryd, Os::Macos) if platform == UpdatePlatform::MacosApp => {
                "osqueryd.app.tar.gz"
            }
            (Self::Osqueryd, Os::Linux | Os::Macos) => "osqueryd",
            (Self::Desktop, Os::Windows) => "fleet-desktop.exe",
            (Self::Desktop, Os::Macos) => "desktop.app.tar.gz",
            (Self::Desktop, Os::Linux) => "desktop.tar.gz",
        }
    }

    /// The name of the program on a device, e.g. `fleet-desktop`.
    pub fn program(self, platform: UpdatePlatform) -> &'static str {
        match (self, platform.os()) {
            (Self::Desktop, Os::Windows) => "fleet-desktop.exe",
            (Self::Desktop, Os::Linux | Os::Macos) => "fleet-desktop",
            (Self::Orbit, Os::Windows) => "orbit.exe",
            (Self::Orbit, Os::Linux | Os::Macos) => "orbit",
            (Self::Osqueryd, Os::Windows) => "osqueryd.exe",
            (Self::Osqueryd, Os::Linux | Os::Macos) => "osqueryd",
        }
    }
}

/// Where a component runs, in the words of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UpdatePlatform {
    /// Linux on x86-64.
    Linux,
    /// Linux on 64-bit ARM.
    LinuxArm64,
    /// macOS, plain programs.
    Macos,
    /// macOS, application bundles (osqueryd).
    MacosApp,
    /// Windows on x86-64.
    Windows,
    /// Windows on 64-bit ARM.
    WindowsArm64,
}

/// The operating system of a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Os {
    Linux,
    Macos,
    Windows,
}

impl UpdatePlatform {
    /// Every platform.
    pub const ALL: [Self; 6] = [
        Self::Linux,
        Self::LinuxArm64,
        Self::Macos,
        Self::MacosApp,
        Self::Windows,
        Self::WindowsArm64,
    ];

    /// The name in target paths and flags, e.g. `linux-arm64`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::LinuxArm64 => "linux-arm64",
            Self::Macos => "macos",
            Self::MacosApp => "macos-app",
            Self::Windows => "windows",
            Self::WindowsArm64 => "windows-arm64",
        }
    }

    fn os(self) -> Os {
        match self {
            Self::Linux | Self::LinuxArm64 => Os::Linux,
            Self::Macos | Self::MacosApp => Os::Macos,
            Self::Windows | Self::WindowsArm64 => Os::Windows,
        }
    }
}

/// An update track: `stable`, `edge`, or a pinned version `X`, `X.Y`, `X.Y.Z`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(String);

impl Channel {
    /// The track that devices follow unless told otherwise.
    pub fn stable() -> Self {
        Self("stable".to_owned())
    }

    /// The name in target paths.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a version, as opposed to a track.
    pub fn is_version(&self) -> bool {
        is_version_prefix(&self.0)
    }

    /// Whether this is one version, `X.Y.Z`, which keeps its content for ever.
    pub fn is_full_version(&self) -> bool {
        self.is_version() && self.0.split('.').count() == 3
    }
}

/// One target of a repository; its `Display` is the path, e.g. `orbit/linux/stable/orbit`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetName {
    /// What it is.
    pub component: Component,
    /// Where it runs.
    pub platform: UpdatePlatform,
    /// The track it is published on.
    pub channel: Channel,
}

impl TargetName {
    /// The last part of the name.
    pub fn file_name(&self) -> &'static str {
        self.component.file_name(self.platform)
    }
}

/// Text that names no component, platform, channel or target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Not a component.
    #[error("`{0}` is not a component (orbit, osqueryd, desktop)")]
    Component(String),
    /// Neither a component nor an extension.
    #[error(
        "`{0}` is neither a component (orbit, osqueryd, desktop) nor an extension (extensions/<name>)"
    )]
    Program(String),
    /// Not the name of an extension.
    #[error("`{0}` is not the name of an extension (letters, digits, `-` and `_`, at most 100)")]
    Extension(String),
    /// Not a platform.
    #[error(
        "`{0}` is not a platform (linux, linux-arm64, macos, macos-app, windows, windows-arm64)"
    )]
    Platform(String),
    /// Not a channel.
    #[error("`{0}` is not a channel (stable, edge, or a version such as 1, 1.2 or 1.2.3)")]
    Channel(String),
    /// Not `<component>/<platform>/<channel>/<file>` with the file that belongs to them.
    #[error("`{0}` is not a target name (<component>/<platform>/<channel>/<file>)")]
    Target(String),
}

/// The target that has the file of `target` compressed with zstd.
pub(crate) fn compressed_name(target: &str) -> String {
    format!("{target}.zst")
}

/// The target that has the patch by which the file with the SHA-256 `from`, in hexadecimal, becomes
/// that of `target`.
pub(crate) fn patch_name(target: &str, from: &str) -> String {
    format!("{target}.{}{PATCH_SUFFIX}", &from[..16])
}

/// Whether `name` is that of a patch by which something becomes the file of `target`.
pub(crate) fn is_patch_of(name: &str, target: &str) -> bool {
    let rest = name.strip_prefix(target).and_then(|it| it.strip_prefix('.'));
    rest.is_some_and(|it| it.ends_with(PATCH_SUFFIX))
}

const PATCH_SUFFIX: &str = ".patch";

impl FromStr for Component {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::ALL
            .into_iter()
            .find(|it| it.as_str() == text)
            .ok_or_else(|| NameError::Component(text.to_owned()))
    }
}

impl FromStr for UpdatePlatform {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::ALL
            .into_iter()
            .find(|it| it.as_str() == text)
            .ok_or_else(|| NameError::Platform(text.to_owned()))
    }
}

impl FromStr for Channel {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let named = matches!(text, "stable" | "edge");
        if named || is_version_prefix(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Channel(text.to_owned()))
        }
    }
}

/// Whether `text` is one to three plain numbers between dots, without leading zeroes.
fn is_version_prefix(text: &str) -> bool {
    let number = |part: &str| part.parse::<u64>().is_ok_and(|value| value.to_string() == part);
    text.split('.').count() <= 3 && text.split('.').all(number)
}

impl FromStr for TargetName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError::Target(text.to_owned());
        let [component, platform, channel, file] = text.split('/').collect::<Vec<_>>()[..] else {
            return Err(bad());
        };
        let name = Self {
            component: component.parse()?,
            platform: platform.parse()?,
            channel: channel.parse()?,
        };
        if name.file_name() == file { Ok(name) } else { Err(bad()) }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for UpdatePlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.component, self.platform, self.channel, self.file_name())
    }
}
