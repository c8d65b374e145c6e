//! The least time in which a package could be made: squeezes, hashes and writes files with all
//! cores and does nothing else. `cargo xtask bench package` compares with it.
//!
//! `floor COMPRESSION HASH OUT FILE…`, HASH being `none` (all that a deb needs) or `sha256` (an rpm).

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
    let mut next = || args.next().ok_or("usage: floor COMPRESSION HASH OUT FILE...");
    let (compression, hash, out) = (next()?.parse()?, next()?, next()?);
    let hash: fn(&[String]) -> io::Result<()> = match hash.as_str() {
        "none" => |_: &[String]| Ok(()),
        "sha256" => hash_all,
        _ => return Err("HASH is none or sha256".into()),
    };
    let files: Vec<_> = args.collect();
    thread::scope(|scope| {
        let hashing = scope.spawn(|| hash(&files));
        squeeze(compression, &files, File::create(out)?)?;
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

fn squeeze(compression: Compression, files: &[String], mut out: File) -> Result<(), Failure> {
    let level = compression.level();
    let cores = u32::try_from(all_cores().get())?;
    let copy = |to: &mut dyn Write| {
        files.iter().try_for_each(|file| each_chunk(file, |chunk| to.write_all(chunk)))
    };
    match compression.algorithm() {
        Algorithm::None => copy(&mut out)?,
        Algorithm::Gzip => deflate(level, files, &mut out)?,
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

/// Deflates pieces of this length, without regard to what lies before each.
const PIECE: usize = 512 << 10;

fn deflate(level: u8, files: &[String], out: &mut File) -> Result<(), Failure> {
    for path in files {
        let file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len())?;
        let next = AtomicUsize::new(0);
        let work = || deflate_pieces(level, &file, length, &next);
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
    level: u8,
    file: &File,
    length: usize,
    next: &AtomicUsize,
) -> io::Result<Vec<Vec<u8>>> {
    let level = CompressionLvl::new(i32::from(level)).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut compressor = Compressor::new(level);
    let mut pieces = Vec::new();
    loop {
        let start = next.fetch_add(PIECE, Ordering::Relaxed);
        if start >= length {
            return Ok(pieces);
        }
        let mut text = vec![0; PIECE.min(length - start)];
        file.read_exact_at(&mut text, start as u64)?;
        let mut bytes = vec![0; compressor.gzip_compress_bound(text.len())];
        let length = compressor.gzip_compress(&text, &mut bytes).map_err(io::Error::other)?;
        bytes.truncate(length);
        pieces.push(bytes);
    }
}
