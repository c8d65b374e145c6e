//! The files that an rpm's header lists.

use super::header::Header;
use crate::read::{
    decode::TEXT,
    error::ReadError,
    files::{Found, FoundKind, MAX_FILES},
};

const PART: &str = "header";
const CONFIG: u64 = 1;
/// Belongs to the package, and is not in it.
const GHOST: u64 = 1 << 6;

/// A file that the header lists.
pub(super) struct File {
    pub(super) path: String,
    pub(super) found: Found,
    /// In hexadecimal; empty unless it is a file.
    pub(super) digest: String,
    pub(super) ghost: bool,
    /// Files with the same one share their bytes.
    pub(super) inode: Option<u64>,
}

/// All files, in the header's order.
pub(super) struct Listed {
    pub(super) files: Vec<File>,
    /// The number that OpenPGP has for their digests' algorithm.
    pub(super) algorithm: u64,
}

impl Listed {
    pub(super) fn read(header: &Header) -> Result<Self, ReadError> {
        const MODES: u32 = 1030;
        const DIGESTS: u32 = 1035;
        const TARGETS: u32 = 1036;
        const FLAGS: u32 = 1037;
        const USERS: u32 = 1039;
        const GROUPS: u32 = 1040;
        const INODES: u32 = 1096;
        const ALGORITHM: u32 = 5011;
        const MD5: u64 = 1;
        let (paths, sizes) = (paths(header)?, sizes(header)?);
        let [modes, flags] = [header.numbers(MODES)?, header.numbers(FLAGS)?];
        let [digests, targets] = [header.strings(DIGESTS)?, header.strings(TARGETS)?];
        let inodes = header.numbers(INODES)?;
        let [users, groups] = [header.strings(USERS)?, header.strings(GROUPS)?];
        let counts = [modes.len(), digests.len(), targets.len(), users.len(), groups.len()];
        if counts.into_iter().chain([flags.len(), sizes.len()]).any(|count| count != paths.len()) {
            return Err(ReadError::damaged(PART, "its lists of files differ in length"));
        }
        let file = |(index, path): (usize, String)| {
            let mode = u32::try_from(modes[index]).unwrap_or_default();
            let kind = FoundKind::of_mode(mode);
            let mut found = Found::new(kind, mode, format!("{}:{}", users[index], groups[index]));
            found.config = flags[index] & CONFIG != 0;
            if kind == FoundKind::File {
                found.size = sizes[index];
            }
            found.target = (kind == FoundKind::Symlink).then(|| targets[index].clone());
            let ghost = flags[index] & GHOST != 0;
            let inode = inodes.get(index).copied();
            File { path, found, digest: digests[index].clone(), ghost, inode }
        };
        let files = paths.into_iter().enumerate().map(file).collect();
        let algorithm = header.numbers(ALGORITHM)?.first().copied().unwrap_or(MD5);
        Ok(Self { files, algorithm })
    }
}

/// Of folders and names, or, before 1999, of paths.
fn paths(header: &Header) -> Result<Vec<String>, ReadError> {
    const OLD_NAMES: u32 = 1027;
    const FOLDER_NUMBERS: u32 = 1116;
    const NAMES: u32 = 1117;
    const FOLDERS: u32 = 1118;
    let (names, folders) = (header.strings(NAMES)?, header.strings(FOLDERS)?);
    let numbers = header.numbers(FOLDER_NUMBERS)?;
    if names.is_empty() {
        return header.strings(OLD_NAMES);
    }
    if names.len() > MAX_FILES {
        return Err(ReadError::TooBig { part: PART, limit: MAX_FILES as u64, unit: "files" });
    }
    let mut length = 0;
    let mut paths = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let number = numbers.get(index).and_then(|number| usize::try_from(*number).ok());
        let folder = number.and_then(|number| folders.get(number));
        let folder = folder.ok_or_else(|| ReadError::damaged(PART, "a file is in no folder"))?;
        length += folder.len() + name.len();
        if length as u64 > TEXT {
            return Err(ReadError::TooBig { part: PART, limit: TEXT, unit: "bytes of paths" });
        }
        paths.push(format!("{folder}{name}"));
    }
    Ok(paths)
}

fn sizes(header: &Header) -> Result<Vec<u64>, ReadError> {
    const SIZES: u32 = 1028;
    const LONG_SIZES: u32 = 5008;
    let sizes = header.numbers(SIZES)?;
    if sizes.is_empty() { header.numbers(LONG_SIZES) } else { Ok(sizes) }
}
