//! The checksum of cksum(1). Source: POSIX, "cksum".
//!
//! It is a CRC-32 that starts at zero, takes a byte's highest bit first, and ends with the length. The
//! CRC-32 of zip, for which processors have instructions, takes the lowest bit first: given bytes with
//! their bits reversed, it gives this one with its bits reversed.

use crc32fast::Hasher;
use sha2::digest::{FixedOutput, HashMarker, Output, OutputSizeUser, Update, typenum::U4};

/// How many bytes are reversed at a time.
const PIECE: usize = 512 * WORD;
/// How many of them one step reverses.
const WORD: usize = size_of::<u64>();

/// Takes bytes, gives four: the checksum, highest byte first.
#[derive(Debug, Clone)]
pub(crate) struct Cksum {
    /// Of the bytes with their bits reversed.
    crc: Hasher,
    length: u64,
}

impl Cksum {
    /// Of a short text.
    pub(crate) fn of(text: &[u8]) -> u32 {
        let mut cksum = Self::default();
        cksum.update(text);
        cksum.value()
    }

    fn value(mut self) -> u32 {
        // The length without the zero bytes at its end, lowest byte first.
        let mut rest = self.length;
        while rest > 0 {
            self.crc.update(&[rest.to_le_bytes()[0].reverse_bits()]);
            rest >>= 8;
        }
        self.crc.finalize().reverse_bits()
    }
}

impl Default for Cksum {
    fn default() -> Self {
        // The hasher inverts what it starts from.
        Self { crc: Hasher::new_with_initial(u32::MAX), length: 0 }
    }
}

impl Update for Cksum {
    fn update(&mut self, data: &[u8]) {
        let mut reversed = [0; PIECE];
        for piece in data.chunks(PIECE) {
            reversed[..piece.len()].copy_from_slice(piece);
            let words = piece.len().next_multiple_of(WORD);
            for word in reversed[..words].as_chunks_mut::<WORD>().0 {
                *word = u64::from_ne_bytes(*word).reverse_bits().swap_bytes().to_ne_bytes();
            }
            self.crc.update(&reversed[..piece.len()]);
        }
        self.length += data.len() as u64;
    }
}

impl OutputSizeUser for Cksum {
    type OutputSize = U4;
}

impl FixedOutput for Cksum {
    fn finalize_into(self, out: &mut Output<Self>) {
        out.copy_from_slice(&self.value().to_be_bytes());
    }
}

/// So that files are read and checked in the same way as with other digests.
impl HashMarker for Cksum {}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "the test asks somebody else's program")]
    fn cksum(text: &[u8]) -> u32 {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, text).unwrap();
        let output = Command::new("cksum").arg(file.path()).output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        output.split(' ').next().unwrap().parse().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn is_what_the_program_says(text in proptest::collection::vec(any::<u8>(), 0..9000)) {
            prop_assert_eq!(Cksum::of(&text), cksum(&text));
        }
    }
}
