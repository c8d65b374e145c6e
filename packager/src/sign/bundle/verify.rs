//! Whether a bundle is what somebody has signed: every file of it, and all code in it.

use std::collections::BTreeMap;

use plist::{Dictionary, Value};

use super::{
    About, CONTENTS, INFO, RESOURCES, Rule, is_within,
    resources::{digests, rule, rules2},
};
use crate::{
    sign::{
        Trust, VerifyError,
        macho::{self, Details, Sealed},
    },
    tree::{Entry, Node, Source},
};

/// What was found of a program, or of a file that a program's signature covers.
#[derive(Debug)]
pub struct Judged {
    /// Below the bundle's folder.
    pub path: String,
    /// What the signature says, of the last processor's program; or what is wrong.
    pub found: Result<Sealed, VerifyError>,
}

/// Checks the signatures of the bundle with `entries`, which are paths below its folder. Files that
/// are right are not told of.
#[must_use]
pub fn verify(entries: &BTreeMap<String, Entry>, trust: &Trust) -> Vec<Judged> {
    let mut verifier = Verifier { entries, trust, judged: Vec::new() };
    verifier.bundle("");
    verifier.judged
}

/// Checks the signature of the program `source`, which is in no bundle.
pub fn verify_program(source: &Source, trust: &Trust) -> Result<Sealed, VerifyError> {
    program(source, &Details::default(), trust)
}

fn program(source: &Source, details: &Details, trust: &Trust) -> Result<Sealed, VerifyError> {
    let mut file = source.open().map_err(VerifyError::Read)?;
    let all = macho::verify(&mut file, details, trust)?;
    all.into_iter().next_back().ok_or(VerifyError::NotSigned)
}

const DAMAGED: VerifyError = VerifyError::Malformed { what: "list of the bundle's files" };

struct Verifier<'a> {
    entries: &'a BTreeMap<String, Entry>,
    trust: &'a Trust,
    judged: Vec<Judged>,
}

impl Verifier<'_> {
    fn bundle(&mut self, prefix: &str) {
        match self.sealed(prefix) {
            Ok((path, sealed, files)) => {
                self.judged.push(Judged { path: path.clone(), found: Ok(sealed) });
                self.files(&format!("{prefix}{CONTENTS}"), &path, &files);
            }
            Err((path, error)) => self.judged.push(Judged { path, found: Err(error) }),
        }
    }

    /// The bundle's program, what its signature says, and the list that it covers.
    fn sealed(&self, prefix: &str) -> Result<(String, Sealed, Dictionary), (String, VerifyError)> {
        let info_path = format!("{prefix}{INFO}");
        let missing = |path: &str| (path.to_owned(), VerifyError::Malformed { what: "bundle" });
        let info = super::text(self.entries, &info_path).map_err(|_| missing(&info_path))?;
        let about = About::read(&info, &info_path).map_err(|_| missing(&info_path))?;
        let path = format!("{prefix}{CONTENTS}MacOS/{}", about.executable);
        let source = self.file(&path).ok_or_else(|| missing(&path))?;
        let list = super::text(self.entries, &format!("{prefix}{RESOURCES}"));
        let list = list.map_err(|_| (path.clone(), VerifyError::NotSigned))?;
        let details =
            Details { info: Some(info), resources: Some(list.clone()), ..Details::default() };
        let sealed =
            program(source, &details, self.trust).map_err(|error| (path.clone(), error))?;
        let list = Value::from_reader_xml(&list[..]).ok().and_then(Value::into_dictionary);
        let Some(list) = list else { return Err((path, DAMAGED)) };
        let part = |key| list.get(key).and_then(Value::as_dictionary);
        match (part("files2"), part("rules2")) {
            (Some(files), Some(rules)) if same(rules, &rules2()) => {
                Ok((path, sealed, files.clone()))
            }
            _ => Err((path, VerifyError::Malformed { what: "rule for the bundle's files" })),
        }
    }

    fn file(&self, path: &str) -> Option<&Source> {
        match &self.entries.get(path)?.node {
            Node::File { source, .. } => Some(source),
            Node::Dir | Node::Symlink { .. } => None,
        }
    }

    /// Holds everything below `contents` against the list `files`.
    fn files(&mut self, contents: &str, program: &str, files: &Dictionary) {
        let within = self.entries.range(contents.to_owned()..);
        let within: Vec<_> = within.take_while(|(path, _)| path.starts_with(contents)).collect();
        let mut nested: Vec<&String> = Vec::new();
        for (path, entry) in within {
            if path == program || nested.iter().any(|it| is_within(path, it)) {
                continue;
            }
            let inside = &path[contents.len()..];
            let listed = files.get(inside).and_then(Value::as_dictionary);
            let is_nested = listed.is_some_and(|it| it.contains_key("requirement"));
            match (&entry.node, listed) {
                (Node::Dir, Some(_)) if is_nested => {
                    self.bundle(&format!("{path}/"));
                    nested.push(path);
                }
                (Node::Dir, _) => {}
                (Node::File { source, .. }, Some(_)) if is_nested => {
                    let found = verify_program(source, self.trust);
                    self.judged.push(Judged { path: path.clone(), found });
                }
                (node, Some(listed)) => self.require(path, is_same(node, listed)),
                (_, None) => self.require(path, rule(inside) == Rule::Omitted),
            }
        }
        for (inside, value) in files {
            let optional = value.as_dictionary().is_some_and(|it| it.contains_key("optional"));
            let path = format!("{contents}{inside}");
            let there = self.entries.contains_key(&path);
            self.require(&path, there || optional);
        }
    }

    fn require(&mut self, path: &str, holds: bool) {
        if !holds {
            self.judged.push(Judged { path: path.to_owned(), found: Err(VerifyError::Changed) });
        }
    }
}

fn is_same(node: &Node, listed: &Dictionary) -> bool {
    match node {
        Node::Dir => false,
        Node::Symlink { target } => {
            listed.get("symlink").and_then(Value::as_string) == Some(target.as_str())
        }
        Node::File { source, .. } => {
            let digest = listed.get("hash2").and_then(Value::as_data);
            digest.is_some() && digests(source).is_ok_and(|it| digest == Some(&it.sha256[..]))
        }
    }
}

/// Whether both say the same, in whatever order.
fn same(one: &Dictionary, other: &Dictionary) -> bool {
    one.len() == other.len() && one.iter().all(|(key, value)| other.get(key) == Some(value))
}
