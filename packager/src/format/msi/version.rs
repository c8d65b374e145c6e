//! The version that a program for Windows tells of itself, which decides whether the installer
//! takes one file for newer than another. Source: VS_FIXEDFILEINFO.

use std::fs::File;

use object::{
    LittleEndian as LE, pe,
    read::{
        ReadCache, ReadRef,
        pe::{ImageNtHeaders as _, ResourceDirectoryEntryData},
    },
};

use crate::tree::Source;

/// As the File table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileVersion {
    /// Four numbers between dots.
    pub(super) version: String,
    /// A Windows language identifier.
    pub(super) language: String,
}

impl FileVersion {
    /// None: the file is no program, or does not tell.
    pub(super) fn read(source: &Source) -> Option<Self> {
        match source {
            Source::Bytes(_) | Source::Slice { .. } | Source::Joined(_) => None,
            Source::Path { path, .. } => Self::find(&ReadCache::new(File::open(path).ok()?)),
        }
    }

    fn find<'a>(file: impl ReadRef<'a>) -> Option<Self> {
        let mut offset = pe::ImageDosHeader::parse(file).ok()?.nt_headers_offset().into();
        let (headers, directories) = pe::ImageNtHeaders64::parse(file, &mut offset).ok()?;
        let sections = headers.sections(file, offset).ok()?;
        let resources = directories.resource_directory(file, &sections).ok()??;
        let versions = resources
            .root()
            .ok()?
            .entries
            .iter()
            .find(|entry| entry.name_or_id().id() == Some(pe::RT_VERSION))?;
        let ResourceDirectoryEntryData::Table(named) = versions.data(resources).ok()? else {
            return None;
        };
        let ResourceDirectoryEntryData::Table(languages) =
            named.entries.first()?.data(resources).ok()?
        else {
            return None;
        };
        let entry = languages.entries.first()?;
        let ResourceDirectoryEntryData::Data(data) = entry.data(resources).ok()? else {
            return None;
        };
        let found = sections.pe_data_at(file, data.offset_to_data.get(LE))?;
        let language = entry.name_or_id().id().filter(|id| *id != 0).unwrap_or(1033);
        Some(Self { version: fixed(found)?, language: language.to_string() })
    }
}

/// The version of the fixed part, which follows the name of the resource.
fn fixed(info: &[u8]) -> Option<String> {
    const SIGNATURE: u32 = 0xfeef_04bd;
    const SIGNATURE_AT: usize = 40;
    let number = |at: usize| {
        let bytes = info.get(SIGNATURE_AT + at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    };
    if number(0)? != SIGNATURE {
        return None;
    }
    let (most, least) = (number(8)?, number(12)?);
    Some(format!("{}.{}.{}.{}", most >> 16, most & 0xffff, least >> 16, least & 0xffff))
}
