//! One writer for every algorithm.

use std::{
    io::{self, Write},
    num::{NonZeroU64, NonZeroUsize},
};

use lzma_rust2::{XzOptions, XzWriterMt};
use zstd::zstd_safe::CParameter;

use super::{
    Algorithm, Compression,
    gzip::{GzipWriter, Shape},
};

/// How many bytes a zstd worker takes at a time: small enough that cores finish together, and a window
/// of level 3, since its tables start empty each time.
const ZSTD_JOB: u32 = 2 << 20;
/// How many workers there are at most while jobs are of that length. Each costs [`ZSTD_JOB`] of
/// text, as much again where nothing can be squeezed, and its tables: 64 MiB are enough for these
/// and for everything else.
const ZSTD_WORKERS: u32 = 8;
/// How many bytes are handed over at a time. As many are taken back each time, the length of the
/// `zstd` crate's buffer, so what is done does not pile up.
const ZSTD_STEP: usize = 32 << 10;
/// How much of the text before its own a zstd worker looks back on, in libzstd's measure: a sixteenth
/// of the window. Half of libzstd's own choice: it is read again for every job, and jobs are short.
const ZSTD_OVERLAP: u32 = 5;
/// Level 3's two hash tables are a quarter as long as libzstd has them, so that they stay in a core's cache,
/// and matches of four bytes, which it does not look for, make up for what they miss: 60 MB of programs
/// took 7 to 14 % less time (two cores, tables of half the length and jobs of 1 MiB being another 2 to
/// 11 % behind libzstd's own) and 2 % more bytes.
const ZSTD_3_TABLES: [CParameter; 3] =
    [CParameter::HashLog(15), CParameter::ChainLog(14), CParameter::MinMatch(4)];

/// Squeezes what is written to it into `W`. Must be finished.
pub(crate) enum Encoder<W: Write> {
    None(W),
    Gzip(GzipWriter<W>),
    Xz(Box<XzWriterMt<W>>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    pub(crate) fn new(compression: Compression, cores: NonZeroUsize, out: W) -> io::Result<Self> {
        let level = compression.level();
        let workers = u32::try_from(cores.get()).unwrap_or(u32::MAX);
        Ok(match compression.algorithm() {
            Algorithm::None => Self::None(out),
            Algorithm::Gzip => Self::Gzip(GzipWriter::new(out, Shape::Members, level, cores)?),
            Algorithm::Xz => Self::Xz(Box::new(XzWriterMt::new(out, xz_options(level), workers)?)),
            Algorithm::Zstd => Self::Zstd(zstd_encoder(out, level, workers)?),
        })
    }

    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::None(out) => Ok(out),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Xz(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// Blocks are as long as the dictionary, the least that keeps a core busy without waste.
fn xz_options(level: u8) -> XzOptions {
    let mut options = XzOptions::with_preset(u32::from(level));
    options.set_block_size(NonZeroU64::new(u64::from(options.lzma_options.dict_size)));
    options
}

/// Always with workers, even on one core: without them libzstd gives other bytes.
fn zstd_encoder<W: Write>(
    out: W,
    level: u8,
    workers: u32,
) -> io::Result<zstd::Encoder<'static, W>> {
    let mut encoder = zstd::Encoder::new(out, i32::from(level))?;
    // One more than cores: those that wait for input, or for their turn to give output, leave none idle.
    let workers = workers.saturating_add(1);
    let short = level <= 6;
    encoder.multithread(if short { workers.min(ZSTD_WORKERS) } else { workers })?;
    // A deb has no other digest of what is in it.
    encoder.include_checksum(true)?;
    if short {
        encoder.set_parameter(CParameter::JobSize(ZSTD_JOB))?;
        encoder.set_parameter(CParameter::OverlapSizeLog(ZSTD_OVERLAP))?;
    }
    if level == 3 {
        ZSTD_3_TABLES.into_iter().try_for_each(|table| encoder.set_parameter(table))?;
    }
    Ok(encoder)
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(out) => out.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Xz(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(&bytes[..bytes.len().min(ZSTD_STEP)]),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
