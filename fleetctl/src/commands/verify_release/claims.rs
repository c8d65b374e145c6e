//! What a release says about itself: its provenance and its bills of materials.
//!
//! Both are named by the signed checksums. What is checked here is that they speak of these very
//! files; a file that is not here cannot be read, and is the affair of [`super::sums`].

use std::{fs, path::Path};

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sigstore_types::Statement;

use super::{
    Check,
    seal::Seal,
    sums::{File, State, Sums},
};

/// The predicate that is understood.
const PREDICATE: &str = "https://slsa.dev/provenance/v1";

/// How the name of the provenance ends.
const PROVENANCE: &str = "-provenance.json";

/// The parts of the predicate that are compared or told.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    build_definition: BuildDefinition,
    run_details: RunDetails,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition {
    external_parameters: Value,
    #[serde(default)]
    resolved_dependencies: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct RunDetails {
    builder: Builder,
}

#[derive(Debug, Deserialize)]
struct Builder {
    id: String,
}

/// Whether the provenance is about these files, and who built them. No check if it is not here.
pub(super) fn provenance(dir: &Path, sums: &Sums, seal: &Seal) -> (Option<Check>, Option<String>) {
    let Some(name) = sums.names().find(|name| name.ends_with(PROVENANCE)) else {
        let problems = vec!["the release has none".to_owned()];
        return (Some(Check::new("provenance", problems, "")), None);
    };
    let Ok(text) = fs::read(dir.join(name)) else { return (None, None) };
    if sums.of(name) != Some(hex::encode(Sha256::digest(&text)).as_str()) {
        let problems = vec![format!("`{name}` is not what was released")];
        return (Some(Check::new("provenance", problems, "")), None);
    }
    match understood(&text) {
        Ok((statement, predicate)) => {
            let mut problems = subjects(name, &statement, sums);
            problems.extend(source(&predicate, seal));
            let builder = predicate.run_details.builder.id;
            let found = format!("{} files built by {builder}", statement.subject.len());
            (Some(Check::new("provenance", problems, found)), Some(builder))
        }
        Err(problem) => (Some(Check::new("provenance", vec![problem], "")), None),
    }
}

fn understood(text: &[u8]) -> Result<(Statement, Predicate), String> {
    let statement: Statement =
        serde_json::from_slice(text).map_err(|error| format!("it is no statement: {error}"))?;
    if statement.type_ != Statement::TYPE_V1 || statement.predicate_type != PREDICATE {
        return Err(format!("it is no SLSA provenance but `{}`", statement.predicate_type));
    }
    let predicate = serde_json::from_value(statement.predicate.clone())
        .map_err(|error| format!("it is no SLSA provenance: {error}"))?;
    Ok((statement, predicate))
}

/// Each file but the provenance itself is a subject, with the same hash, and no other is.
fn subjects(own: &str, statement: &Statement, sums: &Sums) -> Vec<String> {
    let hash = |name: &str| {
        let subject = statement.subject.iter().find(|subject| subject.name == name)?;
        subject.digest.sha256.as_ref().map(|hash| hash.to_hex())
    };
    let mut problems = Vec::new();
    for (name, sum) in sums.iter().filter(|(name, _)| *name != own) {
        match hash(name) {
            Some(found) if found == sum => {}
            Some(_) => problems.push(format!("it is about another `{name}`")),
            None => problems.push(format!("it is not about `{name}`")),
        }
    }
    for subject in &statement.subject {
        if sums.of(&subject.name).is_none() {
            problems.push(format!("`{}` is no part of the release", subject.name));
        }
    }
    problems
}

/// Version and commit are those that were signed.
fn source(predicate: &Predicate, seal: &Seal) -> Vec<String> {
    let build = &predicate.build_definition;
    let version = build.external_parameters["version"].as_str();
    let commits = build.resolved_dependencies.iter().filter(|it| it["name"] == "source");
    let commit = commits.map(|it| &it["digest"]["gitCommit"]).find_map(Value::as_str);
    let mut problems = Vec::new();
    for (what, claimed, signed) in
        [("version", version, seal.version.as_deref()), ("commit", commit, seal.commit.as_deref())]
    {
        if claimed != signed {
            let shown = |text: Option<&str>| text.unwrap_or("none").to_owned();
            let (claimed, signed) = (shown(claimed), shown(signed));
            problems.push(format!("its {what} is {claimed}, the signature's is {signed}"));
        }
    }
    problems
}

/// Whether each archive has its bills of materials, and those that are here can be read.
pub(super) fn bills(dir: &Path, files: &[File], sums: &Sums) -> Check {
    let mut problems = Vec::new();
    let mut read = 0;
    for archive in sums.names().filter_map(archive) {
        for kind in [("cdx", "bomFormat", "CycloneDX"), ("spdx", "spdxVersion", "SPDX-2.3")] {
            let name = format!("{archive}.{}.json", kind.0);
            if sums.of(&name).is_none() {
                problems.push(format!("`{archive}` has no {} document", kind.2));
            } else if files.iter().any(|file| file.name == name && file.state == State::Ok) {
                read += 1;
                problems.extend(unreadable(&dir.join(&name), kind.1, kind.2));
            }
        }
    }
    Check::new("sbom", problems, format!("every archive has its own; {read} were read"))
}

/// The name of an archive with programs, without its extension.
fn archive(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(".tar.zst").or_else(|| name.strip_suffix(".zip"))?;
    (stem.starts_with("fleetd-") && !stem.ends_with("-symbols")).then_some(stem)
}

/// What is wrong with a document that should say `value` for `key`.
fn unreadable(path: &Path, key: &str, value: &str) -> Option<String> {
    let document = fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let document: Value = document.unwrap_or_default();
    (document[key] != value).then(|| format!("`{}` is no {value} document", path.display()))
}
