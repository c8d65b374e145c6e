//! gzip, deflated on all cores. The text is cut into blocks of a fixed length. Cuts depend on nothing
//! but the text, hence so do the bytes. Source: RFC 1951, RFC 1952.
//!
//! [`Shape::Members`] makes a gzip member of each block. libdeflate does it, which is a quarter faster than
//! zlib and its output smaller, but knows nothing of what lies before a block. RFC 1952 has a file be any
//! number of members, and zlib's `gzread`, through which dpkg and rpm read, goes on to the next.
//!
//! [`Shape::Stream`] is one member, for readers that stop at the end of the first: each block is
//! deflated with the 32 KiB before it as dictionary and ends on a byte boundary, so that the
//! blocks join to one deflate stream, as pigz has it.

use std::{
    io::{self, Write},
    num::NonZeroUsize,
    sync::Arc,
};

use flate2::{Compress, FlushCompress, GzBuilder, Status};
use libdeflater::{CompressionLvl, Compressor};

use super::Workers;

/// Length of a block: long enough that cutting costs less than half a percent.
const BLOCK: usize = 512 << 10;
const DICTIONARY: usize = 32 << 10;

/// Magic, deflate, no flags, no time.
const HEADER: [u8; 8] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0];
const OS_UNKNOWN: u8 = 255;

/// What blocks become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A member each.
    Members,
    /// One member together.
    Stream,
}

/// Deflates what is written to it into `W`. Must be finished.
pub(crate) struct GzipWriter<W> {
    out: W,
    shape: Shape,
    block: Vec<u8>,
    previous: Option<Arc<Vec<u8>>>,
    workers: Workers<Job, io::Result<Deflated>>,
    crc: crc32fast::Hasher,
}

struct Job {
    text: Arc<Vec<u8>>,
    before: Option<Arc<Vec<u8>>>,
    last: bool,
}

struct Deflated {
    bytes: Vec<u8>,
    crc: crc32fast::Hasher,
}

impl<W: Write> GzipWriter<W> {
    /// Deflates at `level`, 1 to 9, on `cores` threads.
    pub(crate) fn new(
        mut out: W,
        shape: Shape,
        level: u8,
        cores: NonZeroUsize,
    ) -> io::Result<Self> {
        if shape == Shape::Stream {
            out.write_all(&HEADER)?;
            out.write_all(&[extra_flags(level), OS_UNKNOWN])?;
        }
        let workers = match shape {
            Shape::Members => Workers::start("gzip", cores, || members(level)),
            Shape::Stream => Workers::start("gzip", cores, || move |job: Job| part(level, &job)),
        }?;
        Ok(Self {
            out,
            shape,
            block: Vec::with_capacity(BLOCK),
            previous: None,
            workers,
            crc: crc32fast::Hasher::new(),
        })
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.dispatch(true)?;
        while let Some(deflated) = self.workers.next()? {
            self.put(deflated?)?;
        }
        if self.shape == Shape::Stream {
            // The length of the text modulo 2^32, as the format has it.
            let [length @ .., _, _, _, _] = self.crc.total_len().to_le_bytes();
            self.out.write_all(&self.crc.finalize().to_le_bytes())?;
            self.out.write_all(&length)?;
        }
        Ok(self.out)
    }

    fn dispatch(&mut self, last: bool) -> io::Result<()> {
        let text = Arc::new(std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK)));
        let before = self.previous.replace(Arc::clone(&text));
        let done = self.workers.hand_out(Job { text, before, last })?;
        done.map_or(Ok(()), |deflated| self.put(deflated?))
    }

    fn put(&mut self, deflated: Deflated) -> io::Result<()> {
        self.crc.combine(&deflated.crc);
        self.out.write_all(&deflated.bytes)
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() == BLOCK {
            self.dispatch(false)?;
        }
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What RFC 1952 calls XFL: slowest and fastest say so.
fn extra_flags(level: u8) -> u8 {
    match level {
        9 => 2,
        1 => 4,
        _ => 0,
    }
}

/// One member of a short text, on this thread and as small as it gets: what Debian Policy asks of
/// documents.
pub(crate) fn gzipped(text: &[u8]) -> Vec<u8> {
    let mut gzip = GzBuilder::new().write(Vec::new(), flate2::Compression::best());
    gzip.write_all(text).and_then(|()| gzip.finish()).expect("writing to memory does not fail")
}

/// Makes a member of a block. One compressor serves a thread: what it made before leaves no trace.
fn members(level: u8) -> impl FnMut(Job) -> io::Result<Deflated> + Send {
    let level =
        CompressionLvl::new(i32::from(level)).expect("levels of gzip are levels of libdeflate");
    let mut compressor = Compressor::new(level);
    move |job: Job| {
        let mut bytes = vec![0; compressor.gzip_compress_bound(job.text.len())];
        let length = compressor.gzip_compress(&job.text, &mut bytes).map_err(io::Error::other)?;
        bytes.truncate(length);
        Ok(Deflated { bytes, crc: crc32fast::Hasher::new() })
    }
}

/// Makes a block a part of one stream. Starts afresh for each: a state that is reset still lets the
/// block before it, which is whatever the thread came by, have its say in the bytes.
fn part(level: u8, job: &Job) -> io::Result<Deflated> {
    let mut deflate = Compress::new(flate2::Compression::new(u32::from(level)), false);
    if let Some(before) = &job.before {
        let dictionary = &before[before.len().saturating_sub(DICTIONARY)..];
        deflate.set_dictionary(dictionary).map_err(io::Error::other)?;
    }
    let flush = if job.last { FlushCompress::Finish } else { FlushCompress::Sync };
    let mut bytes = Vec::with_capacity(job.text.len() / 2 + 1024);
    loop {
        let taken = usize::try_from(deflate.total_in()).map_err(io::Error::other)?;
        let status = deflate.compress_vec(&job.text[taken..], &mut bytes, flush);
        let room = bytes.len() < bytes.capacity();
        match status.map_err(io::Error::other)? {
            Status::StreamEnd => break,
            Status::Ok | Status::BufError if room && !job.last => break,
            Status::Ok | Status::BufError => bytes.reserve(bytes.capacity()),
        }
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&job.text);
    Ok(Deflated { bytes, crc })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::bufread::{GzDecoder, MultiGzDecoder};
    use proptest::prelude::*;

    use super::*;

    fn gzip(text: &[u8], shape: Shape, level: u8, cores: usize) -> Vec<u8> {
        let cores = NonZeroUsize::new(cores).unwrap();
        let mut writer = GzipWriter::new(Vec::new(), shape, level, cores).unwrap();
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    /// Text of the length given, that repeats itself over more than a block.
    fn text(length: usize, seed: u32) -> Vec<u8> {
        let word = |n: u32| n.wrapping_mul(2_654_435_761).rotate_left(seed % 32) >> (n % 7 * 4);
        (seed..).flat_map(|n| word(n % 90_001).to_le_bytes()).take(length).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn members_and_streams_hold_all_of_the_text(
            length in prop_oneof![
                Just(0), Just(1), Just(BLOCK - 1), Just(BLOCK), Just(BLOCK + 1), Just(3 * BLOCK),
                0..5 * BLOCK,
            ],
            seed: u32,
            level in 1..=9_u8,
            shape in prop_oneof![Just(Shape::Members), Just(Shape::Stream)],
        ) {
            let text = text(length, seed);
            let squeezed = gzip(&text, shape, level, 2);
            prop_assert!(squeezed == gzip(&text, shape, level, 5));
            let mut read = Vec::new();
            MultiGzDecoder::new(&squeezed[..]).read_to_end(&mut read).unwrap();
            prop_assert!(read == text);
            let mut rest = squeezed.as_slice();
            GzDecoder::new(&mut rest).read_to_end(&mut Vec::new()).unwrap();
            prop_assert_eq!(rest.is_empty(), shape == Shape::Stream || length <= BLOCK);
        }
    }
}
