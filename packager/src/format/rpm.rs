//! rpm, version 4 of the format: a lead, a signature header, the header, and a squeezed cpio
//! archive. Source: the rpm reference manual, "RPM v4 package format", and rpm's `rpmtag.h`.
//!
//! A signature covers the header, which has the digest of the archive. Its place is kept in the
//! signature header (`RESERVEDSPACE`), so that adding one rewrites that header and moves nothing.

mod header;
mod metadata;
mod signature;
mod told;

pub use self::signature::check_signatures;
pub(crate) use self::told::{Told, read_told};

use std::{
    io::{SeekFrom, Write},
    num::NonZeroUsize,
};

use sha2::{Digest, Sha256};

use crate::{
    archive::cpio::{CpioWriter, Item},
    compression::{Algorithm, Compression, Encoder, all_cores},
    error::BuildError,
    feed::{self, Feed},
    format::{Format, Progress, Signature, WriteSeek},
    hashing::HashingWriter,
    package::{Metadata, Package},
    payload::Arch,
    sign::Keys,
    template::LICENSES,
    tree::{Entry, FileTree, InstallPath, Node, Role},
};

use header::{Header, SignatureTag};
use metadata::PackageHeader;

/// The options of an rpm.
#[derive(Debug, Clone)]
pub struct Rpm {
    /// Of the files. rpm reads zstd since 4.14 (RHEL 8), the others since ever.
    pub compression: Compression,
    /// Threads that compress. Their number does not change the bytes.
    pub cores: NonZeroUsize,
}

impl Default for Rpm {
    fn default() -> Self {
        Self { compression: Compression::of(Algorithm::Zstd), cores: all_cores() }
    }
}

impl Format for Rpm {
    fn name(&self) -> &'static str {
        "rpm"
    }

    fn arch(&self, metadata: &Metadata) -> &'static str {
        match metadata.platform.arch {
            Arch::Amd64 => "x86_64",
            Arch::Arm64 => "aarch64",
            Arch::Universal => "noarch",
        }
    }

    fn file_name(&self, metadata: &Metadata) -> String {
        format!("{}.{}.rpm", metadata::full_name(metadata), self.arch(metadata))
    }

    fn tree(&self, package: &Package) -> FileTree {
        with_licenses(package)
    }

    fn write(
        &self,
        package: &Package,
        out: &mut dyn WriteSeek,
        progress: Progress<'_>,
    ) -> Result<(), BuildError> {
        let tree = self.tree(package);
        let lead = lead(package);
        let header = PackageHeader {
            package,
            tree: &tree,
            arch: self.arch(&package.metadata),
            compression: self.compression,
        };
        // Both headers tell digests and sizes of what follows them: their places are kept.
        let unknown = Digests::unknown(&tree);
        let mut front = Front { lead, header: header.render(&unknown)?, archive: Sizes::default() };
        let place = front.render().len();
        out.write_all(&front.render()).map_err(BuildError::Write)?;
        let (digests, sizes) = self.write_archive(out, package, &tree, progress)?;
        front.header = header.render(&digests)?;
        front.archive = sizes;
        let front = front.render();
        debug_assert_eq!(front.len(), place, "digests and sizes are all of one length");
        out.rewind().and_then(|()| out.write_all(&front)).map_err(BuildError::Write)?;
        out.seek(SeekFrom::End(0)).map(drop).map_err(BuildError::Write)
    }

    fn signature<'k>(&self, keys: &'k Keys) -> Option<Signature<'k>> {
        let key = keys.openpgp.as_ref()?;
        Some(Signature::new(key.fingerprint(), |unsigned, out| signature::sign(unsigned, key, out)))
    }
}

impl Rpm {
    fn write_archive(
        &self,
        out: &mut dyn WriteSeek,
        package: &Package,
        tree: &FileTree,
        progress: Progress<'_>,
    ) -> Result<(Digests, Sizes), BuildError> {
        let hashing = HashingWriter::new(out);
        let encoder = Encoder::new(self.compression, self.cores, hashing);
        let mut cpio = CpioWriter::new(encoder.map_err(BuildError::Write)?);
        let mtime = package.built_at.unix();
        let ((), files) =
            feed::hashed::<Sha256, _>(progress, |feed| add_files(&mut cpio, tree, mtime, feed))?;
        let (encoder, plain) = cpio.finish().map_err(BuildError::Write)?;
        let hashing = encoder.finish().map_err(BuildError::Write)?;
        let (digest, written) = hashing.finish();
        let digests = Digests {
            files: files.iter().map(hex::encode).collect(),
            archive: hex::encode(digest),
        };
        let sizes =
            Sizes { plain: size("the archive", plain)?, squeezed: size("the archive", written)? };
        Ok((digests, sizes))
    }
}

/// What is known only when the archive has been written. SHA-256, hexadecimal.
struct Digests {
    /// In the tree's order.
    files: Vec<String>,
    /// Of the archive, squeezed.
    archive: String,
}

impl Digests {
    fn unknown(tree: &FileTree) -> Self {
        let zero = "0".repeat(2 * 32);
        let is_file = |entry: &Entry| matches!(entry.node, Node::File { .. });
        let files = tree.iter().filter(|(_, entry)| is_file(entry)).map(|_| zero.clone());
        Self { files: files.collect(), archive: zero }
    }
}

/// Of the archive, in bytes.
#[derive(Default)]
struct Sizes {
    plain: u32,
    squeezed: u32,
}

/// What comes before the archive.
struct Front {
    lead: [u8; LEAD],
    header: Vec<u8>,
    archive: Sizes,
}

/// Kept free for a signature: enough for RSA-4096 in both forms that rpm knows.
const RESERVED: usize = 4096;

impl Front {
    fn render(&self) -> Vec<u8> {
        // Never above what 32 bits hold: the archive's size was checked against the limit.
        let total = u32::try_from(self.header.len()).unwrap_or(u32::MAX);
        let mut signature = Header::default();
        signature.string(SignatureTag::SHA256, &hex::encode(Sha256::digest(&self.header)));
        signature.int32(SignatureTag::SIZE, &[total.saturating_add(self.archive.squeezed)]);
        signature.int32(SignatureTag::PAYLOAD_SIZE, &[self.archive.plain]);
        signature.binary(SignatureTag::RESERVED_SPACE, &[0; RESERVED]);
        let mut front = self.lead.to_vec();
        front.extend(signature.render(SignatureTag::REGION));
        front.resize(front.len().next_multiple_of(8), 0);
        front.extend(&self.header);
        front
    }
}

const LEAD: usize = 96;

/// What rpm's before 1997 read, and file(1): everything in it is in the header, too.
fn lead(package: &Package) -> [u8; LEAD] {
    const MAGIC_AND_VERSION: [u8; 6] = [0xed, 0xab, 0xee, 0xdb, 3, 0];
    const NAME: usize = 10;
    const NAME_LEN: usize = 65;
    let mut lead = [0; LEAD];
    lead[..6].copy_from_slice(&MAGIC_AND_VERSION);
    lead[9] = match package.metadata.platform.arch {
        Arch::Amd64 => 1,
        Arch::Arm64 => 19,
        Arch::Universal => 255,
    };
    let name = metadata::full_name(&package.metadata);
    let name = &name.as_bytes()[..name.len().min(NAME_LEN)];
    lead[NAME..NAME + name.len()].copy_from_slice(name);
    lead[77] = 1; // Linux
    lead[79] = 5; // signatures are headers
    lead
}

fn add_files(
    cpio: &mut CpioWriter<impl Write>,
    tree: &FileTree,
    mtime: u32,
    feed: &mut Feed<'_>,
) -> Result<(), BuildError> {
    for (inode, (path, entry)) in (1..).zip(tree.iter()) {
        let path = format!(".{path}");
        let (mode, size) = (entry.stat_mode(), size("a file", entry.stat_size())?);
        let item = Item { path: &path, inode, mode, links: 1, mtime, size };
        cpio.begin(&item).map_err(BuildError::Write)?;
        if let Node::File { source, .. } = &entry.node {
            feed.copy(source, cpio)?;
        }
        let target = entry.target().as_bytes();
        cpio.write_all(target).and_then(|()| cpio.pad()).map_err(BuildError::Write)?;
    }
    Ok(())
}

/// Sizes in the format have 32 bits, of which cpio programs understand 31.
fn size(what: &'static str, bytes: u64) -> Result<u32, BuildError> {
    const LIMIT: u64 = i32::MAX as u64;
    u32::try_from(bytes)
        .ok()
        .filter(|size| u64::from(*size) <= LIMIT)
        .ok_or(BuildError::TooBig { what, limit: LIMIT })
}

fn with_licenses(package: &Package) -> FileTree {
    let mut tree = package.tree.clone();
    let folder = format!("/usr/share/licenses/{}", package.metadata.name);
    let path = |path: String| InstallPath::new(path).expect("the package's name is a plain word");
    let mut put = |path, entry| tree.insert(path, entry).expect("no package's tree has licenses");
    put(path(folder.clone()), Entry::dir());
    for (name, text) in LICENSES {
        put(path(format!("{folder}/{name}")), Entry::bytes(text, Role::License));
    }
    tree
}
