//! What will be on the device's disk: a sorted value, settled before anything is written.

mod part;

use std::{borrow::Cow, collections::BTreeMap, fmt};

use bytes::Bytes;
use camino::Utf8PathBuf;

pub use self::part::Part;
use crate::error::{AssembleError, BuildError};

/// An absolute path on a device: UTF-8, normal (no `.`, `..`, `//` or slash at the end), free of
/// white space and control characters, so that lists and scripts need not quote it; paths of files in
/// application bundles alone, which neither mentions, are free of control characters only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstallPath(String);

/// A text that is no [`InstallPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a normal absolute path")]
pub struct InvalidPath(String);

impl InstallPath {
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidPath> {
        let text = text.into();
        let normal = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(is_plain);
        match text.strip_prefix('/') {
            Some(rest) if rest.split('/').all(normal) => Ok(Self(text)),
            _ => Err(InvalidPath(text)),
        }
    }

    /// A path written in the source code.
    pub(crate) fn fixed(text: &'static str) -> Self {
        Self::new(text).expect("paths in the source code are normal")
    }

    /// `name` below this path, `name` being written in the source code.
    pub(crate) fn join(&self, name: &'static str) -> Self {
        Self::new(format!("{self}/{name}")).expect("names in the source code are normal")
    }

    /// `path` below this one, as an application bundle has it: it may contain anything but control
    /// characters, and is not for scripts.
    pub(crate) fn join_bundled(&self, path: &str) -> Result<Self, InvalidPath> {
        let normal =
            |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
        if path.split('/').all(normal) {
            Ok(Self(format!("{self}/{path}")))
        } else {
            Err(InvalidPath(path.to_owned()))
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folders above, outermost first, `/` not among them.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        self.0.match_indices('/').skip(1).map(|(end, _)| Self(self.0[..end].to_owned()))
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '@' | '~')
}

impl fmt::Display for InstallPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Permission bits, at most `0o7777`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(u16);

impl Mode {
    pub const PROGRAM: Self = Self(0o755);
    pub const DIR: Self = Self(0o755);
    pub const PUBLIC: Self = Self(0o644);
    /// For root alone.
    pub const PRIVATE: Self = Self(0o600);
    /// The owner writes, the group reads, nobody else does anything.
    pub const GROUP: Self = Self(0o640);
    pub const GROUP_DIR: Self = Self(0o750);
    /// For its owner alone.
    pub const PRIVATE_DIR: Self = Self(0o700);
    /// Everybody makes files in it, and removes their own.
    pub const SHARED_DIR: Self = Self(0o1777);
    pub const SYMLINK: Self = Self(0o777);

    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }
}

/// Who owns an entry, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub user: &'static str,
    pub group: &'static str,
}

impl Owner {
    pub const ROOT: Self = Self { user: "root", group: "root" };
    /// The same on macOS.
    pub const WHEEL: Self = Self { user: "root", group: "wheel" };
}

/// Where a file's bytes come from.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    Bytes(Bytes),
    /// A file on the machine that builds, which had `size` bytes when it was looked at.
    Path {
        path: Utf8PathBuf,
        size: u64,
    },
    /// A part of such a file.
    Slice {
        path: Utf8PathBuf,
        offset: u64,
        size: u64,
    },
    /// One after the other.
    Joined(Vec<Self>),
}

impl Source {
    /// In bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Path { size, .. } | Self::Slice { size, .. } => *size,
            Self::Joined(parts) => parts.iter().map(Self::size).sum(),
        }
    }
}

/// Bytes may be secret, so only their number is shown.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Path { path, size } => write!(f, "Path({path}, {size})"),
            Self::Slice { path, offset, size } => write!(f, "Slice({path}, {offset}, {size})"),
            Self::Joined(parts) => f.debug_tuple("Joined").field(parts).finish(),
        }
    }
}

/// What a file is for. Formats read the role, not the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Program,
    /// Belongs to the administrator once installed: an edit survives upgrades.
    Config,
    /// Root alone may read it; the package's content wins on upgrade.
    Secret,
    /// Data that nobody edits.
    Data,
    /// Documentation.
    Doc,
    /// The terms that the package comes under.
    License,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Dir,
    File { source: Source, role: Role },
    Symlink { target: LinkTarget },
}

/// Where a symlink leads: an absolute path, or one relative to the symlink's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTarget(String);

impl LinkTarget {
    /// What a symlink in an application bundle says, taken as it is: the bundle's signature covers it.
    pub(crate) fn bundled(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<InstallPath> for LinkTarget {
    fn from(path: InstallPath) -> Self {
        Self(path.0)
    }
}

impl fmt::Display for LinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is at a path, and whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub node: Node,
    pub mode: Mode,
    pub owner: Owner,
}

impl Entry {
    #[must_use]
    pub fn dir() -> Self {
        Self { node: Node::Dir, mode: Mode::DIR, owner: Owner::ROOT }
    }

    #[must_use]
    pub fn file(source: Source, role: Role) -> Self {
        let mode = match role {
            Role::Program => Mode::PROGRAM,
            Role::Config | Role::Secret => Mode::PRIVATE,
            Role::Data | Role::Doc | Role::License => Mode::PUBLIC,
        };
        Self { node: Node::File { source, role }, mode, owner: Owner::ROOT }
    }

    /// A file whose content is in memory.
    #[must_use]
    pub fn bytes(content: impl Into<Bytes>, role: Role) -> Self {
        Self::file(Source::Bytes(content.into()), role)
    }

    #[must_use]
    pub fn symlink(target: impl Into<LinkTarget>) -> Self {
        let target = target.into();
        Self { node: Node::Symlink { target }, mode: Mode::SYMLINK, owner: Owner::ROOT }
    }

    /// In bytes; 0 unless it is a file.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.node {
            Node::File { source, .. } => source.size(),
            Node::Dir | Node::Symlink { .. } => 0,
        }
    }

    /// Where a symlink leads; empty unless it is one.
    pub(crate) fn target(&self) -> &str {
        match &self.node {
            Node::Symlink { target } => target.as_str(),
            Node::Dir | Node::File { .. } => "",
        }
    }

    /// The mode as stat(2) has it, with the bits that tell the kind.
    pub(crate) fn stat_mode(&self) -> u16 {
        let kind = match self.node {
            Node::Dir => 0o040_000,
            Node::File { .. } => 0o100_000,
            Node::Symlink { .. } => 0o120_000,
        };
        kind | self.mode.bits()
    }

    /// The size as lstat(2) has it: also of a symlink, whose content is its target.
    pub(crate) fn stat_size(&self) -> u64 {
        self.size() + self.target().len() as u64
    }
}

/// Entries sorted by path, so that a folder comes before what is in it.
///
/// Folders in it belong to the package; the system's own (`/usr/bin`, …) are not listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileTree {
    entries: BTreeMap<InstallPath, Entry>,
}

impl FileTree {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `entry` at `path`, where nothing may be yet.
    pub fn insert(&mut self, path: InstallPath, entry: Entry) -> Result<(), AssembleError> {
        if self.entries.contains_key(&path) {
            return Err(AssembleError::Collision { path });
        }
        self.entries.insert(path, entry);
        Ok(())
    }

    /// The same with everything in it `owner`'s.
    pub(crate) fn owned_by(self, owner: Owner) -> Self {
        let entries = self.entries.into_iter();
        Self { entries: entries.map(|(path, entry)| (path, Entry { owner, ..entry })).collect() }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&InstallPath, &Entry)> {
        self.entries.iter()
    }

    #[must_use]
    pub fn get(&self, path: &InstallPath) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Files with `role`.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &InstallPath> {
        self.iter().filter_map(move |(path, entry)| match &entry.node {
            Node::File { role: its, .. } if *its == role => Some(path),
            Node::File { .. } | Node::Dir | Node::Symlink { .. } => None,
        })
    }

    /// The entries, and the system's folders that they are in.
    pub(crate) fn with_ancestors(&self) -> BTreeMap<InstallPath, Cow<'_, Entry>> {
        let ancestors = self.entries.keys().flat_map(InstallPath::ancestors);
        let mut all: BTreeMap<_, _> =
            ancestors.map(|path| (path, Cow::Owned(Entry::dir()))).collect();
        all.extend(self.iter().map(|(path, entry)| (path.clone(), Cow::Borrowed(entry))));
        all
    }

    /// Fails if two paths differ in case alone: Windows and macOS lay both as one.
    pub(crate) fn refuse_same_names(&self) -> Result<(), BuildError> {
        let mut names: BTreeMap<String, &InstallPath> = BTreeMap::new();
        for path in self.entries.keys() {
            if let Some(one) = names.insert(path.0.to_lowercase(), path) {
                return Err(BuildError::SameName { one: one.clone(), other: path.clone() });
            }
        }
        Ok(())
    }

    /// Bytes of all files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.entries.values().map(Entry::size).sum()
    }
}

/// A listing like that of `ls -l`, a line an entry.
impl fmt::Display for FileTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.entries.values().map(|entry| entry.size().to_string().len()).max();
        for (path, entry) in self.iter() {
            let Owner { user, group } = entry.owner;
            let (size, width) = (entry.size(), width.unwrap_or(1));
            write!(f, "{} {user} {group} {size:>width$} {path}", Permissions(entry))?;
            if let Node::Symlink { target } = &entry.node {
                write!(f, " -> {target}")?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

struct Permissions<'a>(&'a Entry);

impl fmt::Display for Permissions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::from(match self.0.node {
            Node::Dir => "d",
            Node::File { .. } => "-",
            Node::Symlink { .. } => "l",
        });
        let bits = self.0.mode.bits();
        for (index, letter) in "rwxrwxrwx".chars().enumerate() {
            text.push(if bits >> (8 - index) & 1 == 1 { letter } else { '-' });
        }
        f.write_str(&text)
    }
}
