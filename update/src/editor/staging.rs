//! Files to publish: looked at, hashed, and copied to where publishing takes one step.

use std::{
    fs,
    io::{self, Read, Write},
};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::{Addition, AdditionProblem};
use crate::{
    disk::{self, Access, Durable},
    names::Program,
};

/// A copy of a file to publish, named by its hash.
#[derive(Debug)]
pub(super) struct StagedFile {
    pub(super) path: Utf8PathBuf,
    pub(super) sha256: [u8; 32],
    pub(super) length: u64,
    /// When the file was made, in whole seconds.
    pub(super) modified: Option<Timestamp>,
    /// The same compressed, where that is wanted and worth it.
    pub(super) compressed: Option<StagedCopy>,
    /// What published files become it by, with the SHA-256 of each in hexadecimal.
    pub(super) patches: Vec<(String, StagedCopy)>,
}

/// What a [`StagedFile`] can be made of.
#[derive(Debug)]
pub(super) struct StagedCopy {
    pub(super) path: Utf8PathBuf,
    pub(super) sha256: [u8; 32],
    pub(super) length: u64,
}

impl StagedFile {
    /// Stands in for a file while nothing but names matters.
    pub(super) fn unseen() -> Self {
        let path = Utf8PathBuf::new();
        let (modified, compressed, patches) = (None, None, Vec::new());
        Self { path, sha256: [0; 32], length: 0, modified, compressed, patches }
    }
}

/// Whether the file of `addition` is one that can be published, as far as its head tells.
pub(super) fn look(addition: &Addition) -> Result<(), AdditionProblem> {
    let (mut source, about) = open(addition)?;
    let mut first = [0; 2];
    if about.len() >= 2 {
        let read = source.read_exact(&mut first);
        read.map_err(|source| AdditionProblem::Unreadable { file: addition.file.clone(), source })?;
    }
    check_kind(addition, about.len(), first)
}

fn open(addition: &Addition) -> Result<(fs::File, fs::Metadata), AdditionProblem> {
    let unreadable = |source| AdditionProblem::Unreadable { file: addition.file.clone(), source };
    let source = fs::File::open(&addition.file).map_err(unreadable)?;
    let about = source.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(AdditionProblem::NotAFile { file: addition.file.clone() });
    }
    Ok((source, about))
}

/// A file to publish, hashed; a long one is copied already.
pub(super) struct Hashed {
    head: Vec<u8>,
    copy: HashedCopy,
    modified: Option<Timestamp>,
}

/// Hashes the file of `addition`, and copies it into `staged` if it is too long to be remembered.
pub(super) fn hash(addition: &Addition, staged: &Utf8Path) -> Result<Hashed, AdditionProblem> {
    let unreadable = |source| AdditionProblem::Unreadable { file: addition.file.clone(), source };
    let (mut source, about) = open(addition)?;
    let modified = about.modified().ok().and_then(|it| Timestamp::try_from(it).ok());
    let modified = modified.and_then(|it| Timestamp::from_second(it.as_second()).ok());
    let (head, is_all) = read_head(&mut source, about.len()).map_err(unreadable)?;
    let copy = if is_all {
        let (sha256, length) = (Sha256::digest(&head).into(), head.len() as u64);
        HashedCopy { content: None, sha256, length }
    } else {
        copy_hashing(&head, &mut source, staged).map_err(unreadable)?
    };
    check_kind(addition, copy.length, head.first_chunk().copied().unwrap_or_default())?;
    Ok(Hashed { head, copy, modified })
}

/// Keeps what was hashed of `addition` in `staged`.
pub(super) fn stage(
    addition: &Addition,
    Hashed { head, copy, modified }: Hashed,
    (staged, durable): (&Utf8Path, Durable),
) -> Result<StagedFile, AdditionProblem> {
    let unreadable = |source| AdditionProblem::Unreadable { file: addition.file.clone(), source };
    let path = staged.join(hex::encode(copy.sha256));
    let how = (Access::World, durable);
    let kept = match copy.content {
        None => disk::create(path.as_std_path(), &head, how),
        Some(file) => disk::keep(file, path.as_std_path(), how),
    };
    kept.map_err(unreadable)?;
    let compressed = if addition.is_compressed && is_plain(addition) {
        compress(&path, copy.length, staged).map_err(unreadable)?
    } else {
        None
    };
    let (sha256, length, patches) = (copy.sha256, copy.length, Vec::new());
    Ok(StagedFile { path, sha256, length, modified, compressed, patches })
}

/// Packs the file at `path` with zstd, beside it. None, if that saves less than a tenth.
fn compress(path: &Utf8Path, length: u64, staged: &Utf8Path) -> io::Result<Option<StagedCopy>> {
    let mut packer = zstd::Encoder::new(NamedTempFile::new_in(staged)?, COMPRESSION)?;
    packer.set_pledged_src_size(Some(length))?;
    packer.include_contentsize(true)?;
    packer.multithread(THREADS)?;
    io::copy(&mut fs::File::open(path)?, &mut packer)?;
    let file = packer.finish()?;
    let is_worth_it = file.as_file().metadata()?.len() <= length - length / 10;
    if is_worth_it { keep_copy(file, staged).map(Some) } else { Ok(None) }
}

/// Has a finished file called by its hash.
pub(super) fn keep_copy(file: NamedTempFile, staged: &Utf8Path) -> io::Result<StagedCopy> {
    let (sha256, length) = disk::hash(file.path())?;
    let path = staged.join(&sha256);
    disk::persist(file, path.as_std_path(), Access::World)?;
    let sha256 = hex::decode(sha256).ok().and_then(|it| it.try_into().ok());
    let sha256 = sha256.expect("a SHA-256 in hexadecimal has 32 bytes");
    Ok(StagedCopy { path, sha256, length })
}

/// Programs are published once and downloaded by everybody.
const COMPRESSION: i32 = 19;

/// What comes out does not depend on their number.
const THREADS: u32 = 4;

fn is_archive(addition: &Addition) -> bool {
    addition.program.file_name(addition.platform).ends_with(".tar.gz")
}

/// Agents look for the compressed file and the patches of components, and nobody for those of others.
fn is_plain(addition: &Addition) -> bool {
    matches!(addition.program, Program::Component(_)) && !is_archive(addition)
}

struct HashedCopy {
    /// None, if it is in memory.
    content: Option<NamedTempFile>,
    sha256: [u8; 32],
    length: u64,
}

/// So much of a file is read at a time.
const PIECE: u64 = 256 * 1024;

/// The first piece of a file that is said to have `length` bytes, and whether that is all of it.
fn read_head(source: &mut fs::File, length: u64) -> io::Result<(Vec<u8>, bool)> {
    let mut head = Vec::new();
    // One byte more than there should be, to see the end.
    let limit = length.saturating_add(1).min(PIECE);
    head.reserve_exact(usize::try_from(limit).map_err(io::Error::other)?);
    let read = source.take(limit).read_to_end(&mut head)?;
    Ok((head, (read as u64) < limit))
}

/// Copies `head` and what follows in `source`.
fn copy_hashing(head: &[u8], source: &mut dyn Read, staged: &Utf8Path) -> io::Result<HashedCopy> {
    let mut file = NamedTempFile::new_in(staged)?;
    let (mut hasher, mut length) = (Sha256::new_with_prefix(head), head.len() as u64);
    file.write_all(head)?;
    let mut buffer = vec![0; usize::try_from(PIECE).map_err(io::Error::other)?];
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            let sha256 = hasher.finalize().into();
            return Ok(HashedCopy { content: Some(file), sha256, length });
        }
        hasher.update(&buffer[..read]);
        file.write_all(&buffer[..read])?;
        length += read as u64;
    }
}

/// An empty file, or a program where agents expect an archive (or the other way round), would only
/// fail on devices.
fn check_kind(addition: &Addition, length: u64, first: [u8; 2]) -> Result<(), AdditionProblem> {
    let file = || addition.file.clone();
    if length == 0 {
        return Err(AdditionProblem::Empty { file: file() });
    }
    let is_gzip = first == [0x1f, 0x8b];
    if is_archive(addition) == is_gzip {
        Ok(())
    } else {
        let wanted = addition.program.file_name(addition.platform);
        Err(AdditionProblem::WrongKind { file: file(), wanted })
    }
}
