//! [SPDX](https://spdx.github.io/spdx-spec/v2.3/) 2.3, as JSON.
//!
//! Written here: `spdx-rs` brings a second library for time and has stood still since 2.2, and
//! `serde-spdx` generates its types from the schema whenever it is compiled.

use anyhow::Context as _;
use serde::Serialize;

use super::{Bill, Program};
use crate::release::graph::{Crate, Id};

/// What the format demands where nobody has looked.
const UNKNOWN: &str = "NOASSERTION";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    spdx_id: &'static str,
    name: String,
    document_namespace: String,
    creation_info: CreationInfo,
    packages: Vec<Package>,
    relationships: Vec<Relationship>,
}

#[derive(Debug, Serialize)]
struct CreationInfo {
    created: String,
    creators: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    name: String,
    #[serde(rename = "SPDXID")]
    spdx_id: String,
    version_info: String,
    primary_package_purpose: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_file_name: Option<String>,
    download_location: String,
    files_analyzed: bool,
    checksums: Vec<Checksum>,
    license_concluded: &'static str,
    license_declared: String,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

/// The document as text.
pub(super) fn text(bill: &Bill<'_>) -> anyhow::Result<String> {
    let name = bill.release.name(bill.target.name());
    let document = Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        spdx_id: "SPDXRef-DOCUMENT",
        document_namespace: format!("urn:uuid:{}", bill.id),
        name,
        creation_info: CreationInfo {
            created: bill.created.clone(),
            creators: vec![
                "Organization: The fleetd authors".to_owned(),
                format!("Tool: cargo-xtask-release-{}", bill.release.version.text),
            ],
        },
        packages: packages(bill),
        relationships: relationships(bill),
    };
    let text = serde_json::to_string_pretty(&document).context("could not write SPDX")?;
    Ok(format!("{text}\n"))
}

fn packages(bill: &Bill<'_>) -> Vec<Package> {
    let programs = bill.programs.iter().map(|program| application(bill, program));
    let crates = bill.graph.crates.iter().map(|(id, about)| library(bill, id, about));
    programs.chain(crates).collect()
}

fn application(bill: &Bill<'_>, program: &Program) -> Package {
    let license = bill.graph.crates.get(&program.root).and_then(|about| about.license.clone());
    Package {
        name: program.name.to_owned(),
        spdx_id: program_reference(program),
        version_info: bill.release.version.text.clone(),
        primary_package_purpose: "APPLICATION",
        package_file_name: Some(bill.target.reach.system().file_name(program.name)),
        download_location: UNKNOWN.to_owned(),
        files_analyzed: false,
        checksums: vec![sha256(&program.sha256)],
        license_concluded: UNKNOWN,
        license_declared: license.unwrap_or_else(|| UNKNOWN.to_owned()),
        copyright_text: UNKNOWN,
        external_refs: Vec::new(),
    }
}

fn library(bill: &Bill<'_>, id: &Id, about: &Crate) -> Package {
    let version = bill.version_of(id);
    let purl = about.checksum.as_ref().map(|_| format!("pkg:cargo/{}@{version}", id.name));
    Package {
        name: id.name.clone(),
        spdx_id: reference(bill, id),
        version_info: version.to_owned(),
        primary_package_purpose: "LIBRARY",
        package_file_name: None,
        download_location: UNKNOWN.to_owned(),
        files_analyzed: false,
        checksums: about.checksum.iter().map(|digits| sha256(digits)).collect(),
        license_concluded: UNKNOWN,
        license_declared: about.license.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
        copyright_text: UNKNOWN,
        external_refs: purl.into_iter().map(package_url).collect(),
    }
}

fn sha256(digits: &str) -> Checksum {
    Checksum { algorithm: "SHA256", checksum_value: digits.to_owned() }
}

fn package_url(purl: String) -> ExternalRef {
    ExternalRef {
        reference_category: "PACKAGE-MANAGER",
        reference_type: "purl",
        reference_locator: purl,
    }
}

fn relationships(bill: &Bill<'_>) -> Vec<Relationship> {
    let describes = bill.programs.iter().map(|program| Relationship {
        spdx_element_id: "SPDXRef-DOCUMENT".to_owned(),
        relationship_type: "DESCRIBES",
        related_spdx_element: program_reference(program),
    });
    let roots = bill
        .programs
        .iter()
        .map(|program| depends(program_reference(program), reference(bill, &program.root)));
    let uses =
        bill.graph.uses.iter().flat_map(|(user, used)| used.iter().map(move |it| (user, it)));
    let uses = uses.map(|(user, used)| depends(reference(bill, user), reference(bill, used)));
    describes.chain(roots).chain(uses).collect()
}

fn depends(user: String, used: String) -> Relationship {
    Relationship {
        spdx_element_id: user,
        relationship_type: "DEPENDS_ON",
        related_spdx_element: used,
    }
}

fn program_reference(program: &Program) -> String {
    format!("SPDXRef-Program-{}", program.name)
}

/// Letters, digits, `.` and `-` alone are allowed.
fn reference(bill: &Bill<'_>, id: &Id) -> String {
    let text = format!("{}-{}", id.name, bill.version_of(id));
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '.';
    let text = text.replace(|letter| !allowed(letter), "-");
    format!("SPDXRef-Package-{text}")
}
