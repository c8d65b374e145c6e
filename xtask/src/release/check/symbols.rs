//! What the linker left of each crate, compared with the bill of materials.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use xshell::cmd;

use super::Specimen;
use crate::{release::graph::Catalogue, workspace::Programs};

/// Crates of the standard library, and what the compiler makes up.
const STANDARD: &[&str] = &[
    "addr2line",
    "adler2",
    "alloc",
    "compiler_builtins",
    "core",
    "gimli",
    "hashbrown",
    "memchr",
    "miniz_oxide",
    "object",
    "panic_unwind",
    "rustc_demangle",
    "std",
    "std_detect",
];

impl Specimen<'_> {
    /// A crate whose functions are in a program is in the bill of materials.
    pub(super) fn check_symbols(&self) -> anyhow::Result<()> {
        let bill = fs::read_to_string(self.release.join(format!("{}.cdx.json", self.stem()?)))?;
        let bill: Value = serde_json::from_str(&bill)?;
        let components = bill["components"].as_array().context("it lists no components")?;
        let named: BTreeSet<_> =
            components.iter().filter_map(|it| it["name"].as_str()).map(plain).collect();
        let Programs { fleetctl, server, .. } = &self.programs;
        for (name, path) in [("fleetctl", fleetctl), ("fleet-server", server)] {
            let linked = self.linked(path)?;
            let dynamic = self.only_if_linked_dynamically(name)?;
            let missing: Vec<_> = linked
                .difference(&named)
                .filter(|name| !STANDARD.iter().any(|it| plain(it) == **name))
                .filter(|name| !dynamic.contains(*name))
                .collect();
            ensure!(linked.len() > 50, "nm shows {} crates of {name}: {linked:?}", linked.len());
            ensure!(missing.is_empty(), "of {name}, not in the bill of materials: {missing:?}");
        }
        Ok(())
    }

    /// The crates whose functions are in the program at `path`.
    fn linked(&self, path: &Path) -> anyhow::Result<BTreeSet<String>> {
        let sh = &self.workspace.sh;
        let symbols = cmd!(sh, "nm --defined-only --format=just-symbols {path}");
        let symbols = symbols.quiet().ignore_stderr().read()?;
        Ok(symbols.lines().filter_map(krate).map(plain).collect())
    }

    /// What the program that stands in for a static one has beyond it: tests build for glibc.
    fn only_if_linked_dynamically(&self, program: &str) -> anyhow::Result<BTreeSet<String>> {
        let catalogue = Catalogue::read(self.workspace)?;
        let package = catalogue.package(program)?;
        let names = |libc: &str| {
            let triple = format!("{}-unknown-linux-{libc}", std::env::consts::ARCH);
            let graph = catalogue.graph(self.workspace, package, &triple)?;
            anyhow::Ok(graph.crates.into_keys().map(|id| plain(&id.name)).collect::<BTreeSet<_>>())
        };
        Ok(names("gnu")?.difference(&names("musl")?).cloned().collect())
    }
}

/// The crate in a mangled symbol such as `_ZN9aws_lc_rs6buffer…`. None if it begins with a type.
fn krate(symbol: &str) -> Option<&str> {
    let rest = symbol.strip_prefix("_ZN")?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
    let name = rest[digits..].get(..rest[..digits].parse().ok()?)?;
    (!name.starts_with('_')).then_some(name)
}

/// What a package and the crate in it have in common: `md-5` and `md5`, `fleetd-wire` and `wire`.
fn plain(name: &str) -> String {
    match name {
        "rustls-webpki" => "webpki".to_owned(),
        _ => name.trim_start_matches("fleetd-").replace(['-', '_'], ""),
    }
}
