//! Whether a bundle is what somebody has signed: every file of it, and all code in it.

use std::collections::BTreeMap;

use plist::{Dictionary, Value};

use super::{
    About, Rule, dictionary, is_within,
    resources::{digests, rule, rules2},
    shape::Shape,
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

/// Checks the signatures of the program `source`, which is in no bundle, one for each processor.
pub fn verify_program(source: &Source, trust: &Trust) -> Result<Sealed, VerifyError> {
    let sealed = one(&programs(source, &Details::default(), trust)?)?;
    if sealed.covers_bundle { Err(VerifyError::Alone) } else { Ok(sealed) }
}

fn programs(source: &Source, details: &Details, trust: &Trust) -> Result<Vec<Sealed>, VerifyError> {
    let mut file = source.open().map_err(VerifyError::Read)?;
    macho::verify(&mut file, details, trust)
}

/// What the signatures of a file's programs say, which is the same of all; a device takes any of them. If
/// nobody has signed one, that is what they say.
fn one(all: &[Sealed]) -> Result<Sealed, VerifyError> {
    let says = |it: &Sealed| {
        let by = it.seal.as_ref().and_then(|seal| seal.chain.first().cloned());
        (it.identifier.clone(), it.team.clone(), it.requirement.clone(), it.covers_bundle, by)
    };
    let last = all.last().ok_or(VerifyError::NotSigned)?;
    match all.iter().find(|it| it.seal.is_none()) {
        Some(nobodys) => Ok(nobodys.clone()),
        None if all.iter().any(|it| says(it) != says(last)) => Err(VerifyError::Different),
        None => Ok(last.clone()),
    }
}

const DAMAGED: VerifyError = VerifyError::Malformed { what: "list of the bundle's files" };

struct Verifier<'a> {
    entries: &'a BTreeMap<String, Entry>,
    trust: &'a Trust,
    judged: Vec<Judged>,
}

impl Verifier<'_> {
    /// Gives what its program's signatures say.
    fn bundle(&mut self, prefix: &str) -> Vec<Sealed> {
        let shape = Shape::of(self.entries, prefix);
        let shape = shape.unwrap_or_else(|| Shape::application(prefix));
        match self.sealed(&shape) {
            Ok((path, all, files)) => {
                self.judged.push(Judged { path: path.clone(), found: one(&all) });
                self.files(&shape, &path, &files);
                all
            }
            Err((path, error)) => {
                self.judged.push(Judged { path, found: Err(error) });
                Vec::new()
            }
        }
    }

    /// The bundle's program, what its signatures say, and the list that they cover.
    fn sealed(
        &self,
        shape: &Shape,
    ) -> Result<(String, Vec<Sealed>, Dictionary), (String, VerifyError)> {
        let missing = |path: &str| (path.to_owned(), VerifyError::Malformed { what: "bundle" });
        let info = super::text(self.entries, &shape.info).map_err(|_| missing(&shape.info))?;
        let about = About::read(&info, &shape.info).map_err(|_| missing(&shape.info))?;
        let path = shape.program(&about.executable);
        let source = self.file(&path).ok_or_else(|| missing(&path))?;
        let list = super::text(self.entries, &shape.resources());
        let list = list.map_err(|_| (path.clone(), VerifyError::NotSigned))?;
        let details =
            Details { info: Some(info), resources: Some(list.clone()), ..Details::default() };
        let sealed =
            programs(source, &details, self.trust).map_err(|error| (path.clone(), error))?;
        let Some(list) = dictionary(&list) else { return Err((path, DAMAGED)) };
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

    /// Holds everything in the bundle against the list `files`. What is beside, no signature covers.
    fn files(&mut self, shape: &Shape, program: &str, files: &Dictionary) {
        for path in shape.beside(self.entries) {
            self.require(&path, false);
        }
        let contents = shape.contents.as_str();
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
                (Node::Dir, Some(listed)) if is_nested => {
                    let all = self.bundle(&format!("{path}/"));
                    self.require(path, all.is_empty() || is_listed(&all, listed));
                    nested.push(path);
                }
                (Node::Dir, _) => {}
                (Node::File { source, .. }, Some(listed)) if is_nested => {
                    let found = programs(source, &Details::default(), self.trust);
                    let found = found.and_then(|all| match is_listed(&all, listed) {
                        true => one(&all),
                        false => Err(VerifyError::Changed),
                    });
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

/// Whether one of a file's programs is the one of which the list has the digest; the others are held
/// against it by [`one`].
fn is_listed(all: &[Sealed], listed: &Dictionary) -> bool {
    let digest = listed.get("cdhash").and_then(Value::as_data);
    all.iter().any(|sealed| Some(&sealed.code_digest[..]) == digest)
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
