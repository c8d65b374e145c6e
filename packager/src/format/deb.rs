//! deb: an ar archive of `debian-binary`, `control.tar.gz` and `data.tar.*`. Source: deb(5),
//! deb-control(5), Debian Policy.
//!
//! There is no `md5sums`: dpkg makes the list itself when it unpacks (since 1.16.3), and MD5 would take
//! a third as long as squeezing.
//!
//! A signature is one more ar member at the end, `_gpgorigin`, over the three before it.

mod control;
mod documents;
mod signature;

pub use self::signature::check_signatures;

use std::{io::Write, num::NonZeroUsize};

use crate::{
    archive::{ar::ArWriter, tar::TarWriter},
    compression::{Algorithm, Compression, Encoder, all_cores},
    error::BuildError,
    feed::Feed,
    format::{Format, Progress, Signature, WriteSeek},
    package::{Metadata, Package, SourceDate},
    sign::Keys,
    tarball,
    tree::FileTree,
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
        let control = control.archive().map_err(BuildError::Write)?;
        ar.member("control.tar.gz", &control).map_err(BuildError::Write)?;
        let data = ar.begin(self.data_name()).map_err(BuildError::Write)?;
        self.write_data(ar.out(), package.built_at, &tree, progress)?;
        ar.end(&data).map_err(BuildError::Write)
    }

    fn signature<'k>(&self, keys: &'k Keys) -> Option<Signature<'k>> {
        let key = keys.openpgp.as_ref()?;
        Some(Signature::new(key.fingerprint(), |unsigned, out| signature::sign(unsigned, key, out)))
    }
}

impl Deb {
    /// Writes the member that holds the files.
    fn write_data(
        &self,
        out: &mut dyn Write,
        date: SourceDate,
        tree: &FileTree,
        progress: Progress<'_>,
    ) -> Result<(), BuildError> {
        let encoder = Encoder::new(self.compression, self.cores, out).map_err(BuildError::Write)?;
        let mut tar = TarWriter::new(encoder, date.unix());
        // dpkg goes by names.
        tarball::add_files(&mut tar, tree, |_| 0, &mut Feed::new(progress))?;
        tar.finish().and_then(Encoder::finish).map(drop).map_err(BuildError::Write)
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
