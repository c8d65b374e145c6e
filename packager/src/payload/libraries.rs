//! The shared libraries that an ELF program is linked to, and the versions of their symbols.

use std::collections::BTreeMap;

use object::{
    LittleEndian, Object as _,
    read::{Error, ReadRef, elf::ElfFile64},
};

use super::Library;

/// What the dynamic section and the table of needed versions list.
pub(super) fn read<'data, R: ReadRef<'data>>(data: R) -> Result<Vec<Library>, Error> {
    let file = ElfFile64::<LittleEndian, R>::parse(data)?;
    let mut all = Vec::new();
    for library in file.import_libraries()? {
        all.push(Library { name: text(library?.name()), version: None });
    }
    let sections = file.elf_section_table();
    let Some((needs, link)) = sections.gnu_verneed(LittleEndian, data)? else {
        return Ok(merged(all));
    };
    let strings = sections.strings(LittleEndian, data, link)?;
    for need in needs {
        let (need, versions) = need?;
        let name = text(need.file(LittleEndian, strings)?);
        for version in versions {
            let version = text(version?.name(LittleEndian, strings)?);
            // Others, like GLIBC_PRIVATE and GLIBC_ABI_DT_RELR, have no order.
            let version = number(&version).is_some().then_some(version);
            all.push(Library { name: name.clone(), version });
        }
    }
    Ok(merged(all))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Each library once, with the newest of its versions, sorted by name.
pub(super) fn merged(all: impl IntoIterator<Item = Library>) -> Vec<Library> {
    let mut newest = BTreeMap::<String, Option<String>>::new();
    for Library { name, version } in all {
        let kept = newest.entry(name).or_default();
        if version.as_deref().and_then(number) > kept.as_deref().and_then(number) {
            *kept = version;
        }
    }
    newest.into_iter().map(|(name, version)| Library { name, version }).collect()
}

/// 2 and 34 of `GLIBC_2.34`.
fn number(version: &str) -> Option<Vec<u32>> {
    let (_, number) = version.rsplit_once('_')?;
    number.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(name: &str, version: Option<&str>) -> Library {
        Library { name: name.into(), version: version.map(str::to_owned) }
    }

    #[test]
    fn versions_are_ordered_as_numbers() {
        let versions = ["GLIBC_2.2.5", "GLIBC_2.17", "GLIBC_2.9"];
        let all = versions.map(|version| library("libc.so.6", Some(version)));
        assert_eq!(merged(all), [library("libc.so.6", Some("GLIBC_2.17"))]);
        let unversioned = || library("libc.so", None);
        assert_eq!(merged([unversioned(), unversioned()]), [unversioned()]);
        assert_eq!(number("GLIBC_PRIVATE"), None);
        assert_eq!(number("GLIBC_ABI_DT_RELR"), None);
    }
}
