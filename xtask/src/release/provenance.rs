//! What a release was made from, as an [in-toto statement](https://in-toto.io/Statement/v1) with
//! the predicate of [SLSA](https://slsa.dev/spec/v1.0/provenance).

use std::{collections::BTreeSet, path::Path};

use anyhow::Context as _;
use serde_json::{Value, json};
use sigstore_types::{Digest, Sha256Hash, Statement, Subject};

use super::{Release, built::Target, checksums};

/// What the predicate is.
const PREDICATE: &str = "https://slsa.dev/provenance/v1";

/// How to read the parameters; docs/releases.md describes it.
const BUILD_TYPE: &str = "urn:fleetd:release:v1";

/// Who builds, and where the source is published.
#[derive(Debug)]
pub(super) struct Origin<'a> {
    pub(super) builder: &'a str,
    pub(super) repository: Option<&'a str>,
}

/// Writes the statement; its subjects are all files that are in the release so far.
pub(super) fn write(
    release: &Release<'_>,
    targets: &[Target],
    origin: &Origin<'_>,
) -> anyhow::Result<()> {
    let predicate = json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "version": release.version.text,
                "tag": release.version.tag,
                "targets": targets.iter().map(Target::name).collect::<Vec<_>>(),
            },
            "internalParameters": { "targets": targets.iter().map(how).collect::<Vec<_>>() },
            "resolvedDependencies": materials(release, targets, origin)?,
        },
        "runDetails": { "builder": { "id": origin.builder } },
    });
    let statement = Statement::new(subjects(release.dir)?, PREDICATE, predicate);
    let mut text =
        serde_json::to_string_pretty(&statement).context("could not write the provenance")?;
    text.push('\n');
    release.write(&release.name("provenance.json"), text)
}

fn subjects(dir: &Path) -> anyhow::Result<Vec<Subject>> {
    let sums = checksums::of_folder(dir)?;
    let subject = |(name, sum): (String, String)| {
        let hash = Sha256Hash::from_hex(&sum).context("a checksum is none")?;
        Ok(Subject::new(name, Digest::sha256(hash)))
    };
    sums.into_iter().map(subject).collect()
}

/// How the programs of `target` were built.
fn how(target: &Target) -> Value {
    let build = &target.build;
    json!({
        "target": build.target,
        "profile": build.profile,
        "rustflags": build.rustflags,
        "linker": build.linker,
        "command": build.command,
    })
}

/// The commit, the locked dependencies, and the compilers.
fn materials(
    release: &Release<'_>,
    targets: &[Target],
    origin: &Origin<'_>,
) -> anyhow::Result<Vec<Value>> {
    let version = release.version;
    let mut source = json!({ "name": "source", "digest": { "gitCommit": version.commit } });
    if let Some(repository) = origin.repository {
        let at = version.tag.as_ref().map_or_else(String::new, |tag| format!("@refs/tags/{tag}"));
        source["uri"] = json!(format!("git+{repository}{at}"));
    }
    if version.dirty {
        source["annotations"] = json!({ "dirty": true });
    }
    let lock = checksums::of_file(&release.workspace.root.join("Cargo.lock"))?;
    let mut all = vec![source, json!({ "name": "Cargo.lock", "digest": { "sha256": lock } })];
    all.extend(compilers(targets));
    Ok(all)
}

/// Each compiler once, by what it says of itself.
fn compilers(targets: &[Target]) -> Vec<Value> {
    let distinct: BTreeSet<_> = targets.iter().map(|it| it.build.toolchain.as_str()).collect();
    let material = |toolchain: &str| {
        let said = |key: &str| {
            toolchain.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim()
        };
        let mut compiler = json!({
            "name": "rustc",
            "uri": format!("pkg:generic/rustc@{}", said("release:")),
            "annotations": { "verbose-version": toolchain },
        });
        let commit = said("commit-hash:");
        if commit.len() == 40 {
            compiler["digest"] = json!({ "gitCommit": commit });
        }
        compiler
    };
    distinct.into_iter().map(material).collect()
}
