//! Who never mentions what, below the level of crates (ARCHITECTURE.md says why).

use std::collections::BTreeSet;

use anyhow::Context as _;

use super::{
    Document, Finding,
    source::{self, Mention},
};

/// Files below `within` (a module's file and folder) never mention what is in `never`.
struct Rule {
    within: &'static [&'static str],
    never: &'static [&'static str],
    because: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        within: &["packager/src/archive"],
        never: &["crate::format", "crate::tree", "crate::spec", "crate::package"],
        because: "containers have never heard of packages",
    },
    Rule {
        within: &["packager/src/tree", "packager/src/package", "packager/src/layout"],
        never: &["crate::format", "crate::sign", "crate::archive"],
        because: "what is installed does not depend on how it is packed",
    },
    Rule {
        within: &["packager/src"],
        never: &[
            "std::env",
            "std::time::SystemTime::now",
            "std::time::Instant::now",
            "jiff::Timestamp::now",
            "jiff::Zoned::now",
            "tokio",
            "reqwest",
        ],
        because: "the same inputs give the same bytes",
    },
    Rule {
        within: &["server/src/fleet"],
        never: &[
            "axum",
            "axum_extra",
            "axum_server",
            "cookie",
            "headers",
            "http",
            "hyper",
            "tower_http",
            "crate::http",
        ],
        because: "what the server can do knows no HTTP",
    },
    Rule {
        within: &["server/src/http"],
        never: &["sqlx", "crate::fleet::store"],
        because: "only the store speaks SQL",
    },
    Rule {
        within: &[
            "agent/src/machine",
            "agent/src/updater/clock",
            "agent/src/updater/judge",
            "agent/src/updater/ledger",
        ],
        never: &[
            "tokio",
            "reqwest",
            "std::fs",
            "std::env",
            "std::process",
            "std::time::Instant::now",
            "std::time::SystemTime::now",
            "jiff::Timestamp::now",
            "jiff::Zoned::now",
        ],
        because: "what is decided is decided without a clock and I/O",
    },
];

/// What no library mentions: these belong to programs.
const NEVER_IN_LIBRARIES: &[&str] =
    &["anyhow", "clap", "print!", "println!", "eprint!", "eprintln!", "dbg!"];

/// Crates that are libraries, or have one beside their programs.
const LIBRARIES: &[&str] = &["wire", "packager", "update", "agent", "server"];

/// Paths that a file never mentions, and why.
struct Ban {
    never: Vec<String>,
    because: &'static str,
}

impl Ban {
    fn new(never: &[&str], because: &'static str) -> Self {
        Self { never: never.iter().map(|path| (*path).to_owned()).collect(), because }
    }
}

pub(super) fn check(documents: &[Document]) -> anyhow::Result<Vec<Finding>> {
    let formats = formats(documents);
    let programs = program_files(documents)?;
    let mut findings = Vec::new();
    for document in documents {
        let Some((krate, module)) = module_of(&document.path) else { continue };
        let mut bans = bans(&document.path);
        if LIBRARIES.contains(&krate) && !is_within_any(&document.path, &programs) {
            bans.push(Ban::new(NEVER_IN_LIBRARIES, "that is for programs, this is a library"));
        }
        bans.extend(foreign_formats(krate, &module, &formats));
        let text = document.text.as_deref().unwrap_or_default();
        let mentions = source::mentions(text, &module)
            .with_context(|| format!("could not read `{}`", document.path))?;
        findings.extend(broken(&document.path, &mentions, &bans));
    }
    Ok(findings)
}

/// Rules about modules that are not there, or that ban such: they keep nothing.
pub(super) fn idle_rules(documents: &[Document]) -> Vec<Finding> {
    let is_there =
        |module: &String| documents.iter().any(|document| is_within(&document.path, module));
    let modules: BTreeSet<_> = RULES.iter().flat_map(named_modules).collect();
    let missing = modules.into_iter().filter(|module| !is_there(module));
    missing
        .map(|module| Finding::new(module, "a rule of tidy names it, but it is not there"))
        .collect()
}

/// The modules that `rule` is about and those of ours that it bans, by their files.
fn named_modules(rule: &Rule) -> Vec<String> {
    let source = |within: &str| within.split_once("/src").map(|(krate, _)| format!("{krate}/src"));
    let banned = |path: &&str| {
        let module = path.strip_prefix("crate::")?.replace("::", "/");
        Some(format!("{}/{module}", source(rule.within.first()?)?))
    };
    let within = rule.within.iter().map(|module| (*module).to_owned());
    within.chain(rule.never.iter().filter_map(banned)).collect()
}

/// The bans of [`RULES`] for the file at `path`.
fn bans(path: &str) -> Vec<Ban> {
    let applies = |rule: &&Rule| rule.within.iter().any(|module| is_within(path, module));
    RULES.iter().filter(applies).map(|rule| Ban::new(rule.never, rule.because)).collect()
}

fn broken(path: &str, mentions: &[Mention], bans: &[Ban]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ban in bans {
        let is_banned = |mention: &&Mention| ban.never.iter().any(|prefix| mention.is_in(prefix));
        for mention in mentions.iter().filter(is_banned) {
            let problem = format!("mentions `{}`: {}", mention.text(), ban.because);
            findings.push(Finding::at(path, mention.line, problem));
        }
    }
    findings
}

/// The crate's folder and module path of a source file: `agent/src/machine/running.rs` →
/// `agent`, `[machine, running]`. None for what is no source of a crate.
fn module_of(path: &str) -> Option<(&str, Vec<String>)> {
    let (krate, rest) = path.split_once("/src/")?;
    let module = rest.strip_suffix(".rs")?;
    if krate.contains('/') {
        return None;
    }
    let root = matches!(module, "lib" | "main");
    let segments = if root { Vec::new() } else { module.split('/').map(str::to_owned).collect() };
    Some((krate, segments))
}

/// Tells whether the file `path` is the module `module` or lies below it.
fn is_within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn is_within_any(path: &str, modules: &[String]) -> bool {
    modules.iter().any(|module| is_within(path, module))
}

/// Names of the modules in `packager::format`.
fn formats(documents: &[Document]) -> BTreeSet<String> {
    let inside = |document: &Document| {
        let (krate, module) = module_of(&document.path)?;
        (krate == "packager" && module.len() > 1 && module[0] == "format")
            .then(|| module[1].clone())
    };
    documents.iter().filter_map(inside).collect()
}

/// For a file of one format: all others.
fn foreign_formats(krate: &str, module: &[String], formats: &BTreeSet<String>) -> Option<Ban> {
    let own = module.get(1).filter(|_| krate == "packager" && module[0] == "format")?;
    let others = formats.iter().filter(|name| *name != own);
    let never = others.map(|name| format!("crate::format::{name}")).collect();
    Some(Ban { never, because: "what formats share goes to `archive`" })
}

/// Modules that belong to a program, not to the library beside it: `main.rs` and what it declares,
/// and what lies in `bin`.
fn program_files(documents: &[Document]) -> anyhow::Result<Vec<String>> {
    let mut files = Vec::new();
    for document in documents.iter().filter(|document| document.path.ends_with("/src/main.rs")) {
        let stem = document.path.trim_end_matches("main.rs");
        files.push(format!("{stem}main"));
        let modules = source::declared_modules(document.text.as_deref().unwrap_or_default())
            .with_context(|| format!("could not read `{}`", document.path))?;
        files.extend(modules.into_iter().map(|module| format!("{stem}{module}")));
    }
    let binaries = documents.iter().filter(|document| document.path.contains("/src/bin/"));
    files.extend(binaries.map(|document| document.path.trim_end_matches(".rs").to_owned()));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::sample::document;

    fn problems(path: &str, text: &str) -> usize {
        let checkout = [
            document("packager/src/format/deb.rs", ""),
            document("packager/src/format/rpm.rs", ""),
            document("server/src/main.rs", "mod args;"),
            document(path, text),
        ];
        check(&checkout).unwrap().len()
    }

    #[test]
    fn archives_know_no_packages() {
        assert_eq!(problems("packager/src/archive/ar.rs", "use crate::tree::FileTree;"), 1);
        assert_eq!(problems("packager/src/archive/ar.rs", "use super::cpio;"), 0);
    }

    #[test]
    fn trees_know_no_formats() {
        assert_eq!(problems("packager/src/tree.rs", "use crate::{format, archive::ar};"), 2);
        assert_eq!(problems("packager/src/layout/linux.rs", "fn f() { crate::sign::x() }"), 1);
    }

    #[test]
    fn formats_do_not_know_each_other() {
        let own = "use super::{Format, rpm}; use crate::format::deb::ar;";
        assert_eq!(problems("packager/src/format/deb/control.rs", own), 0);
        assert_eq!(problems("packager/src/format/deb.rs", own), 1);
        assert_eq!(problems("packager/src/format/rpm.rs", "use super::deb::Tar;"), 1);
    }

    #[test]
    fn the_packager_has_no_clock() {
        let text = "use std::time::SystemTime; fn f() -> SystemTime { SystemTime::now() }";
        assert_eq!(problems("packager/src/layout.rs", text), 1);
    }

    #[test]
    fn the_fleet_knows_no_http() {
        assert_eq!(problems("server/src/fleet/devices.rs", "use axum::Json;"), 1);
        assert_eq!(problems("server/src/http/api.rs", "use axum::Json;"), 0);
        assert_eq!(problems("server/src/http/api.rs", "fn f() { sqlx::query(q); }"), 1);
    }

    #[test]
    fn the_state_machine_does_no_io() {
        let text =
            "use std::time::Instant; fn f(now: Instant) { Instant::now(); std::fs::read(p); }";
        assert_eq!(problems("agent/src/machine/running.rs", text), 2);
    }

    #[test]
    fn rules_about_nothing_are_found() {
        let all = idle_rules(&[]).len();
        assert!(all > RULES.len());
        let one = document("packager/src/archive/ar.rs", "");
        // It is in `archive`, and in the crate.
        assert_eq!(idle_rules(&[one]).len(), all - 2);
        // `sign` is only ever banned.
        let other = document("packager/src/sign.rs", "");
        assert_eq!(idle_rules(&[other]).len(), all - 2);
    }

    #[test]
    fn libraries_leave_programs_their_own() {
        assert_eq!(
            problems("server/src/fleet.rs", "fn f() -> anyhow::Result<()> { println!() }"),
            2
        );
        assert_eq!(
            problems("server/src/args.rs", "fn f() -> anyhow::Result<()> { println!() }"),
            0
        );
        assert_eq!(problems("fleetctl/src/cli.rs", "use clap::Parser;"), 0);
    }
}
