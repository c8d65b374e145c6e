//! What is published: components, and osquery's extensions, which devices have as their server says.
//!
//! An extension is the target `extensions/<name>/<platform>/<channel>/<name>.ext`, `.ext.exe` for
//! Windows: osqueryd loads no program that is called otherwise. These names are Fleet's, too.

use std::{fmt, str::FromStr};

use super::{Channel, Component, NameError, Os, TargetName, UpdatePlatform};

/// A program that can be published. Its text is the first part of a target's name: `orbit`,
/// `extensions/hello_world`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    /// One that agents update.
    Component(Component),
    /// One that osqueryd loads.
    Extension(ExtensionName),
}

impl Program {
    /// The last part of the target's name.
    pub fn file_name(&self, platform: UpdatePlatform) -> String {
        match self {
            Self::Component(component) => component.file_name(platform).to_owned(),
            Self::Extension(name) => name.file_name(platform),
        }
    }
}

/// What an extension of osquery is called: letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtensionName(String);

impl ExtensionName {
    /// The name alone, e.g. `hello_world`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the program, in a repository and on a device, e.g. `hello_world.ext`.
    pub fn file_name(&self, platform: UpdatePlatform) -> String {
        let suffix = match platform.os() {
            Os::Windows => ".ext.exe",
            Os::Linux | Os::Macos => ".ext",
        };
        format!("{}{suffix}", self.0)
    }
}

/// One target that a program is published as; its `Display` is the path, e.g.
/// `extensions/hello_world/linux/stable/hello_world.ext`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramTarget {
    /// What it is.
    pub program: Program,
    /// Where it runs.
    pub platform: UpdatePlatform,
    /// The track it is published on.
    pub channel: Channel,
}

impl ProgramTarget {
    /// The same as the target of a component; none: it is that of an extension.
    pub fn of_component(&self) -> Option<TargetName> {
        let Program::Component(component) = self.program else { return None };
        Some(TargetName { component, platform: self.platform, channel: self.channel.clone() })
    }
}

impl From<Component> for Program {
    fn from(component: Component) -> Self {
        Self::Component(component)
    }
}

impl From<TargetName> for ProgramTarget {
    fn from(TargetName { component, platform, channel }: TargetName) -> Self {
        Self { program: component.into(), platform, channel }
    }
}

impl FromStr for Program {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix(EXTENSIONS).and_then(|it| it.strip_prefix('/')) {
            Some(name) => name.parse().map(Self::Extension),
            None => {
                let component = text.parse().map(Self::Component);
                component.map_err(|_| NameError::Program(text.to_owned()))
            }
        }
    }
}

impl FromStr for ExtensionName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Extension(text.to_owned()))
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Component(component) => write!(f, "{component}"),
            Self::Extension(name) => write!(f, "{EXTENSIONS}/{name}"),
        }
    }
}

impl fmt::Display for ExtensionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for ProgramTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, platform, channel } = self;
        write!(f, "{program}/{platform}/{channel}/{}", program.file_name(*platform))
    }
}

/// Where the targets of extensions are.
const EXTENSIONS: &str = "extensions";

/// Of names, in bytes: they are those of files.
const LONGEST: usize = 100;
