//! An application bundle of macOS: a folder with the program and what its signature covers.
//!
//! It comes as a gzipped tar, as repositories have it, and is never laid out on this machine: its
//! files are parts of the tar. So names, symlinks and executable bits survive whatever builds.

use std::{
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom},
};

use camino::Utf8Path;
use flate2::bufread::MultiGzDecoder;

use super::{Platform, check, program::Head};
use crate::{
    error::PayloadError,
    sign::{
        Trust, VerifyError,
        bundle::{self, BundleError, Judged, Signing},
    },
    tree::{Entry, LinkTarget, Node, Role, Source},
};

/// What gzip begins with; no program does.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// How much of a program's start says what it is made for.
const HEAD: u64 = 64 << 10;
/// Where in a bundle programs are.
const PROGRAMS: &str = "Contents/MacOS/";

/// The files of a bundle, and which of them is the program.
#[derive(Debug, Clone)]
pub struct Bundle {
    entries: Vec<(String, Entry)>,
    program: String,
}

impl Bundle {
    /// Whether the file at `path` is an archive and no program.
    pub fn is_archive(path: &Utf8Path) -> Result<bool, PayloadError> {
        let mut head = Vec::new();
        let read = File::open(path).and_then(|file| file.take(2).read_to_end(&mut head));
        read.map_err(|source| PayloadError::Read { path: path.to_owned(), source })?;
        Ok(head == GZIP)
    }

    /// Reads the bundle in `archive` that has `program`, made for `platform`. `scratch`, a file that
    /// is made or replaced, gets the unsqueezed tar and has to stay until the package is built.
    pub(super) fn open(
        archive: &Utf8Path,
        scratch: &Utf8Path,
        program: &'static str,
        platform: Platform,
    ) -> Result<Self, PayloadError> {
        let unreadable = |source| PayloadError::Read { path: archive.to_owned(), source };
        let damaged = |reason: String| PayloadError::Bundle { path: archive.to_owned(), reason };
        inflate(archive, scratch).map_err(unreadable)?;
        let mut tar = tar::Archive::new(File::open(scratch).map_err(unreadable)?);
        let mut entries = Vec::new();
        for entry in tar.entries().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            entries.extend(read(&entry, scratch).map_err(damaged)?);
        }
        let program = format!("{PROGRAMS}{program}");
        let bundle = Self { entries, program };
        let found = bundle.entries.iter().find(|(path, _)| *path == bundle.program);
        let Some((_, Entry { node: Node::File { source, .. }, .. })) = found else {
            return Err(damaged(format!("it has no file `*.app/{}`", bundle.program)));
        };
        let head = head(source).map_err(unreadable)?;
        check(archive, Head::read(Cursor::new(head)), platform)?;
        Ok(bundle)
    }

    /// Whether somebody has signed its program.
    pub fn is_signed(&self) -> Result<bool, VerifyError> {
        let mut entries = self.entries.iter();
        let program = entries.find_map(|(path, entry)| match &entry.node {
            Node::File { source, .. } if *path == self.program => Some(source),
            Node::File { .. } | Node::Dir | Node::Symlink { .. } => None,
        });
        Ok(program.map(bundle::is_signed).transpose()?.flatten().unwrap_or(false))
    }

    /// The same bundle, signed; what somebody has signed in it already keeps its signature.
    pub fn sign(self, signing: &Signing<'_>) -> Result<Self, BundleError> {
        let entries = bundle::sign(self.entries, signing)?;
        Ok(Self { entries: entries.into_iter().collect(), ..self })
    }

    /// What its signatures are worth.
    #[must_use]
    pub fn verify(&self, trust: &Trust) -> Vec<Judged> {
        bundle::verify(&bundle::with_folders(self.entries.iter().cloned()), trust)
    }

    /// Paths below the bundle's folder, with what is there; folders before what is in them.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// Path of the program below the bundle's folder.
    pub(crate) fn program(&self) -> &str {
        &self.program
    }
}

fn inflate(archive: &Utf8Path, scratch: &Utf8Path) -> io::Result<()> {
    let archive = io::BufReader::new(File::open(archive)?);
    io::copy(&mut MultiGzDecoder::new(archive), &mut File::create(scratch)?).map(drop)
}

/// None: the bundle's own folder, or what tars have besides files.
fn read(
    entry: &tar::Entry<'_, File>,
    scratch: &Utf8Path,
) -> Result<Option<(String, Entry)>, String> {
    let path = entry.path_bytes();
    let path = std::str::from_utf8(&path).map_err(|_| "a name in it is not UTF-8".to_owned())?;
    let path = path.trim_start_matches("./").trim_end_matches('/');
    let (folder, inside) = path.split_once('/').unwrap_or((path, ""));
    let kind = entry.header().entry_type();
    if kind.is_pax_global_extensions() || folder.is_empty() {
        return Ok(None);
    }
    if !folder.ends_with(".app") {
        return Err(format!("`{path}` is in no folder `*.app`"));
    }
    if inside.is_empty() {
        return Ok(None);
    }
    Ok(Some((inside.to_owned(), node(entry, inside, scratch)?)))
}

fn node(entry: &tar::Entry<'_, File>, path: &str, scratch: &Utf8Path) -> Result<Entry, String> {
    let kind = entry.header().entry_type();
    if kind.is_dir() {
        return Ok(Entry::dir());
    }
    if kind.is_file() {
        let mode = entry.header().mode().map_err(|error| error.to_string())?;
        let role = if mode & 0o111 == 0 { Role::Data } else { Role::Program };
        let (offset, size) = (entry.raw_file_position(), entry.size());
        return Ok(Entry::file(Source::Slice { path: scratch.to_owned(), offset, size }, role));
    }
    if kind.is_symlink() {
        let target = entry.link_name_bytes().unwrap_or_default();
        let target = std::str::from_utf8(&target).ok().filter(|it| stays_inside(path, it));
        let target = target.ok_or_else(|| format!("the symlink `{path}` leads out of it"))?;
        return Ok(Entry::symlink(LinkTarget::bundled(target)));
    }
    Err(format!("`{path}` is no file, folder or symlink"))
}

/// Whether a symlink at `path` with `target` leads nowhere above the bundle's folder.
fn stays_inside(path: &str, target: &str) -> bool {
    let mut depth = path.matches('/').count();
    !target.is_empty()
        && !target.starts_with('/')
        && target.split('/').all(|part| match part {
            ".." => depth.checked_sub(1).map(|less| depth = less).is_some(),
            "" | "." => true,
            _ => {
                depth += 1;
                true
            }
        })
}

fn head(source: &Source) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    if let Source::Slice { path, offset, size } = source {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(*offset))?;
        file.take((*size).min(HEAD)).read_to_end(&mut head)?;
    }
    Ok(head)
}
