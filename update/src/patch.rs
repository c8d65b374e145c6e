//! Patches: what one version of a program becomes the next by, as `zstd --patch-from` makes and reads
//! them.

use std::{
    fs,
    io::{self, Read, Write},
};

use camino::Utf8Path;

/// Programs that are longer are not patched, in bytes: whoever applies a patch has both in memory.
pub(crate) const LONGEST: u64 = (1 << LARGEST_WINDOW) - 1;

/// A window as large as this holds the longest program, in powers of two.
const LARGEST_WINDOW: u32 = 27;

/// Patches are made once and applied by everybody.
const LEVEL: i32 = 19;

/// Writes the patch by which `from` becomes the file at `to`; gives back where it was written to.
pub(crate) fn make<W: Write>(from: &[u8], to: &Utf8Path, patch: W) -> io::Result<W> {
    let mut to = fs::File::open(to)?;
    let length = to.metadata()?.len();
    let mut packer = zstd::Encoder::with_ref_prefix(patch, LEVEL, from)?;
    packer.window_log(window_of(length.max(from.len() as u64)))?;
    packer.long_distance_matching(true)?;
    packer.set_pledged_src_size(Some(length))?;
    packer.include_contentsize(true)?;
    io::copy(&mut to, &mut packer)?;
    packer.finish()
}

/// What `from` becomes by `patch`, as long as whoever reads goes on.
pub(crate) fn apply<'a>(from: &'a [u8], patch: fs::File) -> io::Result<impl Read + 'a> {
    let mut reader = zstd::Decoder::with_ref_prefix(io::BufReader::new(patch), from)?;
    reader.window_log_max(LARGEST_WINDOW)?;
    Ok(reader)
}

/// The smallest window that all of a file of `length` fits in, in powers of two.
fn window_of(length: u64) -> u32 {
    (u64::BITS - length.leading_zeros()).clamp(10, LARGEST_WINDOW)
}
