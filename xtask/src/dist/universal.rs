//! One program for both processors that macOS runs on.

use std::{fs, path::Path};

use anyhow::Context as _;
use fat_macho::FatWriter;

/// Joins the programs at `parts` into one at `path`.
pub(crate) fn join(parts: &[impl AsRef<Path>], path: &Path) -> anyhow::Result<()> {
    let problem = || format!("could not join programs into `{}`", path.display());
    let mut joined = FatWriter::new();
    for part in parts {
        let bytes = fs::read(part).with_context(problem)?;
        joined.add(bytes).map_err(anyhow::Error::new).with_context(problem)?;
    }
    let mut bytes = Vec::new();
    joined.write_to(&mut bytes).map_err(anyhow::Error::new).with_context(problem)?;
    fs::write(path, bytes).with_context(problem)?;
    make_executable(path).with_context(problem)
}

fn make_executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
