//! Licences, sources and bans of dependencies, as `deny.toml` has them.
//!
//! The file is cargo-deny's, and `cargo deny check` reads it, too. Compiling cargo-deny takes longer
//! than everything else that is checked here together, so its rules that need no network are read
//! by this module.

use std::{collections::BTreeSet, fs};

use anyhow::Context as _;
use serde::Deserialize;
use spdx::{Expression, ParseMode};
use xshell::cmd;

use super::Finding;
use crate::{
    lockfile::{Locked, Lockfile},
    workspace::Workspace,
};

/// The parts of `deny.toml` that are kept here.
#[derive(Debug, Deserialize)]
struct Policy {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

/// A crate that is compiled.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Compiled {
    name: String,
    version: String,
    /// Empty if the crate names none.
    license: String,
}

pub(super) fn check(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let policy = policy(workspace)?;
    let lock = Lockfile::read(workspace)?;
    let mut compiled = BTreeSet::new();
    for target in &policy.graph.targets {
        compiled.extend(compiled_for(workspace, target)?);
    }
    let mut findings = foreign_sources(&policy, &lock);
    findings.extend(compiled.iter().flat_map(|krate| problems(&policy, krate)));
    Ok(findings)
}

fn policy(workspace: &Workspace) -> anyhow::Result<Policy> {
    let problem = "could not read `deny.toml`";
    let text = fs::read_to_string(workspace.root.join("deny.toml")).context(problem)?;
    toml::from_str(&text).context(problem)
}

/// What is compiled for `target`: less than Cargo.lock names, as features and platforms decide.
fn compiled_for(workspace: &Workspace, target: &str) -> anyhow::Result<Vec<Compiled>> {
    let sh = &workspace.sh;
    let format = "{p}|{l}|";
    let tree = cmd!(
        sh,
        "cargo tree --workspace --locked --target {target} --prefix none --format {format}"
    );
    let listing = tree.quiet().ignore_stderr().read()?;
    listing
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| compiled(line).with_context(|| format!("could not read `{line}`")))
        .collect()
}

/// Reads `name v1.2.3 (origin)|license|`.
fn compiled(line: &str) -> Option<Compiled> {
    let mut parts = line.split('|');
    let mut words = parts.next()?.split(' ');
    let name = words.next()?.to_owned();
    let version = words.next()?.strip_prefix('v')?.to_owned();
    Some(Compiled { name, version, license: parts.next()?.to_owned() })
}

fn problems(policy: &Policy, krate: &Compiled) -> Vec<Finding> {
    let place = format!("{} {}", krate.name, krate.version);
    let mut findings = Vec::new();
    if !is_allowed(policy, &krate.license) {
        let problem = format!("its licence `{}` is not allowed by deny.toml", krate.license);
        findings.push(Finding::new(&place, problem));
    }
    if let Some(ban) = policy.bans.deny.iter().find(|ban| ban.name == krate.name) {
        findings.push(Finding::new(&place, format!("is banned by deny.toml: {}", ban.reason)));
    }
    findings
}

fn foreign_sources(policy: &Policy, lock: &Lockfile) -> Vec<Finding> {
    let registries = &policy.sources.allow_registry;
    let allowed = |source: &str| registries.iter().any(|name| source == format!("registry+{name}"));
    let foreign = |krate: &Locked| {
        let source = krate.source.as_deref().filter(|source| !allowed(source))?;
        let place = format!("{} {}", krate.name, krate.version);
        Some(Finding::new(place, format!("comes from `{source}`")))
    };
    lock.package.iter().filter_map(foreign).collect()
}

fn is_allowed(policy: &Policy, license: &str) -> bool {
    Expression::parse_mode(license, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|required| policy.licenses.allow.contains(&required.to_string()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
        graph.targets = []
        licenses.allow = ["MIT", "ISC", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
        bans.deny = [{ crate = "openssl", reason = "one crypto backend" }]
        sources.allow-registry = ["https://registry.example/index"]
    "#;

    fn policy() -> Policy {
        toml::from_str(POLICY).unwrap()
    }

    fn found(line: &str) -> usize {
        problems(&policy(), &compiled(line).unwrap()).len()
    }

    #[test]
    fn allowed_licenses_pass() {
        for line in [
            "a v1.0.0|MIT|",
            "a v1.0.0 (proc-macro)|MIT OR GPL-3.0|",
            "a v1.0.0|ISC AND (MIT OR GPL-3.0-only)|",
            "a v1.0.0|Apache-2.0 WITH LLVM-exception| (*)",
            "a v1.0.0|MIT/Apache-2.0|",
        ] {
            assert_eq!(found(line), 0, "{line}");
        }
    }

    #[test]
    fn other_licenses_are_found() {
        for license in ["", "GPL-3.0-only", "MIT AND GPL-2.0", "what?"] {
            assert_eq!(found(&format!("a v1.0.0|{license}|")), 1, "{license:?}");
        }
    }

    #[test]
    fn banned_crates_are_found() {
        assert_eq!(found("openssl v0.10.0|MIT|"), 1);
    }

    #[test]
    fn foreign_sources_are_found() {
        let lock = |source: &str| {
            let text = format!("[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n{source}");
            foreign_sources(&policy(), &toml::from_str(&text).unwrap()).len()
        };
        assert_eq!(lock(""), 0);
        assert_eq!(lock("source = \"registry+https://registry.example/index\""), 0);
        assert_eq!(lock("source = \"git+https://git.example/x\""), 1);
    }
}
