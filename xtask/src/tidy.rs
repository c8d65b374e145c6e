//! `cargo xtask tidy`: the rules of this repository that no compiler keeps. `cargo test` runs it,
//! too.

mod asvs;
mod documents;
mod imports;
mod licenses;
mod manifests;
pub(crate) mod rows;
mod source;
mod text;

use std::{fs, path::Path};

use anyhow::{Context as _, bail};

use crate::{terminal, workspace::Workspace};

/// A place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Where: `path` or `path:line`.
    place: String,
    /// What is wrong, and what to do.
    problem: String,
}

impl Finding {
    fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }

    fn at(path: &str, line: usize, problem: impl Into<String>) -> Self {
        Self::new(format!("{path}:{line}"), problem)
    }
}

/// A file under version control.
#[derive(Debug)]
struct Document {
    /// Relative to the checkout's root, with `/`.
    path: String,
    /// Size in bytes.
    size: u64,
    /// None if it is not UTF-8.
    text: Option<String>,
}

/// Checks the checkout; fails with all findings printed.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let documents = read(workspace)?;
    let mut findings = text::check(&documents);
    findings.extend(imports::check(&documents)?);
    findings.extend(imports::idle_rules(&documents));
    findings.extend(documents::check(&documents));
    findings.extend(rows::check(&documents));
    findings.extend(asvs::check(&documents));
    findings.extend(manifests::check(workspace, &documents)?);
    findings.extend(licenses::check(workspace)?);
    findings.sort();
    findings.dedup();
    for finding in &findings {
        terminal::line(&format!("{}: {}", finding.place, finding.problem));
    }
    if !findings.is_empty() {
        bail!("{} findings in {} files", findings.len(), documents.len());
    }
    terminal::line(&format!("{} files are tidy", documents.len()));
    Ok(())
}

fn read(workspace: &Workspace) -> anyhow::Result<Vec<Document>> {
    workspace.files()?.iter().map(|path| read_one(&workspace.root, path)).collect()
}

fn read_one(root: &Path, path: &Path) -> anyhow::Result<Document> {
    let bytes = fs::read(root.join(path))
        .with_context(|| format!("could not read `{}`", path.display()))?;
    Ok(Document {
        path: path.to_string_lossy().into_owned(),
        size: bytes.len() as u64,
        text: String::from_utf8(bytes).ok(),
    })
}

#[cfg(test)]
mod sample {
    use super::Document;

    /// A document as if it were in the checkout.
    pub(super) fn document(path: &str, text: &str) -> Document {
        Document { path: path.into(), size: text.len() as u64, text: Some(text.into()) }
    }
}
