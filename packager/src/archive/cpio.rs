//! The "new ASCII" cpio archive. Source: cpio(5), and rpm's `cpio.c`. [`odc`] is an older kind.

pub(crate) mod odc;

use std::io::{self, Write};

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
const ALIGNMENT: u64 = 4;

/// Writes entries one after the other.
pub(crate) struct CpioWriter<W> {
    out: W,
    written: u64,
}

/// An entry's header. Owners are left at root: who reads it out of an rpm looks at rpm's own lists.
#[derive(Default)]
pub(crate) struct Item<'a> {
    pub(crate) path: &'a str,
    pub(crate) inode: u32,
    /// With the bits that tell its kind.
    pub(crate) mode: u16,
    /// Of a folder or symlink 1, too: rpm looks for hard links by it.
    pub(crate) links: u32,
    /// In seconds since 1970.
    pub(crate) mtime: u32,
    pub(crate) size: u32,
}

impl<W: Write> CpioWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, written: 0 }
    }

    /// Starts an entry, whose `size` bytes are written to this writer before [`Self::pad`].
    pub(crate) fn begin(&mut self, item: &Item<'_>) -> io::Result<()> {
        let Item { path, inode, mode, links, mtime, size } = item;
        let name = path.len() + 1;
        // After the times: size, two device numbers, two of the device it is, length of the name.
        write!(
            self,
            "{MAGIC}{inode:08x}{mode:08x}{:08x}{:08x}{links:08x}{mtime:08x}{size:08x}\
             {:08x}{:08x}{:08x}{:08x}{name:08x}{:08x}{path}\0",
            0, 0, 0, 0, 0, 0, 0
        )?;
        self.pad()
    }

    /// Ends an entry.
    pub(crate) fn pad(&mut self) -> io::Result<()> {
        let missing = (ALIGNMENT - self.written % ALIGNMENT) % ALIGNMENT;
        let zeros = [0; ALIGNMENT as usize];
        self.write_all(&zeros[..usize::try_from(missing).map_err(io::Error::other)?])
    }

    /// Gives the writer below and how many bytes went to it.
    pub(crate) fn finish(mut self) -> io::Result<(W, u64)> {
        self.begin(&Item { path: TRAILER, links: 1, ..Item::default() })?;
        Ok((self.out, self.written))
    }
}

impl<W: Write> Write for CpioWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(bytes)?;
        self.written += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, process::Command};

    use proptest::prelude::*;

    use super::*;

    /// Has cpio(1) unpack `archive`, and reads what it made of it.
    #[expect(clippy::disallowed_methods, reason = "the test asks somebody else's reader")]
    fn unpack(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("archive");
        fs::write(&file, archive).unwrap();
        let out = folder.path().join("out");
        fs::create_dir(&out).unwrap();
        let mut cpio = Command::new("cpio");
        cpio.args(["-i", "--quiet", "-F"]).arg(file).current_dir(&out);
        assert!(cpio.status().expect("cpio is installed").success());
        let entries = fs::read_dir(out).unwrap().map(Result::unwrap);
        let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
        entries.map(|entry| (name(&entry), fs::read(entry.path()).unwrap())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn files_are_read_back(
            files in proptest::collection::btree_map(
                "[a-z]{1,20}",
                proptest::collection::vec(any::<u8>(), 0..40),
                0..8,
            ),
        ) {
            let mut cpio = CpioWriter::new(Vec::new());
            for (inode, (path, content)) in (1..).zip(&files) {
                let size = u32::try_from(content.len()).unwrap();
                let item = Item { path, inode, mode: 0o100_644, links: 1, mtime: 1, size };
                cpio.begin(&item).unwrap();
                cpio.write_all(content).unwrap();
                cpio.pad().unwrap();
            }
            let (archive, written) = cpio.finish().unwrap();
            prop_assert_eq!(archive.len() as u64, written);
            prop_assert_eq!(unpack(&archive), files);
        }
    }
}
