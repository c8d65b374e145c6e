//! What files are recognized by.

use std::io::{self, ErrorKind, Read};

use sha2::{Digest as _, Sha256};

/// SHA-256 of all that is left to read, in lower-case hexadecimal.
pub(crate) fn sha256(from: &mut dyn Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(hex::encode(hash.finalize())),
            Ok(read) => hash.update(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
