//! Who never depends on whom, and that versions stand in one place.

use anyhow::Context as _;
use serde::Deserialize;
use xshell::cmd;

use super::{Document, Finding};
use crate::workspace::Workspace;

/// The crate in `folder` never depends on `never`.
struct Rule {
    folder: &'static str,
    never: &'static [&'static str],
}

/// Whatever a crate of ours is called.
const OURS: &str = "fleetd-";

const RULES: &[Rule] = &[
    Rule { folder: "wire", never: &[OURS, "tokio", "sqlx", "axum", "reqwest", "clap", "anyhow"] },
    Rule {
        folder: "packager",
        never: &[
            "fleetd-update",
            "fleetd-server",
            "fleetd-agent",
            "tokio",
            "reqwest",
            "clap",
            "anyhow",
        ],
    },
    Rule { folder: "update", never: &["fleetd-packager", "fleetd-wire", "clap", "anyhow"] },
    Rule { folder: "server", never: &["fleetd-packager", "fleetd-update", "fleetd-agent"] },
    Rule { folder: "agent", never: &["fleetd-packager", "fleetd-server", "fleetd-fleetctl"] },
    Rule { folder: "fleetctl", never: &["fleetd-server", "fleetd-agent", "sqlx", "axum"] },
    Rule { folder: "xtask", never: &[OURS] },
];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// None for ordinary dependencies, else `dev` or `build`.
    kind: Option<String>,
}

pub(super) fn check(workspace: &Workspace, documents: &[Document]) -> anyhow::Result<Vec<Finding>> {
    let sh = &workspace.sh;
    let json = cmd!(sh, "cargo metadata --format-version 1 --no-deps --offline").quiet().read()?;
    let metadata = serde_json::from_str(&json).context("could not read cargo's metadata")?;
    let mut findings = dependencies(&metadata);
    for document in documents.iter().filter(|document| document.path.ends_with("/Cargo.toml")) {
        findings.extend(versions(&document.path, document.text.as_deref().unwrap_or_default())?);
    }
    Ok(findings)
}

fn dependencies(metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in RULES {
        let manifest = format!("{}/Cargo.toml", rule.folder);
        let ours = metadata.packages.iter().filter(|p| p.manifest_path.ends_with(&manifest));
        for dependency in ours.flat_map(|package| &package.dependencies) {
            if rule.never.iter().any(|name| is_forbidden(dependency, name)) {
                let problem = format!("depends on `{}`, which it never does", dependency.name);
                findings.push(Finding::new(&manifest, problem));
            }
        }
    }
    findings
}

/// Tests may use any crate that is not ours.
fn is_forbidden(dependency: &Dependency, name: &str) -> bool {
    let of_tests = dependency.kind.as_deref() == Some("dev");
    match name {
        OURS => dependency.name.starts_with(OURS),
        _ => dependency.name == name && (!of_tests || name.starts_with(OURS)),
    }
}

/// Every dependency comes from the workspace, where its version stands.
fn versions(path: &str, text: &str) -> anyhow::Result<Vec<Finding>> {
    let manifest: toml::Table = text.parse().with_context(|| format!("could not read `{path}`"))?;
    let mut findings = Vec::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(table) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
        let strays = table.iter().filter(|(_, value)| value.get("workspace").is_none());
        for (name, _) in strays {
            let problem = format!("`{name}`: its version belongs in the workspace's Cargo.toml");
            findings.push(Finding::new(path, problem));
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(folder: &str, name: &str, kind: Option<&str>) -> Metadata {
        let dependency = Dependency { name: name.into(), kind: kind.map(str::to_owned) };
        let manifest_path = format!("/checkout/{folder}/Cargo.toml");
        Metadata { packages: vec![Package { manifest_path, dependencies: vec![dependency] }] }
    }

    #[test]
    fn forbidden_dependencies_are_found() {
        for (folder, name) in
            [("packager", "tokio"), ("agent", "fleetd-packager"), ("xtask", "fleetd-wire")]
        {
            assert_eq!(dependencies(&metadata(folder, name, None)).len(), 1, "{folder} {name}");
        }
        assert_eq!(dependencies(&metadata("agent", "fleetd-server", Some("dev"))).len(), 1);
    }

    #[test]
    fn other_dependencies_are_not() {
        assert!(dependencies(&metadata("agent", "tokio", None)).is_empty());
        assert!(dependencies(&metadata("packager", "tokio", Some("dev"))).is_empty());
    }

    #[test]
    fn versions_outside_the_workspace_are_found() {
        let text = "[dependencies]\nserde = \"1\"\nurl.workspace = true\n[dev-dependencies]\nhex = { version = \"1\" }\n";
        assert_eq!(versions("wire/Cargo.toml", text).unwrap().len(), 2);
    }
}
