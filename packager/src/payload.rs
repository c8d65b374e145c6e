//! The binaries that go into a package, with their versions.

mod bundle;
mod libraries;
mod program;

pub use bundle::Bundle;
pub use program::MadeFor;

use std::{collections::BTreeMap, fmt, fs::File, str::FromStr};

use camino::Utf8Path;
use semver::Version;

use crate::{
    error::{PayloadError, SpecError},
    tree::Source,
};

/// What a package runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    pub os: Os,
    pub arch: Arch,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)
    }
}

/// An operating system. Each has a file in [`layout`](crate::layout).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Os {
    Linux,
    Macos,
    Windows,
}

impl Os {
    /// Whether `path` is an absolute one, on Windows one like `C:\db` or `C:/db`.
    pub(crate) fn is_absolute(self, path: &str) -> bool {
        match self {
            Self::Linux | Self::Macos => path.starts_with('/'),
            Self::Windows => matches!(
                path.as_bytes(),
                [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic()
            ),
        }
    }
}

impl fmt::Display for Os {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linux => "linux",
            Self::Macos => "macos",
            Self::Windows => "windows",
        })
    }
}

/// A processor architecture, named as Debian and Go do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    Amd64,
    Arm64,
    /// Both of them in one file, as on macOS. No package is asked for by this name.
    Universal,
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::Universal => "universal",
        })
    }
}

impl FromStr for Arch {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text {
            "amd64" => Ok(Self::Amd64),
            "arm64" => Ok(Self::Arm64),
            other => Err(SpecError::UnknownArch { given: other.to_owned() }),
        }
    }
}

/// A thing that is installed and updated by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ComponentKind {
    /// The agent.
    Orbit,
    Osqueryd,
    /// The tray icon.
    Desktop,
}

impl ComponentKind {
    pub const ALL: [Self; 3] = [Self::Orbit, Self::Osqueryd, Self::Desktop];

    /// Its name in paths and repositories: `orbit`, `osqueryd`, `desktop`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Orbit => "orbit",
            Self::Osqueryd => "osqueryd",
            Self::Desktop => "desktop",
        }
    }

    /// What its program file is called on a device.
    #[must_use]
    pub const fn program(self, os: Os) -> &'static str {
        match (self, os) {
            (Self::Orbit, Os::Windows) => "orbit.exe",
            (Self::Orbit, Os::Linux | Os::Macos) => "orbit",
            (Self::Osqueryd, Os::Windows) => "osqueryd.exe",
            (Self::Osqueryd, Os::Linux | Os::Macos) => "osqueryd",
            (Self::Desktop, Os::Windows) => "fleet-desktop.exe",
            (Self::Desktop, Os::Linux | Os::Macos) => "fleet-desktop",
        }
    }
}

impl fmt::Display for ComponentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A shared library of the system that a program is linked to, as ELF has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Library {
    /// As in `libc.so.6`.
    pub name: String,
    /// The newest of its symbol versions that the program uses, as in `GLIBC_2.34`; none where the
    /// library has no numbered ones.
    pub version: Option<String>,
}

/// One binary.
#[derive(Debug, Clone)]
pub struct Component {
    pub kind: ComponentKind,
    pub version: Version,
    pub content: Content,
    /// What it needs of a Linux system, sorted by name; nothing if it is linked statically.
    pub libraries: Vec<Library>,
}

/// What a component is on a device.
#[derive(Debug, Clone)]
pub enum Content {
    /// A file.
    Program(Source),
    /// A folder with the program in it, as macOS has them.
    Bundle(Bundle),
}

impl Component {
    /// Takes the program at `path` as [`Program::open`] does.
    pub fn open(
        kind: ComponentKind,
        version: Version,
        path: &Utf8Path,
        platform: Platform,
    ) -> Result<Self, PayloadError> {
        let Program { source, libraries, .. } = Program::open(path, platform)?;
        Ok(Self { kind, version, content: Content::Program(source), libraries })
    }

    /// Takes the application bundle in `archive`, a gzipped tar, whose program must be made for
    /// `platform`. `scratch`, a file that is made or replaced, has to stay until the package is built.
    pub fn open_bundle(
        kind: ComponentKind,
        version: Version,
        [archive, scratch]: [&Utf8Path; 2],
        platform: Platform,
    ) -> Result<Self, PayloadError> {
        let bundle = Bundle::open(archive, scratch, kind.program(platform.os), platform)?;
        Ok(Self { kind, version, content: Content::Bundle(bundle), libraries: Vec::new() })
    }
}

/// A program's file.
#[derive(Debug, Clone)]
pub struct Program {
    pub platform: Platform,
    pub source: Source,
    /// What it needs of a Linux system, sorted by name; nothing if it is linked statically.
    pub libraries: Vec<Library>,
}

impl Program {
    /// Looks at the start of the file at `path`. A program must be made for `platform`. Where a
    /// system starts other files, too, like scripts, they are taken as they are.
    pub fn open(path: &Utf8Path, platform: Platform) -> Result<Self, PayloadError> {
        let failed = |source| PayloadError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(PayloadError::NotAFile { path: path.to_owned() });
        }
        let libraries = check(path, program::Head::read(file), platform)?;
        let source = Source::Path { path: path.to_owned(), size: metadata.len() };
        Ok(Self { platform, source, libraries })
    }
}

/// What the program at `path` needs of its system, if it can run on `platform` at all.
fn check(
    path: &Utf8Path,
    head: Option<program::Head>,
    platform: Platform,
) -> Result<Vec<Library>, PayloadError> {
    match head {
        Some(head) if head.made_for.suits(platform) => Ok(head.libraries),
        Some(program::Head { made_for, .. }) => {
            Err(PayloadError::WrongPlatform { path: path.to_owned(), made_for, platform })
        }
        None if platform.os == Os::Windows => {
            Err(PayloadError::NotAProgram { path: path.to_owned(), platform })
        }
        None => Ok(Vec::new()),
    }
}

/// The components of one package; orbit is always among them.
#[derive(Debug, Clone)]
pub struct Payload {
    platform: Platform,
    orbit: Component,
    others: BTreeMap<ComponentKind, Component>,
}

impl Payload {
    /// Takes the components of a package for `platform`, in any order.
    pub fn new(
        platform: Platform,
        components: impl IntoIterator<Item = Component>,
    ) -> Result<Self, PayloadError> {
        let mut all = BTreeMap::new();
        for component in components {
            let kind = component.kind;
            if all.insert(kind, component).is_some() {
                return Err(PayloadError::Twice { kind });
            }
        }
        let orbit = all.remove(&ComponentKind::Orbit).ok_or(PayloadError::NoOrbit)?;
        Ok(Self { platform, orbit, others: all })
    }

    #[must_use]
    pub fn platform(&self) -> Platform {
        self.platform
    }

    /// The package's version: that of orbit.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.orbit.version
    }

    /// All components, orbit first.
    pub fn components(&self) -> impl Iterator<Item = &Component> {
        std::iter::once(&self.orbit).chain(self.others.values())
    }

    /// What its programs need of a Linux system: each library once, with the newest version, sorted
    /// by name.
    #[must_use]
    pub fn libraries(&self) -> Vec<Library> {
        let all = self.components().flat_map(|component| component.libraries.iter().cloned());
        libraries::merged(all)
    }

    #[must_use]
    pub fn has(&self, kind: ComponentKind) -> bool {
        self.components().any(|component| component.kind == kind)
    }
}
