//! pkg, macOS' product archive: a xar with a `Distribution` and one component package of `Bom`,
//! `PackageInfo`, `Payload` and `Scripts`. Source: Apple's "Distribution Definition XML Schema
//! Reference", pkgbuild(1), productbuild(1), and packages that those make.
//!
//! The payload is squeezed with gzip to one member, in a cpio archive of the old kind: every macOS
//! reads that.
//!
//! A signature is two elements in the xar's table and what they point to; [`ROOM`] says how much is
//! kept free for both. Adding it rewrites the first 32 KiB and moves nothing.

mod documents;
mod identifier;
mod seal;
mod ticket;

pub use identifier::Identifier;
pub use ticket::{is_signed, staple, ticket, ticket_name};

use std::{borrow::Cow, collections::BTreeMap, io::Write, num::NonZeroUsize};

use crate::{
    archive::{
        bom::{self, Cksum},
        cpio::odc::OdcWriter,
        xar::{Room, XarWriter},
    },
    compression::{Algorithm, Compression, GzipWriter, Shape, all_cores},
    error::BuildError,
    feed::{self, Feed},
    format::{Format, Progress, ReadSeek, Signature, WriteSeek},
    package::{Metadata, Package},
    sign::{Keys, Seal, Trust, VerifyError},
    tree::{Entry, InstallPath, Node},
};

/// Enough for the certificates of a signature, twice, in the table, and for RSA-4096, a CMS message
/// with certificates and a time stamp in the heap.
const ROOM: Room = Room { table: (16 << 10) - 28, signatures: 16 << 10 };

/// Folder of the component package in the archive.
const COMPONENT: &str = "fleetd.pkg";

/// The options of a pkg.
#[derive(Debug, Clone)]
pub struct Pkg {
    /// Of the files.
    pub gzip: Gzip,
    /// Threads that compress. Their number does not change the bytes.
    pub cores: NonZeroUsize,
    /// By which macOS knows the package and its receipt.
    pub identifier: Identifier,
}

impl Default for Pkg {
    fn default() -> Self {
        let gzip = Gzip(Compression::of(Algorithm::Gzip));
        Self { gzip, cores: all_cores(), identifier: Identifier::default() }
    }
}

/// A compression with gzip: macOS documents no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gzip(Compression);

impl Gzip {
    /// None if `compression` is another.
    #[must_use]
    pub fn new(compression: Compression) -> Option<Self> {
        (compression.algorithm() == Algorithm::Gzip).then_some(Self(compression))
    }
}

impl Format for Pkg {
    fn name(&self) -> &'static str {
        "pkg"
    }

    fn arch(&self, metadata: &Metadata) -> &'static str {
        documents::architectures(metadata.platform.arch)
    }

    fn file_name(&self, metadata: &Metadata) -> String {
        format!("{}-{}.pkg", metadata.name, metadata.version)
    }

    fn write(
        &self,
        package: &Package,
        out: &mut dyn WriteSeek,
        progress: Progress<'_>,
    ) -> Result<(), BuildError> {
        package.tree.refuse_same_names()?;
        let files = Files::of(package)?;
        let date = package.built_at.unix();
        let mut xar = XarWriter::new(out, ROOM, date).map_err(BuildError::Write)?;
        let checksums = self.write_payload(&mut xar, &files, date, progress)?;
        let documents =
            documents::Documents { package, identifier: &self.identifier, files: files.0.len() };
        let mut members = vec![
            (format!("{COMPONENT}/Bom"), files.bom(date, &checksums)),
            (format!("{COMPONENT}/PackageInfo"), Ok(documents.package_info().into_bytes())),
            ("Distribution".to_owned(), Ok(documents.distribution().into_bytes())),
        ];
        if !package.lifecycle.is_none() {
            members.push((format!("{COMPONENT}/Scripts"), documents.scripts()));
        }
        for (path, content) in members {
            content.and_then(|content| xar.member(&path, &content)).map_err(BuildError::Write)?;
        }
        xar.finish().map(drop).map_err(BuildError::Write)
    }

    fn signature<'k>(&self, keys: &'k Keys) -> Option<Signature<'k>> {
        let key = keys.macos_installer.as_ref()?;
        Some(Signature::new(key.fingerprint(), |unsigned, out| seal::sign(unsigned, key, out)))
    }
}

/// Checks the signature of the installer in `file`, and that its members are those that were signed.
pub fn verify(file: &mut dyn ReadSeek, trust: &Trust) -> Result<Seal, VerifyError> {
    seal::verify(file, trust)
}

impl Pkg {
    /// Gives the checksums of the files, in their order.
    fn write_payload<W: WriteSeek>(
        &self,
        xar: &mut XarWriter<W>,
        files: &Files<'_>,
        date: u32,
        progress: Progress<'_>,
    ) -> Result<Vec<u32>, BuildError> {
        let level = self.gzip.0.level();
        let encoder = GzipWriter::new(&mut *xar, Shape::Stream, level, self.cores);
        let mut cpio = OdcWriter::new(encoder.map_err(BuildError::Write)?, date);
        let ((), checksums) =
            feed::hashed::<Cksum, _>(progress, |feed| files.write(&mut cpio, feed))?;
        cpio.finish().and_then(GzipWriter::finish).map_err(BuildError::Write)?;
        xar.end(&format!("{COMPONENT}/Payload")).map_err(BuildError::Write)?;
        Ok(checksums.into_iter().map(|checksum| u32::from_be_bytes(checksum.into())).collect())
    }
}

/// Everything that is laid, with the folders above, by path: `.`, `./opt`, …
struct Files<'a>(BTreeMap<String, Cow<'a, Entry>>);

impl<'a> Files<'a> {
    fn of(package: &'a Package) -> Result<Self, BuildError> {
        let all = package.tree.with_ancestors().into_iter();
        let path = |path: InstallPath| format!(".{path}");
        let mut files: BTreeMap<_, _> = all.map(|(its, entry)| (path(its), entry)).collect();
        files.insert(".".to_owned(), Cow::Owned(Entry::dir()));
        for entry in files.values() {
            size(entry)?;
        }
        Ok(Self(files))
    }

    fn write(
        &self,
        cpio: &mut OdcWriter<impl Write>,
        feed: &mut Feed<'_>,
    ) -> Result<(), BuildError> {
        for (path, entry) in &self.0 {
            cpio.begin(path, entry.stat_mode(), entry.stat_size()).map_err(BuildError::Write)?;
            if let Node::File { source, .. } = &entry.node {
                feed.copy(source, cpio.out())?;
            }
            let target = entry.target().as_bytes();
            cpio.out().write_all(target).map_err(BuildError::Write)?;
        }
        Ok(())
    }

    fn bom(&self, mtime: u32, checksums: &[u32]) -> std::io::Result<Vec<u8>> {
        let mut checksums = checksums.iter();
        let mut items = BTreeMap::new();
        for (path, entry) in &self.0 {
            let kind = match &entry.node {
                Node::Dir => bom::Kind::Dir,
                Node::Symlink { target } => bom::Kind::Symlink { target: target.as_str() },
                Node::File { .. } => bom::Kind::File {
                    size: u32::try_from(entry.size()).map_err(std::io::Error::other)?,
                    checksum: *checksums.next().expect("each file has been read"),
                },
            };
            items.insert(path.as_str(), bom::Item { mode: entry.stat_mode(), mtime, kind });
        }
        bom::render(&items)
    }
}

/// A bill of materials has 32 bits for the length of a file.
fn size(entry: &Entry) -> Result<u32, BuildError> {
    u32::try_from(entry.size())
        .map_err(|_| BuildError::TooBig { what: "a file", limit: u32::MAX.into() })
}
