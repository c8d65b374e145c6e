//! Programs for macOS that come for one processor each, `orbit/macos-amd64/orbit` and
//! `orbit/macos-arm64/orbit` for example: a package has them as one.

use std::fs::File;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use packager::{ComponentKind, payload::Os, sign::macho};

use crate::exit::Stop;

const FOLDERS: [&str; 2] = ["macos-amd64", "macos-arm64"];

/// The programs of `kind` in the folder `components`, if there is one for each processor.
pub(super) fn parts(components: &Utf8Path, kind: ComponentKind) -> Option<[Utf8PathBuf; 2]> {
    let part = |folder| components.join(kind.name()).join(folder).join(kind.program(Os::Macos));
    let parts = FOLDERS.map(part);
    parts.iter().all(|path| path.is_file()).then_some(parts)
}

/// Makes one program of `parts`, in the folder `scratch`.
pub(super) fn join(
    parts: &[Utf8PathBuf; 2],
    kind: ComponentKind,
    scratch: &Utf8Path,
) -> anyhow::Result<Utf8PathBuf> {
    let open =
        |path: &Utf8PathBuf| File::open(path).with_context(|| format!("could not read `{path}`"));
    let [mut one, mut other] = [open(&parts[0])?, open(&parts[1])?];
    let joined = scratch.join(format!("{kind}-universal"));
    let mut out = File::create(&joined).with_context(|| format!("could not create `{joined}`"))?;
    macho::join(&mut [&mut one, &mut other], &mut out).map_err(|error| {
        let [one, other] = parts;
        Stop::usage(format!(
            "`{one}` and `{other}` cannot be one program: {:#}",
            anyhow::Error::new(error)
        ))
    })?;
    Ok(joined)
}
