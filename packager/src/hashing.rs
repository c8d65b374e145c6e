//! Counts and hashes what a format writes.

use std::io::{self, Write};

use sha2::{Digest, Sha256, digest::Output};

/// Passes bytes on to `W`.
pub(crate) struct HashingWriter<W> {
    out: W,
    digest: Sha256,
    written: u64,
}

impl<W> HashingWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, digest: Sha256::new(), written: 0 }
    }

    /// SHA-256 and number of the bytes.
    pub(crate) fn finish(self) -> (Output<Sha256>, u64) {
        (self.digest.finalize(), self.written)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(bytes)?;
        self.digest.update(&bytes[..taken]);
        self.written += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
