//! The bill of materials beside a package: its programs and files, in the words of
//! [CycloneDX](https://cyclonedx.org) 1.5.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use cyclonedx_bom::{
    external_models::{
        date_time::DateTime, normalized_string::NormalizedString, spdx::SpdxExpression,
    },
    models::{
        bom::{Bom, SpecVersion, UrnUuid},
        component::{Classification, Component, Components},
        hash::{Hash, HashAlgorithm, HashValue, Hashes},
        license::{LicenseChoice, Licenses},
        metadata::Metadata,
        tool::{Tool, Tools},
    },
    validation::Validate as _,
};
use packager::{
    ComponentKind, Package,
    read::{self, Contents, FoundKind},
};
use semver::Version;

use super::staged::Staged;

/// A component of a package, as the repository or folder that it comes from names it.
pub(super) type Part = (ComponentKind, Version);

/// Where the bill of the package at `path` goes.
pub(super) fn path(package: &Path) -> PathBuf {
    let mut name = package.as_os_str().to_owned();
    name.push(".cdx.json");
    name.into()
}

/// The bill of `package`, which became `file` of the given `sha256`, made of `parts`. The same file
/// has the same bill. The enroll secret is not in it, nor its digest.
pub(super) fn text(
    (package, parts): (&Package, &[Part]),
    (file, sha256): (&Staged, &str),
) -> anyhow::Result<Vec<u8>> {
    let contents = read::open(&mut file.open().context("could not read it back")?)
        .context("could not read it back")?;
    let files = files(&contents);
    let programs = parts.iter().map(|(kind, version)| program(package, *kind, version));
    let bom = Bom {
        spec_version: SpecVersion::V1_5,
        serial_number: Some(serial_number(sha256)?),
        metadata: Some(metadata(package, sha256)?),
        components: Some(Components(programs.chain(files).collect())),
        ..Bom::default()
    };
    let judgement = bom.validate_version(SpecVersion::V1_5);
    anyhow::ensure!(judgement.passed(), "the bill of materials is not valid: {judgement:?}");
    let mut text = Vec::new();
    bom.output_as_json_v1_5(&mut text).context("could not write it")?;
    text.push(b'\n');
    Ok(text)
}

/// Made of the package's digest.
fn serial_number(sha256: &str) -> anyhow::Result<UrnUuid> {
    let mut bytes = [0; 16];
    hex::decode_to_slice(sha256.get(..32).unwrap_or_default(), &mut bytes)
        .context("a digest has 64 digits")?;
    let id = uuid::Builder::from_custom_bytes(bytes).into_uuid();
    UrnUuid::new(format!("urn:uuid:{id}")).map_err(|_| anyhow!("could not name the document"))
}

fn metadata(package: &Package, sha256: &str) -> anyhow::Result<Metadata> {
    let about = &package.metadata;
    let date = package.built_at.timestamp().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let whole = Component {
        description: Some(NormalizedString::new(&format!("for {}", about.platform))),
        hashes: Some(hashes(sha256)),
        ..component(Classification::Application, about.name, &about.version.to_string())
    };
    Ok(Metadata {
        timestamp: Some(DateTime::try_from(date)?),
        tools: Some(Tools::List(vec![Tool::new("fleetd", "fleetctl package", wire::VERSION)])),
        component: Some(licensed(whole, package)),
        ..Metadata::default()
    })
}

/// Our own are as the package is; osqueryd comes from others, under terms of their own.
fn program(package: &Package, kind: ComponentKind, version: &Version) -> Component {
    let program = component(Classification::Application, kind.name(), &version.to_string());
    match kind {
        ComponentKind::Osqueryd => program,
        ComponentKind::Orbit | ComponentKind::Desktop => licensed(program, package),
    }
}

fn licensed(component: Component, package: &Package) -> Component {
    let license = LicenseChoice::Expression(SpdxExpression::new(package.metadata.license));
    Component { licenses: Some(Licenses(vec![license])), ..component }
}

/// Every file that is laid and is no secret.
fn files(contents: &Contents) -> impl Iterator<Item = Component> + '_ {
    let files = contents.files.iter().filter(|(path, found)| {
        found.kind == FoundKind::File && !contents.settings.is_secret(path)
    });
    files.map(|(path, found)| Component {
        hashes: found.sha256.as_deref().map(hashes),
        ..component(Classification::File, path, "")
    })
}

fn component(kind: Classification, name: &str, version: &str) -> Component {
    let reference = format!("{kind}/{name}");
    let component = Component::new(kind, name, version, Some(reference));
    Component { version: component.version.filter(|_| !version.is_empty()), ..component }
}

fn hashes(digits: &str) -> Hashes {
    Hashes(vec![Hash { alg: HashAlgorithm::SHA_256, content: HashValue(digits.to_owned()) }])
}
