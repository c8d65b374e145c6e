//! The "old portable" cpio archive, POSIX's own, which Apple's installer unpacks. Source: pax in POSIX.1
//! ("cpio Interchange Format"), cpio(5).

use std::io::{self, Write};

const MAGIC: &str = "070707";
const TRAILER: &str = "TRAILER!!!";
/// Inode numbers have six octal digits. Nothing is linked twice, so that they may come again.
const INODES: u32 = 1 << 18;
/// Lengths have eleven octal digits.
const MAX_SIZE: u64 = (1 << 33) - 1;
const MAX_NAME: usize = (1 << 18) - 1;

/// Writes entries one after the other, all owned by root and its group.
pub(crate) struct OdcWriter<W> {
    out: W,
    /// In seconds since 1970.
    mtime: u32,
    entries: u32,
}

impl<W: Write> OdcWriter<W> {
    pub(crate) fn new(out: W, mtime: u32) -> Self {
        Self { out, mtime, entries: 0 }
    }

    /// Adds an entry's header, after which the caller writes its `size` bytes to [`Self::out`].
    /// `mode` has the bits that tell its kind.
    pub(crate) fn begin(&mut self, path: &str, mode: u16, size: u64) -> io::Result<()> {
        if size > MAX_SIZE || path.len() >= MAX_NAME {
            return Err(io::Error::other(format!("`{path}` does not fit into a cpio archive")));
        }
        self.entries += 1;
        let (inode, mtime, name) = (self.entries % INODES, self.mtime, path.len() + 1);
        self.header([inode, u32::from(mode), 1], mtime, name, size)?;
        write!(self.out, "{path}\0")
    }

    pub(crate) fn out(&mut self) -> &mut W {
        &mut self.out
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.header([0, 0, 1], 0, TRAILER.len() + 1, 0)?;
        write!(self.out, "{TRAILER}\0")?;
        Ok(self.out)
    }

    /// Device, owner, group and the device it is are zero.
    fn header(
        &mut self,
        [inode, mode, links]: [u32; 3],
        mtime: u32,
        name: usize,
        size: u64,
    ) -> io::Result<()> {
        let zero = 0;
        write!(self.out, "{MAGIC}{zero:06o}{inode:06o}{mode:06o}{zero:06o}{zero:06o}{links:06o}")?;
        write!(self.out, "{zero:06o}{mtime:011o}{name:06o}{size:011o}")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path, process::Command,
    };

    use proptest::prelude::*;

    use super::*;

    /// Path to content; of a folder None.
    type Tree = BTreeMap<String, Option<Vec<u8>>>;

    #[expect(clippy::disallowed_methods, reason = "the test asks somebody else's readers")]
    fn unpack(program: &str, archive: &Path) -> Tree {
        let out = tempfile::tempdir().unwrap();
        let mut unpack = Command::new(program);
        let args: &[&str] = if program == "cpio" { &["-id", "--quiet", "-F"] } else { &["-xf"] };
        unpack.args(args).arg(archive).current_dir(&out);
        assert!(unpack.status().expect("it is installed").success());
        read(out.path(), "./")
    }

    fn read(folder: &Path, prefix: &str) -> Tree {
        let mut tree = Tree::new();
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            if entry.path().is_dir() {
                assert_eq!(mode, 0o755);
                tree.extend(read(&entry.path(), &format!("{name}/")));
                tree.insert(name, None);
            } else {
                assert_eq!(mode, 0o600);
                tree.insert(name, Some(fs::read(entry.path()).unwrap()));
            }
        }
        tree
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn trees_are_read_back_by_cpio_and_bsdtar(
            files in proptest::collection::btree_map(
                "(/[a-zäß '\"\\\\$&;#~-]{1,9}){0,3}/[A-Z][\\PC&&[^/]]{0,9}",
                proptest::collection::vec(any::<u8>(), 0..300),
                0..20,
            ),
        ) {
            let mut tree = Tree::new();
            for (path, content) in &files {
                let folders = path.match_indices('/').skip(1);
                tree.extend(folders.map(|(end, _)| (format!(".{}", &path[..end]), None)));
                tree.insert(format!(".{path}"), Some(content.clone()));
            }
            let mut odc = OdcWriter::new(Vec::new(), 1_790_000_000);
            for (path, content) in &tree {
                let mode = if content.is_some() { 0o100_600 } else { 0o40_755 };
                let content = content.as_deref().unwrap_or_default();
                odc.begin(path, mode, content.len() as u64).unwrap();
                odc.out().extend(content);
            }
            let folder = tempfile::tempdir().unwrap();
            let archive = folder.path().join("archive");
            fs::write(&archive, odc.finish().unwrap()).unwrap();
            prop_assert_eq!(&unpack("cpio", &archive), &tree);
            prop_assert_eq!(&unpack("bsdtar", &archive), &tree);
        }
    }

    #[test]
    fn what_is_too_long_is_refused() {
        assert!(OdcWriter::new(Vec::new(), 0).begin("./a", 0o100_644, 1 << 33).is_err());
    }
}
