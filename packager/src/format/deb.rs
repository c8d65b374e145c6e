//! deb: an ar archive of `debian-binary`, `control.tar.gz` and `data.tar.*`. Source: deb(5),
//! deb-control(5), Debian Policy.
//!
//! A signature would be one more ar member at the end, `_gpgorigin`, over the three before it.

mod control;
mod documents;

use std::{
    io::{self, Write},
    num::NonZeroUsize,
};

use md5::Md5;

use crate::{
    archive::{
        ar::ArWriter,
        tar::{Item, TarWriter},
    },
    compression::{Algorithm, Compression, Encoder, all_cores},
    error::BuildError,
    feed::{Feed, feed},
    format::{Format, Progress, WriteSeek},
    package::{Metadata, Package, SourceDate},
    tree::{Entry, FileTree, Node},
};

use control::Control;

/// The options of a deb.
#[derive(Debug, Clone)]
pub struct Deb {
    /// Of the files. dpkg reads zstd since Debian 12 and Ubuntu 18.04, the others since ever.
    pub compression: Compression,
    /// Threads that compress. Their number does not change the bytes.
    pub cores: NonZeroUsize,
}

impl Default for Deb {
    fn default() -> Self {
        Self { compression: Compression::of(Algorithm::Zstd), cores: all_cores() }
    }
}

impl Format for Deb {
    fn name(&self) -> &'static str {
        "deb"
    }

    fn arch(&self, metadata: &Metadata) -> &'static str {
        control::architecture(metadata.platform.arch)
    }

    fn file_name(&self, metadata: &Metadata) -> String {
        let version = control::version(&metadata.version);
        format!("{}_{version}_{}.deb", metadata.name, self.arch(metadata))
    }

    fn tree(&self, package: &Package) -> FileTree {
        documents::add_to(package)
    }

    fn write(
        &self,
        package: &Package,
        out: &mut dyn WriteSeek,
        progress: Progress<'_>,
    ) -> Result<(), BuildError> {
        let tree = self.tree(package);
        let control = Control { package, tree: &tree };
        let mut ar = ArWriter::new(out, package.built_at.unix()).map_err(BuildError::Write)?;
        ar.member("debian-binary", b"2.0\n").map_err(BuildError::Write)?;
        // It holds the digests of files that are read only later, so its place is kept.
        let unknown = control.archive(&control.no_digests()).map_err(BuildError::Write)?;
        let place = ar.member("control.tar.gz", &unknown).map_err(BuildError::Write)?;
        let digests = self.write_data(&mut ar, package.built_at, &tree, progress)?;
        let archive = control.archive(&digests).map_err(BuildError::Write)?;
        debug_assert_eq!(archive.len(), unknown.len(), "digests are all of one length");
        fill_in(*ar.out(), place.content(), &archive).map_err(BuildError::Write)
    }
}

impl Deb {
    /// Writes the member that holds the files, and returns their digests in the tree's order.
    fn write_data(
        &self,
        ar: &mut ArWriter<&mut dyn WriteSeek>,
        date: SourceDate,
        tree: &FileTree,
        progress: Progress<'_>,
    ) -> Result<Vec<String>, BuildError> {
        let member = ar.begin(self.data_name()).map_err(BuildError::Write)?;
        let encoder = Encoder::new(self.compression, self.cores, ar.out());
        let mut tar = TarWriter::new(encoder.map_err(BuildError::Write)?, date.unix());
        let ((), digests) = feed::<Md5, _>(progress, |feed| add_files(&mut tar, tree, feed))?;
        let finished = tar.finish().and_then(Encoder::finish).map(drop);
        finished.map_err(BuildError::Write)?;
        ar.end(&member).map_err(BuildError::Write)?;
        Ok(digests.iter().map(hex::encode).collect())
    }

    fn data_name(&self) -> &'static str {
        match self.compression.algorithm() {
            Algorithm::None => "data.tar",
            Algorithm::Gzip => "data.tar.gz",
            Algorithm::Xz => "data.tar.xz",
            Algorithm::Zstd => "data.tar.zst",
        }
    }
}

fn add_files(
    tar: &mut TarWriter<impl Write>,
    tree: &FileTree,
    feed: &mut Feed<'_>,
) -> Result<(), BuildError> {
    tar.dir(&item("/", &Entry::dir())).map_err(BuildError::Write)?;
    for (path, entry) in tree.with_ancestors() {
        add(tar, &item(path.as_str(), entry.as_ref()), &entry.node, feed)?;
    }
    Ok(())
}

fn add(
    tar: &mut TarWriter<impl Write>,
    item: &Item<'_>,
    node: &Node,
    feed: &mut Feed<'_>,
) -> Result<(), BuildError> {
    match node {
        Node::Dir => tar.dir(item).map_err(BuildError::Write),
        Node::Symlink { target } => tar.symlink(item, target.as_str()).map_err(BuildError::Write),
        Node::File { source, .. } => {
            tar.file(item, source.size()).map_err(BuildError::Write)?;
            feed.copy(source, tar.out())?;
            tar.pad(source.size()).map_err(BuildError::Write)
        }
    }
}

fn item<'a>(path: &'a str, entry: &Entry) -> Item<'a> {
    let Entry { mode, owner, .. } = entry;
    Item { path, mode: mode.bits(), user: owner.user, group: owner.group }
}

/// Overwrites what is at `offset`, and goes back to the end.
fn fill_in(out: &mut dyn WriteSeek, offset: u64, bytes: &[u8]) -> io::Result<()> {
    out.seek(io::SeekFrom::Start(offset))?;
    out.write_all(bytes)?;
    out.seek(io::SeekFrom::End(0)).map(drop)
}
