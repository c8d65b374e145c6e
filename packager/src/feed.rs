//! Reads a package's files, each once, and hashes them, for formats that need it, on another thread
//! while they are squeezed.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    panic,
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread,
};

use sha2::digest::{Digest, Output};

use crate::{error::BuildError, format::Progress, tree::Source};

/// How much is read at a time: small enough to stay in a core's cache until it is hashed.
const CHUNK: usize = 256 << 10;
const CHUNKS: usize = 8;

/// Runs `body`, which copies files through the [`Feed`] that it is given. Returns what `body` does
/// and the digest of every file, in the order in which they were copied.
pub(crate) fn hashed<D: Digest, T>(
    progress: Progress<'_>,
    body: impl FnOnce(&mut Feed<'_>) -> Result<T, BuildError>,
) -> Result<(T, Vec<Output<D>>), BuildError> {
    let (full, to_hash) = channel();
    let (done, empty) = sync_channel(CHUNKS);
    for _ in 0..CHUNKS {
        // The channel holds that many.
        let _ = done.send(vec![0; CHUNK]);
    }
    thread::scope(|scope| {
        let hashing = scope.spawn(move || hash::<D>(&to_hash, &done));
        let result = body(&mut Feed { progress, buffers: Buffers::Hashed { full, empty } });
        let digests = hashing.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
        Ok((result?, digests))
    })
}

/// Copies files, and has them hashed if it is one of [`hashed`].
pub(crate) struct Feed<'a> {
    progress: Progress<'a>,
    buffers: Buffers,
}

/// Where buffers come from and go to.
enum Buffers {
    Own(Vec<u8>),
    Hashed { full: Sender<Step>, empty: Receiver<Vec<u8>> },
}

enum Step {
    Chunk { buffer: Vec<u8>, filled: usize },
    End,
}

const HASHING: &str = "the hashing thread ends after its feed";

impl Buffers {
    fn take(&mut self) -> Vec<u8> {
        match self {
            Self::Own(buffer) => std::mem::take(buffer),
            Self::Hashed { empty, .. } => empty.recv().expect(HASHING),
        }
    }

    fn give_back(&mut self, buffer: Vec<u8>, filled: usize) {
        match self {
            Self::Own(own) => *own = buffer,
            Self::Hashed { full, .. } => {
                full.send(Step::Chunk { buffer, filled }).expect(HASHING);
            }
        }
    }

    fn end_file(&mut self) {
        if let Self::Hashed { full, .. } = self {
            full.send(Step::End).expect(HASHING);
        }
    }
}

impl<'a> Feed<'a> {
    /// One that does not hash.
    pub(crate) fn new(progress: Progress<'a>) -> Self {
        Self { progress, buffers: Buffers::Own(vec![0; CHUNK]) }
    }

    /// Copies all of `source` to `out`.
    pub(crate) fn copy(&mut self, source: &Source, out: &mut dyn Write) -> Result<(), BuildError> {
        self.copy_part(source, out)?;
        self.buffers.end_file();
        Ok(())
    }

    fn copy_part(&mut self, source: &Source, out: &mut dyn Write) -> Result<(), BuildError> {
        match source {
            Source::Bytes(bytes) => self.pump(&mut bytes.as_ref(), source, out),
            Source::Path { path, .. } => {
                let file = File::open(path).map_err(|error| read_error(source, error));
                self.pump(&mut file?, source, out)
            }
            Source::Slice { path, offset, size } => {
                let open = File::open(path).and_then(|mut file| {
                    file.seek(SeekFrom::Start(*offset))?;
                    Ok(file.take(*size))
                });
                self.pump(&mut open.map_err(|error| read_error(source, error))?, source, out)
            }
            Source::Joined(parts) => parts.iter().try_for_each(|part| self.copy_part(part, out)),
        }
    }

    fn pump(
        &mut self,
        from: &mut dyn Read,
        source: &Source,
        out: &mut dyn Write,
    ) -> Result<(), BuildError> {
        let mut left = source.size();
        loop {
            let mut buffer = self.buffers.take();
            let filled = fill(from, &mut buffer).map_err(|error| read_error(source, error))?;
            left = left.checked_sub(filled as u64).ok_or_else(|| changed(source))?;
            out.write_all(&buffer[..filled]).map_err(BuildError::Write)?;
            self.buffers.give_back(buffer, filled);
            (self.progress)(filled as u64);
            if filled < CHUNK {
                return if left == 0 { Ok(()) } else { Err(changed(source)) };
            }
        }
    }
}

/// Reads until `buffer` is full or nothing is left.
fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn read_error(source: &Source, error: std::io::Error) -> BuildError {
    match source {
        Source::Path { path, .. } | Source::Slice { path, .. } => {
            BuildError::Read { path: path.clone(), source: error }
        }
        Source::Bytes(_) | Source::Joined(_) => BuildError::Write(error),
    }
}

fn changed(source: &Source) -> BuildError {
    match source {
        Source::Path { path, .. } | Source::Slice { path, .. } => {
            BuildError::Changed { path: path.clone() }
        }
        Source::Bytes(_) | Source::Joined(_) => {
            unreachable!("bytes in memory keep their length, and parts are read one by one")
        }
    }
}

fn hash<D: Digest>(steps: &Receiver<Step>, empty: &SyncSender<Vec<u8>>) -> Vec<Output<D>> {
    let mut digests = Vec::new();
    let mut digest = D::new();
    for step in steps {
        match step {
            Step::Chunk { buffer, filled } => {
                digest.update(&buffer[..filled]);
                // The feed may be gone already.
                let _ = empty.send(buffer);
            }
            Step::End => digests.push(std::mem::replace(&mut digest, D::new()).finalize()),
        }
    }
    digests
}
