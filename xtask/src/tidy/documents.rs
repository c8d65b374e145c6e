//! Documents: which there are, how long the map may be, and that links lead somewhere.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use super::{Document, Finding};

/// Documents that every checkout has.
const REQUIRED: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "deny.toml",
    ".ci/run",
    "docs/acceptance.md",
    "docs/cli.md",
    "docs/openapi.json",
    "docs/permissions.md",
];

/// Lines of the map.
const MAX_MAP: usize = 200;

pub(super) fn check(documents: &[Document]) -> Vec<Finding> {
    let files: BTreeSet<_> = documents.iter().map(|document| document.path.as_str()).collect();
    let missing = REQUIRED.iter().filter(|path| !files.contains(**path));
    let mut findings: Vec<_> = missing.map(|path| Finding::new(*path, "is missing")).collect();
    for document in documents.iter().filter(|document| document.path.ends_with(".md")) {
        let text = document.text.as_deref().unwrap_or_default();
        if document.path == "ARCHITECTURE.md" && text.lines().count() > MAX_MAP {
            findings.push(Finding::new(&document.path, format!("has more than {MAX_MAP} lines")));
        }
        findings.extend(dead_links(document, text, &files));
    }
    findings
}

fn dead_links(document: &Document, text: &str, files: &BTreeSet<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut code = false;
    for (number, line) in (1..).zip(text.lines()) {
        code ^= line.trim_start().starts_with("```");
        if code {
            continue;
        }
        for link in links(line) {
            if !leads_somewhere(&document.path, link, files) {
                let problem = format!("`{link}` leads nowhere");
                findings.push(Finding::at(&document.path, number, problem));
            }
        }
    }
    findings
}

/// Where the inline links `[…](target)` of a line lead.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link))
}

fn leads_somewhere(from: &str, link: &str, files: &BTreeSet<&str>) -> bool {
    let path = link.split('#').next().unwrap_or_default();
    if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
        return true;
    }
    let target = resolve(Path::new(from).parent().unwrap_or(Path::new("")), path);
    let folder = format!("{target}/");
    files.contains(target.as_str()) || files.iter().any(|file| file.starts_with(&folder))
}

fn resolve(base: &Path, link: &str) -> String {
    let mut path = PathBuf::new();
    for part in base.join(link).components() {
        match part {
            Component::ParentDir => _ = path.pop(),
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::sample::document;

    fn problems(sample: Document) -> Vec<String> {
        let required = REQUIRED.iter().filter(|path| **path != sample.path);
        let mut all: Vec<_> = required.map(|path| document(path, "")).collect();
        all.push(sample);
        check(&all).into_iter().map(|finding| finding.problem).collect()
    }

    #[test]
    fn links_to_files_folders_and_the_web_pass() {
        let text = "[a](../README.md#x) [b](cli.md) [c](https://example.com/x) [d](#here)\n```\n[x](y)\n```";
        assert_eq!(problems(document("docs/packages.md", text)), [""; 0]);
    }

    #[test]
    fn dead_links_are_found() {
        let text = "[a](docs/nothing.md)";
        assert_eq!(problems(document("README.md", text)), ["`docs/nothing.md` leads nowhere"]);
    }

    #[test]
    fn a_long_map_is_found() {
        assert_eq!(problems(document("ARCHITECTURE.md", &"x\n".repeat(201))).len(), 1);
    }

    #[test]
    fn missing_documents_are_found() {
        assert_eq!(check(&[]).len(), REQUIRED.len());
    }
}
