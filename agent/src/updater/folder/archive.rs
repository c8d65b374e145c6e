//! Programs that come in gzipped tar files. What leads out of the folder is refused.

use std::{
    fs::File,
    io::{self, Read},
};

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use flate2::read::GzDecoder;
use tar::{Archive, Entry};

use super::{Brought, Disk, Folder, FolderError, done, program_name};

type Tar = Archive<GzDecoder<File>>;

/// Stores the regular file that is called like the component's program, in whatever directory of
/// the archive. Gives its name.
pub(super) fn take_program<D: Disk>(
    folder: &Folder<'_, D>,
    brought: &Brought,
    staged: &Utf8Path,
) -> Result<String, FolderError> {
    let name = folder.file_name();
    let mut archive = open(brought)?;
    let entries = done("read", &brought.path, archive.entries())?;
    for entry in entries {
        let mut entry = done("read", &brought.path, entry)?;
        let path = path_of(&entry, brought)?;
        if path.file_name() == Some(&name) && entry.header().entry_type().is_file() {
            folder.store(&staged.join(&name), &mut entry, true, brought)?;
            return Ok(name);
        }
    }
    Err(FolderError::NoProgram(name))
}

/// Unpacks an application bundle. Gives the path of the program in it.
pub(super) fn unpack_bundle<D: Disk>(
    folder: &Folder<'_, D>,
    brought: &Brought,
    staged: &Utf8Path,
) -> Result<String, FolderError> {
    let bundle = format!("{}.app", folder.component.as_str());
    let mut archive = open(brought)?;
    let entries = done("read", &brought.path, archive.entries())?;
    let mut dirs = vec![staged.to_owned()];
    for entry in entries {
        let mut entry = done("read", &brought.path, entry)?;
        let path = path_of(&entry, brought)?;
        let Some(inside) = inside_of_bundle(&path)? else { continue };
        let place = staged.join(&bundle).join(&inside);
        dirs.extend(make_dir(folder, place.parent().unwrap_or(staged))?);
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            dirs.extend(make_dir(folder, &place)?);
        } else if kind.is_symlink() {
            link(folder, &entry, (&inside, &place))?;
        } else if kind.is_file() {
            let is_program = entry.header().mode().unwrap_or_default() & 0o111 != 0;
            folder.store(&place, &mut entry, is_program, brought)?;
        } else {
            return Err(FolderError::Escape(path.into_string()));
        }
    }
    for dir in &dirs {
        folder.sync(dir)?;
    }
    let program = format!("{bundle}/Contents/MacOS/{}", program_name(folder.component));
    if staged.join(&program).is_file() { Ok(program) } else { Err(FolderError::NoProgram(program)) }
}

fn open(brought: &Brought) -> Result<Tar, FolderError> {
    let file = done("read", &brought.path, File::open(&brought.path))?;
    Ok(Archive::new(GzDecoder::new(file)))
}

fn path_of<R: Read>(entry: &Entry<'_, R>, brought: &Brought) -> Result<Utf8PathBuf, FolderError> {
    let path = done("read", &brought.path, entry.path())?;
    let told = || FolderError::Escape(path.to_string_lossy().into_owned());
    Utf8PathBuf::from_path_buf(path.to_path_buf()).map_err(|_| told())
}

/// The path below the bundle's own directory, whatever that is called; none for what is beside it.
fn inside_of_bundle(path: &Utf8Path) -> Result<Option<Utf8PathBuf>, FolderError> {
    let mut parts = path.components().filter(|part| *part != Utf8Component::CurDir);
    let first = parts.next();
    let inside: Utf8PathBuf = parts.collect();
    let is_plain = |part: Utf8Component<'_>| matches!(part, Utf8Component::Normal(_));
    if !first.is_none_or(is_plain) || !inside.components().all(is_plain) {
        return Err(FolderError::Escape(path.to_string()));
    }
    let is_bundle = first.is_some_and(|it| it.as_str().ends_with(".app"));
    Ok(Some(inside).filter(|it| is_bundle && it.file_name().is_some()))
}

/// Makes a directory and what is missing above it. Gives all that were not there: each has to be
/// synced, since an archive need not name the directories that its files are in.
fn make_dir<D: Disk>(
    folder: &Folder<'_, D>,
    dir: &Utf8Path,
) -> Result<Vec<Utf8PathBuf>, FolderError> {
    let missing = dir.ancestors().take_while(|it| !it.is_dir());
    let missing: Vec<_> = missing.map(Utf8Path::to_owned).collect();
    if !missing.is_empty() {
        done("create", dir, folder.disk.make_dir(dir))?;
    }
    Ok(missing)
}

/// Bundles have symbolic links within themselves, and no others are made.
fn link<D: Disk, R: Read>(
    folder: &Folder<'_, D>,
    entry: &Entry<'_, R>,
    (inside, place): (&Utf8Path, &Utf8Path),
) -> Result<(), FolderError> {
    let escape = || FolderError::Escape(inside.to_string());
    let target = entry.link_name().ok().flatten().ok_or_else(escape)?;
    let target = Utf8PathBuf::from_path_buf(target.into_owned()).map_err(|_| escape())?;
    let mut depth = inside.components().count() - 1;
    for part in target.components() {
        depth = match part {
            Utf8Component::Normal(_) => depth + 1,
            Utf8Component::CurDir => depth,
            Utf8Component::ParentDir => depth.checked_sub(1).ok_or_else(escape)?,
            Utf8Component::RootDir | Utf8Component::Prefix(_) => return Err(escape()),
        };
    }
    let linked: io::Result<()> = folder.disk.link(&target, place);
    done("create", place, linked)
}
