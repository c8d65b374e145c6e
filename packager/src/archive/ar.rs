//! The archive of Unix libraries, in the form that deb(5) asks for.

use std::io::{self, Read, Seek, SeekFrom, Write};

const MAGIC: &[u8] = b"!<arch>\n";
/// Where the length is in a member's header, and in how many digits.
const LENGTH_AT: u64 = 48;
const LENGTH_DIGITS: usize = 10;

/// Writes members one after the other; a member's length may be found out while it is written.
pub(crate) struct ArWriter<W> {
    out: W,
    /// Of all members, in seconds since 1970.
    mtime: u32,
}

/// A member being written.
pub(crate) struct Member {
    header: u64,
    content: u64,
}

impl<W: Write + Seek> ArWriter<W> {
    pub(crate) fn new(mut out: W, mtime: u32) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        Ok(Self { out, mtime })
    }

    /// Adds a whole member. `name` has at most 16 characters.
    pub(crate) fn member(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let member = self.begin(name)?;
        self.out.write_all(content)?;
        self.end(&member)
    }

    /// Starts a member whose content the caller writes to [`Self::out`].
    pub(crate) fn begin(&mut self, name: &str) -> io::Result<Member> {
        let header = self.out.stream_position()?;
        let (mtime, mode, length) = (self.mtime, "100644", 0);
        writeln!(self.out, "{name:<16}{mtime:<12}{:<6}{:<6}{mode:<8}{length:<10}`", 0, 0)?;
        Ok(Member { header, content: self.out.stream_position()? })
    }

    pub(crate) fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Fills in the length of `member`, which ends here, and pads to an even length.
    pub(crate) fn end(&mut self, member: &Member) -> io::Result<()> {
        let end = self.out.stream_position()?;
        let length = (end - member.content).to_string();
        if length.len() > LENGTH_DIGITS {
            return Err(io::Error::other("a member of an ar archive is over ten digits long"));
        }
        self.out.seek(SeekFrom::Start(member.header + LENGTH_AT))?;
        write!(self.out, "{length:<LENGTH_DIGITS$}")?;
        self.out.seek(SeekFrom::Start(end))?;
        if (end - member.content) % 2 == 1 { self.out.write_all(b"\n") } else { Ok(()) }
    }
}

/// A member that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: String,
    /// Where its content begins, from the start of the archive.
    pub(crate) at: u64,
    pub(crate) length: u64,
    /// In seconds since 1970; 0 if it is not told.
    pub(crate) mtime: u32,
}

const HEADER: usize = 60;
/// More than any deb has.
const MAX_MEMBERS: usize = 64;

/// The members of the archive that `file` is, in its order. [`io::ErrorKind::InvalidData`] says what is wrong.
pub(crate) fn list(file: &mut (impl Read + Seek + ?Sized)) -> io::Result<Vec<Listed>> {
    let end = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut magic = [0; MAGIC.len()];
    read_all(file, &mut magic)?;
    if magic != MAGIC {
        return Err(invalid("it does not begin as an archive"));
    }
    let mut members = Vec::new();
    let mut next = MAGIC.len() as u64;
    while next < end {
        file.seek(SeekFrom::Start(next))?;
        let mut header = [0; HEADER];
        read_all(file, &mut header)?;
        let member = listed(&header, next + HEADER as u64)?;
        next =
            member.at.checked_add(member.length).ok_or_else(|| invalid("a length is no length"))?;
        if next > end {
            return Err(invalid("a member ends beyond the archive"));
        }
        next += next % 2;
        members.push(member);
        if members.len() > MAX_MEMBERS {
            return Err(invalid("it has more members than any package"));
        }
    }
    Ok(members)
}

fn listed(header: &[u8; HEADER], at: u64) -> io::Result<Listed> {
    let field = |from: usize, to: usize| std::str::from_utf8(&header[from..to]).map(str::trim_end);
    let text = |from, to| field(from, to).map_err(|_| invalid("a member has no name"));
    if !header.ends_with(b"`\n") {
        return Err(invalid("a member does not begin as one"));
    }
    let name = text(0, 16)?;
    Ok(Listed {
        name: name.strip_suffix('/').unwrap_or(name).to_owned(),
        at,
        length: text(48, 58)?.parse().map_err(|_| invalid("a length is no number"))?,
        mtime: text(16, 28)?.parse().unwrap_or(0),
    })
}

fn read_all(file: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<()> {
    file.read_exact(buffer).map_err(|error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return invalid("it ends early");
        }
        error
    })
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    /// Reads an archive as ar(5) describes it.
    fn read(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut rest = archive.strip_prefix(MAGIC).unwrap();
        let mut members = Vec::new();
        while !rest.is_empty() {
            let (header, tail) = rest.split_at(60);
            assert_eq!(&header[58..], b"`\n");
            let field = |from, to| std::str::from_utf8(&header[from..to]).unwrap().trim_end();
            let length: usize = field(48, 58).parse().unwrap();
            members.push((field(0, 16).to_owned(), tail[..length].to_vec()));
            rest = &tail[length.next_multiple_of(2)..];
        }
        members
    }

    proptest! {
        #[test]
        fn members_are_read_back(
            members in proptest::collection::vec(
                ("[a-z.-]{1,16}", proptest::collection::vec(any::<u8>(), 0..50)),
                0..5,
            ),
        ) {
            let mut ar = ArWriter::new(Cursor::new(Vec::new()), 1_790_000_000).unwrap();
            for (name, content) in &members {
                ar.member(name, content).unwrap();
            }
            prop_assert_eq!(&read(ar.out().get_ref()), &members);
            let listed = list(ar.out()).unwrap();
            let archive = ar.out().get_ref();
            let again: Vec<_> = listed
                .into_iter()
                .map(|it| (it.name, archive[it.at as usize..(it.at + it.length) as usize].to_vec()))
                .collect();
            prop_assert_eq!(again, members);
        }

        #[test]
        fn whatever_it_is_listing_ends(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = list(&mut Cursor::new(&bytes));
            bytes.splice(0..0, MAGIC.iter().copied());
            let _ = list(&mut Cursor::new(&bytes));
        }
    }
}
