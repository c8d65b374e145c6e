//! The extensible archive that Apple's installer packages are: a header, a zlib-squeezed table in XML,
//! and a heap that the table points into. Source: the format's page on mackyle/xar's wiki, and
//! `xar`, `libarchive` and `7z`, which read it.
//!
//! The table comes first and is known last, so its place is kept free and filled up with blanks. That
//! also makes room for a signature: `<signature>` and `<x-signature>` belong after the table's
//! `<checksum>`, what they hold belongs between that checksum and the first member. Adding them
//! rewrites the first [`Room`] of the file and moves no member.
//!
//! Checksums are SHA-1, the only ones that all readers know, and that Apple's own tools write. A
//! signature is over the table's checksum, the table has those of the members.

mod seal;
mod table;

pub(crate) use seal::Front;

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Seek, SeekFrom, Write},
};

use sha1::{Digest, Sha1};

/// Length of the header.
const HEADER: u64 = 28;
const MAGIC: &[u8; 4] = b"xar!";
const VERSION: u16 = 1;
/// What the header calls SHA-1.
const SHA1: u32 = 1;
/// Length of a SHA-1.
pub(crate) const CHECKSUM: u64 = 20;

/// What is kept free before the members.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Exact length of the squeezed table, in bytes; at least what the table needs.
    pub(crate) table: u32,
    /// Offset of the first member in the heap, in bytes; the table's checksum has the first 20.
    pub(crate) signatures: u32,
}

/// Writes members one after the other. In the table they are sorted by name.
pub(crate) struct XarWriter<W> {
    out: W,
    room: Room,
    /// In seconds since 1970.
    date: u32,
    root: Folder,
    member: Member,
    digest: Sha1,
}

/// Names to what has them.
type Folder = BTreeMap<String, Node>;

enum Node {
    Folder(Folder),
    Member(Member),
}

/// Where in the heap a member is.
#[derive(Debug, Clone, Default)]
struct Member {
    offset: u64,
    size: u64,
    /// Hexadecimal.
    sha1: String,
}

impl<W: Write + Seek> XarWriter<W> {
    /// Begins an archive at the start of `out`, which is empty.
    pub(crate) fn new(mut out: W, room: Room, date: u32) -> io::Result<Self> {
        let offset = u64::from(room.signatures);
        let front = HEADER + u64::from(room.table) + offset;
        io::copy(&mut io::repeat(0).take(front), &mut out)?;
        let member = Member { offset, ..Member::default() };
        Ok(Self { out, room, date, root: Folder::new(), member, digest: Sha1::new() })
    }

    /// Adds a whole member. Slashes in `path` make folders.
    pub(crate) fn member(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.write_all(content)?;
        self.end(path)
    }

    /// Makes what has been written to this writer since the last member a member.
    pub(crate) fn end(&mut self, path: &str) -> io::Result<()> {
        let sha1 = hex::encode(std::mem::take(&mut self.digest).finalize());
        let next = Member { offset: self.member.offset + self.member.size, ..Member::default() };
        let member = Member { sha1, ..std::mem::replace(&mut self.member, next) };
        put(&mut self.root, path, member)
    }

    /// Writes header, table and the table's checksum, and goes to the end.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        let text = table::render(&self.root, self.date)?;
        let (table, length) = table::pack(&text, self.room.table)?;
        self.out.rewind()?;
        self.out.write_all(MAGIC)?;
        self.out.write_all(&u16::try_from(HEADER).map_err(io::Error::other)?.to_be_bytes())?;
        self.out.write_all(&VERSION.to_be_bytes())?;
        self.out.write_all(&u64::from(self.room.table).to_be_bytes())?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&SHA1.to_be_bytes())?;
        self.out.write_all(&table)?;
        self.out.write_all(&Sha1::digest(&table))?;
        self.out.seek(SeekFrom::End(0))?;
        Ok(self.out)
    }
}

impl<W: Write> Write for XarWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(bytes)?;
        self.digest.update(&bytes[..taken]);
        self.member.size += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn put(folder: &mut Folder, path: &str, member: Member) -> io::Result<()> {
    let (name, rest) = path.split_once('/').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let Some(rest) = rest else {
        let old = folder.insert(name.to_owned(), Node::Member(member));
        return if old.is_none() { Ok(()) } else { Err(twice(name)) };
    };
    match folder.entry(name.to_owned()).or_insert_with(|| Node::Folder(Folder::new())) {
        Node::Folder(inner) => put(inner, rest, member),
        Node::Member(_) => Err(twice(name)),
    }
}

fn twice(name: &str) -> io::Error {
    io::Error::other(format!("two members of a xar archive are called `{name}`"))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Cursor, path::Path, process::Command};

    use proptest::prelude::*;

    use super::*;

    const ROOM: Room = Room { table: 8192, signatures: 4096 };

    fn archive(members: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
        let mut xar = XarWriter::new(Cursor::new(Vec::new()), ROOM, 1_790_000_000).unwrap();
        for (path, content) in members {
            xar.member(path, content).unwrap();
        }
        xar.finish().unwrap().into_inner()
    }

    #[expect(clippy::disallowed_methods, reason = "the test asks somebody else's reader")]
    fn run(program: &str, args: &[&str]) {
        let output = Command::new(program).args(args).output().expect("it is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn files(folder: &Path, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
            if entry.path().is_dir() {
                all.extend(files(&entry.path(), &format!("{name}/")));
            } else {
                all.insert(name, fs::read(entry.path()).unwrap());
            }
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn bsdtar_and_7z_read_the_members_back(
            members in proptest::collection::btree_map(
                "[A-Z](/[a-z][a-z<&'\"äöü .]{0,8}[a-z]){0,2}/[a-z]{1,8}",
                proptest::collection::vec(any::<u8>(), 0..3000),
                1..12,
            ),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("archive.xar");
            fs::write(&file, archive(&members)).unwrap();
            let file = file.to_str().unwrap();
            let (bsd, seven) = (folder.path().join("bsd"), folder.path().join("seven"));
            fs::create_dir(&bsd).unwrap();
            run("bsdtar", &["-xf", file, "-C", bsd.to_str().unwrap()]);
            prop_assert_eq!(&files(&bsd, ""), &members);
            run("7z", &["x", "-y", &format!("-o{}", seven.display()), file]);
            let mut read = files(&seven, "");
            // 7z gives the table out as a member.
            read.remove("[TOC].xml");
            prop_assert_eq!(&read, &members);
        }
    }

    #[test]
    fn a_table_that_does_not_fit_is_refused() {
        let room = Room { table: 64, signatures: 4096 };
        let xar = XarWriter::new(Cursor::new(Vec::new()), room, 0).unwrap();
        assert!(xar.finish().is_err());
    }

    #[test]
    fn two_members_never_have_one_name() {
        let mut xar = XarWriter::new(Cursor::new(Vec::new()), ROOM, 0).unwrap();
        xar.member("a/b", b"").unwrap();
        assert!(xar.member("a/b", b"").is_err());
        assert!(xar.member("a/b/c", b"").is_err());
    }
}
