//! msi: a database of tables and a cabinet in a compound file. Source: the Windows Installer's
//! documentation, and what msitools and WiX write.
//!
//! What is installed comes from the package's tree, everything else from
//! `templates/windows/installer.toml`. Product and package codes follow from the content, so that
//! the same inputs give the same bytes and any other an installer of its own.
//!
//! A signature is one more stream, `\5DigitalSignature`, over all others.

mod database;
mod definition;
mod names;
mod plan;
mod rows;
mod schema;
mod seal;
mod summary;
mod version;

use std::{io::Write, num::NonZeroUsize};

use md5::Md5;

pub(crate) use self::database::stream_name;
use self::{
    database::Stream, definition::DEFINITION, names::guid, plan::Plan, rows::Hash,
    summary::Summary, version::FileVersion,
};
use crate::{
    archive::{
        cab::{self, CabWriter, Item, Options},
        cfb::CfbWriter,
    },
    compression::{Algorithm, Compression, all_cores},
    error::BuildError,
    feed::{Feed, hashed},
    format::{Format, Progress, ReadSeek, Signature, WriteSeek},
    hashing::HashingWriter,
    package::{Metadata, Package},
    payload::Arch,
    sign::{Keys, Seal, Trust, VerifyError},
    template::WINDOWS_ICON,
};

/// The cabinet's name in the database.
const CABINET: &str = "fleetd.cab";

/// The class of compound files that are installers.
const INSTALLER: [u8; 16] = [0x84, 0x10, 0x0c, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46];

/// The options of an msi.
#[derive(Debug, Clone)]
pub struct Msi {
    /// Of the files: deflate, which options call gzip, or none.
    pub compression: Compression,
    /// Threads that compress. Their number does not change the bytes.
    pub cores: NonZeroUsize,
}

impl Default for Msi {
    fn default() -> Self {
        Self { compression: Compression::of(Algorithm::Gzip), cores: all_cores() }
    }
}

impl Format for Msi {
    fn name(&self) -> &'static str {
        "msi"
    }

    fn arch(&self, metadata: &Metadata) -> &'static str {
        match metadata.platform.arch {
            Arch::Amd64 => "x64",
            Arch::Arm64 => "arm64",
            Arch::Universal => "neutral",
        }
    }

    fn file_name(&self, metadata: &Metadata) -> String {
        format!("{}-{}-{}.msi", metadata.name, metadata.version, self.arch(metadata))
    }

    fn write(
        &self,
        package: &Package,
        out: &mut dyn WriteSeek,
        progress: Progress<'_>,
    ) -> Result<(), BuildError> {
        package.tree.refuse_same_names()?;
        let plan = Plan::new(&package.tree)?;
        if package.tree.size() > cab::MAX_TEXT {
            return Err(BuildError::TooBig { what: "the sum of its files", limit: cab::MAX_TEXT });
        }
        let mut cfb = CfbWriter::new(out).map_err(BuildError::Write)?;
        let (digest, hashes) = self.write_cabinet(package, &plan, &mut cfb, progress)?;
        for (name, content) in streams(package, &plan, &hashes, &digest)? {
            cfb.stream(&name, &content).map_err(BuildError::Write)?;
        }
        cfb.finish(INSTALLER).map(drop).map_err(BuildError::Write)
    }

    fn signature<'k>(&self, keys: &'k Keys) -> Option<Signature<'k>> {
        let key = keys.windows.as_ref()?;
        Some(Signature::new(key.fingerprint(), |unsigned, out| seal::sign(unsigned, key, out)))
    }
}

/// Checks the signature of the installer in `file`.
pub fn verify(file: &mut dyn ReadSeek, trust: &Trust) -> Result<Seal, VerifyError> {
    seal::verify(file, trust)
}

impl Msi {
    /// Writes the cabinet's stream. Gives its digest and what was learnt of each file.
    fn write_cabinet(
        &self,
        package: &Package,
        plan: &Plan<'_>,
        cfb: &mut CfbWriter<&mut dyn WriteSeek>,
        progress: Progress<'_>,
    ) -> Result<(Vec<u8>, Vec<Hash>), BuildError> {
        let items: Vec<_> = plan
            .files
            .iter()
            .map(|file| Item { name: file.id.clone(), size: file.source.size() })
            .collect();
        let options = Options {
            date: package.built_at.unix(),
            level: self.compression.level(),
            cores: self.cores,
        };
        let both = HashingWriter::new(&mut *cfb);
        let cabinet = CabWriter::new(both, &items, options).map_err(BuildError::Write)?;
        let ((length, digest), md5) = hashed::<Md5, _>(progress, |feed| fill(cabinet, plan, feed))?;
        cfb.patch(cab::LENGTH_AT, &length.to_le_bytes()).map_err(BuildError::Write)?;
        cfb.end_stream(&stream_name(CABINET, false)).map_err(BuildError::Write)?;
        let versions = plan.files.iter().map(|file| FileVersion::read(file.source));
        let hashes = md5.into_iter().zip(versions);
        Ok((digest, hashes.map(|(md5, version)| Hash { md5: md5.into(), version }).collect()))
    }
}

fn fill<W: Write>(
    mut cabinet: CabWriter<HashingWriter<W>>,
    plan: &Plan<'_>,
    feed: &mut Feed<'_>,
) -> Result<(u32, Vec<u8>), BuildError> {
    for file in &plan.files {
        feed.copy(file.source, &mut cabinet)?;
    }
    let (length, both) = cabinet.finish().map_err(BuildError::Write)?;
    Ok((length, both.finish().0.to_vec()))
}

/// The summary and all tables. The codes follow from the tables without them and from the
/// cabinet's digest.
fn streams(
    package: &Package,
    plan: &Plan<'_>,
    hashes: &[Hash],
    cabinet: &[u8],
) -> Result<Vec<Stream>, BuildError> {
    let too_many =
        || BuildError::TooBig { what: "the number of its strings", limit: u16::MAX.into() };
    let mut database = rows::database(package, plan, hashes);
    let arch = match package.metadata.platform.arch {
        Arch::Amd64 | Arch::Universal => "x64",
        Arch::Arm64 => "Arm64",
    };
    let template = format!("{arch};{}", DEFINITION.product.language);
    let mut content = [template.as_bytes(), cabinet].concat();
    for (_, bytes) in database.streams().ok_or_else(too_many)? {
        content.extend(bytes);
    }
    content.extend(WINDOWS_ICON);
    database.add("Property", ["ProductCode".into(), guid("product", &content).into()]);
    let summary = Summary {
        product: &DEFINITION.product.name,
        author: package.metadata.publisher.vendor(),
        comments: package.metadata.summary,
        template: &template,
        package_code: &guid("package", &content),
        date: package.built_at.unix(),
    };
    let mut streams = database.streams().ok_or_else(too_many)?;
    streams.push((summary::NAME.to_owned(), summary.bytes()));
    let icon = format!("Icon.{}", DEFINITION.product.icon);
    streams.push((stream_name(&icon, false), WINDOWS_ICON.to_vec()));
    Ok(streams)
}
