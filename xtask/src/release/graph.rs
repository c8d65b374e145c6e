//! What is linked into a program: the crates that cargo resolves for its package, its target and
//! their features, without what only builds or tests it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use spdx::{Expression, ParseMode};
use xshell::cmd;

use crate::{
    lockfile::{Locked, Lockfile},
    workspace::Workspace,
};

/// Name and version; no two crates of a program share both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) name: String,
    pub(super) version: String,
}

/// What is known about a crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Crate {
    /// An SPDX expression; None if the crate names none.
    pub(super) license: Option<String>,
    pub(super) repository: Option<String>,
    /// SHA-256 of what the registry serves; None for crates of this workspace.
    pub(super) checksum: Option<String>,
}

/// Crates and what each of them uses.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) crates: BTreeMap<Id, Crate>,
    pub(super) uses: BTreeMap<Id, BTreeSet<Id>>,
}

/// What cargo knows about crates before it resolves anything.
#[derive(Debug)]
pub(super) struct Catalogue {
    /// By name of the program.
    packages: BTreeMap<String, Id>,
    checksums: BTreeMap<Id, String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    targets: Vec<CargoTarget>,
}

#[derive(Debug, Deserialize)]
struct CargoTarget {
    name: String,
    kind: Vec<String>,
}

impl Catalogue {
    pub(super) fn read(workspace: &Workspace) -> anyhow::Result<Self> {
        let sh = &workspace.sh;
        let json =
            cmd!(sh, "cargo metadata --format-version 1 --no-deps --locked").quiet().read()?;
        let metadata: Metadata =
            serde_json::from_str(&json).context("could not read cargo's metadata")?;
        let lock = Lockfile::read(workspace)?;
        let checksum = |it: Locked| Some((Id { name: it.name, version: it.version }, it.checksum?));
        Ok(Self {
            packages: metadata.packages.into_iter().flat_map(programs).collect(),
            checksums: lock.package.into_iter().filter_map(checksum).collect(),
        })
    }

    /// The package that the program `name` is built from.
    pub(super) fn package(&self, name: &str) -> anyhow::Result<&Id> {
        self.packages.get(name).with_context(|| format!("no package has a program `{name}`"))
    }

    /// What is linked into a program of `package` for `target`.
    pub(super) fn graph(
        &self,
        workspace: &Workspace,
        package: &Id,
        target: &str,
    ) -> anyhow::Result<Graph> {
        let sh = &workspace.sh;
        let (name, format) = (&package.name, "{p}|{l}|{r}|");
        let tree = cmd!(
            sh,
            "cargo tree --locked --package {name} --target {target} --edges normal,no-proc-macro
             --prefix depth --format {format}"
        );
        let mut graph = Graph::default();
        let mut path: Vec<Id> = Vec::new();
        for line in tree.quiet().ignore_stderr().read()?.lines().filter(|line| !line.is_empty()) {
            let (depth, id, mut about) =
                node(line).with_context(|| format!("could not understand `{line}`"))?;
            about.checksum = self.checksums.get(&id).cloned();
            path.truncate(depth);
            if let Some(parent) = path.last() {
                graph.uses.entry(parent.clone()).or_default().insert(id.clone());
            }
            graph.crates.insert(id.clone(), about);
            path.push(id);
        }
        if graph.crates.is_empty() {
            bail!("cargo knows nothing of what `{name}` uses");
        }
        Ok(graph)
    }
}

impl Graph {
    /// Adds what `other` has.
    pub(super) fn absorb(&mut self, other: Self) {
        self.crates.extend(other.crates);
        for (id, uses) in other.uses {
            self.uses.entry(id).or_default().extend(uses);
        }
    }
}

fn programs(package: Package) -> Vec<(String, Id)> {
    let id = Id { name: package.name, version: package.version };
    let is_program = |target: &CargoTarget| target.kind.iter().any(|kind| kind == "bin");
    let programs = package.targets.into_iter().filter(is_program);
    programs.map(|target| (target.name, id.clone())).collect()
}

/// Reads `2serde v1.0.229 (origin)|MIT|https://…| (*)`: depth, crate, and what is said of it.
fn node(line: &str) -> Option<(usize, Id, Crate)> {
    let digits = line.find(|letter: char| !letter.is_ascii_digit())?;
    let (depth, rest) = line.split_at(digits);
    let mut parts = rest.split('|');
    let mut words = parts.next()?.split(' ');
    let name = words.next()?.to_owned();
    let version = words.next()?.strip_prefix('v')?.to_owned();
    let license = parts.next()?;
    let repository = Some(parts.next()?).filter(|url| !url.is_empty());
    let about = Crate {
        license: expression(license),
        repository: repository.map(str::to_owned),
        checksum: None,
    };
    Some((depth.parse().ok()?, Id { name, version }, about))
}

/// `MIT/Apache-2.0`, which older crates say, as `MIT OR Apache-2.0`.
fn expression(license: &str) -> Option<String> {
    let license = Expression::canonicalize(license).ok().flatten().unwrap_or(license.to_owned());
    Expression::parse_mode(&license, ParseMode::STRICT).is_ok().then_some(license)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_tree_is_read() {
        let line = "12thiserror v2.0.21|MIT/Apache-2.0|https://github.com/dtolnay/thiserror| (*)";
        let (depth, id, about) = node(line).unwrap();
        assert_eq!((depth, id.name.as_str(), id.version.as_str()), (12, "thiserror", "2.0.21"));
        assert_eq!(about.license.as_deref(), Some("MIT OR Apache-2.0"));
        assert_eq!(about.repository.as_deref(), Some("https://github.com/dtolnay/thiserror"));
    }

    #[test]
    fn a_crate_that_names_no_licence_has_none() {
        let (_, _, about) = node("0x v1.0.0 (/checkout/x)||").unwrap();
        assert_eq!((about.license, about.repository), (None, None));
    }
}
