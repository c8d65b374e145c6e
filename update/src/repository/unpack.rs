//! Programs that a repository has as archives.

use std::{fs, io::Read};

use camino::{Utf8Path, Utf8PathBuf};
use flate2::read::GzDecoder;

use super::FetchError;
use crate::{
    cache::{Cache, CacheError},
    component::FetchedComponent,
    names::{Component, TargetName, UpdatePlatform},
    release::ReleaseFile,
};

/// No program is longer.
const MAX_PROGRAM_LENGTH: u64 = 2 << 30;

/// Replaces a fetched archive of `desktop` for Linux by the program in it; leaves everything else
/// as it is.
///
/// The archive is verified each time it comes here, and the program is taken out of it each time:
/// what is used never rests on an unpacked copy.
pub(super) async fn unpack(
    name: &TargetName,
    fetched: FetchedComponent,
    cache: &Cache,
) -> Result<FetchedComponent, FetchError> {
    let on_linux = matches!(name.platform, UpdatePlatform::Linux | UpdatePlatform::LinuxArm64);
    if !(on_linux && name.component == Component::Desktop) {
        return Ok(fetched);
    }
    let (cache, archive) = (cache.clone(), fetched.path.clone());
    let program = name.component.program(name.platform);
    let unpacking = tokio::task::spawn_blocking(move || take_out(&archive, program, &cache));
    let unpacked = unpacking.await.expect("unpacking does not panic");
    let (path, sha256, length) =
        unpacked.map_err(|source| FetchError::Unpack { target: name.clone(), source })?;
    Ok(FetchedComponent { path, sha256, length, ..fetched })
}

/// Copies the regular file called `program`, in whatever directory, out of a gzipped tar.
fn take_out(
    archive: &Utf8PathBuf,
    program: &str,
    cache: &Cache,
) -> Result<(Utf8PathBuf, String, u64), UnpackError> {
    let unreadable = |source| UnpackError::Unreadable { archive: archive.clone(), source };
    let mut tar = tar::Archive::new(GzDecoder::new(fs::File::open(archive).map_err(unreadable)?));
    for entry in tar.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let is_program =
            entry.path().map_err(unreadable)?.file_name().is_some_and(|it| it == program);
        if !is_program || !entry.header().entry_type().is_file() {
            continue;
        }
        if entry.size() > MAX_PROGRAM_LENGTH {
            return Err(UnpackError::TooLong { length: entry.size(), limit: MAX_PROGRAM_LENGTH });
        }
        let mut writer = cache.create()?;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match entry.read(&mut buffer).map_err(unreadable)? {
                0 => break,
                length => writer.append(&buffer[..length])?,
            }
        }
        let (sha256, length) = (writer.sha256(), writer.length());
        return Ok((writer.keep()?, sha256, length));
    }
    Err(UnpackError::NoProgram { program: program.to_owned() })
}

/// Unpacks the zstd file `packed` to `wanted`, which is what it must give to the last bit.
pub(super) fn expand(
    packed: &Utf8Path,
    wanted: &ReleaseFile,
    cache: &Cache,
) -> Result<Utf8PathBuf, UnpackError> {
    let unreadable = |source| UnpackError::Unreadable { archive: packed.to_owned(), source };
    let file = fs::File::open(packed).map_err(unreadable)?;
    let mut reader = zstd::Decoder::new(file).map_err(unreadable)?;
    pour(&mut reader, packed, wanted, cache)
}

/// Keeps what `reader` makes of `packed`, if that is `wanted`; reads no more than that has.
pub(super) fn pour(
    reader: &mut dyn Read,
    packed: &Utf8Path,
    wanted: &ReleaseFile,
    cache: &Cache,
) -> Result<Utf8PathBuf, UnpackError> {
    let unreadable = |source| UnpackError::Unreadable { archive: packed.to_owned(), source };
    let mut writer = cache.create()?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer).map_err(unreadable)? {
            0 => break,
            length if writer.length() + length as u64 > wanted.length => {
                let (length, limit) = (writer.length() + length as u64, wanted.length);
                return Err(UnpackError::TooLong { length, limit });
            }
            length => writer.append(&buffer[..length])?,
        }
    }
    if writer.sha256() != wanted.sha256 {
        return Err(UnpackError::Other { found: writer.sha256(), signed: wanted.sha256.clone() });
    }
    Ok(writer.keep()?)
}

/// Why an archive gives no program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// No gzipped tar, or a damaged one.
    #[error("could not read the archive `{archive}`")]
    Unreadable {
        /// The archive.
        archive: Utf8PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The archive has other files.
    #[error("the archive has no file `{program}`")]
    NoProgram {
        /// What was looked for.
        program: String,
    },
    /// A program of a length that none has.
    #[error("{length} bytes are more than the {limit} that are accepted")]
    TooLong {
        /// In bytes.
        length: u64,
        /// The most that is accepted, in bytes.
        limit: u64,
    },
    /// What is in it is another file than was signed for.
    #[error("it is not the file that was signed for: its SHA-256 is {found}, not {signed}")]
    Other {
        /// The hash of what is in it.
        found: String,
        /// The hash that was signed.
        signed: String,
    },
    /// The cache cannot be written.
    #[error(transparent)]
    Cache(#[from] CacheError),
}
