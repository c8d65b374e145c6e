//! SHA-256 sums, in the form that `sha256sum --check` reads.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

/// The file that names all others of a release.
pub(super) const NAME: &str = "SHA256SUMS";

/// Writes the sums of all files in `dir`; gives the path of what it wrote.
pub(super) fn write(dir: &Path) -> anyhow::Result<PathBuf> {
    let path = dir.join(NAME);
    let mut text = String::new();
    for (name, sum) in of_folder(dir)? {
        let _infallible = writeln!(text, "{sum}  {name}");
    }
    fs::write(&path, text).with_context(|| format!("could not write `{}`", path.display()))?;
    Ok(path)
}

/// The sums of all files in `dir`, by name.
pub(super) fn of_folder(dir: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let problem = || format!("could not list `{}`", dir.display());
    let mut sums = BTreeMap::new();
    for entry in fs::read_dir(dir).with_context(problem)? {
        let path = entry.with_context(problem)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).with_context(problem)?;
        sums.insert(name.to_owned(), of_file(&path)?);
    }
    Ok(sums)
}

/// The sum of one file, in hexadecimal digits.
pub(super) fn of_file(path: &Path) -> anyhow::Result<String> {
    let problem = || format!("could not read `{}`", path.display());
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path).with_context(problem)?, &mut HashWriter(&mut hash))
        .with_context(problem)?;
    Ok(hex::encode(hash.finalize()))
}

/// Feeds what is written to a hash.
struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
