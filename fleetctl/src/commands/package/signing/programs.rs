//! Programs are signed before they are packed. One that carries somebody's signature keeps it.

use std::fs::{self, File};

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use packager::{
    ComponentKind, Platform,
    format::pkg::Identifier,
    payload::{Bundle, Os},
    sign::{
        CodeSigner, Keys,
        authenticode::pe,
        bundle::Signing,
        macho::{self, Details},
    },
};

use crate::commands::expiry::now;

/// The program of `kind` at `path`, signed; a copy in the folder `scratch` if it is not signed yet and
/// there is a key for it. macOS knows it by a name made of `identifier`.
pub(crate) fn sign_program(
    path: Utf8PathBuf,
    (kind, platform): (ComponentKind, Platform),
    (keys, identifier): (&Keys, &Identifier),
    scratch: &Utf8Path,
) -> anyhow::Result<Utf8PathBuf> {
    let copy = scratch.join(format!("{}-{}", platform.arch, kind.program(platform.os)));
    let signed = match (platform.os, &keys.windows, &keys.macos) {
        (Os::Windows, Some(by), _) => sign_pe(&path, kind, by, &copy),
        (Os::Macos, _, Some(by)) => {
            let identifier = match kind {
                ComponentKind::Orbit => identifier.to_string(),
                ComponentKind::Osqueryd | ComponentKind::Desktop => format!("{identifier}.{kind}"),
            };
            sign_macho(&path, identifier, by, &copy)
        }
        (Os::Linux | Os::Windows | Os::Macos, ..) => Ok(false),
    };
    let signed = signed.with_context(|| format!("could not sign `{path}`"))?;
    Ok(if signed { copy } else { path })
}

/// Writes a signed copy unless there is nothing to sign.
fn sign_pe(
    path: &Utf8Path,
    kind: ComponentKind,
    by: &CodeSigner,
    copy: &Utf8Path,
) -> anyhow::Result<bool> {
    let mut file = File::open(path)?;
    if pe::is_signed(&mut file)? != Some(false) {
        return Ok(false);
    }
    pe::sign(&mut file, Some(kind.name()), by, &mut create(copy)?)?;
    Ok(true)
}

/// Writes a signed copy unless there is nothing to sign, as in a script or an archive. Entitlements in a signature
/// of nobody's are kept.
fn sign_macho(
    path: &Utf8Path,
    identifier: String,
    by: &CodeSigner,
    copy: &Utf8Path,
) -> anyhow::Result<bool> {
    let mut file = File::open(path)?;
    let Some(programs) = macho::read(&mut file)? else { return Ok(false) };
    if programs.iter().all(|it| it.as_ref().is_some_and(|it| it.seal.is_some())) {
        return Ok(false);
    }
    let entitlements = programs.into_iter().flatten().find_map(|sealed| sealed.entitlements);
    let details =
        Details { identifier, entitlements, signed_at: signed_at(by), ..Details::default() };
    macho::sign(&mut file, &details, by, &mut create(copy)?)?;
    Ok(true)
}

/// `bundle`, signed unless somebody has signed it; copies are in a new folder in `scratch`.
pub(crate) fn sign_bundle(
    bundle: Bundle,
    kind: ComponentKind,
    keys: &Keys,
    scratch: &Utf8Path,
) -> anyhow::Result<Bundle> {
    let Some(by) = &keys.macos else { return Ok(bundle) };
    let problem = || format!("could not sign the bundle of {kind}");
    if bundle.is_signed().with_context(problem)? {
        return Ok(bundle);
    }
    let scratch = scratch.join(format!("{kind}-signed"));
    fs::create_dir(&scratch).with_context(|| format!("could not create `{scratch}`"))?;
    let signing = Signing { by, entitlements: None, signed_at: signed_at(by), scratch: &scratch };
    bundle.sign(&signing).with_context(problem)
}

fn create(path: &Utf8Path) -> anyhow::Result<File> {
    File::create_new(path).with_context(|| format!("could not create `{path}`"))
}

/// Without timestamp a signature is to be the same each time, so that it tells none of its own.
fn signed_at(by: &CodeSigner) -> Option<u64> {
    by.timestamper.as_ref()?;
    u64::try_from(now().as_second()).ok()
}
