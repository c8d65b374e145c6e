//! tar archives, of which long names are read here: the library would hold them whole, however long.

use std::io::Read;

use tar::{Archive, EntryType, Header, PaxExtensions};

use super::{
    decode::all,
    error::ReadError,
    files::{Found, FoundKind},
};

/// The longest name, and the longest list of attributes, in bytes.
const MAX_NAMES: u64 = 1 << 20;

/// Shows `visit` every entry of the archive `from`: its path, what it is, and, of a file, its bytes. A hard
/// link is a file whose target is the path that it shares its bytes with.
pub(super) fn each(
    from: impl Read,
    part: &'static str,
    mut visit: impl FnMut(String, Found, &mut dyn Read) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let at = ReadError::at(part);
    let mut archive = Archive::new(from);
    let mut names = Names::default();
    for entry in archive.entries().map_err(at)?.raw(true) {
        let mut entry = entry.map_err(at)?;
        let kind = entry.header().entry_type();
        let special = [
            EntryType::GNULongName,
            EntryType::GNULongLink,
            EntryType::XHeader,
            EntryType::XGlobalHeader,
        ];
        if special.contains(&kind) {
            names.take(kind, &all(&mut entry, part, MAX_NAMES)?);
            continue;
        }
        if kind == EntryType::GNUSparse {
            let what = "with sparse files".to_owned();
            return Err(ReadError::Unsupported { part, what });
        }
        let (path, found) = describe(entry.header(), std::mem::take(&mut names), part)?;
        visit(path, found, &mut entry)?;
    }
    Ok(())
}

/// What comes before an entry and goes for it.
#[derive(Default)]
struct Names {
    path: Option<String>,
    target: Option<String>,
    user: Option<String>,
    group: Option<String>,
}

impl Names {
    fn take(&mut self, kind: EntryType, bytes: &[u8]) {
        if kind == EntryType::GNULongName {
            self.path = Some(name(bytes));
        } else if kind == EntryType::GNULongLink {
            self.target = Some(name(bytes));
        } else if kind == EntryType::XHeader {
            self.take_attributes(bytes);
        }
    }

    fn take_attributes(&mut self, attributes: &[u8]) {
        for attribute in PaxExtensions::new(attributes).flatten() {
            let place = match attribute.key() {
                Ok("path") => &mut self.path,
                Ok("linkpath") => &mut self.target,
                Ok("uname") => &mut self.user,
                Ok("gname") => &mut self.group,
                Ok(_) | Err(_) => continue,
            };
            *place = Some(name(attribute.value_bytes()));
        }
    }
}

fn describe(
    header: &Header,
    names: Names,
    part: &'static str,
) -> Result<(String, Found), ReadError> {
    let at = ReadError::at(part);
    let (user, group) = (header.username_bytes(), header.groupname_bytes());
    let owner = |given: Option<String>, text: Option<&[u8]>, number: u64| {
        given
            .or_else(|| text.filter(|text| !text.is_empty()).map(name))
            .unwrap_or(number.to_string())
    };
    let owner = format!(
        "{}:{}",
        owner(names.user, user, header.uid().map_err(at)?),
        owner(names.group, group, header.gid().map_err(at)?)
    );
    let kind = match header.entry_type() {
        kind if kind.is_file() || kind.is_contiguous() || kind.is_hard_link() => FoundKind::File,
        kind if kind.is_dir() => FoundKind::Dir,
        kind if kind.is_symlink() => FoundKind::Symlink,
        _ => FoundKind::Special,
    };
    let path = names.path.unwrap_or_else(|| name(&header.path_bytes()));
    let mut found = Found::new(kind, header.mode().map_err(at)?, owner);
    if header.entry_type().is_symlink() || header.entry_type().is_hard_link() {
        let target = header.link_name_bytes().unwrap_or_default();
        found.target = Some(names.target.unwrap_or_else(|| name(&target)));
    }
    if header.entry_type().is_file() {
        found.size = header.entry_size().map_err(at)?;
    }
    Ok((path, found))
}

/// Up to the first zero.
fn name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
