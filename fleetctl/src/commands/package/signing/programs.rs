//! Programs are signed before they are packed. One that carries somebody's signature keeps it.

use std::fs::File;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use packager::{
    ComponentKind, Platform,
    payload::Os,
    sign::{Keys, authenticode::pe},
};

/// The program of `kind` at `path`, signed; a copy in the folder `scratch` if it is not signed yet and
/// there is a key for it.
pub(crate) fn sign_program(
    path: Utf8PathBuf,
    (kind, platform): (ComponentKind, Platform),
    keys: &Keys,
    scratch: &Utf8Path,
) -> anyhow::Result<Utf8PathBuf> {
    let Some(by) = keys.windows.as_ref().filter(|_| platform.os == Os::Windows) else {
        return Ok(path);
    };
    let mut file = File::open(&path).with_context(|| format!("could not read `{path}`"))?;
    let signed = pe::is_signed(&mut file).with_context(|| format!("could not read `{path}`"))?;
    if signed != Some(false) {
        return Ok(path);
    }
    let copy = scratch.join(format!("{}-{}", platform.arch, kind.program(platform.os)));
    let mut out = File::create_new(&copy).with_context(|| format!("could not create `{copy}`"))?;
    pe::sign(&mut file, Some(kind.name()), by, &mut out)
        .with_context(|| format!("could not sign `{path}`"))?;
    Ok(copy)
}
