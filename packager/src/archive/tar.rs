//! A tar archive whose names start with `./`, as dpkg wants them and the `tar` crate's own writer
//! does not give them.

use std::io::{self, Write};

use tar::{EntryType, Header};

const BLOCK: u64 = 512;
/// Length of the fields for names and for targets of symlinks, in bytes.
const FIELD: usize = 100;

/// Writes entries one after the other, all with one date.
pub(crate) struct TarWriter<W> {
    out: W,
    /// In seconds since 1970.
    mtime: u32,
}

/// What all kinds of entries have.
pub(crate) struct Item<'a> {
    /// Absolute; `/` is the root.
    pub(crate) path: &'a str,
    pub(crate) mode: u16,
    pub(crate) user: &'a str,
    pub(crate) group: &'a str,
    /// Of both user and group.
    pub(crate) number: u32,
}

impl<W: Write> TarWriter<W> {
    pub(crate) fn new(out: W, mtime: u32) -> Self {
        Self { out, mtime }
    }

    pub(crate) fn dir(&mut self, item: &Item<'_>) -> io::Result<()> {
        let path = if item.path == "/" { "" } else { item.path };
        let header = self.header(item, EntryType::Directory)?;
        self.put(header, &format!(".{path}/"))
    }

    pub(crate) fn symlink(&mut self, item: &Item<'_>, target: &str) -> io::Result<()> {
        let mut header = self.header(item, EntryType::Symlink)?;
        if target.len() > FIELD {
            self.put_long(EntryType::GNULongLink, target)?;
        }
        header.set_link_name_literal(front(target))?;
        self.put(header, &format!(".{}", item.path))
    }

    /// Starts a file of `size` bytes, which the caller writes to [`Self::out`] before
    /// [`Self::pad`].
    pub(crate) fn file(&mut self, item: &Item<'_>, size: u64) -> io::Result<()> {
        let mut header = self.header(item, EntryType::Regular)?;
        header.set_size(size);
        self.put(header, &format!(".{}", item.path))
    }

    pub(crate) fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Ends a file of `size` bytes.
    pub(crate) fn pad(&mut self, size: u64) -> io::Result<()> {
        let missing = (BLOCK - size % BLOCK) % BLOCK;
        io::copy(&mut io::Read::take(io::repeat(0), missing), &mut self.out).map(drop)
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK as usize])?;
        Ok(self.out)
    }

    fn header(&self, item: &Item<'_>, kind: EntryType) -> io::Result<Header> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(u32::from(item.mode));
        header.set_mtime(u64::from(self.mtime));
        header.set_uid(u64::from(item.number));
        header.set_gid(u64::from(item.number));
        header.set_size(0);
        header.set_username(item.user)?;
        header.set_groupname(item.group)?;
        Ok(header)
    }

    fn put(&mut self, mut header: Header, name: &str) -> io::Result<()> {
        if name.len() > FIELD {
            self.put_long(EntryType::GNULongName, name)?;
        }
        let name = front(name);
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }

    /// An entry that tells what a field of the next one is too short for, as GNU tar writes it and
    /// dpkg reads it.
    fn put_long(&mut self, kind: EntryType, text: &str) -> io::Result<()> {
        let size = text.len() as u64 + 1;
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        self.put(header, "././@LongLink")?;
        self.out.write_all(text.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(size)
    }
}

/// As much of a name as its field holds.
fn front(name: &str) -> &[u8] {
    &name.as_bytes()[..name.len().min(FIELD)]
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read};

    use proptest::prelude::*;

    use super::*;

    fn item(path: &str) -> Item<'_> {
        Item { path, mode: 0o640, user: "root", group: "adm", number: 4 }
    }

    proptest! {
        #[test]
        fn files_are_read_back(
            files in proptest::collection::btree_map(
                "(/[a-z.]{1,24}){1,9}",
                proptest::collection::vec(any::<u8>(), 0..1500),
                0..8,
            ),
        ) {
            let mut tar = TarWriter::new(Vec::new(), 1_790_000_000);
            for (path, content) in &files {
                tar.file(&item(path), content.len() as u64).unwrap();
                tar.out().extend(content);
                tar.pad(content.len() as u64).unwrap();
            }
            let bytes = tar.finish().unwrap();
            let mut read = BTreeMap::new();
            for entry in ::tar::Archive::new(bytes.as_slice()).entries().unwrap() {
                let mut entry = entry.unwrap();
                let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
                prop_assert_eq!(entry.header().mode().unwrap(), 0o640);
                prop_assert_eq!(entry.header().mtime().unwrap(), 1_790_000_000);
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                read.insert(path.strip_prefix('.').unwrap().to_owned(), content);
            }
            prop_assert_eq!(read, files);
        }
    }

    #[test]
    fn targets_of_any_length_are_read_back() {
        for length in [1, FIELD - 1, FIELD, FIELD + 1, 4_000] {
            let target = "x".repeat(length);
            let mut tar = TarWriter::new(Vec::new(), 0);
            tar.symlink(&item("/link"), &target).unwrap();
            let bytes = tar.finish().unwrap();
            let mut archive = ::tar::Archive::new(bytes.as_slice());
            let entry = archive.entries().unwrap().next().unwrap().unwrap();
            assert_eq!(entry.link_name_bytes().unwrap(), target.as_bytes());
        }
    }
}
