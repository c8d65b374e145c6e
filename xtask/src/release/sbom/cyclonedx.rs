//! [CycloneDX](https://cyclonedx.org) 1.5, as JSON.

use anyhow::{Context as _, anyhow};
use cyclonedx_bom::{
    external_models::{
        date_time::DateTime,
        normalized_string::NormalizedString,
        spdx::SpdxExpression,
        uri::{Purl, Uri},
    },
    models::{
        bom::{Bom, SpecVersion, UrnUuid},
        component::{Classification, Component, Components},
        dependency::{Dependencies, Dependency},
        external_reference::{self, ExternalReference, ExternalReferenceType, ExternalReferences},
        hash::{Hash, HashAlgorithm, HashValue, Hashes},
        license::{LicenseChoice, Licenses},
        metadata::Metadata,
        tool::{Tool, Tools},
    },
    validation::Validate as _,
};

use super::{Bill, Program};
use crate::release::graph::{Crate, Id};

/// The document as text.
pub(super) fn text(bill: &Bill<'_>) -> anyhow::Result<Vec<u8>> {
    let serial = UrnUuid::new(format!("urn:uuid:{}", bill.id));
    let bom = Bom {
        spec_version: SpecVersion::V1_5,
        serial_number: Some(serial.map_err(|_| anyhow!("could not name the document"))?),
        metadata: Some(metadata(bill)?),
        components: Some(Components(components(bill)?)),
        dependencies: Some(Dependencies(dependencies(bill))),
        ..Bom::default()
    };
    let judgement = bom.validate_version(SpecVersion::V1_5);
    anyhow::ensure!(judgement.passed(), "the CycloneDX document is not valid: {judgement:?}");
    let mut text = Vec::new();
    bom.output_as_json_v1_5(&mut text).context("could not write CycloneDX")?;
    text.push(b'\n');
    Ok(text)
}

fn metadata(bill: &Bill<'_>) -> anyhow::Result<Metadata> {
    let tool = Tool::new("fleetd", "cargo xtask release", &bill.release.version.text);
    Ok(Metadata {
        timestamp: Some(DateTime::try_from(bill.created.clone())?),
        tools: Some(Tools::List(vec![tool])),
        component: Some(whole(bill)),
        ..Metadata::default()
    })
}

/// What the document is about: all programs of the target.
fn whole(bill: &Bill<'_>) -> Component {
    let reference = Some(whole_reference(bill));
    let version = &bill.release.version.text;
    Component {
        description: Some(NormalizedString::new(&format!("for {}", bill.target.name()))),
        ..Component::new(Classification::Application, "fleetd", version, reference)
    }
}

fn whole_reference(bill: &Bill<'_>) -> String {
    bill.release.name(bill.target.name())
}

fn components(bill: &Bill<'_>) -> anyhow::Result<Vec<Component>> {
    let programs = bill.programs.iter().map(|program| Ok(application(bill, program)));
    let crates = bill.graph.crates.iter().map(|(id, about)| library(bill, id, about));
    programs.chain(crates).collect()
}

fn application(bill: &Bill<'_>, program: &Program) -> Component {
    let version = &bill.release.version.text;
    let reference = Some(program_reference(program));
    Component {
        hashes: Some(sha256(&program.sha256)),
        licenses: bill.graph.crates.get(&program.root).and_then(licenses),
        ..Component::new(Classification::Application, program.name, version, reference)
    }
}

fn library(bill: &Bill<'_>, id: &Id, about: &Crate) -> anyhow::Result<Component> {
    let reference = Some(reference(bill, id));
    let version = bill.version_of(id);
    let purl = about.checksum.as_ref().map(|_| Purl::new("cargo", &id.name, version));
    Ok(Component {
        hashes: about.checksum.as_deref().map(sha256),
        licenses: licenses(about),
        purl: purl.transpose()?,
        external_references: about.repository.as_deref().map(source),
        ..Component::new(Classification::Library, &id.name, version, reference)
    })
}

fn sha256(digits: &str) -> Hashes {
    Hashes(vec![Hash { alg: HashAlgorithm::SHA_256, content: HashValue(digits.to_owned()) }])
}

fn licenses(about: &Crate) -> Option<Licenses> {
    let expression = SpdxExpression::new(about.license.as_deref()?);
    Some(Licenses(vec![LicenseChoice::Expression(expression)]))
}

fn source(repository: &str) -> ExternalReferences {
    let url = external_reference::Uri::Url(Uri::new(repository));
    ExternalReferences(vec![ExternalReference::new(ExternalReferenceType::Vcs, url)])
}

fn dependencies(bill: &Bill<'_>) -> Vec<Dependency> {
    let whole = Dependency {
        dependency_ref: whole_reference(bill),
        dependencies: bill.programs.iter().map(program_reference).collect(),
    };
    let of_program = |program: &Program| Dependency {
        dependency_ref: program_reference(program),
        dependencies: vec![reference(bill, &program.root)],
    };
    let of_crate = |id: &Id| Dependency {
        dependency_ref: reference(bill, id),
        dependencies: bill
            .graph
            .uses
            .get(id)
            .into_iter()
            .flatten()
            .map(|used| reference(bill, used))
            .collect(),
    };
    let programs = bill.programs.iter().map(of_program);
    std::iter::once(whole).chain(programs).chain(bill.graph.crates.keys().map(of_crate)).collect()
}

fn program_reference(program: &Program) -> String {
    format!("program/{}", program.name)
}

fn reference(bill: &Bill<'_>, id: &Id) -> String {
    format!("{}@{}", id.name, bill.version_of(id))
}
