//! Programs are signed before they are packed. One that carries somebody's signature keeps it.

use std::fs::{self, File};

use anyhow::{Context as _, bail};
use camino::{Utf8Path, Utf8PathBuf};
use packager::{
    ComponentKind, Platform,
    payload::{Bundle, Os},
    sign::{
        CodeSigner,
        authenticode::pe,
        bundle::Signing,
        macho::{self, Details},
    },
};

use crate::commands::{expiry::now, package::order::Order};

/// The program of `kind` at `path`, signed; a copy in the folder `scratch` if it is not signed yet and
/// there is a key for it. macOS knows it by a name made of the package's identifier.
pub(crate) fn sign_program(
    path: Utf8PathBuf,
    (kind, platform): (ComponentKind, Platform),
    order: &Order,
    scratch: &Utf8Path,
) -> anyhow::Result<Utf8PathBuf> {
    let (keys, identifier) = (&order.keys, &order.identifier);
    let copy = scratch.join(format!("{}-{}", platform.arch, kind.program(platform.os)));
    let signed = match (platform.os, &keys.windows, &keys.macos) {
        (Os::Windows, Some(by), _) => sign_pe(&path, kind, by, &copy),
        (Os::Macos, _, Some(by)) => {
            let identifier = match kind {
                ComponentKind::Orbit => identifier.to_string(),
                ComponentKind::Osqueryd | ComponentKind::Desktop => format!("{identifier}.{kind}"),
            };
            sign_macho(&path, (identifier, order.entitlements.of(kind)), by, &copy)
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
/// of nobody's are kept unless others are given.
fn sign_macho(
    path: &Utf8Path,
    (identifier, given): (String, Option<&[u8]>),
    by: &CodeSigner,
    copy: &Utf8Path,
) -> anyhow::Result<bool> {
    let mut file = File::open(path)?;
    let Some(programs) = macho::read(&mut file)? else {
        if given.is_some() && !Bundle::is_archive(path)? {
            bail!("it is no program for macOS, so it cannot have entitlements");
        }
        return Ok(false);
    };
    if programs.iter().all(|it| it.as_ref().is_some_and(|it| it.seal.is_some())) {
        refuse_entitlements(given)?;
        return Ok(false);
    }
    let own = programs.into_iter().flatten().find_map(|sealed| sealed.entitlements);
    let entitlements = given.map(<[u8]>::to_vec).or(own);
    let details =
        Details { identifier, entitlements, signed_at: signed_at(by), ..Details::default() };
    macho::sign(&mut file, &details, by, &mut create(copy)?)?;
    Ok(true)
}

fn refuse_entitlements(given: Option<&[u8]>) -> anyhow::Result<()> {
    if given.is_some() {
        bail!("somebody has signed it already, so it gets no other entitlements");
    }
    Ok(())
}

/// `bundle`, signed unless somebody has signed it; copies are in a new folder in `scratch`.
pub(crate) fn sign_bundle(
    bundle: Bundle,
    kind: ComponentKind,
    order: &Order,
    scratch: &Utf8Path,
) -> anyhow::Result<Bundle> {
    let Some(by) = &order.keys.macos else { return Ok(bundle) };
    let problem = || format!("could not sign the bundle of {kind}");
    let given = order.entitlements.of(kind);
    if bundle.is_signed().with_context(problem)? {
        refuse_entitlements(given).with_context(problem)?;
        return Ok(bundle);
    }
    let scratch = scratch.join(format!("{kind}-signed"));
    fs::create_dir(&scratch).with_context(|| format!("could not create `{scratch}`"))?;
    let signing = Signing {
        by,
        entitlements: given.map(<[u8]>::to_vec),
        signed_at: signed_at(by),
        scratch: &scratch,
    };
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
