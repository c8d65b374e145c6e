//! `SHA256SUMS`, and the files that it names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::Context as _;
use serde::Serialize;

use super::{Check, Scope};
use crate::digest::sha256;

/// The file with the checksums.
pub(super) const NAME: &str = "SHA256SUMS";

/// SHA-256 in lower-case hexadecimal digits, by the name of a file.
#[derive(Debug)]
pub(super) struct Sums(BTreeMap<String, String>);

/// A file of the release, or one that should be.
#[derive(Debug, Serialize)]
pub(super) struct File {
    pub(super) name: String,
    /// What it has, if it is there.
    sha256: Option<String>,
    pub(super) state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Ok,
    /// Its hash is not the one that was signed.
    Changed,
    /// It is part of the release and not there.
    Missing,
    /// It is there and no part of the release.
    Unknown,
}

impl Sums {
    /// Reads `<sum>  <name>` lines. A check comes along if that fails.
    pub(super) fn parse(text: &[u8]) -> (Option<Check>, Option<Self>) {
        let mut sums = BTreeMap::new();
        let mut problems = Vec::new();
        for (number, line) in (1..).zip(String::from_utf8_lossy(text).lines()) {
            match parsed(line) {
                Some((name, _)) if sums.contains_key(name) => {
                    problems.push(format!("{NAME} has `{name}` twice"));
                }
                Some((name, sum)) => _ = sums.insert(name.to_owned(), sum.to_owned()),
                None => problems.push(format!("{NAME} has no checksum in line {number}")),
            }
        }
        if sums.is_empty() && problems.is_empty() {
            problems.push(format!("{NAME} names no file"));
        }
        if problems.is_empty() {
            return (None, Some(Self(sums)));
        }
        (Some(Check::new("checksums", problems, "")), None)
    }

    pub(super) fn of(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, sum)| (name.as_str(), sum.as_str()))
    }
}

/// Names lead nowhere else: they have no slash of either kind.
fn parsed(line: &str) -> Option<(&str, &str)> {
    let (sum, name) = line.split_once("  ")?;
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let plain = !name.is_empty() && !name.contains(['/', '\\', '\0']) && name != "..";
    (sum.len() == 64 && sum.chars().all(is_digit) && plain).then_some((name, sum))
}

/// Hashes the files in `scope`.
pub(super) fn compare(scope: &Scope, sums: &Sums) -> anyhow::Result<Vec<File>> {
    let mut names: BTreeSet<String> = scope.names.iter().cloned().collect();
    if scope.names.is_empty() {
        names.extend(sums.names().map(str::to_owned));
        names.extend(present(&scope.dir)?);
    }
    let seal = [NAME.to_owned(), format!("{NAME}.minisig")];
    names.retain(|name| !seal.contains(name));
    names.into_iter().map(|name| file(&scope.dir, name, sums)).collect()
}

/// Names of the files in `dir`.
fn present(dir: &Path) -> anyhow::Result<Vec<String>> {
    let problem = || format!("could not list `{}`", dir.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(problem)? {
        let name = entry.with_context(problem)?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    Ok(names)
}

fn file(dir: &Path, name: String, sums: &Sums) -> anyhow::Result<File> {
    let path = dir.join(&name);
    let sha256 = if path.is_file() { Some(hash(&path)?) } else { None };
    let state = match (sums.of(&name), sha256.as_deref()) {
        (None, _) => State::Unknown,
        (Some(_), None) => State::Missing,
        (Some(signed), Some(found)) if signed == found => State::Ok,
        (Some(_), Some(_)) => State::Changed,
    };
    Ok(File { name, sha256, state })
}

fn hash(path: &Path) -> anyhow::Result<String> {
    let problem = || format!("could not read `{}`", path.display());
    let mut file = fs::File::open(path).with_context(problem)?;
    sha256(&mut file).with_context(problem)
}

/// Whether all files are as they should be.
pub(super) fn check(scope: &Scope, files: &[File]) -> Check {
    let problem = |file: &File| match file.state {
        State::Ok => None,
        State::Missing if scope.partial => None,
        State::Missing => Some(format!("`{}` is missing", file.name)),
        State::Changed => Some(format!("`{}` is not what was released", file.name)),
        State::Unknown => Some(format!("`{}` is no part of the release", file.name)),
    };
    let mut problems: Vec<_> = files.iter().filter_map(problem).collect();
    let good = files.iter().filter(|file| file.state == State::Ok).count();
    if good == 0 && problems.is_empty() {
        problems.push("no file of the release is here".to_owned());
    }
    let missing = files.iter().filter(|file| file.state == State::Missing).count();
    let rest = if missing == 0 { String::new() } else { format!("; {missing} are not here") };
    Check::new("checksums", problems, format!("{good} files are what was released{rest}"))
}
