//! The least time in which a package could be made: squeezes, hashes and writes files with all
//! cores and does nothing else. `cargo xtask bench package` compares with it.
//!
//! `floor COMPRESSION HASH SHAPE OUT FILE…`, HASH being `none` (all that a deb needs) or `sha256` (an rpm). SHAPE is
//! what gzip makes: `pieces` that know nothing of each other (deb, rpm), one `stream` (pkg), or a `cabinet`'s
//! blocks of 32 KiB that go on from each other (msi).

use std::{
    error::Error,
    fs::File,
    hint::black_box,
    io::{self, Read, Write},
    num::NonZeroU64,
    os::unix::fs::FileExt,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use flate2::{Compress, FlushCompress};
use libdeflater::{CompressionLvl, Compressor};
use lzma_rust2::{XzOptions, XzWriterMt};
use packager::{
    Compression,
    compression::{Algorithm, all_cores},
};
use sha2::{Digest, Sha256};
use zstd::zstd_safe::CParameter;

type Failure = Box<dyn Error + Send + Sync>;

const CHUNK: usize = 256 << 10;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or("usage: floor COMPRESSION HASH SHAPE OUT FILE...");
    let (compression, hash, shape, out) = (next()?.parse()?, next()?, next()?, next()?);
    let shape: Shape = match shape.as_str() {
        "pieces" => |level| Box::new(pieces(level)),
        "stream" => |level| Box::new(chained(level, PIECE)),
        "cabinet" => |level| Box::new(chained(level, DICTIONARY)),
        _ => return Err("SHAPE is pieces, stream or cabinet".into()),
    };
    let hash: fn(&[String]) -> io::Result<()> = match hash.as_str() {
        "none" => |_: &[String]| Ok(()),
        "sha256" => hash_all,
        _ => return Err("HASH is none or sha256".into()),
    };
    let files: Vec<_> = args.collect();
    thread::scope(|scope| {
        let hashing = scope.spawn(|| hash(&files));
        squeeze((compression, shape), &files, File::create(out)?)?;
        hashing.join().map_err(|_| "hashing failed")?.map_err(Failure::from)
    })
}

fn hash_all(files: &[String]) -> io::Result<()> {
    for file in files {
        let mut digest = Sha256::new();
        each_chunk(file, |chunk| {
            digest.update(chunk);
            Ok(())
        })?;
        black_box(digest.finalize());
    }
    Ok(())
}

fn each_chunk(path: &str, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            filled => take(&buffer[..filled])?,
        }
    }
}

fn squeeze(
    (compression, shape): (Compression, Shape),
    files: &[String],
    mut out: File,
) -> Result<(), Failure> {
    let level = compression.level();
    let cores = u32::try_from(all_cores().get())?;
    let copy = |to: &mut dyn Write| {
        files.iter().try_for_each(|file| each_chunk(file, |chunk| to.write_all(chunk)))
    };
    match compression.algorithm() {
        Algorithm::None => copy(&mut out)?,
        Algorithm::Gzip => deflate(&|| shape(level), files, &mut out)?,
        Algorithm::Xz => {
            let mut options = XzOptions::with_preset(u32::from(level));
            options.set_block_size(NonZeroU64::new(u64::from(options.lzma_options.dict_size)));
            let mut xz = XzWriterMt::new(out, options, cores)?;
            copy(&mut xz)?;
            xz.finish()?;
        }
        Algorithm::Zstd => {
            let mut zstd = zstd::Encoder::new(out, i32::from(level))?;
            zstd.multithread(cores + 1)?;
            zstd.set_parameter(CParameter::JobSize(1 << 20))?;
            zstd.set_parameter(CParameter::OverlapSizeLog(5))?;
            if level == 3 {
                zstd.set_parameter(CParameter::HashLog(16))?;
                zstd.set_parameter(CParameter::ChainLog(15))?;
            }
            copy(&mut zstd)?;
            zstd.finish()?;
        }
    }
    Ok(())
}

/// Length of the pieces that a thread deflates at a time, and of what it may look back on.
const PIECE: usize = 512 << 10;
const DICTIONARY: usize = 32 << 10;

/// Deflates a piece; the first text is what lies before it.
type Deflate = Box<dyn FnMut(&[u8], &[u8]) -> io::Result<Vec<u8>>>;
/// A deflater of a level.
type Shape = fn(u8) -> Deflate;

fn deflate(
    deflater: &(dyn Fn() -> Deflate + Sync),
    files: &[String],
    out: &mut File,
) -> Result<(), Failure> {
    for path in files {
        let file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len())?;
        let next = AtomicUsize::new(0);
        let work = || deflate_pieces(deflater(), &file, length, &next);
        let done = thread::scope(|scope| {
            let running: Vec<_> = (0..all_cores().get()).map(|_| scope.spawn(work)).collect();
            running.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        for pieces in done {
            for piece in pieces.map_err(|_| "deflating failed")?? {
                out.write_all(&piece)?;
            }
        }
    }
    Ok(())
}

/// Deflates pieces of `file` until another thread has taken the last.
fn deflate_pieces(
    mut deflate: Deflate,
    file: &File,
    length: usize,
    next: &AtomicUsize,
) -> io::Result<Vec<Vec<u8>>> {
    let mut pieces = Vec::new();
    loop {
        let start = next.fetch_add(PIECE, Ordering::Relaxed);
        if start >= length {
            return Ok(pieces);
        }
        let before = start.min(DICTIONARY);
        let mut text = vec![0; before + PIECE.min(length - start)];
        file.read_exact_at(&mut text, (start - before) as u64)?;
        let (before, text) = text.split_at(before);
        pieces.push(deflate(before, text)?);
    }
}

fn pieces(level: u8) -> impl FnMut(&[u8], &[u8]) -> io::Result<Vec<u8>> {
    let level = CompressionLvl::new(i32::from(level)).expect("levels of gzip are libdeflate's");
    let mut compressor = Compressor::new(level);
    move |_, text| {
        let mut bytes = vec![0; compressor.gzip_compress_bound(text.len())];
        let length = compressor.gzip_compress(text, &mut bytes).map_err(io::Error::other)?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// Goes on from what lies before, and ends on a byte every `block` bytes.
fn chained(level: u8, block: usize) -> impl FnMut(&[u8], &[u8]) -> io::Result<Vec<u8>> {
    move |before, text| {
        let mut deflate = Compress::new(flate2::Compression::new(level.into()), false);
        if !before.is_empty() {
            deflate.set_dictionary(before).map_err(io::Error::other)?;
        }
        let mut bytes = Vec::with_capacity(2 * PIECE);
        for block in text.chunks(block) {
            deflate
                .compress_vec(block, &mut bytes, FlushCompress::Sync)
                .map_err(io::Error::other)?;
        }
        Ok(bytes)
    }
}
