//! The data of a cabinet: text in blocks of 32 KiB, deflated on all cores.
//!
//! Every block is a deflate stream that ends, yet goes on from the 32 KiB before it. Threads take
//! runs of blocks; each starts from the text before its run and ends every block by flushing and
//! an empty last part, which MS-MCI leaves to who compresses. Runs are cut by the text alone, so
//! the number of threads leaves no trace.

use std::{
    io::{self, Write},
    num::NonZeroUsize,
    sync::Arc,
};

use flate2::{Compress, FlushCompress};

use crate::compression::Workers;

/// How much text a block holds.
pub(super) const BLOCK: usize = 32 << 10;
/// How much text a thread takes at a time.
const RUN: usize = 8 * BLOCK;

/// What begins an MSZIP block.
const SIGNATURE: [u8; 2] = *b"CK";
/// The last part of a deflate stream, with nothing in it.
const EMPTY_LAST: [u8; 2] = [3, 0];
/// A block may be this much longer than its text.
const MAX_GROWTH: usize = 12;

/// Writes data blocks to `W`. Must be finished.
pub(super) struct DataWriter<W> {
    out: W,
    level: u8,
    run: Vec<u8>,
    previous: Option<Arc<Vec<u8>>>,
    workers: Workers<Job, io::Result<Vec<u8>>>,
    written: u64,
}

struct Job {
    text: Arc<Vec<u8>>,
    before: Option<Arc<Vec<u8>>>,
    level: u8,
}

impl<W: Write> DataWriter<W> {
    pub(super) fn new(out: W, level: u8, cores: NonZeroUsize) -> io::Result<Self> {
        let workers = Workers::start("mszip", cores, || |job: Job| blocks(&job))?;
        let run = Vec::with_capacity(RUN);
        Ok(Self { out, level, run, previous: None, workers, written: 0 })
    }

    /// The number of bytes written, and what they were written to.
    pub(super) fn finish(mut self) -> io::Result<(u64, W)> {
        if !self.run.is_empty() {
            self.dispatch()?;
        }
        while let Some(blocks) = self.workers.next()? {
            self.put(&blocks?)?;
        }
        Ok((self.written, self.out))
    }

    fn dispatch(&mut self) -> io::Result<()> {
        let text = Arc::new(std::mem::replace(&mut self.run, Vec::with_capacity(RUN)));
        let before = self.previous.replace(Arc::clone(&text));
        let done = self.workers.hand_out(Job { text, before, level: self.level })?;
        done.map_or(Ok(()), |blocks| self.put(&blocks?))
    }

    fn put(&mut self, blocks: &[u8]) -> io::Result<()> {
        self.written += blocks.len() as u64;
        self.out.write_all(blocks)
    }
}

impl<W: Write> Write for DataWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(RUN - self.run.len());
        self.run.extend_from_slice(&bytes[..taken]);
        if self.run.len() == RUN {
            self.dispatch()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The blocks of a run, each with its header. Starts from a fresh state: one that is reset still
/// lets what it deflated before have its say in the bytes.
fn blocks(job: &Job) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(job.text.len() / 2);
    if job.level == 0 {
        job.text.chunks(BLOCK).for_each(|text| add_block(&mut out, text, text.len()));
        return Ok(out);
    }
    let mut deflate = Compress::new(flate2::Compression::new(u32::from(job.level)), false);
    if let Some(before) = &job.before {
        let dictionary = &before[before.len().saturating_sub(BLOCK)..];
        deflate.set_dictionary(dictionary).map_err(io::Error::other)?;
    }
    let mut squeezed = Vec::with_capacity(2 * BLOCK);
    for text in job.text.chunks(BLOCK) {
        squeezed.clear();
        squeezed.extend(SIGNATURE);
        squeeze(&mut deflate, text, &mut squeezed)?;
        if squeezed.len() > text.len() + MAX_GROWTH {
            store(text, &mut squeezed);
        }
        add_block(&mut out, &squeezed, text.len());
    }
    Ok(out)
}

/// Appends a deflate stream that ends and leaves `deflate` ready to go on.
fn squeeze(deflate: &mut Compress, text: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let before = deflate.total_in();
    loop {
        let taken = usize::try_from(deflate.total_in() - before).map_err(io::Error::other)?;
        deflate.compress_vec(&text[taken..], out, FlushCompress::Sync).map_err(io::Error::other)?;
        if out.len() < out.capacity() {
            out.extend(EMPTY_LAST);
            return Ok(());
        }
        out.reserve(BLOCK);
    }
}

/// An MSZIP block of text as it is.
fn store(text: &[u8], out: &mut Vec<u8>) {
    const LAST_AND_STORED: u8 = 1;
    let length = u16::try_from(text.len()).expect("a block's length has 16 bits");
    out.clear();
    out.extend(SIGNATURE);
    out.push(LAST_AND_STORED);
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend_from_slice(text);
}

/// Appends a block of `text` bytes that are `data` in the cabinet.
fn add_block(out: &mut Vec<u8>, data: &[u8], text: usize) {
    let length = |number| u16::try_from(number).expect("a block's lengths have 16 bits");
    let [a, b] = length(data.len()).to_le_bytes();
    let [c, d] = length(text).to_le_bytes();
    let lengths = [a, b, c, d];
    out.extend((checksum(data) ^ checksum(&lengths)).to_le_bytes());
    out.extend(lengths);
    out.extend_from_slice(data);
}

/// Words combined by exclusive or, those at the end, when incomplete, in the other byte order.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<4>();
    let sum = words.iter().fold(0, |sum, word| sum ^ u32::from_le_bytes(*word));
    sum ^ rest.iter().fold(0, |word, &byte| word << 8 | u32::from(byte))
}
