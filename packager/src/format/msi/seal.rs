//! Authenticode in an msi. Source: Microsoft's behaviour as osslsigncode and WiX know it.
//!
//! The digest is over every stream but the signature's own, in the order of their names' bytes, and
//! over the classes of the storages that they are in. The signature is one more stream.

use std::{
    io::{self, Read, Seek},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::Context;
use cfb::CompoundFile;

use super::{DEFINITION, INSTALLER};
use crate::{
    archive::cfb::CfbWriter,
    format::{ReadSeek, WriteSeek},
    sign::{
        CodeSigner, Seal, SignError, Trust, VerifyError,
        authenticode::{self, Signature, Subject},
    },
};

/// Stream with the signature.
const SIGNATURE: &str = "\u{5}DigitalSignature";
/// Stream with a digest of names and dates, which signing does not write.
const EXTENDED: &str = "\u{5}MsiDigitalSignatureEx";
/// Longest signature that is read, in bytes.
const MAX_SIGNATURE: u64 = 1 << 20;

/// Copies the installer `unsigned` to `out`, which is empty, with a signature.
pub(super) fn sign(
    unsigned: &mut dyn ReadSeek,
    by: &CodeSigner,
    out: &mut dyn WriteSeek,
) -> Result<(), SignError> {
    let mut file = CompoundFile::open(unsigned).map_err(SignError::Read)?;
    let mut context = authenticode::hash(by).context();
    digest(&mut file, &mut context).map_err(SignError::Read)?;
    let name = Some(DEFINITION.product.name.as_str());
    let signature = authenticode::sign(Subject::Installer, context.finish().as_ref(), name, by)?;
    let mut signed = CfbWriter::new(out).map_err(SignError::Write)?;
    // Our installers have no storage but the root.
    for path in children(&file, Path::new("/")) {
        let stream = file.open_stream(&path).map_err(SignError::Read)?;
        io::copy(&mut io::BufReader::with_capacity(1 << 20, stream), &mut signed)
            .and_then(|_| signed.end_stream(&name_of(&path)))
            .map_err(SignError::Write)?;
    }
    signed
        .stream(SIGNATURE, &signature)
        .and_then(|()| signed.finish(INSTALLER))
        .map(drop)
        .map_err(SignError::Write)
}

/// Checks the signature of the installer in `file`.
pub(super) fn verify(file: &mut dyn ReadSeek, trust: &Trust) -> Result<Seal, VerifyError> {
    let mut file = CompoundFile::open(file).map_err(VerifyError::Read)?;
    let stream = file.open_stream(SIGNATURE).map_err(|_| VerifyError::NotSigned)?;
    let mut bytes = Vec::new();
    stream.take(MAX_SIGNATURE).read_to_end(&mut bytes).map_err(VerifyError::Read)?;
    let signature = Signature::read(&bytes, Subject::Installer)?;
    if file.exists(EXTENDED) {
        return Err(VerifyError::Algorithm);
    }
    let mut context = signature.hash.context();
    digest(&mut file, &mut context).map_err(VerifyError::Read)?;
    signature.verify(context.finish().as_ref(), trust)
}

fn digest<F: Read + Seek>(file: &mut CompoundFile<F>, context: &mut Context) -> io::Result<()> {
    storage(file, Path::new("/"), context)
}

fn storage<F: Read + Seek>(
    file: &mut CompoundFile<F>,
    path: &Path,
    context: &mut Context,
) -> io::Result<()> {
    for path in children(file, path) {
        if file.is_storage(&path) {
            storage(file, &path, context)?;
            continue;
        }
        let mut stream = io::BufReader::with_capacity(1 << 20, file.open_stream(&path)?);
        io::copy(&mut stream, &mut Digesting(context))?;
    }
    context.update(&file.entry(path)?.clsid().to_bytes_le());
    Ok(())
}

/// What is in the storage at `path`, but for signatures, in the order of a digest.
fn children<F>(file: &CompoundFile<F>, path: &Path) -> Vec<PathBuf> {
    let units = |path: &PathBuf| -> Vec<u8> {
        name_of(path).encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    let mut all: Vec<_> = file.read_storage(path).into_iter().flatten().collect();
    all.retain(|entry| ![SIGNATURE, EXTENDED].contains(&entry.name()));
    let mut paths: Vec<_> = all.into_iter().map(|entry| entry.path().to_owned()).collect();
    paths.sort_by_cached_key(units);
    paths
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

struct Digesting<'a>(&'a mut Context);

impl io::Write for Digesting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
